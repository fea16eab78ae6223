//! What is read or written: made by the tool or named by the user, checked before anything runs.
//!
//! Knows files and block devices, their size and alignment, and who may write to them. What the tool makes has no name in any directory
//! (an unlinked file, a loop device that clears itself), so that a kill at any moment leaves nothing behind.

pub mod fill;
pub mod guard;
#[expect(unsafe_code, reason = "ioctls without a safe door")]
mod ioctl;
pub mod loop_device;
pub mod nvme;

use crate::toggle::Setting;
use crate::workload::{Cache, Workload};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// `[target] kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A loop device over shared memory where the process may make one, else a temporary file.
    Auto,
    /// A regular file: the user's, or an unlinked one of the tool's.
    File,
    /// A loop device over shared memory.
    Loop,
    /// A block device of the user's.
    Device,
    /// The same, a null_blk device.
    #[serde(rename = "null_blk")]
    NullBlk,
    /// The same, an NVMe namespace; its generic device serves `passthrough`.
    Nvme,
}

/// `[target]` of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub kind: Kind,
    pub path: Option<PathBuf>,
    /// Bytes of what the tool makes, or of the part of the user's target that is used.
    pub size_bytes: Option<u64>,
    /// The seed of the stamps with which the tool fills what it makes, for workloads that verify.
    pub stamps: Option<u64>,
}

/// Size of a target that the tool makes, unless the experiment says otherwise.
const DEFAULT_SIZE_BYTES: u64 = 1 << 30;

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}; [target] path names what is read: create it or name another", path = path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} and {twin} are the same target; name it once", path = path.display(), twin = twin.display())]
    Twins { path: PathBuf, twin: PathBuf },
    #[error("{path} is a {found}; [target] kind = \"{kind}\" needs a {needed}", path = path.display())]
    WrongType { path: PathBuf, found: &'static str, kind: &'static str, needed: &'static str },
    #[error("[target] kind = \"{0}\" needs a path")]
    NoPath(&'static str),
    #[error(
        "{path} is sparse ({allocated} of {size} bytes are allocated); holes are not read from the device: fill it, for example with \
         fio --name=fill --filename={path} --rw=write --bs=1m --size={size}", path = path.display()
    )]
    Sparse { path: PathBuf, allocated: u64, size: u64 },
    #[error("{path} has {has} bytes, [target] size asks for {wanted}", path = path.display())]
    TooSmall { path: PathBuf, has: u64, wanted: u64 },
    #[error("bs = {bs} is not a multiple of {logical}, the logical block of {label}")]
    Misaligned { bs: u32, logical: u32, label: String },
    #[error(
        "the {span} bytes of job {job} on {label} hold no block of {bs} bytes; raise [target] size or lower bs, offset or offset_increment"
    )]
    SpanBelowBlock { job: u32, span: u64, bs: u32, label: String },
    #[error(
        "cache = \"{cache}\" with {span} bytes and {memory} bytes of memory: {rule}; change [target] size, or measure with direct = true"
    )]
    Regime { cache: &'static str, span: u64, memory: u64, rule: &'static str },
    #[error(
        "cannot make a loop device: {source}; it needs /dev/loop-control and CAP_SYS_ADMIN: use kind = \"file\" or run as root"
    )]
    Loop { source: io::Error },
    #[error("cannot make a temporary file of {size} bytes in {dir}: {source}; set TMPDIR to a directory with room", dir = dir.display())]
    Temporary { dir: PathBuf, size: u64, source: io::Error },
    #[error(transparent)]
    Guard(#[from] guard::Refusal),
}

/// One file or device, or several that serve every job in turn. What the tool made lives as long as this value.
#[derive(Debug)]
pub struct Target {
    pub members: Vec<Member>,
    /// Bytes from offset 0 that are used of each.
    pub span_bytes: u64,
    pub logical_block_bytes: u32,
    /// Short name for rows and labels.
    pub label: String,
    /// For reports: what it is, and what it can and cannot show.
    pub description: String,
}

