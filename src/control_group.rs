//! A control group (cgroup v2) of its own for a command that may start others: all of them are frozen, continued, timed and killed together.
//!
//! `cgroup.freeze`, `cgroup.events`, `cgroup.kill` and `cpu.stat` are described in the kernel's Documentation/admin-guide/cgroup-v2.rst; none needs
//! a controller.

pub mod cpu;
pub mod membership;
pub mod memory;

use membership::View;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

const PREFIX: &str = "uring-ablate-";
/// Between two looks at a group that is about to freeze.
const LOOK: Duration = Duration::from_micros(20);

/// Why there is no group.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no cgroup v2 file system is mounted, so a command cannot be held together with what it starts")]
    NotMounted,
    #[error("cannot make the control group {path}: {source}; run as root, or in a group of your own (systemd-run --user --scope), and not under ProtectControlGroups=yes", path = path.display())]
    Make { path: PathBuf, source: io::Error },
}

/// One group. When it goes out of scope whatever runs in it is killed, and it is removed.
#[derive(Debug)]
pub struct Group {
    dir: PathBuf,
}

impl Group {
    /// Makes a group below the one of this process, after removing those whose maker is gone.
    pub fn make() -> Result<Group, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let home = home()?;
        sweep(&home);
        let dir = home.join(format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed)));
        fs::create_dir(&dir).map_err(|source| Error::Make { path: dir.clone(), source })?;
        Ok(Group { dir })
    }

    /// Where it lies; a process joins by writing 0 to `cgroup.procs` there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Freezes everything in it and waits until it is, for at most `limit`; false when that takes longer.
    pub fn freeze(&self, limit: Duration) -> bool {
        if fs::write(self.dir.join("cgroup.freeze"), "1").is_err() {
            return false;
        }
        let deadline = Instant::now() + limit;
        while !self.frozen() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    fn frozen(&self) -> bool {
        fs::read_to_string(self.dir.join("cgroup.events")).is_ok_and(|text| text.lines().any(|l| l == "frozen 1"))
    }

    /// Lets everything in it run on.
    pub fn thaw(&self) {
        // Where this fails the group is gone, which whoever looks at it next finds out.
        let _ = fs::write(self.dir.join("cgroup.freeze"), "0");
    }

    /// CPU nanoseconds of everything that ever ran in it, to the microsecond.
    pub fn cpu_ns(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join("cpu.stat")).ok()?;
        let usage: u64 = text.lines().find_map(|l| l.strip_prefix("usage_usec "))?.parse().ok()?;
        Some(usage * 1000)
    }

    /// Kills everything in it.
    pub fn kill(&self) {
        kill(&self.dir);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// Removes what runs that are gone left; where groups cannot be looked for there are none.
pub fn clear() {
    if let Ok(home) = home() {
        sweep(&home);
    }
}

/// Groups of runners that are gone: a kill -9 leaves them with whatever was frozen in them.
fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(&entry.path());
        }
    }
}

fn kill(dir: &Path) {
    // The kernel kills frozen processes, too. Where the file is missing (before 5.14) each is killed by its number.
    if fs::write(dir.join("cgroup.kill"), "1").is_err() {
        let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|l| l.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn remove(dir: &Path) {
    kill(dir);
    let deadline = Instant::now() + Duration::from_secs(2);
    // A group can be removed once its last process is reaped.
    while fs::remove_dir(dir).is_err_and(|e| e.kind() != io::ErrorKind::NotFound) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The directory of this process's group in version 2, below which groups are made; its nearest visible one where it lies out of sight.
pub fn home() -> Result<PathBuf, Error> {
    let own = View::of_this_process().unified().and_then(|lineage| lineage.dirs.into_iter().next());
    own.ok_or(Error::NotMounted)
}
