//! The one-sample inference of this project: Hodges-Lehmann with the exact signed-rank interval and p.
//!
//! The differences are of rounds whose arms ran in random order, so each has a random sign under the null whatever the noise looks like. The
//! interval inverts the test: p < alpha exactly where it excludes 0 (no ties). Hollander, Wolfe and Chicken, Nonparametric Statistical
//! Methods, chapter 3.

/// Above this many differences the exact distribution gives way to its normal approximation.
const EXACT_MAX: usize = 60;

/// A point with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub lo: f64,
    pub hi: f64,
    /// Confidence that the interval really has; at least what was asked for.
    pub confidence: f64,
}

pub(super) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The averages of all pairs, each value paired with itself too, in ascending order: any of them, without making them all. A cell may have
/// thousands of blocks, of which the pairs would fill the memory.
struct Walsh(Vec<f64>);

impl Walsh {
    fn of(d: &[f64]) -> Walsh {
        Walsh(sorted(d.to_vec()))
    }

    fn len(&self) -> usize {
        self.0.len() * (self.0.len() + 1) / 2
    }

    /// How many are at most `limit`: in sorted values the partners that are small enough become fewer from each value to the next.
    fn up_to(&self, limit: f64) -> usize {
        let mut partners = self.0.len();
        let of = |(i, a): (usize, &f64)| {
            while partners > i && (a + self.0[partners - 1]) / 2.0 > limit {
                partners -= 1;
            }
            partners.saturating_sub(i)
        };
        self.0.iter().enumerate().map(of).sum()
    }

