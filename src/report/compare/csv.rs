//! `compare.csv`: a line per cell, contrast, metric and run.

use crate::analysis::compare::{Comparison, Row};
use crate::text::line;

const HEADER: [&str; 18] = [
    "cell",
    "contrast",
    "kind",
    "toggle",
    "metric",
    "run",
    "reference_run",
    "ratio",
    "lo",
    "hi",
    "verdict",
    "difference",
    "difference_lo",
    "difference_hi",
    "p",
    "p_adjusted",
    "difference_verdict",
    "reason",
];

/// The file. What a run does not have is an empty cell, with its reason; what stands beside a difference is told there, too.
pub fn csv(comparison: &Comparison<'_>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).expect("memory takes every record");
    for cell in &comparison.cells {
        for row in &cell.rows {
            for run in 0..comparison.labels.len() {
                writer
                    .write_record(record(cell.cell, row, run, &comparison.labels).map(|cell| line(&cell)))
                    .expect("memory takes every record");
            }
        }
    }
    writer.into_inner().expect("memory flushes")
}

fn record(cell: &str, row: &Row<'_>, run: usize, labels: &[&str]) -> [String; 18] {
    let number = |v: Option<f64>| v.map_or_else(String::new, |v| format!("{v:.6}"));
    let side = &row.sides[run];
    let (effect, shift) = (side.effect, side.difference.map(|d| d.shift));
    let (bounds, apart) = (effect.and_then(|e| e.bounds), shift.and_then(|s| s.bounds));
    let reasons: Vec<&str> = side.missing.iter().chain(&side.notes).map(String::as_str).collect();
    [
        cell.into(),
        row.contrast.name(),
        row.contrast.kind.into(),
        row.contrast.toggle.clone(),
        row.metric.name().into(),
        labels[run].into(),
        labels[0].into(),
        number(effect.map(|e| e.ratio)),
        number(bounds.map(|b| b.lo)),
        number(bounds.map(|b| b.hi)),
        effect.map_or_else(String::new, |e| e.verdict.name().into()),
        number(shift.map(|s| s.ratio)),
        number(apart.map(|b| b.lo)),
        number(apart.map(|b| b.hi)),
        number(shift.map(|s| s.p)),
        number(side.difference.and_then(|d| d.p_adjusted)),
        side.difference.map_or_else(String::new, |d| d.likeness.name().into()),
        reasons.join("; "),
    ]
}
