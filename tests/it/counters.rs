//! Counts: what a request makes the kernel do, checked against what the kernel says elsewhere.

use crate::support::{Bench, LoopDevice, READS, SMALL_TARGET, ablate, experiment, root, rows, skip};
use std::path::Path;
use std::process::Command;
use uring_ablate::perf::counters::{Counters, Counts, columns};

fn bench(args: &[&str]) -> serde_json::Value {
    let output = ablate().args(["bench", "--counters", "--json", "--runtime", "300ms"]).args(args).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn figure(row: &serde_json::Value, column: &str) -> Option<f64> {
    row[column].as_f64()
}

/// Read requests that the device completed, and 512-byte sectors, since its making.
fn device_reads(device: &str) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/sys/block/{}/stat", device.trim_start_matches("/dev/"))).unwrap();
    let fields: Vec<f64> = text.split_whitespace().map(|f| f.parse().unwrap()).collect();
    (fields[0], fields[2])
}

#[test]
fn block_requests_agree_with_the_devices_statistics() {
    let text = "block_requests_agree_with_the_devices_statistics";
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let Some(device) = LoopDevice::new(dir.path(), 64 << 20, "512") else {
        return skip(text, "losetup or the right to use it is missing");
    };
    for rw in ["read", "randread"] {
        let before = device_reads(&device.0);
        let row = bench(&["--filename", &device.0, "--rw", rw, "--iodepth", "64"]);
        let after = device_reads(&device.0);
        let Some(counted) = figure(&row, "block_requests_per_op") else {
            return skip(text, "tracepoints of the block layer cannot be counted here");
        };
        let told = (after.0 - before.0) / ((after.1 - before.1) / 8.0);
        assert!((counted / told - 1.0).abs() < 0.02, "{rw}: counted {counted} requests an operation, the device {told}");
        let bios = figure(&row, "block_bios_per_op").unwrap();
        assert!((bios - 1.0).abs() < 0.01, "{rw}: {bios} bios an operation");
    }
}

#[test]
fn enters_and_punts_agree_with_perf_stat() {
    let text = "enters_and_punts_agree_with_perf_stat";
    let perf = Command::new("perf").arg("--version").output();
    if !root() || !perf.is_ok_and(|o| o.status.success()) || !Path::new("/sys/kernel/tracing/events").exists() {
        return skip(text, "perf is not installed, tracefs is not mounted, or this is not root");
    }
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    std::fs::write(file.path(), vec![1; 16 << 20]).unwrap();
    let path = file.path().to_str().unwrap();
    let events = ["io_uring:io_uring_submit_req", "io_uring:io_uring_queue_async_work", "syscalls:sys_enter_io_uring_enter"];
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x,", "-e", &events.join(","), "--"]).arg(ablate().get_program());
    perf.args(["bench", "--counters", "--json", "--runtime", "500ms", "--filename", path, "--allow-iowq", "--iodepth", "16"]);
    let output = perf.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let count = |event: &str| {
        let line = said.lines().find(|l| l.contains(event)).unwrap_or_else(|| panic!("{said}"));
        line.split(',').next().unwrap().parse::<f64>().unwrap_or_else(|_| panic!("{said}"))
    };
    let [requests, punts, enters] = events.map(count);
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let Some(counted) = figure(&row, "iowq_punts_per_op") else {
        return skip(text, "tracepoints of io_uring cannot be counted here");
    };
    let apart = |ours: f64, theirs: f64| (ours / theirs - 1.0).abs();
    assert!(apart(counted, punts / requests) < 0.01, "{counted} punts an operation, perf stat {}", punts / requests);
    let syscalls = figure(&row, "syscalls_per_op").unwrap();
    let entered = figure(&row, "enters_per_op").unwrap();
    assert!(apart(syscalls, entered) < 0.01, "{syscalls} system calls and {entered} enters an operation");
    // The process does more than its measured slice: it fills and drains.
    assert!(apart(entered, enters / requests) < 0.03, "{entered} enters an operation, perf stat {}", enters / requests);
}

#[test]
fn counting_rounds_fill_the_columns_and_no_other_round_does() {
    let extra = "[fixed]\nqueue_refill = \"eager\"\ntaskrun = \"defer\"\n[counters]\nrounds = 2";
    let text = experiment(SMALL_TARGET, READS, "toggles = [\"batch_submit\", \"fixed_files\"]", extra);
    let bench = Bench::new(&text.replace("rounds = 6\nround", "rounds = 7\nround"));
    let output = bench.run(&["--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    let arms = rows(&bench.out().join("arms.csv"));
    let manifest = std::fs::read_to_string(bench.out().join("manifest.json")).unwrap();
    if manifest.contains("\"syscalls_per_op\"") {
        return skip("counting_rounds_fill_the_columns_and_no_other_round_does", "tracepoints cannot be counted here");
    }
    let (counted, others): (Vec<_>, Vec<_>) = arms.iter().partition(|r| r["kind"] == "counts");
    assert!(others.iter().all(|r| r["syscalls_per_op"].is_empty() && r["context_switches_per_op"].is_empty()));
    let counted_rounds: std::collections::BTreeSet<_> = counted.iter().map(|r| &r["round"]).collect();
    assert_eq!(counted_rounds.len(), 2);
    let trials = rows(&bench.out().join("trials.csv"));
    assert!(trials.iter().all(|t| !counted_rounds.contains(&t["round"])), "their slices are no throughput");
    for row in &counted {
        let [syscalls, enters] = ["syscalls_per_op", "enters_per_op"].map(|c| row[c].parse::<f64>().unwrap());
        // The spin control reads its CPU time by further system calls.
        let spins = row["treatment"] == "spin" && syscalls > enters;
        let agree = (syscalls / enters - 1.0).abs() < 0.01;
        assert!(spins || agree, "{}: {syscalls} system calls, {enters} enters", row["treatment"]);
        assert_eq!(row["iowq_punts_per_op"], "0", "{}", row["treatment"]);
        assert!(row["cycles_per_op"].is_empty() == manifest.contains("\"cycles_per_op\""), "empty, or counted");
    }
    let report = std::fs::read_to_string(bench.out().join("report.md")).unwrap();
    assert!(report.contains("What a request makes the kernel do: means over 2 rounds"), "{report}");
}

#[test]
fn system_calls_of_a_stretch_are_counted_exactly() {
    let mut counters = Counters::open(&[]);
    let place = columns().position(|c| c == "syscalls_per_op").unwrap();
    if let Some(missing) = counters.missing.iter().find(|m| m.column == "syscalls_per_op") {
        return skip("system_calls_of_a_stretch_are_counted_exactly", &missing.reason);
    }
    let mut counts = Counts::default();
    for _ in 0..2 {
        counters.begin();
        (0..500).for_each(|_| _ = rustix::process::getppid());
        counters.end(&mut counts);
    }
    let counts = counters.finish(vec![counts]).remove(0).per_op(1000);
    assert_eq!(counts[place], Some(1.0));
    assert!(counts[0].unwrap() > 0.0, "the thread ran");
}
