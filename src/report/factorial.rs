//! The section of `report.md` on a full factorial: what each toggle is worth on its own, on average and fairly shared, and which interact.

use super::escape;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::verdict::Verdict;
use std::fmt::Write;

/// The section; empty where not every combination was measured.
pub fn section(cell: &CellEffects) -> String {
    let of = |kind: &'static str| cell.effects.iter().filter(move |e| e.contrast.kind == kind && e.metric == cell.primary);
    let metric = if cell.primary == Metric::Iops { "IOPS" } else { "CPU per operation" };
    if of("shapley").next().is_none() {
        return if of("main").next().is_none() { String::new() } else { fraction(cell, metric) };
    }
    let mut text = format!(
        "Every combination was measured, so what a toggle is worth can be told in four ways, in {metric} with it / without it: with all others \
         on, with all others off, averaged over all combinations (main), and as its fair share of the whole (Shapley: these multiply to \
         full/baseline).\n\n| toggle | others on | others off | main | Shapley | share of the variation |\n|---|---|---|---|---|---|\n"
    );
    for shapley in of("shapley") {
        let toggle = &shapley.contrast.toggle;
        let find = |kind| cell.find(kind, toggle, cell.primary).map_or_else(String::new, Effect::to_string);
        let share = cell.variation.as_ref().and_then(|v| v.toggles.get(toggle)).map_or_else(String::new, |s| percent(*s));
        let ways = ["leave-one-out", "add-one-in", "main"].map(find).join(" | ");
        let _ = writeln!(text, "| {} | {ways} | {shapley} | {share} |", escape::text(toggle));
    }
    if let Some(v) = &cell.variation {
        let _ = writeln!(
            text,
            "\nThe rest of the variation: pairs {}, higher interactions {}, noise between rounds {}.",
            percent(v.pairs),
            percent(v.higher),
            percent(v.noise)
        );
    }
    text + &interactions(cell)
}

/// A fraction: what each toggle is worth on average, and what cannot be said.
fn fraction(cell: &CellEffects, metric: &str) -> String {
    let mut text = format!(
        "A fraction of the combinations was measured: what a toggle is worth in {metric}, averaged over them.\n\n| toggle | main |\n|---|---|\n"
    );
    for main in cell.effects.iter().filter(|e| e.contrast.kind == "main" && e.metric == cell.primary) {
        let _ = writeln!(text, "| {} | {main} |", escape::text(&main.contrast.toggle));
    }
    if cell.aliases.is_empty() {
        return text + &interactions(cell);
    }
    text += "\nThis design cannot tell these apart, so none of them is reported; a factorial or a fraction of those toggles could:\n\n";
    for (name, with) in &cell.aliases {
        let _ = writeln!(text, "- {}: shares its estimate with {}.", escape::text(name), escape::text(&with.join(", ")));
    }
    text + "\n"
}

/// The pairs that change each other's worth.
fn interactions(cell: &CellEffects) -> String {
    let found = |e: &&Effect| {
        let shown = matches!(e.verdict, Verdict::Improved | Verdict::Regressed);
        e.contrast.kind == "interaction" && e.metric == cell.primary && shown
    };
    let mut pairs: Vec<&Effect> = cell.effects.iter().filter(found).collect();
    pairs.sort_by(|a, b| b.ratio.ln().abs().total_cmp(&a.ratio.ln().abs()));
    if pairs.is_empty() {
        return "\nNo two toggles are shown to change each other's worth.\n\n".into();
    }
    let mut text = String::from(
        "\nThese change each other's worth (the root of the ratio of ratios; 1 is independence):\n\n| pair | interaction |\n|---|---|\n",
    );
    for pair in pairs {
        let _ = writeln!(text, "| {} | {pair} |", escape::text(&pair.contrast.toggle));
    }
    text + "\n"
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
