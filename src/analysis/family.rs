//! Many tests at once: p values of a family, adjusted so that one false alarm in the whole family is as rare as in one test.
//!
//! Step-down max-T (Westfall and Young 1993) over joint sign flips: a round's differences share their noise and their references, so all of
//! them change sign together, and what they have in common is not paid for twice. The statistic is the signed-rank sum in units of its
//! spread, so that a family of one has the exact p of the signed-rank test.
//!
//! Of very many rounds, neighbours change sign together in groups. Flips of groups are flips of rounds, too, and the null hypothesis makes each
//! of them as likely as any other: the level stays exact, and the cost of a cell stays the same however many rounds it has.

use super::signed_rank::signed_ranks;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::{BTreeSet, HashMap};

/// Up to so many rounds every flip is enumerated; beyond, so many are drawn.
const ENUMERATED: usize = 14;
const DRAWN: u32 = 99_999;

/// So many signs are flipped at most: with more rounds, those of neighbours together.
const FLIPPED: usize = 512;

/// What is adjusted: the log ratio of each round that has one.
pub type Member<'a> = &'a [(u32, f64)];

/// Adjusted p values by max-T; by [`holm`] where some member has so few rounds that no flip of them could reach `alpha`.
pub fn adjusted(members: &[Member<'_>], raw: &[f64], alpha: f64) -> Vec<f64> {
    let fewest = members.iter().map(|m| m.len()).min().unwrap_or(0);
    let reachable = 2.0 / 2_f64.powi(i32::try_from(fewest).unwrap_or(i32::MAX)) <= alpha;
    if !reachable {
        return holm(raw);
    }
    // Drawn flips may fall short of the exact p by chance.
    max_t(members).into_iter().zip(raw).map(|(adjusted, raw)| adjusted.max(*raw)).collect()
}

/// Step-down max-T.
fn max_t(members: &[Member<'_>]) -> Vec<f64> {
    let rounds: Vec<u32> = members.iter().flat_map(|m| m.iter().map(|r| r.0)).collect::<BTreeSet<_>>().into_iter().collect();
    let together = rounds.len().div_ceil(FLIPPED).max(1);
    let grouped = |weights: Vec<f64>| weights.chunks(together).map(|group| group.iter().sum()).collect::<Vec<f64>>();
    let weights: Vec<Vec<f64>> = members.iter().map(|m| grouped(standardised(m, &rounds))).collect();
    let signs = rounds.len().div_ceil(together);
    let size = |weights: &[f64], signs: &[f64]| weights.iter().zip(signs).map(|(w, s)| w * s).sum::<f64>().abs();
    let observed: Vec<f64> = weights.iter().map(|w| size(w, &vec![1.0; signs])).collect();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| observed[*b].total_cmp(&observed[*a]));
    let mut hits = vec![0_u32; members.len()];
    let mut flips = Flips::new(signs);
    while let Some(signs) = flips.next() {
        let mut largest = 0.0_f64;
        for &member in order.iter().rev() {
            largest = largest.max(size(&weights[member], signs));
            // Equal sums may differ in the last bits.
            hits[member] += u32::from(largest >= observed[member] - 1e-9);
        }
    }
    let mut adjusted = vec![1.0; members.len()];
    let mut running = 0.0_f64;
    for member in order {
        running = running.max(flips.share(hits[member]));
        adjusted[member] = running;
    }
    adjusted
}

/// The signed ranks of a member over all rounds, in units of the standard deviation of their sum; 0 where it has none.
fn standardised(member: Member<'_>, rounds: &[u32]) -> Vec<f64> {
    let values: Vec<f64> = member.iter().map(|r| r.1).collect();
    let ranks = signed_ranks(&values);
    let spread = ranks.iter().map(|r| r * r).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let mut of: HashMap<u32, f64> = HashMap::with_capacity(member.len());
    for ((round, _), rank) in member.iter().zip(ranks) {
        of.entry(*round).or_insert(rank / spread);
    }
    rounds.iter().map(|round| of.get(round).copied().unwrap_or(0.0)).collect()
}

/// All sign flips of some rounds, up to a common sign, or many at random.
struct Flips {
    signs: Vec<f64>,
    done: u32,
    total: u32,
    random: Option<ChaCha8Rng>,
}

impl Flips {
    fn new(rounds: usize) -> Flips {
        let random = (rounds > ENUMERATED).then(|| ChaCha8Rng::seed_from_u64(rounds as u64));
        let total = if random.is_some() { DRAWN } else { 1 << rounds.saturating_sub(1) };
        Flips { signs: vec![1.0; rounds], done: 0, total, random }
    }

    fn next(&mut self) -> Option<&[f64]> {
        if self.done == self.total {
            return None;
        }
        let mut bits = u64::from(self.done);
        for (i, sign) in self.signs.iter_mut().enumerate() {
            if let Some(random) = &mut self.random
                && i % 64 == 0
            {
                bits = random.next_u64();
            }
            *sign = if bits & 1 == 1 { -1.0 } else { 1.0 };
            bits >>= 1;
        }
        self.done += 1;
        Some(&self.signs)
    }

    /// The p value of so many hits. What was observed is one of the flips, which random ones need not contain.
    fn share(&self, hits: u32) -> f64 {
        let extra = u32::from(self.random.is_some());
        f64::from(hits + extra) / f64::from(self.total + extra)
    }
}

/// Adjusts p values for a family by Holm's step-down.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p.len()];
    let mut running: f64 = 0.0;
    for (i, index) in ascending(p).into_iter().enumerate() {
        running = running.max((p[index] * (p.len() - i) as f64).min(1.0));
        adjusted[index] = running;
    }
    adjusted
}

