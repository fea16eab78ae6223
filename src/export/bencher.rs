//! Bencher Metric Format: <https://bencher.dev/docs/reference/bencher-metric-format>.

use super::name;
use crate::analysis::contrast::Metric;
use crate::analysis::level::Series;
use serde_json::{Map, Value, json};

/// A benchmark for each treatment with an estimate and its interval for each measure.
pub fn text(all: &[Series<'_>], confidence: f64) -> String {
    let benchmarks: Map<String, Value> = all.iter().map(|s| (name(s), measures(s, confidence))).collect();
    format!("{:#}\n", Value::Object(benchmarks))
}

fn measures(series: &Series<'_>, confidence: f64) -> Value {
    // Bencher knows `throughput` as operations a second, and that more of it is better.
    let measure = |metric| {
        let level = series.level(metric, confidence)?;
        let name = if metric == Metric::Iops { "throughput" } else { metric.name() };
        let figures = match level.bounds {
            Some(b) => json!({ "value": level.value, "lower_value": b.lo, "upper_value": b.hi }),
            None => json!({ "value": level.value }),
        };
        Some((name.to_string(), figures))
    };
    Metric::ALL.into_iter().filter_map(measure).collect::<Map<_, _>>().into()
}
