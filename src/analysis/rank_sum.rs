//! The two-sample inference: the Hodges-Lehmann shift with the exact rank-sum interval and p (Mann and Whitney).
//!
//! For rounds of different runs, which nothing pairs. The interval inverts the test: p < alpha exactly where it excludes 0 (no ties, at most 50 rounds). Both are
//! exact where one sample is the other one moved; where the one lies further apart than the other, `tests/it/statistics.rs` shows what
//! remains of that. Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, chapter 4.

use super::signed_rank::{Interval, cut, doubled_midranks, median, normal_quantile, sd, sorted, t_quantile};

/// Where either sample has more than this the exact distribution gives way to its normal approximation.
const EXACT_MAX: usize = 50;

/// How much larger `x` is than `y`: the median of all differences of one of `x` and one of `y`. `None` where either is empty.
pub fn shift(x: &[f64], y: &[f64]) -> Option<f64> {
    median(&differences(x, y))
}

fn differences(x: &[f64], y: &[f64]) -> Vec<f64> {
    sorted(x.iter().flat_map(|a| y.iter().map(move |b| a - b)).collect())
}

/// Probabilities of each sum of `n` of these ranks, every choice being as likely.
fn sums_of(n: usize, ranks: &[usize]) -> Vec<f64> {
    let most = ranks.iter().sum::<usize>();
    let mut choices = vec![vec![0.0; most + 1]; n + 1];
    choices[0][0] = 1.0;
    let mut reached = 0;
    for &rank in ranks {
        reached += rank;
        // From many to few: a rank is chosen once.
        for size in (1..=n).rev() {
            let (fewer, more) = choices.split_at_mut(size);
            for sum in rank..=reached {
                more[0][sum] += fewer[size - 1][sum - rank];
            }
        }
    }
    let chosen = choices.swap_remove(n);
    let all: f64 = chosen.iter().sum();
    chosen.iter().map(|choices| choices / all).collect()
}

/// The exact interval of the shift, of at least `confidence`, or `None` when so few values cannot give one.
pub fn interval(x: &[f64], y: &[f64], confidence: f64) -> Option<Interval> {
    let (n, m) = (x.len(), y.len());
    if n == 0 || m == 0 {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let (below, reached) = if n.max(m) <= EXACT_MAX {
        let least = n * (n + 1) / 2;
        cut(&sums_of(n, &(1..=n + m).collect::<Vec<_>>())[least..], tail)?
    } else {
        let (pairs, all) = ((n * m) as f64, (n + m + 1) as f64);
        let place = pairs / 2.0 + normal_quantile(tail) * (pairs * all / 12.0).sqrt();
        (place.floor().max(0.0) as usize, tail)
    };
    let all = differences(x, y);
    Some(Interval { lo: all[below], hi: all[all.len() - 1 - below], confidence: 1.0 - 2.0 * reached })
}

/// Two-sided p of "both samples are of the same distribution": twice the smaller tail. Ties share their middle rank, and the distribution is
/// that of the ranks at hand. 1 where either sample is empty.
pub fn p_value(x: &[f64], y: &[f64]) -> f64 {
    let (n, m) = (x.len(), y.len());
    if n == 0 || m == 0 {
        return 1.0;
    }
    let all = sorted(x.iter().chain(y).copied().collect());
    let ranks = doubled_midranks(&all);
    let rank = |v: &f64| ranks[all.partition_point(|other| other.total_cmp(v).is_lt())];
    let sum: usize = x.iter().map(rank).sum();
    if n.max(m) > EXACT_MAX {
        return approximate(n, sum, &ranks);
    }
    // Without ties doubled ranks are even, and half as many sums say the same.
    let step = if ranks.iter().all(|r| r % 2 == 0) { 2 } else { 1 };
    let distribution = sums_of(n, &ranks.iter().map(|r| r / step).collect::<Vec<_>>());
    let below: f64 = distribution[..=sum / step].iter().sum();
    let above: f64 = distribution[sum / step..].iter().sum();
    (2.0 * below.min(above)).min(1.0)
}

/// The same by the normal approximation: mean and spread of the sum of `n` of these doubled ranks.
fn approximate(n: usize, sum: usize, ranks: &[usize]) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    let (n, all) = (n as f64, ranks.len() as f64);
    let mean = ranks.iter().sum::<usize>() as f64 / all;
    let squares: f64 = ranks.iter().map(|r| (*r as f64 - mean).powi(2)).sum();
    let spread = (n * (all - n) / (all * (all - 1.0)) * squares).sqrt();
    // Half a rank is the continuity correction. Of ties alone nothing follows.
    let z = ((sum as f64 - n * mean).abs() - 1.0).max(0.0) / spread.max(f64::MIN_POSITIVE);
    2.0 * Normal::standard().sf(z)
}

