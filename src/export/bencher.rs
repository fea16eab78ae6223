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

/// Bencher knows `throughput` as operations a second, and that more of it is better.
pub fn known(metric: &str) -> &str {
    if metric == Metric::Iops.name() { "throughput" } else { metric }
}

/// An estimate with its interval, where it has one.
pub fn figures(value: f64, bounds: Option<(f64, f64)>) -> Value {
    match bounds {
        Some((lo, hi)) => json!({ "value": value, "lower_value": lo, "upper_value": hi }),
        None => json!({ "value": value }),
    }
}

fn measures(series: &Series<'_>, confidence: f64) -> Value {
    let measure = |metric: Metric| {
        let level = series.level(metric, confidence)?;
        Some((known(metric.name()).to_string(), figures(level.value, level.bounds.map(|b| (b.lo, b.hi)))))
    };
    Metric::ALL.into_iter().filter_map(measure).collect::<Map<_, _>>().into()
}
