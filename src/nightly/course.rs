//! The rounds of a night: every cell in turn, as many as the budget holds, each told to a witness before the next.

use super::gate::LEAST_ROUNDS;
use super::instrument::{self, Instrument, Measure, Round};
use super::{Error, Settings, Witness};
use crate::random::Decisions;
use std::time::{Duration, Instant};

/// Rounds that may fail in a row before a night gives up.
pub const FAILURES_IN_A_ROW: u32 = 3;
/// Of a budget, what the first run may take; the rest is for a second one.
const FIRST_SHARE: f64 = 0.6;
/// Of a budget, what the second run may take: a report is made, too.
const SECOND_SHARE: f64 = 0.35;

/// One round in so many may fail and is measured again.
const SPARE: u32 = 4;

/// The rounds of each cell, by its index.
pub type Rounds = Vec<Vec<Round>>;

/// Which of the runs of a night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    First,
    /// What confirms an alarm.
    Second,
}

impl Run {
    /// As in `rounds.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Run::First => "first",
            Run::Second => "second",
        }
    }

    fn share(self) -> f64 {
        if self == Run::First { FIRST_SHARE } else { SECOND_SHARE }
    }
}

/// A night under way.
pub struct Course<'a> {
    pub instrument: &'a mut dyn Instrument,
    pub witness: &'a mut dyn Witness,
    pub settings: Settings,
    pub decisions: Decisions,
    pub cells: Vec<String>,
    pub measures: Vec<Measure>,
}

/// What became of a cell so far.
#[derive(Clone, Default)]
struct Cell {
    taken: Vec<Round>,
    failures: u32,
    reason: String,
}

impl Course<'_> {
    /// So many rounds of some cells; fewer where the budget ends before.
    pub fn run(&mut self, run: Run, cells: &[usize], rounds: u32) -> Result<Rounds, Error> {
        let mut all = vec![Cell::default(); self.cells.len()];
        let (mut wanted, mut done, began) = (rounds, 0, Instant::now());
        let lacks = |all: &[Cell], wanted: u32| -> Vec<usize> {
            cells.iter().copied().filter(|c| (all[*c].taken.len() as u32) < wanted).collect()
        };
        let mut repetition = 0;
        // A round that failed is made up for, but not for ever.
        while repetition < wanted + wanted / SPARE {
            let mut order = lacks(&all, wanted);
            if order.is_empty() {
                break;
            }
            self.decisions.shuffle(&mut order);
            for &cell in &order {
                self.round(run, cell, &mut all[cell], (done, wanted * cells.len() as u32))?;
                done += 1;
            }
            repetition += 1;
            wanted = wanted.min(self.affordable(run, began.elapsed() / repetition)?);
        }
        for (name, cell) in cells.iter().map(|cell| (&self.cells[*cell], &all[*cell])) {
            if (cell.taken.len() as u32) < LEAST_ROUNDS {
                return Err(Error::TooFew { cell: name.clone(), rounds: cell.taken.len(), wanted, reason: cell.reason.clone() });
            }
        }
        Ok(all.into_iter().map(|cell| cell.taken).collect())
    }

    fn round(&mut self, run: Run, cell: usize, so_far: &mut Cell, (done, total): (u32, u32)) -> Result<(), Error> {
        let (name, seed) = (&self.cells[cell], self.decisions.seed());
        self.witness.begins(run, (done, total), name);
        match self.instrument.round(cell, seed) {
            Ok(round) => {
                self.witness.measured(run, name, seed, (&self.measures, &round))?;
                so_far.taken.push(round);
                so_far.failures = 0;
            }
            Err(instrument::Error::Interrupted) => return Err(Error::Interrupted { done, total }),
            Err(instrument::Error::Peer(error)) => return Err(Error::Peer(error)),
            Err(instrument::Error::Replaced(replaced)) => return Err(Error::Replaced(replaced)),
            Err(instrument::Error::Round(reason)) => {
                so_far.failures += 1;
                so_far.reason.clone_from(&reason);
                if so_far.failures == FAILURES_IN_A_ROW {
                    return Err(Error::Failing { cell: name.clone(), reason });
                }
            }
        }
        Ok(())
    }

    /// The rounds that the budget holds, of this length. Whether it holds a second run, too, is found out in the first.
    fn affordable(&self, run: Run, each: Duration) -> Result<u32, Error> {
        let Some(budget) = self.settings.budget else { return Ok(u32::MAX) };
        let rounds = |run: Run| (budget.mul_f64(run.share()).as_secs_f64() / each.as_secs_f64().max(1e-9)) as u32;
        match run {
            Run::Second => Ok(rounds(run).max(LEAST_ROUNDS)),
            Run::First if rounds(Run::Second) < LEAST_ROUNDS => Err(Error::TooSlow { budget, rounds: rounds(Run::Second) }),
            Run::First => Ok(rounds(run)),
        }
    }
}
