//! What an interval means beside a practical margin.

use super::contrast::Metric;

/// The five things that can be said of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Improved,
    Regressed,
    /// The one-sided interval lies inside the margin (two one-sided tests).
    Equivalent,
    DifferentButNegligible,
    Inconclusive,
}

impl Verdict {
    /// As in `effects.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Improved => "improved",
            Verdict::Regressed => "regressed",
            Verdict::Equivalent => "equivalent",
            Verdict::DifferentButNegligible => "different but negligible",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// What the decision rests on, in logs of ratios.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    pub point: f64,
    /// p after adjustment for the family.
    pub p: f64,
    /// The interval of two one-sided tests at the level of the decision.
    pub lo: f64,
    pub hi: f64,
}

/// Decides at level `alpha` with the practical margin `delta` (a fraction).
pub fn decide(metric: Metric, evidence: &Evidence, alpha: f64, delta: f64) -> Verdict {
    let different = evidence.p <= alpha;
    let inside = evidence.lo > (1.0 - delta).ln() && evidence.hi < (1.0 + delta).ln();
    match (different, inside) {
        (true, true) => Verdict::DifferentButNegligible,
        (true, false) if evidence.point * metric.sign() > 0.0 => Verdict::Improved,
        (true, false) => Verdict::Regressed,
        (false, true) => Verdict::Equivalent,
        (false, false) => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_has_its_case() {
        let say = |metric, point, p, lo, hi| decide(metric, &Evidence { point, p, lo, hi }, 0.05, 0.02);
        assert_eq!(say(Metric::Iops, 0.10, 0.001, 0.08, 0.12), Verdict::Improved);
        assert_eq!(say(Metric::CpuPerOp, 0.10, 0.001, 0.08, 0.12), Verdict::Regressed);
        assert_eq!(say(Metric::CpuPerOp, -0.10, 0.001, -0.12, -0.08), Verdict::Improved);
        assert_eq!(say(Metric::Iops, 0.001, 0.6, -0.01, 0.01), Verdict::Equivalent);
        assert_eq!(say(Metric::Iops, 0.005, 0.001, 0.003, 0.007), Verdict::DifferentButNegligible);
        assert_eq!(say(Metric::Iops, 0.02, 0.2, -0.01, 0.05), Verdict::Inconclusive);
    }
}
