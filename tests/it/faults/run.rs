//! A run of six short rounds.

use super::Scenario;
use super::strace::End;
use crate::support::{READS, ablate, copy_tree, experiment, root, rows};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

pub struct Run;

/// Exit codes of a run that came to its end, whatever it found.
const ENDED: [i32; 3] = [0, 3, 4];

impl Scenario for Run {
    fn prepare(&self, dir: &Path) {
        fs::write(dir.join("test.toml"), text()).unwrap();
    }

    fn command(&self, dir: &Path) -> Command {
        command(dir)
    }

    fn check(&self, dir: &Path, end: &End) -> Result<(), String> {
        let out = dir.join("out");
        let before = Kept::of(&out);
        if end.code.is_some_and(|code| ENDED.contains(&code)) {
            complete(&out)?;
            as_made_again(dir, &out)?;
        }
        let resumed = || {
            let mut command = command(dir);
            if out.join("manifest.json").exists() {
                command.arg("--resume");
            }
            command.output().unwrap()
        };
        let goes_on = |output: &Output| output.status.code().is_some_and(|code| ENDED.contains(&code));
        // On a busy machine the pilot may find a block too long for a round; then it is asked once more.
        let busy = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("longer than round_time");
        let output = Some(resumed()).filter(|output| !busy(output)).unwrap_or_else(resumed);
        if !goes_on(&output) {
            return Err(format!("it is not continued: {:?} {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        complete(&out)?;
        before.is_in(&out)
    }
}

/// The same with faults in the processes that it starts, of which each round is one: the same call fails in all of them.
pub struct Processes;

impl Scenario for Processes {
    fn prepare(&self, dir: &Path) {
        Run.prepare(dir);
    }

    fn command(&self, dir: &Path) -> Command {
        command(dir)
    }

    /// But for the loop itself, which strace would slow down beyond what a round has time for: it fails in the round by itself.
    fn follow(&self) -> Option<&'static str> {
        Some("!io_uring_enter")
    }

    fn check(&self, dir: &Path, end: &End) -> Result<(), String> {
        let told = fs::read_to_string(dir.join("out/arms.csv")).unwrap_or_default();
        if told.contains("panicked") {
            return Err(format!("a process panicked: {told}"));
        }
        Run.check(dir, end)
    }
}

/// The experiment of a run that takes a second, on a target that no fault makes another.
pub fn text() -> String {
    let kind = if root() { "loop" } else { "auto" };
    let design = "toggles = [\"batch_submit\"]\n[analysis]\ndelta = \"50%\"";
    experiment(&format!("kind = \"{kind}\"\nsize = \"8MiB\""), &READS.replace("16", "4"), design, "").replace("250ms", "100ms")
}

fn command(dir: &Path) -> Command {
    let mut command = ablate();
    command.arg("run").arg(dir.join("test.toml")).arg("--out").arg(dir.join("out"));
    command
}

/// What a run's directory promises to keep: the rounds of its journal and the rows that these speak of.
pub struct Kept {
    journal: String,
    arms: Vec<u8>,
    trials: Vec<u8>,
}

impl Kept {
    pub fn of(out: &Path) -> Kept {
        let journal = fs::read_to_string(out.join("rounds.csv")).unwrap_or_default();
        let journal = journal[..journal.rfind('\n').map_or(0, |end| end + 1)].to_string();
        let mut reader = csv::Reader::from_reader(journal.as_bytes());
        let last = reader.deserialize::<std::collections::HashMap<String, String>>().last().map(Result::unwrap);
        let kept = |file: &str, column: &str| {
            let length = last.as_ref().map_or(0, |row| row[column].parse().unwrap());
            let bytes = fs::read(out.join(file)).unwrap_or_default();
            assert!(bytes.len() >= length, "{file} has what the journal says");
            bytes[..length].to_vec()
        };
        Kept { arms: kept("arms.csv", "arms_bytes"), trials: kept("trials.csv", "trials_bytes"), journal }
    }

    /// Nothing of it is gone or changed.
    pub fn is_in(&self, out: &Path) -> Result<(), String> {
        let now = Kept::of(out);
        let lost = |what: &str| Err(format!("rows of {what} are lost"));
        match self {
            _ if !now.journal.starts_with(&self.journal) => lost("rounds.csv"),
            _ if !now.arms.starts_with(&self.arms) => lost("arms.csv"),
            _ if !now.trials.starts_with(&self.trials) => lost("trials.csv"),
            _ => Ok(()),
        }
    }
}

/// Every planned round is there once, each with the rows of its seven arms, and the report with them.
pub fn complete(out: &Path) -> Result<(), String> {
    for file in ["manifest.json", "plan.csv", "rounds.csv", "arms.csv", "trials.csv", "effects.csv", "report.md", "report.html"] {
        if fs::metadata(out.join(file)).map_or(0, |m| m.len()) == 0 {
            return Err(format!("the run has ended and {file} is missing or empty"));
        }
    }
    let column = |file: &str, keys: &[&str]| -> Vec<String> {
        rows(&out.join(file)).iter().map(|row| keys.iter().map(|key| row[*key].clone() + "/").collect()).collect()
    };
    let once = |file: &str, keys: &[&str]| -> Result<BTreeSet<String>, String> {
        let all = column(file, keys);
        let set: BTreeSet<String> = all.iter().cloned().collect();
        if set.len() == all.len() { Ok(set) } else { Err(format!("{file} has rows twice")) }
    };
    let planned = once("plan.csv", &["round"])?;
    if once("rounds.csv", &["round"])? != planned {
        return Err("rounds.csv has not the rounds of plan.csv".into());
    }
    once("trials.csv", &["round", "cell", "treatment", "replica", "block"])?;
    let arms = once("arms.csv", &["round", "cell", "treatment"])?;
    if arms.len() == planned.len() * 7 { Ok(()) } else { Err(format!("{} rows of arms in {} rounds", arms.len(), planned.len())) }
}

/// What was reported is what is reported of the same rows without a fault.
fn as_made_again(dir: &Path, out: &Path) -> Result<(), String> {
    let again = dir.join("again");
    copy_tree(out, &again);
    let output = ablate().arg("report").arg(&again).arg("--quiet").output().unwrap();
    for file in ["effects.csv", "report.md"] {
        if fs::read(out.join(file)).unwrap() != fs::read(again.join(file)).unwrap() {
            return Err(format!("{file} is not what the rows say ({output:?})"));
        }
    }
    Ok(())
}
