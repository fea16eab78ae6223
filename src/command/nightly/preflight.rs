//! What two programs are compared with: the target, and the instrument that an experiment asks for.

use crate::command::{Failure, run};
use crate::engine;
use crate::exit::Exit;
use crate::experiment::subject::SubjectMetric;
use crate::experiment::{Experiment, Mode};
use crate::nightly::arms::{Commands, Engines, Printers, Programs, Stage};
use crate::nightly::instrument::Instrument;
use crate::peer::counter;
use crate::plan::Cell;
use crate::run::peers::{LEAST_SLICE, QUEUES_PER_SLICE};
use crate::spawn::{Interrupts, Tether};
use crate::target::guard::Refusal;
use crate::target::{self, Access, Target};
use std::path::PathBuf;
use std::time::Duration;

/// Of a command, whose queue is not known.
const COMMAND_SLICE: Duration = Duration::from_millis(20);

/// How options begin by which programs are told a rate: fio's `--rate`, `--rate_iops`, `-rate_min`, ..., this tool's `--rate-iops`.
const RATES: [&str; 2] = ["--rate", "-rate"];

/// Refuses what two programs that are stopped and continued in turn cannot be compared on.
pub fn check(experiment: &Experiment) -> Result<(), Failure> {
    let usage = |message: String| Err(Failure { exit: Exit::Usage, message });
    let subject = experiment.subject.as_ref();
    if subject.is_some_and(|s| !matches!(s.metric, SubjectMetric::Counters)) {
        return Ok(());
    }
    if let Some(cell) = experiment.cells.iter().find(|cell| !cell.direct && subject.is_none()) {
        return usage(format!(
            "cell {}: direct = false. A night counts what devices move, which is not what goes through the page cache: measure with direct = true",
            cell.cell_name()
        ));
    }
    let paced = experiment
        .cells
        .iter()
        .find_map(|cell| Some(format!("cell {}: [workload] rate_iops = {}", cell.cell_name(), cell.rate?)));
    let told = subject
        .iter()
        .flat_map(|s| &s.command)
        .find(|word| word.split_ascii_whitespace().any(|part| RATES.iter().any(|rate| part.starts_with(rate))))
        .map(|word| format!("[subject] command: {word:?}"));
    match paced.or(told) {
        Some(place) => usage(format!(
            "{place}. A night stops and continues the programs in turn, and a program that keeps a fixed rate catches up after each stop with all that was \
             due meanwhile: leave the rate out and measure as fast as it goes, or compare at a fixed rate with `uring-ablate run`"
        )),
        None => Ok(()),
    }
}

/// The target, unless the subject is a command that has none.
pub fn target(experiment: &Experiment, allowed: &[PathBuf]) -> Result<Option<Target>, Failure> {
    let subject = experiment.subject.as_ref();
    if subject.is_some_and(|s| !s.command.iter().any(|w| w.contains("{target}"))) {
        return Ok(None);
    }
    if subject.is_none() {
        engine::probe(experiment.allow_iowq)?;
    }
    // A command that is given a target may write to it, whatever the experiment says that it does.
    let access = Access::of(subject.is_some() || experiment.writes(), allowed);
    run::prepare_for(experiment, access).map(Some).map_err(|error| match error {
        target::Error::Guard(Refusal::NotAllowed(path)) if subject.is_some() => {
            let path = path.display();
            let message = format!(
                "[subject] command is given {path} as {{target}} and may write to it; a command is given nothing but targets of the tool's own \
                 without --allow-destructive {path}"
            );
            Failure { exit: Exit::Environment, message }
        }
        other => other.into(),
    })
}

/// What is the same for every pair of programs.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    pub experiment: &'a Experiment,
    pub target: Option<&'a Target>,
    pub tether: &'a Tether,
    pub interrupts: &'a Interrupts,
}

/// The cells with the length of their slices.
pub type Slices = Vec<(Cell, Duration)>;

impl<'a> Means<'a> {
    /// Of our engine, by a pilot; none of a command.
    pub fn slices(&self) -> Result<Slices, Failure> {
        let (None, Some(target)) = (&self.experiment.subject, self.target) else { return Ok(vec![]) };
        let processes = (self.tether, self.interrupts);
        let plan = run::plan_on(self.experiment, target, None, self.tether, self.interrupts)?;
        let timed = |cell: &Cell| {
            let fixed = crate::run::pilot_of(self.experiment, Mode::Sliced, &plan, target, cell, processes);
            let queue_time = fixed.map_err(crate::run::Error::Pilot)?.queue_time;
            Ok((cell.clone(), (queue_time * QUEUES_PER_SLICE).max(LEAST_SLICE)))
        };
        plan.cells.iter().map(timed).collect()
    }

    /// What measures a pair of programs.
    pub fn instrument<'b>(&self, programs: &'b Programs, slices: &'b Slices) -> Result<Box<dyn Instrument + 'b>, Failure>
    where
        'a: 'b,
    {
        let Means { experiment, tether, interrupts, .. } = *self;
        let Some(target) = self.target else {
            let subject = experiment.subject.as_ref().expect("only a subject has no target");
            return Ok(Box::new(Printers { programs, tether, interrupts, subject, target: None }));
        };
        let stage = Stage { experiment, target, programs, tether, interrupts };
        match &experiment.subject {
            None => Ok(Box::new(Engines { stage, cells: slices })),
            Some(subject) if matches!(subject.metric, SubjectMetric::Counters) => {
                counted(target)?;
                one_workload(experiment)?;
                Ok(Box::new(Commands { stage, subject, slice: COMMAND_SLICE }))
            }
            Some(subject) => Ok(Box::new(Printers { programs, tether, interrupts, subject, target: Some(target) })),
        }
    }
}

/// A command does what it does; a matrix of workloads is not it.
fn one_workload(experiment: &Experiment) -> Result<(), Failure> {
    if experiment.cells.len() == 1 {
        return Ok(());
    }
    let message = "[workload] with [subject] metric = \"counters\" says what the command does, block size above all: one value for each key".into();
    Err(Failure { exit: Exit::Usage, message })
}

/// A command's own processes come and go, so what it moved is told by the device alone.
fn counted(target: &Target) -> Result<(), Failure> {
    if counter::counts_for_all(target) {
        return Ok(());
    }
    let message = format!(
        "[subject] metric = \"counters\" needs a device that serves nothing else, whose own counter tells what was moved; {} is none: use kind = \
         \"loop\", null_blk, nvme or device, or a metric that the command prints",
        target.label
    );
    Err(Failure { exit: Exit::Usage, message })
}
