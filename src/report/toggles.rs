//! The section of `report.md` on toggles: what each is worth, in which company, and where the company matters.

use super::escape;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::saturated::SPINS;
use crate::analysis::verdict::Verdict;
use std::fmt::Write;

/// The section; empty where no toggle was compared.
pub fn section(cell: &CellEffects) -> String {
    let (single, other) = (single(cell), other(cell));
    if single.is_empty() && other.is_empty() {
        return String::new();
    }
    let interval = cell
        .effects
        .iter()
        .find_map(|e| Some(e.bounds?.confidence))
        .map_or("too few rounds for any".into(), |c| format!("{:.1} %", c * 100.0));
    format!(
        "Ratios are with the toggle / without it; in brackets the interval over rounds ({interval}). Verdicts come from {}. *Detectable* is the \
         smallest effect that so many rounds find four times in five.{}\n\n",
        cell.primary.title(),
        Some(cell.spinning_clause()).filter(|c| !c.is_empty()).map_or_else(String::new, |clause| format!(" *{clause}.*")),
    ) + &single
        + &other
        + &both_ladders(cell)
        + &company(cell)
}

/// The optimisation table: what each toggle is worth with all others on, and with all others off.
pub fn single(cell: &CellEffects) -> String {
    let toggles = cell.toggles();
    if toggles.is_empty() {
        return String::new();
    }
    let kinds = ["leave-one-out", "add-one-in"].map(|kind| toggles.iter().any(|t| cell.find(kind, t, cell.primary).is_some()));
    let columns: Vec<(&str, &str)> = [("leave-one-out", "others on"), ("add-one-in", "others off")]
        .into_iter()
        .zip(kinds)
        .filter(|(_, k)| *k)
        .map(|(c, _)| c)
        .collect();
    let mut text = String::from("| toggle |");
    columns.iter().for_each(|(_, company)| text += &format!(" IOPS, {company} | CPU per op, {company} | verdict |"));
    text += &format!(" detectable |\n|---|{}---|\n", "---|---|---|".repeat(columns.len()));
    let all = [("all together", columns.iter().map(|_| ("total", "")).collect::<Vec<_>>())];
    let rows = toggles.iter().map(|t| (*t, columns.iter().map(|(kind, _)| (*kind, *t)).collect()));
    for (name, cells) in rows.chain(all) {
        let _ = write!(text, "| {} |", escape::text(name));
        for (i, (kind, toggle)) in cells.iter().enumerate() {
            // All together is one comparison.
            let find = |metric| if *kind == "total" && i > 0 { None } else { cell.find(kind, toggle, metric) };
            let shown = |metric| find(metric).map_or_else(String::new, Effect::to_string);
            let (iops, cpu, verdict) =
                (shown(Metric::Iops), shown(Metric::CpuPerOp), find(cell.primary).map_or_else(String::new, |e| verdict(cell, e)));
            let _ = write!(text, " {iops} | {cpu} | {verdict} |");
        }
        let judged = cells.iter().find_map(|(kind, toggle)| cell.find(kind, toggle, cell.primary));
        let _ = writeln!(text, " {} |", judged.map_or_else(String::new, detectable));
    }
    text + "\n"
}

fn verdict(cell: &CellEffects, effect: &Effect) -> String {
    let shape = if effect.shape_differs { ", *shape differs*" } else { "" };
    let spins = if cell.spins(effect) { format!(" ({SPINS})") } else { String::new() };
    format!("{}{spins}{shape}", effect.verdict.name())
}

/// Kinds of the second table, in its order.
const KINDS: [&str; 4] = ["explicit", "ladder", "ladder-reverse", "sweep"];

/// Steps, levels and treatments that were spelt out.
fn other(cell: &CellEffects) -> String {
    let rows: Vec<&Effect> =
        cell.effects.iter().filter(|e| e.metric == Metric::Iops && KINDS.contains(&e.contrast.kind)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "Ladder: over the step before. Explicit: over `baseline`. Sweep: another level, all others on, over `full`.\n\n\
         | toggle | kind | IOPS | CPU per op | verdict | detectable |\n|---|---|---|---|---|---|\n",
    );
    for effect in rows {
        let cpu = cell.also(effect, Metric::CpuPerOp);
        let judged = if cell.primary == Metric::Iops { Some(effect) } else { cpu };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            escape::text(&effect.contrast.toggle),
            effect.contrast.kind,
            effect,
            cpu.map_or_else(String::new, Effect::to_string),
            judged.map_or_else(String::new, |e| verdict(cell, e)),
            judged.map_or_else(String::new, detectable),
        );
    }
    text + "\n"
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
        let _ = writeln!(text, "| {} | {up} | {} |", escape::text(&toggle), down.unwrap_or_default());
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
    let names: Vec<String> =
        cell.effects.iter().filter(shown).map(|e| format!("{} ({e})", escape::code(&e.contrast.toggle))).collect();
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
