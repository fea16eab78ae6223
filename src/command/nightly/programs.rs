//! Which programs a night compares: named, running, or pinned by the first night.

use crate::cli::NightlyArgs;
use crate::command::Failure;
use crate::durable::{self, Dir, PROGRAM};
use crate::exit::Exit;
use crate::experiment::Experiment;
use crate::nightly::store::{Error, History};
use crate::program::{self, Held};
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that is held open: what is built in its place during a night is not it.
pub struct Program {
    /// CRC-32 of the file.
    pub id: String,
    pub held: Held,
}

impl Program {
    /// A program that the user named.
    fn named(path: &Path, option: &str) -> Result<Program, Failure> {
        let file = durable::open_named(path).and_then(|file| Ok((path.canonicalize()?, file)));
        Program::of(path, file, option)
    }

    fn of(named: &Path, opened: io::Result<(PathBuf, File)>, option: &str) -> Result<Program, Failure> {
        let fail = |reason: String| Failure {
            exit: Exit::Usage,
            message: format!("{option} {}: {reason}; name a program", named.display()),
        };
        let (path, file) = opened.map_err(|e| fail(e.to_string()))?;
        let held = Held::new(path, file).map_err(|e| fail(e.to_string()))?;
        let about = held.file.metadata().map_err(|e| fail(e.to_string()))?;
        if about.permissions().mode() & 0o111 == 0 {
            return Err(fail("is no executable file".into()));
        }
        let bytes = durable::whole(&held.file).map_err(|e| fail(e.to_string()))?;
        Ok(Program { id: format!("{:08x}", crc32fast::hash(&bytes)), held })
    }
}

/// The reference and the candidate.
pub fn both(args: &NightlyArgs, experiment: &Experiment, history: Option<&History>) -> Result<[Program; 2], Failure> {
    if experiment.subject.is_some() && (args.reference.is_none() || args.candidate.is_none()) {
        let message = format!(
            "{}: [subject] compares two programs of yours: name both with --reference BINARY and --candidate BINARY",
            args.experiment.display()
        );
        return Err(Failure { exit: Exit::Usage, message });
    }
    let named = args.candidate.as_deref().unwrap_or(Path::new("/proc/self/exe"));
    let candidate = Program::named(named, "--candidate")?;
    let reference = match (&args.reference, history) {
        (Some(path), _) => Program::named(path, "--reference")?,
        (None, Some(history)) => pinned(&history.dir, named)?,
        (None, None) => unreachable!("a pull request names its reference"),
    };
    Ok([reference, candidate])
}

/// Where a history keeps its reference.
const REFERENCE: (&str, &str) = ("reference", "uring-ablate");

/// The reference of a history; in its first night that is the candidate.
fn pinned(history: &Dir, candidate: &Path) -> Result<Program, Failure> {
    let path = history.join(REFERENCE.0).join(REFERENCE.1);
    let fail = |source| Error::Read { path: path.clone(), source };
    if !is_pinned(history).map_err(fail)? {
        return Program::named(candidate, "--candidate");
    }
    let found = history.dir(REFERENCE.0).and_then(|dir| Ok((dir.file(REFERENCE.1)?, dir)));
    let (file, dir) = found.map_err(fail)?;
    // It is started, so it must be ours, and nobody else's to replace.
    let safe = history.is_ours() && dir.is_ours() && program::is_ours(&file);
    if !safe {
        let message = format!(
            "{}: the file or its directory belongs to another user, or others may write to it, so it is not started; name the reference with \
             --reference BINARY",
            path.display()
        );
        return Err(Failure { exit: Exit::Usage, message });
    }
    let opened = path.canonicalize().map(|path| (path, file));
    Program::of(&path, opened, "--reference")
}

fn is_pinned(history: &Dir) -> io::Result<bool> {
    Ok(history.holds(REFERENCE.0)? && history.dir(REFERENCE.0)?.holds(REFERENCE.1)?)
}

/// Keeps the reference of a first night that has a result, for the nights to come, unless the user keeps one: whole or not at all, and never a
/// file that cannot be executed.
pub fn pin(history: &Dir, reference: &Program, named: bool) -> Result<(), Failure> {
    let fail = |source| Error::Write { path: history.join(REFERENCE.0).join(REFERENCE.1), source };
    if named || is_pinned(history).map_err(fail)? {
        return Ok(());
    }
    let copy = || {
        history.make(REFERENCE.0)?.replace_as(
            REFERENCE.1,
            &durable::whole(&durable::open_named(&reference.held.very_file())?)?,
            PROGRAM,
        )
    };
    Ok(copy().map_err(fail)?)
}
