//! Earlier runs of an experiment: what they tell of the rounds that another one needs.

use crate::analysis::Model;
use crate::analysis::contrast::FAMILY;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::signed_rank::{detectable_in, median, rounds_for, sd};
use crate::experiment::Experiment;
use crate::run::manifest::Circumstances;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fewer rounds do not tell how far rounds lie apart.
pub const LEAST_ROUNDS: usize = 12;

/// More are not chosen unasked.
const MOST_ROUNDS: u32 = 60;

/// How far the rounds of earlier runs lie apart.
pub struct Spread {
    pub cell: String,
    pub metric: &'static str,
    /// Standard deviation of the log ratio of rounds, for each contrast that is confirmed.
    pub of_rounds: Vec<f64>,
    /// Rounds of the contrast that has fewest.
    pub rounds: usize,
    pub runs: usize,
}

impl Spread {
    /// Smallest and largest effect, as fractions, that so many rounds find with probability 0.8.
    pub fn detectable(&self, rounds: u32) -> Option<(f64, f64)> {
        let mut sizes: Vec<f64> =
            self.of_rounds.iter().filter_map(|sd| Some(detectable_in(*sd, rounds as usize)?.exp_m1())).collect();
        sizes.sort_by(f64::total_cmp);
        Some((*sizes.first()?, *sizes.last()?))
    }
}

/// The spread in each cell over all runs of an experiment that lie in `results` and share their circumstances; cells with too few rounds
/// are left out.
pub fn spread(experiment: &Experiment, alike: impl Fn(&Circumstances) -> bool) -> Vec<Spread> {
    let home = Path::new("results").join(&experiment.name);
    let models: Vec<Model> = runs(&home).iter().filter_map(|dir| Model::load(dir).ok()).collect();
    let same = |m: &&Model| m.manifest.as_ref().is_some_and(|manifest| alike(&manifest.circumstances));
    let models: Vec<&Model> = models.iter().filter(same).collect();
    let cells = experiment.cells.iter().filter_map(|workload| {
        let name = workload.cell_name();
        let found: Vec<&CellEffects> = models.iter().flat_map(|m| &m.cells).filter(|c| c.cell == name).collect();
        let metric = found.last()?.primary;
        let mut logs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let confirmed = |e: &&Effect| e.metric == metric && FAMILY.contains(&e.contrast.kind);
        for effect in found.iter().flat_map(|c| &c.effects).filter(confirmed) {
            // Days differ in their mean; what is asked is how far the rounds of one day lie apart.
            let own: Vec<f64> = effect.rounds.iter().map(|(_, ratio)| ratio.ln()).collect();
            let middle = median(&own).unwrap_or(0.0);
            logs.entry(effect.contrast.name()).or_default().extend(own.iter().map(|log| log - middle));
        }
        let rounds = logs.values().map(Vec::len).min().filter(|n| *n >= LEAST_ROUNDS)?;
        let of_rounds = logs.values().filter_map(|logs| sd(logs)).collect();
        Some(Spread { cell: name, metric: metric.name(), of_rounds, rounds, runs: found.len() })
    });
    cells.collect()
}

/// The rounds that find an effect of the practical margin in every cell, where the experiment leaves their number open and earlier runs in
/// the same circumstances tell. A pilot's guess of the spread between rounds would be worthless.
pub fn rounds(experiment: &Experiment, alike: impl Fn(&Circumstances) -> bool) -> Option<u32> {
    if experiment.rounds.is_some() || experiment.looks() {
        return None;
    }
    let spreads = spread(experiment, alike);
    let known = spreads.len() == experiment.cells.len();
    let widest = spreads.iter().flat_map(|s| &s.of_rounds).copied().max_by(f64::total_cmp).filter(|_| known)?;
    let needed = rounds_for(widest, experiment.delta.ln_1p()).map_or(MOST_ROUNDS, |n| n as u32);
    Some(needed.clamp(LEAST_ROUNDS as u32, MOST_ROUNDS))
}

/// The runs of an experiment, oldest first: names begin with the time.
fn runs(home: &Path) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        std::fs::read_dir(home).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    dirs
}

/// The newest run of an experiment.
pub fn newest(home: &Path) -> Option<PathBuf> {
    runs(home).pop()
}
