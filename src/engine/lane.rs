//! A ring with its slots, and the arm that runs on it for a slice; what of the arm is really in effect.
//!
//! Arms whose levels ask for the same ring share one: identical arms on rings of their own differed in CPU time per operation, beyond the
//! noise of their slices, for as long as the rings lived, since the kernel's memory behind each lies elsewhere.

use super::SetupError;
use super::buffers::{Pool, iovecs};
use super::drive::bit;
use super::pattern::Pattern;
use super::slots::Slots;
use super::sqe::Place;
use super::stats::Stats;
use super::variants::{self, Variant};
use crate::toggle::{Levels, Toggle};
use crate::workload::Workload;
use io_uring::IoUring;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};

/// What the loop reads on every turn.
pub struct Settings {
    pub block_size: u32,
    pub batch_submit: u32,
    pub time_check_interval: u32,
    /// `u32::MAX` when no request is timed: the countdown outlasts any slice.
    pub latency_sampling: u32,
    fd: RawFd,
    buffers: Vec<libc::iovec>,
}

impl Settings {
    /// What the encoder needs for `slot`.
    #[inline(always)]
    pub fn place(&self, slot: u32) -> Place {
        let buffer = self.buffers[slot as usize].iov_base.cast();
        Place { fd: self.fd, buffer, length: self.block_size, slot }
    }
}

/// An arm as the engine needs it: levels, and the loop compiled for them.
#[derive(Clone, Copy)]
pub struct Tuning {
    levels: Levels,
    /// The loop this arm runs.
    pub variant: Variant,
}

impl Tuning {
    /// `placebo` picks the second copy of the code.
    pub fn new(levels: &Levels, placebo: bool) -> Tuning {
        let bits = variants::bits_of(levels) | if placebo { bit::PLACEBO } else { 0 };
        Tuning { levels: *levels, variant: variants::variant(bits) }
    }

    /// The levels that only another ring can change, as a key: arms with the same key share rings.
    pub fn ring_key(&self) -> u32 {
        self.levels.get(Toggle::Taskrun)
    }
}

/// A ring on one thread. The pool behind its buffers is owned by the round, which drops its lanes first, and a ring is drained before every
/// slice ends; so no buffer is freed or reused under the kernel.
pub struct Lane {
    pub ring: IoUring,
    pub slots: Slots,
    pub stats: Stats,
    pub pattern: Arc<Mutex<Pattern>>,
    pub settings: Settings,
    /// Requests pushed and not yet submitted.
    pub queued: u32,
    levels: Levels,
    buffers_at_edge: bool,
}

/// What all lanes of a job share.
pub struct JobContext<'a> {
    pub workload: &'a Workload,
    pub fd: RawFd,
    pub buffers: &'a [libc::iovec],
    pub pattern: &'a Arc<Mutex<Pattern>>,
    /// Some arm of the round registers buffers, so every arm does at the edges of its slices.
    pub buffers_at_edge: bool,
}

impl Lane {
    /// Creates the ring that `tuning` asks for.
    pub fn new(tuning: &Tuning, job: &JobContext<'_>) -> Result<Lane, SetupError> {
        let depth = job.workload.queue_depth;
        Ok(Lane {
            ring: build(&tuning.levels, depth)?,
            slots: Slots::new(depth),
            stats: Stats::default(),
            pattern: Arc::clone(job.pattern),
            settings: Settings {
                block_size: job.workload.block_size_bytes,
                batch_submit: 1,
                time_check_interval: 1,
                latency_sampling: 1,
                fd: job.fd,
                buffers: job.buffers.to_vec(),
            },
            queued: 0,
            levels: tuning.levels,
            buffers_at_edge: job.buffers_at_edge,
        })
    }

