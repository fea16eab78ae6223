//! The judge of a bisection: rounds of two programs beside each other, kept on disk pair by pair, and what they say.

use crate::analysis::family::holm;
use crate::analysis::signed_rank::{hodges_lehmann, interval, p_value};
use crate::bisect::{Effort, Error, Judge, Likeness, state};
use crate::command::Failure;
use crate::command::nightly::preflight::{Means, Slices};
use crate::durable::{self, Dir};
use crate::exit::Exit;
use crate::nightly::arms::Programs;
use crate::nightly::course::FAILURES_IN_A_ROW;
use crate::nightly::instrument::{self, Instrument, Measure, Watched};
use crate::program::Held;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of a difference that is not there, over all looks at a pair: several pairs follow one another, and one false step misleads the search.
const ALPHA: f64 = 0.001;
/// Of a difference that is overlooked, likewise.
const BETA: f64 = 0.01;

/// One series of one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    cell: String,
    metric: String,
    seed: u64,
    good: f64,
    candidate: f64,
}

/// The judge.
pub struct Pairs<'a> {
    means: Means<'a>,
    slices: Slices,
    /// Cells and metrics that decide.
    cells: Vec<usize>,
    measures: Vec<Measure>,
    effort: Effort,
    dir: Dir,
    /// Every program that was measured, by its path, by which it is started.
    held: BTreeMap<PathBuf, Held>,
    figures: String,
}