    /// The one with `place` smaller ones: the least number that enough of them do not exceed, by bisection over all numbers between the
    /// least and the greatest value.
    fn at(&self, place: usize) -> f64 {
        let (mut low, mut high) = (ordinal(self.0[0]), ordinal(self.0[self.0.len() - 1]));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.up_to(number(middle)) > place {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        // No negative zero.
        number(low) + 0.0
    }
}

const SIGN: u64 = 1 << 63;

/// Places numbers in their order, neighbours next to each other.
fn ordinal(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The number at a place of [`ordinal`].
fn number(ordinal: u64) -> f64 {
    f64::from_bits(if ordinal & SIGN == 0 { !ordinal } else { ordinal & !SIGN })
}

/// The median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let values = sorted(values.to_vec());
    let n = values.len();
    (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0)
}

/// The value below which a part of the values lies, interpolated.
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let values = sorted(values.to_vec());
    let place = part * (values.len().checked_sub(1)? as f64);
    let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// The Hodges-Lehmann estimate: the median of the Walsh averages.
pub fn hodges_lehmann(d: &[f64]) -> Option<f64> {
    let walsh = Walsh::of(d);
    (!d.is_empty()).then(|| (walsh.at((walsh.len() - 1) / 2) + walsh.at(walsh.len() / 2)) / 2.0)
}

/// Probabilities of each sum of a random subset of `weights`.
fn subset_sums(weights: &[usize]) -> Vec<f64> {
    let mut probability = vec![0.0; weights.iter().sum::<usize>() + 1];
    probability[0] = 1.0;
    let mut reached = 0;
    for &weight in weights {
        reached += weight;
        for sum in (0..=reached).rev() {
            let with = if sum >= weight { probability[sum - weight] } else { 0.0 };
            probability[sum] = (probability[sum] + with) / 2.0;
        }
    }
    probability
}

/// The exact interval of at least `confidence`, or `None` when so few differences cannot give one.
pub fn interval(d: &[f64], confidence: f64) -> Option<Interval> {
    let n = d.len();
    let walsh = Walsh::of(d);
    let tail = (1.0 - confidence) / 2.0;
    // `below` order statistics are cut off at each end; `reached` is the chance that the truth lies beyond either.
    let (below, reached) =
        if n <= EXACT_MAX { cut(&subset_sums(&(1..=n).collect::<Vec<_>>()), tail)? } else { normal_cut(n, tail) };
    Some(Interval { lo: walsh.at(below), hi: walsh.at(walsh.len() - 1 - below), confidence: 1.0 - 2.0 * reached })
}

/// The largest sum whose lower tail stays within `tail` (one less than R's quantile), and that tail; of the probabilities of all sums.
pub(super) fn cut(probabilities: &[f64], tail: f64) -> Option<(usize, f64)> {
    let mut cumulative = 0.0;
    let mut best = None;
    for (sum, p) in probabilities.iter().enumerate() {
        cumulative += p;
        if cumulative > tail {
            break;
        }
        best = Some((sum, cumulative));
    }
    best
}

fn normal_cut(n: usize, tail: f64) -> (usize, f64) {
    let (mean, sd) = moments(n);
    let z = normal_quantile(tail);
    (((mean + z * sd).floor().max(0.0)) as usize, tail)
}

fn moments(n: usize) -> (f64, f64) {
    let n = n as f64;
    (n * (n + 1.0) / 4.0, (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt())
}

/// Of the standard normal distribution.
pub fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(p)
}

/// Two-sided p of "the differences are symmetric about 0". Zeros are left out, ties share their middle rank; both are exact, by the
/// distribution over doubled ranks. 1 when nothing but zeros is left.
pub fn p_value(d: &[f64]) -> f64 {
    let mut nonzero: Vec<f64> = d.iter().copied().filter(|v| *v != 0.0).collect();
    nonzero.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = nonzero.len();
    if n == 0 {
        return 1.0;
    }
    let ranks = doubled_midranks(&sizes(&nonzero));
    let positive: usize = nonzero.iter().zip(&ranks).filter(|(v, _)| **v > 0.0).map(|(_, r)| r).sum();
    if n > EXACT_MAX {
        use statrs::distribution::{ContinuousCDF, Normal};
        let sd = (ranks.iter().map(|r| (*r as f64).powi(2)).sum::<f64>() / 4.0).sqrt();
        let mean = ranks.iter().sum::<usize>() as f64 / 2.0;
        // One unit of the doubled sum is half a rank: the usual continuity correction.
        let z = ((positive as f64 - mean).abs() - 1.0).max(0.0) / sd;
        return 2.0 * Normal::standard().sf(z);
    }
    let distribution = subset_sums(&ranks);
    let below: f64 = distribution[..=positive].iter().sum();
    let above: f64 = distribution[positive..].iter().sum();
    (2.0 * below.min(above)).min(1.0)
}

fn sizes(d: &[f64]) -> Vec<f64> {
    d.iter().map(|v| v.abs()).collect()
}

/// Twice the rank of each of these, which ascend; ties share their middle.
pub(super) fn doubled_midranks(ascending: &[f64]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(ascending.len());
    while ranks.len() < ascending.len() {
        let first = ranks.len();
        let tied = ascending[first..].iter().take_while(|v| **v == ascending[first]).count();
        // Ranks first+1 ..= first+tied; twice their mean.
        ranks.extend(std::iter::repeat_n(2 * first + tied + 1, tied));
    }
    ranks
}

/// The rank of each value by size, ties sharing their middle, with its sign; 0 for zeros, which have no rank.
pub fn signed_ranks(d: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..d.len()).filter(|i| d[*i] != 0.0).collect();
    order.sort_by(|a, b| d[*a].abs().total_cmp(&d[*b].abs()));
    let ranks = doubled_midranks(&order.iter().map(|i| d[*i].abs()).collect::<Vec<_>>());
    let mut signed = vec![0.0; d.len()];
    order.iter().zip(ranks).for_each(|(i, rank)| signed[*i] = (rank as f64 / 2.0).copysign(d[*i]));
    signed
}

/// The mean with its interval by Student's t: what a plan of capacity needs, and wrong where noise is spiky. `None` of fewer than two.
pub fn t_interval(d: &[f64], confidence: f64) -> Option<(f64, Interval)> {
    let (mean, sd) = mean_and_sd(d)?;
    let half = t_quantile(d.len(), (1.0 + confidence) / 2.0)? * sd / (d.len() as f64).sqrt();
    Some((mean, Interval { lo: mean - half, hi: mean + half, confidence }))
}

/// The standard deviation; `None` of fewer than two.
pub fn sd(d: &[f64]) -> Option<f64> {
    mean_and_sd(d).map(|(_, sd)| sd)
}

