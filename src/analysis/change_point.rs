//! The online change-point model for nightly log-ratios: has the level of this series changed, as seen tonight?
//!
//! Every split of the series is judged by the standardised Mann-Whitney statistic, and the largest is held against a threshold for this many
//! nights. By ranks, so that false alarms are as rare under any noise, as long as nights are independent: `lag1` tells. Hawkins and Deng,
//! Journal of Quality Technology 42 (2010); Ross, Journal of Statistical Software 66(3) (2015).

use super::signed_rank::doubled_midranks;
use std::sync::LazyLock;

/// As few nights tell nothing.
const FIRST: usize = 15;

/// Nights that are looked at: the latest ones.
const WINDOW: usize = 250;

/// Values on either side of a split, at least.
const LEAST: usize = 2;

/// Below this many nights an autocorrelation is mostly noise: its standard error is 1 / sqrt(n).
const LAG1_FIRST: usize = 30;

/// For `FIRST` to `WINDOW` nights, and a last one for all that are more, such that a series that does not change gives a false alarm after
/// 1000 nights on average. Simulated by `scripts/change-point-thresholds.py`.
static THRESHOLDS: LazyLock<Vec<f64>> = LazyLock::new(|| parse(include_str!("change_point.csv")));

fn parse(table: &str) -> Vec<f64> {
    let threshold = |line: &str| line.split(',').nth(1).and_then(|v| v.parse().ok());
    table.lines().skip(1).map(|line| threshold(line).expect("the table is our own")).collect()
}

/// An alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Index of the first value after the change.
    pub at: usize,
    /// How far the ranks of both sides lie apart, in standard deviations.
    pub statistic: f64,
    /// What the statistic exceeds.
    pub threshold: f64,
}

/// The change that these values, oldest first, show as of the last one. Only that state is judged: the rate of false alarms is that of a
/// series that is judged after every value, up to the first alarm. What is not a number is left out, as a night without a result is. `None`
/// also below 15 values. Of more than 250 the latest are judged, but give all: their threshold is a higher one.
pub fn detect(values: &[f64]) -> Option<Change> {
    let known: Vec<(usize, f64)> = values.iter().copied().enumerate().filter(|(_, v)| !v.is_nan()).collect();
    let latest = &known[known.len().saturating_sub(WINDOW)..];
    // A window that moves would alarm 1.5 times as often by the threshold of one that only grew; the table ends with one for it.
    let threshold = THRESHOLDS[known.len().min(WINDOW + 1).checked_sub(FIRST)?];
    let (split, statistic) = likeliest_split(&latest.iter().map(|(_, v)| *v).collect::<Vec<_>>())?;
    (statistic > threshold).then(|| Change { at: latest[split].0, statistic, threshold })
}

/// The split whose sides differ most: how many values come before it, and their statistic. `None` of values too few, or all alike.
fn likeliest_split(values: &[f64]) -> Option<(usize, f64)> {
    let splits = LEAST..(values.len() + 1).checked_sub(LEAST)?;
    let statistics = statistics(values);
    splits.map(|split| (split, statistics[split - 1])).filter(|s| s.1.is_finite()).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The size of the standardised Mann-Whitney statistic after each value but the last; ties share their middle rank, and its spread is that
/// of the ranks at hand. Not a number where all values are alike.
fn statistics(values: &[f64]) -> Vec<f64> {
    let ranks = ranks(values);
    let n = ranks.len() as f64;
    // Of doubled ranks, as is the sum below.
    let mean = n + 1.0;
    let squares: f64 = ranks.iter().map(|rank| (rank - mean).powi(2)).sum();
    let after = |(before, excess): (usize, f64)| {
        let before = before as f64;
        let variance = before * (n - before) / (n * (n - 1.0)) * squares;
        excess.abs() / variance.sqrt()
    };
    let excesses = ranks.iter().scan(0.0, |sum, rank| {
        *sum += rank - mean;
        Some(*sum)
    });
    (1..values.len()).zip(excesses).map(after).collect()
}

/// Twice the rank of each value, in their order.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let ascending: Vec<f64> = order.iter().map(|i| values[*i]).collect();
    let mut ranks = vec![0.0; values.len()];
    order.iter().zip(doubled_midranks(&ascending)).for_each(|(i, rank)| ranks[*i] = rank as f64);
    ranks
}

