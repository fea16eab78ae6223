//! Observed against announced: does the analysis keep its promises on machines of which the truth is known, and does this machine keep it
//! to the truth that its controls have by construction. Measures and prints nothing.

pub mod scheme;
pub mod world;

use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect, Known, placebo_failure};
use crate::analysis::signed_rank::{detectable_in, p_value};
use statrs::distribution::{Binomial, DiscreteCDF};
use world::{Noise, World};

/// One promise.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub what: String,
    /// What was announced.
    pub nominal: String,
    pub observed: String,
    pub passed: bool,
}

/// Experiments in each share that is judged.
const EXPERIMENTS: u32 = 2000;

/// Level of the signed-rank test of 12 rounds at 5 %: 2 x 87 of 4096 rank sums.
const LEVEL: f64 = 2.0 * 87.0 / 4096.0;

/// What Student's formula announces, how far ranks and simulation may be off, and the rounds in which that is tried: in few rounds ranks and
/// the coarse steps of their p cost more.
const POWER: (f64, f64) = (0.80, 0.04);
const POWER_ROUNDS: u32 = 24;

/// The whole analysis on simulated machines. Takes about two seconds.
pub fn synthetic() -> Vec<Check> {
    let shared = World::shared_machine();
    let alarms = |world: &World, experiments| share(world, experiments, |e| e.p <= 0.05);
    let level = band(LEVEL);
    let identical = alarms(&shared, EXPERIMENTS);
    let blocked = alarms(&World { interleaved: false, ..shared }, 200);
    let mut checks = vec![
        Check {
            what: "identical arms called different, arms in random order".into(),
            nominal: format!("{:.1} % ({:.1} to {:.1})", LEVEL * 100.0, level.0 * 100.0, level.1 * 100.0),
            observed: percent(identical),
            passed: (level.0..=level.1).contains(&identical),
        },
        Check {
            what: "the same with one arm after the other: must be seen to fail".into(),
            nominal: "far above that".into(),
            observed: percent(blocked),
            passed: blocked > 0.5,
        },
    ];
    for truth in [-0.05_f64, 0.01] {
        let world = World { truth, spikes: [0.02, 0.03], ..shared };
        let due = world.true_ratio();
        let missed = 1.0 - share(&world, EXPERIMENTS, |e| e.bounds.is_some_and(|b| (b.lo..=b.hi).contains(&due)));
        checks.push(Check {
            what: format!("intervals that miss a true ratio of {due:.4}"),
            nominal: format!("{:.1} % ({:.1} to {:.1})", LEVEL * 100.0, level.0 * 100.0, level.1 * 100.0),
            observed: percent(missed),
            passed: (level.0..=level.1).contains(&missed),
        });
    }
    checks.push(power(&shared));
    checks
}

fn power(world: &World) -> Check {
    let quiet = World { noise: Noise::None, spikes: [0.0; 2], rounds: POWER_ROUNDS, blocks: 4, ..*world };
    let size = quiet.of_round * detectable_in(1.0, POWER_ROUNDS as usize, 0.05).expect("so many rounds have a spread");
    let found = share(&World { truth: size, ..quiet }, 2 * EXPERIMENTS, |e| e.p <= 0.05);
    Check {
        what: format!(
            "an effect of {:.2} %, detectable in {POWER_ROUNDS} rounds by the formula, is found",
            size.exp_m1() * 100.0
        ),
        nominal: format!("{:.0} % (within {:.0})", POWER.0 * 100.0, POWER.1 * 100.0),
        observed: percent(found),
        passed: (found - POWER.0).abs() <= POWER.1,
    }
}

/// The controls of a run on this machine. A sound machine fails the placebo, or misses a truth, in one of a thousand runs; it fails to find
/// a control where its intervals are too wide for that size.
pub fn real(model: &Model) -> Vec<Check> {
    model.cells.iter().flat_map(|cell| controls(model, cell)).collect()
}

