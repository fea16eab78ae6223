//! Whom a run obeys: programs that an experiment file names, and commands that are given a target of the user's.

use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, experiment, printing, root, script, skip};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A run of the verb in the bench's directory, with a memory of its own for what was agreed to, and no terminal.
fn command(bench: &Bench, verb: &[&str]) -> Command {
    let mut command = ablate();
    command.args(verb).current_dir(bench.dir.path()).env("XDG_STATE_HOME", bench.dir.path().join("state")).stdin(Stdio::null());
    command
}

fn call(bench: &Bench, verb: &[&str]) -> Output {
    command(bench, verb).output().unwrap()
}

/// Nobody was asked. How the run ended is another matter: on a busy machine its rounds may be too short.
fn unasked(output: &Output) -> bool {
    !String::from_utf8_lossy(&output.stderr).contains("--trust")
}

/// An experiment whose peers are programs beside it, each of which leaves a mark.
fn hostile() -> Bench {
    let peers = "[peers]\nfio = [\"default\"]\nfio_path = \"./evil-fio\"\nt_io_uring = \"./evil\\u001b[2J\\u009bt\"\nround_time = \"100ms\"\nwhole_time = \"1s\"\n";
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, peers));
    for name in ["evil-fio", "evil\u{1b}[2J\u{9b}t"] {
        script(bench.dir.path(), name, "touch \"${0%/*}/ran\"; exit 1");
    }
    bench
}

fn ran(bench: &Bench) -> bool {
    fs::remove_file(bench.dir.path().join("ran")).is_ok()
}

#[test]
fn programs_of_a_file_run_only_when_the_user_trusts_it() {
    let bench = hostile();
    for verb in [&["run", "test.toml", "--quiet", "--out", "out"][..], &["plan", "test.toml", "--pilot"]] {
        let refused = call(&bench, verb);
        assert_eq!(
            bench.verdict(&refused),
            "exit 2\nuring-ablate: test.toml names programs, which would run with your rights: peers.fio_path = \"./evil-fio\", which is \
             \"DIR/evil-fio\"; peers.t_io_uring = \"./evil\\u{1b}[2J\\u{9b}t\", which is \"DIR/evil\\u{1b}[2J\\u{9b}t\". Read the file; if you \
             trust it, add --trust test.toml"
        );
        assert!(!refused.stderr.contains(&0x1b) && !ran(&bench) && !bench.out().exists(), "{verb:?}");
        let other = call(&bench, &[verb, &["--trust", "other.toml"]].concat());
        assert!(other.status.code() == Some(2) && !ran(&bench), "another file is trusted");
    }
    assert_eq!(call(&bench, &["plan", "test.toml"]).status.code(), Some(0), "a plan starts nothing");
    let trusted = call(&bench, &["run", "test.toml", "--quiet", "--out", "out", "--trust", "./test.toml"]);
    assert!(unasked(&trusted) && ran(&bench), "{}", bench.verdict(&trusted));
    let resumed = call(&bench, &["run", "test.toml", "--quiet", "--out", "out", "--resume"]);
    assert!(!unasked(&resumed) && !ran(&bench), "it holds for one call");
    assert!(!bench.dir.path().join("state").exists());
}

#[test]
fn what_the_user_names_himself_needs_no_trust_and_what_smoke_names_does() {
    let bench = hostile();
    let own = script(bench.dir.path(), "own", "touch \"${0%/*}/ran\"; exit 1");
    let set = [format!("peers.fio_path={}", own.display()), format!("peers.t_io_uring={}", own.display())];
    let verb = ["run", "test.toml", "--quiet", "--out", "out", "--set", &set[0], "--set", &set[1]];
    assert!(unasked(&call(&bench, &verb)) && ran(&bench));
    let text = "smoke = [\"peers.fio_path=./evil-fio\", \"design.rounds=6\"]\n".to_string()
        + &experiment(SMALL_TARGET, READS, ONE_TOGGLE, "[peers]\nfio = [\"default\"]\n");
    fs::write(&bench.file, text).unwrap();
    let refused = call(&bench, &["run", "test.toml", "--quiet", "--out", "smoke", "--smoke"]);
    let said = bench.verdict(&refused);
    assert!(refused.status.code() == Some(2) && said.contains("peers.fio_path = \"./evil-fio\"") && !ran(&bench), "{said}");
}

