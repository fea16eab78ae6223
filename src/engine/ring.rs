//! Rings: created with the flags that levels ask for, read back, entered by descriptor or by registered index.
//!
//! io-uring's builder has no door for IORING_SETUP_HYBRID_IOPOLL and none to read flags back, and its registered ring is forgotten with each
//! borrow of the submitter; so the set-up call for that flag, the flags' reading and the enter call are made here, in a line or two each.

use super::SetupError;
use super::queue::Queue;
use super::work::Work;
use crate::toggle::{Levels, Toggle};
use io_uring::cqueue::CompletionQueue;
use io_uring::squeue::SubmissionQueue;
use io_uring::{IoUring, Parameters};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// `[engine] sqpoll_idle` and `sqpoll_cpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sqpoll {
    pub idle_ms: u32,
    pub cpu: Option<u32>,
}

impl Default for Sqpoll {
    fn default() -> Sqpoll {
        Sqpoll { idle_ms: 2, cpu: None }
    }
}

/// Bits of `struct io_uring_params.flags` (linux/io_uring.h).
pub mod flag {
    pub const IOPOLL: u32 = 1;
    pub const SQPOLL: u32 = 1 << 1;
    pub const SQ_AFF: u32 = 1 << 2;
    pub const COOP_TASKRUN: u32 = 1 << 8;
    pub const SQE128: u32 = 1 << 10;
    pub const SINGLE_ISSUER: u32 = 1 << 12;
    pub const DEFER_TASKRUN: u32 = 1 << 13;
    pub const NO_SQARRAY: u32 = 1 << 16;
    pub const HYBRID_IOPOLL: u32 = 1 << 17;
}

/// Bits of the flags of io_uring_enter(2).
pub const GETEVENTS: u32 = 1;
pub const SQ_WAKEUP: u32 = 1 << 1;
const EXT_ARG: u32 = 1 << 3;
const REGISTERED_RING: u32 = 1 << 4;

/// `IORING_FEAT_EXT_ARG`: a wait may have a time limit (kernel 5.11).
const FEATURE_EXT_ARG: u32 = 1 << 8;

/// Levels `coop` and `defer` of `taskrun`, `hybrid` of `iopoll`.
pub const COOP: u32 = 1;
pub const DEFER: u32 = 2;
pub const HYBRID: u32 = 2;

/// A ring of one kind of work.
pub struct Ring<W: Work> {
    inner: IoUring<W::Entry, W::Completion>,
    /// What io_uring_enter(2) is called on: the descriptor, or its registered index.
    enter_on: RawFd,
    enter_flags: u32,
}

impl<W: Work> Ring<W> {
    /// Creates a ring of `entries` with the flags that `levels` ask for. A kernel that does not know one answers EINVAL; nothing is tried
    /// instead.
    pub fn new(levels: &Levels, entries: u32, sqpoll: Sqpoll) -> Result<Ring<W>, SetupError> {
        let hybrid = levels.get(Toggle::Iopoll) == HYBRID;
        let made = if hybrid { W::adopt(levels, entries, sqpoll) } else { builder::<W>(levels, sqpoll).build(entries) };
        let inner: IoUring<W::Entry, W::Completion> = made.map_err(|source| SetupError::Ring { entries, source })?;
        let enter_on = inner.as_raw_fd();
        Ok(Ring { inner, enter_on, enter_flags: 0 })
    }

    /// The set-up flags that the kernel handed back.
    pub fn flags(&self) -> u32 {
        words(self.inner.params())[2]
    }

    /// The ring's descriptor, for `/proc/self/fdinfo`.
    pub fn descriptor(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// The door to registrations.
    pub fn submitter(&self) -> io_uring::Submitter<'_> {
        self.inner.submitter()
    }

    /// Registers the ring's own descriptor with this task; enters go by its index from then on.
    pub fn register_self(&mut self) -> io::Result<()> {
        let any = RsrcUpdate { offset: u32::MAX, reserved: 0, data: self.inner.as_raw_fd() as u64 };
        self.enter_on = self.register_call(IORING_REGISTER_RING_FDS, any)? as RawFd;
        self.enter_flags = REGISTERED_RING;
        Ok(())
    }

