//! Rounds of whole runs: our `full` and its peers one after the other in random order, each started afresh and never stopped.
//!
//! For work that process arms would be wrong about ([`Workload::whole_turns`](crate::workload::Workload::whole_turns)): who keeps a fixed rate
//! catches up with all that was due while it was stopped, and NOPs no device counts. Each side counts for itself.

use super::peers::{Outcomes, Peers, engine_of};
use super::round::Spec;
use super::rows::{self, RunFacts, blank};
use super::store::{PlannedRound, RoundRows};
use super::{child, pilot};
use crate::experiment::FioConfig;
use crate::peer::Error;
use crate::peer::fio::Fio;
use crate::peer::t_io_uring::{self, TIoUring};
use crate::plan::{Arm, Cell, Part};
use crate::random::Decisions;
use crate::row::{ArmRow, Outcome, TrialRow};
use crate::spawn::Interrupts;
use std::time::Duration;

/// `t/io_uring` prints a line a second: the first is of its start, the last may be cut off by its end.
const LINES_UNUSED: Duration = Duration::from_secs(2);

/// Who takes a turn.
enum Side<'a> {
    Ours,
    Fio(&'a Fio, String),
    TIoUring(&'a TIoUring),
}

impl Peers<'_> {
    /// A round of whole runs. `None` when a signal came.
    pub fn turns(&self, facts: &RunFacts, planned: &PlannedRound, cell: &Cell, interrupts: &Interrupts) -> Option<Outcomes> {
        let round = planned.round();
        let blank = |name: &str| blank(facts, &round, cell.workload, name, engine_of(name));
        let mut rows = RoundRows::default();
        let mut sides = vec![("full", Side::Ours)];
        for (name, side) in self.sides(cell) {
            match side {
                Ok(side) => sides.push((name, side)),
                Err(reason) => rows.arms.push(ArmRow { outcome: Outcome::Unsupported, reason, ..blank(name) }),
            }
        }
        if sides.len() == 1 {
            return Some((rows, String::new(), 0));
        }
        Decisions::new(round.seed).shuffle(&mut sides);
        for (position, (name, side)) in (0..).zip(&sides) {
            let mut turn = match side {
                Side::Ours => self.our_turn(facts, planned, cell, interrupts)?,
                Side::Fio(fio, job) => {
                    let time = self.experiment.peers.turn_time();
                    one(self.fio_run(facts, blank(name), (fio, job), time, interrupts)?)
                }
                Side::TIoUring(peak) => one(self.peak_turn(blank(name), peak, cell, interrupts)?),
            };
            turn.trials.iter_mut().for_each(|trial| trial.position = position);
            rows.trials.append(&mut turn.trials);
            rows.arms.append(&mut turn.arms);
            rows.latency += &turn.latency;
        }
        let order: Vec<&str> = sides.iter().map(|(name, _)| *name).collect();
        (!interrupts.pending()).then(|| (rows, order.join(" "), 0))
    }

    /// Whom our `full` is compared with on a cell, or why one cannot take part.
    fn sides(&self, cell: &Cell) -> Vec<(&'static str, Result<Side<'_>, String>)> {
        let time = self.experiment.peers.turn_time();
        let fio = |config: &FioConfig| {
            let side = self.ready(cell, *config, time).map(|(fio, job)| Side::Fio(fio, job));
            (config.treatment(), side)
        };
        let peak = self.t_io_uring.iter().map(|found| {
            let able = t_io_uring::arguments(&self.work(cell, time)).map_err(|e| e.to_string());
            (t_io_uring::TREATMENT, able.and(found.as_ref().map(Side::TIoUring).map_err(String::clone)))
        });
        self.experiment.peers.fio.iter().map(fio).chain(peak).collect()
    }

    /// Our `full`, judged by the gates of every arm.
    fn our_turn(&self, facts: &RunFacts, planned: &PlannedRound, cell: &Cell, interrupts: &Interrupts) -> Option<RoundRows> {
        let (round, time) = (planned.round(), self.experiment.peers.turn_time());
        let arms = cell.arms.iter().filter(|arm| arm.treatment == "full").map(|arm| Arm { copies: 1, ..arm.clone() }).collect();
        let alone = Cell { arms, ..cell.clone() };
        let told = super::spec(self.experiment, self.target, &alone, Part::All, round.seed);
        // A peer begins its run unprepared, too.
        let spec = Spec { blocks: 1, conditioning: false, hang_guard: told.hang_guard + time * 2, ..told };
        let completions = match planned.completions {
            0 => pilot::completions(self.tether, &spec, time, interrupts).map_err(|error| match error {
                pilot::Error::Round { source, .. } => source,
                other => child::Error::Died(other.to_string()),
            }),
            known => Ok(known),
        };
        let spec = Spec { completions: *completions.as_ref().unwrap_or(&0), ..spec };
        match completions.and_then(|_| child::run(self.tether, &spec, spec.hang_guard * 2, interrupts)) {
            Ok(report) => Some(rows::from_report(facts, &round, &spec, &report)),
            Err(child::Error::Interrupted) => None,
            Err(error) => {
                let outcome = if matches!(error, child::Error::TimedOut(_)) { Outcome::TimedOut } else { Outcome::Failed };
                Some(rows::without_report(facts, &round, &spec, outcome, &error.to_string()))
            }
        }
    }

    /// `t/io_uring`, of which no more is known than the rate that it prints.
    fn peak_turn(&self, row: ArmRow, peak: &TIoUring, cell: &Cell, interrupts: &Interrupts) -> Option<ArmRow> {
        let time = self.experiment.peers.turn_time() + LINES_UNUSED;
        match peak.nops(self.tether, &self.work(cell, time), interrupts) {
            Ok(rate) => Some(ArmRow { ops: Some(rate.round() as u64), bytes: Some(0), duration_s: Some(1.0), ..row }),
            Err(Error::Interrupted) => None,
            Err(error) => Some(ArmRow { outcome: Outcome::Failed, reason: error.to_string(), ..row }),
        }
    }
}

/// The rows of a side that is one run; none of its parts, where it did not come to its end.
fn one(row: ArmRow) -> RoundRows {
    let trial = |(ops, duration_s): (u64, f64)| TrialRow {
        round: row.round,
        cell: row.cell.clone(),
        treatment: row.treatment.clone(),
        replica: 0,
        block: 0,
        position: 0,
        duration_s,
        ops,
        bytes: row.bytes.unwrap_or(0),
        errors: row.errors.unwrap_or(0),
        cpu_total_ns: row.cpu_total_ns,
        enters: None,
    };
    let trials = row.ops.zip(row.duration_s).map(trial).into_iter().collect();
    RoundRows { trials, arms: vec![row], ..RoundRows::default() }
}
