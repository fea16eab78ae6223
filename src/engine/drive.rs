//! The hot loop, one source for every toggle that acts in it.
//!
//! A toggle that is off leaves no instruction: with [`Compiled`](super::switches::Compiled) switches every `if` on one is decided at compile
//! time. The loop allocates nothing, prints nothing and returns no `Result` per request; what goes wrong is counted. What is rare or long is
//! kept out of line, so that the copies stay small.

use super::aims::{Aims, InlinePath};
use super::hooks::Hooks;
use super::pattern::Pattern;
use super::queue::Queue;
use super::ring::{GETEVENTS, SQ_WAKEUP};
use super::slots::Slots;
use super::stats::Stats;
use super::switches::{Mode, Switches, bit};
use super::work::{Device, TIMED, Work};
use hdrhistogram::Histogram;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Pending requests below which level `threshold` of `queue_refill` waits, as the seed does.
const THRESHOLD: u32 = 8;

/// What the loop reads on every turn.
pub struct Settings {
    pub block_size: u32,
    pub batch_submit: u32,
    pub batch_complete: u32,
    pub time_check_interval: u32,
    /// `u32::MAX` when no request is timed: the countdown outlasts any slice.
    pub latency_sampling: u32,
    /// Completions appear only to who asks for them, and no such wait has a time limit (`iopoll`).
    pub polled: bool,
    /// Where requests go until the next turn.
    pub device: Device,
    pub buffers: Arc<Buffers>,
}

/// The buffers of a job, in slot order, as io_uring_register(2) wants them.
#[derive(Debug, Default)]
pub struct Buffers(pub Box<[libc::iovec]>);

// SAFETY: an address is only a number; who may use the memory behind it is decided by the slots.
unsafe impl Send for Buffers {}
// SAFETY: as above.
unsafe impl Sync for Buffers {}

impl Buffers {
    /// Where the buffer of `slot` begins.
    #[inline(always)]
    pub fn start(&self, slot: u32) -> *mut u8 {
        self.0[slot as usize].iov_base.cast()
    }
}

/// What a loop works with, apart from the ring.
pub struct Worker {
    pub slots: Slots,
    pub stats: Stats,
    pub aims: Aims,
    pub settings: Settings,
    /// Requests pushed and not yet submitted.
    pub queued: u32,
}

/// When a call of the loop returns.
pub struct Goal<'a> {
    /// After this many completions.
    pub completions: u64,
    /// When another job reached its goal.
    pub stop: &'a AtomicBool,
    /// Never, in a sound run: past this point of monotonic time the device hangs.
    pub deadline_ns: u64,
}

/// What one call of the loop saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Completions reaped, good or bad.
    pub completions: u64,
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// What the kernel took of an open loop.
    pub batches: Batches,
    pub failed: Failed,
    /// The deadline passed.
    pub overran: bool,
    /// The bit-set of the code that ran.
    pub variant: u32,
}

/// Requests that the kernel took from an open loop, and in how many calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Batches {
    pub entries: u64,
    pub calls: u64,
}

impl Batches {
    /// Of both.
    pub fn and(self, more: Batches) -> Batches {
        Batches { entries: self.entries + more.entries, calls: self.calls + more.calls }
    }

    /// One call took so many.
    #[inline(always)]
    pub fn add(&mut self, taken: u32) {
        self.entries += u64::from(taken);
        self.calls += u64::from(taken > 0);
    }

    /// Entries of one batch, rounded; `None` where none was handed over.
    pub fn mean(self) -> Option<u32> {
        (self.calls > 0).then(|| (self.entries as f64 / self.calls as f64).round() as u32)
    }
}

/// Requests that failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failed {
    /// Completions that reported an error, moved less than a block, or brought wrong bytes.
    pub errors: u64,
    /// The first such result: a negative errno, the short length, or [`WRONG_BYTES`].
    pub first_error: i32,
}

impl Failed {
    /// Accounts for a completion; true when it is sound.
    #[inline(always)]
    pub fn count(&mut self, result: i32, success: i32, sound: bool) -> bool {
        let good = result == success && sound;
        if !good {
            self.add(if result == success { WRONG_BYTES } else { result });
        }
        good
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, result: i32) {
        if self.errors == 0 {
            self.first_error = result;
        }
        self.errors += 1;
    }

    /// Accounts for a call that took no entry: interrupted and momentarily refused ones are made again a turn later; any other failure ends
    /// the slice.
    #[cold]
    #[inline(never)]
    fn refused(&mut self, error: &io::Error, goal: &Goal<'_>) -> usize {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        if ![libc::EINTR, libc::EAGAIN, libc::EBUSY].contains(&errno) {
            self.add(-errno);
            goal.stop.store(true, Relaxed);
        }
        0
    }
}

