//! Ways of comparing two programs that are the same, and how narrow an interval each gives from the same time: why not just run fio twice?

use crate::analysis::components::Components;
use crate::analysis::contrast::{Metric, RoundRatio, in_round};
use crate::analysis::effect::Effect;
use crate::analysis::load::Trial;
use crate::analysis::signed_rank::{Interval, hodges_lehmann, interval, sd};
use crate::peer::duet;
use crate::peer::whole::Whole;
use std::time::Duration;

/// A way of comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// fio in whole runs of this length, one after the other.
    FioInTurn(Duration),
    /// Two fio processes that are stopped and continued in turn, in rounds.
    FioSliced,
    /// Our engine, a process for each trial of this length.
    Processes(Duration),
    /// Our engine, in slices of this length of one process a round.
    Slices(Duration),
}

const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

impl Scheme {
    /// All that are compared.
    pub const ALL: [Scheme; 8] = [
        Scheme::FioInTurn(ms(5000)),
        Scheme::FioInTurn(ms(1000)),
        Scheme::FioSliced,
        Scheme::Processes(ms(1000)),
        Scheme::Processes(ms(100)),
        Scheme::Slices(ms(100)),
        Scheme::Slices(ms(20)),
        Scheme::Slices(ms(5)),
    ];

    /// In words.
    pub fn name(self) -> String {
        match self {
            Scheme::FioInTurn(time) => format!("fio, then fio: runs of {time:?}"),
            Scheme::FioSliced => "two fio processes, stopped and continued".into(),
            Scheme::Processes(time) => format!("a process per trial of {time:?}"),
            Scheme::Slices(time) => format!("slices of {time:?} in one process"),
        }
    }
}

/// What a scheme found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub scheme: Scheme,
    /// What the interval is over: rounds, or pairs of processes.
    pub n: usize,
    /// Standard deviation of the log ratio of one pair.
    pub pair_sd: f64,
    /// Ratio of the throughputs; truth is 1.
    pub ratio: f64,
    /// Its 95 % interval.
    pub lo: f64,
    pub hi: f64,
    /// What it really took, starts and settling included.
    pub wall: Duration,
}

impl Finding {
    /// From the effect of our engine's placebo.
    pub fn of_effect(scheme: Scheme, effect: &Effect) -> Option<Finding> {
        let logs: Vec<f64> = effect.rounds.iter().map(|(_, ratio)| ratio.ln()).collect();
        let pair_sd = effect.components.map(|c| c.block).or_else(|| sd(&logs))?;
        let (ratio, bounds) = (effect.ratio, effect.bounds?);
        Some(Finding { scheme, n: logs.len(), pair_sd, ratio, lo: bounds.lo, hi: bounds.hi, wall: Duration::ZERO })
    }

    /// From rounds of processes that took turns.
    pub fn of_rounds(scheme: Scheme, rounds: &[RoundRatio]) -> Option<Finding> {
        of_logs(scheme, &rounds.iter().map(|r| r.log).collect::<Vec<_>>(), Components::of(rounds)?.block)
    }

    /// From whole runs, two and two.
    pub fn of_pairs(scheme: Scheme, pairs: &[(Whole, Whole)]) -> Option<Finding> {
        let rate = |whole: &Whole| whole.ops as f64 / whole.duration.as_secs_f64();
        let logs: Vec<f64> = pairs.iter().map(|(a, b)| (rate(a) / rate(b)).ln()).collect();
        of_logs(scheme, &logs, sd(&logs)?)
    }

    /// How far the ends of the interval lie from its middle, as a fraction.
    pub fn half_width(&self) -> f64 {
        (self.hi / self.lo).ln() / 2.0
    }
}

fn of_logs(scheme: Scheme, logs: &[f64], pair_sd: f64) -> Option<Finding> {
    let (middle, Interval { lo, hi, .. }) = (hodges_lehmann(logs)?, interval(logs, 0.95)?);
    Some(Finding { scheme, n: logs.len(), pair_sd, ratio: middle.exp(), lo: lo.exp(), hi: hi.exp(), wall: Duration::ZERO })
}

/// Compares the two arms of a round of processes.
pub fn in_duet(round: u32, report: &duet::Report) -> Option<RoundRatio> {
    let trial = |s: &duet::Slice| Trial {
        round,
        treatment: s.arm,
        block: s.block,
        position: s.position,
        duration_s: s.duration_ns as f64 / 1e9,
        ops: s.ops as f64,
        cpu_total_ns: Some(s.cpu_total_ns as f64),
    };
    let trials: Vec<Trial> = report.slices.iter().map(trial).collect();
    let of = |arm: usize| trials.iter().filter(|t| t.treatment == arm).collect::<Vec<_>>();
    in_round(&of(0), &of(1), Metric::Iops)
}

/// The file `schemes.csv`.
pub fn csv(findings: &[Finding]) -> String {
    let mut text = String::from("scheme,n,pair_sd,ratio,lo,hi,half_width,wall_s\n");
    for f in findings {
        let (name, half) = (f.scheme.name(), f.half_width());
        text += &format!(
            "\"{name}\",{},{:.6},{:.6},{:.6},{:.6},{half:.6},{:.0}\n",
            f.n,
            f.pair_sd,
            f.ratio,
            f.lo,
            f.hi,
            f.wall.as_secs_f64()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Latency;

    fn whole(ops: u64) -> Whole {
        let duration = Duration::from_secs(2);
        Whole {
            duration,
            ops,
            bytes: 0,
            errors: 0,
            cpu_user_ns: 0,
            cpu_sys_ns: 0,
            cpu_process_ns: None,
            latency: Latency::default(),
        }
    }

    #[test]
    fn pairs_of_whole_runs_are_compared_two_and_two() {
        let pairs: Vec<(Whole, Whole)> = (1..=6).map(|i| (whole(1000 * i), whole(2000 * i))).collect();
        let found = Finding::of_pairs(Scheme::FioSliced, &pairs).unwrap();
        assert!((found.ratio - 0.5).abs() < 1e-12 && found.half_width() < 1e-12 && found.n == 6, "{found:?}");
        assert!(csv(&[found]).ends_with("stopped and continued\",6,0.000000,0.500000,0.500000,0.500000,0.000000,0\n"));
        assert_eq!(Finding::of_pairs(Scheme::FioSliced, &pairs[..3]), None, "three pairs give no interval");
    }
}
