//! Rounds of work that no device counts: our `full` and `t/io_uring` on NOPs, whole runs in turn, each by its own count.

use super::peers::{Outcomes, Peers, engine_of};
use super::rows::{RunFacts, blank};
use super::store::{PlannedRound, RoundRows};
use super::{child, pilot};
use crate::peer::{Error, t_io_uring};
use crate::plan::{Cell, Part};
use crate::random::Decisions;
use crate::row::{ArmRow, Outcome, TrialRow};
use crate::run::round::Spec;
use crate::spawn::Interrupts;
use std::time::Duration;

/// Length of one of our runs, and of what is left of the peer's after its first second, which its mean leaves out.
const TURN: Duration = Duration::from_secs(1);

/// What one turn of one side counted.
struct Turn {
    ops: u64,
    duration: Duration,
    cpu_total_ns: Option<u64>,
}

impl Peers<'_> {
    /// A round of whole runs in random order. `None` when a signal came.
    pub fn own_counts(&self, facts: &RunFacts, planned: &PlannedRound, cell: &Cell, interrupts: &Interrupts) -> Option<Outcomes> {
        let round = planned.round();
        let mut decisions = Decisions::new(round.seed);
        let mut order = ["full", t_io_uring::TREATMENT];
        decisions.shuffle(&mut order);
        let mut rows = RoundRows::default();
        for (position, name) in (0..).zip(order) {
            let turn =
                if name == "full" { self.our_turn(cell, round.seed, interrupts) } else { self.peers_turn(cell, interrupts)? };
            let mut row = blank(facts, &round, cell.workload, name, engine_of(name));
            match turn {
                Ok(turn) => {
                    (row.ops, row.duration_s) = (Some(turn.ops), Some(turn.duration.as_secs_f64()));
                    (row.bytes, row.cpu_total_ns) = (Some(0), turn.cpu_total_ns);
                    rows.trials.push(trial(&row, position));
                }
                Err((outcome, reason)) => (row.outcome, row.reason) = (outcome, reason),
            }
            rows.arms.push(row);
        }
        (!interrupts.pending()).then(|| (rows, order.join(" "), 0))
    }

    fn our_turn(&self, cell: &Cell, seed: u64, interrupts: &Interrupts) -> Result<Turn, (Outcome, String)> {
        let full = cell.arms.iter().filter(|arm| arm.treatment == "full").cloned().collect();
        let alone = Cell { arms: full, ..cell.clone() };
        let spec = super::spec(self.experiment, self.target, &alone, Part::All, seed);
        let fail = |e: &dyn std::fmt::Display| (Outcome::Failed, e.to_string());
        let completions = pilot::completions(self.tether, &spec, TURN, interrupts).map_err(|e| fail(&e))?;
        let spec = Spec { completions, blocks: 1, ..spec };
        let report = child::run(self.tether, &spec, spec.hang_guard * 4, interrupts).map_err(|e| fail(&e))?;
        let slice = report.slices.first().ok_or_else(|| fail(&report.arms[0].unsupported.as_deref().unwrap_or("nothing ran")))?;
        let duration = Duration::from_nanos(slice.duration_ns);
        Ok(Turn { ops: slice.ops, duration, cpu_total_ns: Some(slice.cpu_total_ns) })
    }

    fn peers_turn(&self, cell: &Cell, interrupts: &Interrupts) -> Option<Result<Turn, (Outcome, String)>> {
        let unsupported = |reason: String| Some(Err((Outcome::Unsupported, reason)));
        let Some(peer) = &self.t_io_uring else { return unsupported("[peers] t_io_uring names no program".into()) };
        let time = TURN * 3;
        match peer.as_ref().map(|peer| peer.nops(self.tether, &self.work(cell, time), interrupts)) {
            Err(reason) => unsupported(reason.clone()),
            Ok(Err(Error::Interrupted)) => None,
            Ok(Err(error)) => Some(Err((Outcome::Failed, error.to_string()))),
            Ok(Ok(rate)) => Some(Ok(Turn { ops: rate.round() as u64, duration: Duration::from_secs(1), cpu_total_ns: None })),
        }
    }
}

fn trial(row: &ArmRow, position: u32) -> TrialRow {
    TrialRow {
        round: row.round,
        cell: row.cell.clone(),
        treatment: row.treatment.clone(),
        replica: 0,
        block: 0,
        position,
        duration_s: row.duration_s.unwrap_or(0.0),
        ops: row.ops.unwrap_or(0),
        bytes: 0,
        errors: 0,
        cpu_total_ns: row.cpu_total_ns,
        enters: None,
    }
}
