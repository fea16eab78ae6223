//! Where programs are made: each commit in turn in one work tree, by the user's command, the program put aside under the commit's name.

use super::repository::{NO_LIMIT, Repository, forget_repositories};
use super::state::{LOGS, PROGRAMS, State, WORKTREE};
use super::{Builder, Built, Commit, Error};
use crate::control_group::Group;
use crate::durable::{self, Dir};
use crate::process::{Process, Wait};
use crate::spawn::{Interrupts, Tether};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// By its path: what lies on PATH may be somebody else's.
const SHELL: &str = "/bin/sh";

/// Builds commits.
pub struct Workshop<'a> {
    repository: Repository<'a>,
    tether: &'a Tether,
    interrupts: &'a Interrupts,
    command: &'a str,
    /// In the work tree.
    program: &'a Path,
    worktree: PathBuf,
    logs: Dir,
    programs: Dir,
}

impl<'a> Workshop<'a> {
    /// A workshop below the directory of `state`; makes nothing yet.
    pub fn new(
        (repository, tether, interrupts): (Repository<'a>, &'a Tether, &'a Interrupts),
        (command, program): (&'a str, &'a Path),
        state: &State,
    ) -> Result<Workshop<'a>, Error> {
        inside(program)?;
        let dir = |name: &str| state.dir().dir(name).map_err(|source| Error::Read { path: state.dir().join(name), source });
        let (worktree, logs, programs) = (state.dir().join(WORKTREE), dir(LOGS)?, dir(PROGRAMS)?);
        Ok(Workshop { repository, tether, interrupts, command, program, worktree, logs, programs })
    }

    /// Removes the work tree.
    pub fn clear(&self) -> Result<(), Error> {
        self.repository.discard(&self.worktree)
    }

    /// Runs the user's command; what it said if it fails.
    fn run(&self, commit: &Commit, log: &str) -> Result<Result<(), String>, Error> {
        let log = self.logs.log(log).map_err(|source| Error::Write { path: self.logs.join(log), source })?;
        // Where control groups may be made, what the command started ends with it, and what a kill of ours left ends here.
        let group = Group::make().ok();
        let mut command = match &group {
            Some(group) => self.tether.command_in(group.dir(), SHELL),
            None => self.tether.command(SHELL),
        };
        command.args(["-c", self.command]).current_dir(&self.worktree).env("URING_ABLATE_COMMIT", &commit.id);
        forget_repositories(&mut command, Some(&self.worktree));
        let mut process = Process::start_into(&mut command, log).map_err(Error::Start)?;
        if process.wait(NO_LIMIT, Some(self.interrupts)) == Wait::Interrupted {
            return Err(Error::Interrupted);
        }
        let status = process.finish().map_err(Error::Start)?;
        Ok(if status.success() { Ok(()) } else { Err(format!("{status}: {}", process.last_words())) })
    }

    /// Copies a program with its mode; under its name it is whole and on disk.
    fn put_aside(&self, made: &Path, commit: &Commit) -> io::Result<()> {
        let made = durable::open_named(made)?;
        self.programs.replace_as(&commit.id, &durable::whole(&made)?, made.metadata()?.mode() & 0o777)
    }
}

impl Builder for Workshop<'_> {
    fn build(&mut self, commit: &Commit, to: &Path) -> Result<Built, Error> {
        let (made, name) = (self.worktree.join(self.program), format!("{}.log", commit.id));
        let log = self.logs.join(&name);
        // A build that makes nothing must not pass for one by what the last one made.
        if made.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(&made).map_err(|source| Error::Write { path: made.clone(), source })?;
        }
        self.repository.check_out(&self.worktree, commit)?;
        if let Err(said) = self.run(commit, &name)? {
            return Ok(Built::Failed(format!("{said}; its output is in {}", log.display())));
        }
        if !made.is_file() {
            let program = self.program.display();
            return Ok(Built::Failed(format!("made no {program} (--program); its output is in {}", log.display())));
        }
        self.put_aside(&made, commit).map_err(|source| Error::Write { path: to.into(), source })?;
        Ok(Built::Program)
    }
}

/// Whether a program lies in the work tree: it is removed before each build, and must be nobody else's.
pub fn inside(program: &Path) -> Result<(), Error> {
    let inside = program.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside { Ok(()) } else { Err(Error::OutsideProgram(program.into())) }
}
