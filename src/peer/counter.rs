//! What a process moved and what CPU time it took, as the kernel counts them, alike for every program.
//!
//! A device that serves nobody else is counted by its own statistics, at completion; on a shared one the process's I/O accounting counts,
//! at submission. Either is proved with a known read before it is believed. Knows nothing of who is measured.

use crate::target::route::tally::{device_bytes, process_bytes};
use crate::target::{Member, Target};
use memmap2::MmapMut;
use nix::time::ClockId;
use rustix::process::Pid;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that the preflight reads.
const PROOF_BYTES: usize = 1 << 20;
/// How long an idle counter is watched.
const QUIET: Duration = Duration::from_millis(20);

/// Why the counter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} does not read as expected: {text:?}", path = path.display())]
    Format { path: PathBuf, text: String },
    #[error("cannot read {path} directly: {source}; peers need a target that supports O_DIRECT", path = path.display())]
    Proof { path: PathBuf, source: io::Error },
    #[error(
        "/sys/block/{device}/stat counted {counted} of {read} bytes that were read: statistics are off; turn them on with \
         echo 1 > /sys/block/{device}/queue/iostats"
    )]
    DeviceSilent { device: String, counted: u64, read: usize },
    #[error(
        "/proc/self/io counted {counted} of {read} bytes that were read from {path}: its file system does not read from a disk (tmpfs?) or \
         the kernel lacks CONFIG_TASK_IO_ACCOUNTING; use kind = \"loop\" or a file on a disk", path = path.display()
    )]
    ProcessSilent { path: PathBuf, counted: u64, read: usize },
    #[error("something else moved {moved} bytes on {device} while nothing of ours ran; end it or use another target")]
    NotAlone { device: String, moved: u64 },
    #[error("no CPU clock for process {pid}: {source}")]
    Clock { pid: i32, source: nix::Error },
}

/// A statistics file that is read again and again without being opened again.
#[derive(Debug)]
struct Stat {
    path: PathBuf,
    file: File,
}

impl Stat {
    fn open(path: String) -> Result<Stat, Error> {
        let file = File::open(&path).map_err(|source| Error::Read { path: path.clone().into(), source })?;
        Ok(Stat { path: path.into(), file })
    }

    /// Reads the file into memory of the caller's and has `parse` make sense of it. No allocation while all is well.
    fn read<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        let mut bytes = [0; 512];
        let length = self.file.read_at(&mut bytes, 0).map_err(|source| Error::Read { path: self.path.clone(), source })?;
        let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
        parse(text).ok_or_else(|| Error::Format { path: self.path.clone(), text: text.into() })
    }
}

/// Where the bytes of a process are counted.
#[derive(Debug)]
pub struct Counter {
    /// Of each device, or the one of the process.
    stats: Vec<Stat>,
    parse: fn(&str) -> Option<u64>,
    inflight: Vec<Stat>,
}

impl Counter {
    /// The counter for what process `pid` moves on `target`.
    pub fn open(target: &Target, pid: Pid) -> Result<Counter, Error> {
        match own_devices(target) {
            Some(devices) => Counter::of_devices(&devices),
            None => Ok(Counter { stats: vec![Stat::open(format!("/proc/{pid}/io"))?], parse: process_bytes, inflight: vec![] }),
        }
    }

    fn of_devices(devices: &[&str]) -> Result<Counter, Error> {
        let open = |what: &str| {
            devices.iter().map(|d| Stat::open(format!("/sys/block/{}/{what}", d.replace('/', "!")))).collect::<Result<_, _>>()
        };
        Ok(Counter { stats: open("stat")?, parse: device_bytes, inflight: open("inflight")? })
    }

    /// Bytes read and written so far.
    pub fn bytes(&self) -> Result<u64, Error> {
        self.stats.iter().map(|stat| stat.read(self.parse)).sum()
    }

