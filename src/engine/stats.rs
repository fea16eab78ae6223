//! The counters a worker reports through, atomic because other threads may read them, as in the seed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Completed requests and bytes of one arm of one job.
#[derive(Default)]
#[repr(align(64))]
pub struct Stats {
    ops: AtomicU64,
    bytes: AtomicU64,
}

impl Stats {
    /// Adds `ops` requests that moved `bytes` bytes.
    #[inline(always)]
    pub fn add(&self, ops: u64, bytes: u64) {
        self.ops.fetch_add(ops, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// `(ops, bytes)` so far.
    pub fn read(&self) -> (u64, u64) {
        (self.ops.load(Relaxed), self.bytes.load(Relaxed))
    }
}
