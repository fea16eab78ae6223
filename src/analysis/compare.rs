//! Runs beside each other: by how much each contrast's ratio differs from that in the reference run, which is the first.
//!
//! Ratios are taken inside rounds, so the speed of a machine is not in them; rounds of different runs are two independent samples.

use super::Model;
use super::bounds::{Bounds, shown};
use super::contrast::{Contrast, FAMILY, LOOKED_AT, Metric};
use super::effect::{CellEffects, Effect, Settings};
use super::family::{benjamini_hochberg, holm};
use super::level::Measured;
use super::load::{Arm, OURS};
use super::rank_sum;
use super::signed_rank::sd;
use super::verdict::{Evidence, Verdict, decide};
use crate::experiment;
use crate::toggle::Toggle;
use crate::workload::Workload;
use std::fmt;
use std::path::Path;

/// What can be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// Different, and the whole interval lies beyond the margin.
    Beyond,
    Different,
    /// Different, and within the margin.
    Negligible,
    /// Not shown to be different, and within the margin.
    Same,
    Inconclusive,
}

impl Likeness {
    /// As in `compare.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Likeness::Beyond => "different beyond the margin",
            Likeness::Different => "different",
            Likeness::Negligible => Verdict::DifferentButNegligible.name(),
            Likeness::Same => "same",
            Likeness::Inconclusive => Verdict::Inconclusive.name(),
        }
    }

    fn of(shift: &Shift, p: f64, settings: &Settings) -> Likeness {
        let Some(b) = shift.bounds else { return Likeness::Inconclusive };
        let evidence = Evidence { point: shift.ratio.ln(), p, lo: b.one_sided.0.ln(), hi: b.one_sided.1.ln() };
        // More of an effect is neither good nor bad: the metric has no say.
        match decide(Metric::Iops, &evidence, settings.alpha, settings.delta) {
            // Ties may part p and interval.
            Verdict::Improved | Verdict::Regressed if !b.exclude_one() => Likeness::Inconclusive,
            Verdict::Improved | Verdict::Regressed if b.lo > 1.0 + settings.delta || b.hi < 1.0 - settings.delta => {
                Likeness::Beyond
            }
            Verdict::Improved | Verdict::Regressed => Likeness::Different,
            Verdict::DifferentButNegligible => Likeness::Negligible,
            Verdict::Equivalent => Likeness::Same,
            Verdict::Inconclusive => Likeness::Inconclusive,
        }
    }
}

/// How many times as large something is as in the reference run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    pub ratio: f64,
    pub bounds: Option<Bounds>,
    pub p: f64,
    /// Smallest difference found with probability .8, as a fraction.
    pub mde80: Option<f64>,
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.ratio, self.bounds))
    }
}

impl Shift {
    /// Of the figures of rounds.
    fn of(run: impl Iterator<Item = f64>, reference: impl Iterator<Item = f64>, settings: &Settings) -> Option<Shift> {
        let (x, y): (Vec<f64>, Vec<f64>) = (run.map(f64::ln).collect(), reference.map(f64::ln).collect());
        let interval = |confidence| rank_sum::interval(&x, &y, confidence);
        Some(Shift {
            ratio: rank_sum::shift(&x, &y)?.exp(),
            bounds: Bounds::of(interval(settings.confidence()), interval(1.0 - 2.0 * settings.alpha)),
            p: rank_sum::p_value(&x, &y),
            mde80: rank_sum::detectable(&x, &y, settings.alpha).map(f64::exp_m1).filter(|m| m.is_finite()),
        })
    }
}

/// A run's ratio over that of the reference run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    pub shift: Shift,
    /// By Holm over the toggles of a cell and metric; of what is only looked at, for the share of false ones among those found.
    pub p_adjusted: Option<f64>,
    pub likeness: Likeness,
}

/// What one run says of a contrast and metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Side<'a> {
    pub effect: Option<&'a Effect>,
    /// To the reference run, which itself has none.
    pub difference: Option<Difference>,
    /// Why there is no effect, or no difference though there is an effect.
    pub missing: Option<String>,
    /// What stands beside the difference: the contrast is not quite the same here.
    pub notes: Vec<String>,
}

/// A contrast and metric with a side for each run.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    pub contrast: &'a Contrast,
    pub metric: Metric,
    /// Runs of the same tool do not differ in it, by construction: identical code, or a control of one size in all of them.
    pub control: bool,
    pub sides: Vec<Side<'a>>,
}

/// What a treatment did in absolute figures, in each run that may be compared in them.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelRow {
    pub treatment: &'static str,
    pub metric: Metric,
    pub runs: Vec<Option<(Measured, Option<Shift>)>>,
}

