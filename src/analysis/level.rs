//! Absolute levels: what a treatment did in each round, and its estimate with an interval over rounds.

use super::contrast::{Metric, totals};
use super::load::{Arm, Data, Trial};
use super::signed_rank::{Interval, hodges_lehmann, interval};
use std::collections::HashMap;

/// A level with its interval over rounds; `None` of too few.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    pub value: f64,
    pub bounds: Option<Interval>,
}

/// Estimate and interval of what rounds measured, by the same inference as effects, on logarithms.
pub fn level(rounds: impl IntoIterator<Item = f64>, confidence: f64) -> Option<Level> {
    let logs: Vec<f64> = rounds.into_iter().map(f64::ln).filter(|v| v.is_finite()).collect();
    let bounds = interval(&logs, confidence).map(|b| Interval { lo: b.lo.exp(), hi: b.hi.exp(), confidence: b.confidence });
    Some(Level { value: hodges_lehmann(&logs)?.exp(), bounds })
}

/// A figure of arms with the rounds behind its level.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub level: Level,
    pub rounds: Vec<f64>,
}

impl Measured {
    /// Over these arms, in this unit; `None` where no arm has the figure.
    pub fn of<'a>(arms: impl Iterator<Item = &'a Arm>, figure: &str, unit: f64, confidence: f64) -> Option<Measured> {
        let rounds: Vec<f64> = arms.filter_map(|a| Some(a.figures.get(figure)? / unit)).filter(|v| *v > 0.0).collect();
        Some(Measured { level: level(rounds.iter().copied(), confidence)?, rounds })
    }

    /// The ends of what a chart must show of it.
    pub fn reach(&self) -> (f64, f64) {
        let ends = self.level.bounds.into_iter().flat_map(|b| [b.lo, b.hi]);
        let all = self.rounds.iter().copied().chain(ends);
        all.fold((self.level.value, self.level.value), |(lo, hi), value| (lo.min(value), hi.max(value)))
    }
}

/// What one treatment of a cell did in rounds of one kind, in the order in which they ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<'a> {
    pub cell: &'a str,
    pub kind: &'a str,
    pub treatment: &'a str,
    pub jobs: Option<f64>,
    pub rounds: Vec<Sample>,
}

/// Totals over the slices of a treatment in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub round: u32,
    pub ops: f64,
    pub iops: f64,
    pub cpu_ns_per_op: Option<f64>,
}

impl Sample {
    /// The figure of a metric.
    pub fn figure(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Iops => Some(self.iops),
            Metric::CpuPerOp => self.cpu_ns_per_op,
        }
    }

    fn of(round: u32, trials: &[&Trial]) -> Option<Sample> {
        Some(Sample {
            round,
            ops: trials.iter().map(|t| t.ops).sum(),
            iops: totals(trials, Metric::Iops)?,
            cpu_ns_per_op: totals(trials, Metric::CpuPerOp),
        })
    }
}

impl Series<'_> {
    /// The level of a metric; `None` where no round measured it.
    pub fn level(&self, metric: Metric, confidence: f64) -> Option<Level> {
        level(self.rounds.iter().filter_map(|s| s.figure(metric)), confidence)
    }
}

/// Every completed treatment of every cell, apart by the kind of round: what runs alone, in slices or as a process is not the same.
pub fn series(data: &Data) -> Vec<Series<'_>> {
    let mut slices: HashMap<(u32, &str), Vec<&Trial>> = HashMap::new();
    for trial in &data.trials {
        slices.entry((trial.round, &data.treatments[trial.treatment])).or_default().push(trial);
    }
    let mut found: Vec<Series<'_>> = Vec::new();
    let mut places: HashMap<[&str; 3], usize> = HashMap::new();
    for arm in data.arms.iter().filter(|a| a.outcome == "completed") {
        let trials = slices.get(&(arm.round, arm.treatment.as_str()));
        let Some(sample) = trials.and_then(|trials| Sample::of(arm.round, trials)) else { continue };
        let [cell, kind, treatment] = [&arm.cell, &arm.kind, &arm.treatment].map(String::as_str);
        let place = *places.entry([cell, kind, treatment]).or_insert_with(|| {
            found.push(Series { cell, kind, treatment, jobs: arm.jobs, rounds: Vec::new() });
            found.len() - 1
        });
        found[place].rounds.push(sample);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_of_rounds_and_lies_in_its_interval() {
        let level = level([1.0, 2.0, 4.0, 1.0, 2.0, 4.0], 0.95).unwrap();
        let bounds = level.bounds.unwrap();
        assert!((level.value - 2.0).abs() < 1e-12 && bounds.lo <= 2.0 && 2.0 <= bounds.hi, "{level:?}");
        assert_eq!(super::level([0.0], 0.95), None, "nothing happened");
    }

    #[test]
    fn a_figure_is_that_of_the_rounds_that_have_it() {
        let arm = |iops: f64| Arm { figures: [("iops", iops)].into(), ..Arm::default() };
        let arms = [arm(1000.0), arm(4000.0), Arm::default(), arm(0.0)];
        let found = Measured::of(arms.iter(), "iops", 1e3, 0.95).unwrap();
        assert!((found.level.value - 2.0).abs() < 1e-12 && found.level.bounds.is_none(), "{found:?}: the geometric middle");
        assert_eq!((found.reach(), found.rounds.len()), ((1.0, 4.0), 2));
        assert_eq!(Measured::of(arms.iter(), "lat_ns_p99", 1.0, 0.95), None);
    }

    #[test]
    fn rounds_of_different_kinds_stay_apart() {
        let trial = |round, duration_s| Trial {
            round,
            treatment: 0,
            block: 0,
            position: 0,
            duration_s,
            ops: 100.0,
            cpu_total_ns: Some(1e4),
        };
        let arm = |round, kind: &str, outcome: &str| Arm {
            round,
            kind: kind.into(),
            cell: "c".into(),
            treatment: "full".into(),
            outcome: outcome.into(),
            ..Arm::default()
        };
        let data = Data {
            trials: vec![trial(1, 1.0), trial(1, 3.0), trial(2, 1.0), trial(3, 1.0)],
            treatments: vec!["full".into()],
            arms: vec![arm(1, "slices", "completed"), arm(2, "peers", "completed"), arm(3, "slices", "invalid")],
            ..Data::default()
        };
        let found = series(&data);
        let told: Vec<_> = found.iter().map(|s| (s.kind, s.rounds.len(), s.rounds[0].iops)).collect();
        assert_eq!(told, [("slices", 1, 50.0), ("peers", 1, 100.0)]);
        assert_eq!(found[0].rounds[0].cpu_ns_per_op, Some(100.0));
    }
}