fn mean_and_sd(d: &[f64]) -> Option<(f64, f64)> {
    let n = d.len() as f64;
    let mean = d.iter().sum::<f64>() / n;
    let sd = (d.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    (d.len() > 1).then_some((mean, sd))
}

/// Of Student's t for `n` differences.
pub(super) fn t_quantile(n: usize, p: f64) -> Option<f64> {
    use statrs::distribution::{ContinuousCDF, StudentsT};
    Some(StudentsT::new(0.0, 1.0, n as f64 - 1.0).ok()?.inverse_cdf(p))
}

/// How many rounds would find an effect of `size` with probability .8, at the spread of these; a little more than Student's t says, since
/// ranks are used. `None` where the spread is not known, or more than a thousand would be needed.
pub fn rounds_needed(d: &[f64], size: f64, alpha: f64) -> Option<usize> {
    rounds_for(sd(d)?, size, alpha)
}

/// The same of a spread that is known.
pub fn rounds_for(sd: f64, size: f64, alpha: f64) -> Option<usize> {
    let enough = |n: &usize| factor(*n, alpha).is_some_and(|f| f * sd <= size);
    (6..=1000).find(enough).map(|n| (n as f64 / RANK_EFFICIENCY).ceil() as usize + 2)
}

/// Of the signed-rank test against Student's t on normal noise: 3 / pi.
const RANK_EFFICIENCY: f64 = 0.955;

/// The detectable effect in units of the spread.
fn factor(n: usize, alpha: f64) -> Option<f64> {
    Some((t_quantile(n, 1.0 - alpha / 2.0)? + t_quantile(n, 0.8)?) / (n as f64).sqrt())
}

/// The effect that would be found with probability .8 at level `alpha`: (t(1 - alpha / 2) + t.8) s / sqrt(n).
pub fn detectable(d: &[f64], alpha: f64) -> Option<f64> {
    detectable_in(sd(d)?, d.len(), alpha)
}

/// The same in `n` rounds of a spread that is known.
pub fn detectable_in(sd: f64, n: usize, alpha: f64) -> Option<f64> {
    Some(factor(n, alpha)? * sd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Golden values of R 4.2 wilcox.test(conf.int = TRUE, exact = TRUE).
    const D: [f64; 12] = [0.0123, -0.0041, 0.0210, 0.0087, 0.0154, -0.0012, 0.0301, 0.0066, 0.0049, 0.0178, -0.0093, 0.0115];
    const DARWIN: [f64; 15] = [49., -67., 8., 16., 6., 23., 28., 41., 14., 29., 56., 24., 75., 60., -48.];

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn golden_values() {
        assert!(close(p_value(&D), 0.01611328125) && close(hodges_lehmann(&D).unwrap(), 0.009675));
        let (ci, ci90) = (interval(&D, 0.95).unwrap(), interval(&D, 0.90).unwrap());
        assert!(close(ci.lo, 0.00185) && close(ci.hi, 0.01665), "{ci:?}");
        assert!(close(ci90.lo, 0.00370) && close(ci90.hi, 0.01505), "{ci90:?}");
        assert!((ci.confidence - 0.958).abs() < 5e-4);
        assert!(close(p_value(&DARWIN), 0.041259765625) && close(hodges_lehmann(&DARWIN).unwrap(), 25.0));
        let ci = interval(&DARWIN, 0.95).unwrap();
        assert!(close(ci.lo, 4.0) && close(ci.hi, 41.5), "{ci:?}");
    }

    #[test]
    fn the_cut_is_rs_qsignrank() {
        let k: Vec<usize> = (6..=12).map(|n| cut(&subset_sums(&(1..=n).collect::<Vec<_>>()), 0.025).unwrap().0 + 1).collect();
        assert_eq!(k, [1, 3, 4, 6, 9, 11, 14]);
        assert_eq!(interval(&D[..5], 0.95), None, "five rounds cannot give 95 %");
        assert!((interval(&D[..6], 0.95).unwrap().confidence - 0.969).abs() < 5e-4);
    }

    #[test]
    fn detectable_effect_is_the_t_formula() {
        // s = .0110997235838 (R sd), qt(.975, 11) = 2.20098516009, qt(.8, 11) = .875529978
        let expected = (2.20098516009 + 0.875529978) * 0.0110997235838 / 12_f64.sqrt();
        assert!((detectable(&D, 0.05).unwrap() - expected).abs() < 1e-8);
        assert_eq!(detectable(&[0.1], 0.05), None);
    }

    #[test]
    fn the_mean_and_its_interval_are_rs() {
        let (mean, ci) = t_interval(&D, 0.95).unwrap();
        assert!((mean - 0.009475).abs() < 1e-9);
        assert!((ci.lo - 0.00242257).abs() < 1e-8 && (ci.hi - 0.01652743).abs() < 1e-8, "{ci:?}");
        assert_eq!(t_interval(&[1.0], 0.95), None);
    }

    #[test]
    fn rounds_needed_is_the_power_formula_with_ranks_in_place_of_t() {
        // power.t.test(delta = .01, sd = .0141, power = .8, type = "paired") gives n = 17.62: 18, and 18 / .955 + 2.
        let scale = 0.0141 / 0.0110997235838;
        let spread: Vec<f64> = D.iter().map(|d| d * scale).collect();
        assert_eq!(rounds_needed(&spread, 0.01, 0.05), Some(21));
        assert_eq!(rounds_needed(&spread, 1e-6, 0.05), None);
        assert_eq!(rounds_needed(&[0.5], 0.01, 0.05), None);
    }

    fn enumerated(d: &[f64]) -> f64 {
        let nonzero: Vec<f64> = sorted_by_size(d.iter().copied().filter(|v| *v != 0.0).collect());
        let ranks = doubled_midranks(&sizes(&nonzero));
        let observed: usize = nonzero.iter().zip(&ranks).filter(|(v, _)| **v > 0.0).map(|(_, r)| r).sum();
        let sums = (0..1_u32 << ranks.len())
            .map(|bits| ranks.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, r)| r).sum());
        let (mut below, mut above) = (0, 0);
        sums.for_each(|s: usize| {
            below += u32::from(s <= observed);
            above += u32::from(s >= observed);
        });
        (2.0 * f64::from(below.min(above)) / f64::from(1_u32 << ranks.len())).min(1.0)
    }

    fn sorted_by_size(mut v: Vec<f64>) -> Vec<f64> {
        v.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        v
    }

    proptest! {
        #[test]
        fn any_average_of_two_is_the_one_that_sorting_gives(d in proptest::collection::vec(-2.0_f64..2.0, 1..40), coarse in any::<bool>()) {
            let d: Vec<f64> = d.into_iter().map(|v| if coarse { (v * 2.0).round() / 2.0 } else { v }).collect();
            let all = sorted(d.iter().enumerate().flat_map(|(i, a)| d[i..].iter().map(move |b| (a + b) / 2.0)).collect());
            let walsh = Walsh::of(&d);
            prop_assert_eq!(walsh.len(), all.len());
            prop_assert!((0..all.len()).all(|place| walsh.at(place) == all[place]));
        }

        #[test]
        fn p_is_the_share_of_sign_flips(d in proptest::collection::vec(-3_i8..=3, 1..10)) {
            let d: Vec<f64> = d.into_iter().map(f64::from).collect();
            prop_assert!(close(p_value(&d), enumerated(&d)));
        }

        #[test]
        fn p_below_alpha_is_an_interval_without_zero(d in proptest::collection::vec(-1.0_f64..1.5, 6..30)) {
            let ci = interval(&d, 0.95).unwrap();
            prop_assert_eq!(p_value(&d) <= 1.0 - ci.confidence + 1e-12, ci.lo > 0.0 || ci.hi < 0.0);
        }

        #[test]
        fn signs_and_scale_carry_through(d in proptest::collection::vec(-1.0_f64..1.0, 6..20), scale in 0.1_f64..10.0) {
            let turned: Vec<f64> = d.iter().map(|v| -v * scale).collect();
            let (a, b) = (interval(&d, 0.95).unwrap(), interval(&turned, 0.95).unwrap());
            prop_assert!(close(a.lo * scale, -b.hi) && close(a.hi * scale, -b.lo) && close(p_value(&d), p_value(&turned)));
            prop_assert!(close(hodges_lehmann(&d).unwrap() * scale, -hodges_lehmann(&turned).unwrap()));
        }
    }
}
