//! A history for people: every series as of its newest night, machines side by side.

use super::escape;
use super::night::{interval, nights};
use crate::exit::Exit;
use crate::nightly::row::{Finding, Key, NightRow, SeriesRow, by_night};
use crate::run::fingerprint;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The nights of one machine in one experiment.
#[derive(Default)]
struct Machine<'a> {
    nights: Vec<&'a NightRow>,
    series: BTreeMap<Key, Newest<'a>>,
}

/// A series as of its newest night, with the number of its nights.
struct Newest<'a> {
    night: &'a NightRow,
    row: &'a SeriesRow,
    count: usize,
}

/// The history as Markdown, a part for each experiment.
pub fn markdown(nights: &[NightRow], series: &[SeriesRow]) -> String {
    let mut experiments: BTreeMap<&str, BTreeMap<&str, Machine<'_>>> = BTreeMap::new();
    for (night, own) in by_night(nights, series) {
        let machine = experiments.entry(&night.experiment).or_default().entry(&night.machine).or_default();
        machine.nights.push(night);
        for row in own {
            let count = 1 + machine.series.get(&row.key()).map_or(0, |newest| newest.count);
            machine.series.insert(row.key(), Newest { night, row, count });
        }
    }
    let part = |(name, machines): (&&str, &BTreeMap<&str, Machine<'_>>)| {
        format!("## {}\n\n{}", escape::text(name), experiment(machines))
    };
    experiments.iter().map(part).collect::<Vec<_>>().join("\n")
}

fn experiment(machines: &BTreeMap<&str, Machine<'_>>) -> String {
    let mut text =
        String::from("| machine | nights | first | last | platform | processor | kernel | fingerprint | last night |\n");
    text += "|---|--:|---|---|---|---|---|---|---|\n";
    for (name, machine) in machines {
        let (Some(first), Some(last)) = (machine.nights.first(), machine.nights.last()) else { continue };
        let NightRow { platform, cpu, kernel, fingerprint, summary, .. } = last;
        let told = [platform.as_str(), cpu, kernel, fingerprint::shown(fingerprint), summary].map(escape::text).join(" | ");
        let (name, nights) = (escape::text(name), machine.nights.len());
        let _ = writeln!(
            text,
            "| {name} | {nights} | {} | {} | {told} |",
            escape::text(&first.started_utc),
            escape::text(&last.started_utc)
        );
    }
    let _ = writeln!(
        text,
        "\n| cell | metric | {} |",
        machines.keys().map(|name| escape::text(name)).collect::<Vec<_>>().join(" | ")
    );
    let _ = writeln!(text, "|---|---|{}", "---|".repeat(machines.len()));
    let keys: BTreeSet<&Key> = machines.values().flat_map(|m| m.series.keys()).collect();
    for key in keys {
        let figures = machines.values().map(|machine| figure(machine, key).unwrap_or_default());
        let figures = figures.collect::<Vec<_>>().join(" | ");
        let _ = writeln!(text, "| {} | {} | {figures} |", escape::text(&key.cell), escape::text(&key.metric));
    }
    text + "\nCandidate over reference in the newest night, with its interval; ratios may be compared between machines, absolute figures not.\n"
}

/// What a machine's newest night says of a series, and whether that is a regression, is old, or is not believed.
fn figure(machine: &Machine<'_>, key: &Key) -> Option<String> {
    let Newest { night, row, count } = machine.series.get(key)?;
    let mut text = format!("{}, {}", interval(row.ratio, row.lo, row.hi), nights(*count));
    if night.exit == Exit::SelfCheck as u8 {
        text += ", control failed: not believed";
    } else if row.finding == Finding::Regressed {
        let _ = write!(text, " **regressed since {}**", escape::text(&row.since));
    }
    if machine.nights.last().is_some_and(|last| last.night != night.night) {
        let _ = write!(text, " (not measured since {})", escape::text(&night.started_utc));
    }
    Some(text)
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
        assert!(text.contains("| -3.00 % [-1.00, +1.00], 2 nights | +2.00 % [-1.00, +1.00], 1 night |"), "{text}");
    }
}