    /// Undoes [`Ring::register_self`].
    pub fn unregister_self(&mut self) -> io::Result<()> {
        if self.enters_by_index() {
            let own = RsrcUpdate { offset: self.enter_on as u32, reserved: 0, data: 0 };
            self.register_call(IORING_UNREGISTER_RING_FDS, own)?;
            self.enter_on = self.inner.as_raw_fd();
            self.enter_flags = 0;
        }
        Ok(())
    }

    /// True when a wait for completions may have a time limit.
    pub fn waits_have_limits(&self) -> bool {
        feature_bits(self.inner.params()) & FEATURE_EXT_ARG != 0
    }

    /// True while enters go by a registered index.
    pub fn enters_by_index(&self) -> bool {
        self.enter_flags == REGISTERED_RING
    }

    fn register_call(&self, operation: libc::c_long, mut update: RsrcUpdate) -> io::Result<u32> {
        // SAFETY: one `struct io_uring_rsrc_update` is passed, as these two operations of io_uring_register(2) expect; it lives until the
        // call returns, and the kernel writes the index it chose into `offset`.
        let done = unsafe {
            libc::syscall(libc::SYS_io_uring_register, self.inner.as_raw_fd(), operation, std::ptr::from_mut(&mut update), 1)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(update.offset) }
    }

    /// True while the submitting kernel thread sleeps, or where there is none.
    pub fn submitter_sleeps(&mut self) -> bool {
        self.flags() & flag::SQPOLL == 0 || self.inner.submission().need_wakeup()
    }

    /// Both queues, borrowed for a stretch of work.
    #[inline(always)]
    pub fn open(&mut self) -> Open<'_, W> {
        let (_, submissions, completions) = self.inner.split();
        Open { submissions, completions, enter_on: self.enter_on, enter_flags: self.enter_flags }
    }
}

const IORING_REGISTER_RING_FDS: libc::c_long = 20;
const IORING_UNREGISTER_RING_FDS: libc::c_long = 21;

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// The builder with every flag but hybrid polling.
fn builder<W: Work>(levels: &Levels, sqpoll: Sqpoll) -> io_uring::Builder<W::Entry, W::Completion> {
    let mut builder = IoUring::<W::Entry, W::Completion>::builder();
    if levels.is_on(Toggle::Iopoll) {
        builder.setup_iopoll();
    }
    if levels.is_on(Toggle::Sqpoll) {
        builder.setup_sqpoll(sqpoll.idle_ms);
        sqpoll.cpu.map(|cpu| builder.setup_sqpoll_cpu(cpu));
    }
    match levels.get(Toggle::Taskrun) {
        COOP => drop(builder.setup_coop_taskrun()),
        // Deferring needs a single issuer (io_uring_setup(2)).
        DEFER => drop(builder.setup_single_issuer().setup_defer_taskrun()),
        _ => {}
    }
    if levels.is_on(Toggle::NoSqarray) {
        builder.setup_no_sqarray();
    }
    builder
}

/// A ring of 64-byte entries, set up by our own call: for hybrid polling, which the builder lacks.
pub fn adopt(levels: &Levels, entries: u32, sqpoll: Sqpoll) -> io::Result<IoUring> {
    let mut params = [0_u32; PARAM_WORDS];
    params[2] = wanted_flags(levels) | if sqpoll.cpu.is_some() && levels.is_on(Toggle::Sqpoll) { flag::SQ_AFF } else { 0 };
    params[3] = sqpoll.cpu.unwrap_or(0);
    params[4] = sqpoll.idle_ms;
    // SAFETY: `params` has the size and the alignment of `struct io_uring_params`, which the kernel reads and fills.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `Parameters` is documented to be a transparent wrapper of the structure that the kernel has just filled; the descriptor is a new
    // ring that nobody else owns.
    unsafe { IoUring::from_fd(fd as RawFd, std::mem::transmute::<[u32; PARAM_WORDS], Parameters>(params)) }
}

/// The size of `struct io_uring_params`.
const PARAM_WORDS: usize = 30;

fn words(params: &Parameters) -> &[u32; PARAM_WORDS] {
    // SAFETY: `Parameters` is documented to be a transparent wrapper of `struct io_uring_params`: 30 initialised words, aligned for them.
    unsafe { &*std::ptr::from_ref(params).cast() }
}

