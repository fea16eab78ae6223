//! Who may be written to. What the tool made, always; anything else only when the user repeats its exact path, and never while it holds or
//! serves something: a mount, a holder, swap, a loop device, a lock, a partition table, a file-system signature.
//!
//! All is asked of the descriptor that is written through. A device is open exclusively (`O_EXCL`: the kernel then lets nobody mount it, swap to
//! it or build on it); of a file no descriptor keeps others away, so a write lock is held and everything is asked again before every round.

use super::block_device::{self, BlockDevice};
use super::loop_device;
use crate::program;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a write was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this experiment writes to {path}; nothing but targets of the tool's own is written without --allow-destructive {path}", path = .0.display())]
    NotAllowed(PathBuf),
    #[error("{path} is mounted at {at}; name a device or file that nothing uses", path = path.display(), at = at.display())]
    Mounted { path: PathBuf, at: PathBuf },
    #[error("{path} is in use as swap; name a device or file that nothing uses", path = .0.display())]
    Swap(PathBuf),
    #[error("{path} is held by {holder}; name a device or file that nothing uses", path = path.display())]
    Held { path: PathBuf, holder: String },
    #[error("{path} is in use: the kernel does not give it to this tool alone (it may be mounted in a container, or part of a RAID, ZFS or LVM); name a device that nothing uses", path = .0.display())]
    Busy(PathBuf),
    #[error("{path} has partitions ({partition}); writing would destroy them; name a device without partitions", path = path.display())]
    Partitioned { path: PathBuf, partition: String },
    #[error("{path} carries a signature ({found}), so it holds somebody's data; name a device or file without one", path = path.display())]
    Signed { path: PathBuf, found: String },
    #[error("cannot tell whether {path} carries a signature: {reason}; install util-linux (blkid)", path = path.display())]
    Unprobed { path: PathBuf, reason: String },
    #[error("{path} is the data of {device}; name a file that nothing uses", path = path.display())]
    Backing { path: PathBuf, device: String },
    #[error("{path} is locked by another program ({how}), as virtual machines lock their disks; name a file that nothing uses", path = path.display())]
    Locked { path: PathBuf, how: String },
    #[error("{path} cannot be locked: {reason}; name a file on a local file system", path = path.display())]
    Unlockable { path: PathBuf, reason: String },
    #[error("{path} has {links} names (hard links), so writing would change what the others stand for; name a file with one name", path = path.display())]
    Linked { path: PathBuf, links: u64 },
    #[error("{path} leads through a symbolic link to {real}; a write must name the file itself, here and with --allow-destructive: {real}", path = path.display(), real = real.display())]
    Link { path: PathBuf, real: PathBuf },
}

/// Checks that what `file` is open on may be written to; `path` is its name in messages.
pub fn check(path: &Path, file: &File) -> Result<(), Refusal> {
    match BlockDevice::of(file) {
        Some(device) => unused(path, &device)?,
        None => {
            unused_file(path, file, None)?;
            lock(path, file)?;
        }
    }
    check_signature(path, file)?;
    check_below(path, file)
}

/// What lies behind a loop device is written to as well: it must be as free of others, this loop device apart, and so on down.
fn check_below(path: &Path, file: &File) -> Result<(), Refusal> {
    let Some(device) = BlockDevice::of(file) else { return Ok(()) };
    let Some(below) = loop_device::backing(&device) else { return Ok(()) };
    let unreadable =
        |e: io::Error| Refusal::Unprobed { path: path.into(), reason: format!("what it is made over cannot be looked at: {e}") };
    let below = below.map_err(unreadable)?;
    let own = format!("/dev/{}", device.disk().name());
    match BlockDevice::of(&below) {
        Some(device) => unused_but_by(path, &device, Some(&own))?,
        None => {
            unused_file(path, &below, Some(&own))?;
            unlocked(path, &below)?;
        }
    }
    check_signature(path, &below)?;
    check_below(path, &below)
}

/// Checks that nothing else uses a block device or a part of it.
pub fn unused(path: &Path, device: &BlockDevice) -> Result<(), Refusal> {
    unused_but_by(path, device, None)
}

