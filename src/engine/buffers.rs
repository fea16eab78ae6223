//! Buffer pools: page-aligned memory shared by all arms of a round that want the same kind of memory.
//!
//! Arms take turns, so one pool serves them all; pools of their own made identical arms differ by several percent, in order of
//! allocation. Each job owns a range of the pool, each request in flight one buffer of it.

use super::SetupError;
use super::drive::Buffers;
use super::numa;
use crate::toggle::{Levels, Toggle};
use memmap2::{Advice, MmapMut, MmapOptions};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::sync::Arc;

/// The huge page of x86-64 and of 4 KiB kernels elsewhere.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Levels of `huge_pages`.
const THP: u32 = 1;
const HUGETLB: u32 = 2;

/// What sort of memory buffers lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Level of `huge_pages`.
    pub huge_pages: u32,
    /// The NUMA node that `numa_bind` binds to.
    pub node: Option<u32>,
}

impl Kind {
    /// What `levels` ask for on a machine whose device is attached to `node`.
    pub fn wanted(levels: &Levels, node: Option<u32>) -> Kind {
        Kind { huge_pages: levels.get(Toggle::HugePages), node: node.filter(|_| levels.is_on(Toggle::NumaBind)) }
    }
}

/// Buffers of one size for all jobs of a round.
pub struct Pool {
    memory: MmapMut,
    start: usize,
    buffer_bytes: usize,
    per_job: usize,
    jobs: usize,
}

impl Pool {
    /// Maps, faults in and fills `jobs * depth` buffers with incompressible data (writes send it as it is).
    pub fn new(kind: Kind, buffer_bytes: u32, depth: u32, jobs: u32) -> Result<Pool, SetupError> {
        let bytes = u64::from(buffer_bytes) * u64::from(depth) * u64::from(jobs);
        let fail = |source| SetupError::Memory { bytes, source };
        let length = usize::try_from(bytes).map_err(|_| fail(std::io::ErrorKind::OutOfMemory.into()))?;
        let whole = length.next_multiple_of(HUGE_PAGE_BYTES);
        let mut memory = match kind.huge_pages {
            HUGETLB => MmapOptions::new()
                .len(whole)
                .huge(Some(HUGE_PAGE_BYTES.ilog2() as u8))
                .map_anon()
                .map_err(SetupError::HugePages)?,
            // Room to begin at a huge page's boundary.
            THP => MmapOptions::new().len(whole + HUGE_PAGE_BYTES).map_anon().map_err(fail)?,
            _ => MmapOptions::new().len(length).map_anon().map_err(fail)?,
        };
        let start = if kind.huge_pages == THP { memory.as_ptr().align_offset(HUGE_PAGE_BYTES) } else { 0 };
        // A kernel without transparent huge pages refuses the advice with EINVAL: there is then nothing to switch off, and what is to be on is
        // found missing when it is read back.
        let _ = memory.advise(if kind.huge_pages == THP { Advice::HugePage } else { Advice::NoHugePage });
        if let Some(node) = kind.node {
            numa::bind_memory(&mut memory, node).map_err(|source| SetupError::Numa { node, source })?;
        }
        let filled = if kind.huge_pages == THP { start + whole } else { length };
        ChaCha8Rng::seed_from_u64(bytes).fill_bytes(&mut memory[start..filled]);
        Ok(Pool { memory, start, buffer_bytes: buffer_bytes as usize, per_job: depth as usize, jobs: jobs as usize })
    }

    /// The buffers of each job. Whoever uses an address keeps the pool alive.
    pub fn jobs(&mut self) -> Vec<Arc<Buffers>> {
        let length = self.buffer_bytes * self.per_job * self.jobs;
        let memory = &mut self.memory[self.start..self.start + length];
        let vector = |b: &mut [u8]| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() };
        let buffers = |job: &mut [u8]| Arc::new(Buffers(job.chunks_exact_mut(self.buffer_bytes).map(vector).collect()));
        memory.chunks_exact_mut(self.per_job * self.buffer_bytes).map(buffers).collect()
    }

    /// The kind of memory that the kernel says this is.
    pub fn effective(&self, wanted: Kind) -> Kind {
        let address = self.memory.as_ptr() as usize + self.start;
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let node = wanted.node.filter(|node| numa::node_of(&self.memory[self.start..]) == Some(*node));
        Kind { huge_pages: huge_pages(&smaps, address), node }
    }
}

/// The level of `huge_pages` of the mapping that holds `address`.
fn huge_pages(smaps: &str, address: usize) -> u32 {
    let holds = |line: &str| {
        let (from, rest) = line.split_once('-')?;
        let (to, _) = rest.split_once(' ')?;
        let bound = |text| usize::from_str_radix(text, 16).ok();
        Some(bound(from)? <= address && address < bound(to)?)
    };
    let mapping: Vec<&str> = smaps.lines().skip_while(|line| holds(line) != Some(true)).collect();
    let kilobytes = |key: &str| -> usize {
        let value = mapping.iter().skip(1).take_while(|line| holds(line).is_none()).find_map(|line| line.strip_prefix(key));
        value.and_then(|v| v.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    if kilobytes("KernelPageSize:") * 1024 >= HUGE_PAGE_BYTES {
        HUGETLB
    } else if kilobytes("AnonHugePages:") * 1024 >= HUGE_PAGE_BYTES {
        THP
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Kind = Kind { huge_pages: 0, node: None };

    #[test]
    fn buffers_are_aligned_and_disjoint() {
        let mut pool = Pool::new(PLAIN, 4096, 8, 2).unwrap();
        let mut starts: Vec<usize> =
            pool.jobs().iter().flat_map(|job| job.0.iter().map(|b| b.iov_base as usize).collect::<Vec<_>>()).collect();
        assert!(starts.iter().all(|a| a.is_multiple_of(4096)));
        starts.sort_unstable();
        assert!(starts.windows(2).all(|w| w[1] - w[0] == 4096), "16 buffers side by side");
        assert_eq!(starts.len(), 16);
        assert_eq!(pool.effective(PLAIN), PLAIN);
    }

    #[test]
    fn the_mapping_of_an_address_is_read() {
        let smaps = "1000-2000 rw-p 0 00:00 0\nKernelPageSize:        4 kB\nAnonHugePages:         0 kB\n\
                     200000-600000 rw-p 0 00:00 0\nKernelPageSize:        4 kB\nAnonHugePages:      4096 kB\n\
                     800000-a00000 rw-p 0 00:00 0 /anon_hugepage (deleted)\nKernelPageSize:     2048 kB\nAnonHugePages:         0 kB\n";
        assert_eq!([0x1800, 0x20_0000, 0x80_0000].map(|a| huge_pages(smaps, a)), [0, THP, HUGETLB]);
        assert_eq!(huge_pages(smaps, 0x70_0000), 0, "between mappings");
    }
}
