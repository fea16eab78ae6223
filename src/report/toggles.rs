//! The section of `report.md` on toggles: what each is worth, in which company, and where the company matters.

use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::verdict::Verdict;
use std::fmt::Write;

/// Kinds of the table, in its order.
const KINDS: [&str; 7] = ["total", "leave-one-out", "add-one-in", "explicit", "ladder", "ladder-reverse", "sweep"];

/// The section; empty where no toggle was compared.
pub fn section(cell: &CellEffects) -> String {
    let rows: Vec<&Effect> =
        cell.effects.iter().filter(|e| e.metric == Metric::Iops && KINDS.contains(&e.contrast.kind)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let interval = rows
        .iter()
        .find_map(|e| Some(e.bounds?.confidence))
        .map_or("too few rounds for any".into(), |c| format!("{:.1} %", c * 100.0));
    let mut text = format!(
        "Ratios are with the toggle / without it; in brackets the interval over rounds ({interval}). Leave-one-out: all others on. \
         Add-one-in: all others off. Explicit: over `baseline`. Sweep: another level, all others on, over `full`.\n\n\
         | toggle | kind | IOPS | CPU per op | verdict | detectable |\n|---|---|---|---|---|---|\n"
    );
    for effect in rows {
        let cpu = cell.effects.iter().find(|e| e.contrast == effect.contrast && e.metric == Metric::CpuPerOp);
        let judged = if cell.primary == Metric::Iops { Some(effect) } else { cpu };
        let toggle = if effect.contrast.toggle.is_empty() { effect.contrast.name() } else { effect.contrast.toggle.clone() };
        let shape = if judged.is_some_and(|e| e.shape_differs) { ", *shape differs*" } else { "" };
        let _ = writeln!(
            text,
            "| {toggle} | {} | {} | {} | {}{shape} | {} |",
            effect.contrast.kind,
            effect,
            cpu.map_or_else(String::new, Effect::to_string),
            judged.map_or("", |e| e.verdict.name()),
            judged.map_or_else(String::new, detectable),
        );
    }
    text + "\n" + &both_ladders(cell) + &company(cell)
}

/// The effect that these rounds would find, and for an open question how many would settle it.
fn detectable(effect: &Effect) -> String {
    let found = effect.mde80.map_or_else(String::new, |m| format!("{:.2} %", m * 100.0));
    match effect.rounds_needed.filter(|_| effect.verdict == Verdict::Inconclusive) {
        Some(rounds) => format!("{found}; {rounds} rounds would settle it"),
        None => found,
    }
}

/// Each toggle's step in either order, side by side.
fn both_ladders(cell: &CellEffects) -> String {
    let steps = |kind| cell.effects.iter().filter(move |e| e.contrast.kind == kind && e.metric == cell.primary);
    if steps("ladder").next().is_none() || steps("ladder-reverse").next().is_none() {
        return String::new();
    }
    let mut text = String::from(
        "What a step adds depends on what is on before it: the same toggles from the first to the last, and from the last to the first.\n\n\
         | toggle | in order | in reverse order |\n|---|---|---|\n",
    );
    // The last step of either order has no name of its own: it is the first of the other.
    let last = |kind| steps(kind).next_back().map(Effect::to_string);
    let first = steps("ladder").next().map(|e| e.contrast.toggle.clone());
    for up in steps("ladder") {
        let toggle = if up.contrast.toggle == LAST { first_of(cell, "ladder-reverse") } else { up.contrast.toggle.clone() };
        let down = if Some(&toggle) == first.as_ref() {
            last("ladder-reverse")
        } else {
            cell.find("ladder-reverse", &toggle, cell.primary).map(Effect::to_string)
        };
        let _ = writeln!(text, "| {toggle} | {up} | {} |", down.unwrap_or_default());
    }
    text + "\n"
}

/// What the last step of a ladder is called, whose treatment is `full`.
const LAST: &str = "last step";

fn first_of(cell: &CellEffects, kind: &str) -> String {
    cell.effects.iter().find(|e| e.contrast.kind == kind).map_or_else(String::new, |e| e.contrast.toggle.clone())
}

/// The toggles that are shown to be worth something else with all others on than with all others off.
fn company(cell: &CellEffects) -> String {
    let shown = |e: &&Effect| {
        let found = matches!(e.verdict, Verdict::Improved | Verdict::Regressed);
        e.contrast.kind == "context" && e.metric == cell.primary && found
    };
    let names: Vec<String> = cell.effects.iter().filter(shown).map(|e| format!("`{}` ({e})", e.contrast.toggle)).collect();
    if names.is_empty() {
        return String::new();
    }
    let known = cell.effects.iter().any(|e| e.contrast.kind == "interaction");
    let remedy = if known { "with which, see below" } else { "`kind = \"factorial\"` tells with which" };
    format!(
        "These interact with other toggles, since they are worth something else with all others on than with all others off (in brackets the \
         one over the other): {}; {remedy}.\n\n",
        names.join(", ")
    )
}
