//! What a workload does around its requests beyond moving blocks: nothing, keep a fixed rate, or stamp and check every block.

use super::drive::Settings;
use super::stamp;

/// Called around each request; the compiler removes what does nothing.
pub trait Hooks {
    /// Requests start on a schedule, not when a slot is free.
    const PACED: bool = false;

    /// Whether another request may start now, where a slot is free for it: `Some` with the time it was meant to start, or `Some(None)` for
    /// whenever it does. What is due keeps its turn until there is a slot: it starts late, and counts from when it was due.
    #[inline(always)]
    fn may_start(&mut self, _no_slot: bool, _now_ns: impl FnOnce() -> u64) -> Option<Option<u64>> {
        Some(None)
    }

    /// When the request is meant to start that comes `later` requests after the next one.
    #[inline(always)]
    fn due_ns(&self, _later: u32) -> u64 {
        0
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

/// An open loop: request `n` is due `n` intervals after the start, beginning with 1, however late the others are, and none is left out. Latency counts from
/// that moment, so that a stall is felt by every request it delayed (coordinated omission).
pub struct Paced {
    /// Requests per second.
    rate: u32,
    start_ns: u64,
    /// Requests that were started.
    started: u64,
    /// Until when the loop ran.
    end_ns: u64,
}

impl Paced {
    /// A schedule of `rate` requests per second from `start_ns` on.
    pub fn new(rate: u32, start_ns: u64) -> Paced {
        Paced { rate: rate.max(1), start_ns, started: 0, end_ns: start_ns }
    }

    /// Begins anew.
    pub fn restart(&mut self, start_ns: u64) {
        *self = Paced::new(self.rate, start_ns);
    }

    /// The loop returned at `now_ns`.
    pub fn pause(&mut self, now_ns: u64) {
        self.end_ns = now_ns;
    }

    /// What became of the schedule until the loop returned.
    pub fn kept(&self) -> Kept {
        let elapsed_ns = u128::from(self.end_ns.saturating_sub(self.start_ns));
        Kept { due: (elapsed_ns * u128::from(self.rate) / NS_PER_S) as u64, started: self.started }
    }
}

/// Of an open loop: how many requests were due, and how many of them were started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    pub due: u64,
    pub started: u64,
}

impl std::iter::Sum for Kept {
    fn sum<I: Iterator<Item = Kept>>(all: I) -> Kept {
        all.fold(Kept::default(), |sum, kept| Kept { due: sum.due + kept.due, started: sum.started + kept.started })
    }
}

const NS_PER_S: u128 = 1_000_000_000;

impl Hooks for Paced {
    const PACED: bool = true;

    #[inline(always)]
    fn may_start(&mut self, no_slot: bool, now_ns: impl FnOnce() -> u64) -> Option<Option<u64>> {
        let due_ns = self.due_ns(0);
        if no_slot || due_ns > now_ns() {
            return None;
        }
        self.started += 1;
        Some(Some(due_ns))
    }

    /// Reckoned from the start each time: rounded intervals would add up to another rate.
    #[inline(always)]
    fn due_ns(&self, later: u32) -> u64 {
        self.start_ns + (u128::from(self.started + u64::from(later) + 1) * NS_PER_S).div_ceil(self.rate.into()) as u64
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
