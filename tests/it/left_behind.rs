//! What a kill leaves is cleared away by the next start, and nothing else is; where there are no locks that is said with what helps.

use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, experiment, skip};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use uring_ablate::nightly::row::{NightRow, SeriesRow};
use uring_ablate::nightly::store::History;

/// The binary under strace, which does something to its system calls; `None` where there is no strace.
fn injected(injection: &str, calls: &str, args: &[&str]) -> Option<Output> {
    let trace = format!("trace={calls}");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", &trace, "-e", injection, env!("CARGO_BIN_EXE_uring-ablate")]);
    command.args(args).output().ok()
}

/// Hidden files in a directory.
fn hidden(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('.')).collect()
}

#[test]
fn a_file_that_was_to_replace_another_is_gone_after_the_next_start() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, ""));
    let (file, out) = (bench.file.display().to_string(), bench.out());
    let place = out.display().to_string();
    let arguments = ["run", &file, "--quiet", "--out", &place];
    // The seventh is plan.csv: behind those that begin a run.
    let calls = "rename,renameat,renameat2";
    let killed = injected(&format!("inject={calls}:signal=SIGKILL:when=7"), calls, &arguments);
    let Some(killed) = killed else { return skip("a_file_that_was_to_replace_another", "strace is not installed") };
    assert!(!killed.status.success() && !out.join("plan.csv").exists(), "{killed:?}");
    assert_eq!(hidden(&out).len(), 1, "killed at the wrong moment");
    let strangers = [".uring-ablate-notes.tmp", ".tmpAbCdEf", ".gitignore"];
    strangers.iter().for_each(|name| fs::write(out.join(name), "").unwrap());
    let resumed = bench.run(&["--quiet", "--resume"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", bench.verdict(&resumed));
    let mut left = hidden(&out);
    left.sort();
    assert_eq!(left, [".gitignore", ".tmpAbCdEf", ".uring-ablate-notes.tmp"], "what is not ours stays, and nothing else");
    // A report that is killed leaves one, too; the next report clears it away.
    let killed = injected(&format!("inject={calls}:signal=SIGKILL:when=3"), calls, &["report", &place, "--quiet"]).unwrap();
    assert!(!killed.status.success());
    assert_eq!(hidden(&out.join("plots")).len(), 1);
    assert!(ablate().args(["report", &place, "--quiet"]).status().unwrap().success());
    assert!(hidden(&out.join("plots")).is_empty());
}

#[test]
fn a_night_that_was_not_finished_is_cleared_away_unless_it_holds_what_is_not_ours() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, ""));
    let history = bench.dir.path().join("history");
    let [counted, unfinished, empty, strangers] =
        ["20260101T030000Z-host", "20260102T030000Z-host", "20260103T030000Z-host", "20260104T030000Z-host"];
    let row = NightRow { night: counted.into(), ..NightRow::example() };
    History::open(&history).unwrap().commit(row, &[SeriesRow::example()]).unwrap();
    for name in [counted, unfinished, empty, strangers, "mine"] {
        fs::create_dir(history.join(name)).unwrap();
        if name != empty {
            fs::write(history.join(name).join("rounds.csv"), "run,round\n").unwrap();
        }
    }
    fs::write(history.join(strangers).join("thesis.tex"), "").unwrap();
    for name in [unfinished, counted] {
        fs::write(history.join(name).join(".uring-ablate-1-1.tmp"), "").unwrap();
    }
    // It ends for a reason of its own once the history is open.
    let nightly = || {
        let mut command = ablate();
        command.arg("nightly").arg(&bench.file).arg("--history").arg(&history).args(["--candidate", "/nonexistent"]);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let said = nightly();
    let there = |name: &str| history.join(name).exists();
    assert_eq!([counted, unfinished, empty, strangers, "mine"].map(there), [true, false, false, true, true], "{said}");
    assert!(said.contains(&format!("removed {}: ", history.join(unfinished).display())), "{said}");
    assert!(said.contains(&format!(
        "{}: a night that was not finished stays, as it holds \"thesis.tex\"",
        history.join(strangers).display()
    )));
    assert!(hidden(&history.join(counted)).is_empty(), "killed between its line and its files");
    assert!(!nightly().contains("removed "), "once is enough");
}

#[test]
fn where_there_are_no_locks_the_remedy_is_said() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, ""));
    let (file, out) = (bench.file.display().to_string(), bench.out().display().to_string());
    for errno in ["ENOLCK", "EOPNOTSUPP", "EBADF"] {
        let injection = format!("inject=flock:error={errno}");
        for arguments in [["run", &file, "--quiet", "--out", &out], ["nightly", &file, "--quiet", "--history", &out]] {
            let Some(output) = injected(&injection, "flock", &arguments) else {
                return skip("where_there_are_no_locks_the_remedy_is_said", "strace is not installed");
            };
            let error = String::from_utf8_lossy(&output.stderr);
            let remedy =
                error.contains(&format!("cannot lock {out}")) && error.contains("name a directory on a local file system");
            assert!(output.status.code() == Some(2) && remedy, "{errno}: {error}");
        }
    }
}

#[test]
fn control_groups_of_runs_that_are_gone_are_removed_by_the_next() {
    let name = "control_groups_of_runs_that_are_gone_are_removed_by_the_next";
    let Ok(home) = uring_ablate::control_group::home() else { return skip(name, "no cgroup v2 file system is mounted") };
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let (left, mine) =
        (home.join(format!("uring-ablate-{}-0", gone.id())), home.join(format!("uring-ablate-{}-0", std::process::id())));
    if fs::create_dir(&left).is_err() {
        return skip(name, "control groups cannot be made here");
    }
    fs::create_dir(&mine).unwrap();
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, ""));
    let output = bench.run(&["--quiet"]);
    let found = (left.exists(), mine.exists());
    let _ = (fs::remove_dir(&left), fs::remove_dir(&mine));
    assert!(output.status.success(), "{}", bench.verdict(&output));
    assert_eq!(found, (false, true), "that of a process which lives stays");
}
