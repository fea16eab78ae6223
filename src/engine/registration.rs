//! What this kernel and this user can register with a ring, asked before any arm does.

use super::SetupError;
use super::buffers::{Kind, Pool};
use crate::workload::Workload;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Registers the buffers of all jobs of a workload as a round does, and lets them go: says whether this user may lock that much memory.
pub fn probe_registration(workload: &Workload) -> Result<(), SetupError> {
    let bytes = workload.block_size_bytes;
    let mut pool = Pool::new(Kind { huge_pages: 0, node: None }, bytes, workload.queue_depth, workload.jobs)?;
    let mut rings = Vec::new();
    for job in pool.jobs() {
        let ring = io_uring::IoUring::new(1).map_err(|source| SetupError::Ring { entries: 1, source })?;
        let fail = |source| SetupError::RegisterBuffers { count: job.0.len(), bytes, source };
        // SAFETY: the rings are dropped before the pool (declared after it), and no request is made.
        unsafe { ring.submitter().register_buffers(&job.0) }.map_err(fail)?;
        rings.push(ring);
    }
    Ok(())
}

/// Looks at how long unregistering may take: the shortest of them, since any can be interrupted.
const UNREGISTERING_LOOKS: u32 = 3;

/// Unregistering that takes longer is not done at the edges of slices, which last milliseconds.
const UNREGISTERING_MOST: Duration = Duration::from_millis(2);

/// Whether unregistering takes long on this kernel. Linux 6.1 waits for readers of the old table to be gone (`io_rsrc_ref_quiesce`): 20 ms for
/// files and as long for buffers, which made ten seconds of a round that measures for one.
pub fn unregistering_is_slow(descriptor: RawFd) -> Result<bool, SetupError> {
    let ring = io_uring::IoUring::new(1).map_err(|source| SetupError::Ring { entries: 1, source })?;
    let look = |_| {
        ring.submitter().register_files(&[descriptor])?;
        let start = Instant::now();
        ring.submitter().unregister_files().map(|()| start.elapsed())
    };
    let looks: io::Result<Vec<Duration>> = (0..UNREGISTERING_LOOKS).map(look).collect();
    Ok(looks.map_err(SetupError::RegisterFiles)?.iter().min() > Some(&UNREGISTERING_MOST))
}
