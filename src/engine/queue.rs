//! What the loop needs of a ring: the kernel's, or a simulated one.

use super::work::{Io, Work};
use io_uring::{opcode, squeue};
use std::io;

/// A submission and a completion queue.
pub trait Queue<W: Work> {
    /// Sees what has completed since the last look, and gives back the places of what was reaped.
    fn refresh(&mut self);

    /// The next completion's `user_data` and result.
    fn reap(&mut self) -> Option<(u64, i32)>;

    /// Looks again; true when there is nothing to reap.
    fn nothing_completed(&mut self) -> bool;

    /// Queues an entry.
    ///
    /// # Safety
    /// The buffer of the entry belongs to it alone, and is not freed, until its completion is reaped. There is room for it.
    unsafe fn push(&mut self, entry: &W::Entry);

    /// Looks again; true when no entry can be pushed.
    fn is_full(&mut self) -> bool;

    /// Publishes what was pushed and sees what was taken.
    fn sync_submissions(&mut self);

    /// True when the submitting kernel thread sleeps.
    fn needs_wakeup(&mut self) -> bool;

    /// io_uring_enter(2); the number of entries taken.
    fn enter(&mut self, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<usize>;
}

/// A ring that completes whatever is submitted at once, in order and successfully: what is left is the cost of the loop itself.
pub struct Simulated {
    length: i32,
    entries: Box<[squeue::Entry]>,
    head: usize,
    submitted: usize,
    tail: usize,
}

impl Simulated {
    /// For at most `depth` requests in flight, a power of two, whose success is `length`.
    pub fn new(length: i32, depth: u32) -> Simulated {
        assert!(depth.is_power_of_two(), "the simulated ring wraps by a mask");
        let entries = vec![opcode::Nop::new().build(); depth as usize].into();
        Simulated { length, entries, head: 0, submitted: 0, tail: 0 }
    }

    #[inline(always)]
    fn place(&self, index: usize) -> usize {
        index & (self.entries.len() - 1)
    }
}

impl Queue<Io> for Simulated {
    #[inline(always)]
    fn refresh(&mut self) {}

    #[inline(always)]
    fn reap(&mut self) -> Option<(u64, i32)> {
        if self.head == self.submitted {
            return None;
        }
        let data = self.entries[self.place(self.head)].get_user_data();
        self.head += 1;
        Some((data, self.length))
    }

    #[inline(always)]
    fn nothing_completed(&mut self) -> bool {
        self.head == self.submitted
    }

    #[inline(always)]
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        let place = self.place(self.tail);
        self.entries[place] = entry.clone();
        self.tail += 1;
    }

    #[inline(always)]
    fn is_full(&mut self) -> bool {
        false
    }

    #[inline(always)]
    fn sync_submissions(&mut self) {}

    #[inline(always)]
    fn needs_wakeup(&mut self) -> bool {
        false
    }

    #[inline(always)]
    fn enter(&mut self, to_submit: u32, _: u32, _: u32) -> io::Result<usize> {
        let taken = (to_submit as usize).min(self.tail - self.submitted);
        self.submitted += taken;
        Ok(taken)
    }
}
