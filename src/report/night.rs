//! A night for people: a pull request, a mail, a terminal.

use super::escape;
use crate::nightly::row::{Alarm, Finding, NightRow, SeriesRow};
use crate::nightly::verdict::sentence;
use crate::run::fingerprint;
use std::fmt::Write;

/// The night as Markdown: what was found, each series, what a night like this can find.
pub fn markdown(night: &NightRow, series: &[SeriesRow]) -> String {
    let mut text = format!("**{}: {}**\n\n", headline(night, series), escape::text(&night.summary));
    let mut rows: Vec<&SeriesRow> = series.iter().collect();
    rows.sort_by(|a, b| rank(a.finding).cmp(&rank(b.finding)).then(size(b).total_cmp(&size(a))));
    text += "| cell | metric | against the reference | before | change | rounds | spread | found with .8 | placebo | found |\n";
    text += "|---|---|---|---|---|--:|--:|--:|---|---|\n";
    rows.iter().for_each(|row| text += &line(row));
    text += "\nChanges are of the metric, candidate over reference, with their intervals. How far rounds lie apart (spread) decides what a night \
             finds: a smaller change than under *found with .8* is missed more often than in one night of five. The placebo is a second copy of \
             the reference.\n\n";
    rows.iter().filter(|row| row.alarm.is_some()).for_each(|row| {
        let _ = writeln!(text, "- {}\n  - {}", escape::text(&sentence(row)), escape::text(&found(row)));
    });
    text += &figures(&rows);
    let NightRow { wall_s, violations, .. } = night;
    if *violations > 0 {
        let _ = writeln!(text, "\n{violations} slices ended with something still in flight: it is counted to whom came next.");
    }
    let NightRow { night, machine, kernel, cpu, platform, reference, candidate, version, fingerprint, .. } = night;
    let (fingerprint, cpu) =
        (fingerprint::shown(fingerprint), if cpu.is_empty() { "a processor without a name" } else { cpu.as_str() });
    let facts: [&str; 9] = [night, machine, cpu, kernel, platform, fingerprint, candidate, reference, version];
    let [night, machine, cpu, kernel, platform, fingerprint, candidate, reference, version] = facts.map(escape::text);
    let _ = writeln!(
        text,
        "\n{night} on {machine} ({cpu}, {kernel}; {platform}; fingerprint {fingerprint}): candidate {candidate}, reference {reference}, \
         uring-ablate {version}, {wall_s:.0} s."
    );
    text
}

/// The same with what a history has to say of it, a paragraph each.
pub fn with_remarks(text: String, remarks: &[String]) -> String {
    remarks.iter().fold(text, |text, remark| format!("{text}\n{}.\n", escape::text(remark)))
}

fn headline(night: &NightRow, series: &[SeriesRow]) -> &'static str {
    match night.exit {
        0 if series.iter().any(|row| row.finding == Finding::Improved) => "IMPROVED",
        0 => "No confirmed regression",
        1 => "REGRESSION",
        3 => "INCONCLUSIVE",
        4 => "CONTROL FAILED",
        _ => "No result",
    }
}

/// What must be read comes first.
fn rank(finding: Finding) -> u8 {
    match finding {
        Finding::Regressed => 0,
        Finding::Improved => 1,
        Finding::Unconfirmed => 2,
        Finding::Inconclusive => 3,
        Finding::Steady => 4,
    }
}

/// How far a series lies from its level, as the second run has it where there was one.
fn size(row: &SeriesRow) -> f64 {
    row.confirmed_change().map_or(row.change(), |c| c.0).abs()
}

/// A fraction that is always a size; of a night that told nothing there is none.
fn share(fraction: f64) -> String {
    if fraction.is_finite() { format!("{:.2} %", 100.0 * fraction) } else { "nothing".into() }
}

/// So many of them.
pub(super) fn nights(count: usize) -> String {
    format!("{count} {}", if count == 1 { "night" } else { "nights" })
}

/// A ratio as a change in percent.
fn percent(ratio: f64) -> String {
    format!("{:+.2} %", 100.0 * (ratio - 1.0))
}

/// The same with its interval, which few rounds may lack.
pub(super) fn interval(ratio: f64, lo: f64, hi: f64) -> String {
    if lo.is_nan() || hi.is_nan() {
        return format!("{} [too few rounds]", percent(ratio));
    }
    format!("{} [{:+.2}, {:+.2}]", percent(ratio), 100.0 * (lo - 1.0), 100.0 * (hi - 1.0))
}