    /// True unless the device says that requests are in flight. A shared device cannot say whose they are.
    pub fn idle(&self) -> Result<bool, Error> {
        self.inflight.iter().map(|stat| stat.read(inflight)).sum::<Result<u64, _>>().map(|n| n == 0)
    }
}

/// Proves that what is moved on `target` is counted, with a known read, and that nobody else moves anything on a device of our own.
pub fn preflight(target: &Target) -> Result<(), Error> {
    let counter = Counter::open(target, rustix::process::getpid())?;
    for device in own_devices(target).into_iter().flatten() {
        let alone = Counter::of_devices(&[device])?;
        let before = alone.bytes()?;
        std::thread::sleep(QUIET);
        let moved = alone.bytes()? - before;
        if moved > 0 {
            return Err(Error::NotAlone { device: device.into(), moved });
        }
    }
    target.members.iter().try_for_each(|member| prove(target, member, &counter))
}

/// True where devices that serve nobody else tell what was moved, whoever moved it.
pub fn counts_for_all(target: &Target) -> bool {
    own_devices(target).is_some()
}

/// The devices that serve nobody else, where all are such.
fn own_devices(target: &Target) -> Option<Vec<&str>> {
    target.members.iter().map(|member| member.own_device.as_deref()).collect()
}

fn prove(target: &Target, member: &Member, counter: &Counter) -> Result<(), Error> {
    let before = counter.bytes()?;
    let read = known_read(target, &member.handle())?;
    let counted = counter.bytes()? - before;
    match &member.own_device {
        _ if counted >= read as u64 => Ok(()),
        Some(device) if own_devices(target).is_some() => Err(Error::DeviceSilent { device: device.clone(), counted, read }),
        _ => Err(Error::ProcessSilent { path: member.path.clone(), counted, read }),
    }
}

fn known_read(target: &Target, path: &Path) -> Result<usize, Error> {
    let fail = |source| Error::Proof { path: path.into(), source };
    let logical = u64::from(target.logical_block_bytes.max(1));
    let length = (PROOF_BYTES as u64).min(target.span_bytes / logical * logical) as usize;
    // Mapped memory begins at a page: aligned for any device.
    let mut buffer = MmapMut::map_anon(length.max(1)).map_err(fail)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).map_err(fail)?;
    file.read_exact_at(&mut buffer[..length], 0).map_err(fail)?;
    Ok(length)
}

/// Requests that `/sys/block/X/inflight` tells of, reads and writes.
pub fn inflight(text: &str) -> Option<u64> {
    let mut fields = text.split_ascii_whitespace().map(|f| f.parse::<u64>().ok());
    fields.next()??.checked_add(fields.next()??)
}

/// The CPU clock of a process: all its threads, io-wq workers and SQPOLL thread included (since Linux 5.12). Of a thread that runs it tells what
/// was booked at the last tick of the scheduler, 1 to 10 ms ago: nobody else can have it booked up to now. Slices of processes
/// are at least as long as the longest of them, and both edges are read while it runs; whether the error has a direction is not known.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(ClockId);

impl CpuClock {
    pub fn of(pid: Pid) -> Result<CpuClock, Error> {
        let pid = pid.as_raw_nonzero().get();
        ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(pid)).map(CpuClock).map_err(|source| Error::Clock { pid, source })
    }

    /// CPU nanoseconds so far; `None` once the process is reaped.
    pub fn nanoseconds(self) -> Option<u64> {
        let time = self.0.now().ok()?;
        Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_the_kernels() {
        assert_eq!((inflight("       3        4\n"), inflight("")), (Some(7), None));
    }

    #[test]
    fn the_cpu_clock_of_this_process_runs() {
        let clock = CpuClock::of(rustix::process::getpid()).unwrap();
        let before = clock.nanoseconds().unwrap();
        crate::clock::burn(Duration::from_millis(20));
        assert!(clock.nanoseconds().unwrap() - before > 5_000_000);
    }
}
