//! The hot loop, monomorphised over the toggles that act in it.
//!
//! A toggle that is off leaves no instruction: it is a bit of the const parameter and every `if` on it is decided at compile time. The
//! loop allocates nothing, prints nothing and returns no `Result` per request; what goes wrong is counted.

use super::lane::Lane;
use super::pattern::Pattern;
use super::sqe;
use hdrhistogram::Histogram;
use io_uring::cqueue::CompletionQueue;
use io_uring::{EnterFlags, Submitter};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// Bits of the const parameter, one per toggle that acts in the loop.
pub mod bit {
    pub const FIXED_BUFFERS: u32 = 1;
    pub const FIXED_FILES: u32 = 1 << 1;
    /// `time_check_interval` above 1.
    pub const SPARSE_CLOCK: u32 = 1 << 2;
    pub const FAST_PATH: u32 = 1 << 3;
    pub const STATS_BATCHING: u32 = 1 << 4;
    /// `latency_sampling` other than 1.
    pub const SAMPLED: u32 = 1 << 5;
    pub const POW2_MASK: u32 = 1 << 6;
    /// `queue_refill = "eager"`.
    pub const EAGER: u32 = 1 << 7;
    /// `taskrun = "defer"` where `queue_refill = "threshold"` does not wait: completions appear only when an enter asks for them.
    pub const ASK_FOR_EVENTS: u32 = 1 << 8;
    /// Means nothing: a second copy of the same code for the placebo control.
    pub const PLACEBO: u32 = 1 << 9;
    /// How many there are.
    pub const COUNT: u32 = 10;
}

/// Pending requests below which level `threshold` of `queue_refill` waits, as the seed does.
const THRESHOLD: u32 = 8;

/// When a call of the loop returns.
pub struct Goal<'a> {
    /// After this many completions.
    pub completions: u64,
    /// When another job reached its goal.
    pub stop: &'a AtomicBool,
    /// Never, in a sound run: past this the device hangs.
    pub deadline: Instant,
}

/// What one call of the loop saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Completions reaped, good or bad.
    pub completions: u64,
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Completions that reported an error or moved less than a block.
    pub errors: u64,
    /// The first such result: a negative errno, or the short length.
    pub first_error: i32,
    /// The deadline passed.
    pub overran: bool,
    /// The const parameter of the code that ran.
    pub variant: u32,
}

impl Tally {
    /// Accounts for one enter and returns how many entries the kernel took. Interrupted and momentarily refused calls took none and are
    /// made again a turn later; any other failure ends the slice.
    #[inline(always)]
    fn enter(&mut self, result: io::Result<usize>, goal: &Goal<'_>) -> u32 {
        self.enters += 1;
        result.unwrap_or_else(|error| self.refused(&error, goal)) as u32
    }

    #[cold]
    fn refused(&mut self, error: &io::Error, goal: &Goal<'_>) -> usize {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        if ![libc::EINTR, libc::EAGAIN, libc::EBUSY].contains(&errno) {
            self.fault(-errno);
            goal.stop.store(true, Relaxed);
        }
        0
    }

    #[cold]
    fn fault(&mut self, result: i32) {
        if self.errors == 0 {
            self.first_error = result;
        }
        self.errors += 1;
    }
}

/// Names for the bits of `T`, so that the loop reads as the toggles do.
struct On<const T: u32>;

impl<const T: u32> On<T> {
    const FIXED_BUFFERS: bool = T & bit::FIXED_BUFFERS != 0;
    const FIXED_FILES: bool = T & bit::FIXED_FILES != 0;
    const SPARSE_CLOCK: bool = T & bit::SPARSE_CLOCK != 0;
    const FAST_PATH: bool = T & bit::FAST_PATH != 0;
    const STATS_BATCHING: bool = T & bit::STATS_BATCHING != 0;
    const SAMPLED: bool = T & bit::SAMPLED != 0;
    const MASK: bool = T & bit::POW2_MASK != 0;
    const EAGER: bool = T & bit::EAGER != 0;
    const ASK_FOR_EVENTS: bool = T & bit::ASK_FOR_EVENTS != 0;
}

