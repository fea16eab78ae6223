//! `compare.md`: what may be compared, the answer, then a table for each workload and metric.

use super::super::escape;
use super::super::markdown::Charts;
use super::{Run, grounds};
use crate::analysis::compare::{CellComparison, Comparison, Difference, LevelRow, Likeness, Row};
use crate::analysis::contrast::{FAMILY, Metric};
use crate::analysis::level::Measured;
use crate::plot::Gallery;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The whole text; charts are linked as seen from `dir`, where it lies.
pub fn report(runs: &[Run], comparison: &Comparison<'_>, gallery: &Gallery, dir: &Path) -> String {
    let mut names: Vec<String> = Vec::new();
    for run in runs {
        let name = run.model.manifest.as_ref().map_or("results", |m| m.experiment.name.as_str());
        if !names.iter().any(|n| n == name) {
            names.push(name.into());
        }
    }
    let mut text = format!("# {}: {} runs side by side\n\n", escape::text(&names.join(", ")), runs.len());
    let _ = writeln!(
        text,
        "Beside **{}**, the reference run. A difference is how many times as large a ratio is as in the reference run.\n",
        escape::text(comparison.labels[0])
    );
    text += "## What may and what may not be compared\n\n";
    text += &grounds::table(runs);
    grounds::sentences(runs, comparison).iter().for_each(|s| text += &format!("- {s}\n"));
    text += &answer(comparison);
    let charts = Charts { gallery, dir };
    for cell in &comparison.cells {
        let _ = write!(text, "\n## {}\n\n{}", escape::text(cell.cell), charts.of(Some(cell.cell), &["compare"]));
        for metric in Metric::ALL {
            text += &table(cell, metric, comparison);
        }
        text += &notes(cell, comparison);
        text += &levels(cell, comparison);
    }
    text + &charts.absent()
}

/// What the differences come to.
fn answer(comparison: &Comparison<'_>) -> String {
    let mut text = format!(
        "\n## The answer\n\nDifferent: shown to be, after Holm's correction over the toggles of a workload and metric. Beyond the margin: the whole \
         interval is more than \u{b1}{} % away. Same: the interval lies within that. The whole and each peer are tested by themselves, and intervals \
         are not widened for their number.\n\n",
        comparison.settings.delta * 100.0
    );
    for cell in &comparison.cells {
        for (run, label) in comparison.labels.iter().enumerate().skip(1) {
            let _ = writeln!(
                text,
                "- **{}**, {} / {}",
                escape::text(cell.cell),
                escape::text(label),
                escape::text(comparison.labels[0])
            );
            for metric in Metric::ALL {
                let _ = writeln!(text, "  - **{}:** {}", metric.title(), sum(cell, metric, run));
            }
        }
    }
    text
}

