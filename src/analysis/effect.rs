//! Effects: contrasts over the rounds of a cell, with interval, p and verdict.

use super::bounds::{Bounds, shown};
use super::components::Components;
use super::contrast::{Contrast, FAMILY, LOOKED_AT, Metric, RoundRatio, contrasts, in_round};
use super::factorial::{Cells, Factorial, Logs, Variation, Weights};
use super::family::{Member, adjusted, benjamini_hochberg};
use super::fraction::Fraction;
use super::load::{Arm, Data, OURS, Trial, WATCHED};
use super::saturated::SATURATED;
use super::signed_rank::{detectable, hodges_lehmann, interval, median, p_value, rounds_needed, t_interval};
use super::spinning::Spinning;
use super::verdict::{Evidence, Verdict, decide};
use crate::workload::Workload;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// What the analysis is told, beside the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Practical margin, as a fraction.
    pub delta: f64,
    /// Rate of false alarms and of misses. Below what the experiment asks for where the run may have ended on the width of its intervals.
    pub alpha: f64,
    /// Size of the stall control, as a fraction.
    pub stall: f64,
    /// Size of the spin control, as a fraction.
    pub spin: f64,
}

/// A control that changes one metric by a ratio that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    pub control: &'static str,
    pub metric: Metric,
    pub truth: f64,
}

impl Settings {
    /// The controls whose truth is known by construction.
    pub fn known(&self) -> Vec<Known> {
        let known = |control, metric, size: f64, truth| (size > 0.0).then_some(Known { control, metric, truth });
        let stall = known("stall", Metric::Iops, self.stall, 1.0 / (1.0 + self.stall));
        stall.into_iter().chain(known("spin", Metric::CpuPerOp, self.spin, 1.0 + self.spin)).collect()
    }

    /// Of intervals.
    pub fn confidence(&self) -> f64 {
        1.0 - self.alpha
    }
}

/// One contrast and metric over all rounds. Ratios are of the metric as it is, not of its logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    pub contrast: Contrast,
    pub metric: Metric,
    pub n_rounds: usize,
    pub n_blocks: usize,
    pub ratio: f64,
    /// `None` where so few rounds give no interval.
    pub bounds: Option<Bounds>,
    pub p: f64,
    /// Leave-one-out, add-one-in and explicit treatments of both metrics are one family, adjusted by max-T; the other kinds are only looked at, and adjusted for
    /// the share of false ones among those found.
    pub p_adjusted: Option<f64>,
    pub verdict: Verdict,
    /// How far blocks and rounds lie apart; `None` of too few.
    pub components: Option<Components>,
    /// Smallest effect found with probability .8, as a fraction.
    pub mde80: Option<f64>,
    /// Rounds that would find an effect of the practical margin with that probability.
    pub rounds_needed: Option<usize>,
    /// Geometric mean over rounds with Student's interval: the second opinion.
    pub mean: Option<(f64, f64, f64)>,
    /// The totals and the blocks disagree by more than half an interval: the arms differ in the shape of their noise.
    pub shape_differs: bool,
    /// Ratio of each round, by its number.
    pub rounds: Vec<(u32, f64)>,
}

impl fmt::Display for Effect {
    /// The ratio with its interval.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.ratio, self.bounds))
    }
}

/// The effects of one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellEffects {
    pub cell: String,
    /// Median over rounds of the CPU share of `full`'s thread, in slices.
    pub thread_cpu_share: Option<f64>,
    /// Median over rounds of slices of the share of all CPUs' time in which they were not idle.
    pub machine_busy_share: Option<f64>,
    /// The metric that verdicts are drawn from.
    pub primary: Metric,
    pub effects: Vec<Effect>,
    /// Of the primary metric, where every combination of the toggles was measured.
    pub variation: Option<Variation>,
    /// Of a fraction: what cannot be told apart, a name with the others that share its estimate.
    pub aliases: Vec<(String, Vec<String>)>,
    /// The treatments of which a thread spins while it waits.
    pub spinning: BTreeMap<String, Spinning>,
    /// Requests start at a fixed rate.
    pub paced: bool,
    /// Peers ran whole, each by its own count, and not as processes that are stopped, continued and counted from outside.
    pub whole_turns: bool,
}

