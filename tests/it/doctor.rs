//! `uring-ablate doctor`: what it says of a machine and a target is what then happens.

use crate::support::{Bench, READS, ablate, as_nobody, experiment, root, skip};
use std::collections::BTreeSet;

fn findings(output: &std::process::Output) -> Vec<serde_json::Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The toggles that a doctor or a plan leaves out.
fn lacking(findings: &[serde_json::Value]) -> BTreeSet<String> {
    let what = findings.iter().filter(|f| f["weight"] == "lacks").filter_map(|f| f["what"].as_str()?.strip_prefix("toggle "));
    what.map(String::from).collect()
}

#[test]
fn what_it_predicts_is_what_a_plan_drops() {
    let output = ablate().args(["doctor", "--json"]).output().unwrap();
    assert!(output.status.success());
    let predicted = lacking(&findings(&output));
    for spec in &uring_ablate::toggle::SPECS {
        let text =
            experiment("kind = \"auto\"\nsize = \"16MiB\"", READS, &format!("toggles = [\"{}\"]\nstrict = true", spec.key), "");
        let bench = Bench::new(&text);
        let plan = ablate().arg("plan").arg(&bench.file).arg("--pilot").output().unwrap();
        assert_eq!(!plan.status.success(), predicted.contains(spec.key), "{}: {}", spec.key, bench.verdict(&plan));
    }
}

#[test]
fn a_file_is_named_with_its_file_system_and_an_absent_one_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![1; 1 << 20]).unwrap();
    let output = ablate().arg("doctor").arg(file.path()).arg("--json").output().unwrap();
    let found = findings(&output);
    assert!(found.iter().any(|f| f["what"] == "file system" && f["found"].as_str().unwrap().contains('(')), "{found:?}");
    assert!(std::fs::read(file.path()).unwrap().iter().all(|b| *b == 1), "nothing was written");
    let output = ablate().args(["doctor", "/nonexistent/file"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("/nonexistent/file"), "{said}");
}

#[test]
fn a_target_below_a_block_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [1; 100]).unwrap();
    let output = ablate().arg("doctor").arg(file.path()).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(findings(&output).iter().any(|f| f["weight"] == "prevents" && f["found"].as_str().unwrap().contains("4096")));
}

#[test]
fn a_target_that_punts_is_told() {
    let Ok(file) = tempfile::NamedTempFile::new_in("/dev/shm") else {
        return skip("a_target_that_punts_is_told", "/dev/shm is not writable");
    };
    std::fs::write(file.path(), vec![1; 1 << 20]).unwrap();
    let found = findings(&ablate().arg("doctor").arg(file.path()).arg("--json").output().unwrap());
    assert!(found.iter().any(|f| f["what"] == "inline requests" && f["weight"] == "disturbs"), "{found:?}");
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    if !root() {
        return skip("an_ordinary_user_is_told_what_is_missing", "changing the user needs root");
    }
    let output = as_nobody(&["doctor", "--json"]);
    let found = findings(&output);
    let weight = |what: &str| found.iter().find(|f| f["what"] == what).map(|f| f["weight"].as_str().unwrap().to_string());
    assert_eq!(weight("locked memory").as_deref(), Some("lacks"));
    let below = |name: &str, limit: i32| {
        let level = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        level.is_ok_and(|l| l.trim().parse::<i32>().is_ok_and(|l| l < limit))
    };
    let open = below("perf_event_paranoid", 2) && below("kptr_restrict", 1);
    assert_eq!(weight("profiles").as_deref(), Some(if open { "fine" } else { "lacks" }));
}
