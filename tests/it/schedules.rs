//! What runs nights unattended: units of systemd, workflows, and their scripts. Each is checked by the program that will read it.

use crate::support::{Bench, ONE_TOGGLE, READS, ablate, executable, experiment, git, home, said, skip};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SERVICE: &str = "uring-ablate-nightly.service";
const TIMER: &str = "uring-ablate-nightly.timer";
const PROGRAM: &str = "/usr/local/bin/uring-ablate";

fn unit(name: &str) -> String {
    fs::read_to_string(home().join("scripts/schedule").join(name)).unwrap()
}

/// The values of a unit's key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_service_fails_on_a_regression_and_cannot_hang() {
    let service = unit(SERVICE);
    let start = values(&service, "ExecStart");
    let told = format!("{PROGRAM} nightly /usr/local/share/uring-ablate/nightly.toml --history /var/lib/uring-ablate/history");
    assert_eq!(start, [told], "no - before the program: its exit code counts");
    assert_eq!(values(&service, "SuccessExitStatus"), [""; 0]);
    assert_eq!(values(&service, "StateDirectory"), ["uring-ablate"]);
    assert_eq!(values(&service, "LimitMEMLOCK"), ["infinity"]);
    assert_eq!(values(&service, "TimeoutStartSec"), ["2h"]);
    assert_eq!(values(&service, "CapabilityBoundingSet"), [""], "none of root's capabilities");
    assert_eq!(values(&unit(TIMER), "Persistent"), ["true"]);
}

#[test]
fn systemd_accepts_the_units() {
    let dir = tempfile::tempdir().unwrap();
    // The program is not installed where tests run.
    fs::write(dir.path().join(SERVICE), unit(SERVICE).replace(PROGRAM, env!("CARGO_BIN_EXE_uring-ablate"))).unwrap();
    fs::write(dir.path().join(TIMER), unit(TIMER)).unwrap();
    let files = [dir.path().join(SERVICE), dir.path().join(TIMER)];
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&files).output() else {
        return skip("schedules::systemd_accepts_the_units", "systemd-analyze is not installed");
    };
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

/// The system calls that a unit lets through, and how systemd names groups of them.
fn admitted(unit: &str) -> Option<BTreeSet<String>> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]).output().ok()?;
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut group = "";
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')) {
        match line.starts_with(' ') {
            true => groups.entry(group).or_default().push(line.trim()),
            false => group = line,
        }
    }
    // What every filter lets through.
    let mut open = vec!["@default"];
    open.extend(values(unit, "SystemCallFilter").iter().flat_map(|value| value.split(' ')));
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        match name.starts_with('@') {
            true => open.extend(groups.get(name).unwrap_or_else(|| panic!("systemd knows no {name}"))),
            false => drop(found.insert(name.to_string())),
        }
    }
    Some(found)
}

/// strace shows the calls that the filter would refuse; all others run at full speed.
#[test]
fn a_run_makes_no_system_call_that_the_service_refuses() {
    let name = "schedules::a_run_makes_no_system_call_that_the_service_refuses";
    let Some(mut admitted) = admitted(&unit(SERVICE)) else { return skip(name, "systemd-analyze is not installed") };
    let refused = |admitted: &BTreeSet<String>| {
        let bench = Bench::new(&experiment("kind = \"auto\"\nsize = \"16MiB\"", READS, ONE_TOGGLE, ""));
        let log = bench.dir.path().join("strace");
        let others: Vec<String> = admitted.iter().map(|call| format!("?{call}")).collect();
        let mut command = Command::new("strace");
        command.args(["-f", "--seccomp-bpf", "-qqq", "-e", "signal=none", "-e", &format!("trace=!{}", others.join(","))]);
        command.arg("-o").arg(&log).arg(ablate().get_program()).arg("run").arg(&bench.file).arg("--out").arg(bench.out());
        let output = command.output().ok()?;
        assert!(output.status.success(), "{}", said(&output));
        Some(fs::read_to_string(log).unwrap())
    };
    let Some(seen) = refused(&admitted) else { return skip(name, "strace is not installed") };
    assert_eq!(seen, "");
    assert!(admitted.remove("io_uring_setup"), "the service lets io_uring through");
    assert!(refused(&admitted).unwrap().contains("io_uring_setup("), "a call that is refused would be seen");
}

