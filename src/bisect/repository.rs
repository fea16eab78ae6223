//! The user's repository: which commits lie between two, and a work tree of our own beside the user's. What is the user's (work tree,
//! index, branches, hooks) is neither changed nor run.

use super::{Commit, Error};
use crate::limits;
use crate::process::{Process, Wait};
use crate::program;
use crate::spawn::{Interrupts, Tether};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// No limit: a year.
pub const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What tells git of a repository other than the one in its directory; set in hooks, for example.
const LOCAL: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// An opened repository.
#[derive(Clone, Copy)]
pub struct Repository<'a> {
    dir: &'a Path,
    tether: &'a Tether,
    interrupts: &'a Interrupts,
}

impl<'a> Repository<'a> {
    /// The repository in `dir`, or that `dir` lies in.
    pub fn open(dir: &'a Path, tether: &'a Tether, interrupts: &'a Interrupts) -> Result<Repository<'a>, Error> {
        let repository = Repository { dir, tether, interrupts };
        repository.git(Path::new("/"), &["--version"])?.map_err(Error::NoGit)?;
        repository.common_dir()?;
        Ok(repository)
    }

    /// Where it keeps its objects, whichever of its work trees it was opened through.
    pub fn common_dir(&self) -> Result<PathBuf, Error> {
        let missing = |said| Error::NoRepository { dir: self.dir.into(), said };
        if !self.dir.is_dir() {
            return Err(missing("no such directory".into()));
        }
        let said = self.git(self.dir, &["rev-parse", "--git-common-dir"])?.map_err(missing)?;
        let dir = self.dir.join(said.trim_end_matches('\n'));
        dir.canonicalize().map_err(|source| Error::Read { path: dir, source })
    }

    /// The commits from `good` to `bad`, both included, each a child of the one before: back from the bad one by first parents wherever
    /// these descend from the good one.
    ///
    /// On such a line a change that is in one commit is in all that follow, which bisection rests on. A list of all commits between the two
    /// has no such order where branches were merged.
    pub fn line(&self, good: &str, bad: &str) -> Result<Vec<Commit>, Error> {
        let (first, last) = (self.commit("--good", good)?, self.commit("--bad", bad)?);
        if first.id == last.id {
            return Err(Error::SameCommit { good: good.into(), bad: bad.into(), commit: first.to_string() });
        }
        if !self.is_ancestor(&first, &last)? {
            let (good, bad) = (good.to_string(), bad.to_string());
            let swapped = self.is_ancestor(&last, &first)?;
            return Err(if swapped { Error::Swapped { good, bad } } else { Error::NoAncestor { good, bad } });
        }
        let range = format!("{}..{}", first.id, last.id);
        let listed = self.must(self.dir, &["rev-list", "--ancestry-path", FORMAT, &range])?;
        let mut between: HashMap<String, Commit> = commits(&listed).map(|c| (c.id.clone(), c)).collect();
        let mut line = vec![];
        let mut next = last.id.clone();
        while next != first.id {
            let commit = between.remove(&next).ok_or_else(|| self.odd(&range, &format!("a path without {next}")))?;
            let descends = |id: &&String| **id == first.id || between.contains_key(*id);
            next = commit.parents.iter().find(descends).ok_or_else(|| self.odd(&range, "a path with a gap"))?.clone();
            line.push(commit);
        }
        line.push(first);
        line.reverse();
        Ok(line)
    }

    /// What a revision names; `flag` is what the user gave it with.
    fn commit(&self, flag: &'static str, revision: &str) -> Result<Commit, Error> {
        let unknown = |said| Error::UnknownRevision { flag, revision: revision.into(), repository: self.dir.into(), said };
        let named = format!("{revision}^{{commit}}");
        let id = self.git(self.dir, &["rev-parse", "--verify", "--end-of-options", &named])?.map_err(unknown)?;
        let shown = self.must(self.dir, &["rev-list", "--max-count=1", FORMAT, id.trim()])?;
        commits(&shown).next().ok_or_else(|| self.odd(id.trim(), "no commit"))
    }

    fn is_ancestor(&self, ancestor: &Commit, commit: &Commit) -> Result<bool, Error> {
        Ok(self.git(self.dir, &["merge-base", "--is-ancestor", &ancestor.id, &commit.id])?.is_ok())
    }

    /// Puts `commit` into the work tree at `path`, which is made where there is none: over whatever a build or a kill left there of files that
    /// git knows. Its other files stay, so that a build need not begin anew.
    pub fn check_out(&self, path: &Path, commit: &Commit) -> Result<(), Error> {
        if !self.owns(path)? {
            self.discard(path)?;
            let path = path.to_string_lossy();
            // Twice forced: the place may be known of a work tree that a kill left half made.
            self.must(self.dir, &["worktree", "add", "--force", "--force", "--detach", "--no-checkout", &path, &commit.id])?;
        }
        for lock in ["index.lock", "HEAD.lock"] {
            // Of a git that was killed with us: the state directory's lock keeps everybody else out.
            let found = self.must(path, &["rev-parse", "--git-path", lock])?;
            let _ = fs::remove_file(path.join(found.trim_end_matches('\n')));
        }
        self.must(path, &["checkout", "--quiet", "--force", "--detach", &commit.id]).map(drop)
    }

    /// Removes the work tree at `path` with everything in it.
    pub fn discard(&self, path: &Path) -> Result<(), Error> {
        // Where git does not know it, the directory is all there is.
        let _ = self.git(self.dir, &["worktree", "remove", "--force", "--force", &path.to_string_lossy()])?;
        if path.exists() {
            fs::remove_dir_all(path).map_err(|source| Error::Write { path: path.into(), source })?;
        }
        Ok(())
    }

    /// True where `path` is a work tree of this repository's, not just a directory in somebody else's.
    fn owns(&self, path: &Path) -> Result<bool, Error> {
        if !path.join(".git").is_file() {
            return Ok(false);
        }
        let top = self.git(path, &["rev-parse", "--show-toplevel"])?;
        let common = self.git(path, &["rev-parse", "--git-common-dir"])?;
        let is = |said: Result<String, String>, dir: &Path| {
            said.is_ok_and(|s| path.join(s.trim_end_matches('\n')).canonicalize().is_ok_and(|found| found == dir))
        };
        Ok(is(top, path) && is(common, &self.common_dir()?))
    }

    /// What git says of success, or of failure.
    fn git(&self, dir: &Path, arguments: &[&str]) -> Result<Result<String, String>, Error> {
        // Hooks and helpers are for the user's own work.
        let quiet = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false"];
        let program = program::find(Path::new("git"));
        let program =
            program.ok_or_else(|| Error::NoGit("it is not on PATH, in a directory that nobody else can write to".into()))?;
        let mut command = self.tether.command(program);
        command.args(quiet).args(arguments).current_dir(dir);
        forget_repositories(&mut command, (dir != self.dir).then_some(dir));
        let mut process = Process::start_with(&mut command, b"", limits::LOG_BYTES).map_err(Error::Start)?;
        if process.wait(NO_LIMIT, Some(self.interrupts)) == Wait::Interrupted {
            return Err(Error::Interrupted);
        }
        let status = process.finish().map_err(Error::Start)?;
        Ok(if status.success() { Ok(process.output().map_err(Error::Start)?) } else { Err(process.last_words()) })
    }

    /// The same where only success will do.
    fn must(&self, dir: &Path, arguments: &[&str]) -> Result<String, Error> {
        let failed = |said| Error::Git { command: arguments.join(" "), dir: dir.into(), said };
        self.git(dir, arguments)?.map_err(failed)
    }

    fn odd(&self, of: &str, found: &str) -> Error {
        Error::Git { command: format!("rev-list {of}"), dir: self.dir.into(), said: format!("it gave {found}") }
    }
}

/// Keeps a command in the repository of its directory; where that is our work tree, `inside`, not even in one that it lies in: what is meant
/// for our files must not reach the user's should ours be gone.
pub fn forget_repositories(command: &mut Command, inside: Option<&Path>) {
    for name in LOCAL {
        command.env_remove(name);
    }
    if let Some(above) = inside.and_then(Path::parent) {
        command.env("GIT_CEILING_DIRECTORIES", above);
    }
}

/// Two lines for each commit, the first of which (`commit ID`) git adds; no subject holds a NUL.
const FORMAT: &str = "--format=%P%x00%h%x00%as%x00%s";

fn commits(listed: &str) -> impl Iterator<Item = Commit> {
    let mut lines = listed.lines();
    std::iter::from_fn(move || {
        let id = lines.next()?.strip_prefix("commit ")?.to_string();
        let mut fields = lines.next()?.splitn(4, '\0').map(str::to_string);
        let parents = fields.next()?.split_whitespace().map(str::to_string).collect();
        Some(Commit { id, parents, short: fields.next()?, date: fields.next()?, subject: fields.next()? })
    })
}
