//! A ratio with its interval: how it is made of logarithms and how it is shown.

use super::signed_rank::Interval;

/// Interval of a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub lo: f64,
    pub hi: f64,
    pub confidence: f64,
    /// The narrower interval of two one-sided tests: of confidence 1 - 2 alpha.
    pub one_sided: (f64, f64),
}

impl Bounds {
    /// Of intervals of the logarithm: the wide one, and that of two one-sided tests.
    pub fn of(wide: Option<Interval>, narrow: Option<Interval>) -> Option<Bounds> {
        let (wide, narrow) = wide.zip(narrow)?;
        let one_sided = (narrow.lo.exp(), narrow.hi.exp());
        Some(Bounds { lo: wide.lo.exp(), hi: wide.hi.exp(), confidence: wide.confidence, one_sided })
    }

    /// The interval leaves out the ratio 1.
    pub fn exclude_one(&self) -> bool {
        self.lo > 1.0 || self.hi < 1.0
    }
}

/// The ratio with its interval.
pub fn shown(ratio: f64, bounds: Option<Bounds>) -> String {
    match bounds {
        Some(b) => format!("{ratio:.4} [{:.4}, {:.4}]", b.lo, b.hi),
        None => format!("{ratio:.4} [too few rounds]"),
    }
}