/// A file or device of a target.
#[derive(Debug)]
pub struct Member {
    /// Opened by every process that does I/O.
    pub path: PathBuf,
    /// Name under `/sys/block` of a device that serves nobody else, whose counters so tell what was moved.
    pub own_device: Option<String>,
    /// Made by the tool, so writable without asking.
    pub made_here: bool,
    /// Keeps what the tool made.
    _hold: Option<File>,
}

impl Target {
    /// What kind of thing it is, for comparisons between nights: the driver of a device, or a file.
    pub fn kind(&self) -> &'static str {
        let device = self.members.first().and_then(|m| m.own_device.as_deref());
        match device.map(|name| name.trim_end_matches(|c: char| c.is_ascii_digit())) {
            Some("loop") => "loop",
            Some("nullb") => "null_blk",
            Some(name) if name.starts_with("nvme") => "nvme",
            _ if self.paths().next().is_some_and(is_block_device) => "device",
            _ => "file",
        }
    }

    /// Opens or makes everything an experiment wants, and joins it: the shortest span and the largest logical block hold for all.
    pub fn resolve_all(wanted: &[Wanted]) -> Result<Target, Error> {
        let targets = wanted.iter().map(Target::resolve).collect::<Result<Vec<_>, _>>()?;
        refuse_twins(targets.iter().flat_map(Target::paths))?;
        let join = |a: Target, b: Target| Target {
            members: a.members.into_iter().chain(b.members).collect(),
            span_bytes: a.span_bytes.min(b.span_bytes),
            logical_block_bytes: a.logical_block_bytes.max(b.logical_block_bytes),
            label: format!("{} + {}", a.label, b.label),
            description: format!("{}; beside {}", a.description, b.description),
        };
        Ok(targets.into_iter().reduce(join).expect("an experiment has a target"))
    }

    /// Opens or makes one file or device.
    pub fn resolve(wanted: &Wanted) -> Result<Target, Error> {
        match (wanted.kind, &wanted.path) {
            (Kind::Device | Kind::NullBlk | Kind::Nvme, Some(path)) => device(path, wanted.size_bytes),
            (Kind::Device, None) => Err(Error::NoPath("device")),
            (Kind::NullBlk, None) => device(Path::new("/dev/nullb0"), wanted.size_bytes),
            (Kind::Nvme, None) => Err(Error::NoPath("nvme")),
            (Kind::File, Some(path)) => file(path, wanted.size_bytes),
            (Kind::File, None) => temporary(wanted),
            (Kind::Loop, _) => loop_device::over_shared_memory(wanted).map_err(|source| Error::Loop { source }),
            (Kind::Auto, _) => loop_device::over_shared_memory(wanted).or_else(|refused| {
                let mut file = temporary(wanted)?;
                file.description += &format!(" (no loop device could be made: {refused})");
                Ok(file)
            }),
        }
    }

    /// Checks that a workload fits: alignment, and a span that holds a block.
    pub fn accepts(&self, workload: &Workload) -> Result<(), Error> {
        let bs = workload.block_size_bytes;
        if !bs.is_multiple_of(self.logical_block_bytes) {
            return Err(Error::Misaligned { bs, logical: self.logical_block_bytes, label: self.label.clone() });
        }
        for job in 0..workload.jobs {
            let range = workload.job_range(job, self.span_bytes);
            if range.end - range.start < u64::from(bs) {
                return Err(Error::SpanBelowBlock { job, span: range.end - range.start, bs, label: self.label.clone() });
            }
        }
        self.regime(workload)
    }

    /// Checks that a workload through the page cache is in the state that it declares: what is neither all in memory nor mostly outside lets
    /// the arms warm each other's cache.
    fn regime(&self, workload: &Workload) -> Result<(), Error> {
        let (span, info) = (self.span_bytes, rustix::system::sysinfo());
        let memory = info.totalram * u64::from(info.mem_unit);
        let fail = |cache, rule| Err(Error::Regime { cache, span, memory, rule });
        match workload.cache {
            Cache::Hit if !workload.direct && span > memory / 2 => fail("hit", "the span may be at most half of the memory"),
            Cache::Miss if !workload.direct && span < memory * 2 => fail("miss", "the span must be at least twice the memory"),
            _ => Ok(()),
        }
    }

    /// Where the members are.
    pub fn paths(&self) -> impl Iterator<Item = &Path> + Clone {
        self.members.iter().map(|m| m.path.as_path())
    }

    /// The block devices that serve the target, as major and minor.
    pub fn devices(&self) -> Vec<(u32, u32)> {
        let mut all: Vec<_> = self.paths().flat_map(devices_behind).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// True where a slice may find what the one before left behind: in the caches and the erased blocks of a real disk, not in memory.
    pub fn carries_over(&self) -> bool {
        let in_memory = |m: &Member| (m.made_here && m.own_device.is_some()) || m.path.starts_with("/dev/nullb");
        !self.members.iter().all(in_memory)
    }

    /// What the devices offer to toggles.
    pub fn setting(&self, numa_node: Option<u32>) -> Setting {
        setting(self.paths(), numa_node)
    }
}

