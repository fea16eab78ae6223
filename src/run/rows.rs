//! From what a round process reports to the rows of the result files.

use super::failure;
use super::gates::{self, Context};
use super::regime::{self, Regime};
use super::round::{self, Report, Slice, Spec};
use super::store::RoundRows;
use crate::perf::profile::Cause;
use crate::plan::{Round, RoundKind};
use crate::row::{ArmRow, Latency, Outcome, OverheadRow, TrialRow};
use crate::target::route::{self, Evidence, Route, Sight};
use crate::target::tags::Tags;
use crate::toggle::{Levels, Toggle};
use crate::workload::Workload;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::time::Duration;

/// What all rows of a run share.
#[derive(Clone, Debug)]
pub struct RunFacts {
    pub experiment: String,
    pub run_id: String,
    pub target: String,
    pub span_bytes: u64,
    pub allow_iowq: bool,
    /// How many requests the target takes at once, where it tells.
    pub tags: Option<Tags>,
    /// Who sees what is moved on the target, and whether the kernel promises direct I/O on it.
    pub sight: Sight,
    pub promised: bool,
    /// From the start of the run to the start of this round, for the latency log.
    pub since_start: Duration,
}

/// The row of an arm with its keys filled in and nothing measured yet.
pub fn blank(facts: &RunFacts, round: &Round, workload: Workload, treatment: &str, engine: &'static str) -> ArmRow {
    ArmRow {
        experiment: facts.experiment.clone(),
        run_id: facts.run_id.clone(),
        round: round.round,
        kind: round.kind,
        cell: round.cell.clone(),
        treatment: treatment.into(),
        engine,
        outcome: Outcome::Completed,
        reason: String::new(),
        workload,
        target: facts.target.clone(),
        requested: None,
        effective: None,
        duration_s: None,
        ops: None,
        bytes: None,
        errors: None,
        kept: None,
        cpu_user_ns: None,
        cpu_sys_ns: None,
        cpu_total_ns: None,
        thread_cpu_share: None,
        job_fairness: None,
        enters: None,
        latency: Latency::default(),
        route: None,
        device_share: None,
        counts: None,
    }
}

/// Rows of a round process that reported. Arms keep their order in the plan.
pub fn from_report(facts: &RunFacts, round: &Round, spec: &Spec, report: &Report) -> RoundRows {
    let mut rows = RoundRows { overhead: overhead(round, spec, report), ..RoundRows::default() };
    // What a clock interrupted is no measurement of throughput.
    if !round.kind.is_watched() {
        rows.trials = report.slices.iter().map(|s| trial(round, spec, s)).collect();
    }
    let shortage = facts.tags.as_ref().and_then(|tags| tags.shortage(&spec.workload));
    let (workload, counted, moved) = (&spec.workload, &report.tally, moved(spec, report));
    let evidence = Evidence { workload, moved, counted, sight: &facts.sight, promised: facts.promised };
    let regime = (!workload.direct).then(|| regime::judge(&evidence, report.resident));
    let route = route_of(&evidence, regime.as_ref());
    for (index, arm) in spec.arms.iter().enumerate() {
        let slices: Vec<&Slice> = report.slices.iter().filter(|s| s.arm == index).collect();
        let context = Context {
            workload: &spec.workload,
            span_bytes: facts.span_bytes,
            requested: &arm.levels,
            allow_iowq: facts.allow_iowq,
            control: arm.control,
            profile: report.profile.as_ref(),
            shortage: shortage.as_ref(),
            none_to_spare: facts.tags.as_ref().is_some_and(|tags| tags.has_none_to_spare(workload)),
            failure: &|result| failure::text(spec, result),
            route: route.as_ref(),
            regime: regime.as_ref(),
            charge_step_ns: report.charge_step_ns,
            debug_build: cfg!(debug_assertions),
        };
        let latency = histogram(&report.arms[index].latency);
        let (outcome, reason) = gates::judge(&context, &report.arms[index], &slices);
        let mut row = ArmRow {
            outcome,
            reason,
            requested: Some(arm.levels),
            ..blank(facts, round, spec.workload, &arm.treatment, "uring")
        };
        if !slices.is_empty() {
            measured(&mut row, &slices, report, &latency);
            row.effective = Some(report.arms[index].effective);
            row.counts.clone_from(&report.arms[index].counts);
            row.job_fairness = fairness(&report.arms[index].job_ops);
            if gates::counts(&spec.workload, arm.control, &arm.levels) {
                row.route.clone_from(&route);
                row.device_share = device_share(&evidence);
            }
            rows.latency += &log_line(facts, round, &arm.treatment, &row, &latency);
        }
        rows.arms.push(row);
    }
    rows
}

