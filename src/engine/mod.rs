//! The io_uring worker: set-up of an arm, and the measurement of one slice of it.
//!
//! Owns every ring, every registered buffer and the hot loop. Knows nothing of experiments, statistics or files of results: it is given
//! [`Levels`](crate::toggle::Levels) and a [`Workload`](crate::workload::Workload) and returns [`slice::Sample`]s.

pub mod buffers;
#[expect(unsafe_code, reason = "pushing an entry hands its buffer to the kernel")]
pub mod drive;
#[expect(unsafe_code, reason = "registering buffers hands them to the kernel")]
pub mod lane;
pub mod pattern;
pub mod slice;
pub mod slots;
pub mod sqe;
pub mod stats;
pub mod variants;

use std::io;

/// Largest queue depth the kernel accepts (`IORING_MAX_ENTRIES`).
pub const MAX_QUEUE_DEPTH: u32 = 32768;

/// Why a ring could not be brought to the levels asked for.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("cannot open {path}: {source}")]
    Open { path: String, source: io::Error },
    #[error("io_uring_setup with {entries} entries failed: {source}{}", remedy(source))]
    Ring { entries: u32, source: io::Error },
    #[error("registering {count} buffers of {bytes} bytes failed: {source}{}", remedy(source))]
    RegisterBuffers { count: usize, bytes: u32, source: io::Error },
    #[error("registering the file failed: {0}")]
    RegisterFiles(io::Error),
    #[error("{what} was asked for, {found} is in effect")]
    NotInEffect { what: String, found: String },
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

/// Fails with the reason when this process cannot create a ring at all.
pub fn probe() -> Result<(), SetupError> {
    io_uring::IoUring::new(1).map(drop).map_err(|source| SetupError::Ring { entries: 1, source })
}
