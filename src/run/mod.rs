//! Runs a plan: a process per round, its rows on disk before the next begins, resumable after a kill at any moment.

pub mod child;
pub mod cpus;
pub mod environment;
pub mod facts;
pub mod gates;
pub mod manifest;
pub mod own_counts;
pub mod peers;
pub mod pilot;
pub mod round;
pub mod rows;
pub mod store;
pub mod tracks;

use crate::experiment::{Experiment, Mode};
use crate::plan::{self, Arm, Cell, Part, Plan, Round, RoundKind};
use crate::row::{JournalRow, Outcome};
use crate::spawn::{Interrupts, Tether};
use crate::target::Target;
use crate::toggle::{self, Toggle};
use crate::workload::{Rw, Workload};
use cpus::{Cpus, Shares};
use manifest::Manifest;
use peers::{Outcomes, Peers};
use round::Spec;
use rows::RunFacts;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use store::{PlannedRound, RoundRows, Store};

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
    #[error(
        "{dir}: {what} changed since this run began; a run is continued with what it began with: start a new one with another --out"
    )]
    Changed { dir: String, what: &'static str },
    #[error(
        "{FAILURES_IN_A_ROW} rounds in a row failed, the last with: {0}; what was measured before is kept, --resume continues"
    )]
    Failing(String),
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
    /// Asked now and then, with the rounds of each cell that lie in `dir`: why the run may end, or `None` to go on.
    pub enough: &'a dyn Fn(u32) -> Option<String>,
}

/// Runs what is missing of the plan.
pub fn run(job: &Job<'_>) -> Result<(), Error> {
    let started = jiff::Timestamp::now();
    let peers = Peers::find(job.experiment, &job.plan.cells, job.target, job.tether);
    let fresh =
        Manifest { fio: peers.manifest(&job.plan.cells), ..Manifest::new(job.experiment, job.plan, job.target, &started) };
    let (store, finished) = if job.resume {
        let (store, finished) = Store::resume(job.dir)?;
        check_unchanged(job, &store.read_manifest()?, &fresh)?;
        (store, finished)
    } else {
        (Store::create(job.dir, &fresh)?, BTreeSet::new())
    };
    let mut manifest: Manifest = store.read_manifest()?;
    let mut walk = Walk { job, store, peers, facts: run_facts(job, &manifest), began: began(&manifest), failures: 0 };
    let rounds = walk.planned()?;
    for (i, round) in rounds.iter().enumerate() {
        if finished.contains(&round.round) {
            continue;
        }
        if manifest.stopped.is_none()
            && let Some(done) = repetitions_before(&rounds, i, job.plan.repetitions)
            && let Some(why) = (job.enough)(done)
        {
            manifest.stopped = Some(why);
            walk.store.write_manifest(&manifest)?;
        }
        if manifest.stopped.is_some() && round.kind != RoundKind::Whole {
            continue;
        }
        job.progress.round(i, rounds.len(), &round.cell);
        if job.interrupts.pending() || !walk.round(round)? {
            let dir = job.dir.display().to_string();
            return Err(Error::Interrupted { done: i, total: rounds.len(), dir });
        }
    }
    job.progress.round(rounds.len(), rounds.len(), "");
    manifest.circumstances.load_after = facts::load();
    walk.store.write_manifest(&manifest)?;
    Ok(())
}

/// How often every cell was measured before a round that begins the next time; `None` for other rounds.
fn repetitions_before(rounds: &[PlannedRound], place: usize, repetitions: u32) -> Option<u32> {
    let measures = |round: &PlannedRound| !round.kind.is_watched() && round.kind != RoundKind::Whole;
    let all = |rounds: &[PlannedRound]| rounds.iter().filter(|round| measures(round)).count();
    let (before, each) = (all(&rounds[..place]), all(rounds) / repetitions as usize);
    (measures(&rounds[place]) && before.is_multiple_of(each)).then(|| (before / each) as u32)
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
    Ok(())
}

fn run_facts(job: &Job<'_>, manifest: &Manifest) -> RunFacts {
    RunFacts {
        experiment: job.experiment.name.clone(),
        run_id: manifest.run_id.clone(),
        target: job.target.label.clone(),
        span_bytes: job.target.span_bytes,
        allow_iowq: job.experiment.allow_iowq,
        since_start: Duration::ZERO,
    }
}

/// When the run began: on resume, when its first part did.
fn began(manifest: &Manifest) -> jiff::Timestamp {
    manifest.started_utc.parse().unwrap_or_else(|_| jiff::Timestamp::now())
}

