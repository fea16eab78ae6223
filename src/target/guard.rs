//! Who may be written to. What the tool made, always; anything else only when the user repeats its exact path, and never while it holds or
//! serves something: a mount, a holder, swap, a loop device, a lock, a partition table, a file-system signature.
//!
//! All is asked of the descriptor that is written through. A device is open exclusively (`O_EXCL`: the kernel then lets nobody mount it, swap to
//! it or build on it); of a file no descriptor keeps others away, so a write lock is held and everything is asked again before every round.

use super::block_device::{self, BlockDevice};
use super::loop_device;
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
        None => unused_file(path, file)?,
    }
    check_signature(path, file)
}

/// Checks that nothing else uses a block device or a part of it.
pub fn unused(path: &Path, device: &BlockDevice) -> Result<(), Refusal> {
    let partitions = device.partitions();
    // A mount or swap of a partition uses the whole device too.
    for used in std::iter::once(device).chain(&partitions) {
        if let Some(at) = used.mounted_at() {
            return Err(Refusal::Mounted { path: path.into(), at });
        }
        if used.is_swap() {
            return Err(Refusal::Swap(path.into()));
        }
        if let Some(holder) = used.holders().into_iter().next().or_else(|| loop_device::over(used)) {
            return Err(Refusal::Held { path: path.into(), holder });
        }
    }
    match partitions.first() {
        Some(partition) => Err(Refusal::Partitioned { path: path.into(), partition: partition.name() }),
        None => Ok(()),
    }
}

fn unused_file(path: &Path, file: &File) -> Result<(), Refusal> {
    let unreadable = |e: io::Error| Refusal::Unprobed { path: path.into(), reason: e.to_string() };
    let own = rustix::fs::fstat(file).map_err(|e| unreadable(e.into()))?;
    if own.st_nlink > 1 {
        return Err(Refusal::Linked { path: path.into(), links: own.st_nlink });
    }
    let same = |other: &Path| rustix::fs::stat(other).is_ok_and(|s| (s.st_dev, s.st_ino) == (own.st_dev, own.st_ino));
    if block_device::swaps().iter().any(|swap| same(swap)) {
        return Err(Refusal::Swap(path.into()));
    }
    if let Some(device) = loop_device::over_file(&own) {
        return Err(Refusal::Backing { path: path.into(), device });
    }
    lock(path, file)
}

/// Takes a write lock on the whole file for the open description, so that it lives as long as that and conflicts with everybody else's.
fn lock(path: &Path, file: &File) -> Result<(), Refusal> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(()),
        Err(error @ (nix::Error::EAGAIN | nix::Error::EACCES)) => {
            Err(Refusal::Locked { path: path.into(), how: error.to_string() })
        }
        Err(error) => Err(Refusal::Unlockable { path: path.into(), reason: error.to_string() }),
    }
}

/// `blkid --probe` exits with 2 when it finds no signature and no partition table. It reads what is open, whatever its name leads to by now.
fn check_signature(path: &Path, file: &File) -> Result<(), Refusal> {
    let unprobed = |reason: String| Refusal::Unprobed { path: path.into(), reason };
    let probe = |program: &&str| {
        let input = file.try_clone().ok()?;
        let mut command = Command::new(program);
        command.args(["--probe", "--output", "export", "/proc/self/fd/0"]).stdin(Stdio::from(input)).output().ok()
    };
    let output = ["blkid", "/usr/sbin/blkid", "/sbin/blkid"].iter().find_map(probe);
    let output = output.ok_or_else(|| unprobed("blkid was not found".into()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let kinds: Vec<&str> = text.lines().filter(|l| ["TYPE=", "PTTYPE=", "USAGE="].iter().any(|k| l.starts_with(k))).collect();
    match output.status.code() {
        Some(2) => Ok(()),
        Some(0) => Err(Refusal::Signed { path: path.into(), found: kinds.join(" ") }),
        Some(8) => Err(Refusal::Signed { path: path.into(), found: "more than one signature".into() }),
        code => Err(unprobed(format!("blkid exited with {code:?}"))),
    }
}