    /// Makes this lane the arm's for a slice. Every arm does the same work here: it registers file and buffers (these only where some arm of
    /// the round has `fixed_buffers`; locked memory is limited per user), and lets go what its levels do not want.
    pub fn begin(&mut self, tuning: &Tuning) -> Result<(), SetupError> {
        let levels = tuning.levels;
        let sampling = levels.get(Toggle::LatencySampling);
        self.levels = levels;
        self.settings.batch_submit = levels.get(Toggle::BatchSubmit);
        self.settings.time_check_interval = levels.get(Toggle::TimeCheckInterval);
        self.settings.latency_sampling = if sampling == 0 { u32::MAX } else { sampling };
        let submitter = self.ring.submitter();
        submitter.register_files(&[self.settings.fd]).map_err(SetupError::RegisterFiles)?;
        if !levels.is_on(Toggle::FixedFiles) {
            submitter.unregister_files().map_err(SetupError::RegisterFiles)?;
        }
        if self.buffers_at_edge {
            let buffers = &self.settings.buffers;
            let fail = |source| SetupError::RegisterBuffers { count: buffers.len(), bytes: self.settings.block_size, source };
            // SAFETY: the buffers live in the round's pool, which outlives every lane.
            unsafe { submitter.register_buffers(buffers) }.map_err(fail)?;
            if !levels.is_on(Toggle::FixedBuffers) {
                submitter.unregister_buffers().map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Lets go what [`Lane::begin`] registered and kept.
    pub fn end(&mut self) {
        // What is not registered answers ENXIO; there is then nothing to let go.
        if self.levels.is_on(Toggle::FixedFiles) {
            let _ = self.ring.submitter().unregister_files();
        }
        if self.levels.is_on(Toggle::FixedBuffers) {
            let _ = self.ring.submitter().unregister_buffers();
        }
    }

    /// Finds out before anything is measured whether an arm can run here: the kernel may refuse to pin its buffers, and what it says is
    /// registered must be what was asked for.
    pub fn try_on(&mut self, tuning: &Tuning) -> Result<(), SetupError> {
        let begun = self.begin(tuning).and_then(|()| self.check_registrations());
        self.end();
        begun
    }

    /// The levels that are in effect, given what the loop that ran says of itself.
    pub fn effective(&self, tuning: &Tuning, ran: u32) -> Levels {
        variants::effective(&tuning.levels, ran)
    }

    fn check_registrations(&self) -> Result<(), SetupError> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.ring.as_raw_fd())).unwrap_or_default();
        let depth = self.settings.buffers.len();
        for (field, toggle, count) in [("UserFiles", Toggle::FixedFiles, 1), ("UserBufs", Toggle::FixedBuffers, depth)] {
            let wanted = if self.levels.is_on(toggle) { count } else { 0 };
            let found = registered(&info, field);
            if found.is_some_and(|n| n != wanted) {
                let what = format!("{} with {wanted} registered", toggle.key());
                return Err(SetupError::NotInEffect { what, found: format!("{field} {}", found.unwrap_or_default()) });
            }
        }
        Ok(())
    }
}

/// A ring with the flags that `taskrun` asks for. A kernel that does not know one answers EINVAL; nothing is tried instead.
fn build(levels: &Levels, depth: u32) -> Result<IoUring, SetupError> {
    let mut builder = IoUring::builder();
    match levels.get(Toggle::Taskrun) {
        0 => {}
        // Deferring needs a single issuer (io_uring_setup(2)).
        variants::DEFER => drop(builder.setup_single_issuer().setup_defer_taskrun()),
        _ => drop(builder.setup_coop_taskrun()),
    }
    builder.build(depth).map_err(|source| SetupError::Ring { entries: depth, source })
}

/// Registers the buffers of all jobs of a workload as a round does, and lets them go: says whether this user may lock that much memory.
pub fn probe_registration(workload: &Workload) -> Result<(), SetupError> {
    let bytes = workload.block_size_bytes;
    let mut pool = Pool::new(bytes, workload.queue_depth, workload.jobs)?;
    let mut rings = Vec::new();
    for memory in pool.jobs() {
        let ring = IoUring::new(1).map_err(|source| SetupError::Ring { entries: 1, source })?;
        let buffers = iovecs(memory, bytes);
        // SAFETY: the rings are dropped before the pool (declared after it), and no request is made.
        unsafe { ring.submitter().register_buffers(&buffers) }.map_err(|source| SetupError::RegisterBuffers {
            count: buffers.len(),
            bytes,
            source,
        })?;
        rings.push(ring);
    }
    Ok(())
}

/// The count behind `UserFiles:` or `UserBufs:`; `None` when the kernel does not print it.
fn registered(fdinfo: &str, field: &str) -> Option<usize> {
    let rest = fdinfo.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    rest.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_fdinfo() {
        let text = "SqMask:\t0x7f\nUserFiles:\t1\n    0: loop0\nUserBufs:\t128\n";
        assert_eq!(registered(text, "UserFiles"), Some(1));
        assert_eq!(registered(text, "UserBufs"), Some(128));
        assert_eq!(registered("SqMask: 1\n", "UserBufs"), None);
    }
}
