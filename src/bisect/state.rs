//! The state directory: what is searched for (`task.json`), what was learnt so far (`steps.csv`, appended to and flushed), programs and logs.
//!
//! A kill at any moment loses the step under way and no other.

use super::search::Verdict;
use super::{Commit, Error};
use crate::durable::{self, Dir};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Version of both files.
const SCHEMA_VERSION: u32 = 1;
const TASK: &str = "task.json";
const STEPS: &str = "steps.csv";
pub const PROGRAMS: &str = "programs";
pub const LOGS: &str = "logs";
pub const WORKTREE: &str = "worktree";

/// What is searched for. A state goes on with the task that it began with and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Where its repository keeps its objects.
    pub repository: PathBuf,
    pub good: String,
    pub bad: String,
    pub build: String,
    pub program: PathBuf,
    /// The text of the experiment, after `--set`.
    pub experiment: String,
    pub metric: Option<String>,
    pub cell: Option<String>,
}

impl Task {
    /// The first thing in which two tasks differ, as a user knows it, and what it was and is.
    fn difference(&self, now: &Task) -> Option<(&'static str, String, String)> {
        let shown = |path: &Path| path.display().to_string();
        let unless = |text: &Option<String>| text.clone().unwrap_or_else(|| "what the experiment says".into());
        let pairs = [
            ("--repository", shown(&self.repository), shown(&now.repository)),
            ("--good", self.good.clone(), now.good.clone()),
            ("--bad", self.bad.clone(), now.bad.clone()),
            ("--build", self.build.clone(), now.build.clone()),
            ("--program", shown(&self.program), shown(&now.program)),
            ("--metric", unless(&self.metric), unless(&now.metric)),
            ("--cell", unless(&self.cell), unless(&now.cell)),
        ];
        let named = pairs.into_iter().find(|(_, then, now)| then != now);
        let experiment = || ("the experiment", "another text".into(), "that of now".into());
        named.or_else(|| (self.experiment != now.experiment).then(experiment))
    }
}

/// `task.json`.
#[derive(Serialize, Deserialize)]
struct TaskFile {
    schema_version: u32,
    task: Task,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Built,
    BuildFailed,
    /// Rounds so far do not tell.
    More,
    Same,
    Different,
    Undecided,
}

impl Step {
    /// The verdict that it is, if it is one.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Step::Built | Step::More => None,
            Step::BuildFailed => Some(Verdict::Unbuildable),
            Step::Same => Some(Verdict::Same),
            Step::Different => Some(Verdict::Different),
            Step::Undecided => Some(Verdict::Undecided),
        }
    }
}

/// A line of `steps.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRow {
    pub commit: String,
    pub step: Step,
    /// Of this commit beside the good one, all together.
    pub rounds: u32,
    /// In words, or why it does not build.
    pub figures: String,
    pub time_utc: String,
}

impl StepRow {
    const HEADER: [&str; 5] = ["commit", "step", "rounds", "figures", "time_utc"];
}

/// An open state directory.
#[derive(Debug)]
pub struct State {
    /// Locked for as long as the search goes on; the kernel lets go of it with the process.
    dir: Dir,
    programs: Dir,
    steps: Vec<StepRow>,
}

impl State {
    /// Makes the directory, or opens it to go on with the same task.
    pub fn open(dir: &Path, task: &Task) -> Result<State, Error> {
        Dir::create(dir).map_err(write(dir))?;
        // Programs are started from elsewhere than here.
        let path = dir.canonicalize().map_err(read(dir))?;
        let dir = Dir::open(&path).map_err(read(&path))?;
        if !dir.lock().map_err(|source| Error::Lock { path: path.clone(), source })? {
            return Err(Error::Busy(path));
        }
        match dir.maybe_text(TASK).map_err(read(&dir.join(TASK)))? {
            Some(text) => check(&dir, &text, task)?,
            None => begin(&dir, task)?,
        }
        // What git does to the work tree must not be done to another that a link leads to.
        if dir.holds(WORKTREE).map_err(read(&dir.join(WORKTREE)))? {
            dir.dir(WORKTREE).map_err(read(&dir.join(WORKTREE)))?;
        }
        dir.make(LOGS).map_err(write(&dir.join(LOGS)))?;
        let programs = dir.make(PROGRAMS).map_err(write(&dir.join(PROGRAMS)))?;
        // What lies there is started.
        if !(dir.is_ours() && programs.is_ours()) {
            return Err(Error::Strangers(path));
        }
        let steps = kept(&dir, STEPS, &StepRow::HEADER)?;
        Ok(State { dir, programs, steps })
    }

    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Takes note of a step: it counts once this returns.
    pub fn note(&mut self, commit: &Commit, step: Step, rounds: u32, figures: &str) -> Result<(), Error> {
        let time_utc = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        // What a kill leaves of a row is known by its missing end of line.
        let figures = figures.replace(['\n', '\r'], " ");
        let row = StepRow { commit: commit.id.clone(), step, rounds, figures, time_utc };
        let text = durable::lines(std::slice::from_ref(&row));
        self.dir.append(STEPS, text.as_bytes()).map_err(write(&self.dir.join(STEPS)))?;
        self.steps.push(row);
        Ok(())
    }

    /// Verdicts in the order in which they were reached.
    pub fn verdicts(&self) -> impl Iterator<Item = (&str, Verdict)> {
        self.steps.iter().filter_map(|row| Some((row.commit.as_str(), row.step.verdict()?)))
    }

