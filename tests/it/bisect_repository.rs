//! `bisect` in real repositories, with a judge of known truth: what is built, what is left alone, what survives an end at any moment.

use crate::bisect::{EFFORT, Reader, task};
use crate::support::{self, Bench, ablate, executable, prints_for, prints_tps, skip};
use insta::assert_snapshot;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use uring_ablate::bisect::repository::Repository;
use uring_ablate::bisect::state::{State, Task};
use uring_ablate::bisect::workshop::Workshop;
use uring_ablate::bisect::{self, Answer, Error, Job, Told};
use uring_ablate::spawn::{Interrupts, Tether};

/// A real repository of a test's own.
struct Repo {
    home: tempfile::TempDir,
}

impl Repo {
    /// `None` where there is no git.
    fn new(test: &str) -> Option<Repo> {
        if Command::new("git").arg("--version").output().is_err() {
            skip(test, "git is not installed");
            return None;
        }
        let repo = Repo { home: tempfile::tempdir().unwrap() };
        fs::create_dir(repo.dir()).unwrap();
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        fs::write(repo.dir().join(".gitignore"), "/out\n").unwrap();
        Some(repo)
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        support::git(&self.dir(), arguments)
    }

    /// A commit whose program is `text`.
    fn commit(&self, subject: &str, text: &str) {
        fs::write(self.dir().join("source"), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", subject]);
    }

    /// Commits 0 to 9: slow from 6 on; 5 does not build, and the program of 3 is that of 0.
    fn line(&self) {
        for place in 0..10 {
            let speed = if place >= 6 { "slow" } else { "fast" };
            let broken = if place == 5 { "broken\n" } else { "" };
            let of = if place == 3 { 0 } else { place };
            self.commit(&format!("change {place}"), &format!("{speed}\n{broken}of {of}\n"));
        }
    }

    /// Every file below the repository, `.git` included, with what is in it.
    fn everything(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut dirs) = (BTreeMap::new(), vec![self.dir()]);
        while let Some(dir) = dirs.pop() {
            for path in fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()) {
                if path.is_dir() { dirs.push(path) } else { drop(files.insert(path.clone(), fs::read(&path).unwrap())) }
            }
        }
        files
    }

    /// Searches for what made `bad` worse than `good`; the answer in subjects, and the verdicts on the way.
    fn search(&self, state: &Path, good: &str, bad: &str, judge: &mut Reader) -> Result<(Vec<String>, Vec<String>), Error> {
        let (tether, interrupts) = (Tether::through(env!("CARGO_BIN_EXE_uring-ablate")), Interrupts::install().unwrap());
        let dir = self.dir();
        let repository = Repository::open(&dir, &tether, &interrupts)?;
        let commits = repository.line(good, bad)?;
        let ends = (commits[0].id.clone(), commits[commits.len() - 1].id.clone());
        let task = Task { repository: repository.common_dir()?, good: ends.0, bad: ends.1, ..task() };
        let mut state = State::open(state, &task)?;
        let log = self.path("builds").display().to_string();
        let build = format!(
            "echo $URING_ABLATE_COMMIT >>{log}; if grep broken source; then exit 7; fi; mkdir -p out; cp source out/program; \
             echo left >>left; echo changed >>source"
        );
        let made = Path::new("out/program");
        let mut workshop = Workshop::new((repository, &tether, &interrupts), (&build, made), &state)?;
        let told = RefCell::new(vec![]);
        let progress = |t: &Told<'_>| {
            told.borrow_mut().push(format!("{} of ~{}: {} {}", t.done, t.total, t.commit.subject, t.verdict.words()));
        };
        let (state, builder) = (&mut state, &mut workshop);
        let answer = bisect::run(&mut Job { commits: &commits, effort: EFFORT, state, builder, judge, progress: &progress })?;
        workshop.clear()?;
        let Answer::First(range) = answer else { return Ok((vec![format!("{answer:?}")], told.into_inner())) };
        Ok((commits[range].iter().map(|c| format!("{} {}", c.date, c.subject)).collect(), told.into_inner()))
    }

    fn builds(&self) -> Vec<String> {
        fs::read_to_string(self.path("builds")).unwrap_or_default().lines().map(str::to_string).collect()
    }
}

