//! A history for people: every series as of its newest night, machines side by side.

use crate::nightly::row::{Finding, Key, NightRow, SeriesRow};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The nights of one machine in one experiment.
#[derive(Default)]
struct Machine<'a> {
    nights: Vec<&'a NightRow>,
    /// The newest line of each series.
    newest: BTreeMap<Key, &'a SeriesRow>,
}

/// The history as Markdown, a part for each experiment.
pub fn markdown(nights: &[NightRow], series: &[SeriesRow]) -> String {
    let mut experiments: BTreeMap<&str, BTreeMap<&str, Machine<'_>>> = BTreeMap::new();
    let mut rest = series;
    for night in nights {
        let (own, later) = rest.split_at(night.series_rows as usize);
        rest = later;
        let machine = experiments.entry(&night.experiment).or_default().entry(&night.machine).or_default();
        machine.nights.push(night);
        machine.newest.extend(own.iter().map(|row| (row.key(), row)));
    }
    let part = |(name, machines): (&&str, &BTreeMap<&str, Machine<'_>>)| format!("## {name}\n\n{}", experiment(machines));
    experiments.iter().map(part).collect::<Vec<_>>().join("\n")
}

fn experiment(machines: &BTreeMap<&str, Machine<'_>>) -> String {
    let mut text =
        String::from("| machine | nights | first | last | platform | processor | kernel | fingerprint | last night |\n");
    text += "|---|--:|---|---|---|---|---|---|---|\n";
    for (name, machine) in machines {
        let (Some(first), Some(last)) = (machine.nights.first(), machine.nights.last()) else { continue };
        let NightRow { platform, cpu, kernel, fingerprint, summary, .. } = last;
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {platform} | {cpu} | {kernel} | {fingerprint} | {summary} |",
            machine.nights.len(),
            first.started_utc,
            last.started_utc
        );
    }
    let _ = writeln!(text, "\n| cell | metric | {} |", machines.keys().copied().collect::<Vec<_>>().join(" | "));
    let _ = writeln!(text, "|---|---|{}", "---|".repeat(machines.len()));
    let keys: BTreeSet<&Key> = machines.values().flat_map(|m| m.newest.keys()).collect();
    for key in keys {
        let figures = machines.values().map(|machine| machine.newest.get(key).map_or_else(String::new, |row| figure(row)));
        let _ = writeln!(text, "| {} | {} | {} |", key.cell, key.metric, figures.collect::<Vec<_>>().join(" | "));
    }
    text + "\nCandidate over reference in the newest night, with its interval; ratios may be compared between machines, absolute figures not.\n"
}

fn figure(row: &SeriesRow) -> String {
    let change = |ratio: f64| 100.0 * (ratio - 1.0);
    let mark = if row.finding == Finding::Regressed { format!(" **regressed since {}**", row.since) } else { String::new() };
    format!("{:+.2} % [{:+.2}, {:+.2}]{mark}", change(row.ratio), change(row.lo), change(row.hi))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_stand_side_by_side_each_with_its_newest_night() {
        let night = |machine: &str| NightRow { machine: machine.into(), series_rows: 1, ..NightRow::example() };
        let row = |ratio: f64| SeriesRow { ratio, ..SeriesRow::example() };
        let text = markdown(&[night("a"), night("b"), night("a")], &[row(1.0), row(1.02), row(0.97)]);
        assert!(text.contains("| cell | metric | a | b |"), "{text}");
        assert!(text.contains("| -3.00 % [-1.00, +1.00] | +2.00 % [-1.00, +1.00] |"), "{text}");
    }
}
