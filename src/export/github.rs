//! What github-action-benchmark reads with `tool: customSmallerIsBetter` or `customBiggerIsBetter`: a file has one direction, so one metric.

use super::name;
use crate::analysis::contrast::Metric;
use crate::analysis::level::Series;
use serde_json::{Value, json};

/// An entry for each treatment that has the metric.
pub fn text(all: &[Series<'_>], metric: Metric, confidence: f64) -> String {
    let entries: Vec<Value> = all.iter().filter_map(|s| entry(s, metric, confidence)).collect();
    format!("{:#}\n", Value::Array(entries))
}

fn entry(series: &Series<'_>, metric: Metric, confidence: f64) -> Option<Value> {
    let (unit, decimals) = if metric == Metric::Iops { ("ops/s", 0) } else { ("CPU ns/op", 1) };
    let level = series.level(metric, confidence)?;
    let mut entry = json!({
        "name": name(series),
        "unit": unit,
        "value": level.value,
        "extra": format!("{} rounds", series.rounds.len()),
    });
    // Free text there, shown behind the value.
    if let Some(b) = level.bounds {
        entry["range"] = format!("{:.decimals$} to {:.decimals$}", b.lo, b.hi).into();
        entry["extra"] = format!("{} rounds, {:.1} % interval", series.rounds.len(), b.confidence * 100.0).into();
    }
    Some(entry)
}