/// The same where a loop device is known to be over it.
fn unused_but_by(path: &Path, device: &BlockDevice, known: Option<&str>) -> Result<(), Refusal> {
    let partitions = device.partitions();
    // A mount or swap of a partition uses the whole device too.
    for used in std::iter::once(device).chain(&partitions) {
        if let Some(at) = used.mounted_at() {
            return Err(Refusal::Mounted { path: path.into(), at });
        }
        if used.is_swap() {
            return Err(Refusal::Swap(path.into()));
        }
        let loops = loop_device::over(used).into_iter().filter(|device| Some(device.as_str()) != known);
        if let Some(holder) = used.holders().into_iter().chain(loops).next() {
            return Err(Refusal::Held { path: path.into(), holder });
        }
    }
    match partitions.first() {
        Some(partition) => Err(Refusal::Partitioned { path: path.into(), partition: partition.name() }),
        None => Ok(()),
    }
}

/// Checks that a file serves nobody else but, where one is `known` to be over it, that loop device.
fn unused_file(path: &Path, file: &File, known: Option<&str>) -> Result<(), Refusal> {
    let unreadable = |e: io::Error| Refusal::Unprobed { path: path.into(), reason: e.to_string() };
    let own = rustix::fs::fstat(file).map_err(|e| unreadable(e.into()))?;
    if own.st_nlink > 1 && known.is_none() {
        return Err(Refusal::Linked { path: path.into(), links: own.st_nlink });
    }
    let same = |other: &Path| rustix::fs::stat(other).is_ok_and(|s| (s.st_dev, s.st_ino) == (own.st_dev, own.st_ino));
    if block_device::swaps().iter().any(|swap| same(swap)) {
        return Err(Refusal::Swap(path.into()));
    }
    match loop_device::over_file(&own).into_iter().find(|device| Some(device.as_str()) != known) {
        Some(device) => Err(Refusal::Backing { path: path.into(), device }),
        None => Ok(()),
    }
}

/// The whole of a file, as fcntl(2) locks it.
const WHOLE: libc::flock = libc::flock {
    l_type: libc::F_WRLCK as libc::c_short,
    l_whence: libc::SEEK_SET as libc::c_short,
    l_start: 0,
    l_len: 0,
    l_pid: 0,
};

/// Takes write locks of both kinds on the whole file for the open description, so that they live as long as that and conflict with everybody
/// else's: fcntl(2) knows nothing of flock(2).
fn lock(path: &Path, file: &File) -> Result<(), Refusal> {
    let taken = fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&WHOLE)).map(drop).map_err(io::Error::from);
    let flocked = || rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from);
    taken.and_then(|()| flocked()).map_err(|error| match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Refusal::Locked { path: path.into(), how: error.to_string() },
        _ => Refusal::Unlockable { path: path.into(), reason: error.to_string() },
    })
}

/// Checks that nobody has locked a file that is open for reading only, so that no lock can be taken.
fn unlocked(path: &Path, file: &File) -> Result<(), Refusal> {
    let mut asked = WHOLE;
    match fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut asked)) {
        Ok(_) if asked.l_type == libc::F_UNLCK as libc::c_short => Ok(()),
        Ok(_) => Err(Refusal::Locked { path: path.into(), how: "the file behind it".into() }),
        Err(error) => Err(Refusal::Unlockable { path: path.into(), reason: error.to_string() }),
    }
}

/// `blkid --probe` exits with 2 when it finds no signature and no partition table. It reads what is open, whatever its name leads to by now.
fn check_signature(path: &Path, file: &File) -> Result<(), Refusal> {
    let unprobed = |reason: String| Refusal::Unprobed { path: path.into(), reason };
    let probe = |program: PathBuf| {
        let input = file.try_clone().ok()?;
        let mut command = Command::new(program);
        command.args(["--probe", "--output", "export", "/proc/self/fd/0"]).stdin(Stdio::from(input)).output().ok()
    };
    // By PATH only where nobody else can write to it: it runs with our rights.
    let programs = [program::find(Path::new("blkid")), Some("/usr/sbin/blkid".into()), Some("/sbin/blkid".into())];
    let output = programs.into_iter().flatten().find_map(probe);
    let output = output.ok_or_else(|| unprobed("blkid was not found".into()))?;
    // What it read must not stay in the page cache, which goes with the last opener only: a direct write to a cached range cannot be issued
    // without waiting (filemap_range_has_page), so io-wq workers would do it.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    let text = String::from_utf8_lossy(&output.stdout);
    let kinds: Vec<&str> = text.lines().filter(|l| ["TYPE=", "PTTYPE=", "USAGE="].iter().any(|k| l.starts_with(k))).collect();
    match output.status.code() {
        Some(2) => Ok(()),
        Some(0) => Err(Refusal::Signed { path: path.into(), found: kinds.join(" ") }),
        Some(8) => Err(Refusal::Signed { path: path.into(), found: "more than one signature".into() }),
        code => Err(unprobed(format!("blkid exited with {code:?}"))),
    }
}
