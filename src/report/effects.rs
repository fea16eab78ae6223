//! `effects.csv`.

use crate::analysis::effect::{CellEffects, Effect};
use crate::text::line;

const HEADER: [&str; 22] = [
    "workload",
    "contrast",
    "kind",
    "treatment",
    "reference",
    "toggle",
    "metric",
    "n_rounds",
    "n_blocks",
    "ratio",
    "lo",
    "hi",
    "confidence",
    "p",
    "p_adjusted",
    "verdict",
    "mde80",
    "rounds_needed",
    "mean_ratio",
    "mean_lo",
    "mean_hi",
    "shape_differs",
];

/// The file, a line per contrast and metric.
pub fn csv(cells: &[CellEffects]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).expect("memory takes every record");
    for cell in cells {
        for effect in &cell.effects {
            writer.write_record(record(&cell.cell, effect).map(|cell| line(&cell))).expect("memory takes every record");
        }
    }
    writer.into_inner().expect("memory flushes")
}

fn record(cell: &str, effect: &Effect) -> [String; 22] {
    let number = |v: Option<f64>| v.map_or_else(String::new, |v| format!("{v:.6}"));
    let contrast = &effect.contrast;
    [
        cell.into(),
        contrast.name(),
        contrast.kind.into(),
        contrast.treatment.clone(),
        contrast.reference.clone(),
        contrast.toggle.clone(),
        effect.metric.name().into(),
        effect.n_rounds.to_string(),
        effect.n_blocks.to_string(),
        number(Some(effect.ratio)),
        number(effect.bounds.map(|b| b.lo)),
        number(effect.bounds.map(|b| b.hi)),
        number(effect.bounds.map(|b| b.confidence)),
        number(Some(effect.p)),
        number(effect.p_adjusted),
        effect.verdict.name().into(),
        number(effect.mde80),
        effect.rounds_needed.map_or_else(String::new, |n| n.to_string()),
        number(effect.mean.map(|m| m.0)),
        number(effect.mean.map(|m| m.1)),
        number(effect.mean.map(|m| m.2)),
        effect.shape_differs.to_string(),
    ]
}
