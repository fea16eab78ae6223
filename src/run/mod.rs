//! Runs a plan: a process per round, its rows on disk before the next begins, resumable after a kill at any moment.

pub mod checks;
pub mod child;
pub mod cpus;
pub mod environment;
pub mod facts;
pub mod failure;
pub mod fingerprint;
pub mod gates;
pub mod manifest;
mod merge;
pub mod pace;
pub mod peers;
pub mod pilot;
pub mod processor;
pub mod regime;
pub mod round;
pub mod rows;
pub mod store;
pub mod tracks;
pub mod turns;
mod walk;
mod watch;

use crate::console;
use crate::durable::Dir;
use crate::experiment::{Experiment, Mode};
use crate::plan::{self, Arm, Cell, Part, Plan, RoundKind};
use crate::spawn::{Interrupts, Tether};
use crate::target::Target;
use crate::target::tags::Tags;
use crate::toggle::{self, Toggle};
use crate::workload::Workload;
use manifest::Manifest;
use pace::{Journal, Next, Pace};
use peers::Peers;
use pilot::Length;
use round::Spec;
use rows::RunFacts;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use store::{PlannedRound, Store};
use walk::Walk;

/// A slice that takes longer than this counts as hung.
pub const HANG_GUARD: Duration = Duration::from_secs(30);

/// Rounds that may fail in a row before the run gives up.
const FAILURES_IN_A_ROW: u32 = 3;

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("interrupted after {done} of {total} rounds; continue with --out {dir} --resume")]
    Interrupted { done: usize, total: usize, dir: String },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Pilot(#[from] pilot::Error),
    #[error("{source}; what was measured before is kept")]
    Target {
        #[from]
        source: crate::target::Error,
    },
    #[error(
        "{dir}: {what} changed since this run began; a run is continued with what it began with: start a new one with another --out"
    )]
    Changed { dir: String, what: &'static str },
    #[error(
        "{dir}: the target is not the one that this run began with: {how}; bring that one back, or start a new run with another --out"
    )]
    OtherTarget { dir: String, how: String },
    #[error(
        "{FAILURES_IN_A_ROW} rounds in a row failed, the last with: {0}; what was measured before is kept, --resume continues"
    )]
    Failing(String),
    #[error("cannot read back what was measured: {0}")]
    Unreadable(String),
    #[error("cannot start processes: {0}")]
    Process(std::io::Error),
}

/// Told of progress between rounds.
pub trait Progress {
    /// `done` of `total` rounds are on disk; `next` is about to begin.
    fn round(&self, done: usize, total: usize, next: &str);
}

/// What a run needs.
pub struct Job<'a> {
    pub experiment: &'a Experiment,
    pub plan: &'a Plan,
    pub target: &'a Target,
    pub dir: &'a Path,
    pub resume: bool,
    pub tether: &'a Tether,
    pub interrupts: &'a Interrupts,
    pub progress: &'a dyn Progress,
    pub pace: Pace<'a>,
}

/// Runs what is missing of the plan.
pub fn run(job: &Job<'_>) -> Result<(), Error> {
    let started = jiff::Timestamp::now();
    let peers = Peers::find(job.experiment, &job.plan.cells, job.target, job.tether);
    let fresh =
        Manifest { fio: peers.manifest(&job.plan.cells), ..Manifest::new(job.experiment, job.plan, job.target, &started) };
    let (store, mut journal) = if job.resume {
        Store::resume(job.dir, |then| check_unchanged(job, then, &fresh))?
    } else {
        (Store::create(job.dir, &fresh)?, Journal::new())
    };
    let mut manifest: Manifest = store.read_manifest()?;
    let mut walk = Walk { job, store, peers, facts: run_facts(job, &manifest), began: began(&manifest), failures: 0 };
    let mut rounds = walk.planned()?;
    loop {
        let next = match manifest.stopped {
            Some(_) => pace::rest(&rounds, &journal),
            None => job.pace.next(&rounds, &journal).map_err(Error::Unreadable)?,
        };
        let place = match next {
            Next::Enough(why) => {
                manifest.stopped = Some(why);
                walk.store.write_manifest(&manifest)?;
                continue;
            }
            // What broke a gate by accident is measured again before the last things, but not beyond a budget.
            Next::Nothing | Next::Round(_)
                if job.pace.budget.is_none() && last(&next, &rounds) && walk.redo(&mut rounds, &journal)? =>
            {
                continue;
            }
            Next::Nothing => break,
            Next::Round(place) => place,
        };
        let (done, total) = (journal.len(), rounds.len());
        job.progress.round(done, total, &rounds[place].cell);
        let interrupted = || Error::Interrupted { done, total, dir: job.dir.display().to_string() };
        if job.interrupts.pending() {
            return Err(interrupted());
        }
        let finished = walk.round(&rounds[place])?.ok_or_else(interrupted)?;
        journal.insert(rounds[place].round, finished);
    }
    job.progress.round(rounds.len(), rounds.len(), "");
    manifest.circumstances.load_after = facts::load();
    walk.store.write_manifest(&manifest)?;
    Ok(())
}

