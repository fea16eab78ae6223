//! How much memory this process may still take: what the machine has to give, and what each control group on the way from the root to this
//! process allows, in version 1, in version 2 and where both are mounted.
//!
//! The kernel's Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst describe the files, proc_pid_mountinfo(5) and cgroups(7) the
//! tables that lead to them.

use std::fs;
use std::path::{Path, PathBuf};

/// The least memory limit on the way to this process, in bytes; `None` without any. For what compares sizes with memory.
pub fn memory_limit() -> Option<u64> {
    View::of_this_process().limit()
}

/// The memory that may still be taken. `None` where the machine does not tell.
pub fn available_memory() -> Option<Available> {
    View::of_this_process().available()
}

/// Memory that may still be taken, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    pub bytes: u64,
    /// The group whose limit is the narrowest; `None` where the machine itself is.
    pub group: Option<PathBuf>,
}

/// Where the tables of a process and the files of groups are: `/`, but in tests.
struct View<'a> {
    root: &'a Path,
}

/// A hierarchy of groups that limits memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The files of the limit and of what is used, and the prefix of keys in `memory.stat` that count all of a group and those below it.
    fn files(self) -> [&'static str; 3] {
        match self {
            Version::One => ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_"],
            Version::Two => ["memory.max", "memory.current", ""],
        }
    }
}

/// Version 1 says "no limit" by the largest multiple of a page.
const UNLIMITED: u64 = 1 << 62;

impl View<'_> {
    fn of_this_process() -> View<'static> {
        View { root: Path::new("/") }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    fn limit(&self) -> Option<u64> {
        self.groups().iter().filter_map(|(version, dir)| limit(*version, dir)).min()
    }

    fn available(&self) -> Option<Available> {
        let of_machine = kilobytes(&self.read("proc/meminfo"), "MemAvailable:").map(|bytes| Available { bytes, group: None });
        let of_groups = self.groups().into_iter().filter_map(|(version, dir)| {
            let bytes = limit(version, &dir)?.saturating_sub(in_use(version, &dir));
            Some(Available { bytes, group: Some(dir) })
        });
        of_machine.into_iter().chain(of_groups).min_by_key(|available| available.bytes)
    }

    /// The directories of all groups that this process is in, from its own up to the top of what is mounted.
    fn groups(&self) -> Vec<(Version, PathBuf)> {
        let (mounts, own) = (self.read("proc/self/mountinfo"), self.read("proc/self/cgroup"));
        mounts.lines().filter_map(Mount::parse).flat_map(|mount| self.on_the_way(&mount, &own)).collect()
    }

    fn on_the_way(&self, mount: &Mount, own: &str) -> Vec<(Version, PathBuf)> {
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let right = match mount.version {
                Version::One => controllers.split(',').any(|c| c == "memory"),
                Version::Two => controllers.is_empty(),
            };
            right.then_some(path)
        });
        let top = self.root.join(mount.point.trim_start_matches('/'));
        // A container may see a part of the tree alone, mounted under a path that its processes' groups do not begin with.
        let below = path.and_then(|path| Path::new(path).strip_prefix(&mount.part).ok()).unwrap_or(Path::new(""));
        // "/.." is a group outside of the process's own name space: nothing of it can be seen.
        let below = if below.starts_with("..") { Path::new("") } else { below };
        below.ancestors().map(|part| (mount.version, top.join(part))).collect()
    }
}

/// A mounted hierarchy that may limit memory.
struct Mount {
    version: Version,
    /// The group that is mounted.
    part: String,
    point: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (before, after) = line.split_once(" - ")?;
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (part, point) = (unescaped(before.next()?), unescaped(before.next()?));
        let (kind, options) = (after.next()?, after.nth(1)?);
        let version = match kind {
            "cgroup2" => Version::Two,
            "cgroup" if options.split(',').any(|o| o == "memory") => Version::One,
            _ => return None,
        };
        Some(Mount { version, part, point })
    }
}

/// Spaces and the like stand as octal numbers in the table.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.into(), |t, (from, to)| t.replace(from, to))
}

fn limit(version: Version, dir: &Path) -> Option<u64> {
    let bytes = number(&dir.join(version.files()[0]))?;
    (bytes < UNLIMITED).then_some(bytes)
}

/// What a group uses without the pages of files, which the kernel takes back before it kills.
fn in_use(version: Version, dir: &Path) -> u64 {
    let [_, usage, prefix] = version.files();
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let of = |key: &str| stat.lines().find_map(|l| l.strip_prefix(&format!("{prefix}{key} "))?.trim().parse::<u64>().ok());
    let files = of("inactive_file").unwrap_or(0).saturating_add(of("active_file").unwrap_or(0));
    number(&dir.join(usage)).unwrap_or(0).saturating_sub(files)
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
    use super::*;

    const MIB: u64 = 1 << 20;
    const V1: &str = "36 32 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      37 32 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// A tree of files; a machine with 64 MiB to give where it does not say otherwise.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in [("proc/meminfo", "MemTotal: 999999 kB\nMemAvailable:   65536 kB\n")].iter().chain(files) {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        home
    }

    /// Limit and availability in MiB, and the group by the end of its path.
    fn seen(files: &[(&str, &str)]) -> (Option<u64>, Option<(u64, String)>) {
        let home = tree(files);
        let view = View { root: home.path() };
        let name = |group: PathBuf| group.strip_prefix(home.path().join("sys/fs/cgroup")).unwrap().display().to_string();
        let available = view.available().map(|a| (a.bytes / MIB, a.group.map_or("machine".into(), name)));
        (view.limit().map(|bytes| bytes / MIB), available)
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
        let hybrid = format!("{V1}41 32 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
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
        assert!(memory_limit().is_none_or(|limit| limit > MIB));
    }
}