/// Bytes that the counted arms of a round moved.
fn moved(spec: &Spec, report: &Report) -> u64 {
    let counts = |s: &&Slice| gates::counts(&spec.workload, spec.arms[s.arm].control, &spec.arms[s.arm].levels);
    let issued: u64 = report.slices.iter().filter(counts).map(|s| s.issued).sum();
    issued * u64::from(spec.workload.block_size_bytes)
}

/// By what route they went. The page cache is one of its own, of which all that can be asked is whether it was as declared.
fn route_of(evidence: &Evidence<'_>, regime: Option<&Regime>) -> Option<Route> {
    match regime {
        Some(Regime::Untold(why)) => Some(Route::Unobservable { why: (*why).into() }),
        Some(_) => None,
        None => route::judge(evidence),
    }
}

/// Bytes counted on devices over bytes moved, in the whole round.
fn device_share(evidence: &Evidence<'_>) -> Option<f64> {
    let Evidence { workload, moved, counted, sight, .. } = evidence;
    let bytes = match sight {
        // What is written to the page cache is counted as well, so only what is read tells of it.
        Sight::Process if !workload.direct => counted.read,
        Sight::Process => counted.of_process(),
        Sight::Devices(_) => counted.devices,
        Sight::Nobody { .. } => None,
    }?;
    (*moved > 0).then(|| bytes as f64 / *moved as f64)
}

/// Rows of a round that brought no report: every arm has the same outcome.
pub fn without_report(facts: &RunFacts, round: &Round, spec: &Spec, outcome: Outcome, reason: &str) -> RoundRows {
    let row = |arm: &crate::plan::Arm| ArmRow {
        outcome,
        reason: reason.into(),
        requested: Some(arm.levels),
        ..blank(facts, round, spec.workload, &arm.treatment, "uring")
    };
    RoundRows { arms: spec.arms.iter().map(row).collect(), ..RoundRows::default() }
}

fn trial(round: &Round, spec: &Spec, slice: &Slice) -> TrialRow {
    TrialRow {
        round: round.round,
        cell: round.cell.clone(),
        treatment: spec.arms[slice.arm].treatment.clone(),
        replica: slice.copy,
        block: slice.block,
        position: slice.position,
        duration_s: slice.duration_ns as f64 / 1e9,
        ops: slice.ops,
        bytes: slice.bytes,
        errors: slice.errors,
        cpu_total_ns: billed(&spec.workload, &spec.arms[slice.arm].levels).then_some(slice.cpu_total_ns),
        enters: Some(slice.enters),
    }
}

/// The causes of each arm's time. An arm's own ticks stand for the CPU time that was charged to it, the target's for as much each.
fn overhead(round: &Round, spec: &Spec, report: &Report) -> Vec<OverheadRow> {
    let Some(Ok(profile)) = &report.profile else { return Vec::new() };
    let row = |cause: &Cause| {
        // Without a tick of its own nothing says what a tick of this arm stands for.
        let own = profile.causes.iter().filter(|c| c.arm == cause.arm && c.own).map(|c| c.weight).sum::<u64>();
        if own == 0 || !billed(&spec.workload, &spec.arms[cause.arm].levels) {
            return None;
        }
        let of_arm = |s: &&Slice| s.arm == cause.arm;
        let (ops, cpu_ns) = report.slices.iter().filter(of_arm).fold((0, 0), |(o, c), s| (o + s.ops, c + s.cpu_total_ns));
        let part = cause.weight as f64 / own as f64;
        Some(OverheadRow {
            round: round.round,
            cell: round.cell.clone(),
            treatment: spec.arms[cause.arm].treatment.clone(),
            clock: profile.event.clone(),
            side: if cause.own { "own" } else { "target" },
            context: cause.context.clone(),
            category: cause.category.clone(),
            symbol: cause.symbol.clone(),
            samples: cause.ticks,
            share: cause.own.then_some(part),
            ns_per_op: part * cpu_ns as f64 / ops.max(1) as f64,
        })
    };
    profile.causes.iter().filter_map(row).collect()
}