#[test]
fn commands_of_a_file_are_started_by_nightly_and_bisect_only_when_it_is_trusted() {
    let bench = Bench::new(&printing(SMALL_TARGET, "[\"sh\", \"-c\", \"touch ran; echo v=1\", \"{program}\"]"));
    let dir = bench.dir.path();
    let own = script(bench.dir.path(), "own", "echo v=1").display().to_string();
    let night = ["nightly", "test.toml", "--quiet", "--history", "history", "--reference", &own, "--candidate", &own];
    let said = bench.verdict(&call(&bench, &night));
    assert!(
        said.starts_with("exit 2") && said.contains("subject.command = [\"sh\", \"-c\"") && said.contains("--trust test.toml"),
        "{said}"
    );
    assert!(Command::new("git").args(["init", "--quiet"]).current_dir(dir).status().unwrap().success());
    let search = ["bisect", "test.toml", "--good", "a", "--bad", "b", "--build", "touch ran"];
    let said = bench.verdict(&call(&bench, &search));
    assert!(said.starts_with("exit 2") && said.contains("--trust test.toml"), "{said}");
    assert!(!ran(&bench));
    let trusted = call(&bench, &[&night[..], &["--trust", "test.toml"]].concat());
    assert!(ran(&bench), "{}", bench.verdict(&trusted));
}

/// Runs a verb on a terminal of its own, where somebody types `answer`; `None` where there is no `script`.
fn on_a_terminal(bench: &Bench, verb: &str, answer: &str) -> Option<String> {
    let exe = env!("CARGO_BIN_EXE_uring-ablate");
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &format!("{exe} {verb}; echo exit $?"), "/dev/null"]);
    terminal.current_dir(bench.dir.path()).env("XDG_STATE_HOME", bench.dir.path().join("state"));
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    Some(String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned())
}

#[test]
fn a_yes_on_a_terminal_is_remembered_until_the_file_changes() {
    let bench = hostile();
    let verb = "run test.toml --quiet --out out";
    let Some(said) = on_a_terminal(&bench, verb, "n\n") else {
        return skip("a_yes_on_a_terminal_is_remembered_until_the_file_changes", "script (util-linux) is missing");
    };
    assert!(said.contains("exit 2") && said.contains("[y/N]") && said.contains("evil-fio") && !ran(&bench), "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{9b}'), "{said:?}");
    let said = on_a_terminal(&bench, verb, "y\n").unwrap();
    assert!(!said.contains("--trust") && ran(&bench), "{said}");
    let state = bench.dir.path().join("state/uring-ablate/trusted");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o600);
    let again = call(&bench, &["run", "test.toml", "--quiet", "--out", "again"]);
    assert!(unasked(&again) && ran(&bench), "{}", bench.verdict(&again));
    // Another directory: the same words stand for another program there.
    let elsewhere = bench.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let moved = command(&bench, &["run", "../test.toml", "--out", "out"]).current_dir(&elsewhere).output().unwrap();
    assert_eq!(moved.status.code(), Some(2), "{}", bench.verdict(&moved));
    fs::set_permissions(&state, fs::Permissions::from_mode(0o622)).unwrap();
    let open = call(&bench, &["run", "test.toml", "--quiet", "--out", "open"]);
    assert!(
        open.status.code() == Some(2) && bench.verdict(&open).contains("nobody else may write to it"),
        "{}",
        bench.verdict(&open)
    );
    fs::set_permissions(&state, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&bench.file).unwrap();
    fs::write(&bench.file, text + "# changed\n").unwrap();
    assert_eq!(call(&bench, &["run", "test.toml", "--quiet", "--out", "changed"]).status.code(), Some(2));
    assert!(!ran(&bench));
}

