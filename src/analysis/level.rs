//! Absolute levels: what a treatment did in each round, and its estimate with an interval over rounds.

use super::contrast::{Metric, totals};
use super::load::{Data, Trial};
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
    use crate::analysis::load::Arm;

    #[test]
    fn a_level_is_of_rounds_and_lies_in_its_interval() {
        let level = level([1.0, 2.0, 4.0, 1.0, 2.0, 4.0], 0.95).unwrap();
        let bounds = level.bounds.unwrap();
        assert!((level.value - 2.0).abs() < 1e-12 && bounds.lo <= 2.0 && 2.0 <= bounds.hi, "{level:?}");
        assert_eq!(super::level([0.0], 0.95), None, "nothing happened");
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
