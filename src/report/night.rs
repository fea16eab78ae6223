//! A night for people: a pull request, a mail, a terminal.

use crate::nightly::row::{Alarm, Finding, NightRow, SeriesRow};
use std::fmt::Write;

/// The night as Markdown: what was found, each series, what a night like this can find.
pub fn markdown(night: &NightRow, series: &[SeriesRow]) -> String {
    let mut text = format!("**{}: {}**\n\n", headline(night), night.summary);
    let mut rows: Vec<&SeriesRow> = series.iter().collect();
    rows.sort_by_key(|row| rank(row.finding));
    text += "| cell | metric | against the reference | before | change | rounds | spread | found with .8 | placebo | |\n";
    text += "|---|---|---|---|---|--:|--:|--:|---|---|\n";
    rows.iter().for_each(|row| text += &line(row));
    text += "\nChanges are of the metric, candidate over reference, with their intervals. How far rounds lie apart (spread) decides what a night \
             finds: a smaller change than under *found with .8* is missed more often than in one night of five. The placebo is a second copy of \
             the reference.\n\n";
    rows.iter().filter(|row| row.alarm.is_some()).for_each(|row| {
        let _ = writeln!(text, "- {}\n- {}", sentence(row), found(row));
    });
    text += &figures(&rows);
    let NightRow { machine, kernel, cpu, platform, reference, candidate, version, wall_s, fingerprint, .. } = night;
    let _ = writeln!(
        text,
        "\n{night} on {machine} ({cpu}, {kernel}; {platform}; fingerprint {fingerprint}): candidate {candidate}, reference {reference}, \
         uring-ablate {version}, {wall_s:.0} s.",
        night = night.night
    );
    text
}

fn headline(night: &NightRow) -> &'static str {
    match night.exit {
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

/// A ratio as a change in percent.
fn percent(ratio: f64) -> String {
    format!("{:+.2} %", 100.0 * (ratio - 1.0))
}

fn interval(ratio: f64, lo: f64, hi: f64) -> String {
    format!("{} [{:+.2}, {:+.2}]", percent(ratio), 100.0 * (lo - 1.0), 100.0 * (hi - 1.0))
}

fn line(row: &SeriesRow) -> String {
    let before = if row.level_nights == 0 {
        "the reference".into()
    } else {
        format!("{}, {} nights", percent(row.level), row.level_nights)
    };
    format!(
        "| {} | {} | {} | {before} | {} | {} | {:.2} % | {:.2} % | {} | {} |\n",
        row.cell.replace('|', "\\|"),
        row.metric.replace('|', "\\|"),
        interval(row.ratio, row.lo, row.hi),
        percent(1.0 + row.change()),
        row.rounds,
        100.0 * row.spread,
        100.0 * row.mde80,
        interval(row.placebo_ratio, row.placebo_lo, row.placebo_hi),
        row.finding.name()
    )
}

/// What a series did, in words that need no thought about which way is good.
pub fn sentence(row: &SeriesRow) -> String {
    let (change, lo, hi) = row.confirmed_change().unwrap_or((row.change(), row.lo / row.level - 1.0, row.hi / row.level - 1.0));
    let judged = if change * row.better.sign() > 0.0 { "better" } else { "worse" };
    let way = if change > 0.0 { "higher" } else { "lower" };
    let size = format!("{way} by {:.1} % [{:+.1}, {:+.1}]", 100.0 * change.abs(), 100.0 * lo, 100.0 * hi);
    let (cell, metric, since) = (&row.cell, &row.metric, &row.since);
    match row.finding {
        Finding::Regressed | Finding::Improved => format!("{cell}: {metric} {size} ({judged}) than before, since {since}"),
        Finding::Unconfirmed => {
            format!("{cell}: {metric} seemed different since {since}; measured again it is {size}: no finding")
        }
        Finding::Inconclusive => {
            format!(
                "{cell}: {metric} {size}; rounds lie so far apart that only {:.1} % and more would be found",
                100.0 * row.mde80
            )
        }
        Finding::Steady => format!("{cell}: {metric} {size} than before: no alarm"),
    }
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
        let figure = |value: f64| format!("{value:.*} {}", if value < 1000.0 { 1 } else { 0 }, row.unit);
        let (reference, candidate) = (figure(row.reference_value), figure(row.candidate_value));
        let _ = writeln!(
            text,
            "| {} | {} | {reference} | {candidate} |",
            row.cell.replace('|', "\\|"),
            row.metric.replace('|', "\\|")
        );
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
            "read-4k-qd128-j1: cpu_total_ns_per_op higher by 3.0 % [+2.5, +3.6] (worse) than before, since 20260101T030000Z-host"
        );
        let night = NightRow { exit: 1, summary: "x".into(), ..NightRow::example() };
        let text = markdown(&night, &rows);
        assert!(text.starts_with("**REGRESSION: x**"), "{text}");
        let first = text.lines().position(|l| l.contains("| regressed |")).unwrap();
        assert!(first < text.lines().position(|l| l.contains("| steady |")).unwrap(), "regressions first");
    }
}
