//! A program that is replaced while it is measured: what a night or a search says of one program must not rest on two.

use crate::support::{Bench, ablate, rows, skip};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A command that prints a figure and takes some time for it.
const EXPERIMENT: &str = "name = \"test\"\nquestion = \"?\"\n[workload]\nrw = \"read\"\nbs = \"4k\"\niodepth = 1\n[design]\nkind = []\ntoggles = []\n\
                          rounds = 96\n[subject]\ncommand = [\"{program}\"]\nmetric = { text = \"v=([0-9]+)\", name = \"v\", better = \"higher\" }\n";

/// A script that looks at its own path, as scripts do, before it prints its figure.
const SCRIPT: &str = "#!/bin/sh\nsleep 0.02\ntest -e \"$(dirname \"$0\")\" && echo v=1000\n";

fn script(path: &Path) {
    fs::write(path, SCRIPT).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn begin(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a file of that name one directory further in has so many lines.
fn measured(home: &Path, name: &str, lines: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = || {
        let dirs = fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut texts = dirs.filter_map(|dir| fs::read_to_string(dir.join(name)).ok());
        texts.any(|text| text.lines().count() > lines)
    };
    while !found() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(found(), "{name} below {} never had {lines} rows", home.display());
}

/// The ways in which a program becomes another: a build that renames, an editor that writes, a removal.
type Change = (&'static str, fn(&Path));
const CHANGES: [Change; 3] = [
    ("another file has its name", |program| {
        let other = program.with_extension("new");
        script(&other);
        fs::rename(other, program).unwrap();
    }),
    ("it was written to", |program| fs::write(program, SCRIPT.replace("1000", "2000")).unwrap()),
    ("it cannot be found", |program| fs::remove_file(program).unwrap()),
];

#[test]
fn a_night_ends_when_one_of_its_programs_is_replaced() {
    for (how, change) in CHANGES {
        for changed in ["reference", "candidate"] {
            let bench = Bench::new(EXPERIMENT);
            let [reference, candidate] = ["reference", "candidate"].map(|name| bench.dir.path().join(name));
            script(&reference);
            script(&candidate);
            let history = bench.dir.path().join("history");
            let mut command = ablate();
            command.arg("nightly").arg(&bench.file).arg("--history").arg(&history);
            command.arg("--reference").arg(&reference).arg("--candidate").arg(&candidate);
            let night = begin(&mut command);
            measured(&history, "rounds.csv", 3);
            let program = bench.dir.path().join(changed);
            change(&program);
            let output = night.wait_with_output().unwrap();
            let words = [&format!("{} is no longer the program that is measured", program.display()), how, "does not count"];
            assert_eq!(output.status.code(), Some(5), "{changed}: {how}: {}", said(&output));
            assert!(words.iter().all(|words| said(&output).contains(words)), "{changed}: {how}: {}", said(&output));
            assert!(rows(&history.join("nights.csv")).is_empty(), "the night does not count");
        }
    }
}

#[test]
fn a_build_in_the_place_of_an_engines_program_does_not_end_its_night() {
    let experiment = "name = \"test\"\nquestion = \"?\"\n[target]\nkind = \"auto\"\nsize = \"64MiB\"\n[workload]\nrw = \"read\"\nbs = \"4k\"\n\
                      iodepth = 32\n[design]\nkind = []\ntoggles = []\nrounds = 12\n[peers]\nround_time = \"100ms\"\n";
    let bench = Bench::new(experiment);
    let program = bench.dir.path().join("uring-ablate");
    fs::copy(env!("CARGO_BIN_EXE_uring-ablate"), &program).unwrap();
    let history = bench.dir.path().join("history");
    let mut command = ablate();
    command.arg("nightly").arg(&bench.file).arg("--history").arg(&history);
    let night = begin(command.arg("--reference").arg(&program).arg("--candidate").arg(&program));
    measured(&history, "rounds.csv", 1);
    fs::remove_file(&program).unwrap();
    fs::write(&program, "no program").unwrap();
    let output = night.wait_with_output().unwrap();
    assert!(output.status.code().is_some_and(|code| [0, 3].contains(&code)), "{:?}: {}", output.status, said(&output));
}

fn git(dir: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(who).args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
}

/// A repository of two commits, whose programs are scripts.
fn repository(dir: &Path) -> PathBuf {
    let repository = dir.join("repository");
    fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "--quiet"]);
    for text in ["one", "two"] {
        fs::write(repository.join("source"), format!("{SCRIPT}# {text}\n")).unwrap();
        git(&repository, &["add", "--all"]);
        git(&repository, &["commit", "--quiet", "--message", text]);
    }
    repository
}

#[test]
fn a_search_ends_when_one_of_its_programs_is_replaced() {
    let test = "a_search_ends_when_one_of_its_programs_is_replaced";
    if Command::new("git").arg("--version").output().is_err() {
        return skip(test, "git is not installed");
    }
    let bench = Bench::new(EXPERIMENT);
    let (repository, state) = (repository(bench.dir.path()), bench.dir.path().join("state"));
    let mut command = ablate();
    command.arg("bisect").arg(&bench.file).args(["--good", "HEAD~1", "--bad", "HEAD", "--program", "out/program"]);
    command.args(["--build", "mkdir -p out && cp source out/program && chmod 755 out/program"]);
    let search = begin(command.arg("--repository").arg(&repository).arg("--state").arg(&state));
    let deadline = Instant::now() + Duration::from_secs(60);
    let rounds = || {
        let files = fs::read_dir(state.join("rounds")).into_iter().flatten().flatten().map(|entry| entry.path());
        files.map(|file| fs::read_to_string(file).unwrap_or_default().lines().count()).sum::<usize>()
    };
    while rounds() < 4 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let program = fs::read_dir(state.join("programs")).unwrap().next().unwrap().unwrap().path();
    let other = bench.dir.path().join("other");
    script(&other);
    fs::rename(&other, &program).unwrap();
    let output = search.wait_with_output().unwrap();
    let words = format!("{} is no longer the program that is measured: another file has its name", program.display());
    assert!(output.status.code() == Some(5) && said(&output).contains(&words), "{:?}: {}", output.status, said(&output));
    assert!(said(&output).contains("another --state"), "{}", said(&output));
}
