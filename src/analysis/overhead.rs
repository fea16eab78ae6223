//! Where CPU time goes, by cause, and what a toggle changes of it.

use super::contrast::contrasts;
use super::load::{Data, Overhead};
use super::signed_rank::{Interval, hodges_lehmann, interval};
use std::collections::{BTreeMap, BTreeSet};

/// Some causes of one treatment by round, in nanoseconds of a request and as share of its CPU time.
pub type Rounds = BTreeMap<u32, (f64, f64)>;

/// What a toggle changes of one cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub kind: &'static str,
    /// Empty for all toggles together.
    pub toggle: String,
    /// Empty for the sum over all causes.
    pub category: String,
    /// Nanoseconds of a request and share of CPU time without the toggle: means over rounds.
    pub before: (f64, f64),
    /// With it.
    pub after: (f64, f64),
    /// Of the nanoseconds, after minus before.
    pub difference: Option<f64>,
    pub bounds: Option<Interval>,
    pub rounds: usize,
}

impl Change {
    /// True where the interval says that the toggle moves this cause.
    pub fn moved(&self) -> bool {
        self.bounds.is_some_and(|b| b.lo > 0.0 || b.hi < 0.0)
    }
}

/// All changes of a cell, for every comparison that the profiles allow; the sum of each comparison first.
pub fn changes(data: &Data, cell: &str, alpha: f64) -> Vec<Change> {
    let rows: Vec<&Overhead> = data.overhead.iter().filter(|o| o.cell == cell && o.own).collect();
    let mut treatments: Vec<String> = Vec::new();
    for row in &rows {
        if !treatments.contains(&row.treatment) {
            treatments.push(row.treatment.clone());
        }
    }
    let kinds = ["total", "leave-one-out", "add-one-in"];
    let compared = contrasts(&treatments).into_iter().filter(|c| kinds.contains(&c.kind));
    compared
        .flat_map(|contrast| {
            let of = |treatment: &str| rows.iter().copied().filter(|r| r.treatment == treatment).collect::<Vec<_>>();
            let (before, after) = (of(&contrast.reference), of(&contrast.treatment));
            let found = compare(&before, &after, alpha);
            found.into_iter().map(move |change| Change { kind: contrast.kind, toggle: contrast.toggle.clone(), ..change })
        })
        .collect()
}

fn compare(before: &[&Overhead], after: &[&Overhead], alpha: f64) -> Vec<Change> {
    let rounds_of = |rows: &[&Overhead]| rows.iter().map(|r| r.round).collect::<BTreeSet<_>>();
    let rounds: BTreeSet<u32> = rounds_of(before).intersection(&rounds_of(after)).copied().collect();
    let sides = [before, after].map(by_cause);
    let names: BTreeSet<&str> = sides.iter().flat_map(|side| side.keys().copied()).collect();
    let change = |category: &str| {
        let of = |all: &[&Overhead], side: &BTreeMap<&str, Vec<&Overhead>>| match side.get(category) {
            _ if category.is_empty() => sums(all, &rounds),
            rows => sums(rows.map_or(&[], Vec::as_slice), &rounds),
        };
        let (before, after) = (of(before, &sides[0]), of(after, &sides[1]));
        let differences: Vec<f64> = rounds.iter().map(|round| after[round].0 - before[round].0).collect();
        Change {
            kind: "",
            toggle: String::new(),
            category: category.into(),
            before: mean(&before),
            after: mean(&after),
            difference: hodges_lehmann(&differences),
            bounds: interval(&differences, 1.0 - alpha),
            rounds: rounds.len(),
        }
    };
    if rounds.is_empty() { Vec::new() } else { [""].into_iter().chain(names).map(change).collect() }
}

/// What these causes together take of a treatment, in every round that was profiled.
pub fn of_causes(data: &Data, cell: &str, treatment: &str, causes: &[String]) -> Rounds {
    let own = |o: &&Overhead| o.cell == cell && o.treatment == treatment && o.own;
    let rows: Vec<&Overhead> = data.overhead.iter().filter(own).collect();
    let wanted: Vec<&Overhead> = rows.iter().copied().filter(|r| causes.contains(&r.category)).collect();
    sums(&wanted, &rows.iter().map(|r| r.round).collect())
}

