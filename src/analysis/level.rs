//! Levels: what a figure of a treatment came to over rounds.

use super::load::Arm;
use super::signed_rank::{Interval, hodges_lehmann, interval};

/// Estimate, interval and rounds of one figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    pub value: f64,
    /// `None` where so few rounds give no interval.
    pub bounds: Option<Interval>,
    pub rounds: Vec<f64>,
}

impl Level {
    /// Over these arms, in this unit, by the same inference as effects: on logarithms. `None` where no arm has the figure.
    pub fn of<'a>(arms: impl Iterator<Item = &'a Arm>, figure: &str, unit: f64, confidence: f64) -> Option<Level> {
        let rounds: Vec<f64> = arms.filter_map(|a| Some(a.figures.get(figure)? / unit)).filter(|v| *v > 0.0).collect();
        let logs: Vec<f64> = rounds.iter().map(|v| v.ln()).collect();
        let bounds = interval(&logs, confidence).map(|b| Interval { lo: b.lo.exp(), hi: b.hi.exp(), confidence: b.confidence });
        Some(Level { value: hodges_lehmann(&logs)?.exp(), bounds, rounds })
    }

    /// The ends of what a chart must show of it.
    pub fn reach(&self) -> (f64, f64) {
        let all = self.rounds.iter().copied().chain(self.bounds.into_iter().flat_map(|b| [b.lo, b.hi]));
        all.fold((self.value, self.value), |(lo, hi), value| (lo.min(value), hi.max(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_that_of_the_rounds_that_have_the_figure() {
        let arm = |iops: f64| Arm { figures: [("iops", iops)].into(), ..Arm::default() };
        let arms = [arm(1000.0), arm(4000.0), Arm::default(), arm(0.0)];
        let level = Level::of(arms.iter(), "iops", 1e3, 0.95).unwrap();
        assert!((level.value - 2.0).abs() < 1e-12 && level.bounds.is_none(), "{level:?}: the geometric middle");
        assert_eq!((level.reach(), level.rounds.len()), ((1.0, 4.0), 2));
        assert_eq!(Level::of(arms.iter(), "lat_ns_p99", 1.0, 0.95), None);
    }
}