/// One cell in every run.
#[derive(Clone, Debug, PartialEq)]
pub struct CellComparison<'a> {
    pub cell: &'a str,
    /// The metric that verdicts come from in the first run that has the cell.
    pub primary: Metric,
    pub rows: Vec<Row<'a>>,
    pub levels: Vec<LevelRow>,
}

/// All runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison<'a> {
    /// Of the runs in their order, the reference run first.
    pub labels: Vec<&'a str>,
    /// The margin of the reference run, and the strictest level of all runs: some may have looked at their intervals more often.
    pub settings: Settings,
    pub cells: Vec<CellComparison<'a>>,
}

impl<'a> Comparison<'a> {
    /// Compares every run with the first.
    pub fn of(runs: &[(&'a str, &'a Model)]) -> Comparison<'a> {
        let models: Vec<&'a Model> = runs.iter().map(|r| r.1).collect();
        let alpha = models.iter().map(|m| m.settings.alpha).fold(1.0, f64::min);
        let settings = Settings { alpha, ..models[0].settings };
        let mut names: Vec<&'a str> = Vec::new();
        for cell in models.iter().flat_map(|m| &m.cells) {
            if !names.contains(&cell.cell.as_str()) {
                names.push(&cell.cell);
            }
        }
        let cells = names.into_iter().map(|cell| compare(&models, cell, &settings)).collect();
        Comparison { labels: runs.iter().map(|r| r.0).collect(), settings, cells }
    }

    /// In how many cells how many contrasts of one metric could be compared with the reference run.
    pub fn common(&self, run: usize) -> (usize, usize) {
        let compared = |cell: &CellComparison<'_>| cell.rows.iter().filter(|row| row.sides[run].difference.is_some()).count();
        let counts = self.cells.iter().map(compared).filter(|count| *count > 0);
        counts.fold((0, 0), |(cells, contrasts), count| (cells + 1, contrasts + count))
    }

    /// Of how many controls that differ by nothing the interval of the difference says so: those, and all.
    pub fn controls(&self, run: usize) -> (usize, usize) {
        let controls = self.cells.iter().flat_map(|c| &c.rows).filter(|row| row.control);
        let bounds = controls.filter_map(|row| row.sides[run].difference?.shift.bounds);
        bounds.fold((0, 0), |(covered, all), b| (covered + usize::from(!b.exclude_one()), all + 1))
    }
}

/// Why absolute figures of two runs must not be compared; `None` where they may.
pub fn level_obstacle(reference: &Model, run: &Model) -> Option<String> {
    let (Some(there), Some(here)) = (&reference.manifest, &run.manifest) else {
        return Some("a run without manifest.json does not tell its machine".into());
    };
    let (before, after) = (&there.circumstances, &here.circumstances);
    let target = || (there.target != here.target).then(|| "the targets differ".into());
    after.obstacle(before).or_else(target)
}

fn compare<'a>(models: &[&'a Model], cell: &'a str, settings: &Settings) -> CellComparison<'a> {
    let found: Vec<Option<&'a CellEffects>> = models.iter().map(|m| m.cells.iter().find(|c| c.cell == cell)).collect();
    let workloads: Vec<Option<String>> = models.iter().map(|m| other_workload(models[0], m, cell)).collect();
    let mut contrasts: Vec<&'a Contrast> = Vec::new();
    for effect in found.iter().flatten().flat_map(|c| &c.effects) {
        if !contrasts.iter().any(|c| c.is_named_as(&effect.contrast)) {
            contrasts.push(&effect.contrast);
        }
    }
    let mut rows = Vec::new();
    for (contrast, metric) in contrasts.into_iter().flat_map(|c| Metric::ALL.map(|metric| (c, metric))) {
        let of = |c: &Option<&'a CellEffects>| {
            c.and_then(|c| c.effects.iter().find(|e| e.metric == metric && e.contrast.is_named_as(contrast)))
        };
        let effects: Vec<Option<&'a Effect>> = found.iter().map(of).collect();
        let of = |i: usize| Side {
            effect: effects[i],
            difference: (i > 0 && workloads[i].is_none()).then(|| difference(effects[i]?, effects[0]?, settings)).flatten(),
            missing: match effects[i] {
                Some(_) => workloads[i].clone().or(effects[0].is_none().then(|| "the reference run does not have it".into())),
                None => Some(missing(models[i], cell, contrast)),
            },
            notes: effects[i].zip(effects[0]).map_or(vec![], |(here, there)| notes([models[0], models[i]], cell, [there, here])),
        };
        let sides: Vec<Side<'a>> = (0..models.len()).map(of).collect();
        if effects.iter().any(Option::is_some) {
            rows.push(Row { contrast, metric, control: control(models, contrast, metric), sides });
        }
    }
    (1..models.len()).for_each(|run| Metric::ALL.into_iter().for_each(|metric| adjust(&mut rows, metric, run, settings)));
    let primary = found.iter().flatten().next().map_or(Metric::Iops, |c| c.primary);
    CellComparison { cell, primary, rows, levels: levels(models, cell, &workloads, settings) }
}

