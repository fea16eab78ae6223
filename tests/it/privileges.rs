//! What is done as root is done with no more than it needs: verbs that only read and derive become the owner of where they write, or keep no capability.

use crate::support::{QUICK, ablate, committed_run, root, said, skip};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

const NOBODY: u32 = 65534;

/// A directory that all may search, and in it a run of nobody's without the files that a report makes.
fn run_of_nobody() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = dir.path().join("run");
    committed_run(QUICK, &run);
    give(&run, NOBODY);
    (dir, run)
}

fn give(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), uid));
    }
}

/// A directory of root's own that nobody can look into.
fn closed(dir: &Path) -> PathBuf {
    let path = dir.join("closed");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn tool(verb: &str, args: &[&Path]) -> Output {
    ablate().arg(verb).args(args).output().unwrap()
}

#[test]
fn what_is_derived_of_a_users_run_is_the_users() {
    if !root() {
        return skip("privileges::what_is_derived_of_a_users_run_is_the_users", "needs root");
    }
    let (_dir, run) = run_of_nobody();
    let output = tool("report", &[&run]);
    assert!(output.status.success(), "{}", said(&output));
    let files = all_belong(&run, NOBODY);
    assert!(run.join("report.md").exists() && run.join("plots").is_dir() && files > 10, "{files}");
}

/// Everything below a directory belongs to one user; how many files there are.
fn all_belong(dir: &Path, uid: u32) -> usize {
    let mut files = 0;
    for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), uid, "{}", path.display());
        files += if path.is_dir() { all_belong(&path, uid) } else { 1 };
    }
    files
}

#[test]
fn a_report_that_goes_elsewhere_belongs_to_the_owner_of_that_place() {
    const TEST: &str = "privileges::a_report_that_goes_elsewhere_belongs_to_the_owner_of_that_place";
    if !root() {
        return skip(TEST, "needs root");
    }
    const SOMEBODY: u32 = 65533;
    let (dir, run) = run_of_nobody();
    let before = all_belong(&run, NOBODY);
    let place = |name: &str, uid: u32| {
        let place = dir.path().join(name);
        fs::create_dir(&place).unwrap();
        give(&place, uid);
        place
    };
    let report = |out: &Path| tool("report", &[&run, Path::new("--out"), out]);
    for (name, uid) in [("roots", 0), ("nobodys", NOBODY), ("somebodys", SOMEBODY)] {
        // A directory that is made takes after the one above it.
        let place = place(name, uid);
        for out in [place.clone(), place.join("new")] {
            let output = report(&out);
            assert!(output.status.success() && out.join("report.md").exists(), "{name}: {}", said(&output));
            assert!(out.join("plots").is_dir() && all_belong(&out, uid) > 10, "{name}");
        }
        assert_eq!(fs::metadata(place.join("new")).unwrap().uid(), uid, "{name}");
    }
    assert_eq!(all_belong(&run, NOBODY), before, "nothing was added to the run");
    // Its owner keeps it to himself: root reads it for a place of its own, and for nobody else's.
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    let own = dir.path().join("roots/closed");
    let output = report(&own);
    assert!(output.status.success() && all_belong(&own, 0) > 10, "{}", said(&output));
    let others = dir.path().join("somebodys/closed");
    let output = report(&others);
    let told = format!("user {SOMEBODY} may not read {}", run.display());
    assert!(
        output.status.code() == Some(2) && said(&output).contains(&told) && !others.join("report.md").exists(),
        "{}",
        said(&output)
    );
    // A link in a place of somebody's leads root no further than him.
    let closed = closed(dir.path());
    let baited = place("baited", SOMEBODY);
    symlink(&closed, baited.join("plots")).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!report(&baited).status.success());
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0, "nothing is written there");
}

#[test]
fn a_users_run_leads_to_nothing_that_the_user_cannot_reach() {
    if !root() {
        return skip("privileges::a_users_run_leads_to_nothing_that_the_user_cannot_reach", "needs root");
    }
    // Charts into root's directory.
    let (dir, run) = run_of_nobody();
    let closed = closed(dir.path());
    symlink(&closed, run.join("plots")).unwrap();
    let output = tool("report", &[&run]);
    assert!(!output.status.success());
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0, "nothing is written there");
    // Rows from root's file.
    let (dir, run) = run_of_nobody();
    let closed = self::closed(dir.path());
    fs::rename(run.join("arms.csv"), closed.join("arms.csv")).unwrap();
    symlink(closed.join("arms.csv"), run.join("arms.csv")).unwrap();
    assert!(!tool("report", &[&run]).status.success(), "root's file is not read");
    assert!(!run.join("report.md").exists());
}

#[test]
fn a_run_in_a_place_that_is_closed_to_its_owner_is_refused_with_the_reason() {
    if !root() {
        return skip("privileges::a_run_in_a_place_that_is_closed_to_its_owner_is_refused_with_the_reason", "needs root");
    }
    let (dir, run) = run_of_nobody();
    let inside = closed(dir.path()).join("run");
    fs::rename(&run, &inside).unwrap();
    let output = tool("report", &[&inside]);
    let told = format!("user {NOBODY} may not read {}", inside.display());
    assert!(output.status.code() == Some(2) && said(&output).contains(&told), "{}", said(&output));
    assert!(!inside.join("report.md").exists());
}

#[test]
fn places_of_two_users_are_not_written_to_by_one() {
    if !root() {
        return skip("privileges::places_of_two_users_are_not_written_to_by_one", "needs root");
    }
    let (dir, run) = run_of_nobody();
    let output = ablate().arg("report").arg(&run).arg("--plots").arg(closed(dir.path())).output().unwrap();
    assert!(output.status.code() == Some(2) && said(&output).contains("belongs to user 65534"), "{}", said(&output));
    // Root's place alone: root reads what is closed to others, and writes there.
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    let out = dir.path().join("closed/csv");
    let output = ablate().arg("export").arg(&run).args(["--format", "go-benchfmt", "--out"]).arg(&out).output().unwrap();
    assert!(output.status.success() && fs::metadata(&out).unwrap().uid() == 0, "{}", said(&output));
}

/// While it waits for somebody to read what it prints, a verb shows what it kept.
#[test]
fn a_verb_that_measures_nothing_keeps_no_capability() {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut child = ablate().args(["completions", "bash"]).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    let status = || fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let of = |text: &str, key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(":\t").map(String::from));
        line.unwrap_or_else(|| panic!("{key} in {text}"))
    };
    // A full pipe: it has begun to print.
    let begun = std::time::Instant::now();
    while rustix::io::ioctl_fionread(&reader).unwrap() < 4096 {
        assert!(begun.elapsed().as_secs() < 20, "{}", status());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let text = status();
    for kept in ["CapEff", "CapPrm", "CapInh"] {
        assert_eq!(of(&text, kept), "0000000000000000", "{kept}");
    }
    assert_eq!(of(&text, "NoNewPrivs"), "1");
    drop(reader);
    child.wait().unwrap();
}