/// `first_error` of a request that succeeded with other bytes than were written.
pub const WRONG_BYTES: i32 = i32::MIN;

impl Tally {
    /// Of this call and of the one after it.
    pub fn and(self, next: Tally) -> Tally {
        let first_error = if self.failed.errors > 0 { self.failed.first_error } else { next.failed.first_error };
        Tally {
            completions: self.completions + next.completions,
            enters: self.enters + next.enters,
            batches: self.batches.and(next.batches),
            failed: Failed { errors: self.failed.errors + next.failed.errors, first_error },
            overran: self.overran || next.overran,
            variant: next.variant,
        }
    }

    /// Looks at the clock.
    #[inline(always)]
    fn overruns<W: Work, Q: Queue<W>>(&mut self, queue: &Q, goal: &Goal<'_>) -> bool {
        self.overran = queue.now_ns() >= goal.deadline_ns;
        self.overran
    }

    /// Publishes what is queued, has the kernel take it, and with `wait` runs completion work until there are as many completions. Returns
    /// how many entries are left to take.
    #[inline(always)]
    pub fn enter<W: Work, Q: Queue<W>, H: Hooks>(
        &mut self,
        queue: &mut Q,
        sqpoll: bool,
        queued: u32,
        wait: Option<u32>,
        failed: &mut Failed,
        goal: &Goal<'_>,
    ) -> u32 {
        queue.sync_submissions();
        let wake = if sqpoll && queue.needs_wakeup() { SQ_WAKEUP } else { 0 };
        let flags = wake | wait.map_or(0, |_| GETEVENTS);
        let mut gone = queued;
        if !sqpoll || flags != 0 {
            self.enters += 1;
            let taken = queue.enter(queued, wait.unwrap_or(0), flags).unwrap_or_else(|error| failed.refused(&error, goal));
            if !sqpoll {
                queue.sync_submissions();
                gone = taken as u32;
            }
        }
        if H::PACED {
            self.batches.add(gone);
        }
        queued - gone
    }

    /// Ends a turn of an open loop: hands over a batch that is full, then sleeps until something completes or the request is due that fills the
    /// next one. Those before it wait for it, as `batch_submit` says. Returns how many entries are left to take.
    #[inline(never)]
    fn pause<W: Work, Q: Queue<W>, H: Hooks>(
        &mut self,
        (queue, hooks): (&mut Q, &H),
        (sqpoll, settings): (bool, &Settings),
        slots: &Slots,
        queued: u32,
        failed: &mut Failed,
        goal: &Goal<'_>,
    ) -> u32 {
        let full = queued >= settings.batch_submit;
        if full {
            queue.sync_submissions();
        } else if !queue.nothing_completed() {
            return queued;
        }
        let ready = if full { queued } else { 0 };
        let wake = if sqpoll && queue.needs_wakeup() { SQ_WAKEUP } else { 0 };
        let held = queued - ready;
        self.enters += 1;
        let entered = if settings.polled {
            queue.enter(ready, 0, GETEVENTS | wake)
        } else {
            let least = settings.batch_complete.min(slots.taken() - held).max(1);
            // With every slot taken only a completion helps.
            let due_ns = if slots.exhausted() { u64::MAX } else { hooks.due_ns(settings.batch_submit - held - 1) };
            queue.enter_until(ready, least, GETEVENTS | wake, due_ns.min(goal.deadline_ns))
        };
        let entered = entered.unwrap_or_else(|error| failed.refused(&error, goal));
        let gone = if sqpoll { ready } else { entered as u32 };
        if full {
            queue.sync_submissions();
            self.batches.add(gone);
        }
        queued - gone
    }
}

