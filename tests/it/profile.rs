//! Profiles: time is charged to its causes, and what cannot be profiled is said.

use crate::support::{Bench, READS, SMALL_TARGET, as_nobody, experiment, root, rows, skip};
use std::collections::BTreeMap;

const TOGGLES: &str = "toggles = [\"fixed_buffers\", \"fixed_files\"]";
const PROFILE: &str = "[fixed]\nqueue_refill = \"eager\"\ntaskrun = \"defer\"\nbatch_submit = 4\nregistered_ring = \"on\"\n[profile]\nrounds = 6\nfrequency = 9973";

fn profiled() -> Bench {
    let text = experiment(SMALL_TARGET, READS, TOGGLES, PROFILE).replace("rounds = 6\nround", "rounds = 7\nround");
    Bench::new(&text.replace("250ms", "500ms").replace("iodepth = 16", "iodepth = 64"))
}

fn unavailable(bench: &Bench) -> Option<String> {
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(bench.out().join("manifest.json")).unwrap()).unwrap();
    let entries = manifest["unavailable"].as_array().unwrap();
    let found = entries.iter().find(|u| u["what"] == "overhead.csv")?;
    Some(found["reason"].as_str().unwrap().to_string())
}

#[test]
fn causes_of_a_run_are_written_and_go_away_with_their_toggles() {
    let bench = profiled();
    let output = bench.run(&["--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    if let Some(reason) = unavailable(&bench) {
        return skip("causes_of_a_run_are_written_and_go_away_with_their_toggles", &reason);
    }
    let mut ns: BTreeMap<(String, String), f64> = BTreeMap::new();
    let mut shares: BTreeMap<(String, String), f64> = BTreeMap::new();
    for row in rows(&bench.out().join("overhead.csv")).iter().filter(|r| r["side"] == "own") {
        *ns.entry((row["treatment"].clone(), row["category"].clone())).or_default() += row["ns_per_op"].parse::<f64>().unwrap();
        let share: f64 = row["share"].parse().unwrap();
        *shares.entry((row["round"].clone(), row["treatment"].clone())).or_default() += share;
    }
    assert!(shares.len() >= 6 * 6, "six rounds of baseline, full, two controls and two toggles at least");
    assert!(shares.values().all(|sum| (sum - 1.0).abs() < 1e-9), "an arm's own shares sum to one");
    let of = |treatment: &str, category: &str| ns.get(&(treatment.into(), category.into())).copied().unwrap_or(0.0);
    for (toggle, category) in [("fixed_files", "file_reference"), ("fixed_buffers", "page_pinning")] {
        let (without, with) = (of(&format!("without:{toggle}"), category), of("full", category));
        assert!(with < without / 2.0, "{category}: {without} ns without {toggle}, {with} with");
    }
    for category in ["syscall", "engine", "ring_submission", "statistics", "offset_pattern", "clock_read"] {
        assert!(of("baseline", category) > 0.0, "{category}: {ns:?}");
    }
    let report = std::fs::read_to_string(bench.out().join("report.md")).unwrap();
    assert!(report.contains("Where the time goes, from 6 rounds") && report.contains("| page_pinning |"), "{report}");
    let profiled_rounds: Vec<_> = rows(&bench.out().join("rounds.csv")).into_iter().filter(|r| r["kind"] == "profile").collect();
    let trials = rows(&bench.out().join("trials.csv"));
    assert!(profiled_rounds.len() == 6 && trials.iter().all(|t| profiled_rounds.iter().all(|r| r["round"] != t["round"])));
}

#[test]
fn a_submitting_kernel_thread_is_told_from_the_program() {
    let text = "a_submitting_kernel_thread_is_told_from_the_program";
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, "toggles = [\"sqpoll\"]", "[profile]\nrounds = 6\nfrequency = 9973"));
    let output = bench.run(&["--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    if let Some(reason) = unavailable(&bench) {
        return skip(text, &reason);
    }
    let mut ticks: BTreeMap<(String, String), u64> = BTreeMap::new();
    for row in rows(&bench.out().join("overhead.csv")).iter().filter(|r| r["side"] == "own") {
        *ticks.entry((row["treatment"].clone(), row["context"].clone())).or_default() += row["samples"].parse::<u64>().unwrap();
    }
    let of = |treatment: &str, context: &str| ticks.get(&(treatment.into(), context.into())).copied().unwrap_or(0);
    // On a machine that is held back, another arm's thread may not yet have gone to sleep when a slice begins.
    assert!(of("full", "sqpoll") > 0 && of("full", "submit") * 10 < of("full", "sqpoll"), "{ticks:?}");
    assert!(of("baseline", "submit") > 0 && of("baseline", "sqpoll") * 10 < of("baseline", "submit"), "{ticks:?}");
}

#[test]
fn where_profiles_are_forbidden_the_rest_still_runs() {
    let text = "where_profiles_are_forbidden_the_rest_still_runs";
    let asked = std::fs::read_to_string(&profiled().file).unwrap();
    let bench = Bench::new(&(asked + "\n[counters]\nrounds = 2\n"));
    if !root() {
        return skip(text, "changing the user needs root");
    }
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    if level.trim().parse::<i32>().is_ok_and(|level| level < 2) {
        return skip(text, "kernel.perf_event_paranoid lets everyone profile the kernel here");
    }
    std::fs::set_permissions(bench.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let output = as_nobody(&["run", bench.file.to_str().unwrap(), "--out", bench.out().to_str().unwrap(), "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    let reason = unavailable(&bench).expect("the manifest says why");
    assert!(reason.contains("kernel.perf_event_paranoid"), "{reason}");
    assert!(rows(&bench.out().join("overhead.csv")).is_empty());
    let manifest = std::fs::read_to_string(bench.out().join("manifest.json")).unwrap();
    assert!(manifest.contains("\"context_switches_per_op\"") && manifest.contains("\"block_requests_per_op\""), "{manifest}");
    assert!(rows(&bench.out().join("rounds.csv")).iter().all(|r| r["kind"] == "slices"));
    assert!(std::fs::read_to_string(bench.out().join("report.md")).unwrap().contains("Not measured: overhead.csv"));
}
