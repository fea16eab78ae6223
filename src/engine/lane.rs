//! A ring with its worker, and the arm that runs on it for a slice; what of the arm is really in effect.
//!
//! Arms whose levels ask for the same ring share one: identical arms on rings of their own differed in CPU time per operation, beyond the
//! noise of their slices, for as long as the rings lived, since the kernel's memory behind each lies elsewhere.

use super::aims::{Aim, Aims};
use super::buffers::Kind;
use super::drive::{Batches, Buffers, Failed, Goal, Settings, Tally, Worker, drive};
use super::hooks::{Hooks, Kept, Paced, Verified};
use super::pattern::Pattern;
use super::queue::Queue;
use super::ring::{COOP, DEFER, GETEVENTS, HYBRID, Ring, SQ_WAKEUP, Sqpoll, flag};
use super::slots::Slots;
use super::stats::Stats;
use super::switches::{Dynamic, bit, bits_of, read_back};
use super::variants::Tabled;
use super::work::Device;
use super::{SetupError, numa, stamp};
use crate::clock::monotonic_ns;
use crate::toggle::{Levels, Toggle};
use crate::workload::Workload;
use hdrhistogram::Histogram;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An arm as the engine needs it: levels, and the bit-set of the loop compiled for them.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    pub levels: Levels,
    pub bits: u32,
}

impl Tuning {
    /// `placebo` begins with the second copy of the code.
    pub fn new(levels: &Levels, placebo: bool) -> Tuning {
        Tuning { levels: *levels, bits: bits_of(levels) | if placebo { bit::PLACEBO } else { 0 } }
    }

    /// The same on the other copy of the code.
    pub fn on_other_copy(self) -> Tuning {
        Tuning { bits: self.bits ^ bit::PLACEBO, ..self }
    }

    /// The levels that only another ring can change: arms with the same ones share rings. Where rings keep what is registered, that is one more
    /// of them, and so is where the buffers lie.
    pub fn ring_levels(&self, keeps_registered: bool) -> Levels {
        let flags = [Toggle::Iopoll, Toggle::Sqpoll, Toggle::Taskrun, Toggle::NoSqarray, Toggle::Passthrough];
        let registered = [Toggle::FixedFiles, Toggle::FixedBuffers, Toggle::HugePages, Toggle::NumaBind];
        let own = flags.iter().chain(registered.iter().filter(|_| keeps_registered));
        own.fold(Levels::all_off(), |key, toggle| key.with(*toggle, self.levels.get(*toggle)))
    }
}

/// What all lanes of a job share.
pub struct JobContext<'a> {
    pub workload: &'a Workload,
    /// One for each file or device.
    pub patterns: &'a [Arc<Mutex<Pattern>>],
    pub sqpoll: Sqpoll,
    /// Some arm of the round registers buffers, so every arm does at the edges of its slices.
    pub buffers_at_edge: bool,
    /// Some arm registers its ring; the same holds.
    pub ring_at_edge: bool,
    pub place: Place<'a>,
}

/// Where a job's thread may run; where it is put, the seats say (`toggle/seats.rs`).
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where it may run unless a toggle says otherwise.
    pub anywhere: &'a [u32],
    /// The node of `numa_bind`, and its CPUs.
    pub node: Option<u32>,
    pub node_cpus: &'a [u32],
}

/// A ring on one thread. The pools behind its buffers are owned by the round, which drops its lanes first, and a ring is drained before every
/// slice ends; so no buffer is freed or reused under the kernel.
pub struct Lane<W: Tabled> {
    pub ring: Ring<W>,
    pub worker: Worker,
    /// What is registered as files.
    descriptors: Box<[RawFd]>,
    /// The schedule of an open loop.
    paced: Option<Paced>,
    verified: Option<Verified>,
    buffers_at_edge: bool,
    ring_at_edge: bool,
    /// Files and buffers are registered once, before the first slice, and stay.
    keeps_registered: bool,
    /// That has been done.
    registered: bool,
    levels: Levels,
    sqpoll: Sqpoll,
}

