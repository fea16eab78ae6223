//! A night that finds a regression, in a history of two nights.

use super::Scenario;
use super::strace::End;
use crate::support::{ablate, executable, prints_for, prints_tps};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

pub struct Night;

impl Scenario for Night {
    fn prepare(&self, dir: &Path) {
        fs::write(dir.join("test.toml"), prints_for(12)).unwrap();
        for (name, tps) in [("good", 100_000), ("bad", 90_000)] {
            executable(&dir.join(name), &prints_tps(tps, 1000, 0));
        }
        for _ in 0..2 {
            let output = night(dir, "good").output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }

    fn command(&self, dir: &Path) -> Command {
        night(dir, "bad")
    }

    fn check(&self, dir: &Path, end: &End) -> Result<(), String> {
        intact(dir, 2)?;
        let counted = nights(dir) - 2;
        match end.code {
            Some(1) if counted != 1 => return Err(format!("it found a regression and {counted} nights were added")),
            Some(1) => told(dir)?,
            Some(0) => return Err("the regression was swallowed".into()),
            // Whether the line is on disk is not known where it cannot be flushed, which is said.
            Some(3 | 4) => {}
            _ if counted == 1 && !end.said.contains("nights.csv") => {
                return Err("the night counts and its verdict is lost".into());
            }
            _ => {}
        }
        // Of a thousand nights one or two end by the placebo's chance (code 4), which is no fault of the night before.
        let next = (0..3).map(|_| night(dir, "bad").output().unwrap()).find(|next| next.status.code() != Some(4));
        if next.as_ref().and_then(|next| next.status.code()) != Some(1) {
            return Err(format!("the next night does not go on: {next:?}"));
        }
        intact(dir, 3 + counted)
    }
}

fn night(dir: &Path, candidate: &str) -> Command {
    let mut command = ablate();
    command.arg("nightly").arg(dir.join("test.toml")).arg("--history").arg(dir.join("history"));
    command.arg("--reference").arg(dir.join("good")).arg("--candidate").arg(dir.join(candidate)).args(["--machine", "here"]);
    command
}

/// The nights that count.
pub fn nights(dir: &Path) -> usize {
    fs::read_to_string(dir.join("history/nights.csv")).map_or(0, |text| text.matches('\n').count().saturating_sub(1))
}

/// The history verifies and has at least so many nights.
pub fn intact(dir: &Path, least: usize) -> Result<(), String> {
    let output: Output = ablate().args(["history", "verify"]).arg(dir.join("history")).output().unwrap();
    match nights(dir) {
        _ if output.status.code() != Some(0) => Err(format!("the history does not verify: {output:?}")),
        found if found < least => Err(format!("{found} nights are left of {least}")),
        _ => Ok(()),
    }
}

/// Somebody who is told of a regression finds its files, or is told why not.
fn told(dir: &Path) -> Result<(), String> {
    let mut newest: Vec<_> = fs::read_dir(dir.join("history")).unwrap().map(|e| e.unwrap().path()).collect();
    newest.retain(|path| path.join("rounds.csv").exists());
    newest.sort();
    let night = fs::read_to_string(newest[newest.len() - 1].join("rounds.csv")).unwrap();
    if night.lines().count() > 12 { Ok(()) } else { Err("the rounds of the night are not there".into()) }
}