    /// What was noted last of a commit.
    pub fn last(&self, commit: &Commit) -> Option<&StepRow> {
        self.steps.iter().rfind(|row| row.commit == commit.id)
    }

    /// True where a commit was built.
    pub fn built(&self, commit: &Commit) -> bool {
        self.steps.iter().any(|row| row.commit == commit.id && row.step == Step::Built)
    }

    /// Where the program of a commit lies once it is built.
    pub fn program(&self, commit: &Commit) -> PathBuf {
        self.programs.join(&commit.id)
    }

    /// That file, opened.
    pub fn program_file(&self, commit: &Commit) -> io::Result<File> {
        self.programs.file(&commit.id)
    }
}

/// Begins in a directory that holds nothing; what a killed beginning leaves is hidden.
fn begin(dir: &Dir, task: &Task) -> Result<(), Error> {
    let names = dir.names().map_err(read(dir.path()))?;
    if names.iter().any(|name| !name.as_encoded_bytes().starts_with(b".")) {
        return Err(Error::Foreign(dir.path().into()));
    }
    let file = TaskFile { schema_version: SCHEMA_VERSION, task: task.clone() };
    let text = serde_json::to_string_pretty(&file).expect("a task is text") + "\n";
    // The directory may lie in the user's work tree, which is to look as before.
    for (name, text) in [(".gitignore", "*\n"), (TASK, &text)] {
        dir.replace(name, text.as_bytes()).map_err(write(&dir.join(name)))?;
    }
    Ok(())
}

/// Whether the directory's task is this one.
fn check(dir: &Dir, text: &str, task: &Task) -> Result<(), Error> {
    let path = dir.join(TASK);
    let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
    let file: TaskFile = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    if file.schema_version != SCHEMA_VERSION {
        return Err(damaged(format!("schema_version is {}, this program writes {SCHEMA_VERSION}", file.schema_version)));
    }
    match file.task.difference(task) {
        Some((what, then, now)) => Err(Error::OtherTask { dir: dir.path().into(), what, then, now }),
        None => Ok(()),
    }
}

/// The whole rows of a file that is appended to, which is cut back to them, or begun.
pub fn kept<T: DeserializeOwned>(dir: &Dir, name: &str, header: &[&str]) -> Result<Vec<T>, Error> {
    let path = dir.join(name);
    let Some(text) = dir.maybe_text(name).map_err(read(&path))? else {
        dir.replace(name, durable::line(header).as_bytes()).map_err(write(&path))?;
        return Ok(vec![]);
    };
    let whole = durable::whole_lines(&text);
    let rows = durable::parse(whole).map_err(|e| Error::Damaged { path: path.clone(), reason: e.to_string() })?;
    dir.cut(name, whole.len() as u64).map_err(write(&path))?;
    Ok(rows)
}

fn read(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| Error::Read { path: path.into(), source }
}

fn write(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| Error::Write { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn task() -> Task {
        Task {
            repository: "/repository/.git".into(),
            good: "a".into(),
            bad: "b".into(),
            build: "make".into(),
            program: "program".into(),
            experiment: "name = \"x\"".into(),
            metric: None,
            cell: None,
        }
    }

    fn commit(id: &str) -> Commit {
        Commit { id: id.into(), ..Commit::default() }
    }

    #[test]
    fn a_step_cut_anywhere_leaves_the_steps_before_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        let mut state = State::open(&dir, &task()).unwrap();
        assert!(matches!(State::open(&dir, &task()), Err(Error::Busy(_))), "one search at a time");
        state.note(&commit("a"), Step::Built, 0, "").unwrap();
        let first = fs::read_to_string(dir.join(STEPS)).unwrap();
        state.note(&commit("a"), Step::Same, 12, "0.99 [0.98, 1.00],\n\"p\" .2").unwrap();
        let whole = fs::read_to_string(dir.join(STEPS)).unwrap();
        let rows = state.steps.clone();
        drop(state);
        for end in first.len()..whole.len() {
            fs::write(dir.join(STEPS), &whole[..end]).unwrap();
            assert_eq!(State::open(&dir, &task()).unwrap().steps, rows[..1], "cut at {end}");
            assert_eq!(fs::read_to_string(dir.join(STEPS)).unwrap(), first);
        }
        fs::write(dir.join(STEPS), &whole).unwrap();
        assert_eq!(State::open(&dir, &task()).unwrap().steps, rows);
    }

    #[test]
    fn other_tasks_and_other_things_are_refused_and_a_killed_beginning_is_not() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".tmpabc"), "").unwrap();
        State::open(home.path(), &task()).unwrap();
        fs::remove_file(home.path().join(STEPS)).unwrap();
        State::open(home.path(), &task()).unwrap();
        let others = [
            ("--good", Task { good: "c".into(), ..task() }),
            ("--build", Task { build: "true".into(), ..task() }),
            ("--metric", Task { metric: Some("iops".into()), ..task() }),
            ("the experiment", Task { experiment: "name = \"y\"".into(), ..task() }),
        ];
        for (named, other) in others {
            let error = State::open(home.path(), &other).unwrap_err();
            assert!(matches!(error, Error::OtherTask { what, .. } if what == named), "{error}");
        }
        let occupied = tempfile::tempdir().unwrap();
        fs::write(occupied.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(State::open(occupied.path(), &task()), Err(Error::Foreign(_))));
    }

    #[test]
    fn programs_that_others_may_replace_are_not_started() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        drop(State::open(&dir, &task()).unwrap());
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(State::open(&dir, &task()), Err(Error::Strangers(_))));
    }
}
