//! What github-action-benchmark reads with `tool: customSmallerIsBetter`: for each series how much it costs beside the reference.

use super::name;
use crate::nightly::row::{Better, SeriesRow};
use serde_json::{Value, json};

/// An entry for each series: 100 is what the reference costs, and less is better whatever the metric.
pub fn text(series: &[SeriesRow]) -> String {
    format!("{:#}\n", Value::Array(series.iter().map(entry).collect()))
}

fn entry(row: &SeriesRow) -> Value {
    let cost = |ratio: f64| 100.0 * if row.better == Better::Higher { 1.0 / ratio } else { ratio };
    let (a, b) = (cost(row.lo), cost(row.hi));
    let mut entry = json!({
        "name": name(row),
        "unit": "% of the reference's cost",
        "value": cost(row.ratio),
        "extra": format!("{} rounds, {}", row.rounds, row.finding.name()),
    });
    // Free text there, shown behind the value.
    if a.is_finite() && b.is_finite() {
        entry["range"] = format!("{:.2} to {:.2}", a.min(b), a.max(b)).into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::super::tests::two;
    use super::*;

    #[test]
    fn less_is_better_whatever_the_metric() {
        let mut rows = two();
        rows[0].ratio = 0.8;
        let entries: Value = serde_json::from_str(&text(&rows)).unwrap();
        assert_eq!(entries[0]["value"], 125.0);
        assert_eq!(entries[1]["value"], 103.1);
        assert_eq!(entries[1]["range"], "102.40 to 103.70");
    }
}