#[test]
fn actionlint_accepts_the_workflows() {
    let own = home().join("target/python/bin/actionlint");
    let program = if own.exists() { own } else { PathBuf::from("actionlint") };
    let Ok(output) = Command::new(program).current_dir(home()).arg("-no-color").output() else {
        return skip("schedules::actionlint_accepts_the_workflows", "actionlint is not installed");
    };
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

/// A clone of `origin` as a hosted runner makes it for every night, with the scripts.
fn runner(dir: &Path, origin: &Path) -> PathBuf {
    let clone = tempfile::tempdir_in(dir).unwrap().keep();
    git(dir, &["clone", "--quiet", "--depth=1", &format!("file://{}", origin.display()), clone.to_str().unwrap()]);
    clone
}

/// `history-branch.sh VERB night` in a clone; what was measured lies in `measured`.
fn branch(clone: &Path, verb: &str) -> Output {
    let names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
    let mut command = Command::new(home().join("scripts/schedule/history-branch.sh"));
    command.current_dir(clone).args([verb, "night"]).envs(names.map(|n| (n, "t@example.org")));
    command.args((verb == "save").then_some("measured")).output().unwrap()
}

/// What a night leaves in the history that it measured; `rows` are those of all nights so far.
fn measure(history: &Path, night: &str, rows: &str) {
    fs::create_dir_all(history.join(night)).unwrap();
    fs::create_dir_all(history.join("plots")).unwrap();
    for (file, text) in [("nights.csv", rows), ("series.csv", rows), ("plots/a.svg", rows), ("plots/a.png", "large")] {
        fs::write(history.join(file), text).unwrap();
    }
    for file in ["summary.md", "night.json", "trials.csv"] {
        fs::write(history.join(night).join(file), night).unwrap();
    }
}

/// A repository whose default branch is pushed to an origin, and a way to commit to it.
fn repository(dir: &Path) -> (PathBuf, impl Fn(&str) -> String) {
    let (origin, code) = (dir.join("origin"), dir.join("code"));
    git(dir, &["init", "--quiet", "--bare", origin.to_str().unwrap()]);
    git(dir, &["clone", "--quiet", origin.to_str().unwrap(), code.to_str().unwrap()]);
    let commit = move |text: &str| {
        fs::write(code.join("source"), text).unwrap();
        git(&code, &["add", "source"]);
        git(&code, &["commit", "--quiet", "-m", text]);
        git(&code, &["push", "--quiet", "origin", "HEAD"]);
        git(&code, &["rev-parse", "HEAD"])
    };
    (origin, commit)
}

#[test]
fn hosted_nights_follow_each_other_on_their_branch() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, commit) = repository(dir.path());
    let first = commit("first");
    let mut rows = "night\n".to_string();
    for night in ["20260101T032300Z-a", "20260102T032300Z-b"] {
        let clone = runner(dir.path(), &origin);
        let opened = branch(&clone, "open");
        assert_eq!((said(&opened).trim(), opened.status.code()), (first.as_str(), Some(0)), "the first night pins its commit");
        rows += &format!("{night}\n");
        measure(&clone.join("measured"), night, &rows);
        let saved = branch(&clone, "save");
        assert!(saved.status.success(), "{}", said(&saved));
        let again = branch(&clone, "save");
        assert!(again.status.code() == Some(1) && said(&again).contains("added nothing"), "{}", said(&again));
        commit(night);
    }
    let files = git(&origin, &["ls-tree", "-r", "--name-only", "nightly-history"]);
    let nights =
        ["20260101T032300Z-a", "20260102T032300Z-b"].map(|n| format!("history/{n}/night.json\nhistory/{n}/summary.md\n"));
    let expected =
        format!("{}{}history/nights.csv\nhistory/plots/a.svg\nhistory/series.csv\nreference-commit", nights[0], nights[1]);
    assert_eq!(files, expected);
    assert_eq!(git(&origin, &["show", "nightly-history:history/nights.csv"]), rows.trim());
    assert_eq!(git(&origin, &["rev-list", "--count", "nightly-history"]), "2", "nothing of the code's history");
    let clone = runner(dir.path(), &origin);
    fs::remove_dir_all(&origin).unwrap();
    let lost = branch(&clone, "open");
    assert!(
        lost.status.code() == Some(1) && said(&lost).contains("cannot ask origin"),
        "no answer is no new history: {}",
        said(&lost)
    );
}