impl<'a> Pairs<'a> {
    /// A judge that keeps its rounds below `dir`, of one cell or metric where either is named.
    pub fn new(
        means: Means<'a>,
        (cell, metric): (Option<&str>, Option<&str>),
        effort: Effort,
        dir: &Dir,
    ) -> Result<Pairs<'a>, Failure> {
        let slices = means.slices()?;
        let nothing = Programs { reference: PathBuf::new(), candidate: PathBuf::new() };
        let (all, measures) = {
            let instrument = means.instrument(&nothing, &slices)?;
            (instrument.cells(), instrument.measures())
        };
        let cells: Vec<usize> = (0..all.len()).filter(|i| cell.is_none_or(|c| all[*i] == c)).collect();
        let names: Vec<&str> = measures.iter().map(|m| m.name.as_str()).collect();
        if cells.is_empty() {
            return Err(unknown("--cell", cell, &all.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        if metric.is_some_and(|m| !names.contains(&m)) {
            return Err(unknown("--metric", metric, &names));
        }
        let measures = measures.into_iter().filter(|m| metric.is_none_or(|name| m.name == name)).collect();
        let dir = dir.make("rounds").map_err(|source| Error::Write { path: dir.join("rounds"), source })?;
        Ok(Pairs { means, slices, cells, measures, effort, dir, held: BTreeMap::new(), figures: String::new() })
    }

    /// Where the rounds of a pair are kept: programs lie in files that are named after their commits.
    fn file(good: &Path, candidate: &Path) -> String {
        let name = |program: &Path| program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("{}-{}.csv", name(good), name(candidate))
    }

    /// Takes a program, unless it is held already.
    fn hold(&mut self, path: &Path) -> Result<(), Error> {
        if !self.held.contains_key(path) {
            let held = durable::open_named(path).and_then(|file| Held::new(path.into(), file));
            self.held.insert(path.into(), held.map_err(|source| Error::Read { path: path.into(), source })?);
        }
        Ok(())
    }

    /// A round of every cell that decides.
    fn round(&self, instrument: &mut dyn Instrument, cells: &[String]) -> Result<Vec<Line>, instrument::Error> {
        let mut lines = Vec::new();
        for &cell in &self.cells {
            let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
            let figures = instrument.round(cell, seed)?.figures;
            for (measure, [good, candidate, _]) in instrument.measures().into_iter().zip(figures) {
                lines.push(Line { cell: cells[cell].clone(), metric: measure.name, seed, good, candidate });
            }
        }
        Ok(lines)
    }

    /// What the rounds of a pair say.
    fn verdict(&mut self, lines: &[Line]) -> Likeness {
        self.figures.clear();
        let Gate { alpha, beta } = Gate::of(self.effort);
        let series: Vec<(&Measure, String, Vec<f64>)> = self.series(lines);
        let p = holm(&series.iter().map(|s| p_value(&s.2)).collect::<Vec<_>>());
        let (delta, find) = (self.means.experiment.delta, self.means.experiment.gate.find);
        let (mut different, mut same) = (false, true);
        let mut told: Vec<(f64, String)> = Vec::new();
        for ((measure, name, logs), p) in series.iter().zip(p) {
            let (Some(point), Some(bounds)) = (hodges_lehmann(logs), interval(logs, 1.0 - 2.0 * beta)) else {
                return Likeness::More;
            };
            // Positive is for the worse.
            let worse = -measure.better.sign();
            different |= p < alpha && point * worse > delta.ln_1p();
            same &= (bounds.lo * worse).max(bounds.hi * worse) < find.ln_1p();
            let percent = |log: f64| 100.0 * log.exp_m1();
            let words = format!("{name} {:+.2} % [{:+.2}, {:+.2}]", percent(point), percent(bounds.lo), percent(bounds.hi));
            told.push((point * worse, words));
        }
        told.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.figures = told.into_iter().next().map_or(String::new(), |t| t.1);
        match (different, same) {
            (true, _) => Likeness::Different,
            (false, true) => Likeness::Same,
            (false, false) => Likeness::More,
        }
    }

    /// The log ratios of each series, with its name.
    fn series(&self, lines: &[Line]) -> Vec<(&Measure, String, Vec<f64>)> {
        let mut cells: Vec<&str> = lines.iter().map(|l| l.cell.as_str()).collect();
        cells.sort_unstable();
        cells.dedup();
        let of = |cell: &str, measure: &Measure| -> Vec<f64> {
            let own = lines.iter().filter(|l| l.cell == cell && l.metric == measure.name);
            own.map(|l| (l.candidate / l.good).ln()).collect()
        };
        let all = cells.iter().flat_map(|cell| self.measures.iter().map(move |m| (m, *cell)));
        all.map(|(m, cell)| (m, format!("{cell} {}", m.name), of(cell, m))).collect()
    }
}

/// Levels of a single look at a pair.
struct Gate {
    alpha: f64,
    beta: f64,
}

impl Gate {
    fn of(effort: Effort) -> Gate {
        let looks = f64::from(effort.looks().max(1));
        Gate { alpha: ALPHA / looks, beta: BETA / looks }
    }
}

fn unknown(flag: &str, given: Option<&str>, valid: &[&str]) -> Failure {
    let message =
        format!("{flag} {:?} is not measured by this experiment; it measures {}", given.unwrap_or_default(), valid.join(", "));
    Failure { exit: Exit::Usage, message }
}

impl Judge for Pairs<'_> {
    fn rounds(&mut self, good: &Path, candidate: &Path, rounds: u32) -> Result<Likeness, Error> {
        let file = Pairs::file(good, candidate);
        let mut lines: Vec<Line> = state::kept(&self.dir, &file, &["cell", "metric", "seed", "good", "candidate"])?;
        let programs = Programs { reference: good.into(), candidate: candidate.into() };
        for path in [good, candidate] {
            self.hold(path)?;
        }
        {
            let inner = self.means.instrument(&programs, &self.slices).map_err(|failure| Error::Judge(failure.message))?;
            let mut instrument = Watched { inner, programs: vec![&self.held[good], &self.held[candidate]] };
            let cells = instrument.cells();
            let (mut done, mut failures) = (0, 0);
            while done < rounds {
                match self.round(&mut instrument, &cells) {
                    Ok(more) => {
                        let text = durable::lines(&more);
                        let write = |source| Error::Write { path: self.dir.join(&file), source };
                        self.dir.append(&file, text.as_bytes()).map_err(write)?;
                        lines.extend(more);
                        (done, failures) = (done + 1, 0);
                    }
                    Err(instrument::Error::Interrupted) => return Err(Error::Interrupted),
                    Err(instrument::Error::Peer(error)) => return Err(Error::Judge(error.to_string())),
                    Err(instrument::Error::Replaced(replaced)) => {
                        return Err(Error::Judge(format!("{replaced}; what it was is lost: begin anew with another --state")));
                    }
                    Err(instrument::Error::Round(reason)) => {
                        failures += 1;
                        if failures == FAILURES_IN_A_ROW {
                            return Err(Error::Judge(format!("{failures} rounds in a row failed, the last with: {reason}")));
                        }
                    }
                }
            }
        }
        Ok(self.verdict(&lines))
    }

    fn figures(&self) -> String {
        self.figures.clone()
    }
}