impl<W: Tabled> Lane<W> {
    /// Creates the ring that `tuning` asks for, over as many `devices` as the job has patterns.
    pub fn new(tuning: &Tuning, job: &JobContext<'_>, devices: &[Device]) -> Result<Lane<W>, SetupError> {
        let depth = job.workload.queue_depth;
        let settings = Settings {
            block_size: job.workload.block_size_bytes,
            batch_submit: 1,
            batch_complete: 1,
            time_check_interval: 1,
            latency_sampling: 1,
            polled: tuning.levels.is_on(Toggle::Iopoll) && !tuning.levels.is_on(Toggle::Sqpoll),
            device: devices[0],
            buffers: Arc::default(),
        };
        let aim = |(device, pattern): (&Device, &Arc<_>)| Aim { device: *device, pattern: Arc::clone(pattern) };
        let aims = Aims::new(devices.iter().zip(job.patterns).map(aim));
        let ring = Ring::new(&tuning.levels, depth, job.sqpoll)?;
        if job.workload.rate.is_some() && !ring.waits_have_limits() {
            return Err(SetupError::Unsupported(NO_LIMITS.into()));
        }
        Ok(Lane {
            ring,
            worker: Worker { slots: Slots::new(depth), stats: Stats::default(), aims, settings, queued: 0 },
            descriptors: devices.iter().map(|device| device.fd).collect(),
            paced: job.workload.rate.map(|rate| Paced::new(rate, monotonic_ns())),
            verified: job.workload.verify.then(|| Verified::new(depth, stamp::SEED)),
            buffers_at_edge: job.buffers_at_edge,
            ring_at_edge: job.ring_at_edge,
            keeps_registered: false,
            registered: false,
            levels: tuning.levels,
            sqpoll: job.sqpoll,
        })
    }

    /// The same with files and buffers that are registered once: for kernels on which unregistering takes long. Arms share this lane only with
    /// others of the same [`Tuning::ring_levels`].
    pub fn keeping_registered(self, keeps_registered: bool) -> Lane<W> {
        Lane { keeps_registered, ..self }
    }

    /// Makes this lane the arm's for a slice.
    pub fn begin(&mut self, tuning: &Tuning, buffers: &Arc<Buffers>) -> Result<(), SetupError> {
        let levels = tuning.levels;
        // What would have been due since the last slice is nobody's.
        self.restart_schedule();
        let sampling = levels.get(Toggle::LatencySampling);
        self.levels = levels;
        let settings = &mut self.worker.settings;
        settings.batch_submit = levels.get(Toggle::BatchSubmit);
        settings.batch_complete = levels.get(Toggle::BatchComplete);
        settings.time_check_interval = levels.get(Toggle::TimeCheckInterval);
        settings.latency_sampling = if sampling == 0 { u32::MAX } else { sampling };
        settings.buffers = Arc::clone(buffers);
        if !self.registered {
            self.register(&levels, buffers)?;
            self.registered = self.keeps_registered;
        }
        if self.ring_at_edge {
            self.ring.register_self().map_err(SetupError::RegisterRing)?;
            if !levels.is_on(Toggle::RegisteredRing) {
                self.ring.unregister_self().map_err(SetupError::RegisterRing)?;
            }
        }
        Ok(())
    }

