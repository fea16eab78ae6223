//! Where requests go: sequential or random offsets, and the mix of reads and writes.

use crate::workload::{Distribution, Rw, Workload};
use rand_distr::{Distribution as _, Zipf};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use std::ops::Range;

/// The pieces into which coverage divides a span.
pub const COVERAGE_PIECES: u32 = 64;

/// A large prime: multiplication by it, modulo the span, sends neighbouring ranks far apart.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C55;

/// The generator of offsets of one job. The seed keeps it behind a Mutex; level *off* of `fast_path` does too.
pub struct Pattern {
    random: bool,
    read_percent: u64,
    block_size: u64,
    /// First byte of the span.
    start: u64,
    span_blocks: u64,
    zipf: Option<Zipf<f64>>,
    next_block: u64,
    /// Where the last jump landed.
    from_block: u64,
    rng: Pcg64Mcg,
    /// Pieces of the span that random offsets fell into, one bit each.
    touched: u64,
}

impl Pattern {
    /// A pattern over the whole blocks of `range`, which holds at least one.
    pub fn new(workload: &Workload, range: &Range<u64>, seed: u64) -> Pattern {
        let read_percent = match (workload.rw.writes(), workload.rw) {
            (false, _) => 100,
            (true, Rw::Randrw) => workload.read_percent.into(),
            (true, _) => 0,
        };
        let span_blocks = (range.end - range.start) / u64::from(workload.block_size_bytes);
        let zipf = match workload.distribution {
            Distribution::Uniform => None,
            Distribution::Zipf(hundredths) => Zipf::new(span_blocks as f64, f64::from(hundredths) / 100.0).ok(),
        };
        Pattern {
            random: workload.rw.is_random(),
            read_percent,
            block_size: workload.block_size_bytes.into(),
            start: range.start,
            span_blocks,
            zipf,
            next_block: 0,
            from_block: 0,
            rng: Pcg64Mcg::seed_from_u64(seed),
            touched: 0,
        }
    }

    /// Continues at a fresh aligned place, so that no slice reads in another's wake.
    pub fn jump(&mut self) {
        self.touched = 0;
        self.next_block = self.below(self.span_blocks);
        self.from_block = self.next_block;
    }

    /// Blocks that the sequential cursor went since the last jump, whole passes over the span aside.
    pub fn moved(&self) -> u64 {
        (self.next_block + self.span_blocks - self.from_block) % self.span_blocks
    }

    /// Blocks of the span.
    pub fn span_blocks(&self) -> u64 {
        self.span_blocks
    }

    /// True where offsets are drawn.
    pub fn is_random(&self) -> bool {
        self.random
    }

    /// Whether the next request is a read.
    pub fn is_read(&mut self) -> bool {
        match self.read_percent {
            100 => true,
            0 => false,
            percent => self.below(100) < percent,
        }
    }

    /// The byte offset of the next request.
    pub fn next_offset(&mut self) -> u64 {
        if self.random {
            let block = self.random_block();
            self.touched |= 1 << (block * u64::from(COVERAGE_PIECES) / self.span_blocks);
            return self.start + block * self.block_size;
        }
        let block = self.next_block;
        self.next_block = if block + 1 == self.span_blocks { 0 } else { block + 1 };
        self.start + block * self.block_size
    }

    fn random_block(&mut self) -> u64 {
        match self.zipf {
            None => self.below(self.span_blocks),
            // Ranks begin at 1. Popular blocks are scattered over the span: side by side they would be read as one.
            Some(zipf) => (zipf.sample(&mut self.rng) as u64).wrapping_mul(SCATTER) % self.span_blocks,
        }
    }

    /// The sequential cursor in bytes, for the loop that advances it inline.
    pub fn cursor_bytes(&self) -> u64 {
        self.start + self.next_block * self.block_size
    }

    /// Hands back the cursor that the loop advanced inline.
    pub fn set_cursor_bytes(&mut self, offset: u64) {
        self.next_block = (offset - self.start) / self.block_size;
    }

    /// The sequential step in bytes.
    pub fn block_bytes(&self) -> u64 {
        self.block_size
    }

    /// Where the cursor begins, and where it wraps.
    pub fn range_bytes(&self) -> Range<u64> {
        self.start..self.start + self.span_blocks * self.block_size
    }

