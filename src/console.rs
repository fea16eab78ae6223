//! The only door to standard output and standard error. Whatever goes through is made harmless ([`text::shown`]), every write is checked, and
//! none of them panics. A reader that has gone away (EPIPE) has seen enough: that is no error.

use crate::text;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

/// Standard output did not take all that it was to be given.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}; make room there, or send it elsewhere")]
pub struct Lost(io::Error);

/// Words beside a verdict, on standard output. Where they cannot be written standard error says so, and the verdict stays.
pub fn print(words: impl Display) {
    if let Err(lost) = product(words) {
        note(format!("uring-ablate: {lost}"));
    }
}

/// What was asked for, on standard output: without it there is no success.
pub fn product(text: impl Display) -> Result<(), Lost> {
    reached(all(io::stdout().as_fd(), text::shown(&text.to_string()).as_bytes()))
}

/// A line or more on standard error. Nobody could be told where that fails.
pub fn note(words: impl Display) {
    let words = words.to_string();
    let end = if words.is_empty() || words.ends_with('\n') { "" } else { "\n" };
    let _ = all(io::stderr().as_fd(), (text::shown(&words) + end).as_bytes());
}

/// Help on standard output or a complaint on standard error, in colours where `coloured` (of the same words) has them and a terminal shows them.
pub fn usage(complaint: bool, plain: &str, coloured: Option<&str>) -> Result<(), Lost> {
    let terminal = if complaint { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
    let wanted =
        std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::env::var_os("TERM").is_some_and(|t| t != "dumb");
    let text = coloured.filter(|_| terminal && wanted).map_or_else(|| text::shown(plain), String::from);
    if complaint {
        let _ = all(io::stderr().as_fd(), text.as_bytes());
        return Ok(());
    }
    reached(all(io::stdout().as_fd(), text.as_bytes()))
}

/// A question, left on its line; false where it could not be shown.
pub fn ask(words: impl Display) -> bool {
    all(io::stderr().as_fd(), text::shown(&words.to_string()).as_bytes()).is_ok()
}

/// Bytes for the program that started us, on standard output: it must have them all.
pub fn hand_over(bytes: &[u8]) -> io::Result<()> {
    all(io::stdout().as_fd(), bytes)
}

/// Whether somebody watches standard error.
pub fn watched() -> bool {
    io::stderr().is_terminal()
}

fn reached(written: io::Result<()>) -> Result<(), Lost> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Lost),
    }
}

/// Writes everything at once, past the buffers of the standard library: these would try the rest again at exit, and take a closed descriptor
/// for success.
fn all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Whoever shares the descriptor has made it non-blocking.
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
