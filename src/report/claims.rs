//! The section of `report.md` on claims: what is said, what was measured, the verdict.

use super::escape;
use crate::analysis::claim::{Estimate, InCell, Judged, Ruling};
use crate::analysis::contrast::Metric;
use crate::experiment::{Range, Says};
use std::fmt::Write;

/// The section; empty where nothing is claimed.
pub fn section(judged: &[Judged]) -> String {
    if judged.is_empty() {
        return String::new();
    }
    let count = |ruling| judged.iter().filter(|j| j.ruling == ruling).count();
    let all = [Ruling::Supported, Ruling::Partly, Ruling::Refuted, Ruling::Inconclusive, Ruling::Untestable];
    let counts: Vec<String> = all.into_iter().filter(|r| count(*r) > 0).map(|r| format!("{} {}", count(r), r.name())).collect();
    format!(
        "## Claims\n\n{} claims: {}. Shares are of the CPU time of a request, without -> with the toggle, all others on; ratios are with the toggle / \
         without it, or ours / theirs; in brackets the intervals over rounds. *Partly*: the right cause of the wrong size, or in some of the \
         workloads. Each figure is tested on its own, at the run's level; what the time really came out of is the cause that moved most.\n\n{}\n",
        judged.len(),
        counts.join(", "),
        table(judged)
    )
}

/// A line for each claim.
pub fn table(judged: &[Judged]) -> String {
    if judged.is_empty() {
        return String::new();
    }
    let mut text = String::from("| claim | verdict | claimed | measured |\n|---|---|---|---|\n");
    for j in judged {
        let measured: Vec<String> = by_figures(&j.cells)
            .into_iter()
            .map(|(cells, what)| format!("{}: {what}", escape::text(&cells.join(", "))))
            .collect();
        let measured = if measured.is_empty() { "no workload of this run is spoken of".into() } else { measured.join("<br>") };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {measured} |",
            escape::text(&j.claim.text),
            j.ruling.name(),
            escape::text(&claimed(&j.claim.says))
        );
    }
    text
}

/// Cells that say the same stand together.
fn by_figures(cells: &[InCell]) -> Vec<(Vec<&str>, String)> {
    let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
    for cell in cells {
        let what = measured(cell);
        match groups.iter_mut().find(|(_, other)| *other == what) {
            Some((names, _)) => names.push(&cell.cell),
            None => groups.push((vec![&cell.cell], what)),
        }
    }
    groups
}

fn claimed(says: &Says) -> String {
    let percent = |range: &Option<Range>| range.map(|(from, to)| format!("{from} to {to} %"));
    match says {
        Says::Pays => "better".into(),
        Says::Ratio { peer, range } => format!("{} to {} x {peer}", range.0, range.1),
        Says::Share { causes, before, after } => match (percent(before), percent(after)) {
            (Some(before), Some(after)) => format!("{}: {before} -> {after}", causes.join(" + ")),
            (Some(before), None) => format!("{}: {before} before", causes.join(" + ")),
            (None, Some(after)) => format!("{}: {after} now", causes.join(" + ")),
            (None, None) => format!("{}: less than before", causes.join(" + ")),
        },
    }
}

fn measured(cell: &InCell) -> String {
    let percent = |e: &Estimate| format!("{:.1} % [{:.1}, {:.1}]", e.point, e.lo, e.hi);
    let mut parts: Vec<String> = Vec::new();
    match (&cell.before, &cell.after) {
        (Some(before), Some(after)) => parts.push(format!("{} -> {}", percent(before), percent(after))),
        (None, Some(after)) => parts.push(percent(after)),
        _ => {}
    }
    if let Some(e) = &cell.ratio {
        let unit = if cell.metric == Metric::Iops { "IOPS" } else { "CPU per op" };
        parts.push(format!("{unit} {:.3} [{:.3}, {:.3}]", e.point, e.lo, e.hi));
    }
    if !cell.remark.is_empty() {
        parts.push(escape::text(&cell.remark));
    }
    let moved = |c: &crate::analysis::overhead::Change| {
        format!(
            "{} {:.0} -> {:.0} ns ({:.1} % -> {:.1} %)",
            escape::code(&c.category),
            c.before.0,
            c.after.0,
            c.before.1 * 100.0,
            c.after.1 * 100.0
        )
    };
    if !cell.instead.is_empty() {
        let causes: Vec<String> = cell.instead.iter().map(moved).collect();
        parts.push(format!("the time really came out of {}", causes.join(" and ")));
    }
    parts.join("; ")
}