/// True where nothing is left to measure in slices.
fn last(next: &Next, rounds: &[PlannedRound]) -> bool {
    match next {
        Next::Round(place) => rounds[*place].kind == RoundKind::Whole,
        Next::Enough(_) | Next::Nothing => true,
    }
}

/// Checks, before anything is done to a target, that it is the one that the run in `dir` began with.
pub fn check_target(dir: &Path, target: &Target) -> Result<(), Error> {
    let read = Dir::open(dir).and_then(|opened| Manifest::read(&opened));
    let manifest = match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => read.map_err(|source| store::Error::Read { path: dir.join("manifest.json"), source })?,
    };
    let then = manifest.ok_or_else(|| store::Error::Nothing(dir.into()))?.identities;
    let now = target.lasting_identities();
    let other = then.iter().zip(&now).find_map(|(then, now)| then.other_than(now));
    let unknown = || (then.len() != now.len()).then(|| format!("its manifest names {} targets, not {}", then.len(), now.len()));
    let how = other.or_else(unknown);
    how.map_or(Ok(()), |how| Err(Error::OtherTarget { dir: dir.display().to_string(), how }))
}

fn check_unchanged(job: &Job<'_>, then: &Manifest, now: &Manifest) -> Result<(), Error> {
    let changed = |what| Err(Error::Changed { dir: job.dir.display().to_string(), what });
    if then.experiment.text != now.experiment.text {
        return changed("the experiment");
    }
    if then.environment.version != now.environment.version {
        return changed("the version of uring-ablate");
    }
    if then.target != now.target {
        return changed("the target");
    }
    if then.dropped != now.dropped {
        return changed("what this user and this machine can do (the toggles that are dropped)");
    }
    let fio = |manifest: &Manifest| manifest.fio.as_ref().map(|fio| fio.version.clone());
    if fio(then) != fio(now) {
        return changed("fio");
    }
    if then.environment.host != now.environment.host || then.environment.kernel != now.environment.kernel {
        return changed("the machine or its kernel");
    }
    let (before, after) = (&then.environment.cpu, &now.environment.cpu);
    if before.is_empty() || after.is_empty() {
        // Nothing says that it is another, and nothing that it is not: whoever goes on has to know.
        let whose = if before.is_empty() { "the manifest of this run" } else { "this machine" };
        let dir = job.dir.display();
        console::note(format!(
            "{dir}: {whose} does not name its processors; it is not known whether they are the same as before --resume"
        ));
    } else if before.split_whitespace().ne(after.split_whitespace()) {
        return changed("the machine (its processors)");
    }
    Ok(())
}

fn run_facts(job: &Job<'_>, manifest: &Manifest) -> RunFacts {
    RunFacts {
        experiment: job.experiment.name.clone(),
        run_id: manifest.run_id.clone(),
        target: job.target.label.clone(),
        span_bytes: job.target.span_bytes,
        allow_iowq: job.experiment.allow_iowq,
        tags: Tags::of_target(job.target),
        sight: job.target.sight.clone(),
        promised: job.target.promises_direct_io(),
        since_start: Duration::ZERO,
    }
}

