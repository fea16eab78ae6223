//! What a night writes down as it goes: `rounds.csv`, a line for each round and metric, and the progress that is shown.

use crate::command::progress::Bar;
use crate::durable::{self, Dir};
use crate::nightly::Witness;
use crate::nightly::course::Run;
use crate::nightly::instrument::{Measure, Round};
use crate::nightly::store::{Error, ROUNDS};
use crate::run::Progress;
use serde::Serialize;

/// A line of `rounds.csv`.
#[derive(Serialize)]
struct RoundRow<'a> {
    run: &'static str,
    round: u32,
    cell: &'a str,
    metric: &'a str,
    seed: u64,
    reference: f64,
    candidate: f64,
    placebo: f64,
    violations: u32,
}

/// The notes of a night.
pub struct Notes<'a> {
    dir: &'a Dir,
    bar: Bar,
    round: u32,
    /// Of all rounds so far.
    pub violations: u32,
}

impl Notes<'_> {
    /// Begins them in the night's directory.
    pub fn create(dir: &Dir, bar: Bar) -> Result<Notes<'_>, Error> {
        let header =
            durable::line(&["run", "round", "cell", "metric", "seed", "reference", "candidate", "placebo", "violations"]);
        dir.replace(ROUNDS, header.as_bytes()).map_err(|source| Error::Write { path: dir.join(ROUNDS), source })?;
        Ok(Notes { dir, bar, round: 0, violations: 0 })
    }
}

impl Witness for Notes<'_> {
    fn begins(&mut self, run: Run, (done, total): (u32, u32), cell: &str) {
        let what = if run == Run::Second { format!("{cell}, again for the alarm") } else { cell.into() };
        self.bar.round(done as usize, total as usize, &what);
    }

    fn measured(&mut self, run: Run, cell: &str, seed: u64, (measures, told): (&[Measure], &Round)) -> Result<(), Error> {
        self.round += 1;
        self.violations += told.violations;
        let (run, round, violations) = (run.name(), self.round, told.violations);
        let mut rows = Vec::with_capacity(told.figures.len());
        for (measure, [reference, candidate, placebo]) in measures.iter().zip(told.figures.iter().copied()) {
            let metric = measure.name.as_str();
            rows.push(RoundRow { run, round, cell, metric, seed, reference, candidate, placebo, violations });
        }
        let rows = durable::lines(&rows);
        self.dir.append(ROUNDS, rows.as_bytes()).map_err(|source| Error::Write { path: self.dir.join(ROUNDS), source })
    }
}