/// The shift that would be found with probability .8 at level `alpha`, by Student's formula with the pooled spread; `None` of so few values
/// that they have none.
pub fn detectable(x: &[f64], y: &[f64], alpha: f64) -> Option<f64> {
    let (n, m) = (x.len() as f64, y.len() as f64);
    let squares = sd(x)?.powi(2) * (n - 1.0) + sd(y)?.powi(2) * (m - 1.0);
    let error = (squares / (n + m - 2.0) * (1.0 / n + 1.0 / m)).sqrt();
    let quantile = |p| t_quantile(x.len() + y.len() - 1, p);
    Some((quantile(1.0 - alpha / 2.0)? + quantile(0.8)?) * error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Golden values of R 4.2 wilcox.test(x, y, conf.int = TRUE, exact = TRUE).
    const X: [f64; 10] = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    const Y: [f64; 5] = [1.15, 0.88, 0.90, 0.74, 1.21];

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn golden_values() {
        assert!(close(p_value(&X, &Y), 0.254412254412), "{}", p_value(&X, &Y));
        assert!(close(shift(&X, &Y).unwrap(), 0.305), "{:?}", shift(&X, &Y));
        let (ci, ci90) = (interval(&X, &Y, 0.95).unwrap(), interval(&X, &Y, 0.90).unwrap());
        assert!(close(ci.lo, -0.15) && close(ci.hi, 0.76), "{ci:?}");
        assert!(close(ci90.lo, -0.08) && close(ci90.hi, 0.72), "{ci90:?}");
        assert!(close(ci.confidence, 0.96003996004), "{ci:?}");
    }

    #[test]
    fn too_few_give_no_interval() {
        assert_eq!(interval(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.95), None, "a p of 0.1 is the least");
        assert!(interval(&[1.0, 2.0, 3.0, 4.0], &[4.5, 5.0, 6.0, 7.0], 0.95).is_some());
        assert_eq!((interval(&[], &Y, 0.95), shift(&X, &[]), detectable(&X, &[1.0], 0.05)), (None, None, None));
        assert!(close(p_value(&[], &Y), 1.0) && close(p_value(&[1.0; 4], &[1.0; 4]), 1.0));
    }

    #[test]
    fn the_approximation_meets_the_exact_at_its_end() {
        let x: Vec<f64> = (0..50).map(|i| f64::from(i * 37 % 101)).collect();
        let y: Vec<f64> = (0..50).map(|i| f64::from(i * 53 % 101) + 14.3).collect();
        let more = [x.clone(), vec![50.2]].concat();
        let (exact, approximate) = (p_value(&x, &y), p_value(&more, &y));
        assert!((exact - approximate).abs() < 0.005, "{exact} and {approximate}");
        let (exact, approximate) = (interval(&x, &y, 0.95).unwrap(), interval(&more, &y, 0.95).unwrap());
        assert!((exact.lo - approximate.lo).abs() < 1.0 && (exact.hi - approximate.hi).abs() < 1.0, "{exact:?} {approximate:?}");
    }

    #[test]
    fn detectable_is_the_t_formula() {
        // power.t.test(n = 12, sd = 1, power = .8) gives delta = 1.19684, by the distribution that is not central.
        let d: Vec<f64> = (0..12).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 } * (11_f64 / 12.0).sqrt()).collect();
        assert!((detectable(&d, &d, 0.05).unwrap() - 1.19684).abs() < 0.01, "{:?}", detectable(&d, &d, 0.05));
    }

    /// All choices of as many as `x` out of both.
    fn enumerated(x: &[f64], y: &[f64]) -> f64 {
        let all = sorted(x.iter().chain(y).copied().collect());
        let ranks = doubled_midranks(&all);
        let rank = |v: &f64| ranks[all.iter().position(|other| other == v).unwrap()];
        let observed: usize = x.iter().map(rank).sum();
        let (mut below, mut above, mut count) = (0, 0, 0);
        for bits in (0..1_u32 << all.len()).filter(|bits| bits.count_ones() as usize == x.len()) {
            let sum: usize = ranks.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, r)| r).sum();
            below += u32::from(sum <= observed);
            above += u32::from(sum >= observed);
            count += 1;
        }
        (2.0 * f64::from(below.min(above)) / f64::from(count)).min(1.0)
    }

    proptest! {
        #[test]
        fn p_is_the_share_of_choices(
            x in proptest::collection::vec(-3_i8..=3, 1..7), y in proptest::collection::vec(-3_i8..=3, 1..7)
        ) {
            let numbers = |v: Vec<i8>| v.into_iter().map(f64::from).collect::<Vec<f64>>();
            let (x, y) = (numbers(x), numbers(y));
            prop_assert!(close(p_value(&x, &y), enumerated(&x, &y)), "{} {}", p_value(&x, &y), enumerated(&x, &y));
        }

        #[test]
        fn p_below_alpha_is_an_interval_without_zero(
            x in proptest::collection::vec(-1.0_f64..1.5, 5..20), y in proptest::collection::vec(-1.0_f64..1.0, 5..20)
        ) {
            let ci = interval(&x, &y, 0.95).unwrap();
            prop_assert_eq!(p_value(&x, &y) <= 1.0 - ci.confidence + 1e-12, ci.lo > 0.0 || ci.hi < 0.0);
        }

        #[test]
        fn swapping_the_samples_turns_the_sign_and_a_move_is_found(
            x in proptest::collection::vec(-1.0_f64..1.0, 5..20), y in proptest::collection::vec(-1.0_f64..1.0, 5..20), by in -9.0_f64..9.0
        ) {
            let (there, back) = (interval(&x, &y, 0.95).unwrap(), interval(&y, &x, 0.95).unwrap());
            prop_assert!(close(there.lo, -back.hi) && close(there.hi, -back.lo) && close(there.confidence, back.confidence));
            prop_assert!(close(p_value(&x, &y), p_value(&y, &x)));
            prop_assert!(close(shift(&x, &y).unwrap(), -shift(&y, &x).unwrap()));
            let moved: Vec<f64> = x.iter().map(|v| v + by).collect();
            prop_assert!(close(shift(&moved, &y).unwrap(), shift(&x, &y).unwrap() + by));
            prop_assert!(close(shift(&moved, &x).unwrap(), by), "against itself, exactly");
        }
    }
}
