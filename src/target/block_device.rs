//! Block devices, resolved in one place: from the number in a descriptor through sysfs to the disk, its partitions, what it is made of, who holds
//! it, and the other nodes that lead to it. Names in a path never count: a node may be called anything, and links may point anywhere.
//!
//! Layout of sysfs: Documentation/ABI/stable/sysfs-block of the kernel.

use crate::mounts::{self, Mount};
use rustix::fs::{FileType, Stat, fstat, major, minor};
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Major and minor number.
pub type Number = (u32, u32);

const SYSFS: &str = "/sys";

/// A block device as sysfs shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDevice {
    pub number: Number,
    /// Its directory, without links.
    dir: PathBuf,
    sysfs: PathBuf,
}

/// The character device of an NVMe namespace that takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generic {
    pub path: PathBuf,
    pub number: Number,
}

/// The number of a block device's node; `None` for everything else.
pub fn number_of(stat: &Stat) -> Option<Number> {
    let block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
    block.then(|| (major(stat.st_rdev), minor(stat.st_rdev)))
}

impl BlockDevice {
    /// Whatever an open descriptor leads to; `None` where that is no block device.
    pub fn of(file: impl AsFd) -> Option<BlockDevice> {
        BlockDevice::numbered(number_of(&fstat(file).ok()?)?)
    }

    /// Whatever a path leads to.
    pub fn at(path: &Path) -> Option<BlockDevice> {
        BlockDevice::numbered(number_of(&rustix::fs::stat(path).ok()?)?)
    }

    /// The device of a number, where there is one.
    pub fn numbered(number: Number) -> Option<BlockDevice> {
        BlockDevice::under(Path::new(SYSFS), number)
    }

    fn under(sysfs: &Path, number: Number) -> Option<BlockDevice> {
        let dir = fs::canonicalize(sysfs.join(format!("dev/block/{}:{}", number.0, number.1))).ok()?;
        Some(BlockDevice { number, dir, sysfs: sysfs.into() })
    }

    /// The one that a directory of sysfs describes, or links to.
    fn described(&self, dir: &Path) -> Option<BlockDevice> {
        BlockDevice::under(&self.sysfs, parse_number(&fs::read_to_string(dir.join("dev")).ok()?)?)
    }

    /// What the kernel calls it: `sda1`, `nvme0n1`, `dm-0`.
    pub fn name(&self) -> String {
        // A slash in a device's name stands in sysfs as an exclamation mark.
        self.dir.file_name().unwrap_or_default().to_string_lossy().replace('!', "/")
    }

    /// True for a part of a disk.
    pub fn is_partition(&self) -> bool {
        self.dir.join("partition").exists()
    }

    /// The whole device: itself unless it is a partition.
    pub fn disk(&self) -> BlockDevice {
        let whole = self.is_partition().then(|| self.dir.parent()).flatten();
        whole.and_then(|dir| self.described(dir)).unwrap_or_else(|| self.clone())
    }

    /// The parts of a disk.
    pub fn partitions(&self) -> Vec<BlockDevice> {
        let parts = entries(&self.dir).into_iter().filter(|dir| dir.join("partition").exists());
        parts.filter_map(|dir| self.described(&dir)).collect()
    }

    /// The kernel names of what is built on it: RAID, LVM, multipath, dm-crypt, bcache.
    pub fn holders(&self) -> Vec<String> {
        entries(&self.dir.join("holders"))
            .iter()
            .map(|dir| dir.file_name().unwrap_or_default().to_string_lossy().into())
            .collect()
    }

    /// What it is built on.
    pub fn members(&self) -> Vec<BlockDevice> {
        entries(&self.dir.join("slaves")).iter().filter_map(|dir| self.described(dir)).collect()
    }

    /// Itself, its disk, and everything below either, each once.
    pub fn with_all_below(&self) -> Vec<BlockDevice> {
        let (mut found, mut open): (Vec<BlockDevice>, _) = (Vec::new(), vec![self.clone()]);
        while let Some(next) = open.pop() {
            if found.contains(&next) {
                continue;
            }
            open.extend(next.members());
            open.push(next.disk());
            found.push(next);
        }
        found
    }

