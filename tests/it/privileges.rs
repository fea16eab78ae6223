//! What is done as root is done with no more than it needs: verbs that only read and derive become the owner of where they write, or keep no capability.

use crate::support::{ablate, root, skip};
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
    fs::create_dir(&run).unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/quick");
    let from = fs::read_dir(committed).unwrap().map(|e| e.unwrap().path()).find(|p| p.join("arms.csv").exists()).unwrap();
    for name in
        ["manifest.json", "plan.csv", "rounds.csv", "trials.csv", "trials.csv.zst", "trials.csv.gz", "arms.csv", "overhead.csv"]
    {
        if from.join(name).exists() {
            fs::copy(from.join(name), run.join(name)).unwrap();
        }
    }
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

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).to_string()
}

#[test]
fn what_is_derived_of_a_users_run_is_the_users() {
    if !root() {
        return skip("privileges::what_is_derived_of_a_users_run_is_the_users", "needs root");
    }
    let (_dir, run) = run_of_nobody();
    let output = tool("report", &[&run]);
    assert!(output.status.success(), "{}", said(&output));
    let mut dirs = vec![run.clone()];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            assert_eq!(fs::metadata(&path).unwrap().uid(), NOBODY, "{}", path.display());
            files += 1;
            dirs.extend(path.is_dir().then_some(path));
        }
    }
    assert!(run.join("report.md").exists() && run.join("plots").is_dir() && files > 10, "{files}");
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
