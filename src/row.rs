//! The rows of the result files: their columns, in the order in which they are written. What was not measured is an empty cell.

use crate::engine::hooks::Kept;
use crate::limits;
use crate::perf::counters::{self, Counts};
use crate::plan::RoundKind;
use crate::run::pace::Finished;
use crate::target::route::Route;
use crate::text;
use crate::toggle::{Levels, Toggle};
use crate::workload::Workload;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the columns below.
pub const SCHEMA_VERSION: u32 = 1;

/// What became of an arm in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed,
    /// The kernel, the device or the program refused it.
    Unsupported,
    /// It ran and broke a validity gate; its figures are not used.
    Invalid,
    Failed,
    TimedOut,
}

impl Outcome {
    /// As written in `arms.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Unsupported => "unsupported",
            Outcome::Invalid => "invalid",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed_out",
        }
    }
}

/// A slice: one line of `trials.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRow {
    pub round: u32,
    pub cell: String,
    pub treatment: String,
    /// Which of the treatment's copies in the block.
    pub replica: u32,
    pub block: u32,
    /// Place in the block, from 0.
    pub position: u32,
    pub duration_s: f64,
    pub ops: u64,
    pub bytes: u64,
    pub errors: u64,
    pub cpu_total_ns: Option<u64>,
    pub enters: Option<u64>,
}

impl TrialRow {
    /// Column names.
    pub const HEADER: &[&str] = &[
        "round",
        "cell",
        "treatment",
        "replica",
        "block",
        "position",
        "duration_s",
        "ops",
        "bytes",
        "errors",
        "cpu_total_ns",
        "enters",
    ];

    /// A row for tests.
    #[cfg(test)]
    pub fn example() -> TrialRow {
        TrialRow {
            round: 1,
            cell: "read-4k-qd8-j1".into(),
            treatment: "full".into(),
            replica: 0,
            block: 0,
            position: 0,
            duration_s: 0.005,
            ops: 10,
            bytes: 40_960,
            errors: 0,
            cpu_total_ns: Some(1),
            enters: None,
        }
    }
}

/// A finished round: one line of `rounds.csv`, written last. The lengths say how much of the other files belongs to finished rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalRow {
    pub round: u32,
    pub cell: String,
    pub kind: RoundKind,
    pub started_utc: String,
    /// From the start of the round's process to its rows on disk.
    pub wall_s: f64,
    /// Sum of the slices inside it.
    pub slices_s: f64,
    /// Slices whose edges broke a rule of the process arms (something still in flight, the counter still moving).
    pub violations: u32,
    /// Share of all CPUs' time during the round in which they were not idle, and which the hypervisor took of it.
    pub machine_busy_share: Option<f64>,
    pub machine_steal_share: Option<f64>,
    /// The order in which the arms were set up.
    pub setup_order: String,
    /// Treatments that could run and whose rows are not to be believed.
    pub flagged: String,
    pub trials_bytes: u64,
    pub arms_bytes: u64,
    pub latency_bytes: u64,
    pub overhead_bytes: u64,
}

impl JournalRow {
    /// The files whose lengths it says, in the order in which they are written, each with the column that does.
    pub const LENGTHS: [(&str, &str); 4] = [
        ("trials.csv", "trials_bytes"),
        ("arms.csv", "arms_bytes"),
        ("latency.hlog", "latency_bytes"),
        ("overhead.csv", "overhead_bytes"),
    ];

    /// What later decisions rest on.
    pub fn finished(&self) -> Finished {
        let flagged = self.flagged.split_whitespace().map(String::from).collect();
        // What cannot be a time counts as the longest: whatever wrote it, no budget may grow by it.
        let wall = Duration::try_from_secs_f64(self.wall_s).unwrap_or(limits::TIME).min(limits::TIME);
        Finished { wall, flagged }
    }

    /// Column names.
    pub const HEADER: &[&str] = &[
        "round",
        "cell",
        "kind",
        "started_utc",
        "wall_s",
        "slices_s",
        "violations",
        "machine_busy_share",
        "machine_steal_share",
        "setup_order",
        "flagged",
        "trials_bytes",
        "arms_bytes",
        "latency_bytes",
        "overhead_bytes",
    ];