fn by_cause<'a>(rows: &[&'a Overhead]) -> BTreeMap<&'a str, Vec<&'a Overhead>> {
    let mut causes: BTreeMap<&str, Vec<&Overhead>> = BTreeMap::new();
    rows.iter().copied().for_each(|row| causes.entry(&row.category).or_default().push(row));
    causes
}

/// A round in which none of these rows was seen counts as none of it.
fn sums(rows: &[&Overhead], rounds: &BTreeSet<u32>) -> Rounds {
    let mut sums: Rounds = rounds.iter().map(|round| (*round, (0.0, 0.0))).collect();
    for row in rows {
        if let Some(sum) = sums.get_mut(&row.round) {
            *sum = (sum.0 + row.ns_per_op, sum.1 + row.share.unwrap_or(0.0));
        }
    }
    sums
}

fn mean(rounds: &Rounds) -> (f64, f64) {
    let sum = rounds.values().fold((0.0, 0.0), |sum, value| (sum.0 + value.0, sum.1 + value.1));
    let count = rounds.len().max(1) as f64;
    (sum.0 / count, sum.1 / count)
}

/// What a request costs under one treatment.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    pub treatment: String,
    /// Nanoseconds by cause: means over rounds.
    pub causes: BTreeMap<String, f64>,
    /// The sum of all causes in each round.
    pub rounds: Vec<f64>,
    pub bounds: Option<Interval>,
}

impl Cost {
    /// The mean over rounds.
    pub fn total(&self) -> f64 {
        self.causes.values().sum()
    }
}

/// The costs of every treatment of a cell that was profiled, in order of appearance.
pub fn costs(data: &Data, cell: &str, alpha: f64) -> Vec<Cost> {
    let mut treatments: Vec<(&str, Vec<&Overhead>)> = Vec::new();
    for row in data.overhead.iter().filter(|o| o.cell == cell && o.own) {
        match treatments.iter_mut().find(|(name, _)| *name == row.treatment) {
            Some((_, rows)) => rows.push(row),
            None => treatments.push((&row.treatment, vec![row])),
        }
    }
    let cost = |(treatment, rows): (&str, Vec<&Overhead>)| {
        let rounds: BTreeSet<u32> = rows.iter().map(|r| r.round).collect();
        let causes = by_cause(&rows).into_iter().map(|(name, rows)| (name.to_string(), mean(&sums(&rows, &rounds)).0)).collect();
        let totals: Vec<f64> = sums(&rows, &rounds).values().map(|(ns, _)| *ns).collect();
        Cost { treatment: treatment.into(), causes, bounds: interval(&totals, 1.0 - alpha), rounds: totals }
    };
    treatments.into_iter().map(cost).collect()
}

/// Every cause of the run, those first that take the largest share of CPU time over all cells and treatments.
pub fn ranked(data: &Data) -> Vec<&str> {
    let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
    for row in data.overhead.iter().filter(|o| o.own) {
        *shares.entry(&row.category).or_default() += row.share.unwrap_or(0.0);
    }
    let mut names: Vec<(&str, f64)> = shares.into_iter().collect();
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    names.into_iter().map(|(name, _)| name).collect()
}

/// Share of the ticks of each treatment's own time that no rule knows, where it is above `limit`, with the functions seen most.
pub fn unknown(data: &Data, cell: &str, limit: f64) -> Vec<(String, f64, Vec<String>)> {
    let mut treatments: BTreeMap<&str, (f64, BTreeMap<&str, f64>)> = BTreeMap::new();
    for row in data.overhead.iter().filter(|o| o.cell == cell && o.own) {
        let (all, symbols) = treatments.entry(&row.treatment).or_default();
        *all += row.samples;
        if row.category == "unknown" {
            *symbols.entry(&row.symbol).or_default() += row.samples;
        }
    }
    let flagged = treatments.into_iter().filter_map(|(treatment, (all, symbols))| {
        let share = symbols.values().sum::<f64>() / all;
        let mut names: Vec<(&str, f64)> = symbols.into_iter().collect();
        names.sort_by(|a, b| b.1.total_cmp(&a.1));
        let names = names.into_iter().take(3).map(|(name, _)| name.to_string()).collect();
        (share > limit).then(|| (treatment.to_string(), share, names))
    });
    flagged.collect()
}