/// The autocorrelation of each value with the next, from -1 to 1. `None` below 30 values, of values all alike, and where one is
/// not a number.
pub fn lag1(values: &[f64]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let product: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    (values.len() >= LAG1_FIRST && square > 0.0).then(|| product / square)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    /// Noise without a pattern, from 0 to 1.
    fn noise(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i * 37 % 101) as f64 / 101.0).collect()
    }

    fn with_step(n: usize, at: usize) -> Vec<f64> {
        noise(n).iter().enumerate().map(|(i, v)| if i < at { *v } else { v + 2.0 }).collect()
    }

    #[test]
    fn the_table_has_a_threshold_for_each_number_of_nights() {
        let night = |line: &str| line.split(',').next().and_then(|v| v.parse::<usize>().ok()).unwrap();
        assert!(include_str!("change_point.csv").lines().skip(1).map(night).eq(FIRST..=WINDOW + 1));
        // The largest of more splits is larger; no night differs much from the one before.
        let (beyond, within) = THRESHOLDS.split_last().unwrap();
        assert!(within[0] < 3.2 && within[WINDOW - FIRST] > 3.4 && *beyond > 3.5);
        assert!(within.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.04));
    }

    #[test]
    fn golden_values() {
        // scipy 1.17: norm.isf(p / 2) of mannwhitneyu(values[:k], values[k:], method="asymptotic", use_continuity=False).
        let untied = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46, 1.15, 0.88, 0.90, 0.74, 1.21];
        let z = statistics(&untied);
        assert_eq!(z.len(), 14);
        assert!(close(z[1], 1.528573996095) && close(z[7], 1.504457662130) && close(z[13], 0.231455024943), "{z:?}");
        assert_eq!(likeliest_split(&untied).unwrap().0, 2);
        let tied = [1., 2., 2., 3., 1., 4., 2., 5., 5., 3., 6., 5., 7., 5., 6., 6.];
        let z = statistics(&tied);
        assert!(close(z[1], 1.853392817258) && close(z[6], 3.223291856102) && close(z[14], 1.211060141639), "{z:?}");
        let (split, statistic) = likeliest_split(&tied).unwrap();
        assert!(split == 7 && close(statistic, 3.223291856102), "{split} {statistic}");
    }

    #[test]
    fn by_hand() {
        // Three below three: U is 9, expected 4.5 with a variance of 3 * 3 * 7 / 12.
        assert!(close(statistics(&[3.0, 1.0, 2.0, 5.0, 6.0, 4.0])[2], 4.5 / 5.25_f64.sqrt()));
        // Two 0s, two 1s: U is 4, expected 2, and ties leave 2 * 2 / 12 * (5 - (6 + 6) / (4 * 3)) of the variance.
        assert!(close(statistics(&[0.0, 0.0, 1.0, 1.0])[1], 2.0 / (4.0_f64 / 3.0).sqrt()));
    }

    #[test]
    fn no_change_no_alarm() {
        for n in [0, 1, 3, 14, 15, 16, 100, 250, 251, 600] {
            assert_eq!(detect(&vec![0.3; n]), None, "{n} values alike");
            assert_eq!(detect(&noise(n)), None, "{n} values of noise");
        }
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        for (n, at) in [(15, 7), (40, 30), (110, 100), (250, 125), (250, 240)] {
            let change = detect(&with_step(n, at)).unwrap();
            assert_eq!(change.at, at, "{n} values: {change:?}");
            assert!(change.statistic > change.threshold && close(change.threshold, THRESHOLDS[n - FIRST]));
            let down: Vec<f64> = with_step(n, at).iter().map(|v| -v).collect();
            assert_eq!(detect(&down), Some(change), "down as up");
        }
    }

    #[test]
    fn too_short_is_none() {
        assert_eq!(detect(&with_step(14, 7)), None);
        assert!(detect(&with_step(15, 7)).is_some());
    }

    #[test]
    fn only_the_latest_250_are_judged() {
        assert_eq!(detect(&with_step(350, 100)), None, "it has left the window");
        let change = detect(&with_step(350, 300)).unwrap();
        assert!(change.at == 300 && close(change.threshold, *THRESHOLDS.last().unwrap()), "{change:?}");
        assert!(close(change.statistic, detect(&with_step(350, 300)[100..]).unwrap().statistic));
    }

    #[test]
    fn nights_without_a_result_are_left_out() {
        let (gapless, mut gaps) = (with_step(40, 30), with_step(40, 30));
        [0, 12, 30, 31].into_iter().for_each(|night| gaps.insert(night, f64::NAN));
        let (without, with) = (detect(&gapless).unwrap(), detect(&gaps).unwrap());
        assert_eq!((with.at, with.statistic, with.threshold), (34, without.statistic, without.threshold));
        assert_eq!(detect(&[f64::NAN; 40]), None);
    }

    #[test]
    fn lag1_is_the_autocorrelation() {
        // numpy: d = values - values.mean(); (d[1:] * d[:-1]).sum() / (d ** 2).sum()
        assert!(close(lag1(&noise(40)).unwrap(), -0.35841273926007294), "{:?}", lag1(&noise(40)));
        // 30 signs in turn: 29 products of -1 among 30 squares of 1.
        let signs: Vec<f64> = (0..30).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(close(lag1(&signs).unwrap(), -29.0 / 30.0));
        assert_eq!((lag1(&signs[1..]), lag1(&[0.5; 40]), lag1(&[f64::NAN; 40])), (None, None, None));
    }
}
