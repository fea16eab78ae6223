//! Who may be written to. What the tool made, always; anything else only when the user repeats its exact path, and never while it holds
//! something: a mount, a holder, swap, a partition table, a file-system signature.

use super::{Member, Target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a write was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this experiment writes to {path}; nothing but targets of the tool's own is written without --allow-destructive {path}", path = .0.display())]
    NotAllowed(PathBuf),
    #[error("{path} is mounted at {at}; unmount it first", path = path.display())]
    Mounted { path: PathBuf, at: String },
    #[error("{path} is in use as swap; swapoff it first", path = .0.display())]
    Swap(PathBuf),
    #[error("{path} is held by {holder}; release it first", path = path.display())]
    Held { path: PathBuf, holder: String },
    #[error("{path} has partitions ({partition}); writing would destroy them", path = path.display())]
    Partitioned { path: PathBuf, partition: String },
    #[error("{path} carries a signature ({found}); if it may be lost, erase it with wipefs --all {path}", path = path.display())]
    Signed { path: PathBuf, found: String },
    #[error("cannot tell whether {path} carries a signature: {reason}; install util-linux (blkid)", path = path.display())]
    Unprobed { path: PathBuf, reason: String },
}

/// Checks that `target` may be written to, given the paths the user allowed.
pub fn check(target: &Target, allowed: &[PathBuf]) -> Result<(), Refusal> {
    target.members.iter().filter(|m| !m.made_here).try_for_each(|Member { path, .. }| match allowed.contains(path) {
        false => Err(Refusal::NotAllowed(path.clone())),
        true if super::is_block_device(path) => check_device(path),
        true => Ok(()),
    })
}

fn check_device(path: &Path) -> Result<(), Refusal> {
    unused(path)?;
    check_signature(path)
}

/// Checks that nothing else uses a block device or a part of it.
pub fn unused(path: &Path) -> Result<(), Refusal> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sys = Path::new("/sys/class/block").join(&name);
    let partitions = entries(&sys).into_iter().filter(|e| e.starts_with(&name) && sys.join(e).join("partition").exists());
    // A mount or swap of a partition uses the whole device too.
    let used: Vec<PathBuf> = partitions.clone().map(|p| Path::new("/dev").join(p)).chain([real.clone()]).collect();
    for device in &used {
        if let Some(at) = mount_point(device) {
            return Err(Refusal::Mounted { path: path.into(), at });
        }
        if listed("/proc/swaps", device) {
            return Err(Refusal::Swap(path.into()));
        }
    }
    if let Some(holder) = entries(&sys.join("holders")).into_iter().next() {
        return Err(Refusal::Held { path: path.into(), holder });
    }
    if let Some(partition) = partitions.clone().next() {
        return Err(Refusal::Partitioned { path: path.into(), partition });
    }
    Ok(())
}

/// `blkid --probe` exits with 2 when it finds no signature and no partition table.
fn check_signature(path: &Path) -> Result<(), Refusal> {
    let unprobed = |reason: String| Refusal::Unprobed { path: path.into(), reason };
    let output = ["blkid", "/usr/sbin/blkid", "/sbin/blkid"]
        .iter()
        .find_map(|program| Command::new(program).args(["--probe", "--output", "export"]).arg(path).output().ok())
        .ok_or_else(|| unprobed("blkid was not found".into()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let kinds: Vec<&str> = text.lines().filter(|l| ["TYPE=", "PTTYPE=", "USAGE="].iter().any(|k| l.starts_with(k))).collect();
    match output.status.code() {
        Some(2) => Ok(()),
        Some(0) => Err(Refusal::Signed { path: path.into(), found: kinds.join(" ") }),
        Some(8) => Err(Refusal::Signed { path: path.into(), found: "more than one signature".into() }),
        code => Err(unprobed(format!("blkid exited with {code:?}"))),
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let read = fs::read_dir(dir).into_iter().flatten().flatten();
    read.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// The mount point of a device, compared by device number so that no alias hides it.
fn mount_point(device: &Path) -> Option<String> {
    let number = rustix::fs::stat(device).ok()?.st_rdev;
    let id = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&id.as_str())).map(|f| f[4].to_string())
}

fn listed(table: &str, device: &Path) -> bool {
    let text = fs::read_to_string(table).unwrap_or_default();
    text.lines().skip(1).filter_map(|l| l.split_whitespace().next()).any(|used| same_device(Path::new(used), device))
}

fn same_device(a: &Path, b: &Path) -> bool {
    match (rustix::fs::stat(a), rustix::fs::stat(b)) {
        (Ok(a), Ok(b)) => a.st_rdev == b.st_rdev && a.st_rdev != 0,
        _ => a == b,
    }
}