impl CellEffects {
    /// The same contrast in another metric.
    pub fn also(&self, effect: &Effect, metric: Metric) -> Option<&Effect> {
        self.effects.iter().find(|e| e.contrast == effect.contrast && e.metric == metric)
    }

    /// Comparisons with peers, in IOPS and in CPU time, which is not known of every side.
    pub fn peers(&self) -> impl Iterator<Item = (&Effect, Option<&Effect>)> {
        let iops = self.effects.iter().filter(|e| e.contrast.kind == "peer" && e.metric == Metric::Iops);
        iops.map(|e| (e, self.also(e, Metric::CpuPerOp)))
    }

    /// Toggles that were compared with all others on or all others off, in the order of their effects.
    pub fn toggles(&self) -> Vec<&str> {
        let mut toggles: Vec<&str> = Vec::new();
        for effect in self.effects.iter().filter(|e| ["leave-one-out", "add-one-in"].contains(&e.contrast.kind)) {
            if !toggles.contains(&effect.contrast.toggle.as_str()) {
                toggles.push(&effect.contrast.toggle);
            }
        }
        toggles
    }

    /// The effect of a contrast.
    pub fn find(&self, kind: &str, toggle: &str, metric: Metric) -> Option<&Effect> {
        self.effects.iter().find(|e| e.contrast.kind == kind && e.contrast.toggle == toggle && e.metric == metric)
    }
}

/// Analyses every cell, in order of appearance.
pub fn analyse(data: &Data, settings: &Settings) -> Vec<CellEffects> {
    let rounds = by_round(data);
    by_cell(data).into_iter().map(|arms| analyse_cell(data, &rounds, &arms, settings)).collect()
}

type RoundTrials<'a> = HashMap<&'a str, Vec<&'a Trial>>;

fn by_round(data: &Data) -> BTreeMap<u32, RoundTrials<'_>> {
    let mut rounds: BTreeMap<u32, RoundTrials<'_>> = BTreeMap::new();
    for trial in &data.trials {
        let name = data.treatments[trial.treatment].as_str();
        rounds.entry(trial.round).or_default().entry(name).or_default().push(trial);
    }
    rounds
}

/// The arms of each cell, in order of appearance; no cell is without any.
fn by_cell(data: &Data) -> Vec<Vec<&Arm>> {
    let (mut cells, mut places): (Vec<Vec<&Arm>>, HashMap<&str, usize>) = (Vec::new(), HashMap::new());
    for arm in &data.arms {
        let place = *places.entry(&arm.cell).or_insert(cells.len());
        if place == cells.len() {
            cells.push(Vec::new());
        }
        cells[place].push(arm);
    }
    cells
}

/// Names of the cells in order of appearance.
pub fn cells(data: &Data) -> Vec<&str> {
    by_cell(data).into_iter().map(|arms| arms[0].cell.as_str()).collect()
}

/// Median share of a CPU that the threads of `full` used.
fn thread_cpu_share(arms: &[&Arm]) -> Option<f64> {
    // Beside a submitting kernel thread, in rounds of their own without a baseline, shares are others.
    let of_baseline: HashSet<u32> = arms.iter().filter(|a| a.treatment == "baseline").map(|a| a.round).collect();
    let share = |a: &&&Arm| {
        (of_baseline.is_empty() || of_baseline.contains(&a.round))
            && a.treatment == "full"
            && a.outcome == "completed"
            && a.kind != "peers"
            && !WATCHED.contains(&a.kind.as_str())
    };
    let shares: Vec<f64> = arms.iter().filter(share).filter_map(|a| a.figures.get("thread_cpu_share").copied()).collect();
    median(&shares)
}