fn controls(model: &Model, cell: &CellEffects) -> Vec<Check> {
    let mut checks = Vec::new();
    for metric in Metric::ALL {
        let placebo = cell.find("placebo", "", metric);
        checks.push(Check {
            what: format!("placebo: identical code, {}", metric.name()),
            nominal: "1".into(),
            observed: placebo.map_or_else(missing, Effect::to_string),
            passed: placebo.is_some_and(|e| e.bounds.is_some() && placebo_failure(e, &model.settings).is_none()),
        });
    }
    for Known { control, metric, truth } in model.settings.known() {
        let effect = cell.find(control, "", metric);
        let size = (truth.max(1.0 / truth) - 1.0) * 100.0;
        // Of fewer rounds no p is as rare, so that nothing could fail.
        let tells = |e: &Effect| e.n_rounds >= LEAST_ROUNDS;
        checks.push(Check {
            what: format!("{control}: {size:.1} % more {}, covered", if metric == Metric::Iops { "time" } else { "CPU time" }),
            nominal: format!("{truth:.4}"),
            observed: effect.map_or_else(missing, |e| if tells(e) { e.to_string() } else { format!("{e} too few rounds") }),
            passed: effect.is_some_and(|e| tells(e) && p_value(&logs_from(e, truth)) >= RARE),
        });
        checks.push(Check {
            what: format!("{control}: found"),
            nominal: "p at most 0.05".into(),
            observed: effect
                .map_or_else(missing, |e| if e.p < 0.0001 { "p below 0.0001".into() } else { format!("p = {:.4}", e.p) }),
            passed: effect.is_some_and(|e| e.p <= 0.05 && e.ratio.ln() * truth.ln() > 0.0),
        });
    }
    checks
}

/// In so many rounds the signed-rank test can reach [`RARE`].
const LEAST_ROUNDS: usize = 11;

/// A sound machine fails a check by chance as rarely as this.
const RARE: f64 = 0.001;

/// Log ratios of the rounds, from the log of `truth`.
fn logs_from(effect: &Effect, truth: f64) -> Vec<f64> {
    effect.rounds.iter().map(|(_, ratio)| (ratio / truth).ln()).collect()
}

fn missing() -> String {
    "nothing: no arm of it completed here; run an experiment to see why".into()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Share of experiments of which the analysis says what is `wanted`.
fn share(world: &World, experiments: u32, wanted: impl Fn(&Effect) -> bool) -> f64 {
    let hits = (1..=experiments).filter(|seed| wanted(&world.experiment(u64::from(*seed)))).count();
    hits as f64 / f64::from(experiments)
}

/// In which 99.9 % of all series of [`EXPERIMENTS`] with this probability lie.
fn band(probability: f64) -> (f64, f64) {
    let hits = Binomial::new(probability, u64::from(EXPERIMENTS)).expect("a probability");
    let at = |q| hits.inverse_cdf(q) as f64 / f64::from(EXPERIMENTS);
    (at(0.0005), at(0.9995))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_analysis_keeps_its_promises() {
        for check in synthetic() {
            assert!(check.passed, "{check:?}");
        }
    }

    /// A true effect of 7 %, of which 2 % is what an arm leaves behind for itself.
    #[test]
    fn what_an_arm_leaves_behind_is_measured_only_behind_itself() {
        let world = World {
            truth: 0.05,
            carry_over: 0.02,
            of_round: 0.0,
            noise: Noise::None,
            spikes: [0.0; 2],
            ..World::shared_machine()
        };
        let mean = |world: World| (1..=40).map(|seed| world.experiment(seed).ratio.ln()).sum::<f64>() / 40.0;
        let (bare, conditioned) = (mean(world), mean(World { conditioned: true, ..world }));
        assert!((conditioned - 0.07).abs() < 0.001, "{conditioned}");
        assert!(bare < 0.06, "without a run of the same arm before, {bare}: some of it goes to the other arm");
    }

    #[test]
    fn intervals_follow_the_rounds_and_not_the_slices() {
        let width = |blocks| {
            let world = World { blocks, of_round: 0.01, noise: Noise::None, spikes: [0.0; 2], ..World::shared_machine() };
            let widths: Vec<f64> = (1..=40).map(|seed| world.experiment(seed).bounds.map_or(0.0, |b| b.hi - b.lo)).collect();
            widths.iter().sum::<f64>() / widths.len() as f64
        };
        let (few, many) = (width(5), width(100));
        assert!((few / many - 1.0).abs() < 0.2, "{few} with 5 blocks a round, {many} with 100");
        assert!(many > 0.008, "a spread of 1 % between 12 rounds gives no interval of {many}");
    }
}
