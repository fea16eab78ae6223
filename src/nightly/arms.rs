//! The real instrument: two programs as process arms, this engine's or any command's, sliced from outside or run whole.

use super::instrument::{ARMS, Error, Instrument, Measure, Round};
use super::row::Better;
use crate::analysis::contrast::Metric;
use crate::control_group::Group;
use crate::experiment::subject::{Find, Subject, SubjectMetric};
use crate::peer::duet::{self, Contest, Contestant, Report, Start, Timing};
use crate::plan::{Cell, Part};
use crate::process::{Process, Wait};
use crate::random::Decisions;
use crate::row::Outcome;
use crate::run;
use crate::run::peers::timing;
use crate::spawn::{Interrupts, Tether};
use crate::target::Target;
use crate::workload::Workload;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The reference's program and the candidate's.
#[derive(Clone, Debug)]
pub struct Programs {
    pub reference: PathBuf,
    pub candidate: PathBuf,
}

impl Programs {
    /// In the order of [`ARMS`].
    fn each(&self) -> [&Path; 3] {
        [&self.reference, &self.candidate, &self.reference]
    }
}

/// What every round needs.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    pub experiment: &'a crate::experiment::Experiment,
    pub target: &'a Target,
    pub programs: &'a Programs,
    pub tether: &'a Tether,
    pub interrupts: &'a Interrupts,
}

/// This program's engine as reference and candidate have it: the `full` of each cell.
pub struct Engines<'a> {
    pub stage: Stage<'a>,
    /// With the length of a slice.
    pub cells: &'a [(Cell, Duration)],
}

impl Instrument for Engines<'_> {
    fn cells(&self) -> Vec<String> {
        self.cells.iter().map(|(cell, _)| cell.name.clone()).collect()
    }

    fn measures(&self) -> Vec<Measure> {
        counted()
    }

    fn round(&mut self, cell: usize, seed: u64) -> Result<Round, Error> {
        let (cell, slice) = &self.cells[cell];
        let Stage { experiment, target, programs, .. } = self.stage;
        let full: Vec<_> = cell.arms.iter().filter(|a| a.treatment == "full").cloned().collect();
        let alone = Cell { arms: full, ..cell.clone() };
        let spec = duet::worker(run::spec(experiment, target, &alone, Part::All, seed));
        let input = serde_json::to_string(&spec).map_err(|e| Error::Round(e.to_string()))?;
        let start =
            |program: &Path| Start::Program { program: program.into(), arguments: vec!["worker".into()], input: input.clone() };
        self.stage.sliced(&cell.workload, programs.each().map(start), *slice, seed)
    }
}

/// Any command that moves something on the target until it is ended.
pub struct Commands<'a> {
    pub stage: Stage<'a>,
    pub subject: &'a Subject,
    pub slice: Duration,
}

impl Instrument for Commands<'_> {
    fn cells(&self) -> Vec<String> {
        vec![COMMAND.into()]
    }

    fn measures(&self) -> Vec<Measure> {
        counted()
    }

    fn round(&mut self, _cell: usize, seed: u64) -> Result<Round, Error> {
        let Stage { experiment, target, programs, .. } = self.stage;
        // Operations are blocks of this size.
        let workload = &experiment.cells[0];
        let start = |program: &Path| Start::Command { words: words(self.subject, program, Some(target)) };
        self.stage.sliced(workload, programs.each().map(start), self.slice, seed)
    }
}

/// Any command that ends and prints its figure.
pub struct Printers<'a> {
    pub programs: &'a Programs,
    pub tether: &'a Tether,
    pub interrupts: &'a Interrupts,
    pub subject: &'a Subject,
    pub target: Option<&'a Target>,
}

/// The one cell of a command.
const COMMAND: &str = "command";

impl Instrument for Printers<'_> {
    fn cells(&self) -> Vec<String> {
        vec![COMMAND.into()]
    }

    fn measures(&self) -> Vec<Measure> {
        match &self.subject.metric {
            SubjectMetric::Printed { name, unit, better, .. } => {
                vec![Measure { name: name.clone(), unit: unit.clone(), better: *better }]
            }
            SubjectMetric::Counters => vec![],
        }
    }

    fn round(&mut self, _cell: usize, seed: u64) -> Result<Round, Error> {
        let SubjectMetric::Printed { find, unit, .. } = &self.subject.metric else { return Ok(Round::default()) };
        let mut order: Vec<usize> = (0..ARMS.len()).collect();
        Decisions::new(seed).shuffle(&mut order);
        let mut figures = [0.0; 3];
        for arm in order {
            figures[arm] = self.run(self.programs.each()[arm], find, unit).map_err(|e| of_arm(arm, e))?;
        }
        Ok(Round { figures: vec![figures], violations: 0 })
    }
}