/// Of the arms of one cell.
fn analyse_cell(data: &Data, rounds: &BTreeMap<u32, RoundTrials<'_>>, arms: &[&Arm], settings: &Settings) -> CellEffects {
    let cell = arms[0].cell.as_str();
    let (mut treatments, mut numbers): (Vec<String>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut known: HashSet<&str> = HashSet::new();
    for arm in arms {
        if known.insert(&arm.treatment) {
            treatments.push(arm.treatment.clone());
        }
        if numbers.last() != Some(&arm.round) {
            numbers.push(arm.round);
        }
    }
    let thread_cpu_share = thread_cpu_share(arms);
    let paced = Workload::is_paced(cell);
    let primary = if paced || thread_cpu_share.is_some_and(|s| s < SATURATED) { Metric::CpuPerOp } else { Metric::Iops };
    let mut effects = Vec::new();
    for contrast in contrasts(&treatments) {
        for metric in Metric::ALL {
            let ratios: Vec<(u32, RoundRatio)> = numbers
                .iter()
                .filter_map(|round| {
                    let trials = rounds.get(round)?;
                    let sides = (trials.get(contrast.treatment.as_str())?, trials.get(contrast.reference.as_str())?);
                    Some((*round, in_round(sides.0, sides.1, metric)?))
                })
                .collect();
            effects.extend(effect(contrast.clone(), metric, &ratios, settings));
        }
    }
    let contexts = contexts(&effects, settings);
    effects.extend(contexts);
    let mut variation = None;
    let factorial = Factorial::of(&treatments);
    let fraction = if factorial.is_none() { Fraction::of(treatments.iter().map(String::as_str)) } else { None };
    for metric in Metric::ALL {
        let logs = |cells: &Cells| -> Vec<(u32, Logs)> {
            numbers.iter().filter_map(|n| Some((*n, cells.logs(rounds.get(n)?, metric)?))).collect()
        };
        if let Some(factorial) = &factorial {
            let logs = logs(&factorial.cells);
            effects.extend(over_cells(factorial.contrasts(), metric, &logs, settings));
            if metric == primary {
                variation = factorial.variation(&logs.into_iter().map(|(_, logs)| logs).collect::<Vec<_>>());
            }
        }
        if let Some(fraction) = &fraction {
            effects.extend(over_cells(fraction.contrasts(), metric, &logs(&fraction.cells), settings));
        }
    }
    let aliases = fraction.map_or(vec![], |fraction| fraction.aliases());
    adjust(&mut effects, settings);
    let of_slices = |r: &&super::load::Round| r.cell == cell && OURS.contains(&r.kind.as_str());
    let busy: Vec<f64> = data.rounds.iter().flatten().filter(of_slices).filter_map(|r| r.machine_busy_share).collect();
    // Who is counted from outside tells no system calls.
    let whole_turns = arms.iter().any(|a| a.kind == "peers" && a.treatment == "full" && a.figures.contains_key("enters_per_op"));
    let (machine_busy_share, spinning) = (median(&busy), Spinning::of_arms(arms.iter().copied()));
    CellEffects {
        cell: cell.into(),
        thread_cpu_share,
        machine_busy_share,
        primary,
        effects,
        variation,
        aliases,
        spinning,
        paced,
        whole_turns,
    }
}

/// How much each toggle's worth with all others on differs from that with all others off, round by round: it interacts with them.
fn contexts(effects: &[Effect], settings: &Settings) -> Vec<Effect> {
    let of = |on: &Effect| {
        let same =
            |e: &&Effect| (e.contrast.kind, &e.contrast.toggle, e.metric) == ("add-one-in", &on.contrast.toggle, on.metric);
        let off: HashMap<u32, f64> = effects.iter().find(same)?.rounds.iter().copied().collect();
        let ratio = |(round, ratio): &(u32, f64)| {
            let log = (ratio / off.get(round)?).ln();
            Some((*round, RoundRatio { log, robust: log, blocks: on.n_blocks / on.n_rounds, block_sd: None }))
        };
        let ratios: Vec<_> = on.rounds.iter().filter_map(ratio).collect();
        let toggle = on.contrast.toggle.clone();
        let contrast = Contrast { kind: "context", toggle, treatment: "others on".into(), reference: "others off".into() };
        effect(contrast, on.metric, &ratios, settings)
    };
    effects.iter().filter(|e| e.contrast.kind == "leave-one-out").filter_map(of).collect()
}

/// The effects of contrasts over many cells.
fn over_cells(contrasts: Vec<Weights>, metric: Metric, logs: &[(u32, Logs)], settings: &Settings) -> Vec<Effect> {
    let of = |weights: Weights| {
        let ratios: Vec<_> = logs.iter().map(|(round, logs)| (*round, weights.of(logs))).collect();
        effect(weights.contrast, metric, &ratios, settings)
    };
    contrasts.into_iter().filter_map(of).collect()
}

fn effect(contrast: Contrast, metric: Metric, ratios: &[(u32, RoundRatio)], settings: &Settings) -> Option<Effect> {
    let logs: Vec<f64> = ratios.iter().map(|(_, r)| r.log).collect();
    let point = hodges_lehmann(&logs)?;
    let robust = hodges_lehmann(&ratios.iter().map(|(_, r)| r.robust).collect::<Vec<_>>())?;
    let wide = interval(&logs, settings.confidence());
    let bounds = Bounds::of(wide, interval(&logs, 1.0 - 2.0 * settings.alpha));
    Some(Effect {
        contrast,
        metric,
        n_rounds: ratios.len(),
        n_blocks: ratios.iter().map(|(_, r)| r.blocks).sum(),
        ratio: point.exp(),
        bounds,
        p: p_value(&logs),
        p_adjusted: None,
        verdict: Verdict::Inconclusive,
        components: Components::of(&ratios.iter().map(|(_, r)| *r).collect::<Vec<_>>()),
        mde80: detectable(&logs, settings.alpha).map(f64::exp_m1).filter(|m| m.is_finite()),
        rounds_needed: rounds_needed(&logs, settings.delta.ln_1p(), settings.alpha),
        mean: t_interval(&logs, settings.confidence()).map(|(mean, i)| (mean.exp(), i.lo.exp(), i.hi.exp())),
        shape_differs: wide.is_some_and(|w| (point - robust).abs() > (w.hi - w.lo) / 2.0),
        rounds: ratios.iter().map(|(round, r)| (*round, r.log.exp())).collect(),
    })
}

/// Adjusts the confirmatory family and what is only looked at, and draws every verdict.
fn adjust(effects: &mut [Effect], settings: &Settings) {
    let places = |effects: &[Effect], kinds: &[&str]| -> Vec<usize> {
        (0..effects.len()).filter(|i| kinds.contains(&effects[*i].contrast.kind)).collect()
    };
    let raw = |effects: &[Effect], places: &[usize]| places.iter().map(|i| effects[*i].p).collect::<Vec<_>>();
    let family = places(effects, &FAMILY);
    let logs: Vec<Vec<(u32, f64)>> =
        family.iter().map(|i| effects[*i].rounds.iter().map(|(round, ratio)| (*round, ratio.ln())).collect()).collect();
    let members: Vec<Member<'_>> = logs.iter().map(Vec::as_slice).collect();
    let confirmed = adjusted(&members, &raw(effects, &family), settings.alpha);
    family.into_iter().zip(confirmed).for_each(|(i, p)| effects[i].p_adjusted = Some(p));
    for kind in LOOKED_AT {
        let looked_at = places(effects, &[kind]);
        let explored = benjamini_hochberg(&raw(effects, &looked_at));
        looked_at.into_iter().zip(explored).for_each(|(i, p)| effects[i].p_adjusted = Some(p));
    }
    for effect in effects {
        if let Some(b) = effect.bounds {
            let p = effect.p_adjusted.unwrap_or(effect.p);
            let evidence = Evidence { point: effect.ratio.ln(), p, lo: b.one_sided.0.ln(), hi: b.one_sided.1.ln() };
            effect.verdict = decide(effect.metric, &evidence, settings.alpha, settings.delta);
        }
    }
}

/// A placebo with a smaller p was told from what it is identical to.
pub const TOLD_APART: f64 = 0.001;

/// Why the placebo says that this run is not to be trusted; `None` when it has nothing against it.
pub fn placebo_failure(effect: &Effect, settings: &Settings) -> Option<String> {
    let logs: Vec<f64> = effect.rounds.iter().map(|(_, ratio)| ratio.ln()).collect();
    let inner = interval(&logs, 0.90)?;
    let (lo, hi) = (inner.lo.exp(), inner.hi.exp());
    let outside = lo < 1.0 - settings.delta || hi > 1.0 + settings.delta;
    let percent = settings.delta * 100.0;
    match (effect.p < TOLD_APART, outside) {
        (true, _) => Some(format!("identical code differs (p = {:.4})", effect.p)),
        (_, true) => Some(format!("the 90 % interval of identical code, {lo:.4} to {hi:.4}, leaves +-{percent} %")),
        _ => None,
    }
}
