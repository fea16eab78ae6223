//! Runs of the same experiment as files tell of them: how large the whole effect was and how fast the machine, run by run.

use super::Model;
use super::contrast::Metric;
use super::level::{Level, level};
use super::load;
use super::signed_rank::Interval;
use crate::durable::Dir;
use crate::run::manifest::Manifest;
use jiff::Timestamp;
use std::path::Path;

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    pub run_id: String,
    pub started: Timestamp,
    /// Of the circumstances that must agree for absolute figures to be comparable.
    pub fingerprint: String,
    pub cells: Vec<PastCell>,
}

/// A cell of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct PastCell {
    pub cell: String,
    /// The ratio full / baseline of each metric.
    pub totals: Vec<(Metric, Level)>,
    /// IOPS of `full` between its own slices.
    pub full: Option<Level>,
}

impl PastCell {
    /// The ratio of a metric.
    pub fn total(&self, metric: Metric) -> Option<Level> {
        self.totals.iter().find(|(m, _)| *m == metric).map(|(_, level)| *level)
    }
}

/// A line of `effects.csv`, as far as it is wanted.
#[derive(serde::Deserialize)]
struct Line {
    workload: String,
    kind: String,
    metric: String,
    ratio: f64,
    lo: Option<f64>,
    hi: Option<f64>,
    confidence: Option<f64>,
}

impl Line {
    fn level(&self) -> Level {
        let bounds = self.lo.zip(self.hi).zip(self.confidence);
        Level { value: self.ratio, bounds: bounds.map(|((lo, hi), confidence)| Interval { lo, hi, confidence }) }
    }
}

/// This run and those of the same experiment in the directories of `home`, oldest first. What cannot be read tells nothing.
pub fn load(model: &Model, home: &Path) -> Vec<Past> {
    let Some(this) = present(model) else { return Vec::new() };
    let name = model.manifest.as_ref().map(|m| m.experiment.name.as_str());
    let Ok(home) = Dir::open(home) else { return vec![this] };
    let dirs = home.names().into_iter().flatten().filter_map(|name| home.dir(name).ok());
    let mut runs: Vec<Past> = dirs
        .filter_map(|dir| past(&dir, name?, model.settings.confidence()))
        // What was measured last counts, not what an earlier report made of it.
        .filter(|run| run.run_id != this.run_id && !run.cells.is_empty())
        .chain([this.clone()])
        .collect();
    runs.sort_by(|a, b| (a.started, &a.run_id).cmp(&(b.started, &b.run_id)));
    runs.dedup_by(|a, b| a.run_id == b.run_id);
    runs
}

fn present(model: &Model) -> Option<Past> {
    let confidence = model.settings.confidence();
    let cells = model.cells.iter().map(|cell| {
        let total = |metric| {
            let found = cell.find("total", "", metric)?;
            let bounds = found.bounds.map(|b| Interval { lo: b.lo, hi: b.hi, confidence: b.confidence });
            Some((metric, Level { value: found.ratio, bounds }))
        };
        let totals = Metric::ALL.into_iter().filter_map(total).collect();
        PastCell { cell: cell.cell.clone(), totals, full: full(&model.data.arms, &cell.cell, confidence) }
    });
    run(model.manifest.as_ref()?, cells.collect())
}

fn past(dir: &Dir, name: &str, confidence: f64) -> Option<Past> {
    let manifest = Manifest::read(dir).ok()??;
    if manifest.experiment.name != name {
        return None;
    }
    let mut cells: Vec<PastCell> = Vec::new();
    let arms = load::arms(dir).unwrap_or_default();
    for line in csv::Reader::from_reader(&dir.read("effects.csv").ok()?[..]).into_deserialize().flatten() {
        let line: Line = line;
        let Some(metric) = Metric::ALL.into_iter().find(|m| line.kind == "total" && m.name() == line.metric) else { continue };
        let told = (metric, line.level());
        match cells.iter_mut().find(|c| c.cell == line.workload) {
            Some(cell) => cell.totals.push(told),
            None => {
                let full = full(&arms, &line.workload, confidence);
                cells.push(PastCell { cell: line.workload, totals: vec![told], full });
            }
        }
    }
    run(&manifest, cells)
}

fn run(manifest: &Manifest, cells: Vec<PastCell>) -> Option<Past> {
    Some(Past {
        run_id: manifest.run_id.clone(),
        started: manifest.started_utc.parse().ok()?,
        fingerprint: manifest.circumstances.fingerprint.clone(),
        cells,
    })
}

fn full(arms: &[load::Arm], cell: &str, confidence: f64) -> Option<Level> {
    let ours = |a: &&load::Arm| {
        a.cell == cell && a.treatment == "full" && a.outcome == "completed" && load::OURS.contains(&a.kind.as_str())
    };
    level(arms.iter().filter(ours).filter_map(|a| a.figures.get("iops").copied()), confidence)
}
