//! `uring-ablate doctor`: what it says of a machine and a target is what then happens.

use crate::support::{Bench, READS, ablate, as_nobody, experiment, root, skip};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};
use uring_ablate::control_group::membership::{Controller, Version, View};

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

/// A pair of groups of the hierarchy that limits CPU time, one in the other; removed when dropped.
struct Nested(PathBuf);

impl Nested {
    /// The outer one may use half a CPU, the inner one has no limit of its own.
    fn make() -> io::Result<Nested> {
        let groups = View::of_this_process().groups(Controller::Cpu);
        let lineage = groups.lineages.first().ok_or_else(|| io::Error::other("no control groups are mounted"))?;
        let made = Nested(lineage.dirs[0].join(format!("ablate-test-{}", std::process::id())));
        fs::create_dir_all(made.0.join("inner"))?;
        match lineage.version {
            Version::One => fs::write(made.0.join("cpu.cfs_quota_us"), "50000")?,
            Version::Two => fs::write(made.0.join("cpu.max"), "50000 100000")?,
        }
        Ok(made)
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let _ = (fs::remove_dir(self.0.join("inner")), fs::remove_dir(&self.0));
    }
}

#[test]
fn the_quota_of_a_group_above_is_found() {
    let name = "the_quota_of_a_group_above_is_found";
    let groups = match Nested::make() {
        Ok(groups) => groups,
        Err(error) => return skip(name, &format!("no group with a CPU quota can be made here: {error}")),
    };
    let enter = format!("echo $$ >{}/inner/cgroup.procs && exec \"$0\" doctor --json", groups.0.display());
    let output = Command::new("sh").arg("-c").arg(enter).arg(env!("CARGO_BIN_EXE_uring-ablate")).output().unwrap();
    let found = findings(&output);
    let quota = found.iter().find(|f| f["what"] == "CPU quota of the control groups").unwrap();
    let said = quota["found"].as_str().unwrap();
    assert!(said.starts_with("0.50 CPUs (50 ms in every 100 ms)"), "{said}");
    assert!(said.contains(&groups.0.display().to_string()), "{said}");
    // Of a machine with one CPU or more half of one can be used up.
    assert_eq!(quota["weight"], "disturbs");
}
