//! Exports of the planted run, read back by what reads such formats.

use crate::support::{ablate, rows, skip};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag};
use polars::prelude::{DataType, ParquetReader, SerReader};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use uring_ablate::report;

const CELL: &str = "read-4k-qd128-j1";
const ROUNDS: usize = 8;

/// A copy of `tests/data/planted`.
fn planted() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/planted");
    for name in ["trials.csv", "arms.csv"] {
        fs::copy(data.join(name), home.path().join(name)).unwrap();
    }
    home
}

fn export(dir: &Path, format: &str, more: &[&str]) -> Output {
    ablate().arg("export").arg(dir).args(["--format", format]).args(more).output().unwrap()
}

fn text(dir: &Path, format: &str, more: &[&str]) -> String {
    let output = export(dir, format, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every round's IOPS of a treatment, from the rows.
fn by_hand(dir: &Path, treatment: &str) -> Vec<f64> {
    let of = |round: usize| {
        let number = |row: &std::collections::HashMap<String, String>, column: &str| row[column].parse::<f64>().unwrap();
        let slices = rows(&dir.join("trials.csv"));
        let slices = slices.iter().filter(|r| r["round"] == round.to_string() && r["treatment"] == treatment);
        let (ops, time) = slices.fold((0.0, 0.0), |(o, t), r| (o + number(r, "ops"), t + number(r, "duration_s")));
        ops / time
    };
    (1..=ROUNDS).map(of).collect()
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(lo, hi), v| (lo.min(*v), f64::max(hi, *v)))
}

#[test]
fn bencher_gets_estimates_inside_their_intervals() {
    let home = planted();
    let told: Value = serde_json::from_str(&text(home.path(), "bencher", &[])).unwrap();
    let benchmarks = told.as_object().unwrap();
    assert_eq!(benchmarks.len(), 6, "{:?}", benchmarks.keys());
    for (name, measures) in benchmarks {
        for (measure, figures) in measures.as_object().unwrap() {
            assert!(["throughput", "cpu_total_ns_per_op"].contains(&measure.as_str()), "{measure}");
            let [value, lo, hi] = ["value", "lower_value", "upper_value"].map(|key| figures[key].as_f64().unwrap());
            assert!(lo <= value && value <= hi && lo > 0.0, "{name} {measure}: {figures}");
        }
    }
    let full = &benchmarks[&format!("{CELL}/slices/full")]["throughput"]["value"];
    let (least, most) = range(&by_hand(home.path(), "full"));
    assert!((least..=most).contains(&full.as_f64().unwrap()), "{full} lies among its rounds, {least} to {most}");
}

#[test]
fn github_action_benchmark_gets_one_direction() {
    let home = planted();
    for (metric, unit) in [("cpu", "CPU ns/op"), ("iops", "ops/s")] {
        let told: Value = serde_json::from_str(&text(home.path(), "github-action-benchmark", &["--metric", metric])).unwrap();
        let entries = told.as_array().unwrap();
        assert_eq!(entries.len(), 6);
        for entry in entries {
            assert!(entry["unit"] == unit && entry["value"].as_f64().unwrap() > 0.0, "{entry}");
            assert!(
                entry["name"].as_str().unwrap().starts_with(CELL) && entry["range"].as_str().unwrap().contains(" to "),
                "{entry}"
            );
        }
    }
    let output = export(home.path(), "bencher", &["--metric", "iops"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).contains("leave it out"));
}

#[test]
fn benchstat_gets_a_sample_for_each_round() {
    let home = planted();
    let told = text(home.path(), "go-benchfmt", &[]);
    let number = r"([0-9]+(?:\.[0-9]+)?)";
    let line = format!(
        r"^Benchmark([A-Z][^\s/]*)/kind=(\w+)/treatment=(\S+)-(\d+) [1-9][0-9]* {number} ns/op {number} cpu-ns/op {number} ops/s$"
    );
    let (line, setting) = (regex::Regex::new(&line).unwrap(), regex::Regex::new(r"^[a-z][a-z-]*: ").unwrap());
    let mut full = Vec::new();
    for text in told.lines() {
        let Some(found) = line.captures(text) else {
            assert!(setting.is_match(text) || text.starts_with("Unit ops/s ") || text.is_empty(), "{text}");
            continue;
        };
        assert_eq!((&found[1], &found[2], &found[4]), ("Read-4k-qd128-j1", "slices", "1"));
        let [ns, rate] = [5, 7].map(|i| found[i].parse::<f64>().unwrap());
        assert!((ns * rate / 1e9 - 1.0).abs() < 1e-3, "{text}");
        full.extend((&found[3] == "full").then_some(rate));
    }
    assert_eq!(full.len(), ROUNDS);
    let expected = by_hand(home.path(), "full");
    assert!(full.iter().zip(&expected).all(|(a, b)| (a / b - 1.0).abs() < 1e-6), "{full:?} {expected:?}");
}

#[test]
fn parquet_keeps_every_row_type_and_empty_cell() {
    let home = planted();
    report::write(home.path(), &home.path().join("plots")).unwrap();
    // A seed beyond what a float holds and a signed number, and columns without a value.
    fs::write(home.path().join("plan.csv"), "round,kind,seed,redoes\n1,slices,18446744073709551557,\n2,,3,1\n").unwrap();
    let told = text(home.path(), "parquet", &[]);
    assert_eq!(told.lines().count(), 4, "{told}");
    let read = |name: &str| {
        let file = fs::File::open(home.path().join("parquet").join(name)).unwrap();
        ParquetReader::new(file).finish().unwrap()
    };
    let (trials, csv) = (read("trials.parquet"), rows(&home.path().join("trials.csv")));
    assert_eq!(trials.height(), csv.len());
    let sum: f64 = csv.iter().map(|r| r["duration_s"].parse::<f64>().unwrap()).sum();
    let durations = trials.column("duration_s").unwrap().f64().unwrap();
    assert!((durations.iter().flatten().sum::<f64>() - sum).abs() < 1e-9);
    let plan = read("plan.parquet");
    assert_eq!(plan.column("seed").unwrap().u64().unwrap().get(0), Some(18_446_744_073_709_551_557));
    assert_eq!((plan.column("redoes").unwrap().null_count(), plan.column("kind").unwrap().null_count()), (1, 1));
    let effects = read("effects.parquet");
    let types = ["toggle", "n_rounds", "ratio", "shape_differs"].map(|c| effects.column(c).unwrap().dtype().clone());
    assert_eq!(types, [DataType::String, DataType::Int64, DataType::Float64, DataType::Boolean]);
}

/// A log as the runner writes it, with an arm that did not complete.
fn log(dir: &Path) {
    let (mut text, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut log = IntervalLogWriterBuilder::new().begin_log_with(&mut text, &mut serializer).unwrap();
    for tag in ["1/full", "2/full", "1/nowhere"].map(|t| t.replace('/', &format!("/{CELL}/"))) {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        histogram.record_n(150_000, 10).unwrap();
        log.write_histogram(&histogram, Duration::from_secs(1), Duration::from_secs(2), Tag::new(&tag)).unwrap();
    }
    drop(log);
    fs::write(dir.join("latency.hlog"), text).unwrap();
}

#[test]
fn the_latency_log_is_one_that_its_reader_reads() {
    let home = planted();
    log(home.path());
    let out = home.path().join("run.hlog");
    text(home.path(), "hlog", &["--out", out.to_str().unwrap()]);
    let told = fs::read(&out).unwrap();
    assert!(told.starts_with(b"#[Histogram log format version 1.3]\n"));
    let tags: Vec<String> = IntervalLogIterator::new(&told)
        .filter_map(|entry| match entry.unwrap() {
            LogEntry::Interval(interval) => Some(interval.tag().unwrap().as_str().to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(tags, vec![format!("{CELL}/slices/full"); 2]);
}

#[test]
fn what_cannot_be_exported_says_why_and_leaves_nothing() {
    let home = planted();
    let cases = [
        ("hlog", home.path().to_path_buf(), "latency.hlog has no histogram of a completed arm"),
        ("bencher", home.path().join("nowhere"), "a report needs trials.csv and arms.csv"),
        ("parquet", home.path().join("nowhere"), "name the directory of a run"),
    ];
    for (format, dir, reason) in cases {
        let output = export(&dir, format, &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && output.stdout.is_empty() && told.contains(reason), "{format}: {told}");
    }
    let output = export(home.path(), "bencher", &["--out", "/nowhere/at/all.json"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("/nowhere/at/all.json") && told.contains("another --out"), "{told}");
}

#[test]
fn duckdb_and_pandas_read_the_tables() {
    let name = "duckdb_and_pandas_read_the_tables";
    let home = planted();
    report::write(home.path(), &home.path().join("plots")).unwrap();
    text(home.path(), "parquet", &[]);
    let python = std::env::var_os("URING_ABLATE_PYTHON").unwrap_or("python3".into());
    let script = format!("{}/tests/data/tables.py", env!("CARGO_MANIFEST_DIR"));
    let Ok(output) = Command::new(&python).arg(script).arg(home.path()).arg(home.path().join("parquet")).output() else {
        return skip(name, &format!("{} cannot be run", python.display()));
    };
    let told = String::from_utf8_lossy(&output.stderr);
    if told.starts_with("missing: ") {
        return skip(name, &format!("a module of Python is {}", told.trim()));
    }
    assert!(output.status.success(), "{told}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let read: Vec<Vec<&str>> = lines.lines().map(|l| l.split(' ').collect()).collect();
    assert_eq!(read.len(), 12, "{lines}");
    for same in read.chunks(4) {
        let rows_of = rows(&home.path().join(format!("{}.csv", same[0][0]))).len().to_string();
        let sums: Vec<f64> = same.iter().map(|l| l[3].parse().unwrap()).collect();
        assert!(same.iter().all(|l| l[0] == same[0][0] && l[2] == rows_of), "{same:?}");
        assert!(sums[0] > 0.0 && sums.iter().all(|s| (s / sums[0] - 1.0).abs() < 1e-9), "{same:?}");
    }
}