/// Tonight beside the level, with a word for whether that is good, so that nobody need know which way the metric gets better.
fn judged(row: &SeriesRow) -> String {
    let [change, lo, hi] = [row.ratio, row.lo, row.hi].map(|ratio| ratio / row.level);
    let word = match row.better.sign() * (change - 1.0) {
        _ if !(lo > 1.0 || hi < 1.0) => "not told apart",
        good if good > 0.0 => "better",
        _ => "worse",
    };
    format!("{}, {word}", interval(change, lo, hi))
}

/// The finding with what raised the alarm and what the second run measured.
fn verdict(row: &SeriesRow) -> String {
    let name = match row.finding {
        Finding::Regressed => format!("**{}**", row.finding.name()),
        _ => row.finding.name().into(),
    };
    let alarm = match row.alarm {
        None => return name,
        Some(Alarm::Step) => "step",
        Some(Alarm::Drift) => "drift",
        Some(Alarm::Open) => "open",
    };
    let again = row
        .confirm_rounds
        .zip(row.confirmed_change())
        .map(|(rounds, (change, lo, hi))| format!("; {rounds} rounds again: {}", interval(1.0 + change, 1.0 + lo, 1.0 + hi)));
    format!("{name} ({alarm} since {}{})", escape::text(&row.since), again.unwrap_or_default())
}

fn line(row: &SeriesRow) -> String {
    let before = if row.level_nights == 0 {
        "the reference".into()
    } else {
        format!("{}, {}", percent(row.level), nights(row.level_nights as usize))
    };
    format!(
        "| {} | {} | {} | {before} | {} | {} | {} | {} | {} | {} |\n",
        escape::text(&row.cell),
        escape::text(&row.metric),
        interval(row.ratio, row.lo, row.hi),
        judged(row),
        row.rounds,
        share(row.spread),
        share(row.mde80),
        interval(row.placebo_ratio, row.placebo_lo, row.placebo_hi),
        verdict(row)
    )
}

/// What raised the alarm, and what the second run said.
pub fn found(row: &SeriesRow) -> String {
    let alarm = match row.alarm {
        None => return format!("{} rounds, p = {:.1e}, adjusted {:.1e}", row.rounds, row.p, row.p_adjusted),
        Some(Alarm::Step) => {
            format!("tonight's {} rounds lie apart from before (adjusted p = {:.1e})", row.rounds, row.p_adjusted)
        }
        Some(Alarm::Drift) => format!("the nights since {} lie apart from those before (change-point model)", row.since),
        Some(Alarm::Open) => format!("a regression is open since {}", row.since),
    };
    match (row.confirm_rounds, row.confirm_p) {
        (Some(rounds), Some(p)) => format!("{alarm}; a second run of {rounds} rounds: adjusted p = {p:.1e}"),
        _ => alarm,
    }
}

/// The figures behind the ratios.
fn figures(rows: &[&SeriesRow]) -> String {
    let mut text = String::from("\n| cell | metric | reference | candidate |\n|---|---|--:|--:|\n");
    for row in rows {
        let figure = |value: f64| format!("{value:.*} {}", if value < 1000.0 { 1 } else { 0 }, escape::text(&row.unit));
        let (reference, candidate) = (figure(row.reference_value), figure(row.candidate_value));
        let _ = writeln!(text, "| {} | {} | {reference} | {candidate} |", escape::text(&row.cell), escape::text(&row.metric));
    }
    text + "\nMedians over the rounds; those of other nights may be compared where the fingerprint agrees.\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::night::tests::two;

    #[test]
    fn a_regression_names_metric_size_interval_and_since_when() {
        let rows = two();
        assert_eq!(
            sentence(&rows[1]),
            "read-4k-qd128-j1: cpu_total_ns_per_op higher by 3.0 % [+2.5, +3.6] (worse) than before, since 20260101T030000Z-host, confirmed by 48 rounds"
        );
        let night = NightRow { exit: 1, summary: "x".into(), ..NightRow::example() };
        let text = markdown(&night, &rows);
        assert!(text.starts_with("**REGRESSION: x**"), "{text}");
        let first = text.lines().position(|l| l.contains("| **regressed** (step since ")).unwrap();
        assert!(first < text.lines().position(|l| l.contains("| steady |")).unwrap(), "regressions first");
    }
}