/// Runs until `goal`: reap, refill, submit in batches, wait. Returns at a turn's boundary with the queue as full as the toggles keep it, so
/// that a measured stretch begins and ends in the same state.
#[inline(always)]
pub fn drive<S: Switches, W: Work, Q: Queue<W>, H: Hooks>(
    on: S,
    queue: &mut Q,
    worker: &mut Worker,
    hooks: &mut H,
    goal: &Goal<'_>,
    latency: &mut Histogram<u64>,
) -> Tally {
    // Slots and count are held by value while the loop runs: behind a reference they would be read again after every store.
    let (mut slots, mut queued) = (std::mem::take(&mut worker.slots), worker.queued);
    let Worker { stats, aims, settings, .. } = worker;
    // The failures apart from the other counts, since their address is taken.
    let (mut tally, mut failed) = (Tally { variant: on.bits(), ..Tally::default() }, Failed::default());
    let (mut clock, mut sampler) = (Countdown(settings.time_check_interval), Countdown(settings.latency_sampling));
    let mut path = InlinePath::of(aims.pattern());
    while tally.completions < goal.completions && !goal.stop.load(Relaxed) {
        if (!on.has(bit::SPARSE_CLOCK) || clock.fires(settings.time_check_interval)) && tally.overruns(queue, goal) {
            break;
        }
        let mut good = 0;
        queue.refresh();
        while let Some((data, result)) = queue.reap() {
            let slot = data as u32;
            if !on.has(bit::SAMPLED) || data & TIMED != 0 {
                record(queue, latency, slots.started_ns[slot as usize]);
            }
            let sound = hooks.reaped(settings, slot);
            slots.give(on.has(bit::POW2_MASK), slot);
            tally.completions += 1;
            match failed.count(result, W::success(settings.block_size), sound) {
                true if on.has(bit::STATS_BATCHING) => good += 1,
                true => stats.add(1, W::moved(settings.block_size)),
                false => {}
            }
        }
        if good > 0 {
            stats.add(good, good * W::moved(settings.block_size));
        }
        if aims.several() {
            (path, settings.device) = aims.turn(on.has(bit::FAST_PATH), path);
        }
        // A submitting kernel thread gives the places of entries back later than it completes them.
        while !(on.sqpoll() && queue.is_full()) {
            let Some(start_ns) = hooks.may_start(slots.exhausted(), || queue.now_ns()) else { break };
            let Some(slot) = slots.take(on.has(bit::POW2_MASK)) else { break };
            let (read, offset) = if on.has(bit::FAST_PATH) { (true, path.next_offset()) } else { shared(aims.pattern()) };
            let mut data = slot.into();
            if !on.has(bit::SAMPLED) || sampler.fires(settings.latency_sampling) {
                slots.started_ns[slot as usize] = start_ns.unwrap_or_else(|| queue.now_ns());
                data |= TIMED;
            }
            hooks.starting(settings, slot, read, offset);
            let entry = W::request(on.has(bit::FIXED_BUFFERS), on.has(bit::FIXED_FILES), settings, slot, read, offset, data);
            // SAFETY: the buffer belongs to this slot alone until its completion is reaped, and outlives the ring (see `Lane`).
            unsafe { queue.push(&entry) };
            queued += 1;
            if queued >= settings.batch_submit && !(on.mode() == Mode::Eager && slots.exhausted()) {
                queued = tally.enter::<W, Q, H>(queue, on.sqpoll(), queued, None, &mut failed, goal);
            }
        }
        if H::PACED {
            queued = tally.pause((queue, hooks), (on.sqpoll(), settings), &slots, queued, &mut failed, goal);
        } else if let wait @ Some(_) = waits(on, queue, settings, slots.taken(), queued) {
            queued = tally.enter::<W, Q, H>(queue, on.sqpoll(), queued, wait, &mut failed, goal);
        }
    }
    path.hand_back(on.has(bit::FAST_PATH), aims.pattern());
    (worker.slots, worker.queued) = (slots, queued);
    Tally { failed, ..tally }
}

/// Fires every so many times it is asked.
struct Countdown(u32);

impl Countdown {
    #[inline(always)]
    fn fires(&mut self, every: u32) -> bool {
        self.0 -= 1;
        let fires = self.0 == 0;
        if fires {
            self.0 = every;
        }
        fires
    }
}

/// Whether this turn ends in an enter that submits what is queued and runs completion work, and for how many completions that waits. The
/// batch that fills an eager queue is left to it: one call both submits and waits.
#[inline(always)]
fn waits<S: Switches, W: Work, Q: Queue<W>>(on: S, queue: &mut Q, settings: &Settings, taken: u32, queued: u32) -> Option<u32> {
    let least = settings.batch_complete.min(taken);
    match on.mode() {
        Mode::Eager | Mode::EagerSqpoll if queue.nothing_completed() => Some(least),
        Mode::Eager => (queued >= settings.batch_submit).then_some(0),
        Mode::EagerSqpoll => None,
        _ if taken - queued < THRESHOLD => Some(least),
        Mode::ThresholdAsking => queue.nothing_completed().then_some(0),
        Mode::Threshold | Mode::ThresholdSqpoll => None,
    }
}

/// Out of line: a histogram's index computation is long, and the call is the same for every request that is timed.
#[inline(never)]
pub fn record<W: Work, Q: Queue<W>>(queue: &Q, latency: &mut Histogram<u64>, started_ns: u64) {
    latency.saturating_record(queue.now_ns().saturating_sub(started_ns));
}

/// Level *off* of `fast_path`: two calls behind the Mutex for each request, as the seed made them.
#[inline(never)]
pub fn shared(pattern: &Mutex<Pattern>) -> (bool, u64) {
    let read = pattern.lock().unwrap().is_read();
    (read, pattern.lock().unwrap().next_offset())
}
