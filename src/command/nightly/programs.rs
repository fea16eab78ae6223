//! Which programs a night compares: named, running, or pinned by the first night.

use crate::cli::NightlyArgs;
use crate::command::Failure;
use crate::durable;
use crate::exit::Exit;
use crate::experiment::Experiment;
use crate::nightly::store::{Error, History};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that is held open: what is built in its place during a night is not it.
pub struct Program {
    pub path: PathBuf,
    /// CRC-32 of the file.
    pub id: String,
    file: File,
}

impl Program {
    fn open(path: &Path, option: &str) -> Result<Program, Failure> {
        let fail = |reason: String| Failure {
            exit: Exit::Usage,
            message: format!("{option} {}: {reason}; name a program", path.display()),
        };
        let mut file = File::open(path).map_err(|e| fail(e.to_string()))?;
        let about = file.metadata().map_err(|e| fail(e.to_string()))?;
        if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
            return Err(fail("is no executable file".into()));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
        let path = fs::canonicalize(path).map_err(|e| fail(e.to_string()))?;
        Ok(Program { path, id: format!("{:08x}", crc32fast::hash(&bytes)), file })
    }

    /// A path to this very file, whatever has its name by now.
    pub fn held(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
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
    let candidate = Program::open(named, "--candidate")?;
    let reference = match (&args.reference, history) {
        (Some(path), _) => Program::open(path, "--reference")?,
        (None, Some(history)) => pinned(&history.dir, named)?,
        (None, None) => unreachable!("a pull request names its reference"),
    };
    Ok([reference, candidate])
}

/// The reference of a history; in its first night that is the candidate.
fn pinned(history: &Path, candidate: &Path) -> Result<Program, Failure> {
    let path = place(history);
    if path.exists() { Program::open(&path, "--reference") } else { Program::open(candidate, "--candidate") }
}

fn place(history: &Path) -> PathBuf {
    history.join("reference").join("uring-ablate")
}

/// Keeps the reference of a first night that has a result, for the nights to come, unless the user keeps one.
pub fn pin(history: &Path, reference: &Program, named: bool) -> Result<(), Failure> {
    let path = place(history);
    if named || path.exists() {
        return Ok(());
    }
    Ok(copy(&path, reference).map_err(|source| Error::Write { path, source })?)
}

/// Whole or not at all, and never a file that cannot be executed.
fn copy(path: &Path, program: &Program) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let beside = path.with_extension("new");
    durable::replace(&beside, &fs::read(program.held())?)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
    fs::rename(beside, path)
}