/// Which of the toggles, their whole and the peers differ, and how many do not.
fn sum(cell: &CellComparison<'_>, metric: Metric, run: usize) -> String {
    let judged = |row: &&Row<'_>| row.metric == metric && place(row) <= PEERS;
    let found: Vec<(&Row<'_>, Difference)> =
        cell.rows.iter().filter(judged).filter_map(|row| Some((row, row.sides[run].difference?))).collect();
    let likenesses = [Likeness::Beyond, Likeness::Different, Likeness::Negligible, Likeness::Same, Likeness::Inconclusive];
    let said = likenesses.into_iter().filter_map(|likeness| {
        let of: Vec<_> = found.iter().filter(|(_, d)| d.likeness == likeness).collect();
        let named = [Likeness::Beyond, Likeness::Different].contains(&likeness);
        let each: Vec<String> =
            of.iter().map(|(row, d)| format!("{} ({})", escape::code(&row.contrast.name()), d.shift)).collect();
        let what = if named { each.join(", ") } else { of.len().to_string() };
        (!of.is_empty()).then(|| format!("{}: {what}", likeness.name()))
    });
    let said = said.collect::<Vec<_>>().join("; ");
    if said.is_empty() { "nothing to compare.".into() } else { format!("{said}.") }
}

/// Where a row stands in a table: the whole and its toggles, peers, what is only looked at, controls.
pub fn place(row: &Row<'_>) -> usize {
    match row.contrast.kind {
        "total" => 0,
        kind if FAMILY.contains(&kind) => 1,
        "peer" => PEERS,
        "placebo" | "stall" | "spin" => 4,
        _ => 3,
    }
}

/// Rows up to this place are what the terminal shows and the answer speaks of.
pub const PEERS: usize = 2;

/// The rows of a metric in their order. How a toggle's worth depends on the others is a matter of each run's own report.
pub fn rows<'a, 'b>(cell: &'b CellComparison<'a>, metric: Metric) -> Vec<&'b Row<'a>> {
    let mut rows: Vec<&Row<'_>> = cell.rows.iter().filter(|r| r.metric == metric && r.contrast.kind != "context").collect();
    rows.sort_by_key(|row| place(row));
    rows
}

fn table(cell: &CellComparison<'_>, metric: Metric, comparison: &Comparison<'_>) -> String {
    let rows = rows(cell, metric);
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("### {}\n\n| contrast |", metric.title());
    for (run, label) in comparison.labels.iter().enumerate() {
        let _ = write!(text, " {} |", escape::text(label));
        if run > 0 {
            let _ = write!(text, " {} / {} |", escape::text(label), escape::text(comparison.labels[0]));
        }
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(2 * comparison.labels.len() - 1));
    for row in rows {
        let _ = write!(text, "| {} |", escape::text(&row.contrast.name()));
        for (run, side) in row.sides.iter().enumerate() {
            let effect = side.effect.map_or_else(String::new, |e| format!("{e}<br>{}", e.verdict.name()));
            let _ = write!(text, " {effect} |");
            if run > 0 {
                let _ = write!(text, " {} |", side.difference.map_or_else(String::new, difference));
            }
        }
        text.push('\n');
    }
    text + "\n"
}

fn difference(d: Difference) -> String {
    let open = d.shift.mde80.filter(|_| d.likeness == Likeness::Inconclusive);
    let detectable = open.map_or_else(String::new, |m| format!("<br>detectable: {:.2} %", m * 100.0));
    format!("{}<br>{}{detectable}", d.shift, d.likeness.name())
}

/// Why cells are empty, and what stands beside a figure; a line for each reason with all that it holds for.
pub fn notes(cell: &CellComparison<'_>, comparison: &Comparison<'_>) -> String {
    let mut reasons: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
    for row in cell.rows.iter().filter(|row| row.contrast.kind != "context") {
        for (run, side) in row.sides.iter().enumerate() {
            for reason in side.missing.iter().chain(&side.notes) {
                let of = reasons.entry((run, reason.clone())).or_default();
                let name = escape::code(&row.contrast.name());
                if !of.contains(&name) {
                    of.push(name);
                }
            }
        }
    }
    let mut text = String::new();
    for ((run, reason), contrasts) in reasons {
        let _ = writeln!(
            text,
            "- **{}:** {}: {}.",
            escape::text(comparison.labels[run]),
            contrasts.join(", "),
            escape::text(&reason)
        );
    }
    if text.is_empty() { text } else { format!("Empty cells and notes:\n\n{text}\n") }
}

fn levels(cell: &CellComparison<'_>, comparison: &Comparison<'_>) -> String {
    if cell.levels.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "### Levels\n\nNot paired in time: drift of the machine between the runs is in it, so there is no verdict.\n\n| treatment | figure |",
    );
    let shown: Vec<usize> =
        (0..comparison.labels.len()).filter(|run| cell.levels.iter().any(|row| row.runs[*run].is_some())).collect();
    for run in &shown {
        let _ = write!(text, " {} |", escape::text(comparison.labels[*run]));
        if *run > 0 {
            let _ = write!(text, " {} / {} |", escape::text(comparison.labels[*run]), escape::text(comparison.labels[0]));
        }
    }
    let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(2 * shown.len() - 1));
    for row in &cell.levels {
        let unit = if row.metric == Metric::Iops { "IOPS" } else { "CPU ns/op" };
        let _ = writeln!(
            text,
            "| {} | {unit} |{}",
            escape::text(row.treatment),
            shown.iter().map(|run| level(row, *run)).collect::<String>()
        );
    }
    text + "\n"
}

fn level(row: &LevelRow, run: usize) -> String {
    let measured = |m: &Measured| {
        let interval = m.level.bounds.map_or_else(String::new, |b| format!(" [{:.0}, {:.0}]", b.lo, b.hi));
        format!("{:.0}{interval}", m.level.value)
    };
    let found = row.runs[run].as_ref();
    let shift = found.and_then(|(_, shift)| *shift).map_or_else(String::new, |s| s.to_string());
    let beside = if run > 0 { format!(" {shift} |") } else { String::new() };
    format!(" {} |{beside}", found.map_or_else(String::new, |(m, _)| measured(m)))
}
