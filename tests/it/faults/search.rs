//! A search for the first bad of four commits.

use super::Scenario;
use super::strace::End;
use crate::support::{ablate, git, prints_for, prints_tps};
use std::fs;
use std::path::Path;
use std::process::Command;

pub struct Search;

/// A repository of commits whose program is `source`; from `first_bad` on it is slow.
pub fn repository(dir: &Path, commits: u32, source: impl Fn(u32) -> String) {
    fs::create_dir(dir.join("repo")).unwrap();
    git(&dir.join("repo"), &["init", "--quiet", "--initial-branch=main"]);
    for place in 0..commits {
        fs::write(dir.join("repo/source"), source(place)).unwrap();
        git(&dir.join("repo"), &["add", "--all"]);
        git(&dir.join("repo"), &["commit", "--quiet", "--message", &format!("change {place}")]);
    }
}

/// A repository of so many commits, of which those from the third on are slow, and the experiment that finds it.
pub fn prepared(dir: &Path, commits: u32) {
    fs::write(dir.join("test.toml"), prints_for(12)).unwrap();
    repository(dir, commits, |place| prints_tps(if place >= 2 { 90_000 } else { 100_000 }, 1000, place));
}

/// The search from the first commit to the last.
pub fn command(dir: &Path, commits: u32) -> Command {
    building(dir, commits, "cp source out && chmod +x out", "state")
}

/// The same with another build, and a state of that name.
pub fn building(dir: &Path, commits: u32, build: &str, state: &str) -> Command {
    let mut command = ablate();
    command.arg("bisect").arg(dir.join("test.toml")).arg("--good").arg(format!("HEAD~{}", commits - 1)).args(["--bad", "HEAD"]);
    command.args(["--program", "out", "--build", build, "--repository"]).arg(dir.join("repo"));
    command.arg("--state").arg(dir.join(state));
    command
}

/// Whole lines of the steps.
pub fn steps(dir: &Path) -> String {
    let text = fs::read_to_string(dir.join("state/steps.csv")).unwrap_or_default();
    text[..text.rfind('\n').map_or(0, |end| end + 1)].to_string()
}

/// The repository is as it was: no work tree of ours, nothing changed.
pub fn untouched(dir: &Path) -> Result<(), String> {
    let (trees, status) = (git(&dir.join("repo"), &["worktree", "list"]), git(&dir.join("repo"), &["status", "--porcelain"]));
    if trees.lines().count() == 1 && status.is_empty() { Ok(()) } else { Err(format!("left in the repository: {trees}{status}")) }
}

impl Scenario for Search {
    fn prepare(&self, dir: &Path) {
        prepared(dir, 4);
    }

    fn command(&self, dir: &Path) -> Command {
        command(dir, 4)
    }

    fn check(&self, dir: &Path, end: &End) -> Result<(), String> {
        let before = steps(dir);
        if end.code == Some(0) && !before.contains(",different,") {
            return Err("it has an answer that no step tells".into());
        }
        let again = command(dir, 4).output().unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        if again.status.code() != Some(0) || !said.contains("change 2") {
            return Err(format!("it is not continued: {again:?}"));
        }
        if !steps(dir).starts_with(&before) {
            return Err("steps are lost".into());
        }
        untouched(dir)
    }
}
