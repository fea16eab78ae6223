//! What a workload does around its requests beyond moving blocks: nothing, keep a fixed rate, or stamp and check every block.

use super::drive::Settings;
use super::stamp;
use crate::clock::monotonic_ns;

/// Called around each request; the compiler removes what does nothing.
pub trait Hooks {
    /// Requests start on a schedule, not when a slot is free; the loop never sleeps.
    const PACED: bool = false;

    /// Whether another request may start now: `Some` with the time it was meant to start, or `Some(None)` for whenever it does.
    #[inline(always)]
    fn may_start(&mut self) -> Option<Option<u64>> {
        Some(None)
    }

    /// A request of `slot` is about to be queued.
    #[inline(always)]
    fn starting(&mut self, _: &Settings, _slot: u32, _read: bool, _offset: u64) {}

    /// The request of `slot` has completed; false when its buffer does not hold what it should.
    #[inline(always)]
    fn reaped(&mut self, _: &Settings, _slot: u32) -> bool {
        true
    }
}

/// The queue is kept full and blocks are just moved.
pub struct Plain;

impl Hooks for Plain {}

/// An open loop: request `n` is due at `n` intervals from the start, however late the others are. Latency counts from that moment, so that
/// a stall is felt by every request it delayed (coordinated omission).
pub struct Paced {
    next_ns: u64,
    interval_ns: u64,
}

impl Paced {
    /// Starts the schedule now.
    pub fn new(rate: u32) -> Paced {
        Paced { next_ns: monotonic_ns(), interval_ns: 1_000_000_000 / u64::from(rate.max(1)) }
    }
}

impl Hooks for Paced {
    const PACED: bool = true;

    #[inline(always)]
    fn may_start(&mut self) -> Option<Option<u64>> {
        let due = self.next_ns;
        if due > monotonic_ns() {
            return None;
        }
        self.next_ns += self.interval_ns;
        Some(Some(due))
    }
}

/// Every block that is written carries its place and a checksum, and every block that is read is checked against them in full.
pub struct Verified {
    /// Of the first file or device; the others follow.
    seed: u64,
    /// For each slot the offset of its read and the seed of where it reads; `None` for writes.
    reads: Vec<Option<(u64, u64)>>,
}

impl Verified {
    /// For `depth` slots and blocks stamped with `seed`.
    pub fn new(depth: u32, seed: u64) -> Verified {
        Verified { seed, reads: vec![None; depth as usize] }
    }
}

impl Hooks for Verified {
    fn starting(&mut self, settings: &Settings, slot: u32, read: bool, offset: u64) {
        // SAFETY: the slot was taken and its request is not queued yet: nobody else uses its buffer, which has a block's length.
        let block = unsafe { std::slice::from_raw_parts_mut(settings.buffers.start(slot), settings.block_size as usize) };
        let seed = self.seed + u64::from(settings.device.index);
        self.reads[slot as usize] = read.then_some((offset, seed));
        if read {
            // What an earlier read left must not pass for the answer to this one.
            block.fill(0);
        } else {
            stamp::write(block, offset, seed);
        }
    }

    fn reaped(&mut self, settings: &Settings, slot: u32) -> bool {
        let Some((offset, seed)) = self.reads[slot as usize] else { return true };
        // SAFETY: the slot's request has completed and the slot is not free yet: nobody else uses its buffer, which has a block's length.
        let block = unsafe { std::slice::from_raw_parts(settings.buffers.start(slot), settings.block_size as usize) };
        stamp::holds(block, offset, seed)
    }
}