/// What the slowest job did of what the fastest did.
fn fairness(job_ops: &[u64]) -> Option<f64> {
    let most = job_ops.iter().max().filter(|most| **most > 0)?;
    Some(*job_ops.iter().min()? as f64 / *most as f64)
}

fn measured(row: &mut ArmRow, slices: &[&Slice], report: &Report, latency: &Histogram<u64>) {
    let sum = |f: fn(&Slice) -> u64| slices.iter().map(|s| f(s)).sum::<u64>();
    let duration_ns = sum(|s| s.duration_ns);
    row.duration_s = Some(duration_ns as f64 / 1e9);
    row.ops = Some(sum(|s| s.ops));
    row.bytes = Some(sum(|s| s.bytes));
    row.errors = Some(sum(|s| s.errors));
    row.kept = row.workload.rate.map(|_| slices.iter().map(|s| s.kept).sum());
    let levels = row.requested.unwrap_or_else(Levels::all_off);
    let billed = billed(&row.workload, &levels);
    row.cpu_total_ns = billed.then(|| sum(|s| s.cpu_total_ns));
    row.thread_cpu_share = Some(sum(|s| s.thread_cpu_ns) as f64 / duration_ns.max(1) as f64 / f64::from(row.workload.jobs));
    row.enters = Some(sum(|s| s.enters));
    // A run of its own has its whole tail.
    row.latency = percentiles(latency, matches!(row.kind, RoundKind::Isolated | RoundKind::Peers));
    if row.kind == RoundKind::Isolated && billed {
        row.cpu_user_ns = Some(report.user_ns);
        row.cpu_sys_ns = Some(report.system_ns);
    }
}

/// At a fixed rate CPU time per request says what a request costs where the loop sleeps between them. Who polls does not, and uses a CPU
/// whatever it does.
fn billed(workload: &Workload, levels: &Levels) -> bool {
    workload.rate.is_none() || !levels.is_on(Toggle::Iopoll) || levels.is_on(Toggle::Sqpoll)
}

fn histogram(recorded: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = round::histogram();
    recorded.iter().for_each(|(value, count)| histogram.saturating_record_n(*value, *count));
    histogram
}

/// Percentiles of what was timed; those that a slice censors only for an arm that ran alone.
fn percentiles(latency: &Histogram<u64>, alone: bool) -> Latency {
    if latency.is_empty() {
        return Latency { samples: Some(0), ..Latency::default() };
    }
    let at = |q| Some(latency.value_at_quantile(q));
    Latency {
        mean: Some(latency.mean()),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999).filter(|_| alone),
        max: Some(latency.max()).filter(|_| alone),
        samples: Some(latency.len()),
    }
}

fn log_line(facts: &RunFacts, round: &Round, treatment: &str, row: &ArmRow, latency: &Histogram<u64>) -> String {
    let name = format!("{}/{}/{treatment}", round.round, round.cell);
    let mut text = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let duration = Duration::from_secs_f64(row.duration_s.unwrap_or(0.0));
    let written = IntervalLogWriterBuilder::new().begin_log_with(&mut text, &mut serializer).map_err(|e| e.to_string()).and_then(
        |mut log| log.write_histogram(latency, facts.since_start, duration, Tag::new(&name)).map_err(|e| format!("{e:?}")),
    );
    written.expect("memory takes every histogram");
    String::from_utf8(text).expect("the log format is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_of_the_job_that_starved() {
        assert_eq!(fairness(&[10, 8, 9]), Some(0.8));
        assert_eq!(fairness(&[10, 0]), Some(0.0));
        assert_eq!(fairness(&[0, 0]), None);
    }
}
