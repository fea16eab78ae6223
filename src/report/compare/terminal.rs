//! A comparison in the terminal: what may be compared, then a short table for each workload.

use super::markdown::{PEERS, notes, place, rows};
use super::{Run, grounds};
use crate::analysis::compare::{CellComparison, Comparison};
use crate::text::line;
use comfy_table::{ContentArrangement, Table, presets};

/// The text.
pub fn tables(runs: &[Run], comparison: &Comparison<'_>) -> String {
    let grounds: String = grounds::sentences(runs, comparison).iter().map(|s| format!("- {}\n", plain(s))).collect();
    let cells: Vec<String> = comparison.cells.iter().map(|cell| section(cell, comparison)).collect();
    format!("What may and what may not be compared (reference: {})\n{grounds}\n{}", line(comparison.labels[0]), cells.join("\n"))
}

/// Markdown without its marks.
fn plain(text: &str) -> String {
    text.replace("**", "").replace("&#8203;", "").replace(['`', '\\'], "")
}

fn section(cell: &CellComparison<'_>, comparison: &Comparison<'_>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    let of = |run: usize| {
        let (label, reference) = (line(comparison.labels[run]), line(comparison.labels[0]));
        if run == 0 { vec![label] } else { vec![label.clone(), format!("{label}\n/ {reference}"), "verdict".into()] }
    };
    table.set_header(["contrast".to_string()].into_iter().chain((0..comparison.labels.len()).flat_map(of)));
    for row in rows(cell, cell.primary).into_iter().filter(|row| place(row) <= PEERS) {
        let of = |run: usize| {
            let side = &row.sides[run];
            let ratio = side.effect.map_or_else(String::new, |e| e.to_string());
            let judged = side.difference.map_or_else(Default::default, |d| [d.shift.to_string(), d.likeness.name().into()]);
            if run == 0 { vec![ratio] } else { [vec![ratio], judged.to_vec()].concat() }
        };
        table.add_row([line(&row.contrast.name())].into_iter().chain((0..comparison.labels.len()).flat_map(of)));
    }
    let (name, metric, notes) = (line(cell.cell), cell.primary.title(), plain(&notes(cell, comparison)));
    format!("{name}: ratios of {metric}; a difference is the ratio over that of the reference run\n{table}\n{notes}")
}
