//! How much memory this process may still take: what the machine has to give, and what each control group on the way from the root to this
//! process allows, in version 1, in version 2 and where both are mounted.
//!
//! The kernel's Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst describe the files.

use super::membership::{Controller, Groups, Version, View};
use std::fs;
use std::path::{Path, PathBuf};

/// The least memory limit on the way to this process. For what compares sizes with memory.
pub fn memory_limit() -> Limit {
    limit_of(View::of_this_process())
}

/// The memory that may still be taken. `None` where the machine does not tell.
pub fn available_memory() -> Option<Available> {
    available_of(View::of_this_process())
}

/// What control groups allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The least limit that can be seen; `None` without any.
    pub bytes: Option<u64>,
    /// Every group that may limit was seen.
    pub whole: bool,
}

/// Memory that may still be taken, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    pub bytes: u64,
    /// The group whose limit is the narrowest; `None` where the machine itself is.
    pub group: Option<PathBuf>,
}

/// Version 1 says "no limit" by the largest multiple of a page.
const UNLIMITED: u64 = 1 << 62;

fn limit_of(view: View<'_>) -> Limit {
    let groups: Groups = view.groups(Controller::Memory);
    Limit { bytes: groups.dirs().filter_map(|(version, dir)| limit(version, dir)).min(), whole: groups.whole }
}

fn available_of(view: View<'_>) -> Option<Available> {
    let of_machine = kilobytes(&view.read("proc/meminfo"), "MemAvailable:").map(|bytes| Available { bytes, group: None });
    let groups = view.groups(Controller::Memory);
    let of_groups = groups.dirs().filter_map(|(version, dir)| {
        let bytes = limit(version, dir)?.saturating_sub(in_use(version, dir));
        Some(Available { bytes, group: Some(dir.into()) })
    });
    of_machine.into_iter().chain(of_groups).min_by_key(|available| available.bytes)
}

/// What a group may use. Beyond `memory.high` the kernel slows everything in it down and takes its pages back, so that is a limit, too; version 1
/// also tells the least limit of the groups above, those out of sight included.
fn limit(version: Version, dir: &Path) -> Option<u64> {
    let told = match version {
        Version::One => [number(&dir.join("memory.limit_in_bytes")), stat(dir, "hierarchical_memory_limit")],
        Version::Two => [number(&dir.join("memory.max")), number(&dir.join("memory.high"))],
    };
    told.into_iter().flatten().filter(|bytes| *bytes < UNLIMITED).min()
}

/// What a group uses without the pages of files, which the kernel takes back before it kills.
fn in_use(version: Version, dir: &Path) -> u64 {
    // Of version 1 the keys with a prefix count all of a group and those below it.
    let (usage, prefix) = match version {
        Version::One => ("memory.usage_in_bytes", "total_"),
        Version::Two => ("memory.current", ""),
    };
    let files = |key: &str| stat(dir, &format!("{prefix}{key}")).unwrap_or(0);
    let files = files("inactive_file").saturating_add(files("active_file"));
    number(&dir.join(usage)).unwrap_or(0).saturating_sub(files)
}