/// Nanoseconds of a request that the kernel spent for the target outside the process: the mean over rounds; `None` where none was seen,
/// as where only the process was watched.
pub fn for_target(data: &Data, cell: &str, treatment: &str) -> Option<f64> {
    let rows = || data.overhead.iter().filter(|o| o.cell == cell && o.treatment == treatment);
    let rounds = rows().map(|o| o.round).collect::<BTreeSet<_>>().len();
    let served: Vec<f64> = rows().filter(|o| !o.own).map(|o| o.ns_per_op).collect();
    (!served.is_empty()).then(|| served.iter().sum::<f64>() / rounds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(round: u32, treatment: &str, category: &str, ns_per_op: f64) -> Overhead {
        Overhead {
            round,
            cell: "c".into(),
            treatment: treatment.into(),
            own: true,
            category: category.into(),
            symbol: String::new(),
            samples: ns_per_op,
            share: Some(ns_per_op / 100.0),
            ns_per_op,
        }
    }

    #[test]
    fn a_cause_that_goes_away_is_told_from_one_whose_share_only_grew() {
        let overhead = (1..=8)
            .flat_map(|round| {
                let noise = f64::from(round) / 10.0;
                [
                    row(round, "without:fixed_files", "file_reference", 20.0 + noise),
                    row(round, "without:fixed_files", "driver", 80.0 - noise),
                    row(round, "full", "driver", if round % 2 == 0 { 79.0 } else { 81.0 } - noise),
                ]
            })
            .collect();
        let data = Data { overhead, ..Data::default() };
        let found = changes(&data, "c", 0.05);
        let of = |category: &str| found.iter().find(|c| c.category == category).unwrap();
        assert!(found.iter().all(|c| (c.kind, c.toggle.as_str(), c.rounds) == ("leave-one-out", "fixed_files", 8)));
        assert!(of("file_reference").moved() && of("file_reference").after == (0.0, 0.0));
        assert!((of("file_reference").difference.unwrap() + 20.45).abs() < 0.01);
        assert!(!of("driver").moved());
        assert!(of("").moved() && (of("").before.0 - 100.0).abs() < 1e-9);
    }

    #[test]
    fn costs_are_means_over_all_rounds_of_a_treatment() {
        let served = Overhead { own: false, ..row(1, "full", "block_layer", 500.0) };
        let overhead = vec![
            row(1, "baseline", "driver", 60.0),
            row(1, "baseline", "syscall", 30.0),
            row(2, "baseline", "driver", 80.0),
            row(1, "full", "driver", 50.0),
            served,
        ];
        let data = Data { overhead, ..Data::default() };
        let found = costs(&data, "c", 0.05);
        assert_eq!(found.iter().map(|c| c.treatment.as_str()).collect::<Vec<_>>(), ["baseline", "full"]);
        assert_eq!(found[0].causes, [("driver".to_string(), 70.0), ("syscall".into(), 15.0)].into(), "none in round 2 counts");
        assert_eq!((found[0].rounds.as_slice(), found[0].total(), found[0].bounds), ([90.0, 80.0].as_slice(), 85.0, None));
        assert_eq!(found[1].causes, [("driver".to_string(), 50.0)].into(), "what was done for the target is not in it");
        assert_eq!(ranked(&data), ["driver", "syscall"]);
    }

    #[test]
    fn unknown_functions_are_named_above_the_limit() {
        let mut rows = vec![row(1, "full", "driver", 90.0), row(1, "full", "unknown", 10.0)];
        rows[1].symbol = "who_is_this".into();
        let data = Data { overhead: rows, ..Data::default() };
        let flagged = unknown(&data, "c", 0.02);
        assert_eq!(flagged, [("full".to_string(), 0.1, vec!["who_is_this".to_string()])]);
        assert!(unknown(&data, "c", 0.2).is_empty());
        assert_eq!(for_target(&data, "c", "full"), None);
        let served = Overhead { own: false, round: 2, ..row(2, "full", "driver", 30.0) };
        let data =
            Data { overhead: vec![row(1, "full", "driver", 1.0), row(2, "full", "driver", 1.0), served], ..Data::default() };
        assert_eq!(for_target(&data, "c", "full"), Some(15.0), "none was seen in one of two rounds");
    }
}
