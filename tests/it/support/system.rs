//! Programs, processes and devices of the system under the tests.

use super::{Bench, root, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a program of the system that must succeed; what it printed.
pub fn must(program: &str, args: &[&str]) -> String {
    must_run(program, Command::new(program).args(args))
}

fn must_run(program: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

/// git in a directory, by a nobody at a time that is always the same.
pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let date = "2026-01-02T03:04:05Z";
    let mut command = Command::new("git");
    command.args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]).args(arguments);
    must_run("git", command.current_dir(dir).env("GIT_AUTHOR_DATE", date).env("GIT_COMMITTER_DATE", date))
}

/// Waits for something that does not take long.
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process as proc(5) shows it.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// `T` for one that is stopped.
    pub state: char,
    /// Its words, with blanks between them.
    pub line: String,
}

/// All processes but dead ones.
pub fn processes() -> impl Iterator<Item = Process> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let process = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (fields.next()?.chars().next()?, fields.next()?.parse().ok()?);
        let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).replace('\0', " ");
        (state != 'Z').then_some(Process { pid, parent, state, line })
    };
    pids.filter_map(process)
}

/// The processes whose parent is `pid`.
pub fn children_of(pid: u32) -> impl Iterator<Item = Process> {
    processes().filter(move |process| process.parent == pid)
}

/// A loop device of a test's own, gone with the value.
pub struct LoopDevice(pub String);

impl LoopDevice {
    /// Over a new file of `size` bytes; `None` where losetup or the right to use it is missing.
    pub fn new(dir: &Path, size: u64, block_size: &str) -> Option<LoopDevice> {
        let file = dir.join("backing");
        fs::File::create(&file).unwrap().set_len(size).unwrap();
        let output = Command::new("losetup").args(["--find", "--show", "--sector-size", block_size]).arg(&file).output().ok()?;
        let device = String::from_utf8(output.stdout).ok()?.trim().to_string();
        (output.status.success() && !device.is_empty()).then_some(LoopDevice(device))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// A loop device of 32 MiB, or a skip that is seen.
pub fn device(test: &str, bench: &Bench) -> Option<LoopDevice> {
    let found = root().then(|| LoopDevice::new(bench.dir.path(), 32 << 20, "512")).flatten();
    if found.is_none() {
        skip(test, "loop devices need root and losetup");
    }
    found
}

/// Where a file system is mounted, until the value goes.
pub struct Mounted(pub PathBuf);

impl Mounted {
    pub fn new(device: &str, dir: &Path) -> Mounted {
        fs::create_dir_all(dir).unwrap();
        must("mount", &[device, dir.to_str().unwrap()]);
        Mounted(dir.into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
