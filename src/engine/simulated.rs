//! The loop without a kernel: a simulated ring, and the loops compiled for it. What is left is the cost of the loop itself.

use super::SetupError;
use super::aims::{Aim, Aims};
use super::buffers::{Kind, Pool};
use super::drive::{Goal, Settings, Tally, Worker, drive};
use super::hooks::Plain;
use super::pattern::Pattern;
use super::queue::Queue;
use super::slots::Slots;
use super::stats::Stats;
use super::switches::{Compiled, Mode, bit};
use super::work::{Device, Io};
use crate::workload::Workload;
use hdrhistogram::Histogram;
use io_uring::{opcode, squeue};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

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

    /// Nothing is waited for: what was submitted has completed.
    fn enter_until(&mut self, to_submit: u32, min_complete: u32, flags: u32, _: u64) -> io::Result<usize> {
        self.enter(to_submit, min_complete, flags)
    }
}

/// A loop on a simulated ring.
pub type Loop = fn(&mut Simulated, &mut Worker, &Goal<'_>, &mut Histogram<u64>) -> Tally;

/// Compiled for all toggles off.
#[inline(never)]
pub fn all_off(queue: &mut Simulated, worker: &mut Worker, goal: &Goal<'_>, latency: &mut Histogram<u64>) -> Tally {
    drive::<_, Io, _, _>(Compiled::<0>, queue, worker, &mut Plain, goal, latency)
}

/// Compiled for all toggles on.
#[inline(never)]
pub fn all_on(queue: &mut Simulated, worker: &mut Worker, goal: &Goal<'_>, latency: &mut Histogram<u64>) -> Tally {
    drive::<_, Io, _, _>(Compiled::<ALL_ON>, queue, worker, &mut Plain, goal, latency)
}

/// Every bit but the placebo's, and the eager mode.
const ALL_ON: u32 = (Mode::Eager as u32) << bit::COUNT | (bit::PLACEBO - 1);

/// Requests submitted at once with everything on.
const BATCH: u32 = 32;

/// Has a loop complete `requests` of the seed's smaller size; `on` chooses the numeric levels.
pub fn run(each: Loop, on: bool, requests: u64, latency: &mut Histogram<u64>) -> Result<Tally, SetupError> {
    let workload = Workload::example();
    let mut pool = pool(&workload)?;
    let level = |on_level, off_level| if on { on_level } else { off_level };
    let settings = Settings {
        block_size: workload.block_size_bytes,
        batch_submit: level(BATCH, 1),
        batch_complete: level(BATCH, 1),
        time_check_interval: level(1000, 1),
        latency_sampling: level(100, 1),
        polled: false,
        device: Device::default(),
        buffers: pool.jobs().remove(0),
    };
    let mut worker = worker(&workload, settings);
    let mut queue = Simulated::new(workload.block_size_bytes as i32, workload.queue_depth);
    let goal = Goal { completions: requests, stop: &AtomicBool::new(false), deadline_ns: u64::MAX };
    Ok(each(&mut queue, &mut worker, &goal, latency))
}

/// Buffers for the one job of a workload.
pub fn pool(workload: &Workload) -> Result<Pool, SetupError> {
    Pool::new(Kind { huge_pages: 0, node: None }, workload.block_size_bytes, workload.queue_depth, 1)
}

/// A worker with every slot free, whose requests go nowhere.
pub fn worker(workload: &Workload, settings: Settings) -> Worker {
    let pattern = Arc::new(Mutex::new(Pattern::new(workload, &(0..1 << 30), 1)));
    let aims = Aims::new([Aim { device: Device::default(), pattern }]);
    Worker { slots: Slots::new(workload.queue_depth), stats: Stats::default(), aims, settings, queued: 0 }
}
