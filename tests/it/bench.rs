//! `uring-ablate bench`, as a user of fio would type it.

use crate::support::ablate;
use std::process::Output;

fn bench(args: &[&str]) -> Output {
    let runtime = ["--runtime", "200ms", "--size", "16m"];
    ablate().arg("bench").args(args).args(runtime).output().unwrap()
}

fn json(args: &[&str]) -> serde_json::Value {
    let output = bench(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn flags_of_fio_and_of_toggles_are_understood() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; 16 << 20]).unwrap();
    let path = file.path().to_str().unwrap();
    let row = json(&[
        "--rw",
        "randread",
        "--bs",
        "4k",
        "--iodepth",
        "64",
        "--filename",
        path,
        "--fixed-buffers",
        "off",
        "--allow-iowq",
    ]);
    assert_eq!(
        (&row["eff_fixed_buffers"], &row["eff_fixed_files"], &row["queue_depth"]),
        (&"off".into(), &"on".into(), &64.into())
    );
    assert!(row["iops"].as_f64().unwrap() > 0.0 && row["lat_ns_p99"].as_u64().unwrap() > 0, "{row}");
    assert_eq!(row["outcome"], "completed");
    let second = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(second.path(), vec![7; 16 << 20]).unwrap();
    let other = second.path().to_str().unwrap();
    let both = json(&["--rw", "read", "--filename", &format!("{path}:{other}"), "--allow-iowq"]);
    assert_eq!((&both["outcome"], &both["target"]), (&"completed".into(), &format!("{path} + {other}").into()));
}

#[test]
fn a_fixed_rate_is_kept_and_a_nop_moves_nothing() {
    let paced = json(&["--rw", "randread", "--rate-iops", "2000", "--allow-iowq"]);
    let rate = paced["iops"].as_f64().unwrap();
    assert!((1800.0..2200.0).contains(&rate), "2000 a second were asked for, {rate} came");
    let nop = json(&["--rw", "nop"]);
    assert_eq!(nop["job_fairness"].as_f64(), Some(1.0));
    assert!(nop["bytes"] == 0 && nop["ops"].as_u64().unwrap() > 0, "{nop}");
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; 16 << 20]).unwrap();
    let path = file.path().to_str().unwrap();
    let twice = format!("{path}:{path}");
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--filename", &twice], 2, "the same target"),
        (&["--rw", "reed"], 2, "kinds are: read, write"),
        (&["--iodepth", "100", "--pow2-mask", "on"], 2, "power-of-two"),
        (&["--sqpoll", "on", "--taskrun", "defer"], 2, "io_uring_setup(2)"),
        (&["--batch-submit", "0"], 2, "batch_submit"),
        (&["--filename", "/nonexistent"], 2, "/nonexistent"),
        (&["--rw", "randwrite", "--filename", path], 5, "--allow-destructive"),
    ];
    for (args, code, words) in cases {
        let output = bench(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(words), "{args:?}: {:?} {said}", output.status);
    }
    assert!(std::fs::read(file.path()).unwrap().iter().all(|byte| *byte == 7), "nothing was written");
}

#[test]
fn the_loop_runs_without_a_kernel() {
    let said = |flags: &[&str]| {
        let output = ablate().args(["simulate", "--requests", "3200"]).args(flags).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // One enter for each request, and one for each batch of 32; the queue is full at the end.
    assert!(said(&[]).starts_with("3200 requests, 3328 enters"), "{}", said(&[]));
    assert!(said(&["--all-on"]).starts_with("3200 requests, 104 enters"), "{}", said(&["--all-on"]));
}
