//! The tables that a run ends with in the terminal.

use super::{route, validity};
use crate::analysis::Model;
use crate::analysis::claim::Judged;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::saturated::SPINS;
use crate::text::line;
use comfy_table::{ContentArrangement, Table, presets};

/// One table per cell: toggles, then fio; after them the claims and whether to trust all that.
pub fn tables(model: &Model, judged: &[Judged]) -> String {
    let cells =
        model.cells.iter().map(|cell| format!("{}\n{}\n", heading(model, cell), table(cell))).collect::<Vec<_>>().join("\n");
    let trust = validity::summary(model).replace("**", "").replace("&#8203;", "").replace('\\', "");
    format!("{}{cells}{}\nCan this run be trusted? {trust}\n", route::line(model), claims(judged))
}

fn claims(judged: &[Judged]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["claim", "verdict"]);
    for j in judged {
        table.add_row([line(&j.claim.text).as_str(), j.ruling.name()]);
    }
    if judged.is_empty() { String::new() } else { format!("\n{table}\n") }
}

fn heading(model: &Model, cell: &CellEffects) -> String {
    let share = cell.thread_cpu_share.map_or_else(String::new, |s| format!(", loop on the CPU {:.0} % of the time", s * 100.0));
    let side = cell.saturated().map_or_else(String::new, |s| format!("; bound by {}", s.name()));
    let verdicts = if cell.bound_by_target() { ": verdicts come from CPU per operation" } else { "" };
    let route = route::mark(model, &cell.cell);
    let spins = match cell.spinning_clause() {
        clause if clause.is_empty() => clause,
        clause => format!("\n{clause}"),
    };
    format!("{}{route}{share}{side}{verdicts}{spins}\nratios are with the toggle / without it, or ours / fio", line(&cell.cell))
}

fn table(cell: &CellEffects) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["contrast", "IOPS ratio", "CPU per op ratio", "verdict"]);
    let rows = cell.effects.iter().filter(|e| e.metric == Metric::Iops && e.contrast.kind != "context");
    for effect in rows {
        let cpu = cell.also(effect, Metric::CpuPerOp);
        let verdict = if cell.primary == Metric::Iops { Some(effect) } else { cpu };
        let verdict = if ["placebo", "stall", "spin"].contains(&effect.contrast.kind) {
            "(control)"
        } else {
            verdict.map_or("", |e| e.verdict.name())
        };
        let spins =
            if cell.primary == Metric::CpuPerOp && cell.either_spins(effect) { format!(" ({SPINS})") } else { String::new() };
        table.add_row([
            line(&effect.contrast.name()),
            effect.to_string(),
            cpu.map_or_else(String::new, Effect::to_string),
            format!("{verdict}{spins}"),
        ]);
    }
    table
}