fn difference(here: &Effect, there: &Effect, settings: &Settings) -> Option<Difference> {
    let shift = Shift::of(here.rounds.iter().map(|r| r.1), there.rounds.iter().map(|r| r.1), settings)?;
    Some(Difference { shift, p_adjusted: None, likeness: Likeness::Inconclusive })
}

/// Adjusts a run's differences in a metric, and judges them.
fn adjust(rows: &mut [Row<'_>], metric: Metric, run: usize, settings: &Settings) {
    let families = LOOKED_AT.iter().map(|kind| (vec![*kind], benjamini_hochberg as fn(&[f64]) -> Vec<f64>));
    for (kinds, adjusted) in families.chain([(FAMILY.to_vec(), holm as _)]) {
        let of = |row: &&mut Row<'_>| row.metric == metric && kinds.contains(&row.contrast.kind);
        let family = rows.iter_mut().filter(of).filter_map(|row| row.sides[run].difference.as_mut());
        let family: Vec<&mut Difference> = family.collect();
        let raw: Vec<f64> = family.iter().map(|d| d.shift.p).collect();
        family.into_iter().zip(adjusted(&raw)).for_each(|(d, p)| d.p_adjusted = Some(p));
    }
    for d in rows.iter_mut().filter(|row| row.metric == metric).filter_map(|row| row.sides[run].difference.as_mut()) {
        d.likeness = Likeness::of(&d.shift, d.p_adjusted.unwrap_or(d.shift.p), settings);
    }
}

/// Whether runs can only differ in a contrast by chance.
fn control(models: &[&Model], contrast: &Contrast, metric: Metric) -> bool {
    let known =
        |m: &Model| m.settings.known().into_iter().find(|k| (k.control, k.metric) == (contrast.kind, metric)).map(|k| k.truth);
    let first = known(models[0]);
    contrast.kind == "placebo" || (first.is_some() && models.iter().all(|m| known(m) == first))
}

/// In how many cells that both have it is not known whether they did the same, as one of the manifests does not tell.
pub fn untold_workloads(reference: &Model, run: &Model) -> usize {
    let both = reference.cells.iter().filter(|there| run.cells.iter().any(|here| here.cell == there.cell));
    both.filter(|c| [reference, run].iter().any(|model| workload(model, &c.cell).is_none())).count()
}

/// What a run does in a cell, as its manifest tells.
fn workload(model: &Model, cell: &str) -> Option<Workload> {
    let text = &model.manifest.as_ref()?.experiment.text;
    let cells = experiment::parse(Path::new("manifest.json"), text).ok()?.cells;
    cells.into_iter().find(|w| w.cell_name() == cell)
}

/// What the reference run does in a cell of this name instead; `None` where it does the same, or does not tell.
fn other_workload(reference: &Model, run: &Model, cell: &str) -> Option<String> {
    let (there, here) = (workload(reference, cell)?, workload(run, cell)?);
    (there != here)
        .then(|| "not the workload of this name in the reference run: other offsets, sizes or state of the cache".into())
}

/// Why a run has no such effect.
fn missing(model: &Model, cell: &str, contrast: &Contrast) -> String {
    if !model.cells.iter().any(|c| c.cell == cell) {
        return "the run has no such workload".into();
    }
    let mut dropped = model.manifest.iter().flat_map(|m| &m.dropped);
    if let Some(dropped) = dropped.find(|d| d.cell == cell && d.toggle == contrast.toggle) {
        return format!("left out of the plan: {}", dropped.reason);
    }
    let ours = |a: &&Arm| a.cell == cell && [&contrast.treatment, &contrast.reference].contains(&&a.treatment);
    let arms: Vec<&Arm> = model.data.arms.iter().filter(ours).collect();
    match arms.iter().find(|a| a.outcome != "completed") {
        Some(arm) => format!("{} was {}: {}", arm.treatment, arm.outcome, arm.reason),
        None if arms.is_empty() => "not part of the run".into(),
        None => match [&contrast.treatment, &contrast.reference].into_iter().find(|t| !arms.iter().any(|a| a.treatment == **t)) {
            Some(treatment) => format!("{treatment} is no part of the run"),
            None => "not measured, or not in the same rounds".into(),
        },
    }
}

/// Spreads that differ by more than this leave little of the exactness of the rank sum.
const UNLIKE: f64 = 3.0;

/// What is not the same about a contrast in the reference run (first) and in another.
fn notes(models: [&Model; 2], cell: &str, effects: [&Effect; 2]) -> Vec<String> {
    let [there, here] = effects.map(|e| &e.contrast);
    let mut notes = Vec::new();
    let compared = |c: &Contrast| format!("{} / {}", c.treatment, c.reference);
    if compared(here) != compared(there) {
        notes.push(format!("measured as {}, in the reference run as {}", compared(here), compared(there)));
    }
    let levels = |model: &'_ Model, treatment: &str, key: &str| -> Option<String> {
        let told = |a: &&Arm| a.cell == cell && a.treatment == treatment && a.outcome == "completed";
        model.data.arms.iter().filter(told).find_map(|a| a.levels.get(key).cloned())
    };
    let (mut others, mut untold): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for key in Toggle::all().map(Toggle::key) {
        let of = |model: &Model, c: &Contrast| [&c.treatment, &c.reference].map(|t| levels(model, t, key));
        let pairs: Vec<_> = of(models[1], here).into_iter().zip(of(models[0], there)).collect();
        let differs = pairs.iter().find_map(|(here, there)| {
            let (here, there) = (here.as_ref()?, there.as_ref()?);
            (here != there).then(|| format!("{key} = {here}, there {there}"))
        });
        // A run of before a toggle was declared has no level of it.
        if differs.is_none() && pairs.iter().any(|(here, there)| here.is_some() != there.is_some()) {
            untold.push(key);
        }
        others.extend(differs);
    }
    if !untold.is_empty() {
        notes.push(format!("not known to be the same, as one of the two runs does not tell its level: {}", untold.join(", ")));
    }
    if !others.is_empty() {
        notes.push(format!("beside other levels than in the reference run: {}", others.join("; ")));
    }
    let spread = |e: &Effect| sd(&e.rounds.iter().map(|r| r.1.ln()).collect::<Vec<_>>());
    if let [Some(there), Some(here)] = effects.map(spread)
        && there.max(here) > UNLIKE * there.min(here)
    {
        notes.push(
            "rounds lie much further apart in one of the two runs, so that the interval may miss more often than it says".into(),
        );
    }
    notes
}

