//! One child process: fed from memory, waited for, stopped and continued from outside, killed and reaped when it goes out of scope.
//!
//! Its standard streams are files, in memory unless said, so nobody has to read along and no full pipe ever stops it. What it may write is
//! bounded: whoever waits for it looks at the size now and then, and ends it. Knows nothing of what it runs.

use crate::spawn::Interrupts;
use crate::text;
use crate::{limits, units};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, pidfd_open, waitid};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Between two looks at a process that is about to stop: as short as a sleep can be without spinning.
const LOOK: Duration = Duration::from_micros(20);

/// Between two looks at how much a process has written: in that time it writes some ten megabytes beyond its limit at most.
const SIZE_LOOK: Duration = Duration::from_millis(10);

/// How much of what a process said is quoted.
const LAST_LINES: usize = 4;

/// A running or stopped child in a process group of its own.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    exit: OwnedFd,
    output: File,
    errors: File,
    /// Bytes that either may have.
    most: u64,
}

/// How a request to stop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every thread is stopped.
    Stopped,
    /// It had ended already.
    Ended,
    /// It still runs.
    Late,
}

/// How a wait for the end ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Ended,
    TimedOut,
    Interrupted,
}

impl Process {
    /// Starts `command`, which must make a process group of its own, with `input` as its standard input. It may write
    /// [`limits::OUTPUT_BYTES`].
    pub fn start(command: &mut Command, input: &[u8]) -> io::Result<Process> {
        Process::start_with(command, input, limits::OUTPUT_BYTES)
    }

    /// The same with a limit of its own for what it writes.
    pub fn start_with(command: &mut Command, input: &[u8], most: u64) -> io::Result<Process> {
        Process::start_on(command, input, [memory()?, memory()?], most)
    }

    /// The same with nothing to read, and with all that it says in one file, to be kept.
    pub fn start_into(command: &mut Command, log: File) -> io::Result<Process> {
        Process::start_on(command, b"", [log.try_clone()?, log], limits::LOG_BYTES)
    }

    fn start_on(command: &mut Command, input: &[u8], [output, errors]: [File; 2], most: u64) -> io::Result<Process> {
        let mut stdin = memory()?;
        stdin.write_all(input)?;
        stdin.rewind()?;
        let mut child = command.stdin(stdin).stdout(output.try_clone()?).stderr(errors.try_clone()?).spawn()?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(exit) => Ok(Process { child, pid, exit, output, errors, most }),
            Err(error) => {
                end(pid, &mut child);
                Err(error.into())
            }
        }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// True once it has ended; it stays to be reaped until it goes out of scope.
    pub fn ended(&self) -> bool {
        self.state(WaitIdOptions::EXITED)
    }

    fn state(&self, which: WaitIdOptions) -> bool {
        let options = which | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid), options).is_ok_and(|status| status.is_some())
    }

    /// Stops every thread and waits until they are, for at most `limit`.
    pub fn stop(&self, limit: Duration) -> Stop {
        // A process that is gone is found out below.
        let _ = kill_process(self.pid, Signal::STOP);
        let deadline = Instant::now() + limit;
        loop {
            if self.state(WaitIdOptions::STOPPED) {
                return Stop::Stopped;
            }
            if self.ended() {
                return Stop::Ended;
            }
            if Instant::now() >= deadline {
                return Stop::Late;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Lets it run on.
    pub fn resume(&self) {
        // A process that is gone is found out when it is to be stopped.
        let _ = kill_process(self.pid, Signal::CONT);
    }

    /// True once it has written more than it may.
    pub fn floods(&self) -> bool {
        let size = |file: &File| file.metadata().map_or(0, |meta| meta.len());
        size(&self.output).max(size(&self.errors)) > self.most
    }

    /// Kills its group; it stays to be reaped.
    pub fn kill(&self) {
        if !self.ended() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// Waits until it ends. It is killed when it writes more than it may, which [`Process::last_words`] says.
    pub fn wait(&self, limit: Duration, interrupts: Option<&Interrupts>) -> Wait {
        let deadline = Instant::now() + limit;
        loop {
            if self.ended() {
                return Wait::Ended;
            }
            if interrupts.is_some_and(Interrupts::pending) {
                return Wait::Interrupted;
            }
            if self.floods() {
                self.kill();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Wait::TimedOut;
            }
            // What has no limit is not woken for: rounds of our own are measured by the very CPU.
            let left = if self.most < u64::MAX { left.min(SIZE_LOOK) } else { left };
            let mut watched = vec![PollFd::new(&self.exit, PollFlags::IN)];
            watched.extend(interrupts.map(|i| PollFd::from_borrowed_fd(i.wake(), PollFlags::IN)));
            // Whatever ends the wait, the loop looks again.
            let _ = poll(&mut watched, Timespec::try_from(left).ok().as_ref());
        }
    }

    /// Kills and reaps it; says how it ended.
    pub fn finish(&mut self) -> io::Result<std::process::ExitStatus> {
        self.kill();
        self.child.wait()
    }

    /// All it wrote to its standard output; an error where that is more than it may.
    pub fn output(&self) -> io::Result<String> {
        if self.floods() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, self.too_much()));
        }
        read(&self.output, self.most)
    }

    fn too_much(&self) -> String {
        format!("it wrote more than {}, the limit", units::size_words(self.most))
    }

    /// The last lines it wrote to its standard error, or to its standard output where there are none, as one line.
    pub fn last_words(&self) -> String {
        if self.floods() {
            return self.too_much();
        }
        let end = |file: &File| read(file, limits::QUOTED_BYTES).ok();
        let said = [&self.errors, &self.output].into_iter().filter_map(end).find(|t| !t.trim().is_empty());
        let said = said.unwrap_or_default();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            "it said nothing".into()
        } else {
            text::line(&lines[lines.len().saturating_sub(LAST_LINES)..].join("; "))
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(self.pid, &mut self.child);
        // What escaped into a session of its own may still hold the files: from here on they do not grow. Files on disk know no seals.
        for file in [&self.output, &self.errors] {
            let _ = rustix::fs::fcntl_add_seals(file, SealFlags::GROW);
        }
    }
}