/// A line of a group's `memory.stat`.
fn stat(dir: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(dir.join("memory.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// "max" is no number, and no limit.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|l| l.strip_prefix(key))?.trim().trim_end_matches("kB").trim();
    value.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::membership::tree::{UNIFIED, V1, V2, tree};
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Limit and availability in MiB, and the group by the end of its path; of a machine with 64 MiB to give where it does not say otherwise.
    fn seen(files: &[(&str, &str)]) -> (Option<u64>, Option<(u64, String)>) {
        let home = tree(&[&[("proc/meminfo", "MemTotal: 999999 kB\nMemAvailable:   65536 kB\n")], files].concat());
        let view = View { root: home.path() };
        let name = |group: PathBuf| group.strip_prefix(home.path().join("sys/fs/cgroup")).unwrap().display().to_string();
        let available = available_of(view).map(|a| (a.bytes / MIB, a.group.map_or("machine".into(), name)));
        (limit_of(view).bytes.map(|bytes| bytes / MIB), available)
    }

    #[test]
    fn without_groups_the_machine_decides() {
        assert_eq!(seen(&[]), (None, Some((64, "machine".into()))));
        assert_eq!(seen(&[("proc/meminfo", "")]), (None, None));
        let unlimited = [
            ("proc/self/mountinfo", V1),
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(seen(&unlimited), (None, Some((64, "machine".into()))));
    }

    #[test]
    fn the_least_of_version_two_counts_at_every_level() {
        let files = [
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/slice/unit/child\n"),
            ("sys/fs/cgroup/slice/memory.max", "33554432\n"),
            ("sys/fs/cgroup/slice/memory.current", "23068672\n"),
            ("sys/fs/cgroup/slice/unit/memory.max", "16777216\n"),
            ("sys/fs/cgroup/slice/unit/memory.current", "1048576\n"),
            ("sys/fs/cgroup/slice/unit/child/memory.max", "max\n"),
        ];
        assert_eq!(seen(&files), (Some(16), Some((10, "slice".into()))), "the parent has less left than the nearer limit");
        let cached =
            [&files[..], &[("sys/fs/cgroup/slice/memory.stat", "anon 1\ninactive_file 9437184\nactive_file 1048576\n")]].concat();
        assert_eq!(seen(&cached), (Some(16), Some((15, "slice/unit".into()))), "pages of files are given back");
    }

    #[test]
    fn version_one_and_both_together() {
        let hybrid = [V1, UNIFIED].concat();
        let files = [
            ("proc/self/mountinfo", hybrid.as_str()),
            ("proc/self/cgroup", "5:cpu,cpuacct:/other\n4:memory:/job/step\n0::/user\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "20971520\n"),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "4194304\n"),
            ("sys/fs/cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 1048576\n"),
            ("sys/fs/cgroup/memory/job/step/memory.limit_in_bytes", "41943040\n"),
        ];
        assert_eq!(seen(&files), (Some(20), Some((17, "memory/job".into()))));
        let narrower = [("sys/fs/cgroup/unified/user/memory.max", "5242880\n")];
        assert_eq!(seen(&[&files[..], &narrower].concat()), (Some(5), Some((5, "unified/user".into()))));
    }

    #[test]
    fn a_high_mark_below_the_limit_is_the_limit() {
        let files = [
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/slice/unit\n"),
            ("sys/fs/cgroup/slice/memory.max", "max\n"),
            ("sys/fs/cgroup/slice/memory.high", "25165824\n"),
            ("sys/fs/cgroup/slice/memory.current", "4194304\n"),
            ("sys/fs/cgroup/slice/unit/memory.max", "33554432\n"),
            ("sys/fs/cgroup/slice/unit/memory.high", "max\n"),
        ];
        assert_eq!(seen(&files), (Some(24), Some((20, "slice".into()))));
    }

    #[test]
    fn version_one_tells_of_limits_out_of_sight() {
        let files = [
            ("proc/self/mountinfo", "36 32 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"),
            ("proc/self/cgroup", "4:memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 0\nhierarchical_memory_limit 12582912\n"),
        ];
        assert_eq!(seen(&files), (Some(12), Some((11, "memory".into()))));
    }

    #[test]
    fn a_container_that_sees_a_part_of_the_tree_finds_its_own_limit() {
        let mounted = "36 32 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8388608\n");
        for own in ["4:memory:/docker/abc\n", "4:memory:/elsewhere\n", "4:memory:/docker/abc/../../x\n", ""] {
            let files = [("proc/self/mountinfo", mounted), ("proc/self/cgroup", own), limit];
            assert_eq!(seen(&files), (Some(8), Some((8, "memory".into()))), "{own}");
        }
        let files =
            [("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/../outside\n"), ("sys/fs/cgroup/memory.max", "8388608")];
        assert_eq!(seen(&files), (Some(8), Some((8, String::new()))));
    }

    #[test]
    fn this_machine_tells() {
        let available = available_memory().unwrap();
        assert!(available.bytes > MIB, "{available:?}");
        assert!(memory_limit().bytes.is_none_or(|limit| limit > MIB));
    }
}
