//! Where programs are made: each commit in turn in one work tree, by the user's command, the program put aside under the commit's name.

use super::repository::{NO_LIMIT, Repository, forget_repositories};
use super::state::State;
use super::{Builder, Built, Commit, Error};
use crate::control_group::Group;
use crate::process::{Process, Wait};
use crate::spawn::{Interrupts, Tether};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};

/// Builds commits.
pub struct Workshop<'a> {
    repository: Repository<'a>,
    tether: &'a Tether,
    interrupts: &'a Interrupts,
    command: &'a str,
    /// In the work tree.
    program: &'a Path,
    worktree: PathBuf,
    logs: PathBuf,
}

impl<'a> Workshop<'a> {
    /// A workshop below the directory of `state`; makes nothing yet.
    pub fn new(
        (repository, tether, interrupts): (Repository<'a>, &'a Tether, &'a Interrupts),
        (command, program): (&'a str, &'a Path),
        state: &State,
    ) -> Result<Workshop<'a>, Error> {
        inside(program)?;
        let (worktree, logs) = (state.dir().join("worktree"), state.dir().join("logs"));
        Ok(Workshop { repository, tether, interrupts, command, program, worktree, logs })
    }

    /// Removes the work tree.
    pub fn clear(&self) -> Result<(), Error> {
        self.repository.discard(&self.worktree)
    }

    /// Runs the user's command; what it said if it fails.
    fn run(&self, commit: &Commit, log: &Path) -> Result<Result<(), String>, Error> {
        let log = log_file(log).map_err(|source| Error::Write { path: log.into(), source })?;
        // Where control groups may be made, what the command started ends with it, and what a kill of ours left ends here.
        let group = Group::make().ok();
        let mut command = match &group {
            Some(group) => self.tether.command_in(group.dir(), "sh"),
            None => self.tether.command("sh"),
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
}

impl Builder for Workshop<'_> {
    fn build(&mut self, commit: &Commit, to: &Path) -> Result<Built, Error> {
        let (made, log) = (self.worktree.join(self.program), self.logs.join(format!("{}.log", commit.id)));
        // A build that makes nothing must not pass for one by what the last one made.
        if made.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(&made).map_err(|source| Error::Write { path: made.clone(), source })?;
        }
        self.repository.check_out(&self.worktree, commit)?;
        if let Err(said) = self.run(commit, &log)? {
            return Ok(Built::Failed(format!("{said}; its output is in {}", log.display())));
        }
        if !made.is_file() {
            let program = self.program.display();
            return Ok(Built::Failed(format!("made no {program} (--program); its output is in {}", log.display())));
        }
        put_aside(&made, to).map_err(|source| Error::Write { path: to.into(), source })?;
        Ok(Built::Program)
    }
}

/// Whether a program lies in the work tree: it is removed before each build, and must be nobody else's.
pub fn inside(program: &Path) -> Result<(), Error> {
    let inside = program.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside { Ok(()) } else { Err(Error::OutsideProgram(program.into())) }
}

/// An empty log that is written at its end and can be read back.
fn log_file(path: &Path) -> io::Result<File> {
    File::create(path)?;
    OpenOptions::new().read(true).append(true).open(path)
}

/// Copies a program with its mode; under its name it is whole and on disk.
fn put_aside(made: &Path, to: &Path) -> io::Result<()> {
    let part = to.with_extension("part");
    fs::copy(made, &part)?;
    File::open(&part)?.sync_all()?;
    fs::rename(&part, to)?;
    to.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
