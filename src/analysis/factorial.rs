//! A full factorial taken apart: main effects, interactions of pairs, Shapley values, and how much of the variation is whose.
//!
//! Each is a linear contrast of the log metrics of all combinations inside one round, so each goes through the same inference as a pair of
//! arms does.

use super::contrast::{Contrast, Metric, RoundRatio, totals};
use super::load::Trial;
use std::collections::{BTreeMap, HashMap};

/// The toggles of a factorial, and the treatment of each of its combinations, by bit-set.
pub struct Factorial {
    pub toggles: Vec<String>,
    pub cells: Cells,
}

/// Treatments that contrasts over many of them are made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Cells(pub Vec<String>);

/// A contrast over cells: a weight for each, in their order.
pub struct Weights {
    pub contrast: Contrast,
    pub weights: Vec<f64>,
}

impl Cells {
    /// The log metric of every cell in a round, over all its slices; `None` where one is missing.
    pub fn logs(&self, round: &HashMap<&str, Vec<&Trial>>, metric: Metric) -> Option<Logs> {
        let of = |cell: &String| {
            let trials = round.get(cell.as_str())?;
            Some((totals(trials, metric)?.ln(), trials.iter().map(|t| t.block).collect::<std::collections::BTreeSet<_>>().len()))
        };
        let cells: Vec<(f64, usize)> = self.0.iter().map(of).collect::<Option<_>>()?;
        Some(Logs { blocks: cells.iter().map(|c| c.1).min()?, values: cells.into_iter().map(|c| c.0).collect() })
    }
}

impl Factorial {
    /// Recognises a factorial in the treatments at hand: every combination of the toggles that are named, two at least.
    pub fn of(treatments: &[String]) -> Option<Factorial> {
        let only = treatments.iter().filter_map(|t| t.strip_prefix("only:"));
        let toggles: Vec<String> = only.map(String::from).collect();
        if !(2..=16).contains(&toggles.len()) {
            return None;
        }
        let all = (1_usize << toggles.len()) - 1;
        let bit = |toggle: &str| toggles.iter().position(|t| t == toggle).map(|i| 1 << i);
        let set = |treatment: &str| match treatment.split_once(':') {
            None if treatment == "baseline" => Some(0),
            None if treatment == "full" => Some(all),
            Some(("only", toggle)) => bit(toggle),
            Some(("without", toggle)) => Some(all & !bit(toggle)?),
            Some(("cell", toggles)) => toggles.split('+').try_fold(0, |set, toggle| Some(set | bit(toggle)?)),
            _ => None,
        };
        let mut cells = vec![None; all + 1];
        for treatment in treatments {
            if let Some(set) = set(treatment) {
                cells[set] = Some(treatment.clone());
            }
        }
        Some(Factorial { toggles, cells: Cells(cells.into_iter().collect::<Option<_>>()?) })
    }

    /// Everything that is asked of it.
    pub fn contrasts(&self) -> Vec<Weights> {
        let k = self.toggles.len();
        let sets: Vec<usize> = (0..self.cells.0.len()).collect();
        let (mains, pairs): (Vec<Term>, Vec<Term>) = terms(&self.toggles, &sets).into_iter().partition(|t| t.kind == "main");
        let shapley = (0..k).map(|i| {
            let weights = sets.iter().map(|set| shapley(*set, i, k)).collect();
            Weights::new("shapley", self.toggles[i].clone(), "cells", weights)
        });
        let effects = |terms: Vec<Term>| terms.into_iter().map(|term| term.effect("cells"));
        effects(mains).chain(shapley).chain(effects(pairs)).collect()
    }

