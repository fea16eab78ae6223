//! What is killed: a run, nights and a search that write to a device at random places.

use super::{Place, Scenario};
use crate::faults::{run, search};
use crate::support::{ablate, executable};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A row for each: 200 kills together.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "run", kills: 90, prepare: fresh_run, command: a_run, kept: rounds, finish: finish_run },
    Scenario { name: "nightly", kills: 60, prepare: fresh_night, command: a_night, kept: nights, finish: finish_night },
    Scenario { name: "bisect", kills: 50, prepare: fresh_search, command: a_search, kept: steps, finish: finish_search },
];

/// An experiment that writes to the device of a place.
fn writes(place: &Place, rest: &str) -> String {
    let target = &place.target.0;
    format!(
        "name = \"test\"\nquestion = \"Does it survive?\"\n[target]\nkind = \"device\"\npath = \"{target}\"\n[workload]\nrw = \"randwrite\"\n\
         bs = \"4k\"\niodepth = 4\n{rest}"
    )
}

fn fresh(place: &Place, rest: &str) {
    let _ = fs::remove_dir_all(place.dir());
    fs::create_dir(place.dir()).unwrap();
    fs::write(place.dir().join("test.toml"), writes(place, rest)).unwrap();
}

fn allowed<'a>(command: &'a mut Command, place: &Place) -> &'a mut Command {
    command.arg("--allow-destructive").arg(&place.target.0)
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text[..text.rfind('\n').map_or(0, |end| end + 1)].lines().skip(1).map(String::from).collect()
}

fn fresh_run(place: &Place) {
    let design = "[design]\nkind = [\"leave-one-out\"]\ntoggles = [\"batch_submit\"]\nrounds = 12\nround_time = \"200ms\"\n";
    fresh(place, &format!("{design}[analysis]\ndelta = \"50%\"\n"));
}

fn a_run(place: &Place) -> Command {
    let (mut command, out) = (ablate(), place.dir().join("out"));
    command.arg("run").arg(place.dir().join("test.toml")).arg("--out").arg(&out);
    if out.join("manifest.json").exists() {
        command.arg("--resume");
    }
    allowed(&mut command, place);
    command
}

fn rounds(place: &Place) -> Vec<String> {
    lines(&place.dir().join("out/rounds.csv"))
}

fn finish_run(place: &Place) -> Result<(), String> {
    let output = a_run(place).output().unwrap();
    match output.status.code() {
        Some(0 | 3 | 4) => run::complete(&place.dir().join("out")),
        _ => Err(format!("{output:?}")),
    }
}

/// What a night and a search measure: a command that writes to the target and prints a figure.
const PRINTS: &str = "[design]\nkind = []\ntoggles = []\nrounds = 12\n[analysis]\ndelta = \"1%\"\n[subject]\n\
    command = [\"{program}\", \"{target}\"]\nmetric = { text = \"tps = ([0-9.]+)\", name = \"tps\", better = \"higher\" }\n";

/// A program of so many transactions a second, give or take one in a thousand.
fn program(tps: u32, note: u32) -> String {
    format!(
        "#!/bin/bash\n# {note}\ndd if=/dev/urandom of=\"$1\" bs=64k count=4 seek=$((RANDOM % 200)) oflag=direct conv=notrunc \
         status=none || exit 1\necho \"tps = $(({tps} + RANDOM % ({tps} / 1000)))\"\n"
    )
}

const FAST: u32 = 100_000;
const SLOW: u32 = 90_000;

fn fresh_night(place: &Place) {
    // A history stays as long as it can: nights are added to it.
    if place.dir().join("history").exists() {
        return;
    }
    fresh(place, PRINTS);
    for (name, tps) in [("good", FAST), ("bad", SLOW)] {
        executable(&place.dir().join(name), &program(tps, 0));
    }
}

fn a_night(place: &Place) -> Command {
    let (mut command, at) = (ablate(), |name: &str| place.dir().join(name));
    command.arg("nightly").arg(at("test.toml")).arg("--history").arg(at("history"));
    command.arg("--reference").arg(at("good")).arg("--candidate").arg(at("bad"));
    allowed(&mut command, place);
    command
}

fn nights(place: &Place) -> Vec<String> {
    lines(&place.dir().join("history/nights.csv"))
}

fn finish_night(place: &Place) -> Result<(), String> {
    let before = nights(place);
    let output = a_night(place).output().unwrap();
    if output.status.code() != Some(1) {
        return Err(format!("the regression is not found: {output:?}"));
    }
    let verified = ablate().args(["history", "verify"]).arg(place.dir().join("history")).output().unwrap();
    match nights(place) {
        _ if verified.status.code() != Some(0) => Err(format!("{verified:?}")),
        now if now.len() != before.len() + 1 || !now.starts_with(&before) => Err("the night was not added".into()),
        _ => Ok(()),
    }
}

const COMMITS: u32 = 4;

fn fresh_search(place: &Place) {
    fresh(place, PRINTS);
    search::repository(&place.dir(), COMMITS, |place| program(if place >= 2 { SLOW } else { FAST }, place));
}

fn a_search(place: &Place) -> Command {
    let mut command = search::command(&place.dir(), COMMITS);
    allowed(&mut command, place);
    command
}

fn steps(place: &Place) -> Vec<String> {
    search::steps(&place.dir()).lines().skip(1).map(String::from).collect()
}

fn finish_search(place: &Place) -> Result<(), String> {
    let before = steps(place);
    let output = a_search(place).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) if !said.contains("change 2") => Err(format!("another answer: {said}")),
        Some(0) if !steps(place).starts_with(&before) => Err("steps are lost".into()),
        Some(0) => search::untouched(&place.dir()),
        _ => Err(format!("{output:?}")),
    }
}