/// When the run began: on resume, when its first part did.
fn began(manifest: &Manifest) -> jiff::Timestamp {
    manifest.started_utc.parse().unwrap_or_else(|_| jiff::Timestamp::now())
}

/// What the rounds of a cell are told.
pub fn spec(experiment: &Experiment, target: &Target, cell: &Cell, part: Part, seed: u64) -> Spec {
    Spec {
        paths: target.handles(),
        identities: target.identities(),
        span_bytes: target.span_bytes,
        workload: cell.workload,
        options: experiment.options.clone(),
        setting: target.setting(&experiment.options),
        arms: cell.arms_of(part),
        seed,
        blocks: 0,
        completions: 0,
        conditioning: experiment.conditions(&cell.workload, target.carries_over()),
        hang_guard: HANG_GUARD + experiment.trial_time * 2,
        profile: None,
        counted: None,
        tallied: target.sight.devices(),
        allow_iowq: experiment.allow_iowq,
    }
}

/// Asks a round process which of the listed toggles cannot be had on this target, each for itself on top of what is fixed, and why.
pub fn obstacles(
    experiment: &Experiment,
    target: &Target,
    tether: &Tether,
    interrupts: &Interrupts,
) -> Result<Vec<Obstacle>, Error> {
    let mut found = Vec::new();
    let _lent = target.lend()?;
    for workload in &experiment.cells {
        let off = experiment.toggles.iter().fold(experiment.fixed, |l, (t, _)| l.with(*t, t.spec().off));
        let arm = |&(toggle, on): &(Toggle, u32)| Arm {
            treatment: toggle.key().into(),
            levels: off.with(toggle, on),
            control: plan::Control::None,
            copies: 1,
        };
        let setting = target.setting(&experiment.options);
        let possible = |(_, arm): &(&(Toggle, u32), Arm)| toggle::refusal(&arm.levels, workload, &setting).is_none();
        let listed = experiment.toggles.iter().chain(&experiment.beside).map(|t| (t, arm(t)));
        // What one arm registers at the edge of its slices every arm of its round does: one that cannot would take the others with it.
        let mut groups: BTreeMap<_, (Vec<_>, Vec<_>)> = BTreeMap::new();
        for (toggle, arm) in listed.filter(possible) {
            let at_edge = [Toggle::FixedBuffers, Toggle::RegisteredRing].map(|t| arm.levels.is_on(t));
            let group = groups.entry(at_edge).or_default();
            group.0.push(*toggle);
            group.1.push(arm);
        }
        for (toggles, arms) in groups.into_values() {
            let cell = Cell { name: workload.cell_name(), workload: *workload, arms, dropped: vec![] };
            let spec = spec(experiment, target, &cell, Part::All, experiment.seed);
            let report = child::run(tether, &spec, HANG_GUARD * 4, interrupts)
                .map_err(|source| pilot::Error::Round { cell: cell.name.clone(), source })?;
            let refused = toggles.iter().zip(report.arms).filter_map(|(t, arm)| Some((*t, arm.unsupported?)));
            found.extend(refused.map(|((toggle, level), reason)| Obstacle { workload: *workload, toggle, level, reason }));
        }
    }
    Ok(found)
}

/// A toggle that cannot be had on a workload here.
#[derive(Clone, Debug)]
pub struct Obstacle {
    pub workload: Workload,
    pub toggle: Toggle,
    pub level: u32,
    /// What the kernel said, and what can be done.
    pub reason: String,
}

/// Runs the pilot of a cell: slice length, blocks of a round, time of a block.
pub fn pilot_of(
    experiment: &Experiment,
    mode: Mode,
    plan: &Plan,
    target: &Target,
    cell: &Cell,
    (tether, interrupts): (&Tether, &Interrupts),
) -> Result<pilot::Fixed, pilot::Error> {
    let length = match mode {
        Mode::Isolated => Length::Trial(experiment.trial_time),
        Mode::Sliced => Length::Slice(experiment.slice_time.unwrap_or(pilot::usual_slice(cell.workload.jobs))),
    };
    let spec = spec(experiment, target, cell, Part::All, experiment.seed);
    let _lent = target.lend()?;
    pilot::run(tether, cell, &spec, plan.round_time, length, interrupts)
}
