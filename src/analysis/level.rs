//! Absolute levels: what a treatment did in each round, and its estimate with an interval over rounds.

use super::contrast::{Metric, totals};
use super::effect::Effect;
use super::load::{Arm, Data, OURS, Trial};
use super::signed_rank::{Interval, hodges_lehmann, interval};
use std::collections::{BTreeSet, HashMap};

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

/// Fewer valid rounds than this are marked where they are drawn: what is left of a series that lost most of its rounds is no fair sample of it.
const FEW: usize = 3;

/// How many of the rounds that were measured count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub valid: usize,
    pub all: usize,
}

impl Kept {
    /// Over the rows of one treatment. What could not be set up was never to be had, so it is not lost.
    pub fn of<'a>(arms: impl Iterator<Item = &'a Arm>) -> Kept {
        let measured = arms.filter(|arm| arm.outcome != "unsupported");
        measured.fold(Kept::default(), |kept, arm| Kept {
            valid: kept.valid + usize::from(arm.outcome == "completed"),
            all: kept.all + 1,
        })
    }

    /// Of a comparison in slices: the rounds in which both of its treatments were measured.
    pub fn of_effect(arms: &[Arm], cell: &str, effect: &Effect) -> Kept {
        let rounds = |treatment: &str| -> BTreeSet<u32> {
            let here = |a: &&Arm| {
                a.cell == cell && a.treatment == treatment && OURS.contains(&a.kind.as_str()) && a.outcome != "unsupported"
            };
            arms.iter().filter(here).map(|a| a.round).collect()
        };
        let both = rounds(&effect.contrast.treatment).intersection(&rounds(&effect.contrast.reference)).count();
        Kept { valid: effect.n_rounds, all: both.max(effect.n_rounds) }
    }

    /// For a chart, of a point with few valid rounds: how many were lost, in no words where no more were planned. `None` where there are
    /// enough.
    pub fn mark(self) -> Option<String> {
        let Kept { valid, all } = self;
        let lost = all.saturating_sub(valid);
        let words = if lost > 0 { format!("{lost} of {all} rounds lost") } else { String::new() };
        (valid < FEW && all > 0).then_some(words)
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
    fn few_valid_rounds_are_marked_with_those_that_were_lost() {
        let mark = |outcomes: &[&str]| {
            let arms: Vec<Arm> = outcomes.iter().map(|o| Arm { outcome: o.to_string(), ..Arm::default() }).collect();
            Kept::of(arms.iter()).mark()
        };
        let lost = ["invalid"; 6];
        assert_eq!(mark(&[&["completed"; 2][..], &lost].concat()).as_deref(), Some("6 of 8 rounds lost"));
        assert_eq!(mark(&[&["completed"; 3][..], &lost].concat()), None);
        assert_eq!(mark(&lost).as_deref(), Some("6 of 6 rounds lost"));
        assert_eq!(mark(&["completed"]).as_deref(), Some(""));
        assert_eq!((mark(&[]), mark(&["unsupported"])), (None, None));
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
