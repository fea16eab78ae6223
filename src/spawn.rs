//! Child processes that never outlive us, and the signals that end a run.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Starts programs through our own binary (`uring-ablate tether`), which asks the kernel to be killed with its parent and then becomes the
/// program: so a `kill -9` of the runner leaves nobody behind, not even a stopped one.
#[derive(Clone, Debug)]
pub struct Tether {
    exe: PathBuf,
}

impl Tether {
    /// Through the binary that runs now: the very file, even when another has taken its name since (a build during a run).
    pub fn current() -> Tether {
        Tether { exe: format!("/proc/{}/exe", std::process::id()).into() }
    }

    /// Through a binary that is named: for callers that are not `uring-ablate` themselves, such as tests.
    pub fn through(exe: impl Into<PathBuf>) -> Tether {
        Tether { exe: exe.into() }
    }

    /// A command for `program`, in a process group of its own so that a terminal's Ctrl-C reaches the runner alone.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.exe);
        command.arg("tether").arg(std::process::id().to_string()).arg(program).process_group(0);
        command
    }

    /// The same, in a control group.
    pub fn command_in(&self, group: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(["tether", "--group"]).arg(group).arg(std::process::id().to_string()).arg(program).process_group(0);
        command
    }

    /// A command for one of our own hidden subcommands.
    pub fn own(&self, subcommand: &str) -> Command {
        let mut command = self.command(&self.exe);
        command.arg(subcommand);
        command
    }
}

/// What the kernel adds to our badness when memory runs out; 1000 is the most.
const OOM_SCORE_ADJUSTMENT: u16 = 800;

/// Asks the kernel to kill this process, and whatever it starts, before others when memory runs out: what a measurement takes, or what somebody
/// else's files take to be read, must not cost a neighbour his life. What somebody set higher stays.
pub fn yield_memory() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if now.is_some_and(|now| now < i32::from(OOM_SCORE_ADJUSTMENT)) {
        // Raising it is everybody's right; where it fails there is no such kernel, and the limits of `target::room` hold all the same.
        let _ = std::fs::write(FILE, OOM_SCORE_ADJUSTMENT.to_string());
    }
}

/// The body of `uring-ablate tether [--group DIR] PARENT PROGRAM ARGS...`: returns only when the program cannot be started.
pub fn become_tethered(group: Option<&Path>, parent: u32, program: &OsStr, args: &[std::ffi::OsString]) -> io::Error {
    // Joined before there is anything to be left behind.
    if let Some(Err(error)) = group.map(|dir| std::fs::write(dir.join("cgroup.procs"), "0")) {
        return error;
    }
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)) {
        return error.into();
    }
    // The parent may have died before the kernel was asked.
    if std::os::unix::process::parent_id() != parent {
        exit(1);
    }
    Command::new(program).args(args).exec()
}

/// SIGINT, SIGTERM and SIGHUP as a flag and as a descriptor to wait on. A second signal ends the process at once.
pub struct Interrupts {
    flag: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Interrupts {
    /// Installs the handlers.
    pub fn install() -> io::Result<Interrupts> {
        let flag = Arc::new(AtomicBool::new(false));
        let (wake, sender) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Interrupts { flag, wake })
    }

    /// True once a signal has come.
    pub fn pending(&self) -> bool {
        self.flag.load(SeqCst)
    }

    /// Sleeps for `time`; false when a signal cut it short.
    pub fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.pending() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            // Whatever ends the wait, the loop looks again.
            let _ = poll(&mut [PollFd::new(&self.wake, PollFlags::IN)], Timespec::try_from(left).ok().as_ref());
        }
        false
    }

    /// Readable once a signal has come.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
