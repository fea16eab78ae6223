//! Other programs that do the same work, measured beside our engine.
//!
//! Knows how fio is configured and started, how processes are stopped and continued in turn, and where the kernel counts what they moved.
//! Knows nothing of plans, result files or statistics: it answers with slices and outcomes.

pub mod counter;
pub mod duet;
pub mod fio;
mod live;
pub mod t_io_uring;
pub mod whole;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a peer could not be run or measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Target(#[from] crate::target::Error),
    #[error("{program} was not found; install it (apt-get install fio) or name it with [peers] fio_path", program = .0.display())]
    Missing(PathBuf),
    #[error("cannot start {program}: {source}", program = program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error(
        "{program} ({version}) does not know the option {option}; install a newer fio (apt-get install fio, or \
         https://github.com/axboe/fio) or leave this configuration out of [peers] fio", program = program.display()
    )]
    Option { program: PathBuf, version: String, option: String },
    #[error(
        "{program} has no io_uring engine ({said}); install a fio built with it (apt-get install fio)", program = program.display()
    )]
    Engine { program: PathBuf, said: String },
    #[error("{program} refuses its job: {said}", program = program.display())]
    Job { program: PathBuf, said: String },
    #[error(
        "{path:?} cannot be written in a fio job file because of its {character:?}; use a symbolic link without it as [target] path"
    )]
    Path { path: PathBuf, character: char },
    #[error("{path} is not a program; [peers] t_io_uring names fio's t/io_uring (build it from https://github.com/axboe/fio)", path = .0.display())]
    NoTIoUring(PathBuf),
    #[error("{peer} cannot do {what}")]
    Unable { peer: &'static str, what: &'static str },
    #[error("fio's io_uring engine has no NOP; t/io_uring -N1 has")]
    NoNop,
    #[error("{program} ended with {status}: {said}", program = program.display())]
    Died { program: PathBuf, status: String, said: String },
    #[error("{program} did not end within {} s and was killed: {said}", limit.as_secs_f64(), program = program.display())]
    Hung { program: PathBuf, limit: Duration, said: String },
    #[error("{program} wrote something that is not its JSON report: {reason}", program = program.display())]
    Report { program: PathBuf, reason: String },
    #[error("a command without words cannot be started")]
    NoCommand,
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Group(#[from] crate::control_group::Error),
    #[error(transparent)]
    Counter(#[from] counter::Error),
}
