//! fio beside the engine: as it should be, and as it should not.

use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, executable, experiment, processes, root, rows, skip};
use insta::assert_snapshot;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn fio_is_there(test: &str) -> bool {
    let there = Command::new("fio").arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        skip(test, "fio is not installed");
    }
    there
}

fn with_peers(extra: &str) -> Bench {
    let peers = format!("[peers]\nfio = [\"registered\"]\nround_time = \"100ms\"\nwhole_time = \"1s\"\n{extra}");
    Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, &peers))
}

/// A program in place of fio: `--version` and `--parse-only` answer as fio does, anything else runs `body`.
fn fake_fio(dir: &Path, parse: &str, body: &str) -> PathBuf {
    let path = dir.join("fakefio");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*--version*) echo fio-3.33;;\n*--parse-only*) cat >/dev/null; {parse};;\n*) {body};;\nesac\n"
    );
    executable(&path, &script);
    path
}

/// Outcomes and reasons of fio's rows of a run, without numbers that change.
fn fio_rows(bench: &Bench) -> String {
    let rows = rows(&bench.out().join("arms.csv"));
    let mine = rows.iter().filter(|r| r["engine"] == "fio");
    let lines: BTreeSet<String> = mine.map(|r| format!("{} {}: {}", r["kind"], r["outcome"], r["reason"])).collect();
    lines.into_iter().collect::<Vec<_>>().join("\n").replace(bench.dir.path().to_str().unwrap(), "DIR")
}

/// Every arm of ours completed although the peer did not.
fn ours_ran(bench: &Bench) -> bool {
    rows(&bench.out().join("arms.csv")).iter().filter(|r| r["kind"] == "slices").all(|r| r["outcome"] == "completed")
}

#[test]
fn fio_and_the_engine_take_turns_and_are_counted_alike() {
    if !fio_is_there("fio_and_the_engine_take_turns_and_are_counted_alike") {
        return;
    }
    let bench = with_peers("");
    let output = bench.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    let arms = rows(&bench.out().join("arms.csv"));
    for treatment in ["full", "fio:registered"] {
        let mut of = arms.iter().filter(|r| r["kind"] == "peers" && r["treatment"] == treatment);
        assert!(of.clone().count() == 6 && of.all(|r| r["outcome"] == "completed" && !r["iops"].is_empty()), "{treatment}");
    }
    let whole = arms.iter().find(|r| r["kind"] == "whole").unwrap();
    assert!(whole["route"] == "proved" || !root(), "its own figures are those that the kernel counted: {whole:?}");
    assert!(!whole["lat_ns_p99"].is_empty() && !whole["cpu_user_ns_per_op"].is_empty());
    let manifest = std::fs::read_to_string(bench.out().join("manifest.json")).unwrap();
    assert!(manifest.contains("fio-") && manifest.contains("registerfiles=1"), "version and job are recorded");
    let report = std::fs::read_to_string(bench.out().join("report.md")).unwrap();
    assert!(report.contains("| fio:registered |"));
}