/// The features that the kernel handed back.
pub fn feature_bits(params: &Parameters) -> u32 {
    words(params)[5]
}

const _: () = assert!(size_of::<Parameters>() == PARAM_WORDS * 4 && align_of::<Parameters>() >= 4);

/// The set-up flags that levels ask for, entry sizes apart.
pub fn wanted_flags(levels: &Levels) -> u32 {
    let iopoll = [0, flag::IOPOLL, flag::IOPOLL | flag::HYBRID_IOPOLL][levels.get(Toggle::Iopoll) as usize];
    let taskrun = [0, flag::COOP_TASKRUN, flag::SINGLE_ISSUER | flag::DEFER_TASKRUN][levels.get(Toggle::Taskrun) as usize];
    let sqpoll = if levels.is_on(Toggle::Sqpoll) { flag::SQPOLL } else { 0 };
    let array = if levels.is_on(Toggle::NoSqarray) { flag::NO_SQARRAY } else { 0 };
    iopoll | taskrun | sqpoll | array
}

/// `struct io_uring_getevents_arg` of io_uring_enter(2).
#[repr(C)]
struct GetEvents {
    mask: u64,
    mask_bytes: u32,
    least_wait_us: u32,
    /// Address of a `struct __kernel_timespec`: seconds and nanoseconds from now.
    limit: u64,
}

/// Both queues of a ring.
pub struct Open<'a, W: Work> {
    submissions: SubmissionQueue<'a, W::Entry>,
    completions: CompletionQueue<'a, W::Completion>,
    enter_on: RawFd,
    enter_flags: u32,
}

impl<W: Work> Queue<W> for Open<'_, W> {
    #[inline(always)]
    fn refresh(&mut self) {
        self.completions.sync();
    }

    #[inline(always)]
    fn reap(&mut self) -> Option<(u64, i32)> {
        self.completions.next().map(|completion| W::answer(&completion))
    }

    #[inline(always)]
    fn nothing_completed(&mut self) -> bool {
        self.completions.sync();
        self.completions.is_empty()
    }

    #[inline(always)]
    unsafe fn push(&mut self, entry: &W::Entry) {
        // SAFETY: the caller keeps the entry's buffer alive and unshared until its completion is reaped.
        unsafe { self.submissions.push(entry) }.expect("the ring has an entry for every slot");
    }

    #[inline(always)]
    fn is_full(&mut self) -> bool {
        self.submissions.is_full() && {
            self.submissions.sync();
            self.submissions.is_full()
        }
    }

    #[inline(always)]
    fn sync_submissions(&mut self) {
        self.submissions.sync();
    }

    #[inline(always)]
    fn needs_wakeup(&mut self) -> bool {
        self.submissions.need_wakeup()
    }

    #[inline(always)]
    fn enter(&mut self, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<usize> {
        let flags = flags | self.enter_flags;
        // SAFETY: no signal mask is passed; `to_submit` entries have been pushed and published.
        let taken = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.enter_on, to_submit, min_complete, flags, std::ptr::null::<u8>(), 0)
        };
        if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(taken as usize) }
    }

    fn enter_until(&mut self, to_submit: u32, min_complete: u32, flags: u32, until_ns: u64) -> io::Result<usize> {
        let left = Duration::from_nanos(until_ns.saturating_sub(self.now_ns()));
        let limit = [left.as_secs() as i64, left.subsec_nanos().into()];
        let wait = GetEvents { mask: 0, mask_bytes: 0, least_wait_us: 0, limit: std::ptr::from_ref(&limit) as u64 };
        let flags = flags | self.enter_flags | EXT_ARG;
        // SAFETY: EXT_ARG says that the structure and its size follow; it and the limit in it live until the call returns, which does not
        // write to them. `to_submit` entries have been pushed and published.
        let taken = unsafe {
            let size = size_of::<GetEvents>();
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_on,
                to_submit,
                min_complete,
                flags,
                std::ptr::from_ref(&wait),
                size,
            )
        };
        match taken {
            0.. => Ok(taken as usize),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ETIME) => Ok(0),
                error => Err(error),
            },
        }
    }
}
