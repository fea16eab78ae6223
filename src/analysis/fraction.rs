//! A fraction of a factorial: main effects, and those interactions of pairs that share their estimate with nothing of their order or below.

use super::factorial::{Cells, Term, Weights, terms};
use std::collections::BTreeSet;

/// What the treatments of a fraction are called: `run:` and the toggles that are on, joined by `+`.
pub const PREFIX: &str = "run";

/// The toggles of a fraction and the combinations that were chosen.
pub struct Fraction {
    toggles: Vec<String>,
    /// Toggles that are on, as bit-sets, in the order of `cells`.
    runs: Vec<usize>,
    pub cells: Cells,
}

impl Fraction {
    /// Recognises a fraction in the treatments at hand; `None` where there is none, or its main effects cannot be told apart.
    pub fn of<'a>(treatments: impl Iterator<Item = &'a str>) -> Option<Fraction> {
        let named: Vec<(&str, &str)> =
            treatments.filter_map(|t| Some((t, t.split_once(':').filter(|(p, _)| *p == PREFIX)?.1))).collect();
        let toggles: BTreeSet<&str> = named.iter().flat_map(|(_, on)| on.split('+')).filter(|t| !t.is_empty()).collect();
        let toggles: Vec<String> = toggles.into_iter().map(String::from).collect();
        let bit = |toggle: &str| toggles.iter().position(|t| t == toggle).map_or(0, |i| 1_usize << i);
        let runs = named.iter().map(|(_, on)| on.split('+').fold(0, |set, t| set | bit(t))).collect();
        let cells = Cells(named.iter().map(|(name, _)| name.to_string()).collect());
        let fraction = Fraction { toggles, runs, cells };
        let mut mains = terms(&fraction.toggles, &fraction.runs);
        mains.retain(|term| term.kind == "main");
        let balanced = mains.iter().all(|t| t.signs.iter().sum::<f64>() == 0.0);
        let apart = mains.iter().enumerate().all(|(i, a)| mains[i + 1..].iter().all(|b| !overlap(a, b)));
        (!mains.is_empty() && balanced && apart).then_some(fraction)
    }

    /// What shares an estimate with what else, of main effects and pairs: the alias table. Those that stand alone are not in it.
    pub fn aliases(&self) -> Vec<(String, Vec<String>)> {
        let terms = terms(&self.toggles, &self.runs);
        let others = |i: usize| terms.iter().enumerate().filter(move |(j, _)| *j != i).map(|(_, t)| t);
        let shared = |(i, term): (usize, &Term)| {
            let with: Vec<String> = others(i).filter(|t| overlap(term, t)).map(|t| t.name.clone()).collect();
            (term.name.clone(), with)
        };
        terms.iter().enumerate().map(shared).filter(|(_, with)| !with.is_empty()).collect()
    }

    /// The main effects, and the pairs that share their estimate with nothing.
    pub fn contrasts(&self) -> Vec<Weights> {
        let aliased: BTreeSet<String> = self.aliases().into_iter().map(|(name, _)| name).collect();
        let clear = terms(&self.toggles, &self.runs).into_iter().filter(|t| t.kind == "main" || !aliased.contains(&t.name));
        clear.map(|term| term.effect("runs")).collect()
    }
}

fn overlap(a: &Term, b: &Term) -> bool {
    a.signs.iter().zip(&b.signs).map(|(x, y)| x * y).sum::<f64>() != 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fraction;

    fn of(runs: &[usize], toggles: usize) -> Fraction {
        let letters = |set: usize| (0..toggles).filter(move |i| set >> i & 1 == 1).map(|i| "abcdefghijk"[i..=i].to_string());
        let names: Vec<String> = runs.iter().map(|run| format!("run:{}", letters(*run).collect::<Vec<_>>().join("+"))).collect();
        Fraction::of(names.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn a_fraction_of_resolution_five_has_no_aliases_and_every_pair() {
        let fraction = of(&fraction::regular(5).unwrap(), 5);
        assert_eq!((fraction.aliases().len(), fraction.contrasts().len()), (0, 5 + 10));
    }

    #[test]
    fn screening_refuses_its_pairs() {
        let fraction = of(&fraction::screening(11), 11);
        assert_eq!(fraction.contrasts().len(), 11, "main effects only");
        let aliases = fraction.aliases();
        assert_eq!(aliases.len(), 55, "every pair shares its estimate with other pairs");
        assert!(aliases.iter().all(|(_, with)| with.iter().all(|name| name.contains(" x "))), "and none with a main effect");
    }

    #[test]
    fn planted_effects_are_found() {
        let runs = fraction::regular(5).unwrap();
        let fraction = of(&runs, 5);
        let y = |set: usize| {
            let on = |i: usize| (set >> i & 1) as f64;
            2.0 + 0.1 * on(0) - 0.3 * on(4) + 0.08 * on(1) * on(2)
        };
        let values: Vec<f64> = runs.iter().map(|run| y(*run)).collect();
        for (name, due) in [("a", 0.1), ("b", 0.04), ("d", 0.0), ("e", -0.3), ("b x c", 0.04), ("a x e", 0.0)] {
            let contrasts = fraction.contrasts();
            let found = contrasts.iter().find(|w| w.contrast.toggle == name).unwrap();
            let log: f64 = found.weights.iter().zip(&values).map(|(w, y)| w * y).sum();
            assert!((log - due).abs() < 1e-12, "{name}: {log}");
        }
    }
}
