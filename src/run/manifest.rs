//! `manifest.json`: everything of a run that is not a measurement.

use super::environment::{self, Environment};
pub use super::facts::Circumstances;
use crate::durable::Dir;
use crate::experiment::{Claim, Experiment};
use crate::name;
use crate::plan::Plan;
use crate::target::Target;
use crate::target::identity::Identity;
use serde::{Deserialize, Serialize};
use std::io;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema_version: u32,
    pub run_id: String,
    pub started_utc: String,
    /// The command that started it.
    pub command: String,
    pub environment: Environment,
    pub target: TargetFacts,
    /// Which files and devices the user named, in order; empty in runs of old.
    #[serde(default)]
    pub identities: Vec<Identity>,
    pub experiment: ExperimentFacts,
    /// CRC-32 of the experiment's text, eight hexadecimal digits.
    pub plan_hash: String,
    /// How often each cell was to be measured.
    #[serde(default)]
    pub repetitions: u32,
    pub dropped: Vec<DroppedToggle>,
    pub unavailable: Vec<Unavailable>,
    pub fio: Option<Fio>,
    #[serde(default)]
    pub circumstances: Circumstances,
    /// Why the run ended before its last round.
    #[serde(default)]
    pub stopped: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetFacts {
    pub description: String,
    pub span_bytes: u64,
    pub logical_block_bytes: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExperimentFacts {
    pub name: String,
    pub question: String,
    pub delta: f64,
    pub alpha: f64,
    pub stall: f64,
    #[serde(default)]
    pub spin: f64,
    /// The level of single tests and intervals; absent in runs of old, where it is `alpha`.
    #[serde(default)]
    pub level: Option<f64>,
    /// The file as it ran, `--set` included.
    pub text: String,
    #[serde(default)]
    pub claims: Vec<Claim>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DroppedToggle {
    pub cell: String,
    pub toggle: String,
    pub reason: String,
}

/// Something that was not measured, and why its cells are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unavailable {
    pub what: String,
    pub reason: String,
}

/// fio as it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fio {
    pub version: String,
    pub jobs: Vec<FioJob>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FioJob {
    pub cell: String,
    pub treatment: String,
    pub job: String,
}

/// CRC-32 of the text a plan is made of.
pub fn plan_hash(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

impl Manifest {
    /// The file as a run's directory has it; `None` where there is none.
    pub fn read(dir: &Dir) -> io::Result<Option<Manifest>> {
        let Some(text) = dir.maybe_text("manifest.json")? else { return Ok(None) };
        let manifest: Manifest = serde_json::from_str(&text)?;
        let damaged = |reason| io::Error::new(io::ErrorKind::InvalidData, format!("experiment.name: {reason}"));
        name::check(&manifest.experiment.name).map_err(damaged)?;
        Ok(Some(manifest))
    }

    /// The manifest of a run that begins now.
    pub fn new(experiment: &Experiment, plan: &Plan, target: &Target, started: &jiff::Timestamp) -> Manifest {
        let environment = Environment::read();
        let dropped = plan.cells.iter().flat_map(|cell| {
            let of = |d: &crate::plan::Dropped| DroppedToggle {
                cell: cell.name.clone(),
                toggle: d.toggle.clone(),
                reason: d.reason.clone(),
            };
            cell.dropped.iter().map(of)
        });
        Manifest {
            schema_version: crate::row::SCHEMA_VERSION,
            run_id: format!("{}-{}", started.strftime("%Y%m%dT%H%M%SZ"), environment.host),
            started_utc: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            command: environment::command(),
            environment,
            target: TargetFacts {
                description: target.description.clone(),
                span_bytes: target.span_bytes,
                logical_block_bytes: target.logical_block_bytes,
            },
            identities: target.lasting_identities(),
            experiment: ExperimentFacts {
                name: experiment.name.clone(),
                question: experiment.question.clone(),
                delta: experiment.delta,
                alpha: experiment.alpha,
                stall: experiment.stall,
                spin: experiment.spin,
                level: Some(experiment.level()),
                text: experiment.text.clone(),
                claims: experiment.claims.clone(),
            },
            plan_hash: plan_hash(&experiment.text),
            repetitions: plan.repetitions,
            dropped: dropped.collect(),
            unavailable: empty_cells().into_iter().chain(limits(plan)).collect(),
            fio: None,
            circumstances: Circumstances::read(&target.files()),
            stopped: None,
        }
    }
}

/// What of the profiles and counts that were asked for cannot be had.
fn limits(plan: &Plan) -> Vec<Unavailable> {
    let one = |what: &str, reason: &str| Unavailable { what: what.into(), reason: reason.into() };
    plan.limits.by_reason().iter().flat_map(|(reason, all)| all.iter().map(|what| one(what, reason))).collect()
}

/// The columns that a sliced run leaves empty.
fn empty_cells() -> Vec<Unavailable> {
    let because = |what: &str, reason: &str| Unavailable { what: what.into(), reason: reason.into() };
    vec![
        because("lat_ns_p999, lat_ns_max of slices", "a slice censors its tail; mode = \"isolated\" and whole runs have them"),
        because(
            "cpu_user_ns_per_op, cpu_sys_ns_per_op of slices",
            "the kernel samples the split of CPU time by the tick, too coarse for a slice; mode = \"isolated\" and whole fio runs have it",
        ),
        because(
            "cpu_total_ns_per_op of arms with iopoll at a fixed rate",
            "the loop polls between two requests, so a request would cost whatever time passes until the next",
        ),
        because(
            "enters_per_op, thread_cpu_share, job_fairness, errors, latency of process arms (rounds of kind peers but at fixed rates and of NOPs)",
            "they are counted from outside by the kernel",
        ),
        because("enters_per_op, thread_cpu_share, job_fairness of whole runs of peers", "peers do not tell them"),
        because("errors, cpu_total_ns_per_op, latency of t_io_uring on NOPs", "it prints its rate alone"),
    ]
}