/// The job that measures runs programs under test; the one that pushes believes it nothing.
#[test]
fn a_night_only_adds_to_the_branch() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, commit) = repository(dir.path());
    commit("first");
    let clone = runner(dir.path(), &origin);
    branch(&clone, "open");
    measure(&clone.join("measured"), "20260101T032300Z-a", "night\na\n");
    assert!(branch(&clone, "save").status.success());
    type Spoil = fn(&Path);
    let spoilt: [(&str, Spoil); 6] = [
        ("does not continue", |m| fs::write(m.join("nights.csv"), "night\nb\nc\n").unwrap()),
        ("does not continue", |m| fs::write(m.join("series.csv"), "night\n").unwrap()),
        ("missing or empty", |m| fs::write(m.join("series.csv"), "").unwrap()),
        ("neither a file nor a directory", |m| std::os::unix::fs::symlink("/etc/passwd", m.join("plots/b.svg")).unwrap()),
        ("has 2 nights", |m| fs::create_dir(m.join("20260103T032300Z-c")).unwrap()),
        ("larger than 16 MiB", |m| fs::write(m.join("plots/b.svg"), vec![b' '; (16 << 20) + 1]).unwrap()),
    ];
    for (told, spoil) in spoilt {
        let clone = runner(dir.path(), &origin);
        branch(&clone, "open");
        let measured = clone.join("measured");
        measure(&measured, "20260102T032300Z-b", "night\na\nb\n");
        spoil(&measured);
        let saved = branch(&clone, "save");
        assert!(saved.status.code() == Some(1) && said(&saved).contains(told), "{told}: {}", said(&saved));
    }
    // Other files are left where they are, wherever they lie.
    let clone = runner(dir.path(), &origin);
    branch(&clone, "open");
    let measured = clone.join("measured");
    measure(&measured, "20260102T032300Z-b", "night\na\nb\n");
    for odd in ["reference-commit", "20260101T032300Z-a/summary.md", "20260102T032300Z-b/night.json/x", ".github/workflows/x.yml"]
    {
        let path = measured.join(odd);
        let _ = fs::remove_file(path.parent().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    assert!(branch(&clone, "save").status.success());
    let changed = git(&origin, &["diff", "--name-status", "nightly-history^", "nightly-history"]);
    assert_eq!(
        changed,
        "A\thistory/20260102T032300Z-b/summary.md\nM\thistory/nights.csv\nM\thistory/plots/a.svg\nM\thistory/series.csv"
    );
}

#[test]
fn a_job_fails_as_the_night_did() {
    for (code, exit, annotation) in [
        ("0", 0, ""),
        ("1", 1, "::error"),
        ("3", 0, "::warning"),
        ("4", 4, "::error"),
        ("5", 5, "::error"),
        ("", 1, "::error"),
        ("101", 101, "::error"),
    ] {
        let output = Command::new(home().join("scripts/schedule/verdict.sh")).arg(code).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "{code}");
        assert!(
            said(&output).starts_with(annotation) && said(&output).contains("::") != annotation.is_empty(),
            "{code}: {}",
            said(&output)
        );
    }
}

/// A copy of what scripts/nightly.sh needs, whose cargo makes a program that writes its arguments and ends with `code`.
fn stage(code: i32, night: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["bin", "scripts", "experiments", "elsewhere"] {
        fs::create_dir(dir.path().join(sub)).unwrap();
    }
    for file in ["scripts/nightly.sh", "scripts/packages.sh", "experiments/nightly.toml"] {
        fs::copy(home().join(file), dir.path().join(file)).unwrap();
    }
    let night = if night { "mkdir -p \"$4/20260101T000000Z-a\" && touch \"$4/20260101T000000Z-a/night.json\"" } else { "true" };
    let cargo = format!(
        "#!/bin/sh\nmkdir -p target/release\ncat >target/release/uring-ablate <<'E'\n#!/bin/sh\necho \"$@\"\nsleep 0.02\n{night}\nexit {code}\nE\n\
         chmod +x target/release/uring-ablate\n"
    );
    executable(&dir.path().join("bin/cargo"), &cargo);
    dir
}

/// scripts/nightly.sh there, started in another directory.
fn nightly(stage: &Path, args: &[&str]) -> Output {
    let path = format!("{}:{}", stage.join("bin").display(), std::env::var("PATH").unwrap());
    Command::new(stage.join("scripts/nightly.sh"))
        .current_dir(stage.join("elsewhere"))
        .args(args)
        .env("PATH", path)
        .output()
        .unwrap()
}

#[test]
fn the_script_ends_as_the_tool_does_and_says_where_things_are() {
    for (code, made, exit) in [(0, true, 0), (1, true, 1), (3, true, 3), (130, false, 130), (0, false, 4)] {
        let stage = stage(code, made);
        let output = nightly(stage.path(), &[]);
        assert_eq!(output.status.code(), Some(exit), "{}", said(&output));
        let where_to = if made {
            "this night: history/nightly/20260101T000000Z-a/summary.md"
        } else {
            "no night was added to history/nightly"
        };
        assert!(said(&output).contains(where_to), "{}", said(&output));
    }
    let here = stage(0, true);
    let output = nightly(here.path(), &["--short", "mine", "--machine", "m"]);
    let mine = fs::canonicalize(here.path()).unwrap().join("elsewhere/mine");
    let told = format!(
        "nightly experiments/nightly.toml --history {} --set workload.rw=read --set peers.round_time=500ms --set gate.find=4% --machine m",
        mine.display()
    );
    assert!(said(&output).contains(&told), "{}", said(&output));
    let output = said(&nightly(here.path(), &["--smoke"]));
    assert!(output.contains("--history history/smoke --set workload.rw=read --set design.rounds=12"), "{output}");
    assert_eq!(nightly(here.path(), &["--shrt"]).status.code(), Some(2));
}

#[test]
fn a_program_that_does_not_build_is_no_night() {
    let stage = stage(0, true);
    fs::write(stage.path().join("bin/cargo"), "#!/bin/sh\nexit 101\n").unwrap();
    assert_eq!(nightly(stage.path(), &[]).status.code(), Some(101));
}