    /// The first line of an attribute: a partition's own, or its disk's.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let read = |dir: &Path| fs::read_to_string(dir.join(name)).ok();
        let text = read(&self.dir).or_else(|| read(&self.disk().dir))?;
        Some(text.lines().next().unwrap_or_default().trim().to_string())
    }

    /// The directory of its queue's settings, which a partition shares with its disk.
    pub fn queue(&self) -> PathBuf {
        self.sysfs.join("block").join(self.disk().name().replace('/', "!")).join("queue")
    }

    /// The directories of its hardware queues; none of a device that only hands bios on: device mapper, md, NVMe multipath, zram.
    pub fn hardware_queues(&self) -> Vec<PathBuf> {
        entries(&self.dir.join("mq")).into_iter().filter(|dir| dir.is_dir()).collect()
    }

    /// True where nothing can be written: a device's own setting, or its disk's.
    pub fn is_read_only(&self) -> bool {
        [self, &self.disk()].iter().any(|device| fs::read_to_string(device.dir.join("ro")).is_ok_and(|text| text.trim() == "1"))
    }

    /// The model of a zoned device that refuses writes elsewhere (`host-managed`); `None` for all others. `host-aware` ones take them anywhere.
    pub fn zones(&self) -> Option<String> {
        self.attribute("queue/zoned").filter(|model| model == "host-managed")
    }

    /// True for an NVMe namespace with several paths. What is read of it is done by hidden devices, one a path, which have no number that
    /// sysfs tells (block/genhd.c gives none to `GENHD_FL_HIDDEN`): they cannot be watched.
    pub fn has_hidden_paths(&self) -> bool {
        let parent = |device: BlockDevice| Some(device.dir.parent()?.file_name()?.to_string_lossy().into_owned());
        parent(self.disk()).is_some_and(|name| name.starts_with("nvme-subsys"))
    }

    /// True for a null_blk device, which keeps nothing of what was done to it.
    pub fn is_null_blk(&self) -> bool {
        self.disk().name().strip_prefix("nullb").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Its NUMA node, or that of all it is built on; `None` where there is none (-1), as for a loop device.
    pub fn numa_node(&self) -> Option<u32> {
        let own = ["device/numa_node", "device/device/numa_node"].iter().find_map(|name| self.attribute(name)?.parse().ok());
        let below = || {
            let mut nodes = self.members().into_iter().map(|member| member.numa_node());
            let first = nodes.next().flatten()?;
            nodes.all(|node| node == Some(first)).then_some(first)
        };
        own.or_else(below)
    }

    /// The generic device of an NVMe namespace: `ng0n1` lies beside `nvme0n1`, below its controller or, with multipath, its subsystem.
    pub fn generic(&self) -> Option<Generic> {
        let name = self.name();
        let beside = self.dir.parent()?;
        let twin = format!("ng{}", name.strip_prefix("nvme").filter(|_| !self.is_partition())?);
        let dir =
            [beside.join(&twin), beside.join("nvme-generic").join(&twin)].into_iter().find(|dir| dir.join("dev").exists())?;
        let number = parse_number(&fs::read_to_string(dir.join("dev")).ok()?)?;
        Some(Generic { path: Path::new("/dev").join(&twin), number })
    }

    /// Where it, or a file system that it is a member of, is mounted.
    pub fn mounted_at(&self) -> Option<PathBuf> {
        let mounts = mounts::all();
        let own = mounts.iter().find(|m| m.device == self.number);
        let shared = || mounts.iter().find(|m| m.kind == "btrfs" && btrfs_members(&self.sysfs, m).contains(&self.number));
        own.or_else(shared).map(|m| m.point.clone())
    }

    /// True where it is swapped to.
    pub fn is_swap(&self) -> bool {
        swaps().iter().any(|path| rustix::fs::stat(path).is_ok_and(|stat| number_of(&stat) == Some(self.number)))
    }
}

/// The block devices that serve a file: itself where it is one, else those of its file system. None where that has none, or does not say.
pub fn behind(file: impl AsFd) -> Vec<BlockDevice> {
    if let Some(device) = BlockDevice::of(&file) {
        return vec![device];
    }
    let Some(mount) = mounts::of(&file) else { return vec![] };
    let numbers = if mount.kind == "btrfs" { btrfs_members(Path::new(SYSFS), &mount) } else { vec![mount.device] };
    numbers.into_iter().filter_map(BlockDevice::numbered).collect()
}

