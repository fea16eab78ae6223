//! From what the jobs of a round saw to what the round saw.

use super::round::{ArmReport, JobResult, Slice, histogram};
use crate::engine::slice::Sample;

/// Arm, copy, block and position in it of each slice that was measured, in order.
pub type Placed = (usize, u32, u32, u32);

/// An arm over all jobs.
pub fn arm(results: &[JobResult], ran: &[Placed], arm: usize) -> ArmReport {
    let mut latency = histogram();
    results.iter().for_each(|r| latency.add(&r.latency[arm]).expect("all histograms have the same bounds"));
    ArmReport {
        unsupported: results.iter().find_map(|r| r.refusals[arm].clone()),
        effective: results[0].effective[arm],
        latency: latency.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect(),
        counts: results.iter().filter_map(|r| r.counts.as_ref()).map(|c| c[arm].clone()).reduce(|mut sum, more| {
            sum.add(&more);
            sum
        }),
        job_ops: results
            .iter()
            .map(|r| r.samples.iter().zip(ran).filter(|(_, ran)| ran.0 == arm).map(|(s, _)| s.ops).sum())
            .collect(),
    }
}

/// A slice over all jobs.
pub fn slice<'a>((arm, copy, block, position): Placed, jobs: impl Iterator<Item = &'a Sample> + Clone) -> Slice {
    let sum = |f: fn(&Sample) -> u64| jobs.clone().map(f).sum::<u64>();
    let start_ns = jobs.clone().map(|s| s.start_ns).min().unwrap_or(0);
    let end_ns = jobs.clone().map(|s| s.end_ns).max().unwrap_or(0);
    let thread_cpu_ns = sum(|s| s.thread_cpu_ns);
    Slice {
        arm,
        copy,
        block,
        position,
        start_ns,
        end_ns,
        duration_ns: sum(|s| s.end_ns - s.start_ns) / jobs.clone().count() as u64,
        cpu_total_ns: thread_cpu_ns + helpers_cpu_ns(jobs.clone(), end_ns - start_ns),
        thread_cpu_ns,
        ops: sum(|s| s.ops),
        bytes: sum(|s| s.bytes),
        errors: sum(|s| s.errors),
        first_error: jobs.clone().map(|s| s.first_error).find(|e| *e != 0).unwrap_or(0),
        enters: sum(|s| s.enters),
        kept: jobs.clone().map(|s| s.kept).sum(),
        variant: jobs.clone().map(|s| s.variant).max().unwrap_or(0),
        slots_intact: jobs.clone().all(|s| s.slots_intact),
        overran: jobs.clone().any(|s| s.overran),
        charged: jobs.clone().all(|s| s.charged),
        touched: jobs.clone().fold(0, |bits, s| bits | s.touched),
        issued: sum(|s| s.issued),
    }
}

/// CPU time of the kernel's threads in a slice that took `slice_ns`. What jobs did while another read is in neither the least nor the most
/// (`Helpers::so_far`). Between the two the threads may have run for longer than the slice, where a job lost its CPU at an edge: their share of
/// that time is charged for the slice.
fn helpers_cpu_ns<'a>(jobs: impl Iterator<Item = &'a Sample> + Clone, slice_ns: u64) -> u64 {
    let least = jobs.clone().map(|s| (s.helpers_cpu_start_ns, s.helpers_start_ns)).min();
    let most = jobs.map(|s| (s.helpers_cpu_end_ns, s.helpers_end_ns)).max();
    let Some(((from_cpu_ns, from_ns), (to_cpu_ns, to_ns))) = least.zip(most) else { return 0 };
    let (used_ns, seen_ns) = (to_cpu_ns.saturating_sub(from_cpu_ns), to_ns.saturating_sub(from_ns).max(1));
    (used_ns as f64 * (slice_ns as f64 / seen_ns as f64).min(1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_on_while_a_job_had_no_cpu_is_not_charged() {
        let sample = |cpu: (u64, u64), at: (u64, u64)| Sample {
            helpers_cpu_start_ns: cpu.0,
            helpers_cpu_end_ns: cpu.1,
            helpers_start_ns: at.0,
            helpers_end_ns: at.1,
            ..Sample::default()
        };
        let charged = |samples: &[Sample]| helpers_cpu_ns(samples.iter(), 2000);
        assert_eq!(charged(&[sample((100, 2100), (0, 2000))]), 2000);
        assert_eq!(charged(&[sample((100, 3100), (0, 3000))]), 2000, "it lost its CPU for 1000 at an edge");
        assert_eq!(charged(&[sample((100, 600), (0, 2000)), sample((150, 700), (10, 2000))]), 600, "two jobs");
        assert_eq!(charged(&[sample((100, 600), (0, 1000))]), 500, "no more than was used");
        assert_eq!(charged(&[]), 0);
    }
}
