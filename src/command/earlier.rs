//! Earlier runs of an experiment: what they tell of the rounds that another one needs.

use crate::analysis::Model;
use crate::analysis::contrast::FAMILY;
use crate::analysis::signed_rank::{detectable_in, rounds_for};
use crate::durable::Dir;
use crate::experiment::{self, Experiment};
use crate::run::manifest::{Circumstances, Manifest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fewer rounds do not tell how far rounds lie apart.
pub const LEAST_ROUNDS: usize = 12;

/// More are not chosen unasked.
pub const MOST_ROUNDS: u32 = 60;

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
    /// Smallest and largest effect, as fractions, that so many rounds find with probability 0.8 at level `alpha`, each for itself.
    pub fn detectable(&self, rounds: u32, alpha: f64) -> Option<(f64, f64)> {
        let found = |sd: &f64| Some(detectable_in(*sd, rounds as usize, alpha)?.exp_m1());
        let mut sizes: Vec<f64> = self.of_rounds.iter().filter_map(found).collect();
        sizes.sort_by(f64::total_cmp);
        Some((*sizes.first()?, *sizes.last()?))
    }
}

/// Squares of what the rounds of one contrast differ from the mean of their run by.
#[derive(Default)]
struct Pooled {
    squares: f64,
    rounds: usize,
    runs: usize,
}

impl Pooled {
    /// Days differ in their mean; what is asked is how far the rounds of one day lie apart.
    fn add(&mut self, logs: &[f64]) {
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        self.squares += logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
        self.rounds += logs.len();
        self.runs += 1;
    }

    fn sd(&self) -> Option<f64> {
        (self.rounds > self.runs).then(|| (self.squares / (self.rounds - self.runs) as f64).sqrt())
    }
}

/// The spread in each cell over all runs in `results` that measured the same in the same circumstances; cells with too few rounds are left
/// out.
pub fn spread(experiment: &Experiment, alike: impl Fn(&Circumstances) -> bool) -> Vec<Spread> {
    let mut cells: BTreeMap<String, (&'static str, BTreeMap<String, Pooled>)> = BTreeMap::new();
    for dir in runs(&Path::new("results").join(&experiment.name)) {
        if !Manifest::read(&dir).ok().flatten().is_some_and(|m| alike(&m.circumstances) && same(experiment, &m.experiment.text)) {
            continue;
        }
        // One run at a time is in memory. What cannot be read tells nothing.
        for cell in Model::read(&dir).map_or(vec![], |model| model.cells) {
            let (metric, contrasts) = cells.entry(cell.cell).or_insert((cell.primary.name(), BTreeMap::new()));
            for effect in cell.effects.iter().filter(|e| e.metric.name() == *metric && FAMILY.contains(&e.contrast.kind)) {
                let logs: Vec<f64> = effect.rounds.iter().map(|(_, ratio)| ratio.ln()).collect();
                contrasts.entry(effect.contrast.name()).or_default().add(&logs);
            }
        }
    }
    let known = |(cell, (metric, contrasts)): (String, (&'static str, BTreeMap<String, Pooled>))| {
        let rounds = contrasts.values().map(|p| p.rounds).min().filter(|n| *n >= LEAST_ROUNDS)?;
        let runs = contrasts.values().map(|p| p.runs).max()?;
        Some(Spread { cell, metric, of_rounds: contrasts.values().filter_map(Pooled::sd).collect(), rounds, runs })
    };
    cells.into_iter().filter_map(known).collect()
}

/// Whether an earlier run measured what this one will: rounds of the same arms and length, whatever their number.
fn same(experiment: &Experiment, text: &str) -> bool {
    let Ok(then) = experiment::parse(Path::new("manifest.json"), text) else { return false };
    let what = |e: &Experiment| {
        (e.cells.clone(), e.designs.clone(), e.toggles.clone(), e.beside.clone(), e.sweep.clone(), e.treatments.clone(), e.fixed)
    };
    let how = |e: &Experiment| (e.mode, e.round_time, e.slice_time, e.trial_time, e.conditioning);
    what(experiment) == what(&then) && how(experiment) == how(&then)
}

/// Whether earlier rounds may choose how many there are: where the experiment leaves that open.
pub fn chooses(experiment: &Experiment) -> bool {
    experiment.rounds.is_none() && !experiment.looks()
}

/// The rounds that find an effect of the practical margin in every cell after the correction for the family, where the experiment leaves
/// their number open and earlier rounds tell. A pilot's guess of the spread between rounds would be worthless.
pub fn rounds(experiment: &Experiment, spread: &[Spread]) -> Option<u32> {
    if !chooses(experiment) || spread.len() < experiment.cells.len() {
        return None;
    }
    let needed = |s: &Spread| {
        let alpha = experiment.alpha / s.of_rounds.len().max(1) as f64;
        let widest = s.of_rounds.iter().copied().max_by(f64::total_cmp)?;
        Some(rounds_for(widest, experiment.delta.ln_1p(), alpha).map_or(MOST_ROUNDS, |n| n as u32))
    };
    spread.iter().filter_map(needed).max().map(|n| n.min(MOST_ROUNDS))
}

/// The runs of an experiment, oldest first: names begin with the time. What else lies there, as a comparison of them, is none.
fn runs(home: &Path) -> impl DoubleEndedIterator<Item = Dir> {
    let home = Dir::open(home).ok();
    let names = home.as_ref().and_then(|home| home.names().ok()).unwrap_or_default();
    let dirs = names.into_iter().filter_map(move |name| home.as_ref()?.dir(name).ok());
    dirs.filter(|dir| dir.holds("manifest.json").unwrap_or_default())
}

/// The newest run of an experiment.
pub fn newest(home: &Path) -> Option<PathBuf> {
    runs(home).next_back().map(|dir| dir.path().into())
}
