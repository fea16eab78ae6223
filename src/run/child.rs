//! One round process: started, given its spec, and ended in time.

use super::regime;
use super::round::{Report, Spec};
use crate::process::{Process, Wait};
use crate::spawn::{Interrupts, Tether};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

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

/// What a user can do about a round that was killed, and not by us.
const KILLED: &str = "; the kernel kills what takes more memory than there is or a cgroup allows (dmesg names it): lower iodepth, bs or numjobs, \
                      or allow more";

/// Runs one round process to its end.
pub fn run(tether: &Tether, spec: &Spec, timeout: Duration, interrupts: &Interrupts) -> Result<Report, Error> {
    let timeout = timeout + regime::allowance(spec);
    let input = serde_json::to_vec(spec).map_err(io::Error::other)?;
    // Our own: bounded by the plan, and not to be woken for while it measures.
    let mut process = Process::start_with(&mut tether.own("round"), &input, u64::MAX)?;
    match process.wait(timeout, Some(interrupts)) {
        Wait::Interrupted => return Err(Error::Interrupted),
        Wait::TimedOut => return Err(Error::TimedOut(timeout)),
        Wait::Ended => {}
    }
    let status = process.finish()?;
    if status.success() {
        return serde_json::from_str(&process.output()?).map_err(|e| Error::Died(format!("the round's answer is torn: {e}")));
    }
    let complaint = process.last_words();
    let remedy = if status.signal() == Some(libc::SIGKILL) { KILLED } else { "" };
    Err(Error::Died(format!("the round process ended with {status}: {}{remedy}", complaint.trim_start_matches("uring-ablate: "))))
}
