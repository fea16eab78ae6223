//! `uring-ablate completions` and `man`: the command line told to shells and to `man`.

use super::{Failure, failure};
use crate::cli::{self, Shell};
use crate::console;
use crate::exit::Exit;
use std::path::Path;

/// Prints what a shell needs to complete our command line.
pub fn completions(shell: Shell) -> Result<Exit, Failure> {
    console::product(String::from_utf8_lossy(&cli::completions(shell)))?;
    Ok(Exit::Ok)
}

/// Writes the manual.
pub fn manual(dir: &Path) -> Result<Exit, Failure> {
    let written = cli::manual(dir);
    written
        .map(|()| Exit::Ok)
        .map_err(|error| failure(Exit::Usage)(&format!("cannot write the manual into {}: {error}", dir.display())))
}