/// What the rounds of a cell are told.
fn spec(experiment: &Experiment, target: &Target, cell: &Cell, part: Part, seed: u64) -> Spec {
    Spec {
        paths: target.paths().map(Path::to_path_buf).collect(),
        span_bytes: target.span_bytes,
        workload: cell.workload,
        options: experiment.options.clone(),
        setting: target.setting(experiment.options.numa_node),
        arms: cell.arms_of(part),
        seed,
        blocks: 0,
        completions: 0,
        hang_guard: HANG_GUARD + experiment.trial_time * 2,
        profile: None,
        counted: None,
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
    for workload in &experiment.cells {
        let off = experiment.toggles.iter().fold(experiment.fixed, |l, (t, _)| l.with(*t, t.spec().off));
        let arm = |&(toggle, on): &(Toggle, u32)| Arm {
            treatment: toggle.key().into(),
            levels: off.with(toggle, on),
            control: plan::Control::None,
            copies: 1,
        };
        let setting = target.setting(experiment.options.numa_node);
        let possible = |(_, arm): &(&(Toggle, u32), Arm)| toggle::refusal(&arm.levels, workload, &setting).is_none();
        let listed = experiment.toggles.iter().map(|t| (t, arm(t)));
        let (toggles, arms): (Vec<&(Toggle, u32)>, Vec<Arm>) = listed.filter(possible).unzip();
        let cell = Cell { name: workload.cell_name(), workload: *workload, arms, dropped: vec![] };
        let report = child::run(tether, &spec(experiment, target, &cell, Part::All, experiment.seed), HANG_GUARD * 4, interrupts)
            .map_err(|source| pilot::Error::Round { cell: cell.name.clone(), source })?;
        let refused = toggles.iter().zip(report.arms).filter_map(|(t, arm)| Some((**t, arm.unsupported?)));
        found.extend(refused.map(|((toggle, level), reason)| Obstacle { workload: *workload, toggle, level, reason }));
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
    let trial_time = (mode == Mode::Isolated).then_some(experiment.trial_time);
    let spec = spec(experiment, target, cell, Part::All, experiment.seed);
    pilot::run(tether, cell, &spec, plan.round_time, trial_time, interrupts)
}

/// A run under way.
struct Walk<'a> {
    job: &'a Job<'a>,
    store: Store,
    peers: Peers<'a>,
    facts: RunFacts,
    began: jiff::Timestamp,
    failures: u32,
}

impl Walk<'_> {
    /// The plan with what the pilot fixed: read back where an earlier start got that far, else measured now.
    fn planned(&mut self) -> Result<Vec<PlannedRound>, Error> {
        let plan = self.job.plan;
        if let Some(planned) = self.store.read_plan()? {
            if planned.iter().map(PlannedRound::round).ne(plan.rounds.iter().cloned()) {
                return Err(Error::Changed { dir: self.job.dir.display().to_string(), what: "the plan" });
            }
            return Ok(planned);
        }
        let mut planned = Vec::with_capacity(plan.rounds.len());
        let mode = self.job.experiment.mode;
        let fixed = self.pilots(mode)?;
        // Rounds that are watched hold all arms in one process, in slices, whatever the others do.
        let apart = mode == Mode::Isolated && plan.rounds.iter().any(|r| r.kind.is_watched());
        let watched = if apart { self.pilots(Mode::Sliced)? } else { fixed.clone() };
        for round in &plan.rounds {
            let pilots = if round.kind.is_watched() { &watched } else { &fixed };
            let fixed = pilots.iter().find(|(name, _)| *name == round.cell).map(|(_, fixed)| fixed);
            let (blocks, completions, slice) = match (round.kind, fixed) {
                (RoundKind::Slices | RoundKind::Isolated | RoundKind::Profile | RoundKind::Counts, Some(fixed)) => {
                    (fixed.blocks, fixed.completions, Duration::ZERO)
                }
                (RoundKind::Peers, Some(fixed)) => {
                    let slice = (fixed.queue_time * peers::QUEUES_PER_SLICE).max(peers::LEAST_SLICE);
                    (self.peers.blocks(slice), 0, slice)
                }
                _ => (0, 0, Duration::ZERO),
            };
            let Round { round, cell, kind, part, seed } = round.clone();
            planned.push(PlannedRound { round, cell, kind, part, seed, blocks, completions, slice_us: slice.as_micros() as u64 });
        }
        self.store.write_plan(&planned)?;
        Ok(planned)
    }

    /// What the pilot fixes for each cell, by name.
    fn pilots(&self, mode: Mode) -> Result<Vec<(String, pilot::Fixed)>, Error> {
        self.job.plan.cells.iter().map(|cell| Ok((cell.name.clone(), self.pilot(cell, mode)?))).collect()
    }

    fn pilot(&self, cell: &Cell, mode: Mode) -> Result<pilot::Fixed, Error> {
        let Job { experiment, plan, target, tether, interrupts, progress, dir, .. } = self.job;
        progress.round(0, plan.rounds.len(), &format!("pilot of {}", cell.name));
        pilot_of(experiment, mode, plan, target, cell, (tether, interrupts)).map_err(|error| match error {
            pilot::Error::Round { source: child::Error::Interrupted, .. } => {
                Error::Interrupted { done: 0, total: plan.rounds.len(), dir: dir.display().to_string() }
            }
            error => error.into(),
        })
    }

    /// Runs one round and makes it durable. False when a signal came; the round is then redone whole another time.
    fn round(&mut self, planned: &PlannedRound) -> Result<bool, Error> {
        let round = planned.round();
        let Some(cell) = self.job.plan.cells.iter().find(|c| c.name == round.cell) else {
            return Err(Error::Changed { dir: self.job.dir.display().to_string(), what: "the plan" });
        };
        let (started, clock, cpus) = (jiff::Timestamp::now(), Instant::now(), Cpus::read());
        // A clock that was set back meanwhile must not end the run.
        self.facts.since_start = started.duration_since(self.began).try_into().unwrap_or_default();
        let told = spec(self.job.experiment, self.job.target, cell, round.part, round.seed);
        let profile = (round.kind == RoundKind::Profile).then_some(self.job.experiment.profile.frequency);
        let counted = (round.kind == RoundKind::Counts).then(|| self.job.target.devices());
        let spec = Spec { blocks: planned.blocks, completions: planned.completions, profile, counted, ..told };
        let interrupts = self.job.interrupts;
        let Some((rows, setup_order, violations)) = (match round.kind {
            RoundKind::Slices | RoundKind::Profile | RoundKind::Counts => self.sliced(&round, &spec)?,
            RoundKind::Isolated => self.isolated(&round, &spec)?,
            RoundKind::Peers if cell.workload.rw == Rw::Nop => self.peers.own_counts(&self.facts, planned, cell, interrupts),
            RoundKind::Peers => self.peers.duet(&self.facts, planned, cell, interrupts),
            RoundKind::Whole => self.peers.whole(&self.facts, &round, cell, interrupts),
        }) else {
            return Ok(false);
        };
        let shares = cpus.map_or_else(Shares::default, Cpus::since);
        let journal = JournalRow {
            round: round.round,
            cell: round.cell,
            kind: round.kind,
            started_utc: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            wall_s: clock.elapsed().as_secs_f64(),
            slices_s: rows.arms.iter().filter_map(|arm| arm.duration_s).sum(),
            violations,
            machine_busy_share: shares.busy,
            machine_steal_share: shares.steal,
            setup_order,
            trials_bytes: 0,
            arms_bytes: 0,
            latency_bytes: 0,
            overhead_bytes: 0,
        };
        self.store.commit(&rows, journal)?;
        Ok(true)
    }

    /// All arms in one process.
    fn sliced(&mut self, round: &Round, spec: &Spec) -> Result<Option<Outcomes>, Error> {
        let timeout = HANG_GUARD * 4 + self.job.plan.round_time.max(self.job.experiment.trial_time) * 4;
        match child::run(self.job.tether, spec, timeout, self.job.interrupts) {
            Ok(report) => {
                self.failures = 0;
                let order: Vec<&str> = report.setup_order.iter().map(|arm| spec.arms[*arm].treatment.as_str()).collect();
                Ok(Some((rows::from_report(&self.facts, round, spec, &report), order.join(" "), 0)))
            }
            Err(error) => self.failed(round, spec, error),
        }
    }

    /// Every arm in a process of its own, in random order; the block is the round.
    fn isolated(&mut self, round: &Round, spec: &Spec) -> Result<Option<Outcomes>, Error> {
        let mut decisions = crate::random::Decisions::new(round.seed);
        let order = plan::block_order(&spec.arms, &mut decisions);
        let (mut all, mut names) = (RoundRows::default(), Vec::new());
        for (position, &(arm, _)) in (0..).zip(&order) {
            let alone = spec.arms[arm].clone();
            names.push(alone.treatment.clone());
            let spec = Spec { arms: vec![alone], seed: decisions.seed(), ..spec.clone() };
            let Some((mut rows, ..)) = self.sliced(round, &spec)? else { return Ok(None) };
            rows.trials.iter_mut().for_each(|t| t.position = position);
            all.trials.append(&mut rows.trials);
            all.arms.append(&mut rows.arms);
            all.latency += &rows.latency;
        }
        // In the plan's order: a ladder is read step by step.
        all.arms.sort_by_key(|row| spec.arms.iter().position(|arm| arm.treatment == row.treatment));
        Ok(Some((all, names.join(" "), 0)))
    }

    /// A round without a report: said in its rows, and the run goes on unless it keeps happening.
    fn failed(&mut self, round: &Round, spec: &Spec, error: child::Error) -> Result<Option<Outcomes>, Error> {
        let outcome = match error {
            child::Error::Interrupted => return Ok(None),
            child::Error::TimedOut(_) => Outcome::TimedOut,
            child::Error::Died(_) | child::Error::Io(_) => Outcome::Failed,
        };
        self.failures += 1;
        if self.failures >= FAILURES_IN_A_ROW {
            return Err(Error::Failing(error.to_string()));
        }
        Ok(Some((rows::without_report(&self.facts, round, spec, outcome, &error.to_string()), String::new(), 0)))
    }
}
