//! Fault injection: every system call of a run, a night, a report, a search and a round fails once, by strace, at its first, middle
//! and last hit for each thing it is called on; afterwards nothing may be lost and no exit code may be wrong. That is for their first threads,
//! and for the jobs of a round and the processes of a run.
//!
//! The suite takes a sample; with URING_ABLATE_FULL=1 (`./scripts/test.sh --full`) every case runs. A new system call needs a row in
//! `calls.rs`, a new thing to run a module with its `Scenario`.

mod calls;
mod night;
mod report;
mod round;
pub mod run;
pub mod search;
mod strace;

use crate::support::{copy_tree, full, ran, skip};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use strace::{Case, End};

/// Cases of each scenario in the suite; all of them in the full one.
const SAMPLE: usize = 8;

/// A clean run takes seconds; what takes this long hangs.
const LONGEST: Duration = Duration::from_secs(90);

/// Exit codes as README documents them.
const DOCUMENTED: [i32; 7] = [0, 1, 2, 3, 4, 5, 130];

/// Something to run, and what must hold of it whatever failed.
trait Scenario: Sync {
    /// Makes in an empty directory what it starts from.
    fn prepare(&self, dir: &Path);

    /// What is run there.
    fn command(&self, dir: &Path) -> Command;

    /// The system calls that fail in threads and processes beside the first, as strace's `trace=` names them.
    fn follow(&self) -> Option<&'static str> {
        None
    }

    /// Looks at what a faulty run left, goes on without faults, and says what is wrong.
    fn check(&self, dir: &Path, end: &End) -> Result<(), String>;
}

/// What holds of everything that this program does.
fn documented(case: &Case, end: &End) -> Result<String, String> {
    if end.said.contains("panicked at") {
        return Err("panicked".into());
    }
    // The allocator ends a program that gets no memory, which what is on disk survives as it does any kill.
    if calls::gives_memory(&case.call) && end.said.contains("memory allocation of") {
        return Ok("ended by the allocator".into());
    }
    match end.code {
        Some(code) if DOCUMENTED.contains(&code) => Ok(format!("exit {code}")),
        Some(code) => Err(format!("exit {code}, which no document knows")),
        None => Err("killed by a signal, or at the limit".into()),
    }
}

/// Runs one case in a directory of its own; how it ended, and what is wrong with that.
fn tried(scenario: &dyn Scenario, template: &Path, case: &Case) -> (String, Option<String>) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("case");
    copy_tree(template, &dir);
    let end = strace::injected(&scenario.command(&dir), &home.path().join("trace"), case, scenario.follow(), LONGEST);
    if !end.injected {
        return ("not reached".into(), None);
    }
    match documented(case, &end).and_then(|ended| scenario.check(&dir, &end).map(|()| ended)) {
        Ok(ended) => (ended, None),
        Err(wrong) => {
            ("WRONG".into(), Some(format!("{case}: {wrong}\n    it said: {}", end.said.trim().replace('\n', "\n    "))))
        }
    }
}

/// Runs the cases of a scenario, two at a time; prints a table and fails with the cases that are wrong.
fn inject(name: &str, scenario: &dyn Scenario) {
    if Command::new("strace").arg("--version").output().is_err() {
        return skip(name, "strace is not installed");
    }
    let home = tempfile::tempdir().unwrap();
    let template = home.path().join("template");
    std::fs::create_dir(&template).unwrap();
    scenario.prepare(&template);
    let dir = home.path().join("case");
    copy_tree(&template, &dir);
    let traced = strace::traced(&scenario.command(&dir), &home.path().join("trace"), &dir, scenario.follow());
    let unknown: BTreeSet<&str> = traced.iter().map(|c| c.name.as_str()).filter(|name| !calls::known(name)).collect();
    assert!(unknown.is_empty(), "{name} makes system calls without a row in tests/it/faults/calls.rs: {unknown:?}");
    // What the first thread does alone is a scenario of its own; here it fails to start the others. As many closings as in one thread may in
    // another come to a directory, where none can fail.
    let others = |call: &&strace::Call| {
        scenario.follow().is_none() || (!call.first && call.name != "close") || call.name.starts_with("clone")
    };
    let mut all = strace::cases(traced.iter().filter(others));
    if let Ok(call) = std::env::var("URING_ABLATE_FAULTS_OF") {
        all.retain(|case| case.call == call);
    }
    let step = if full() { 1 } else { all.len().div_ceil(SAMPLE).max(1) };
    let cases: Vec<&Case> = all.iter().step_by(step).collect();
    let (next, ends) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
            let (ended, wrong) = tried(scenario, &template, case);
            ends.lock().unwrap().push((case.call.clone(), ended, wrong));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
    let ends = ends.into_inner().unwrap();
    ran(&table(name, all.len(), &ends));
    let wrong: Vec<&str> = ends.iter().filter_map(|(_, _, wrong)| wrong.as_deref()).collect();
    assert!(wrong.is_empty(), "{} of {} cases of {name} are wrong:\n{}", wrong.len(), ends.len(), wrong.join("\n"));
    let reached = ends.iter().filter(|(_, ended, _)| ended != "not reached").count();
    assert!(reached * 2 > ends.len(), "only {reached} of {} faults of {name} were reached", ends.len());
}

/// How the cases ended, as Markdown: a line for each system call.
fn table(name: &str, all: usize, ends: &[(String, String, Option<String>)]) -> String {
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (call, ended, _) in ends {
        *counts.entry(call).or_default().entry(ended).or_default() += 1;
    }
    let columns: BTreeSet<&str> = ends.iter().map(|(_, ended, _)| ended.as_str()).collect();
    let row = |name: &str, cells: Vec<String>| format!("| {name} | {} |\n", cells.join(" | "));
    let mut text = format!("{name}: {} of {all} cases\n\n", ends.len());
    text += &row("system call", columns.iter().map(|c| c.to_string()).collect());
    text += &row("---", columns.iter().map(|_| "---:".to_string()).collect());
    for (call, of) in &counts {
        let cells = columns.iter().map(|c| of.get(c).map_or(String::new(), usize::to_string)).collect();
        text += &row(&format!("`{call}`"), cells);
    }
    let total = |column: &&str| counts.values().filter_map(|of| of.get(*column)).sum::<usize>().to_string();
    text + &row("all", columns.iter().map(total).collect())
}

#[test]
fn of_a_run() {
    inject("run", &run::Run);
}

#[test]
fn of_a_round() {
    inject("round", &round::Round { jobs: 1 });
}

#[test]
fn of_the_jobs_of_a_round() {
    inject("jobs of a round", &round::Round { jobs: 2 });
}

#[test]
fn of_the_processes_of_a_run() {
    inject("processes of a run", &run::Processes);
}

#[test]
fn of_a_night() {
    inject("nightly", &night::Night);
}

#[test]
fn of_a_report() {
    inject("report", &report::Report);
}

#[test]
fn of_a_search() {
    inject("bisect", &search::Search);
}
