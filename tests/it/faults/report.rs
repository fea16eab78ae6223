//! The report of a finished run.

use super::strace::End;
use super::{Scenario, run};
use crate::support::ablate;
use std::fs;
use std::path::Path;
use std::process::Command;

pub struct Report;

/// What a report is made of and must leave alone.
const ROWS: [&str; 6] = ["manifest.json", "plan.csv", "rounds.csv", "arms.csv", "trials.csv", "latency.hlog"];
/// What it makes.
const MADE: [&str; 2] = ["effects.csv", "report.md"];

impl Scenario for Report {
    fn prepare(&self, dir: &Path) {
        fs::write(dir.join("test.toml"), run::text()).unwrap();
        let out = dir.join("out");
        let output = ablate().arg("run").arg(dir.join("test.toml")).arg("--out").arg(&out).arg("--quiet").output().unwrap();
        run::complete(&out).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        for file in ROWS.iter().chain(&MADE) {
            fs::create_dir_all(dir.join("clean")).unwrap();
            fs::copy(out.join(file), dir.join("clean").join(file)).unwrap();
        }
        MADE.iter().for_each(|file| fs::remove_file(out.join(file)).unwrap());
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = ablate();
        command.arg("report").arg(dir.join("out"));
        command
    }

    fn check(&self, dir: &Path, end: &End) -> Result<(), String> {
        let same = |file: &&&str| fs::read(dir.join("out").join(file)).ok() == fs::read(dir.join("clean").join(file)).ok();
        let all_same =
            |files: &[&str]| files.iter().find(|file| !same(file)).map_or(Ok(()), |file| Err(format!("{file} differs")));
        all_same(&ROWS)?;
        if end.code == Some(0) {
            all_same(&MADE)?;
        }
        let again = self.command(dir).output().unwrap();
        if again.status.code() != Some(0) {
            return Err(format!("it cannot be made again: {again:?}"));
        }
        all_same(&ROWS)?;
        all_same(&MADE)
    }
}

#[test]
fn a_latency_log_that_cannot_be_read_is_not_taken_for_none() {
    let home = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz/run");
    for file in ROWS {
        fs::copy(from.join(file), home.path().join(file)).unwrap();
    }
    assert!(uring_ablate::analysis::Model::load(home.path()).is_ok());
    fs::remove_file(home.path().join("latency.hlog")).unwrap();
    fs::create_dir(home.path().join("latency.hlog")).unwrap();
    let error = uring_ablate::analysis::Model::load(home.path()).err().expect("a directory is no log").to_string();
    assert!(error.contains("latency.hlog"), "{error}");
}
