//! What the loop needs of a ring: the kernel's, or a simulated one.

use super::work::Work;
use crate::clock::monotonic_ns;
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

    /// The same with a wait that ends at `until_ns` of this queue's clock at the latest, which is no error.
    fn enter_until(&mut self, to_submit: u32, min_complete: u32, flags: u32, until_ns: u64) -> io::Result<usize>;

    /// The clock by which requests are timed.
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }
}
