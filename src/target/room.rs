//! Whether there is room for what the tool makes, looked at before any of it is made: shared memory and files take it from everything else
//! on the machine, and the kernel's answer to too little memory is to kill, not to refuse.

use super::{Kind, Wanted, loop_device, scratch};
use crate::control_group::memory::{Available, available_memory};
use crate::units::{size_text, size_words};
use crate::workload::Workload;
use std::path::Path;

/// Of the memory that is available, what may be taken unasked, in percent.
const MEMORY_SHARE: u64 = 50;
/// The same of the space of a file system.
const DISK_SHARE: u64 = 80;

/// What would take too much.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} takes {}, and at most {} may be taken: {share} % of the {} that are free {place}; {remedy}, or allow more with --allow-size {}",
    size_words(*wanted), size_words(*most), size_words(*free), size_text(*wanted)
)]
pub struct Refusal {
    /// What wants it, by its keys.
    what: String,
    wanted: u64,
    most: u64,
    free: u64,
    share: u64,
    place: String,
    remedy: &'static str,
}

/// Something to be taken from.
struct Store {
    free: u64,
    share: u64,
    place: String,
    remedy: &'static str,
}

impl Store {
    fn memory() -> Option<Store> {
        let Available { bytes, group } = available_memory()?;
        let place = match group {
            None => "of this machine's memory".into(),
            Some(group) => format!("below the memory limit of the control group {}", group.display()),
        };
        Some(Store { free: bytes, share: MEMORY_SHARE, place, remedy: "lower it" })
    }

    fn disk(dir: &Path) -> Option<Store> {
        let stat = rustix::fs::statvfs(dir).ok()?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let place = format!("in {}", dir.display());
        Some(Store { free, share: DISK_SHARE, place, remedy: "lower it, set TMPDIR to a directory with more room" })
    }

    /// Refuses more than the share, or than what the user allows; more than there is in any case.
    fn give(self, what: &str, wanted: u64, allowed: u64) -> Result<(), Refusal> {
        let Store { free, share, place, remedy } = self;
        let most = (free / 100 * share).max(allowed.min(free));
        if wanted <= most {
            return Ok(());
        }
        Err(Refusal { what: what.into(), wanted, most, free, share, place, remedy })
    }
}

/// Checks that everything which the tool makes for `wanted` fits together.
pub fn check(wanted: &[Wanted]) -> Result<(), Refusal> {
    let in_memory = |w: &&Wanted| w.kind == Kind::Loop || (w.kind == Kind::Auto && loop_device::is_permitted());
    let (shared, files): (Vec<_>, Vec<_>) = wanted.iter().filter(|w| w.is_made()).partition(in_memory);
    let total = |some: &[&Wanted]| some.iter().fold(0, |sum: u64, w| sum.saturating_add(w.size()));
    let allowed = wanted.iter().map(|w| w.allowed_bytes).max().unwrap_or(0);
    memory(SIZE, total(&shared), allowed)?;
    if files.is_empty() { Ok(()) } else { file(&scratch::choose().dir, total(&files), allowed) }
}

const SIZE: &str = "[target] size (--size)";

/// Checks that a file of `size` bytes fits into a directory. Where that lies in memory, it counts as such, too.
pub fn file(dir: &Path, size: u64, allowed: u64) -> Result<(), Refusal> {
    // What cannot be asked is refused, with its reason, by whoever makes the file.
    Store::disk(dir).map_or(Ok(()), |disk| disk.give(SIZE, size, allowed))?;
    if lies_in_memory(dir) { memory(SIZE, size, allowed) } else { Ok(()) }
}

/// Checks that the buffers of all jobs of a workload fit into memory, so many times beside each other.
pub fn buffers(workload: &Workload, times: u64, allowed: u64) -> Result<(), Refusal> {
    memory("bs x iodepth x numjobs", workload.buffer_bytes().saturating_mul(times), allowed)
}

fn memory(what: &str, wanted: u64, allowed: u64) -> Result<(), Refusal> {
    Store::memory().map_or(Ok(()), |memory| memory.give(what, wanted, allowed))
}

/// True of a directory whose files are memory: tmpfs, ramfs.
pub fn lies_in_memory(dir: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58F6;
    rustix::fs::statfs(dir).is_ok_and(|stat| [TMPFS, RAMFS].contains(&(stat.f_type as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_unasked_more_when_allowed_and_never_more_than_there_is() {
        const GIB: u64 = 1 << 30;
        let store = || Store { free: 10 * GIB, share: 50, place: "here".into(), remedy: "lower it" };
        let given = |wanted: u64, allowed: u64| store().give("size", wanted * GIB, allowed * GIB).map_err(|e| e.to_string());
        assert_eq!(given(5 - 1, 0), Ok(()));
        assert_eq!((given(8, 8), given(10, 100)), (Ok(()), Ok(())));
        let said = "size takes 6 GiB, and at most 5 GiB may be taken: 50 % of the 10 GiB that are free here; lower it, or allow more with \
                    --allow-size 6g";
        assert_eq!(given(6, 2), Err(said.into()));
        assert!(given(11, 100).unwrap_err().contains("at most 10 GiB"));
        assert!(store().give("size", u64::MAX, u64::MAX).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_kind() {
        let wanted = |kind, size: u64| Wanted { kind, path: None, size_bytes: Some(size), stamps: None, allowed_bytes: 0 };
        assert_eq!(check(&[wanted(Kind::Loop, 1 << 20), wanted(Kind::File, 1 << 20)]), Ok(()));
        let memory = check(&[wanted(Kind::Loop, 1 << 50)]).unwrap_err().to_string();
        assert!(memory.contains("[target] size") && memory.contains("1024 TiB") && memory.contains("memory"), "{memory}");
        let disk = check(&[wanted(Kind::File, 1 << 60)]).unwrap_err().to_string();
        assert!(disk.contains(&scratch::choose().dir.display().to_string()), "{disk}");
        let half = available_memory().unwrap().bytes / 3;
        assert!(check(&[wanted(Kind::Loop, half), wanted(Kind::Loop, half)]).is_err(), "together they are too much");
        let users = Wanted { path: Some("/somewhere".into()), ..wanted(Kind::File, 1 << 60) };
        assert_eq!(check(&[users]), Ok(()), "what the user has takes nothing more");
        let greedy = Workload { block_size_bytes: 1 << 30, queue_depth: 32768, jobs: 256, ..Workload::example() };
        assert!(buffers(&greedy, u64::MAX, 0).unwrap_err().to_string().contains("iodepth"));
    }
}
