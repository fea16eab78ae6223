//! A night in the formats of other tools: pure functions of its lines.

mod github;
mod junit;
mod openmetrics;

use super::bencher::{figures, known};
use crate::nightly::row::{NightRow, SeriesRow};
use crate::{report, text};
use serde_json::{Map, Value, json};

/// Every file of a night with its text, in which nothing drives the terminal of whoever looks at it.
pub fn files(night: &NightRow, series: &[SeriesRow]) -> Vec<(&'static str, String)> {
    let files = [
        ("summary.md", report::night::markdown(night, series)),
        ("night.json", json(night, series)),
        ("junit.xml", junit::text(night, series)),
        ("bencher.json", bencher(series)),
        ("github-action-benchmark.json", github::text(series)),
        ("metrics.prom", openmetrics::text(night, series)),
    ];
    files.map(|(name, text)| (name, text::plain(&text).into_owned())).into()
}

/// The night's line and those of its series, by column; what does not apply is null.
pub fn json(night: &NightRow, series: &[SeriesRow]) -> String {
    format!("{:#}\n", json!({ "night": night, "series": series }))
}

/// The lines of a whole history.
pub fn history(nights: &[NightRow], series: &[SeriesRow]) -> String {
    format!("{:#}\n", json!({ "nights": nights, "series": series }))
}

/// How a series is called by tools that know one name.
fn name(row: &SeriesRow) -> String {
    text::line(&format!("{}/{}", row.cell, row.metric))
}

/// Bencher Metric Format: the ratio with its interval, and the candidate's own figure.
fn bencher(series: &[SeriesRow]) -> String {
    let mut cells: Map<String, Value> = Map::new();
    for row in series {
        let measures = cells.entry(text::line(&row.cell)).or_insert_with(|| json!({}));
        // Few rounds have no interval of a high confidence; null is no figure there.
        let bounds = (row.lo.is_finite() && row.hi.is_finite()).then_some((row.lo, row.hi));
        let metric = text::line(&row.metric);
        measures[format!("{metric}_ratio")] = figures(row.ratio, bounds);
        measures[known(&metric)] = figures(row.candidate_value, None);
    }
    format!("{:#}\n", Value::Object(cells))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::nightly::row::{Alarm, Better, Finding};

    /// A series that is steady, and one that has regressed.
    pub fn two() -> Vec<SeriesRow> {
        let regressed = SeriesRow {
            metric: "cpu_total_ns_per_op".into(),
            unit: "ns".into(),
            better: Better::Lower,
            ratio: 1.031,
            lo: 1.024,
            hi: 1.037,
            alarm: Some(Alarm::Step),
            since: "20260101T030000Z-host".into(),
            confirm_rounds: Some(48),
            confirm_ratio: Some(1.03),
            confirm_lo: Some(1.025),
            confirm_hi: Some(1.036),
            confirm_p: Some(1e-6),
            finding: Finding::Regressed,
            ..SeriesRow::example()
        };
        vec![SeriesRow::example(), regressed]
    }

    #[test]
    fn every_json_reads_back_and_absence_is_null() {
        let night: Value = serde_json::from_str(&json(&NightRow::example(), &two())).unwrap();
        assert_eq!(night["series"][0]["confirm_ratio"], Value::Null);
        assert_eq!(night["series"][1]["confirm_ratio"], 1.03);
        let bencher: Value = serde_json::from_str(&bencher(&two())).unwrap();
        let cell = &bencher["read-4k-qd128-j1"];
        assert_eq!(cell["cpu_total_ns_per_op_ratio"]["upper_value"], 1.037);
        assert_eq!(cell["throughput"]["value"], 500_000.0);
    }
}