    /// A row for tests.
    #[cfg(test)]
    pub fn example() -> JournalRow {
        JournalRow {
            round: 1,
            cell: "read-4k-qd8-j1".into(),
            kind: RoundKind::Slices,
            started_utc: "2026-01-01T00:00:00Z".into(),
            wall_s: 1.0,
            slices_s: 0.9,
            violations: 0,
            machine_busy_share: Some(0.5),
            machine_steal_share: Some(0.0),
            setup_order: "full baseline".into(),
            flagged: String::new(),
            trials_bytes: 0,
            arms_bytes: 0,
            latency_bytes: 0,
            overhead_bytes: 0,
        }
    }
}

/// What one cause took of one arm in a round with a profile: one line of `overhead.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverheadRow {
    pub round: u32,
    pub cell: String,
    pub treatment: String,
    /// The event that ticked: `cycles` or `cpu-clock`.
    pub clock: String,
    /// `own` for the process and the kernel threads made for it, `target` for what else the kernel ran for the target.
    pub side: &'static str,
    pub context: String,
    pub category: String,
    /// The function, where no rule knows its category.
    pub symbol: String,
    /// Ticks of the clock.
    pub samples: u64,
    /// Of the arm's own ticks; empty for the target's side.
    pub share: Option<f64>,
    pub ns_per_op: f64,
}

impl OverheadRow {
    /// Column names.
    pub const HEADER: &[&str] =
        &["round", "cell", "treatment", "clock", "side", "context", "category", "symbol", "samples", "share", "ns_per_op"];

    /// A row for tests.
    #[cfg(test)]
    pub fn example() -> OverheadRow {
        OverheadRow {
            round: 1,
            cell: "c".into(),
            treatment: "full".into(),
            clock: "cpu-clock".into(),
            side: "own",
            context: "submit".into(),
            category: "block_layer".into(),
            symbol: String::new(),
            samples: 7,
            share: Some(0.5),
            ns_per_op: 12.5,
        }
    }
}

/// Latency of the timed requests, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub mean: Option<f64>,
    pub p50: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
    pub p999: Option<u64>,
    pub max: Option<u64>,
    pub samples: Option<u64>,
}

/// An arm in a round: one line of `arms.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmRow {
    pub experiment: String,
    pub run_id: String,
    pub round: u32,
    pub kind: RoundKind,
    pub cell: String,
    pub treatment: String,
    pub engine: &'static str,
    pub outcome: Outcome,
    pub reason: String,
    pub workload: Workload,
    pub target: String,
    pub requested: Option<Levels>,
    pub effective: Option<Levels>,
    pub duration_s: Option<f64>,
    pub ops: Option<u64>,
    pub bytes: Option<u64>,
    pub errors: Option<u64>,
    /// At a fixed rate: requests that were due while the arm was measured, and those of them that were started.
    pub kept: Option<Kept>,
    pub cpu_user_ns: Option<u64>,
    pub cpu_sys_ns: Option<u64>,
    pub cpu_total_ns: Option<u64>,
    pub thread_cpu_share: Option<f64>,
    /// Completions of the job that had fewest, over those of the job that had most.
    pub job_fairness: Option<f64>,
    pub enters: Option<u64>,
    pub latency: Latency,
    /// By what route the bytes of its round went, where they were to go to a device by our own requests.
    pub route: Option<Route>,
    /// Bytes that the kernel counted on block devices over bytes moved, in the whole round.
    pub device_share: Option<f64>,
    /// Of rounds with counters.
    pub counts: Option<Counts>,
}

impl ArmRow {
    fn rate(&self, amount: Option<u64>) -> Option<f64> {
        Some(amount? as f64 / self.duration_s.filter(|d| *d > 0.0)?)
    }

    fn per_op(&self, amount: Option<u64>) -> Option<f64> {
        Some(amount? as f64 / self.ops.filter(|n| *n > 0)? as f64)
    }

    /// Column names, in the order of [`ArmRow::record`].
    pub fn header() -> Vec<String> {
        let toggles = ["req", "eff"].into_iter().flat_map(|p| Toggle::all().map(move |t| format!("{p}_{}", t.key())));
        let fixed = |columns: &[Column]| columns.iter().map(|c| c.0.to_string()).collect::<Vec<_>>();
        let counts = counters::columns().map(String::from);
        fixed(KEYS).into_iter().chain(toggles).chain(fixed(MEASURES)).chain(counts).chain([PROCESSOR_SHARE.into()]).collect()
    }

