//! Which commit made it worse: bisection between two commits by measured comparison with the good one, which may take more rounds to tell,
//! or not tell at all.

pub mod repository;
pub mod search;
pub mod state;
pub mod workshop;

use crate::durable::whole;
use search::{Next, Search, Verdict};
use state::{State, Step};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Why a search ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
    #[error("cannot write {path}: {source}; make room or choose another --state, then start again", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {reason}; choose another --state, or remove the directory to begin anew", path = path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot lock {path}: {source}", path = path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("{path} is in use by another bisect; wait for it to end or choose another --state", path = .0.display())]
    Busy(PathBuf),
    #[error("{path} belongs to another user, or others may write to it: its programs are not started; choose another --state", path = .0.display())]
    Strangers(PathBuf),
    #[error("{path} holds something other than a bisect (no task.json); choose another --state", path = .0.display())]
    Foreign(PathBuf),
    #[error(
        "{dir} holds the bisect of another task: {what} was {then} and is {now}; choose another --state, or remove the directory to begin \
         anew", dir = dir.display()
    )]
    OtherTask { dir: PathBuf, what: &'static str, then: String, now: String },
    #[error("cannot run git ({0}); install it (apt-get install git)")]
    NoGit(String),
    #[error("--repository {dir} is not in a git repository: {said}; name the directory of one", dir = dir.display())]
    NoRepository { dir: PathBuf, said: String },
    #[error(
        "{flag} {revision}: {repository} knows no such commit ({said}); name a branch, a tag or a hash, or fetch it first",
        repository = repository.display()
    )]
    UnknownRevision { flag: &'static str, revision: String, repository: PathBuf, said: String },
    #[error("--good {good} and --bad {bad} are the same commit, {commit}; name two")]
    SameCommit { good: String, bad: String, commit: String },
    #[error("--good {good} descends from --bad {bad}; it must be the other way round: swap them")]
    Swapped { good: String, bad: String },
    #[error(
        "--good {good} is no ancestor of --bad {bad}, so no line of commits leads from one to the other; take as --good what both descend \
         from: git merge-base {good} {bad} (a shallow clone lacks history: git fetch --unshallow)"
    )]
    NoAncestor { good: String, bad: String },
    #[error("--program {path} must lie in the work tree that is built; give its path relative to that", path = .0.display())]
    OutsideProgram(PathBuf),
    #[error("git {command} in {dir}: {said}", dir = dir.display())]
    Git { command: String, dir: PathBuf, said: String },
    #[error("the build of {flag} {commit} failed ({why}); without it there is nothing to compare")]
    End { flag: &'static str, commit: String, why: String },
    #[error("cannot start processes: {0}")]
    Start(io::Error),
    /// Of a judge.
    #[error("cannot measure: {0}")]
    Judge(String),
}

/// What two programs beside each other say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    Same,
    /// For the worse.
    Different,
    /// Not enough rounds to tell.
    More,
}

/// Compares programs by measuring them.
pub trait Judge {
    /// Compares `candidate` with `good` by `rounds` more rounds on top of what was measured of this pair before, also by a process that
    /// was killed since: what was measured and not noted as a step is measured again.
    fn rounds(&mut self, good: &Path, candidate: &Path, rounds: u32) -> Result<Likeness, Error>;

    /// What the last comparison found, in one line of words and figures.
    fn figures(&self) -> String;
}

/// What became of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    Program,
    /// Why there is none.
    Failed(String),
}

/// Makes programs of commits.
pub trait Builder {
    /// Makes the program of a commit and puts it at `to`, whole or not at all.
    fn build(&mut self, commit: &Commit, to: &Path) -> Result<Built, Error>;
}

/// A commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    pub id: String,
    pub parents: Vec<String>,
    /// As much of the id as is unique.
    pub short: String,
    /// Of its author, as year-month-day.
    pub date: String,
    pub subject: String,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.short, self.subject)
    }
}

/// Rounds that may be spent on a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// At first; doubled while they do not tell.
    pub first: u32,
    pub most: u32,
}

impl Effort {
    /// Rounds to add to `so_far`: as many again, up to the limit.
    fn more(self, so_far: u32) -> u32 {
        if so_far == 0 { self.first.min(self.most) } else { so_far.min(self.most.saturating_sub(so_far)) }
    }

    /// How often a judge may look at a pair: an error rate for the pair is to be shared between them.
    pub fn looks(self) -> u32 {
        let step = |so_far: &u32| Some(so_far + self.more(*so_far)).filter(|next| next > so_far);
        std::iter::successors(step(&0), step).count() as u32
    }
}

/// What a search needs.
pub struct Job<'a> {
    /// From the good one to the bad one, each a child of the one before.
    pub commits: &'a [Commit],
    pub effort: Effort,
    pub state: &'a mut State,
    pub builder: &'a mut dyn Builder,
    pub judge: &'a mut dyn Judge,
    /// Told of every step that was reached.
    pub progress: &'a dyn Fn(&Told<'_>),
}

