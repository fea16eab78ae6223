//! The buffer pool: page-aligned memory shared by all arms of a round that want the same kind of memory.
//!
//! Arms take turns, so one pool serves them all; pools of their own made identical arms differ by several percent, in order of
//! allocation. Each job owns a range of the pool, each request in flight one buffer of it.

use super::SetupError;
use memmap2::{Advice, MmapMut, MmapOptions};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Buffers of one size for all jobs of a round.
pub struct Pool {
    memory: MmapMut,
    buffer_bytes: usize,
    per_job: usize,
}

impl Pool {
    /// Maps, faults in and fills `jobs * depth` buffers with incompressible data (writes send it as it is).
    pub fn new(buffer_bytes: u32, depth: u32, jobs: u32) -> Result<Pool, SetupError> {
        let bytes = u64::from(buffer_bytes) * u64::from(depth) * u64::from(jobs);
        let fail = |source| SetupError::Memory { bytes, source };
        let length = usize::try_from(bytes).map_err(|_| fail(std::io::ErrorKind::OutOfMemory.into()))?;
        let mut memory = MmapOptions::new().len(length).map_anon().map_err(fail)?;
        // Level off of huge_pages. A kernel without transparent huge pages refuses the advice with EINVAL: nothing to switch off.
        let _ = memory.advise(Advice::NoHugePage);
        ChaCha8Rng::seed_from_u64(bytes).fill_bytes(&mut memory);
        Ok(Pool { memory, buffer_bytes: buffer_bytes as usize, per_job: depth as usize })
    }

    /// The memory of each job, in order.
    pub fn jobs(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.memory.chunks_exact_mut(self.per_job * self.buffer_bytes)
    }
}

/// The addresses of a job's buffers, in slot order.
pub fn iovecs(memory: &mut [u8], buffer_bytes: u32) -> Vec<libc::iovec> {
    let stride = buffer_bytes as usize;
    memory.chunks_exact_mut(stride).map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: stride }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_disjoint() {
        let mut pool = Pool::new(4096, 8, 2).unwrap();
        let mut starts: Vec<usize> = pool.jobs().flat_map(|m| iovecs(m, 4096)).map(|v| v.iov_base as usize).collect();
        assert!(starts.iter().all(|a| a.is_multiple_of(4096)));
        starts.sort_unstable();
        assert!(starts.windows(2).all(|w| w[1] - w[0] == 4096), "16 buffers side by side");
        assert_eq!(starts.len(), 16);
    }
}