    /// The cells of this row.
    pub fn record(&self) -> Vec<String> {
        let levels = [self.requested, self.effective]
            .into_iter()
            .flat_map(|levels| Toggle::all().map(move |t| levels.map_or_else(String::new, |l| t.spec().level_text(l.get(t)))));
        let fixed = |columns: &[Column]| columns.iter().map(|c| c.1(self)).collect::<Vec<_>>();
        let counts = self.counts.as_ref().zip(self.ops).map_or([None; counters::COUNT], |(counts, ops)| counts.per_op(ops));
        let counts = counts.into_iter().map(cell);
        let share = cell(self.counts.as_ref().and_then(Counts::processor_share));
        fixed(KEYS).into_iter().chain(levels).chain(fixed(MEASURES)).chain(counts).chain([share]).collect()
    }
}

/// Share of the time in which the processor's counters counted what they were to count.
const PROCESSOR_SHARE: &str = "pmu_running_share";

/// A column: its name and its cell.
type Column = (&'static str, fn(&ArmRow) -> String);

const KEYS: &[Column] = &[
    ("schema_version", |_| SCHEMA_VERSION.to_string()),
    ("experiment", |r| r.experiment.clone()),
    ("run_id", |r| r.run_id.clone()),
    ("round", |r| r.round.to_string()),
    ("kind", |r| kind_name(r.kind).into()),
    ("cell", |r| r.cell.clone()),
    ("treatment", |r| r.treatment.clone()),
    ("engine", |r| r.engine.into()),
    ("outcome", |r| r.outcome.name().into()),
    ("reason", |r| text::line(&r.reason)),
    ("rw", |r| r.workload.rw.name().into()),
    ("block_size_bytes", |r| r.workload.block_size_bytes.to_string()),
    ("queue_depth", |r| r.workload.queue_depth.to_string()),
    ("jobs", |r| r.workload.jobs.to_string()),
    ("target", |r| r.target.clone()),
];

const MEASURES: &[Column] = &[
    ("duration_s", |r| cell(r.duration_s)),
    ("ops", |r| cell(r.ops)),
    ("bytes", |r| cell(r.bytes)),
    ("errors", |r| cell(r.errors)),
    ("requests_due", |r| cell(r.kept.map(|kept| kept.due))),
    ("requests_started", |r| cell(r.kept.map(|kept| kept.started))),
    ("iops", |r| cell(r.rate(r.ops))),
    ("bandwidth_bytes_per_s", |r| cell(r.rate(r.bytes))),
    ("cpu_user_ns_per_op", |r| cell(r.per_op(r.cpu_user_ns))),
    ("cpu_sys_ns_per_op", |r| cell(r.per_op(r.cpu_sys_ns))),
    ("cpu_total_ns_per_op", |r| cell(r.per_op(r.cpu_total_ns))),
    ("thread_cpu_share", |r| cell(r.thread_cpu_share)),
    ("job_fairness", |r| cell(r.job_fairness)),
    ("enters_per_op", |r| cell(r.per_op(r.enters))),
    ("lat_ns_mean", |r| cell(r.latency.mean)),
    ("lat_ns_p50", |r| cell(r.latency.p50)),
    ("lat_ns_p90", |r| cell(r.latency.p90)),
    ("lat_ns_p99", |r| cell(r.latency.p99)),
    ("lat_ns_p999", |r| cell(r.latency.p999)),
    ("lat_ns_max", |r| cell(r.latency.max)),
    ("lat_samples", |r| cell(r.latency.samples)),
    ("route", |r| r.route.as_ref().map_or_else(String::new, |route| text::line(&route.to_string()))),
    ("device_share", |r| cell(r.device_share)),
];

fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}

/// As written in `arms.csv` and `plan.csv`.
pub fn kind_name(kind: RoundKind) -> &'static str {
    match kind {
        RoundKind::Slices => "slices",
        RoundKind::Isolated => "isolated",
        RoundKind::Profile => "profile",
        RoundKind::Counts => "counts",
        RoundKind::Peers => "peers",
        RoundKind::Whole => "whole",
    }
}
