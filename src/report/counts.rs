//! The table of counts in `report.md`: what a request makes the kernel do, arm by arm.

use super::escape;
use crate::analysis::Model;
use crate::analysis::effect::CellEffects;
use crate::analysis::load::Arm;
use crate::perf::counters;
use std::fmt::Write;

/// The section of a cell; empty where nothing was counted.
pub fn section(model: &Model, cell: &CellEffects) -> String {
    let counted = |a: &&Arm| a.cell == cell.cell && a.kind == "counts" && a.outcome == "completed";
    let arms: Vec<&Arm> = model.data.arms.iter().filter(counted).collect();
    let shown = |treatment: &str| {
        ["baseline", "full"].contains(&treatment) || ["without:", "with:", "only:"].iter().any(|kind| treatment.starts_with(kind))
    };
    let mut treatments: Vec<&str> = Vec::new();
    for arm in arms.iter().filter(|a| shown(&a.treatment)) {
        if !treatments.contains(&arm.treatment.as_str()) {
            treatments.push(&arm.treatment);
        }
    }
    let of = |column: &'static str, treatment: &str| mean(&arms, column, treatment);
    let known = |column: &&'static str| treatments.iter().any(|t| of(column, t).is_some());
    let (seen, never): (Vec<&'static str>, Vec<&'static str>) = counters::columns()
        .filter(known)
        .partition(|column| treatments.iter().any(|t| of(column, t).is_some_and(|v| v >= LEAST)));
    if seen.is_empty() {
        return String::new();
    }
    // Each treatment has as many, but for a baseline that two parts of the plan share.
    let rounds = arms.iter().filter(|a| a.treatment == "full").count();
    let mut text = format!(
        "What a request makes the kernel do: means over {rounds} rounds in which it was counted, whose throughput is not used. Clock and cycles \
         include what the counting itself takes at each system call.\n\n\
         | treatment | {} |\n|---|{}\n",
        seen.iter().map(|column| title(column)).collect::<Vec<_>>().join(" | "),
        "---|".repeat(seen.len())
    );
    for treatment in &treatments {
        let cells = seen.iter().map(|column| of(column, treatment).map_or_else(String::new, figure));
        let _ = writeln!(text, "| {} | {} |", escape::text(treatment), cells.collect::<Vec<_>>().join(" | "));
    }
    if !never.is_empty() {
        let titles: Vec<String> = never.iter().map(|column| title(column)).collect();
        let _ = writeln!(text, "\nFewer than one in ten thousand requests: {}.", titles.join(", "));
    }
    text + "\n"
}

/// What happens less often than this is not shown in the table.
const LEAST: f64 = 1e-4;

fn mean(arms: &[&Arm], column: &'static str, treatment: &str) -> Option<f64> {
    let values: Vec<f64> =
        arms.iter().filter(|a| a.treatment == treatment).filter_map(|a| a.figures.get(column).copied()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn title(column: &str) -> String {
    column.trim_end_matches("_per_op").replace('_', " ")
}

fn figure(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}
