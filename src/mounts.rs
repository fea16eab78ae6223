//! What is mounted, as proc_pid_mountinfo(5) tells it: the only reader of that table.

use std::os::fd::AsFd;
use std::path::PathBuf;

/// One mounted file system, seen from one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub id: u64,
    /// The mount that it lies on; not in the table where that is out of sight, and its own number at the very top.
    pub parent: u64,
    /// Major and minor number that stat(2) tells of its files. No block device's number for btrfs, overlay, tmpfs and network file systems.
    pub device: (u32, u32),
    /// The directory of the file system that is seen at `point`: `/` but for bind mounts, subvolumes and parts of a tree of control groups.
    pub root: PathBuf,
    pub point: PathBuf,
    pub kind: String,
    /// Usually the block device; what the file system likes otherwise.
    pub source: PathBuf,
    /// Of this place, then of the file system.
    pub options: (String, String),
}

/// Everything that this process sees mounted.
pub fn all() -> Vec<Mount> {
    parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Where a file lies. By the number of the mount (kernel 5.8) and, where that is not told, by the device.
pub fn of(file: impl AsFd) -> Option<Mount> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    let stat = rustix::fs::statx(&file, "", flags, rustix::fs::StatxFlags::MNT_ID).ok()?;
    let told = stat.stx_mask & rustix::fs::StatxFlags::MNT_ID.bits() != 0;
    let device = (stat.stx_dev_major, stat.stx_dev_minor);
    all().into_iter().find(|m| if told { m.id == stat.stx_mnt_id } else { m.device == device })
}

/// The name of the file system that a file lies on, for a reader.
pub fn file_system(file: impl AsFd) -> String {
    of(file).map_or_else(|| "an unknown file system".into(), |mount| mount.kind)
}

/// The lines of a table that read as they should; the kernel writes no others.
pub fn parse(table: &str) -> Vec<Mount> {
    table.lines().filter_map(mount).collect()
}

/// Those that their own path leads to: nothing else is mounted over them, or over a directory on the way to them.
pub fn reachable(mounts: &[Mount], of: impl Fn(&&Mount) -> bool) -> impl Iterator<Item = &Mount> {
    // Few are of the kind that is wanted, and only of these it has to be found out.
    mounts.iter().filter(of).filter(|mount| !is_hidden(mount, mounts))
}

fn is_hidden(mount: &Mount, mounts: &[Mount]) -> bool {
    let beside = |other: &&Mount| other.id != other.parent;
    if mounts.iter().filter(beside).any(|other| other.parent == mount.id && other.point == mount.point) {
        return true;
    }
    // A directory has at most one mount on it, so another one on the way covers this. A table that was tampered with may have circles.
    let (mut below, mut steps) = (mount, 0);
    while let Some(parent) = mounts.iter().find(|other| other.id == below.parent && other.id != below.id) {
        let covers = |other: &&Mount| other.parent == parent.id && other.id != below.id && mount.point.starts_with(&other.point);
        if steps > mounts.len() || mounts.iter().filter(beside).any(|other| covers(&other)) {
            return true;
        }
        (below, steps) = (parent, steps + 1);
    }
    false
}

fn mount(line: &str) -> Option<Mount> {
    // Optional fields end at the lone hyphen.
    let (before, after) = line.split_once(" - ")?;
    let (before, after): (Vec<&str>, Vec<&str>) = (before.split(' ').collect(), after.split(' ').collect());
    let [id, parent, device, root, point, place, ..] = before[..] else { return None };
    let [kind, source, whole] = after[..] else { return None };
    let (major, minor) = device.split_once(':')?;
    Some(Mount {
        id: id.parse().ok()?,
        parent: parent.parse().ok()?,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: unescape(root),
        point: unescape(point),
        kind: kind.into(),
        source: unescape(source),
        options: (place.into(), whole.into()),
    })
}

/// Blanks, line ends and backslashes stand in the kernel's tables as three octal digits behind a backslash.
pub fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let (mut path, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).filter(|d| bytes[at] == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        let octal = digits.map(|d| d.iter().fold(0_u32, |n, b| n * 8 + u32::from(b - b'0')));
        match octal.and_then(|n| u8::try_from(n).ok()) {
            Some(byte) => {
                path.push(byte);
                at += 4;
            }
            None => {
                path.push(bytes[at]);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn fields_are_the_kernels() {
        let table = "22 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw,discard\n\
                     30 22 0:45 /sub /mnt/with\\040blank rw - btrfs /dev/loop0 rw,subvolid=256\n\
                     31 22 0:5 / /odd \n";
        let mounts = parse(table);
        assert_eq!(mounts.len(), 2, "a torn line is none");
        assert_eq!((mounts[0].id, mounts[0].device, mounts[0].kind.as_str()), (22, (8, 1), "ext4"));
        assert_eq!(mounts[0].options, ("rw,relatime".into(), "rw,discard".into()));
        assert_eq!(
            (mounts[0].root.as_path(), mounts[1].root.as_path(), mounts[1].parent),
            (Path::new("/"), Path::new("/sub"), 22)
        );
        assert_eq!(
            (mounts[1].point.as_path(), mounts[1].source.as_path()),
            (Path::new("/mnt/with blank"), Path::new("/dev/loop0"))
        );
    }

    #[test]
    fn escapes_are_bytes_and_nothing_else_is() {
        assert_eq!(unescape("a\\011b\\134c"), Path::new("a\tb\\c"));
        for whole in ["\\", "\\04", "\\999", "\\8", "x\\777"] {
            assert_eq!(unescape(whole), Path::new(whole));
        }
    }

    /// Points of what can be reached, of lines `ID PARENT POINT`.
    fn seen(lines: &[&str]) -> Vec<u64> {
        let line = |line: &&str| {
            let [id, parent, point] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            format!("{id} {parent} 0:{id} / {point} rw - tmpfs none rw\n")
        };
        let mounts = parse(&lines.iter().map(line).collect::<String>());
        assert_eq!(mounts.len(), lines.len());
        reachable(&mounts, |_| true).map(|m| m.id).collect()
    }

    #[test]
    fn what_lies_below_another_mount_is_not_reached() {
        assert_eq!(seen(&["1 1 /", "2 1 /sys", "3 2 /sys/fs/cgroup", "4 3 /sys/fs/cgroup/cpu"]), [1, 2, 3, 4], "nested");
        assert_eq!(seen(&["1 0 /", "2 1 /sys/fs/cgroup", "3 2 /sys/fs/cgroup"]), [1, 3], "over its root");
        assert_eq!(seen(&["1 0 /", "2 1 /sys/fs/cgroup", "3 1 /sys"]), [1, 3], "over a directory that leads to it");
        assert_eq!(seen(&["1 0 /", "2 1 /sys", "3 2 /sys/fs/cgroup", "4 2 /sys"]), [1, 4], "and to the mount that it lies on");
        assert_eq!(seen(&["1 0 /", "2 1 /sys/fs", "3 1 /sys/fs/cgroup2", "4 1 /sys/fsx"]), [1, 2, 4]);
        assert_eq!(seen(&["5 9 /", "6 5 /a", "7 5 /ab"]), [5, 6, 7], "a part of a tree, names that begin alike");
        assert_eq!(seen(&["1 2 /a", "2 1 /b"]), [0; 0], "a circle, which no kernel writes");
    }

    #[test]
    fn this_program_lies_on_something_mounted() {
        let mount = of(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(all().contains(&mount));
    }
}
