//! A search for the first bad of four commits.

use super::Scenario;
use super::night::{PRINTS, program};
use super::strace::End;
use crate::support::ablate;
use std::fs;
use std::path::Path;
use std::process::Command;

pub struct Search;

fn git(dir: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(who).args(arguments).current_dir(dir.join("repo")).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A repository of commits whose program is `source`; from `first_bad` on it is slow.
pub fn repository(dir: &Path, commits: u32, source: impl Fn(u32) -> String) {
    fs::create_dir(dir.join("repo")).unwrap();
    git(dir, &["init", "--quiet", "--initial-branch=main"]);
    for place in 0..commits {
        fs::write(dir.join("repo/source"), source(place)).unwrap();
        git(dir, &["add", "--all"]);
        git(dir, &["commit", "--quiet", "--message", &format!("change {place}")]);
    }
}

/// The search from the first commit to the last.
pub fn command(dir: &Path, commits: u32) -> Command {
    let mut command = ablate();
    command.arg("bisect").arg(dir.join("test.toml")).arg("--good").arg(format!("HEAD~{}", commits - 1)).args(["--bad", "HEAD"]);
    command.args(["--program", "out", "--build", "cp source out && chmod +x out", "--repository"]).arg(dir.join("repo"));
    command.arg("--state").arg(dir.join("state"));
    command
}

/// Whole lines of the steps.
pub fn steps(dir: &Path) -> String {
    let text = fs::read_to_string(dir.join("state/steps.csv")).unwrap_or_default();
    text[..text.rfind('\n').map_or(0, |end| end + 1)].to_string()
}

/// The repository is as it was: no work tree of ours, nothing changed.
pub fn untouched(dir: &Path) -> Result<(), String> {
    let (trees, status) = (git(dir, &["worktree", "list"]), git(dir, &["status", "--porcelain"]));
    if trees.lines().count() == 1 && status.is_empty() { Ok(()) } else { Err(format!("left in the repository: {trees}{status}")) }
}

impl Scenario for Search {
    fn prepare(&self, dir: &Path) {
        fs::write(dir.join("test.toml"), PRINTS).unwrap();
        repository(dir, 4, |place| program(if place >= 2 { 90_000 } else { 100_000 }, place));
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