    /// Shares of the variation of the log metric: of each toggle, of pairs, of higher interactions, and of noise between rounds. `None` of
    /// fewer than two rounds, or where nothing varies.
    pub fn variation(&self, rounds: &[Logs]) -> Option<Variation> {
        let (n, cells) = (rounds.len(), self.cells.0.len());
        if n < 2 {
            return None;
        }
        let mean = |cell: usize| rounds.iter().map(|r| r.centred(cell)).sum::<f64>() / n as f64;
        let means: Vec<f64> = (0..cells).map(mean).collect();
        let noise: f64 = rounds.iter().map(|r| (0..cells).map(|c| (r.centred(c) - means[c]).powi(2)).sum::<f64>()).sum();
        let effect = |members: usize| {
            let sign = |set: usize| if (set & members).count_ones() % 2 == members.count_ones() % 2 { 1.0 } else { -1.0 };
            (0..cells).map(|set| sign(set) * means[set]).sum::<f64>() / cells as f64
        };
        let of_order = |members: usize| (members.count_ones(), (n * cells) as f64 * effect(members).powi(2));
        let parts: Vec<(u32, f64)> = (1..cells).map(of_order).collect();
        let total = noise + parts.iter().map(|p| p.1).sum::<f64>();
        let sum = |from: u32, to: u32| parts.iter().filter(|p| (from..=to).contains(&p.0)).map(|p| p.1).sum::<f64>() / total;
        let toggles = (0..self.toggles.len()).map(|i| (self.toggles[i].clone(), parts[(1 << i) - 1].1 / total)).collect();
        (total > 0.0).then(|| Variation { toggles, pairs: sum(2, 2), higher: sum(3, u32::MAX), noise: noise / total })
    }
}

/// Shares of the variation.
#[derive(Clone, Debug, PartialEq)]
pub struct Variation {
    pub toggles: BTreeMap<String, f64>,
    pub pairs: f64,
    pub higher: f64,
    pub noise: f64,
}

/// Log metrics of all combinations in one round.
#[derive(Clone, Debug)]
pub struct Logs {
    values: Vec<f64>,
    blocks: usize,
}

impl Logs {
    /// Without what all combinations of the round have in common.
    fn centred(&self, cell: usize) -> f64 {
        self.values[cell] - self.values.iter().sum::<f64>() / self.values.len() as f64
    }
}

/// A main effect or the interaction of a pair: its name, and its sign in each combination.
pub struct Term {
    pub kind: &'static str,
    pub name: String,
    pub signs: Vec<f64>,
}

impl Term {
    /// The contrast that estimates it: the mean where it is positive less the mean where it is negative. `cells` is what tables call the
    /// combinations.
    pub fn effect(self, cells: &str) -> Weights {
        let half = self.signs.len() as f64 / 2.0;
        Weights::new(self.kind, self.name, cells, self.signs.iter().map(|sign| sign / half).collect())
    }
}

/// All main effects, then all pairs, over these combinations, which are bit-sets of the toggles that are on.
pub fn terms(toggles: &[String], sets: &[usize]) -> Vec<Term> {
    let k = toggles.len();
    let main = |i: usize| Term { kind: "main", name: toggles[i].clone(), signs: sets.iter().map(|set| sign(*set, i)).collect() };
    let pair = |(i, j): (usize, usize)| Term {
        kind: "interaction",
        name: format!("{} x {}", toggles[i], toggles[j]),
        signs: sets.iter().map(|set| sign(*set, i) * sign(*set, j)).collect(),
    };
    let pairs = (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j)));
    (0..k).map(main).chain(pairs.map(pair)).collect()
}

impl Weights {
    fn new(kind: &'static str, toggle: String, cells: &str, weights: Vec<f64>) -> Weights {
        let contrast = Contrast { kind, toggle, treatment: format!("{cells} with it"), reference: format!("{cells} without it") };
        Weights { contrast, weights }
    }

    /// The contrast in one round.
    pub fn of(&self, logs: &Logs) -> RoundRatio {
        let log = self.weights.iter().zip(&logs.values).map(|(w, y)| w * y).sum();
        RoundRatio { log, robust: log, blocks: logs.blocks, block_sd: None }
    }
}

/// +1 in combinations that contain the toggle, else -1.
fn sign(set: usize, toggle: usize) -> f64 {
    if set >> toggle & 1 == 1 { 1.0 } else { -1.0 }
}