    /// Every arm does the same work here, at the edges of its slices: it registers files and buffers (the latter only where some arm of the round
    /// keeps them; what is locked is limited per user), and lets go what it does not want. A lane that keeps what it registers takes only that.
    fn register(&self, levels: &Levels, buffers: &Arc<Buffers>) -> Result<(), SetupError> {
        let submitter = self.ring.submitter();
        let registers = |toggle: Toggle| !self.keeps_registered || levels.is_on(toggle);
        if registers(Toggle::FixedFiles) {
            submitter.register_files(&self.descriptors).map_err(SetupError::RegisterFiles)?;
            if !levels.is_on(Toggle::FixedFiles) {
                submitter.unregister_files().map_err(SetupError::RegisterFiles)?;
            }
        }
        if self.buffers_at_edge && registers(Toggle::FixedBuffers) {
            let bytes = self.worker.settings.block_size;
            let fail = |source| SetupError::RegisterBuffers { count: buffers.0.len(), bytes, source };
            // SAFETY: the buffers live in the round's pools, which outlive every lane.
            unsafe { submitter.register_buffers(&buffers.0) }.map_err(fail)?;
            if !levels.is_on(Toggle::FixedBuffers) {
                submitter.unregister_buffers().map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Lets go what [`Lane::begin`] registered and kept, and waits until a submitting kernel thread sleeps: it must not take a CPU from the
    /// next arm.
    pub fn end(&mut self) {
        // What is not registered answers ENXIO; there is then nothing to let go.
        if self.levels.is_on(Toggle::FixedFiles) && !self.keeps_registered {
            let _ = self.ring.submitter().unregister_files();
        }
        if self.levels.is_on(Toggle::FixedBuffers) && !self.keeps_registered {
            let _ = self.ring.submitter().unregister_buffers();
        }
        let _ = self.ring.unregister_self();
        if self.levels.is_on(Toggle::Sqpoll) {
            let patience = Instant::now() + Duration::from_millis(u64::from(self.sqpoll.idle_ms) + SQPOLL_GRACE_MS);
            while !self.ring.submitter_sleeps() && Instant::now() < patience {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// Finds out before anything is measured whether an arm can run here: the kernel may refuse to pin its buffers, or every request for want
    /// of poll queues.
    pub fn try_on(&mut self, tuning: &Tuning, buffers: &Arc<Buffers>) -> Result<(), SetupError> {
        let begun = self.begin(tuning, buffers);
        let tried = begun.map(|()| {
            let stop = AtomicBool::new(false);
            let goal = Goal { completions: 1, stop: &stop, deadline_ns: monotonic_ns() + TRIAL.as_nanos() as u64 };
            let tally = self.drive(tuning, &goal, &mut Histogram::new(1).expect("one digit is a valid precision"));
            self.drain(TRIAL);
            tally.failed.first_error
        });
        self.end();
        match tried? {
            error if REFUSALS.contains(&-error) => Err(SetupError::Refused {
                polled: tuning.levels.is_on(Toggle::Iopoll),
                source: io::Error::from_raw_os_error(-error),
            }),
            _ => Ok(()),
        }
    }

    /// Waits until nothing is queued or in flight, off the clock.
    pub fn drain(&mut self, limit: Duration) -> Drained {
        let Lane { ring, worker: Worker { slots, settings, queued, .. }, verified, .. } = self;
        let (deadline, mut failed) = (Instant::now() + limit, Failed::default());
        let mut queue = ring.open();
        while slots.taken() > 0 {
            if Instant::now() > deadline {
                return Drained { in_time: false, failed };
            }
            queue.sync_submissions();
            // Interrupted waits are made again; a lasting failure shows as slots that stay taken.
            match queue.enter(*queued, 1, GETEVENTS | SQ_WAKEUP) {
                Ok(taken) => *queued = queued.saturating_sub(taken as u32),
                Err(_) => std::thread::yield_now(),
            }
            queue.refresh();
            while let Some((data, result)) = queue.reap() {
                let sound = verified.as_mut().is_none_or(|v| v.reaped(settings, data as u32));
                failed.count(result, W::success(settings.block_size), sound);
                slots.give(false, data as u32);
            }
        }
        queue.sync_submissions();
        *queued = 0;
        Drained { in_time: true, failed }
    }

    /// Runs the loop of the arm that [`Lane::begin`] named until `goal`.
    pub fn drive(&mut self, tuning: &Tuning, goal: &Goal<'_>, latency: &mut Histogram<u64>) -> Tally {
        let Lane { ring, worker, .. } = self;
        let switches = Dynamic(tuning.bits);
        match (&mut self.verified, &mut self.paced) {
            (Some(verified), _) => drive::<_, W, _, _>(switches, &mut ring.open(), worker, verified, goal, latency),
            (None, Some(paced)) => {
                let tally = drive::<_, W, _, _>(switches, &mut ring.open(), worker, paced, goal, latency);
                paced.pause(monotonic_ns());
                tally
            }
            (None, None) => W::variant(tuning.bits)(ring, worker, goal, latency),
        }
    }

    /// True when requests start on a schedule.
    pub fn is_paced(&self) -> bool {
        self.paced.is_some()
    }

    /// Begins the schedule of an open loop anew.
    pub fn restart_schedule(&mut self) {
        if let Some(paced) = &mut self.paced {
            paced.restart(monotonic_ns());
        }
    }

    /// What became of that schedule; nothing where there is none.
    pub fn kept(&self) -> Kept {
        self.paced.as_ref().map_or_else(Kept::default, Paced::kept)
    }

    /// The levels that are in effect on this thread: numbers as the loop reads them, the batch of an open loop as it was handed over, ring flags
    /// as the kernel handed them back, registrations as `/proc/self/fdinfo` shows them, memory and CPUs as the kernel says, and of the toggles
    /// that act in the loop what `ran` says of itself.
    pub fn effective(&self, ran: Ran, memory: Kind, place: &Place<'_>) -> Levels {
        let (flags, settings) = (self.ring.flags(), &self.worker.settings);
        let has = |flag: u32| flags & flag == flag;
        let info = self.fdinfo();
        let polls = if has(flag::HYBRID_IOPOLL) { HYBRID } else { u32::from(has(flag::IOPOLL)) };
        let taskrun = if has(flag::DEFER_TASKRUN) { DEFER } else { if has(flag::COOP_TASKRUN) { COOP } else { 0 } };
        let sqpoll = has(flag::SQPOLL) && field(&info, "SqThread").is_none_or(|thread| thread > 0);
        let cpus = numa::allowed();
        let near = place.node.is_some() && memory.node.is_some() && cpus.iter().all(|cpu| place.node_cpus.contains(cpu));
        // On a node of one CPU being bound and being pinned are the same.
        let pinned = match (near, place.node_cpus.len()) {
            (true, 1) => self.levels.is_on(Toggle::CpuAffinity),
            _ => cpus.len() == 1 && place.anywhere.len() > 1,
        };
        let mut found = read_back(self.levels, ran.variant)
            .with(Toggle::BatchSubmit, ran.batches.mean().unwrap_or(settings.batch_submit))
            .with(Toggle::BatchComplete, settings.batch_complete)
            .with(Toggle::Iopoll, polls)
            .with(Toggle::Taskrun, taskrun)
            .with(Toggle::Sqpoll, sqpoll.into())
            .with(Toggle::NoSqarray, has(flag::NO_SQARRAY).into())
            .with(Toggle::Passthrough, has(flag::SQE128).into())
            .with(Toggle::RegisteredRing, self.ring.enters_by_index().into())
            .with(Toggle::HugePages, memory.huge_pages)
            .with(Toggle::NumaBind, near.into())
            .with(Toggle::CpuAffinity, pinned.into());
        for (toggle, number) in
            [(Toggle::TimeCheckInterval, settings.time_check_interval), (Toggle::LatencySampling, settings.latency_sampling)]
        {
            if found.is_on(toggle) {
                found = found.with(toggle, if number == u32::MAX { 0 } else { number });
            }
        }
        for (name, toggle) in [("UserFiles", Toggle::FixedFiles), ("UserBufs", Toggle::FixedBuffers)] {
            // The loop's word counts where the kernel does not print the registration.
            if field(&info, name).is_some_and(|count| (count > 0) != found.is_on(toggle)) {
                found = found.with(toggle, toggle.spec().on + toggle.spec().off - found.get(toggle));
            }
        }
        found
    }

    fn fdinfo(&self) -> String {
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.ring.descriptor())).unwrap_or_default()
    }
}

/// What the slices of an arm say of the loop that ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ran {
    /// Its bit-set.
    pub variant: u32,
    /// What the kernel took, where the loop is open.
    pub batches: Batches,
}

/// Why a kernel keeps no rate.
const NO_LIMITS: &str = "rate_iops needs a wait in io_uring_enter that ends in time, which kernels have since 5.11 \
                         (IORING_FEAT_EXT_ARG); use one from 5.11 on, or leave rate_iops out";

/// How a drain ended.
#[derive(Clone, Copy, Debug)]
pub struct Drained {
    /// False when the device did not let go.
    pub in_time: bool,
    pub failed: Failed,
}

/// For one request on a device that works.
const TRIAL: Duration = Duration::from_secs(10);

/// What a kernel or a device answers that cannot do what was asked, where others can.
const REFUSALS: [i32; 5] = [libc::EOPNOTSUPP, libc::EINVAL, libc::ENOTTY, libc::EACCES, libc::ENOSYS];

/// How long past its idle time a submitting thread may take to fall asleep.
const SQPOLL_GRACE_MS: u64 = 50;

/// The number behind `UserFiles:`, `UserBufs:` or `SqThread:`; `None` when the kernel does not print it.
fn field(fdinfo: &str, name: &str) -> Option<i64> {
    let rest = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_fdinfo() {
        let text = "SqMask:\t0x7f\nSqThread:\t-1\nUserFiles:\t1\n    0: loop0\nUserBufs:\t128\n";
        assert_eq!(field(text, "UserFiles"), Some(1));
        assert_eq!(field(text, "UserBufs"), Some(128));
        assert_eq!(field(text, "SqThread"), Some(-1));
        assert_eq!(field("SqMask: 1\n", "UserBufs"), None);
    }
}
