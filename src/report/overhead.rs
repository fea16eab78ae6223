//! The overhead table of `report.md`: what a request costs by cause, and what each toggle takes away.

use super::escape;
use crate::analysis::Model;
use crate::analysis::effect::CellEffects;
use crate::analysis::overhead::{Change, changes, for_target, unknown};
use crate::analysis::signed_rank::median;
use std::fmt::Write;

/// Above this share of functions without a rule a profile is flagged.
const UNKNOWN_LIMIT: f64 = 0.02;

/// The section of a cell; empty where nothing was profiled.
pub fn section(model: &Model, cell: &CellEffects) -> String {
    let changes = changes(&model.data, &cell.cell, model.settings.alpha);
    if changes.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "Where the time goes, from {} rounds with a profile: CPU time of a request by cause, in nanoseconds and as share, before -> after; in \
         brackets the interval of the difference over rounds.\n\n",
        changes[0].rounds
    );
    text += &table("baseline -> full", &of_kind(&changes, "total"));
    text += &toggles(&changes);
    for treatment in ["baseline", "full"] {
        if let Some(ns) = for_target(&model.data, &cell.cell, treatment) {
            let _ = writeln!(
                text,
                "- `{treatment}`: beside it, kernel workers and interrupts on all CPUs spent {ns:.0} ns a request: for the target, where nothing else runs."
            );
        }
    }
    for (treatment, share, names) in unknown(&model.data, &cell.cell, UNKNOWN_LIMIT) {
        let _ = writeln!(
            text,
            "- **{:.1} % of {} ran in functions that no rule knows**: {}.",
            share * 100.0,
            escape::code(&treatment),
            names.iter().map(|name| escape::code(name)).collect::<Vec<_>>().join(", ")
        );
    }
    text + &perturbation(model, cell) + "\n"
}

fn of_kind<'a>(changes: &'a [Change], kind: &str) -> Vec<&'a Change> {
    changes.iter().filter(|c| c.kind == kind).collect()
}

fn table(title: &str, changes: &[&Change]) -> String {
    let mut text = format!("| {title} | ns a request | share | difference, ns |\n|---|---|---|---|\n");
    let mut rows: Vec<&&Change> = changes.iter().filter(|c| !c.category.is_empty()).collect();
    rows.sort_by(|a, b| b.before.0.max(b.after.0).total_cmp(&a.before.0.max(a.after.0)));
    for change in rows.into_iter().chain(changes.iter().filter(|c| c.category.is_empty())) {
        let name = if change.category.is_empty() { "**sum**".into() } else { escape::text(&change.category) };
        let _ = writeln!(text, "| {name} | {} |", figures(change));
    }
    text + "\n"
}

/// The table of what each toggle moved of a cell, all others on; empty where nothing was profiled.
pub fn moved(model: &Model, cell: &CellEffects) -> String {
    let changes = changes(&model.data, &cell.cell, model.settings.alpha);
    let kept: Vec<Change> = changes.into_iter().filter(|c| c.kind == "leave-one-out").collect();
    toggles(&kept)
}

/// Of each toggle what it moved, and its sum.
fn toggles(changes: &[Change]) -> String {
    let mut text = String::new();
    for (kind, title) in [("leave-one-out", "others on"), ("add-one-in", "others off")] {
        let kept: Vec<&Change> = of_kind(changes, kind).into_iter().filter(|c| c.category.is_empty() || c.moved()).collect();
        if kept.is_empty() {
            continue;
        }
        let _ = writeln!(text, "| toggle, {title} | cause | ns a request | share | difference, ns |\n|---|---|---|---|---|");
        for change in kept {
            let cause = if change.category.is_empty() { "**sum**".into() } else { escape::text(&change.category) };
            let _ = writeln!(text, "| {} | {cause} | {} |", escape::text(&change.toggle), figures(change));
        }
        text += "\nCauses whose interval covers 0 are left out here (`overhead.csv` has them); the intervals are not widened for their \
                 number.\n\n";
    }
    text
}

fn figures(change: &Change) -> String {
    let percent = |share: f64| share * 100.0;
    let difference = match (change.difference, change.bounds) {
        (Some(point), Some(b)) => format!("{point:+.1} [{:+.1}, {:+.1}]", b.lo, b.hi),
        (Some(point), None) => format!("{point:+.1}"),
        _ => String::new(),
    };
    format!(
        "{:.1} -> {:.1} | {:.1} % -> {:.1} % | {difference}",
        change.before.0,
        change.after.0,
        percent(change.before.1),
        percent(change.after.1)
    )
}

/// What the profile itself costs.
fn perturbation(model: &Model, cell: &CellEffects) -> String {
    let rate = |kind: &str| {
        let of = |a: &&crate::analysis::load::Arm| {
            a.cell == cell.cell && a.treatment == "full" && a.kind == kind && a.outcome == "completed"
        };
        median(&model.data.arms.iter().filter(of).filter_map(|a| a.figures.get("iops").copied()).collect::<Vec<_>>())
    };
    match (rate("profile"), rate("slices")) {
        (Some(profiled), Some(plain)) => {
            format!(
                "- `full` did {:+.1} % IOPS in the rounds with a profile, against those without.\n",
                (profiled / plain - 1.0) * 100.0
            )
        }
        _ => String::new(),
    }
}