/// The devices of a mounted btrfs, whose files carry a number of no device. The file system is the one that has the mount's source.
fn btrfs_members(sysfs: &Path, mount: &Mount) -> Vec<Number> {
    let Some(source) = rustix::fs::stat(&mount.source).ok().as_ref().and_then(number_of) else { return vec![] };
    let devices = |dir: &PathBuf| -> Vec<Number> {
        let numbers = entries(&dir.join("devices")).into_iter().filter_map(|d| fs::read_to_string(d.join("dev")).ok());
        numbers.filter_map(|text| parse_number(&text)).collect()
    };
    entries(&sysfs.join("fs/btrfs")).iter().map(devices).find(|numbers| numbers.contains(&source)).unwrap_or_else(|| vec![source])
}

/// The files and devices that are swapped to; the kernel marks those whose name is gone.
pub fn swaps() -> Vec<PathBuf> {
    parse_swaps(&fs::read_to_string("/proc/swaps").unwrap_or_default())
}

/// What a text of `/proc/swaps` lists.
pub fn parse_swaps(table: &str) -> Vec<PathBuf> {
    table.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).map(mounts::unescape).collect()
}

fn parse_number(text: &str) -> Option<Number> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The entries of a directory in order of their names; none where there is no such directory.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A sysfs of a test's own: each device by its directory and number, then files in it.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(devices: &[(&str, &str)]) -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            for (dir, number) in devices {
                tree.file(&format!("{dir}/dev"), number);
                let links = tree.0.path().join("dev/block");
                fs::create_dir_all(&links).unwrap();
                symlink(tree.0.path().join(dir), links.join(number)).unwrap();
            }
            tree
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }

        fn link(&self, at: &str, to: &str) {
            let at = self.0.path().join(at);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            symlink(self.0.path().join(to), at).unwrap();
        }

        fn device(&self, number: Number) -> BlockDevice {
            BlockDevice::under(self.0.path(), number).unwrap()
        }
    }

    #[test]
    fn a_partition_knows_its_disk_and_shares_its_queue() {
        let tree = Tree::new(&[("devices/pci/sda", "8:0"), ("devices/pci/sda/sda1", "8:1"), ("devices/pci/sda/sda2", "8:2")]);
        tree.file("devices/pci/sda/sda1/partition", "1");
        tree.file("devices/pci/sda/sda2/partition", "2");
        tree.file("devices/pci/sda/queue/scheduler", "[none] bfq");
        tree.file("devices/pci/sda/size", "100");
        tree.file("devices/pci/sda/sda1/size", "40");
        let (disk, part) = (tree.device((8, 0)), tree.device((8, 1)));
        assert_eq!((part.is_partition(), disk.is_partition()), (true, false));
        assert_eq!((part.disk(), disk.disk()), (disk.clone(), disk.clone()));
        assert_eq!(disk.partitions().iter().map(|p| p.name()).collect::<Vec<_>>(), ["sda1", "sda2"]);
        assert_eq!(part.attribute("queue/scheduler"), Some("[none] bfq".into()), "its disk's");
        assert_eq!(part.attribute("size"), Some("40".into()), "its own");
        assert!(part.queue().ends_with("block/sda/queue"), "{}", part.queue().display());
    }

    #[test]
    fn stacks_are_seen_from_both_ends() {
        let tree = Tree::new(&[
            ("devices/a/sda", "8:0"),
            ("devices/a/sda/sda1", "8:1"),
            ("devices/b/sdb", "8:16"),
            ("devices/v/dm-0", "253:0"),
        ]);
        tree.file("devices/a/sda/sda1/partition", "1");
        tree.link("devices/v/dm-0/slaves/sda1", "devices/a/sda/sda1");
        tree.link("devices/v/dm-0/slaves/sdb", "devices/b/sdb");
        tree.link("devices/b/sdb/holders/dm-0", "devices/v/dm-0");
        for (disk, node) in [("a/sda", "1"), ("b/sdb", "1")] {
            tree.file(&format!("devices/{disk}/device/numa_node"), node);
        }
        let mapped = tree.device((253, 0));
        let mut below: Vec<String> = mapped.with_all_below().iter().map(BlockDevice::name).collect();
        below.sort();
        assert_eq!(below, ["dm-0", "sda", "sda1", "sdb"]);
        assert_eq!(tree.device((8, 16)).holders(), ["dm-0"]);
        assert_eq!(mapped.numa_node(), Some(1), "that of all its members");
        tree.file("devices/b/sdb/device/numa_node", "0");
        assert_eq!(mapped.numa_node(), None, "members on different nodes");
        tree.file("devices/b/sdb/device/numa_node", "-1");
        assert_eq!(tree.device((8, 16)).numa_node(), None);
    }

    #[test]
    fn the_generic_device_is_the_one_beside_the_namespace() {
        let tree = Tree::new(&[
            ("devices/pci/nvme/nvme0/nvme0n1", "259:0"),
            ("devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2", "259:4"),
            ("devices/pci/sda", "8:0"),
        ]);
        assert_eq!(tree.device((259, 0)).generic(), None, "a kernel before 5.13 makes none");
        tree.file("devices/pci/nvme/nvme0/ng0n1/dev", "237:0");
        tree.file("devices/virtual/nvme-subsystem/nvme-subsys1/ng1n2/dev", "237:3");
        let generic = |number| tree.device(number).generic().unwrap();
        assert_eq!(generic((259, 0)), Generic { path: "/dev/ng0n1".into(), number: (237, 0) });
        assert_eq!(generic((259, 4)).number, (237, 3), "of a multipath head");
        assert_eq!(tree.device((8, 0)).generic(), None);
    }

    #[test]
    fn what_hides_its_paths_or_keeps_nothing_is_known_by_its_place_and_name() {
        let tree = Tree::new(&[
            ("devices/pci/nvme/nvme0/nvme0n1", "259:0"),
            ("devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2", "259:4"),
            ("devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2/nvme1n2p1", "259:5"),
            ("devices/virtual/block/nullb0", "251:0"),
            ("devices/virtual/block/nullb0/nullb0p1", "251:1"),
        ]);
        tree.file("devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n2/nvme1n2p1/partition", "1");
        tree.file("devices/virtual/block/nullb0/nullb0p1/partition", "1");
        let hidden = [(259, 0), (259, 4), (259, 5), (251, 0)].map(|number| tree.device(number).has_hidden_paths());
        assert_eq!(hidden, [false, true, true, false]);
        let null = [(259, 0), (251, 0), (251, 1)].map(|number| tree.device(number).is_null_blk());
        assert_eq!(null, [false, true, true]);
    }

    #[test]
    fn limits_of_writing_are_the_disks_too() {
        let tree = Tree::new(&[("devices/a/sda", "8:0"), ("devices/a/sda/sda1", "8:1")]);
        tree.file("devices/a/sda/sda1/partition", "1");
        tree.file("devices/a/sda/sda1/ro", "0");
        let (disk, part) = (tree.device((8, 0)), tree.device((8, 1)));
        assert!(!part.is_read_only() && part.zones().is_none() && disk.hardware_queues().is_empty());
        tree.file("devices/a/sda/ro", "1");
        tree.file("devices/a/sda/queue/zoned", "host-managed");
        tree.file("devices/a/sda/mq/0/nr_tags", "64");
        assert!(part.is_read_only() && disk.is_read_only());
        assert_eq!(part.zones().as_deref(), Some("host-managed"));
        assert_eq!(disk.hardware_queues().len(), 1);
        tree.file("devices/a/sda/queue/zoned", "none");
        assert_eq!(disk.zones(), None);
    }

    #[test]
    fn a_file_is_served_by_the_device_of_its_file_system() {
        let own = tempfile::tempfile_in(".").unwrap();
        let number = rustix::fs::fstat(&own).unwrap().st_dev;
        let numbers: Vec<Number> = behind(&own).iter().map(|d| d.number).collect();
        // Where the work tree lies on overlay or btrfs, there is another answer, which the lab and the tests with devices ask for.
        if BlockDevice::numbered((major(number), minor(number))).is_some() {
            assert_eq!(numbers, [(major(number), minor(number))]);
        }
        assert_eq!(behind(fs::File::open("/proc/self/status").unwrap()), []);
    }
}