#[test]
fn a_real_repository_is_searched_and_left_as_it_was() {
    let Some(repo) = Repo::new("a_real_repository_is_searched_and_left_as_it_was") else { return };
    repo.line();
    // A work tree as one has it: changed, staged, untracked; and hooks that would tell.
    fs::write(repo.dir().join("source"), "half a thought\n").unwrap();
    fs::write(repo.dir().join("staged"), "soon\n").unwrap();
    repo.git(&["add", "staged"]);
    fs::write(repo.dir().join("untracked"), "mine\n").unwrap();
    let hook = repo.dir().join(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    executable(&hook, &format!("#!/bin/sh\necho ran >{}\n", repo.path("hook").display()));
    let status = || repo.git(&["--no-optional-locks", "status", "--porcelain"]);
    let (before, said) = (repo.everything(), status());
    // In the middle of the user's work tree, as by default.
    let state = repo.dir().join("bisect/a..b");
    let (answer, told) = repo.search(&state, "HEAD~9", "HEAD", &mut Reader::default()).unwrap();
    assert_eq!(answer, ["2026-01-02 change 5", "2026-01-02 change 6"], "{told:?}");
    assert_snapshot!(told.join("\n"), @"
    1 of ~5: change 9 different
    2 of ~5: change 5 does not build, skipped
    3 of ~6: change 6 different
    4 of ~5: change 3 same
    5 of ~5: change 4 same
    ");
    let mut after = repo.everything();
    after.retain(|path, _| !path.starts_with(&state));
    assert!(after == before, "{:?}", after.keys().filter(|k| after.get(*k) != before.get(*k)).collect::<Vec<_>>());
    assert_eq!(status(), said);
    assert!(!repo.path("hook").exists(), "no hook ran");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    assert!(!state.join("worktree").exists() && state.join("steps.csv").exists());
}

#[test]
fn an_interrupted_search_builds_and_measures_nothing_twice() {
    let Some(repo) = Repo::new("an_interrupted_search_builds_and_measures_nothing_twice") else { return };
    repo.line();
    let whole = repo.search(&repo.path("whole"), "HEAD~9", "HEAD", &mut Reader::default()).unwrap().0;
    let once = repo.builds();
    fs::remove_file(repo.path("builds")).unwrap();
    let state = repo.path("state");
    let mut calls = 0;
    let answer = loop {
        let mut judge = Reader { ends_at: Some(2), ..Reader::default() };
        let end = repo.search(&state, "HEAD~9", "HEAD", &mut judge);
        calls += judge.calls;
        match end {
            Err(Error::Interrupted) => assert!(calls < 20),
            other => break other.unwrap().0,
        }
    };
    assert_eq!((answer, repo.builds()), (whole, once));
}

/// The build itself presses Ctrl-C.
#[test]
fn ctrl_c_ends_a_build_and_what_it_started() {
    let test = "ctrl_c_ends_a_build_and_what_it_started";
    if std::env::var_os("NEXTEST").is_none() {
        return skip(test, "a signal would reach the other tests of this process; run with cargo nextest");
    }
    let Some(repo) = Repo::new(test) else { return };
    repo.line();
    let (tether, interrupts) = (Tether::through(env!("CARGO_BIN_EXE_uring-ablate")), Interrupts::install().unwrap());
    let dir = repo.dir();
    let repository = Repository::open(&dir, &tether, &interrupts).unwrap();
    let commits = repository.line("HEAD~1", "HEAD").unwrap();
    let mut state = State::open(&repo.path("state"), &task()).unwrap();
    let pid = repo.path("pid");
    let build = format!("sleep 1000 & echo $! >{}; kill -INT $PPID; wait", pid.display());
    let mut workshop = Workshop::new((repository, &tether, &interrupts), (&build, Path::new("out/program")), &state).unwrap();
    let (state, builder, judge, progress) = (&mut state, &mut workshop, &mut Reader::default(), &|_: &Told<'_>| ());
    let end = bisect::run(&mut Job { commits: &commits, effort: EFFORT, state, builder, judge, progress });
    assert!(matches!(end, Err(Error::Interrupted)), "{end:?}");
    assert_eq!(state.verdicts().count(), 0);
    let sleeper = fs::read_to_string(pid).unwrap();
    let gone = || fs::read_to_string(format!("/proc/{}/stat", sleeper.trim())).map_or(true, |stat| stat.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(gone());
}

#[test]
fn what_a_kill_leaves_of_a_work_tree_is_put_in_order() {
    let Some(repo) = Repo::new("what_a_kill_leaves_of_a_work_tree_is_put_in_order") else { return };
    repo.line();
    let worktree = |state: &Path| state.join("worktree");
    let begun = |name: &str| {
        let state = repo.dir().join("bisect").join(name);
        let mut judge = Reader { ends_at: Some(2), ..Reader::default() };
        assert!(matches!(repo.search(&state, "HEAD~9", "HEAD", &mut judge), Err(Error::Interrupted)));
        state
    };
    let locked = begun("locked");
    let lock = repo.git(&["-C", worktree(&locked).to_str().unwrap(), "rev-parse", "--git-path", "index.lock"]);
    fs::write(lock, "").unwrap();
    let half = begun("half");
    fs::remove_file(worktree(&half).join(".git")).unwrap();
    let gone = begun("gone");
    fs::remove_dir_all(worktree(&gone)).unwrap();
    fs::write(repo.dir().join("source"), "half a thought\n").unwrap();
    for state in [locked, half, gone] {
        let (answer, _) = repo.search(&state, "HEAD~9", "HEAD", &mut Reader::default()).unwrap();
        assert_eq!(answer.len(), 2);
        assert_eq!(fs::read_to_string(repo.dir().join("source")).unwrap(), "half a thought\n", "the user's file is the user's");
    }
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_state_goes_on_with_its_own_task_alone() {
    let Some(repo) = Repo::new("a_state_goes_on_with_its_own_task_alone") else { return };
    repo.line();
    let state = repo.path("state");
    repo.search(&state, "HEAD~9", "HEAD", &mut Reader::default()).unwrap();
    let error = repo.search(&state, "HEAD~8", "HEAD", &mut Reader::default()).unwrap_err();
    assert!(matches!(error, Error::OtherTask { what: "--good", .. }), "{error}");
    assert!(error.to_string().contains("choose another --state"), "{error}");
}

#[test]
fn an_end_that_does_not_build_is_said_and_tried_anew() {
    let Some(repo) = Repo::new("an_end_that_does_not_build_is_said_and_tried_anew") else { return };
    repo.line();
    for turn in 1..=2 {
        let error = repo.search(&repo.path("state"), "HEAD~9", "HEAD~4", &mut Reader::default()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::End { flag: "--bad", .. }), "{text}");
        let log = text.split("its output is in ").nth(1).unwrap().split(')').next().unwrap();
        assert_eq!(fs::read_to_string(log).unwrap(), "broken\n", "{text}");
        assert_eq!(repo.builds().len(), 1 + turn, "the good one once, the bad one each time");
    }
}

#[test]
fn the_line_follows_first_parents_that_descend_from_the_good_commit() {
    let Some(repo) = Repo::new("the_line_follows_first_parents_that_descend_from_the_good_commit") else { return };
    let merge = |branch: &str| {
        repo.git(&["merge", "--quiet", "--no-ff", "--strategy=ours", "--message", &format!("merge {branch}"), branch]);
    };
    repo.commit("root", "0");
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.commit("side 1", "s1");
    repo.commit("side 2", "s2");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.commit("main 1", "m1");
    merge("side");
    repo.commit("main 2", "m2");
    let (tether, interrupts) = (Tether::through(env!("CARGO_BIN_EXE_uring-ablate")), Interrupts::install().unwrap());
    let dir = repo.dir();
    let repository = Repository::open(&dir, &tether, &interrupts).unwrap();
    let line =
        |good: &str, bad: &str| -> Vec<String> { repository.line(good, bad).unwrap().into_iter().map(|c| c.subject).collect() };
    assert_eq!(line("main~3", "main"), ["root", "main 1", "merge side", "main 2"]);
    assert_eq!(line("side~1", "main"), ["side 1", "side 2", "merge side", "main 2"], "beside the first parents");
    assert_eq!(line("main^", "main"), ["merge side", "main 2"]);
    assert!(matches!(repository.line("side", "main~2"), Err(Error::NoAncestor { .. })));
}

#[test]
fn a_search_that_cannot_be_is_refused_with_a_remedy() {
    let Some(repo) = Repo::new("a_search_that_cannot_be_is_refused_with_a_remedy") else { return };
    repo.line();
    let bench = Bench::small();
    let refused = |good: &str, bad: &str, more: &[&str]| {
        let repository = repo.dir().display().to_string();
        let output = ablate()
            .arg("bisect")
            .arg(&bench.file)
            .args(["--good", good, "--bad", bad, "--build", "true", "--repository", &repository])
            .args(more)
            .current_dir(bench.dir.path())
            .output()
            .unwrap();
        bench.verdict(&output).replace(&repository, "REPO")
    };
    assert_snapshot!(refused("nonsense", "HEAD", &[]), @"
    exit 2
    uring-ablate: --good nonsense: REPO knows no such commit (fatal: Needed a single revision); name a branch, a tag or a hash, or fetch it first
    ");
    assert_snapshot!(refused("HEAD", "HEAD~9", &[]), @"
    exit 2
    uring-ablate: --good HEAD descends from --bad HEAD~9; it must be the other way round: swap them
    ");
    assert_snapshot!(refused("main", "HEAD", &[]).replace(&repo.git(&["rev-parse", "--short", "HEAD"]), "SHORT"), @"
    exit 2
    uring-ablate: --good main and --bad HEAD are the same commit, SHORT change 9; name two
    ");
    assert!(!bench.dir.path().join("bisect").exists(), "nothing is written");
    assert_snapshot!(refused("HEAD~1", "HEAD", &["--program", "/bin/sh", "--state", "state"]), @"
    exit 2
    uring-ablate: --program /bin/sh must lie in the work tree that is built; give its path relative to that
    ");
    let outside = Command::new(env!("CARGO_BIN_EXE_uring-ablate"))
        .arg("bisect")
        .arg(&bench.file)
        .args(["--good", "a", "--bad", "b", "--build", "true"])
        .current_dir(bench.dir.path())
        .output()
        .unwrap();
    assert_snapshot!(bench.verdict(&outside), @"
    exit 2
    uring-ablate: --repository . is not in a git repository: fatal: not a git repository (or any of the parent directories): .git; name the directory of one
    ");
}

#[test]
fn the_verb_measures_and_finds_the_commit_and_goes_on_after_a_kill() {
    let Some(repo) = Repo::new("the_verb_measures_and_finds_the_commit_and_goes_on_after_a_kill") else { return };
    for place in 0..8 {
        repo.commit(&format!("change {place}"), &prints_tps(if place >= 5 { 94_500 } else { 100_000 }, 100, place));
    }
    let bench = Bench::new(&prints_for(12));
    let bisect = |state: &str, more: &[&str]| {
        let mut command = ablate();
        command.arg("bisect").arg(&bench.file).args(["--good", "HEAD~7", "--bad", "HEAD", "--program", "out"]);
        command.args(["--build", "cp source out && chmod +x out", "--repository"]).arg(repo.dir());
        command.arg("--state").arg(repo.path(state)).args(more);
        command
    };
    let mut killed =
        bisect("state", &[]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(900));
    let _ = killed.kill();
    killed.wait().unwrap();
    let output = bisect("state", &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("first bad commit: ") && said.contains("change 5") && said.contains("command tps -5."), "{said}");
    let unknown = bisect("other", &["--metric", "iops"]).output().unwrap();
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(2) && said.contains("it measures tps"), "{said}");
}

#[test]
fn the_verb_says_that_nothing_differs() {
    let Some(repo) = Repo::new("the_verb_says_that_nothing_differs") else { return };
    (0..4).for_each(|place| repo.commit(&format!("change {place}\u{1b}[2J"), &prints_tps(100_000, 100, place)));
    let bench = Bench::new(&prints_for(12));
    let bisect = || {
        let mut command = ablate();
        command.arg("bisect").arg(&bench.file).args(["--good", "HEAD~3", "--bad", "HEAD", "--program", "out"]);
        command.args(["--build", "cp source out && chmod +x out", "--repository"]).arg(repo.dir());
        command.arg("--state").arg(repo.path("state"));
        command
    };
    // Whoever listens.
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(bisect().stdout(full()).stderr(full()).status().unwrap().code(), Some(3));
    let unread = || std::io::pipe().unwrap().1;
    assert_eq!(bisect().stdout(unread()).stderr(unread()).status().unwrap().code(), Some(3));
    let output = bisect().output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("do not differ by what") && said.contains("\\x1b[2J") && !said.contains('\u{1b}'), "{said}");
}