/// What a toggle adds, averaged over all orders in which the toggles can be switched on (Shapley 1953): the weight of a combination.
fn shapley(set: usize, toggle: usize, k: usize) -> f64 {
    let others = (set & !(1 << toggle)).count_ones() as usize;
    sign(set, toggle) * factorial(others) * factorial(k - others - 1) / factorial(k)
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|i| i as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn three() -> Factorial {
        let names = ["baseline", "full", "only:a", "only:b", "only:c", "without:a", "without:b", "without:c", "placebo"];
        Factorial::of(&names.map(String::from)).unwrap()
    }

    fn logs(values: &[f64]) -> Logs {
        Logs { values: values.to_vec(), blocks: 1 }
    }

    fn find(factorial: &Factorial, kind: &str, toggle: &str, logs: &Logs) -> f64 {
        factorial.contrasts().iter().find(|w| w.contrast.kind == kind && w.contrast.toggle == toggle).unwrap().of(logs).log
    }

    #[test]
    fn a_factorial_is_recognised_by_its_cells() {
        let f = three();
        assert_eq!(f.toggles, ["a", "b", "c"]);
        assert_eq!(f.cells.0, ["baseline", "only:a", "only:b", "without:c", "only:c", "without:b", "without:a", "full"]);
        let missing = ["baseline", "full", "only:a", "only:b", "only:c", "without:a", "without:b"].map(String::from);
        assert!(Factorial::of(&missing).is_none());
        let two = ["baseline", "full", "only:a", "only:b"].map(String::from);
        assert_eq!(Factorial::of(&two).unwrap().cells.0, ["baseline", "only:a", "only:b", "full"]);
    }

    #[test]
    fn planted_effects_are_found() {
        let f = three();
        // a: +.1, b: +.2, c: 0; a and b together .05 more; sets in the order of their bits.
        let y = |set: usize| {
            let (a, b) = ((set & 1) as f64, (set >> 1 & 1) as f64);
            3.0 + 0.1 * a + 0.2 * b + 0.05 * a * b
        };
        let logs = logs(&(0..8).map(y).collect::<Vec<_>>());
        let of = |kind, toggle| find(&f, kind, toggle, &logs);
        assert!((of("main", "a") - 0.125).abs() < 1e-12 && (of("main", "b") - 0.225).abs() < 1e-12);
        assert!((of("shapley", "a") - 0.125).abs() < 1e-12, "equal to the main effect without a third-order interaction");
        assert!((of("interaction", "a x b") - 0.025).abs() < 1e-12, "half the difference of differences");
        assert!(of("main", "c").abs() < 1e-12 && of("interaction", "b x c").abs() < 1e-12);
        let variation = f.variation(&[logs.clone(), logs]).unwrap();
        let sum = variation.toggles.values().sum::<f64>() + variation.pairs + variation.higher + variation.noise;
        assert!((sum - 1.0).abs() < 1e-12 && variation.noise < 1e-12 && variation.pairs > 0.0);
    }

    #[test]
    fn a_third_order_interaction_parts_shapley_from_main() {
        let f = three();
        let planted = logs(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3]);
        assert!((find(&f, "main", "a", &planted) - 0.075).abs() < 1e-12);
        assert!((find(&f, "shapley", "a", &planted) - 0.1).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn shapley_values_share_out_the_whole(values in proptest::collection::vec(-1.0_f64..1.0, 8), dummy in -1.0_f64..1.0) {
            let f = three();
            let all = logs(&values);
            let sum: f64 = ["a", "b", "c"].iter().map(|t| find(&f, "shapley", t, &all)).sum();
            prop_assert!((sum - (values[7] - values[0])).abs() < 1e-9, "efficiency");
            // b is given to nobody's gain or loss but its own, the same everywhere.
            let own: Vec<f64> = (0..8).map(|s: usize| values[s & !2] + if s & 2 > 0 { dummy } else { 0.0 }).collect();
            prop_assert!((find(&f, "shapley", "b", &logs(&own)) - dummy).abs() < 1e-9, "dummy");
            // a and c change places.
            let swap = |s: usize| s & 2 | (s & 1) << 2 | s >> 2;
            let swapped: Vec<f64> = (0..8).map(|s| values[swap(s)]).collect();
            let turned = find(&f, "shapley", "c", &logs(&swapped));
            prop_assert!((find(&f, "shapley", "a", &all) - turned).abs() < 1e-9, "symmetry");
        }
    }
}
