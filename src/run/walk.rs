//! A run under way: what the pilot fixes, and each round from its process to its rows on disk.

use super::cpus::{Cpus, Shares};
use super::pace::{self, Finished, Journal};
use super::peers::{self, Outcomes, Peers};
use super::round::Spec;
use super::rows::{self, RunFacts};
use super::store::{PlannedRound, RoundRows, Store};
use super::{Error, FAILURES_IN_A_ROW, HANG_GUARD, Job, child, pilot, pilot_of, spec};
use crate::experiment::Mode;
use crate::plan::{self, Cell, Round, RoundKind};
use crate::random::Decisions;
use crate::row::{ArmRow, JournalRow, Outcome};
use std::time::{Duration, Instant};

/// A run under way.
pub struct Walk<'a> {
    pub job: &'a Job<'a>,
    pub store: Store,
    pub peers: Peers<'a>,
    pub facts: RunFacts,
    pub began: jiff::Timestamp,
    /// Rounds without a report, in a row.
    pub failures: u32,
}

impl Walk<'_> {
    /// The plan with what the pilot fixed: read back where an earlier start got that far, else measured now.
    pub fn planned(&mut self) -> Result<Vec<PlannedRound>, Error> {
        let plan = self.job.plan;
        if let Some(planned) = self.store.read_plan()? {
            let first = planned.iter().filter(|r| r.redoes.is_none());
            if first.map(PlannedRound::round).ne(plan.rounds.iter().cloned()) {
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
                (RoundKind::Peers, Some(fixed)) if fixed.workload.rate.is_some() => {
                    (1, fixed.completions_in(self.job.experiment.peers.turn_time()), Duration::ZERO)
                }
                // Of NOPs `full` does so many more than the slowest arm that each of its runs has a pilot.
                (RoundKind::Peers, Some(fixed)) if fixed.workload.whole_turns() => (1, 0, Duration::ZERO),
                (RoundKind::Peers, Some(fixed)) => {
                    let slice = (fixed.queue_time * peers::QUEUES_PER_SLICE).max(peers::LEAST_SLICE);
                    (self.peers.blocks(slice), 0, slice)
                }
                _ => (0, 0, Duration::ZERO),
            };
            let Round { round, repetition, cell, kind, part, seed } = round.clone();
            let slice_us = slice.as_micros() as u64;
            planned.push(PlannedRound { round, repetition, cell, kind, part, seed, blocks, completions, slice_us, redoes: None });
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

    /// Adds the rounds that are to be measured again to the plan; false when there are none.
    pub fn redo(&self, rounds: &mut Vec<PlannedRound>, journal: &Journal) -> Result<bool, Error> {
        let again = pace::flagged(rounds, journal);
        if again.is_empty() {
            return Ok(false);
        }
        rounds.extend(again);
        self.store.write_plan(rounds)?;
        Ok(true)
    }

    /// Runs one round and makes it durable. `None` when a signal came; the round is then run whole another time.
    pub fn round(&mut self, planned: &PlannedRound) -> Result<Option<Finished>, Error> {
        let round = planned.round();
        let Some(cell) = self.job.plan.cells.iter().find(|c| c.name == round.cell) else {
            return Err(Error::Changed { dir: self.job.dir.display().to_string(), what: "the plan" });
        };
        let (started, clock, cpus) = (jiff::Timestamp::now(), Instant::now(), Cpus::read());
        // A clock that was set back meanwhile must not end the run.
        self.facts.since_start = started.duration_since(self.began).try_into().unwrap_or_default();
        let _lent = self.job.target.lend()?;
        let told = spec(self.job.experiment, self.job.target, cell, round.part, round.seed);
        let profile = (round.kind == RoundKind::Profile).then_some(self.job.experiment.profile.frequency);
        let counted = (round.kind == RoundKind::Counts).then(|| self.job.target.devices());
        let spec = Spec { blocks: planned.blocks, completions: planned.completions, profile, counted, ..told };
        let interrupts = self.job.interrupts;
        let Some((rows, setup_order, violations)) = (match round.kind {
            RoundKind::Slices | RoundKind::Profile | RoundKind::Counts => self.sliced(&round, &spec)?,
            RoundKind::Isolated => self.isolated(&round, &spec)?,
            RoundKind::Peers if cell.workload.whole_turns() => self.peers.turns(&self.facts, planned, cell, interrupts),
            RoundKind::Peers => self.peers.duet(&self.facts, planned, cell, interrupts),
            RoundKind::Whole => self.peers.whole(&self.facts, &round, cell, interrupts),
        }) else {
            return Ok(None);
        };
        let shares = cpus.map_or_else(Shares::default, Cpus::since);
        let broken = |arm: &&ArmRow| matches!(arm.outcome, Outcome::Invalid | Outcome::Failed | Outcome::TimedOut);
        let flagged: Vec<&str> = rows.arms.iter().filter(broken).map(|arm| arm.treatment.as_str()).collect();
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
            flagged: flagged.join(" "),
            trials_bytes: 0,
            arms_bytes: 0,
            latency_bytes: 0,
            overhead_bytes: 0,
        };
        let finished = journal.finished();
        self.store.commit(&rows, journal)?;
        Ok(Some(finished))
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
        let mut decisions = Decisions::new(round.seed);
        let order = self.isolated_order(round, spec);
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

    /// The order of a round of processes: its row among those of its cell, which are drawn from the experiment's seed. One that is measured
    /// again has an order of its own.
    fn isolated_order(&self, round: &Round, spec: &Spec) -> Vec<(usize, u32)> {
        let Job { experiment, plan, .. } = self.job;
        let alike = |r: &&Round| r.cell == round.cell && r.kind == round.kind;
        let place = plan.rounds.iter().filter(alike).position(|r| r.round == round.round);
        let seed = place.map_or(round.seed, |_| experiment.seed ^ u64::from(crc32fast::hash(round.cell.as_bytes())));
        let mut rows = plan::order::blocks(&spec.arms, place.unwrap_or(0) + 1, &mut Decisions::new(seed));
        rows.pop().expect("as many rows as were asked for")
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