/// What devices offer to toggles, opened or not: what all of them do. `numa_node` overrides what they say of their node.
pub fn setting<'a>(paths: impl Iterator<Item = &'a Path> + Clone, numa_node: Option<u32>) -> Setting {
    let mut nodes = paths.clone().map(nvme::node);
    let node = nodes.next().flatten().filter(|node| nodes.all(|other| other == Some(*node)));
    Setting { numa_node: numa_node.or(node), generic: paths.map(nvme::generic).collect::<Option<_>>().unwrap_or_default() }
}

impl Wanted {
    /// Bytes of what the tool makes.
    fn size(&self) -> u64 {
        self.size_bytes.unwrap_or(DEFAULT_SIZE_BYTES)
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Open { path: path.into(), source })
}

fn type_name(kind: std::fs::FileType) -> &'static str {
    match kind {
        k if k.is_dir() => "directory",
        k if k.is_file() => "regular file",
        k if k.is_block_device() => "block device",
        k if k.is_char_device() => "character device",
        _ => "special file",
    }
}

fn expect_type(path: &Path, file: &File, kind: &'static str, block: bool) -> Result<std::fs::Metadata, Error> {
    let meta = file.metadata().map_err(|source| Error::Open { path: path.into(), source })?;
    let right = if block { meta.file_type().is_block_device() } else { meta.is_file() };
    let needed = if block { "block device" } else { "regular file" };
    if right { Ok(meta) } else { Err(Error::WrongType { path: path.into(), found: type_name(meta.file_type()), kind, needed }) }
}

fn span(path: &Path, has: u64, wanted: Option<u64>) -> Result<u64, Error> {
    match wanted {
        Some(wanted) if wanted > has => Err(Error::TooSmall { path: path.into(), has, wanted }),
        wanted => Ok(wanted.unwrap_or(has)),
    }
}

fn device(path: &Path, wanted: Option<u64>) -> Result<Target, Error> {
    let fail = |source: io::Error| Error::Open { path: path.into(), source };
    let file = open(path)?;
    let meta = expect_type(path, &file, "device", true)?;
    let size = ioctl::device_size_bytes(&file).map_err(fail)?;
    let logical = rustix::fs::ioctl_blksszget(&file).map_err(|e| fail(e.into()))?;
    // The counters of a device that something else uses tell of everybody's traffic.
    let own_device = sysfs_name(meta.rdev()).filter(|_| guard::unused(path).is_ok());
    Ok(Target {
        members: vec![Member { path: path.into(), own_device, made_here: false, _hold: None }],
        span_bytes: span(path, size, wanted)?,
        logical_block_bytes: logical,
        label: path.display().to_string(),
        description: format!("block device {} of {size} bytes, logical block {logical}", path.display()),
    })
}

fn file(path: &Path, wanted: Option<u64>) -> Result<Target, Error> {
    let file = open(path)?;
    let meta = expect_type(path, &file, "file", false)?;
    let span_bytes = span(path, meta.len(), wanted)?;
    let allocated = meta.blocks() * 512;
    if allocated < meta.len() {
        return Err(Error::Sparse { path: path.into(), allocated, size: meta.len() });
    }
    Ok(Target {
        members: vec![Member { path: path.into(), own_device: None, made_here: false, _hold: None }],
        span_bytes,
        logical_block_bytes: direct_io_alignment(&file),
        label: path.display().to_string(),
        description: format!("file {} on {}", path.display(), file_system(&file)),
    })
}

