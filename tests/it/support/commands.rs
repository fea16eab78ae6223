//! Programs that tests write themselves, experiments on such programs, and what a program said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Both streams of a program.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The exit code, and standard error.
pub fn ended(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A file that can be run.
pub fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A script of bash in a directory.
pub fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    executable(&path, &format!("#!/bin/bash\n{body}\n"));
    path
}

/// An experiment on a program that prints a figure: fast to measure, and what is true of it is known.
pub const PRINTS: &str = r#"
name = "test"
question = "Is it as fast as it was?"
[workload]
rw = "read"
bs = "4k"
iodepth = 1
[design]
kind = []
toggles = []
rounds = 24
[analysis]
delta = "1%"
[subject]
command = ["{program}"]
metric = { text = "tps = ([0-9.]+)", name = "tps", unit = "1/s", better = "higher" }
"#;

/// The same with so many rounds.
pub fn prints_for(rounds: u32) -> String {
    PRINTS.replace("rounds = 24", &format!("rounds = {rounds}"))
}

/// A program for [`PRINTS`]: so many transactions a second, give or take one in `spread`. Another `note` makes it another file.
pub fn prints_tps(tps: u32, spread: u32, note: u32) -> String {
    format!("#!/bin/bash\n# {note}\necho \"tps = $(({tps} + RANDOM % ({tps} / {spread})))\"\n")
}

/// Such a program in a directory, that differs from run to run by one in a hundred.
pub fn program(dir: &Path, name: &str, tps: u32) -> PathBuf {
    let path = dir.join(name);
    executable(&path, &prints_tps(tps, 100, 0));
    path
}

/// An experiment on any command, a list of words as TOML writes it, that prints `v=NUMBER` and may do something else besides.
pub fn printing(target: &str, command: &str) -> String {
    format!(
        "name = \"test\"\nquestion = \"?\"\n[target]\n{target}\n[workload]\nrw = \"read\"\nbs = \"4k\"\niodepth = 1\n[design]\nkind = []\n\
         toggles = []\nrounds = 12\n[subject]\ncommand = {command}\nmetric = {{ text = \"v=([0-9]+)\", better = \"higher\" }}\n"
    )
}
