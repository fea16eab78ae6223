//! The io_uring worker: set-up of an arm, and the measurement of one slice of it.
//!
//! Owns every ring, every registered buffer and the hot loop. Knows nothing of experiments, statistics or files of results: it is given
//! [`Levels`](crate::toggle::Levels) and a [`Workload`](crate::workload::Workload) and returns [`slice::Sample`]s.

pub mod aims;
pub mod buffers;
pub mod capabilities;
pub mod charge;
#[expect(unsafe_code, reason = "pushing an entry hands its buffer to the kernel")]
pub mod drive;
#[expect(unsafe_code, reason = "stamping and checking a buffer needs its memory")]
pub mod hooks;
#[expect(unsafe_code, reason = "registering buffers hands them to the kernel")]
pub mod lane;
#[expect(unsafe_code, reason = "system calls without a safe door")]
pub mod numa;
pub mod pattern;
#[expect(unsafe_code, reason = "a queue's push is unsafe by contract")]
pub mod queue;
#[expect(unsafe_code, reason = "registering buffers hands them to the kernel")]
pub mod registration;
#[expect(unsafe_code, reason = "system calls without a safe door")]
pub mod ring;
#[expect(unsafe_code, reason = "a queue's push is unsafe by contract")]
pub mod simulated;
pub mod slice;
pub mod slots;
pub mod stamp;
pub mod stats;
pub mod switches;
pub mod variants;
pub mod work;

use serde::{Deserialize, Serialize};
use std::io;

/// Largest queue depth the kernel accepts (`IORING_MAX_ENTRIES`).
pub const MAX_QUEUE_DEPTH: u32 = 32768;

/// `[engine]` of an experiment: how toggles that need more than a level are set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub sqpoll: ring::Sqpoll,
    /// The CPUs to which `cpu_affinity` pins jobs, in turn; empty for all that are allowed.
    pub cpus: Vec<u32>,
    /// The node that `numa_bind` binds to, where the device does not name its own.
    pub numa_node: Option<u32>,
}

/// Why a ring could not be brought to the levels asked for.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("cannot open {path}: {source}")]
    Open { path: String, source: io::Error },
    #[error("{0} does not lead to what the runner checked; nothing was done to it")]
    OtherTarget(String),
    #[error("io_uring_setup with {entries} entries failed: {source}{}", remedy(source))]
    Ring { entries: u32, source: io::Error },
    #[error("registering {count} buffers of {bytes} bytes failed: {source}{}", remedy(source))]
    RegisterBuffers { count: usize, bytes: u32, source: io::Error },
    #[error("registering the file failed: {0}")]
    RegisterFiles(io::Error),
    #[error("registering the ring failed: {0}")]
    RegisterRing(io::Error),
    #[error(
        "mapping huge pages failed: {0}; reserve some (sysctl -w vm.nr_hugepages=N), enough for two pools of all buffers and more"
    )]
    HugePages(io::Error),
    #[error("{0}")]
    Unsupported(String),
    #[error("reading the target into the page cache, as cache = \"hit\" wants, or dropping it failed: {0}")]
    Regime(io::Error),
    #[error("starting a thread for each job failed: {0}; lower numjobs, or raise the limit on processes (ulimit -u, pids.max)")]
    Thread(io::Error),
    #[error("the threads of this process cannot be listed (/proc/self/task), so their CPU time cannot be charged: {0}")]
    Threads(io::Error),
    #[error("another job of the round failed")]
    OtherJob,
    #[error("binding memory to NUMA node {node} failed: {source}")]
    Numa { node: u32, source: io::Error },
    #[error("cannot tell which CPUs this thread may run on (sched_getaffinity): {0}")]
    Cpus(io::Error),
    #[error("confining the thread to CPUs {cpus:?} failed: {source}; [engine] cpus names those it may use")]
    Affinity { cpus: Vec<u32>, source: io::Error },
    /// Who knows the target says what explains it.
    #[error("requests are refused: {source}")]
    Refused { polled: bool, source: io::Error },
    #[error(
        "{0} cannot be opened for direct I/O (O_DIRECT is EINVAL): its file system has none; set [workload] direct = false, or name a file on \
         another"
    )]
    NoDirectIo(String),
    #[error("{what} was asked for, {found} is in effect{remedy}")]
    NotInEffect { what: String, found: String, remedy: &'static str },
    #[error("allocating {bytes} bytes of buffers failed: {source}")]
    Memory { bytes: u64, source: io::Error },
}

/// What a user can do about an errno of io_uring's set-up calls.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "; io_uring is switched off here: see /proc/sys/kernel/io_uring_disabled (0 allows it), or the container's seccomp profile \
             (docker run --security-opt seccomp=unconfined)"
        }
        Some(libc::ENOSYS) => "; this kernel or its seccomp filter has no io_uring (5.1 or newer is needed)",
        Some(libc::ENOMEM) => "; raise the locked-memory limit (ulimit -l unlimited) or lower iodepth or bs",
        Some(libc::EINVAL) => "; the kernel does not accept these entries or flags",
        _ => "",
    }
}

/// Fails with the reason when this process cannot create a ring at all, or cannot see the CPU time of workers that are allowed to work.
pub fn probe(allow_iowq: bool) -> Result<(), SetupError> {
    io_uring::IoUring::new(1).map(drop).map_err(|source| SetupError::Ring { entries: 1, source })?;
    match capabilities::uncharged().filter(|_| allow_iowq) {
        Some(reason) => Err(SetupError::Unsupported(format!("[target] allow_iowq = true: {reason}"))),
        None => Ok(()),
    }
}