/// Kills the group, so that what the process started goes with it, and reaps. Reaped children are not signalled: their number may belong
/// to another process by then.
fn end(pid: Pid, child: &mut Child) {
    if !matches!(child.try_wait(), Ok(Some(_))) {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.wait();
    }
}

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("uring-ablate", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

/// The last `most` bytes of a file, read past the position that the process shares with us.
fn read(file: &File, most: u64) -> io::Result<String> {
    let size = file.metadata()?.len();
    let length = size.min(most);
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, size - length)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    fn shell(script: &str, input: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script]).process_group(0), input.as_bytes()).unwrap()
    }

    #[test]
    fn input_output_and_status_pass() {
        let mut process = shell("cat; echo bad >&2; exit 3", "hello\n");
        assert_eq!(process.wait(Duration::from_secs(10), None), Wait::Ended);
        assert_eq!(process.output().unwrap(), "hello\n");
        assert_eq!((process.finish().unwrap().code(), process.last_words()), (Some(3), "bad".into()));
    }

    #[test]
    fn an_endless_writer_is_ended_at_its_limit() {
        for script in ["yes", "yes >&2", "trap '' TERM PIPE; while :; do yes; done"] {
            let (started, mut process) = (Instant::now(), shell(script, ""));
            assert_eq!(process.wait(Duration::from_secs(60), None), Wait::Ended, "{script}");
            assert!(started.elapsed() < Duration::from_secs(30), "{script}");
            assert_eq!(process.last_words(), "it wrote more than 16 MiB, the limit", "{script}");
            let size = process.output.metadata().unwrap().len().max(process.errors.metadata().unwrap().len());
            assert!(size < 2 << 30, "{script} wrote {size} bytes");
            assert!(!process.finish().unwrap().success());
            assert_eq!(process.output().unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        }
    }

    #[test]
    fn much_that_is_written_and_ended_is_an_error_and_its_streams_can_be_opened_anew() {
        let process = shell("head -c 17000000 /dev/zero", "");
        assert_eq!(process.wait(Duration::from_secs(60), None), Wait::Ended);
        assert!(process.output().unwrap_err().to_string().contains("more than 16 MiB"));
        let process = shell("echo first >/dev/stdout; echo bad >/dev/stderr; echo last >>/dev/stdout", "");
        assert_eq!(process.wait(Duration::from_secs(10), None), Wait::Ended);
        assert_eq!((process.output().unwrap().as_str(), process.last_words().as_str()), ("first\nlast\n", "bad"));
    }

    #[test]
    fn what_escapes_cannot_go_on_writing() {
        let process = shell("setsid sh -c 'sleep 0.3; head -c 1000000 /dev/zero; sleep 0.3' & sleep 0.1", "");
        assert_eq!(process.wait(Duration::from_secs(10), None), Wait::Ended);
        let output = process.output.try_clone().unwrap();
        drop(process);
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(output.metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_hang_ends_at_the_limit_and_takes_its_children_along() {
        let started = Instant::now();
        let process = shell("sleep 1000 & echo $!; wait", "");
        assert_eq!(process.wait(Duration::from_millis(200), None), Wait::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(5));
        let grandchild = process.output().unwrap();
        drop(process);
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim())).unwrap_or_default();
        let gone = |text: &str| text.is_empty() || text.contains(" Z ");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !gone(&state()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(gone(&state()), "the group was killed: {}", state());
    }

    #[test]
    fn stopping_waits_until_stopped_and_notices_the_end() {
        let process = shell("while :; do :; done", "");
        assert_eq!(process.stop(Duration::from_secs(5)), Stop::Stopped);
        assert!(!process.ended());
        process.resume();
        assert!(!process.state(WaitIdOptions::STOPPED), "runs on");
        assert_eq!(process.stop(Duration::from_secs(5)), Stop::Stopped, "a second time");
        let short = shell("exit 0", "");
        assert_eq!(short.wait(Duration::from_secs(10), None), Wait::Ended);
        assert_eq!(short.stop(Duration::from_secs(5)), Stop::Ended);
    }
}