impl Printers<'_> {
    fn run(&self, program: &Path, find: &Find, unit: &str) -> Result<f64, Error> {
        let round = |reason: String| Error::Round(reason);
        let _lent = self.target.map(Target::lend).transpose().map_err(|e| Error::Peer(e.into()))?;
        let words = words(self.subject, program, self.target);
        let (first, rest) = words.split_first().ok_or_else(|| round("the command has no words".into()))?;
        // What it leaves behind must not run beside the next. Where there can be no group, its process group has to do.
        let group = Group::make().ok();
        let mut command = match &group {
            Some(group) => self.tether.command_in(group.dir(), first),
            None => self.tether.command(first),
        };
        let mut process = Process::start(command.args(rest), b"").map_err(|e| round(e.to_string()))?;
        let limit = self.subject.limit;
        match process.wait(limit, Some(self.interrupts)) {
            Wait::Interrupted => return Err(Error::Interrupted),
            Wait::TimedOut => {
                let said = process.last_words();
                return Err(round(format!("did not end within {limit:?} ([subject] limit) and was killed: {said}")));
            }
            Wait::Ended => {}
        }
        let status = process.finish().map_err(|e| round(e.to_string()))?;
        if !status.success() {
            return Err(round(format!("ended with {status}: {}", process.last_words())));
        }
        let printed = process.output().map_err(|e| round(e.to_string()))?;
        let figure = find.figure(&printed, unit).map_err(round)?;
        if figure > 0.0 && figure.is_finite() {
            Ok(figure)
        } else {
            Err(round(format!("says {figure}, of which no ratio can be taken")))
        }
    }
}

/// The words of a subject's command for a program.
fn words(subject: &Subject, program: &Path, target: Option<&Target>) -> Vec<String> {
    let path = target.and_then(|t| t.handles().into_iter().next()).map(|p| p.display().to_string()).unwrap_or_default();
    let filled = |word: &String| word.replace("{program}", &program.display().to_string()).replace("{target}", &path);
    let mut words: Vec<String> = subject.command.iter().map(filled).collect();
    // The very file that the user was shown when he was asked.
    if let Some(found) = words.first().and_then(|first| crate::program::find(Path::new(first))) {
        words[0] = found.display().to_string();
    }
    words
}

fn of_arm(arm: usize, error: Error) -> Error {
    match error {
        Error::Round(reason) => Error::Round(format!("the {}: {reason}", ARMS[arm])),
        other => other,
    }
}

/// What the kernel counts of anything that runs.
fn counted() -> Vec<Measure> {
    let measure = |metric: Metric, unit: &str, better| Measure { name: metric.name().into(), unit: unit.into(), better };
    vec![measure(Metric::Iops, "IOPS", Better::Higher), measure(Metric::CpuPerOp, "ns", Better::Lower)]
}

impl Stage<'_> {
    /// A round in slices.
    fn sliced(&self, workload: &Workload, starts: [Start; 3], slice: Duration, seed: u64) -> Result<Round, Error> {
        let timing: Timing = timing(slice);
        let contestants: Vec<Contestant> =
            ARMS.iter().zip(starts).map(|(name, start)| Contestant { name: name.to_string(), start }).collect();
        let contest = Contest {
            tether: self.tether,
            target: self.target,
            workload,
            contestants: &contestants,
            timing,
            blocks: timing.blocks(self.experiment.peers.round_time, ARMS.len()),
            seed,
            interrupts: self.interrupts,
        };
        let report = duet::conduct(&contest).map_err(|error| match error {
            crate::peer::Error::Interrupted => Error::Interrupted,
            other => Error::Peer(other),
        })?;
        figures(&report)
    }
}

/// Totals over the slices of each arm: IOPS, and CPU nanoseconds per operation.
fn figures(report: &Report) -> Result<Round, Error> {
    let mut of = [[0.0; 3]; 2];
    for (arm, told) in report.arms.iter().enumerate() {
        if told.outcome != Outcome::Completed {
            return Err(of_arm(arm, Error::Round(told.reason.clone())));
        }
        let slices = || report.slices.iter().filter(|s| s.arm == arm);
        let sum = |f: fn(&duet::Slice) -> u64| slices().map(f).sum::<u64>() as f64;
        let (ops, time, cpu) = (sum(|s| s.ops), sum(|s| s.duration_ns), sum(|s| s.cpu_total_ns));
        if ops == 0.0 || time == 0.0 || cpu == 0.0 {
            return Err(of_arm(arm, Error::Round("moved nothing in its slices".into())));
        }
        (of[0][arm], of[1][arm]) = (ops / time * 1e9, cpu / ops);
    }
    Ok(Round { figures: of.to_vec(), violations: report.violations })
}