/// An unlinked, filled file in the temporary directory, reached through this process's descriptor.
fn temporary(wanted: &Wanted) -> Result<Target, Error> {
    let size = wanted.size();
    let dir = std::env::temp_dir();
    let fail = |source| Error::Temporary { dir: dir.clone(), size, source };
    let file = tempfile::tempfile_in(&dir).map_err(fail)?;
    fill::fill(&file, size, wanted.stamps).map_err(fail)?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into();
    Ok(Target {
        span_bytes: size,
        logical_block_bytes: direct_io_alignment(&file),
        label: "temporary file".into(),
        description: format!(
            "temporary file of {size} bytes in {} on {}; the disk below is shared with everything else on this machine",
            dir.display(),
            file_system(&file)
        ),
        members: vec![Member { path, own_device: None, made_here: true, _hold: Some(file) }],
    })
}

/// The alignment that direct I/O on a file needs, as far as the kernel tells (6.1 and newer), else 512.
fn direct_io_alignment(file: &File) -> u32 {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    let stat = rustix::fs::statx(file, "", flags, rustix::fs::StatxFlags::DIOALIGN);
    stat.ok().map(|s| s.stx_dio_offset_align).filter(|a| *a > 0).unwrap_or(512)
}

/// The file system's name, from its magic number.
fn file_system(file: &File) -> String {
    let magic = rustix::fs::fstatfs(file).map(|s| s.f_type as u64).unwrap_or(0);
    let name =
        [(0xEF53, "ext4"), (0x0102_1994, "tmpfs"), (0x5846_5342, "xfs"), (0x9123_683E, "btrfs"), (0x794C_7630, "overlayfs")];
    name.iter().find(|(m, _)| *m == magic).map_or_else(|| format!("file system {magic:#x}"), |(_, n)| (*n).to_string())
}

/// The name under `/sys/block` of a whole device; a partition shares its counters' device and has none.
fn sysfs_name(rdev: u64) -> Option<String> {
    let link = format!("/sys/dev/block/{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
    let name = std::fs::canonicalize(link).ok()?.file_name()?.to_str()?.to_string();
    Path::new("/sys/block").join(&name).exists().then_some(name)
}

/// One target under two names would be read twice as often as it is counted.
fn refuse_twins<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<(), Error> {
    let mut seen: Vec<((u64, u64, u64), &Path)> = Vec::new();
    for path in paths {
        let Ok(stat) = rustix::fs::stat(path) else { continue };
        // Names of one device are different files.
        let place = if stat.st_rdev == 0 { (stat.st_dev, stat.st_ino, 0) } else { (0, 0, stat.st_rdev) };
        if let Some((_, twin)) = seen.iter().find(|(other, _)| *other == place) {
            return Err(Error::Twins { path: path.into(), twin: twin.into() });
        }
        seen.push((place, path));
    }
    Ok(())
}

/// The block devices behind a path, major and minor: its own, the disk where that is a partition, and what either is made of (LVM, RAID).
/// None for file systems without one.
fn devices_behind(path: &Path) -> Vec<(u32, u32)> {
    let Ok(stat) = rustix::fs::stat(path) else { return vec![] };
    let block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
    let number = if block { stat.st_rdev } else { stat.st_dev };
    let own = (rustix::fs::major(number), rustix::fs::minor(number));
    let mut found = vec![];
    stack(Path::new(&format!("/sys/dev/block/{}:{}", own.0, own.1)), &mut found);
    found
}

/// Adds a block device, given by its directory in sysfs, and those below it.
fn stack(sysfs: &Path, found: &mut Vec<(u32, u32)>) {
    let number = std::fs::read_to_string(sysfs.join("dev")).ok().and_then(|text| {
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let Some(number) = number.filter(|n| !found.contains(n)) else { return };
    found.push(number);
    if sysfs.join("partition").exists() {
        stack(&sysfs.join(".."), found);
    }
    let below = std::fs::read_dir(sysfs.join("slaves")).into_iter().flatten().flatten();
    below.for_each(|device| stack(&device.path(), found));
}

/// True for a path that is a block device.
pub fn is_block_device(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::BlockDevice)
}