/// Levels of the references, where no obstacle forbids to compare them.
fn levels(models: &[&Model], cell: &str, workloads: &[Option<String>], settings: &Settings) -> Vec<LevelRow> {
    let row = |treatment: &'static str, metric: Metric| {
        let measured = |model: &Model| {
            let ours = |a: &&Arm| {
                a.cell == cell && a.treatment == treatment && a.outcome == "completed" && OURS.contains(&a.kind.as_str())
            };
            Measured::of(model.data.arms.iter().filter(ours), metric.name(), 1.0, settings.confidence())
        };
        let first = measured(models[0]);
        let of = |i: usize| {
            let untold = [models[0], models[i]].iter().any(|model| workload(model, cell).is_none());
            let forbidden = i > 0 && (untold || workloads[i].is_some() || level_obstacle(models[0], models[i]).is_some());
            let here = measured(models[i]).filter(|_| !forbidden)?;
            let there = first.as_ref().filter(|_| i > 0);
            let shift = there.and_then(|there| Shift::of(here.rounds.iter().copied(), there.rounds.iter().copied(), settings));
            Some((here, shift))
        };
        LevelRow { treatment, metric, runs: (0..models.len()).map(of).collect() }
    };
    let rows = ["baseline", "full"].into_iter().flat_map(|t| Metric::ALL.map(|metric| row(t, metric)));
    rows.filter(|row| row.runs.iter().flatten().any(|(_, shift)| shift.is_some())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_likeness_has_its_case() {
        let settings = Settings { delta: 0.02, alpha: 0.05, stall: 0.0, spin: 0.0 };
        let say = |ratio, lo, hi, p| {
            let bounds = Some(Bounds { lo, hi, confidence: 0.95, one_sided: (lo, hi) });
            Likeness::of(&Shift { ratio, bounds, p, mde80: None }, p, &settings)
        };
        assert_eq!(say(1.10, 1.05, 1.15, 0.001), Likeness::Beyond);
        assert_eq!(say(0.90, 0.85, 0.95, 0.001), Likeness::Beyond);
        assert_eq!(say(1.03, 1.01, 1.05, 0.001), Likeness::Different);
        assert_eq!(say(1.03, 1.01, 1.05, 0.20), Likeness::Inconclusive);
        assert_eq!(say(1.03, 0.99, 1.05, 0.04), Likeness::Inconclusive);
        assert_eq!(say(1.005, 1.002, 1.008, 0.001), Likeness::Negligible);
        assert_eq!(say(1.001, 0.992, 1.008, 0.70), Likeness::Same);
        let few = Shift { ratio: 2.0, bounds: None, p: 0.1, mde80: None };
        assert_eq!(Likeness::of(&few, 0.001, &settings), Likeness::Inconclusive);
    }
}