#[test]
fn a_fio_that_anybody_may_have_put_on_path_is_not_started() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "[peers]\nfio = [\"default\"]\nwhole_time = \"1s\"\n"));
    let place = bench.dir.path().join("open");
    fs::create_dir(&place).unwrap();
    fs::rename(
        script(bench.dir.path(), "fio", &format!(": >{}; exit 1", bench.dir.path().join("ran").display())),
        place.join("fio"),
    )
    .unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    let run = |out: &str| command(&bench, &["run", "test.toml", "--quiet", "--out", out]).env("PATH", &place).output().unwrap();
    assert!(unasked(&run("out")) && !ran(&bench));
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(unasked(&run("closed")) && ran(&bench), "in a directory of the user's own it is");
}

/// A night of a command that writes to what it is given.
fn night_on(bench: &Bench, more: &[&str]) -> Output {
    let writer = script(bench.dir.path(), "writer", "printf overwritten | dd of=\"$1\" conv=notrunc status=none; echo v=1")
        .display()
        .to_string();
    let verb = ["nightly", "test.toml", "--quiet", "--history", "history", "--reference", &writer, "--candidate", &writer];
    call(bench, &[&verb[..], more].concat())
}

#[test]
fn a_command_is_given_what_is_the_users_only_when_he_may_lose_it() {
    let bench = Bench::new("");
    let file = bench.dir.path().join("precious");
    fs::write(&file, vec![b'p'; 1 << 20]).unwrap();
    let target = format!("kind = \"file\"\npath = \"{}\"", file.display());
    fs::write(&bench.file, printing(&target, "[\"{program}\", \"{target}\"]")).unwrap();
    let whole = |path: &Path| fs::read(path).unwrap().iter().all(|b| *b == b'p');
    assert_eq!(
        bench.verdict(&night_on(&bench, &[])),
        "exit 5\nuring-ablate: [subject] command is given DIR/precious as {target} and may write to it; a command is given nothing but targets \
         of the tool's own without --allow-destructive DIR/precious"
    );
    let other = format!("{}/.", bench.dir.path().display());
    assert_eq!(night_on(&bench, &["--allow-destructive", &other]).status.code(), Some(5), "another path");
    assert!(whole(&file), "it was written to");
    night_on(&bench, &["--allow-destructive", file.to_str().unwrap()]);
    assert!(!whole(&file), "it was allowed");
    if !root() {
        return skip("a_command_is_given_what_is_the_users_only_when_he_may_lose_it", "loop devices need root");
    }
    fs::write(&bench.file, printing("kind = \"loop\"\nsize = \"16MiB\"", "[\"{program}\", \"{target}\"]")).unwrap();
    let own = night_on(&bench, &[]);
    assert!(!bench.verdict(&own).contains("--allow-destructive"), "the tool's own: {}", bench.verdict(&own));
}

#[test]
fn the_reference_in_somebody_elses_history_is_not_started() {
    if !root() {
        return skip("the_reference_in_somebody_elses_history_is_not_started", "a file of another user's needs root");
    }
    let bench = Bench::small();
    let history = bench.dir.path().join("history");
    let mark = bench.dir.path().join("started");
    fs::create_dir_all(history.join("reference")).unwrap();
    let pinned = history.join("reference/uring-ablate");
    fs::copy(script(bench.dir.path(), "theirs", &format!("touch {}", mark.display())), &pinned).unwrap();
    for theirs in [history.clone(), history.join("reference"), pinned] {
        std::os::unix::fs::chown(&theirs, Some(65534), None).unwrap();
        let output = call(&bench, &["nightly", bench.file.to_str().unwrap(), "--history", history.to_str().unwrap()]);
        let said = bench.verdict(&output);
        assert!(said.starts_with("exit 2\n") && said.contains("belongs to another user"), "{}: {said}", theirs.display());
        std::os::unix::fs::chown(&theirs, Some(0), None).unwrap();
    }
    assert!(!mark.exists());
}
