//! One round process: started, given its spec, listened to, and ended in time.

use super::round::{Report, Spec};
use crate::spawn::{Interrupts, Tether};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Why a round brought no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("interrupted")]
    Interrupted,
    #[error("did not end within {0:.0?} and was killed; the device may hang")]
    TimedOut(Duration),
    #[error("{0}")]
    Died(String),
    #[error("cannot run a round process: {0}")]
    Io(#[from] io::Error),
}

/// Kills and reaps the child however its round ends.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one round process to its end.
pub fn run(tether: &Tether, spec: &Spec, timeout: Duration, interrupts: &Interrupts) -> Result<Report, Error> {
    let mut command = tether.own("round");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Reaped(command.spawn()?);
    let text = serde_json::to_vec(spec).map_err(io::Error::other)?;
    // A child that died already says why on its standard error.
    let _ = child.0.stdin.take().map(|mut stdin| stdin.write_all(&text));
    let (Some(mut stdout), Some(mut stderr)) = (child.0.stdout.take(), child.0.stderr.take()) else {
        return Err(io::Error::other("no pipes").into());
    };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + timeout;
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::TimedOut(timeout));
        }
        if interrupts.pending() {
            return Err(Error::Interrupted);
        }
        let ready = wait_any(&[(stdout.as_fd(), out_open), (stderr.as_fd(), err_open), (interrupts.wake(), true)], left)?;
        if ready[0] {
            out_open = read_some(&mut stdout, &mut answer)?;
        }
        if ready[1] {
            err_open = read_some(&mut stderr, &mut complaint)?;
        }
    }
    let status = child.0.wait()?;
    if status.success() {
        return serde_json::from_slice(&answer).map_err(|e| Error::Died(format!("the round's answer is torn: {e}")));
    }
    let complaint = String::from_utf8_lossy(&complaint);
    Err(Error::Died(format!("the round process ended with {status}: {}", complaint.trim().trim_start_matches("uring-ablate: "))))
}

/// Which of the descriptors that are still open can be read.
fn wait_any<const N: usize>(fds: &[(std::os::fd::BorrowedFd<'_>, bool); N], left: Duration) -> io::Result<[bool; N]> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, open)| PollFd::from_borrowed_fd(*fd, if *open { PollFlags::IN } else { PollFlags::empty() }))
        .collect();
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(std::array::from_fn(|i| fds[i].1 && !polled[i].revents().is_empty()))
}

/// Reads what is there; false at the end of the stream.
fn read_some(stream: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 65_536];
    let n = stream.read(&mut chunk)?;
    into.extend_from_slice(&chunk[..n]);
    Ok(n > 0)
}