/// A step that was reached.
#[derive(Debug)]
pub struct Told<'a> {
    /// Verdicts so far, this one included.
    pub done: usize,
    /// Verdicts that it will take if all the others tell.
    pub total: usize,
    pub commit: &'a Commit,
    pub verdict: Verdict,
    /// In words.
    pub figures: &'a str,
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first bad commit is among these places of the line; of more than one nothing more could be learnt.
    First(RangeInclusive<usize>),
    /// The ends do not differ.
    Alike,
    /// All rounds do not tell whether they do.
    Open,
}

/// Searches on from what the state knows.
pub fn run(job: &mut Job<'_>) -> Result<Answer, Error> {
    let mut search = Search::new(job.commits.len() - 1);
    for (id, verdict) in job.state.verdicts() {
        if let Some(place) = job.commits.iter().position(|c| c.id == id) {
            search.learn(place, verdict);
        }
    }
    loop {
        let place = match search.next() {
            Next::Try(place) => place,
            Next::First(range) => return Ok(Answer::First(range)),
            Next::Alike => return Ok(Answer::Alike),
            Next::Open => return Ok(Answer::Open),
        };
        let verdict = examine(job, place)?;
        search.learn(place, verdict);
        let (done, commit) = (search.learnt(), &job.commits[place]);
        let figures = job.state.last(commit).map_or("", |row| &row.figures);
        (job.progress)(&Told { done, total: done + search.left(), commit, verdict, figures });
    }
}

/// Builds a commit and compares it with the good one until that tells or may not go on.
fn examine(job: &mut Job<'_>, place: usize) -> Result<Verdict, Error> {
    let commit = &job.commits[place];
    let Some(good) = program(job, 0)? else { return Ok(Verdict::Unbuildable) };
    let Some(candidate) = program(job, place)? else { return Ok(Verdict::Unbuildable) };
    if let Some((twin, step)) = twin(job, commit) {
        job.state.note(commit, step, 0, &format!("the same program as {}, byte for byte", twin.short))?;
        return Ok(if step == Step::Same { Verdict::Same } else { Verdict::Different });
    }
    let mut rounds = job.state.last(commit).map_or(0, |row| row.rounds);
    loop {
        let more = job.effort.more(rounds);
        let likeness = job.judge.rounds(&good, &candidate, more)?;
        rounds += more;
        let (step, verdict) = match likeness {
            Likeness::Same => (Step::Same, Some(Verdict::Same)),
            Likeness::Different => (Step::Different, Some(Verdict::Different)),
            Likeness::More if rounds < job.effort.most => (Step::More, None),
            Likeness::More => (Step::Undecided, Some(Verdict::Undecided)),
        };
        job.state.note(commit, step, rounds, &job.judge.figures())?;
        if let Some(verdict) = verdict {
            return Ok(verdict);
        }
    }
}

/// The program of a commit, built unless it was; `None` where it does not build. Without either end there is no search, and a build of theirs
/// is tried anew each time.
fn program(job: &mut Job<'_>, place: usize) -> Result<Option<PathBuf>, Error> {
    let commit = &job.commits[place];
    let path = job.state.program(commit);
    if job.state.built(commit) && job.state.program_file(commit).is_ok() {
        return Ok(Some(path));
    }
    let last = job.commits.len() - 1;
    match job.builder.build(commit, &path)? {
        Built::Program => {
            job.state.note(commit, Step::Built, 0, "")?;
            Ok(Some(path))
        }
        Built::Failed(why) if place == 0 => Err(Error::End { flag: "--good", commit: commit.to_string(), why }),
        Built::Failed(why) if place == last => Err(Error::End { flag: "--bad", commit: commit.to_string(), why }),
        Built::Failed(why) => {
            job.state.note(commit, Step::BuildFailed, 0, &why)?;
            Ok(None)
        }
    }
}

/// A commit whose verdict holds for a program because it has the same, down to the last byte: as after a change of the documentation.
fn twin<'a>(job: &Job<'a>, new: &Commit) -> Option<(&'a Commit, Step)> {
    let bytes = whole(&job.state.program_file(new).ok()?).ok()?;
    let known = |(place, commit): (usize, &'a Commit)| {
        let step = if place == 0 { Step::Same } else { job.state.last(commit)?.step };
        let tells = matches!(step, Step::Same | Step::Different) && commit.id != new.id;
        let other = job.state.program_file(commit).ok().filter(|_| tells)?;
        let equal = other.metadata().ok()?.len() == bytes.len() as u64 && whole(&other).is_ok_and(|other| other == bytes);
        equal.then_some((commit, step))
    };
    job.commits.iter().enumerate().find_map(known)
}