    /// The pieces of the span touched since the last jump. Sequential ones follow from the cursor: it must have moved on by the `blocks` that
    /// were issued, or nothing counts.
    pub fn touched(&self, blocks: u64) -> u64 {
        if self.random {
            return self.touched;
        }
        let piece = |block: u64| block % self.span_blocks * u64::from(COVERAGE_PIECES) / self.span_blocks;
        let step = (self.span_blocks / u64::from(COVERAGE_PIECES)).max(1);
        if blocks % self.span_blocks != self.moved() {
            return 0;
        }
        let length = blocks.min(self.span_blocks);
        (0..length).step_by(step as usize).chain(length.checked_sub(1)).fold(0, |bits, i| bits | 1 << piece(self.from_block + i))
    }

    /// Uniform below `bound` (widening multiplication; bias below 2^-32 at any span a device has).
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.rng.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Rw;

    fn pattern(rw: Rw, blocks: u64) -> Pattern {
        Pattern::new(&Workload { rw, read_percent: 70, ..Workload::example() }, &(0..blocks * 4096), 7)
    }

    #[test]
    fn a_span_need_not_begin_at_0() {
        let mut p = Pattern::new(&Workload::example(), &(8192..24_576), 7);
        p.set_cursor_bytes(20_480);
        assert_eq!([p.next_offset(), p.next_offset()], [20_480, 8192]);
        let random = Workload { rw: Rw::Randread, ..Workload::example() };
        let mut p = Pattern::new(&random, &(8192..24_576), 7);
        assert!((0..1000).map(|_| p.next_offset()).all(|o| (8192..24_576).contains(&o)));
    }

    #[test]
    fn zipf_prefers_few_blocks_and_scatters_them() {
        let workload = Workload { rw: Rw::Randread, distribution: Distribution::Zipf(120), ..Workload::example() };
        let mut p = Pattern::new(&workload, &(0..(4096 << 12)), 7);
        let mut counts = std::collections::BTreeMap::new();
        (0..20_000).for_each(|_| *counts.entry(p.next_offset() / 4096).or_insert(0) += 1);
        let mut popular: Vec<(u64, u32)> = counts.into_iter().collect();
        popular.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        // Of 4096 blocks at exponent 1.2 the first is drawn with probability 1 / 4.644 (the sum of k^-1.2), the second with 2^-1.2 of that.
        let share = |i: usize| f64::from(popular[i].1) / 20_000.0;
        assert!((share(0) - 0.2153).abs() < 0.015 && (share(1) - 0.0937).abs() < 0.01, "{} {}", share(0), share(1));
        assert!(popular[0].0.abs_diff(popular[1].0) > 8, "scattered");
    }

    #[test]
    fn sequential_offsets_wrap_at_the_span() {
        let mut p = pattern(Rw::Read, 3);
        let offsets: Vec<u64> = (0..5).map(|_| p.next_offset() / 4096).collect();
        assert_eq!(offsets, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn random_offsets_are_aligned_inside_and_cover() {
        let mut p = pattern(Rw::Randrw, 1000);
        for _ in 0..10_000 {
            let offset = p.next_offset();
            assert!(offset.is_multiple_of(4096) && offset < 1000 * 4096);
        }
        assert_eq!(p.touched(0), u64::MAX);
        let reads = (0..10_000).filter(|_| p.is_read()).count();
        assert!((6_700..7_300).contains(&reads), "70 % reads, saw {reads} of 10000");
    }

    #[test]
    fn sequential_coverage_counts_the_way_gone() {
        let mut p = pattern(Rw::Read, 640);
        let mut walk = |from: u64, blocks: u64| {
            (p.next_block, p.from_block) = (from, from);
            (0..blocks).for_each(|_| assert!(p.next_offset().is_multiple_of(4096)));
            p.touched(blocks)
        };
        assert_eq!(walk(0, 10).count_ones(), 1);
        assert_eq!(walk(0, 11).count_ones(), 2);
        assert_eq!(walk(639, 2), 1 << 63 | 1, "wraps");
        assert_eq!(walk(0, 640), u64::MAX);
        assert_eq!(p.touched(20), 0, "a cursor that stands elsewhere touched nothing we know of");
    }

    #[test]
    fn jumps_land_all_over_the_span() {
        let mut p = pattern(Rw::Read, 64);
        let seen: std::collections::HashSet<u64> = (0..2000)
            .map(|_| {
                p.jump();
                p.cursor_bytes()
            })
            .collect();
        assert_eq!(seen.len(), 64);
    }
}
