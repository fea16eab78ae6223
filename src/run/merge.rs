//! From what the jobs of a round saw to what the round saw.

use super::round::{ArmReport, JobResult, Slice, histogram};
use crate::engine::hooks::Kept;
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
    // What jobs did while another read is in neither (Helpers::so_far).
    let helpers_start = jobs.clone().map(|s| s.helpers_cpu_start_ns).min().unwrap_or(0);
    let helpers_end = jobs.clone().map(|s| s.helpers_cpu_end_ns).max().unwrap_or(0);
    let thread_cpu_ns = sum(|s| s.thread_cpu_ns);
    Slice {
        arm,
        copy,
        block,
        position,
        start_ns: jobs.clone().map(|s| s.start_ns).min().unwrap_or(0),
        end_ns: jobs.clone().map(|s| s.end_ns).max().unwrap_or(0),
        duration_ns: sum(|s| s.end_ns - s.start_ns) / jobs.clone().count() as u64,
        cpu_total_ns: thread_cpu_ns + helpers_end.saturating_sub(helpers_start),
        thread_cpu_ns,
        ops: sum(|s| s.ops),
        bytes: sum(|s| s.bytes),
        errors: sum(|s| s.errors),
        first_error: jobs.clone().map(|s| s.first_error).find(|e| *e != 0).unwrap_or(0),
        enters: sum(|s| s.enters),
        kept: Kept { due: sum(|s| s.kept.due), started: sum(|s| s.kept.started) },
        variant: jobs.clone().map(|s| s.variant).max().unwrap_or(0),
        slots_intact: jobs.clone().all(|s| s.slots_intact),
        overran: jobs.clone().any(|s| s.overran),
        charged: jobs.clone().all(|s| s.charged),
        touched: jobs.clone().fold(0, |bits, s| bits | s.touched),
        issued: sum(|s| s.issued),
    }
}