/// Runs `lane` until `goal`: reap, refill, submit in batches, wait. Returns at a turn's boundary with the queue as full as the toggles
/// keep it, so that a measured stretch begins and ends in the same state. The queue is synchronised before an enter, to publish what was
/// pushed, and after it, to learn what was taken: a batch may fill the whole queue.
pub fn drive<const T: u32>(lane: &mut Lane, goal: &Goal<'_>, latency: &mut Histogram<u64>) -> Tally {
    let Lane { ring, slots, stats, pattern, settings, queued, .. } = lane;
    let (submitter, mut sq, mut cq) = ring.split();
    let mut tally = Tally { variant: T, ..Tally::default() };
    let (mut turns, mut until_timed) = (0, settings.latency_sampling);
    let mut path = InlinePath::of(pattern);
    while tally.completions < goal.completions && !goal.stop.load(Relaxed) {
        turns += 1;
        if !On::<T>::SPARSE_CLOCK || turns >= settings.time_check_interval {
            turns = 0;
            tally.overran = Instant::now() >= goal.deadline;
            if tally.overran {
                break;
            }
        }
        let (mut reaped, mut good) = (0, 0);
        cq.sync();
        for cqe in &mut cq {
            let data = cqe.user_data();
            if !On::<T>::SAMPLED || data & sqe::TIMED != 0 {
                latency.saturating_record(slots.started[data as u32 as usize].elapsed().as_nanos() as u64);
            }
            slots.give(On::<T>::MASK, data as u32);
            reaped += 1;
            if cqe.result() != settings.block_size as i32 {
                tally.fault(cqe.result());
            } else if On::<T>::STATS_BATCHING {
                good += 1;
            } else {
                stats.add(1, settings.block_size.into());
            }
        }
        tally.completions += reaped;
        if On::<T>::STATS_BATCHING && good > 0 {
            stats.add(good, good * u64::from(settings.block_size));
        }
        while let Some(slot) = slots.take(On::<T>::MASK) {
            let (read, offset) = if On::<T>::FAST_PATH { (true, path.next()) } else { shared(pattern) };
            let mut data = u64::from(slot);
            until_timed -= u32::from(On::<T>::SAMPLED);
            if !On::<T>::SAMPLED || until_timed == 0 {
                until_timed = settings.latency_sampling;
                slots.started[slot as usize] = Instant::now();
                data |= sqe::TIMED;
            }
            let entry = sqe::request(On::<T>::FIXED_BUFFERS, On::<T>::FIXED_FILES, settings.place(slot), read, offset);
            // SAFETY: the buffer belongs to this slot alone until its completion is reaped, and outlives the ring (see `Lane`).
            unsafe { sq.push(&entry.user_data(data)) }.expect("the ring has an entry for every slot");
            *queued += 1;
            if *queued >= settings.batch_submit {
                sq.sync();
                *queued -= tally.enter(submitter.submit(), goal);
                sq.sync();
            }
        }
        if if On::<T>::EAGER { is_empty(&mut cq) } else { slots.taken() - *queued < THRESHOLD } {
            sq.sync();
            *queued -= tally.enter(submitter.submit_and_wait(1), goal);
            sq.sync();
        } else if On::<T>::ASK_FOR_EVENTS && is_empty(&mut cq) {
            sq.sync();
            *queued -= tally.enter(ask_for_events(&submitter, *queued), goal);
            sq.sync();
        }
    }
    path.hand_back(On::<T>::FAST_PATH, pattern);
    tally
}

/// Level *off* of `fast_path`: two calls behind the Mutex for each request, as the seed made them.
#[inline(always)]
fn shared(pattern: &Mutex<Pattern>) -> (bool, u64) {
    let read = pattern.lock().unwrap().is_read();
    (read, pattern.lock().unwrap().next_offset())
}

/// Submits what is queued and runs deferred completion work without waiting.
#[inline(always)]
fn ask_for_events(submitter: &Submitter<'_>, queued: u32) -> io::Result<usize> {
    // SAFETY: no argument is passed, and `queued` entries have been pushed and published.
    unsafe { submitter.enter::<libc::sigset_t>(queued, 0, EnterFlags::GETEVENTS.bits(), None) }
}

#[inline(always)]
fn is_empty(cq: &mut CompletionQueue<'_>) -> bool {
    cq.sync();
    CompletionQueue::is_empty(cq)
}

/// Level *on* of `fast_path`: the sequential cursor in a register.
struct InlinePath {
    offset: u64,
    step: u64,
    end: u64,
}

impl InlinePath {
    fn of(pattern: &Mutex<Pattern>) -> InlinePath {
        let pattern = pattern.lock().unwrap();
        InlinePath { offset: pattern.cursor_bytes(), step: pattern.block_bytes(), end: pattern.end_bytes() }
    }

    #[inline(always)]
    fn next(&mut self) -> u64 {
        let offset = self.offset;
        self.offset += self.step;
        if self.offset == self.end {
            self.offset = 0;
        }
        offset
    }

    fn hand_back(&self, used: bool, pattern: &Mutex<Pattern>) {
        if used {
            pattern.lock().unwrap().set_cursor_bytes(self.offset);
        }
    }
}