#[test]
fn a_missing_fio_leaves_its_treatments_unsupported() {
    let bench = with_peers("fio_path = \"/nonexistent/fio\"");
    let output = bench.run(&["--quiet", "--trust", bench.file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    assert!(ours_ran(&bench));
    assert_snapshot!(fio_rows(&bench), @"
    peers unsupported: /nonexistent/fio was not found; install it (apt-get install fio) or name it with [peers] fio_path
    whole unsupported: /nonexistent/fio was not found; install it (apt-get install fio) or name it with [peers] fio_path
    ");
}

#[test]
fn a_fio_too_old_for_an_option_is_named() {
    let bench = with_peers("");
    let fio = fake_fio(bench.dir.path(), "echo 'Bad option <registerfiles=1>' >&2; exit 1", "exit 1");
    let output = bench.run(&["--quiet", "--set", &format!("peers.fio_path={}", fio.display())]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    assert!(ours_ran(&bench));
    assert_snapshot!(fio_rows(&bench), @"
    peers unsupported: DIR/fakefio (fio-3.33) does not know the option registerfiles; install a newer fio (apt-get install fio, or https://github.com/axboe/fio) or leave this configuration out of [peers] fio
    whole unsupported: DIR/fakefio (fio-3.33) does not know the option registerfiles; install a newer fio (apt-get install fio, or https://github.com/axboe/fio) or leave this configuration out of [peers] fio
    ");
}

#[test]
fn a_dying_fio_fails_alone() {
    let bench = with_peers("");
    let fio = fake_fio(bench.dir.path(), "exit 0", "cat >/dev/null; echo 'fio: engine caught fire' >&2; exit 7");
    let output = bench.run(&["--quiet", "--set", &format!("peers.fio_path={}", fio.display())]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    assert!(ours_ran(&bench));
    assert_snapshot!(fio_rows(&bench), @"
    peers failed: fio:registered ended before it moved anything (exit status: 7): fio: engine caught fire
    whole failed: DIR/fakefio ended with exit status: 7: fio: engine caught fire
    ");
}

#[test]
fn a_fio_whose_bytes_the_kernel_did_not_count_is_invalid() {
    if !root() {
        return skip("a_fio_whose_bytes_the_kernel_did_not_count_is_invalid", "loop devices need root");
    }
    let bench = with_peers("");
    let clat = "\"clat_ns\":{\"mean\":9.5,\"max\":20,\"N\":2}";
    let read = format!("{{\"io_bytes\":1073741824,\"total_ios\":262144,\"runtime\":1000,{clat}}}");
    let json = format!("{{\"jobs\":[{{\"read\":{read},\"job_runtime\":1000,\"usr_cpu\":10.0,\"sys_cpu\":50.0}}]}}");
    let fio = fake_fio(bench.dir.path(), "exit 0", &format!("cat >/dev/null; echo '{json}'"));
    let path = format!("peers.fio_path={}", fio.display());
    let output = bench.run(&["--quiet", "--set", &path, "--set", "design.round_time=1s"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    let arms = rows(&bench.out().join("arms.csv"));
    let whole = arms.iter().find(|arm| arm["kind"] == "whole").unwrap();
    assert_eq!((whole["outcome"].as_str(), whole["route"].as_str()), ("invalid", "contradicted"), "{whole:?}");
    assert!(whole["reason"].starts_with("100 % of the bytes did not come from or go to the device"), "{whole:?}");
}

#[test]
fn a_hanging_fio_is_ended_and_nothing_is_left() {
    let bench = with_peers("");
    let marker = bench.dir.path().join("fakefio").display().to_string();
    let fio = fake_fio(bench.dir.path(), "exit 0", "exec sleep 98765");
    let mut run = ablate();
    run.arg("run").arg(&bench.file).arg("--out").arg(bench.out()).args([
        "--quiet",
        "--set",
        &format!("peers.fio_path={}", fio.display()),
    ]);
    let mut run = run.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(100);
    let timed_out = || std::fs::read_to_string(bench.out().join("arms.csv")).is_ok_and(|t| t.contains("timed_out"));
    while !timed_out() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(fio_rows(&bench).contains("peers timed_out: fio:registered moved nothing within"), "{}", fio_rows(&bench));
    // Killed in the middle of another round, it takes the hanging peer along.
    run.kill().unwrap();
    run.wait().unwrap();
    let gone = Instant::now() + Duration::from_secs(5);
    let left = || processes().filter(|p| p.line.contains("sleep 98765") || p.line.contains(&marker)).collect::<Vec<_>>();
    while !left().is_empty() && Instant::now() < gone {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(left().is_empty(), "{:?}", left());
}

#[test]
fn the_job_of_a_cell_is_printed_as_it_runs() {
    let target = "kind = \"file\"\npath = \"/bin/sh\"";
    let bench = Bench::new(&experiment(target, READS, ONE_TOGGLE, ""));
    let output = ablate().arg("plan").arg(&bench.file).args(["--fio-job", "read-4k-qd16-j1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let sections: Vec<&str> = text.lines().filter(|l| l.starts_with('[')).collect();
    assert_eq!(sections, ["[default]", "[registered]", "[matched]", "[tuned]"]);
    let size = std::fs::metadata("/bin/sh").unwrap().len() / 4096 * 4096;
    for line in ["filename=/bin/sh", "rw=read", "bs=4096", "iodepth=16", "runtime=2", &format!("size={size}")] {
        assert_eq!(text.lines().filter(|l| *l == line).count(), 4, "{line}: {text}");
    }
    let wrong = ablate().arg("plan").arg(&bench.file).args(["--fio-job", "nonsense"]).output().unwrap();
    assert_snapshot!(bench.verdict(&wrong), @r#"
    exit 2
    uring-ablate: --fio-job "nonsense" is not a cell of this experiment; cells are: read-4k-qd16-j1
    "#);
}