/// Adjusts p values so that among those below a level at most that share is false on average (Benjamini and Hochberg): for what is only
/// looked at.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![0.0; p.len()];
    let mut running: f64 = 1.0;
    for (i, index) in ascending(p).into_iter().enumerate().rev() {
        running = running.min(p[index] * p.len() as f64 / (i + 1) as f64);
        adjusted[index] = running;
    }
    adjusted
}

fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    order
}

#[cfg(test)]
mod tests {
    use super::super::signed_rank::p_value;
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    fn member(values: &[f64]) -> Vec<(u32, f64)> {
        (1..).zip(values.iter().copied()).collect()
    }

    fn of(members: &[Vec<(u32, f64)>]) -> Vec<f64> {
        max_t(&members.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Golden values of R 4.2 p.adjust.
    const P: [f64; 10] = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216];

    #[test]
    fn holm_and_benjamini_hochberg_are_rs() {
        let expected = [0.01, 0.072, 0.312, 0.312, 0.312, 0.312, 0.312, 0.615, 0.615, 0.615];
        assert!(holm(&P).iter().zip(expected).all(|(a, b)| close(*a, b)), "{:?}", holm(&P));
        let expected = [0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.105714285714, 0.216, 0.216, 0.216];
        assert!(benjamini_hochberg(&P).iter().zip(expected).all(|(a, b)| close(*a, b)), "{:?}", benjamini_hochberg(&P));
    }

    #[test]
    fn very_many_rounds_keep_the_p_of_the_signed_rank_test() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut noise = || (0..12).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
        for shift in [0.0, 0.03, 0.5] {
            let rounds: Vec<f64> = (0..5000).map(|_| noise() + shift).collect();
            let (found, expected) = (of(&[member(&rounds)])[0], p_value(&rounds));
            // Both are estimates of the same p: by 99,999 drawn flips of groups, and by the normal distribution.
            assert!((found - expected).abs() < 0.05, "shifted by {shift}: {found} and {expected}");
        }
    }

    #[test]
    fn too_few_rounds_for_flips_leave_the_family_to_holm() {
        let members = vec![member(&[0.1, 0.2, 0.3, 0.4, 0.5]); 2];
        let slices: Vec<&[(u32, f64)]> = members.iter().map(Vec::as_slice).collect();
        assert_eq!(adjusted(&slices, &[0.0625, 0.0625], 0.05), [0.125, 0.125]);
    }

    #[test]
    fn what_is_one_test_many_times_is_adjusted_for_one() {
        let same = member(&[0.3, 0.1, -0.05, 0.2, 0.4, 0.15, 0.25, 0.35]);
        let raw = p_value(&same.iter().map(|r| r.1).collect::<Vec<_>>());
        assert!(of(&vec![same; 5]).iter().all(|p| close(*p, raw)));
    }

    #[test]
    fn parts_of_a_family_in_different_rounds_flip_apart() {
        let first = member(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        let second: Vec<(u32, f64)> = first.iter().map(|(round, v)| (round + 6, *v)).collect();
        // Either reaches its extreme in 2 of 64 flips, independently.
        let both = 1.0 - (1.0 - 2.0 / 64.0_f64).powi(2);
        assert!(of(&[first, second]).iter().all(|p| close(*p, both)));
    }

    #[test]
    fn many_rounds_are_drawn_and_close_to_exact() {
        let values: Vec<f64> = (0..20).map(|i| f64::from(i * 7 % 20) - 6.0).collect();
        let (drawn, exact) = (of(&[member(&values)])[0], p_value(&values));
        assert!((drawn - exact).abs() < 0.005, "{drawn} against {exact}");
    }

    proptest! {
        #[test]
        fn a_family_of_one_has_the_exact_p(d in proptest::collection::vec(-3_i8..=3, 1..10)) {
            let d: Vec<f64> = d.into_iter().map(f64::from).collect();
            prop_assert!(close(of(&[member(&d)])[0], p_value(&d)), "{} {}", of(&[member(&d)])[0], p_value(&d));
        }

        #[test]
        fn adjusted_is_never_below_raw_and_keeps_the_order(
            d in proptest::collection::vec(proptest::collection::vec(-1.0_f64..1.3, 8), 2..6)
        ) {
            let raw: Vec<f64> = d.iter().map(|m| p_value(m)).collect();
            let adjusted = of(&d.iter().map(|m| member(m)).collect::<Vec<_>>());
            for (i, a) in raw.iter().enumerate() {
                prop_assert!(adjusted[i] >= a - 1e-9 && adjusted[i] <= 1.0);
                prop_assert!(raw.iter().zip(&adjusted).all(|(b, q)| a > b || adjusted[i] <= q + 1e-9));
            }
        }
    }

    /// Family-wise error of eight true nulls that share a reference, as toggles share `full`.
    #[test]
    fn one_false_alarm_in_a_family_is_as_rare_as_in_one_test() {
        use rand_distr::{Distribution, StandardNormal};
        let mut random = rand_pcg::Pcg64Mcg::new(7);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let families = 2000;
        let alarms = (0..families)
            .filter(|_| {
                let shared: Vec<f64> = (0..12).map(|_| normal()).collect();
                let members: Vec<_> = (0..8).map(|_| member(&shared.iter().map(|s| s + normal()).collect::<Vec<_>>())).collect();
                of(&members).iter().any(|p| *p <= 0.05)
            })
            .count();
        let rate = alarms as f64 / f64::from(families);
        assert!((0.038..=0.062).contains(&rate), "{rate} of the families had a false alarm");
    }
}
