//! Variance components of a contrast: how far blocks lie apart inside a round, how far rounds lie apart beyond what that explains, and what
//! follows for the length of a round (Kalibera and Jones 2013, with the erratum: the variance between rounds is what remains after that of
//! the blocks is taken out).

use super::contrast::RoundRatio;
use super::signed_rank::sd;

/// Standard deviations of log ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Components {
    /// Of the ratio of one block.
    pub block: f64,
    /// Of the ratio of one round, as its blocks alone would make it.
    pub expected: f64,
    /// Of the ratio of one round, as seen.
    pub seen: f64,
}

impl Components {
    /// `None` of fewer than two rounds, or of single blocks.
    pub fn of(rounds: &[RoundRatio]) -> Option<Components> {
        let blocks: Vec<f64> = rounds.iter().map(|r| Some(r.block_sd?.powi(2))).collect::<Option<_>>()?;
        let each = blocks.iter().zip(rounds).map(|(variance, r)| variance / r.blocks as f64);
        let mean = |sum: f64| (sum / rounds.len() as f64).sqrt();
        let seen = sd(&rounds.iter().map(|r| r.log).collect::<Vec<_>>())?;
        Some(Components { block: mean(blocks.iter().sum()), expected: mean(each.sum()), seen })
    }

    /// Share of the variance of rounds that lies between them, not in their blocks.
    pub fn between(&self) -> f64 {
        if self.seen > 0.0 { (1.0 - (self.expected / self.seen).powi(2)).max(0.0) } else { 0.0 }
    }

    /// Blocks of a round with which a given time tells most, where a round takes as long as so many blocks beside its own; `None` where
    /// rounds do not lie further apart than their blocks make them: then fewer and longer ones cost nothing.
    pub fn best_blocks(&self, round_costs_blocks: f64) -> Option<f64> {
        let between = self.between().sqrt() * self.seen;
        (between > 0.0).then(|| round_costs_blocks.sqrt() * self.block / between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(log: f64, block_sd: f64) -> RoundRatio {
        RoundRatio { log, robust: log, blocks: 100, block_sd: Some(block_sd) }
    }

    #[test]
    fn what_blocks_do_not_explain_lies_between_rounds() {
        // Blocks of spread 0.1, 100 a round: 0.01. Rounds at +-0.02: spread 0.02 x sqrt(4 / 3).
        let rounds = [0.02, -0.02, 0.02, -0.02].map(|log| round(log, 0.1));
        let found = Components::of(&rounds).unwrap();
        let seen = 0.02 * (4.0_f64 / 3.0).sqrt();
        assert!((found.block - 0.1).abs() < 1e-12 && (found.expected - 0.01).abs() < 1e-12 && (found.seen - seen).abs() < 1e-12);
        assert!((found.between() - (1.0 - 1e-4 / seen.powi(2))).abs() < 1e-12);
        // sqrt(25) x 0.1 / sqrt(seen^2 - 0.01^2).
        let due = 5.0 * 0.1 / (seen.powi(2) - 1e-4).sqrt();
        assert!((found.best_blocks(25.0).unwrap() - due).abs() < 1e-9);
    }

    #[test]
    fn rounds_as_close_as_their_blocks_allow_have_nothing_between_them() {
        let found = Components::of(&[round(0.001, 0.1), round(-0.001, 0.1)]).unwrap();
        assert_eq!((found.between(), found.best_blocks(25.0)), (0.0, None));
        assert_eq!(Components::of(&[round(0.1, 0.1)]), None);
        let single = RoundRatio { block_sd: None, ..round(0.1, 0.0) };
        assert_eq!(Components::of(&[single, single]), None, "single blocks tell nothing of themselves");
    }
}
