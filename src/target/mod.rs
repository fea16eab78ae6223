//! What is read or written: made by the tool or named by the user, checked before anything runs, and held from then on.
//!
//! Knows files and block devices, their size and alignment, and who may write to them. Whoever does I/O inherits the descriptor that was checked
//! and goes through it (`/proc/self/fd/N`), so that no other disk or file can take its name in between. What the tool makes has no name in any
//! directory (an unlinked file, a loop device that clears itself), so that a kill at any moment leaves nothing behind.

pub mod block_device;
mod extents;
pub mod fill;
pub mod guard;
pub mod identity;
#[expect(unsafe_code, reason = "ioctls without a safe door")]
mod ioctl;
pub mod loop_device;
mod member;
pub mod nvme;
mod open;

pub mod refused;
pub mod room;
pub mod route;
pub mod scratch;
pub mod tags;

pub use member::{DirectIo, Lent, Member};

use crate::control_group::memory::memory_limit;
use crate::engine::{Options, capabilities, numa};
use crate::toggle::Setting;
use crate::workload::{Cache, Rw, Workload};
use block_device::{BlockDevice, Number};
use identity::Identity;
use route::Sight;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
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
    /// Bytes of memory or disk space that the user allows beyond the usual share, for what the tool makes (`--allow-size`).
    pub allowed_bytes: u64,
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
        "{path} is sparse ({allocated} of its first {size} bytes are allocated); holes are not read from the device: name a file that is written in full, for \
         example a copy: cp --sparse=never {path} COPY", path = path.display()
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
        "cannot make a loop device: {source}; it needs read and write access to /dev/loop-control and /dev/loop*: use kind = \"file\" or run as root"
    )]
    Loop { source: io::Error },
    #[error("{path} cannot be written to: {because}", path = path.display())]
    Unwritable { path: PathBuf, because: String },
    #[error("cannot make a temporary file of {size} bytes in {dir}: {source}; set TMPDIR to a directory with room", dir = dir.display())]
    Temporary { dir: PathBuf, size: u64, source: io::Error },
    #[error("{path} is not what it was when this run began: {how}; nothing more was done to it", path = path.display())]
    Changed { path: PathBuf, how: String },
    #[error(transparent)]
    Room(#[from] room::Refusal),
    #[error(transparent)]
    Guard(#[from] guard::Refusal),
    #[error(transparent)]
    Route(#[from] route::Refusal),
}

/// What is to be done to a target.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    Read,
    /// With the paths that the user allowed to be overwritten.
    Write {
        allowed: &'a [PathBuf],
    },
}

impl<'a> Access<'a> {
    /// Write access where something `writes`.
    pub fn of(writes: bool, allowed: &'a [PathBuf]) -> Access<'a> {
        if writes { Access::Write { allowed } } else { Access::Read }
    }
}

/// One file or device, or several that serve every job in turn. What the tool made lives as long as this value.
#[derive(Debug)]
pub struct Target {
    pub members: Vec<Member>,
    /// It was opened for writing, and checked for that.
    pub writes: bool,
    /// Bytes from offset 0 that are used of each.
    pub span_bytes: u64,
    pub logical_block_bytes: u32,
    /// Short name for rows and labels.
    pub label: String,
    /// For reports: what it is, and what it can and cannot show.
    pub description: String,
    /// Who sees what is moved on it; nobody does before [`Target::prove`].
    pub sight: Sight,
}

impl Target {
    /// What kind of thing it is, for comparisons between nights: the driver of a device, or a file.
    pub fn kind(&self) -> &'static str {
        let first = self.members.first();
        match first.and_then(|m| m.own_device.as_deref()).map(|name| name.trim_end_matches(|c: char| c.is_ascii_digit())) {
            Some("loop") => "loop",
            Some("nullb") => "null_blk",
            Some(name) if name.starts_with("nvme") => "nvme",
            _ if first.is_some_and(|m| m.device.is_some()) => "device",
            _ => "file",
        }
    }

    /// Opens or makes everything an experiment wants, and joins it: the shortest span and the largest logical block hold for all.
    pub fn resolve_all(wanted: &[Wanted], access: Access<'_>) -> Result<Target, Error> {
        room::check(wanted)?;
        let targets = wanted.iter().map(|wanted| open::target(wanted, access)).collect::<Result<Vec<_>, _>>()?;
        refuse_twins(targets.iter().flat_map(|target| &target.members))?;
        let join = |a: Target, b: Target| Target {
            members: a.members.into_iter().chain(b.members).collect(),
            writes: a.writes || b.writes,
            span_bytes: a.span_bytes.min(b.span_bytes),
            logical_block_bytes: a.logical_block_bytes.max(b.logical_block_bytes),
            label: format!("{} + {}", a.label, b.label),
            description: format!("{}; beside {}", a.description, b.description),
            sight: a.sight,
        };
        Ok(targets.into_iter().reduce(join).expect("an experiment has a target"))
    }

    /// Opens or makes one file or device.
    pub fn resolve(wanted: &Wanted) -> Result<Target, Error> {
        Target::resolve_all(std::slice::from_ref(wanted), Access::Read)
    }

    /// Checks that what is held is what was checked; where it is written to, that it still may be.
    fn still(&self) -> Result<(), Error> {
        self.members.iter().filter(|m| !m.made_here).try_for_each(|member| {
            let how = match Identity::of(member.file()) {
                Ok(now) => member.identity.changed_to(&now),
                Err(error) => Some(format!("it is gone ({error})")),
            };
            if let Some(how) = how.or_else(|| member.lost(self.span_bytes)) {
                return Err(Error::Changed { path: member.path.clone(), how });
            }
            if self.writes { Ok(guard::check(&member.path, member.file())?) } else { Ok(()) }
        })
    }

    /// Checks that the target is what it was and, where it is written to, still may be. Children that are started while the value lives inherit
    /// it, under the names of [`Target::handles`].
    pub fn lend(&self) -> Result<Lent<'_>, Error> {
        self.still()?;
        Ok(Lent::new(&self.members))
    }

    /// Where this process, and a child that it is lent to, reach each member.
    pub fn handles(&self) -> Vec<PathBuf> {
        self.members.iter().map(Member::handle).collect()
    }

    /// Which files and devices they are.
    pub fn identities(&self) -> Vec<Identity> {
        self.members.iter().map(|m| m.identity.clone()).collect()
    }

    /// Those that the user named, which another process finds again.
    pub fn lasting_identities(&self) -> Vec<Identity> {
        self.members.iter().filter(|m| !m.made_here).map(|m| m.identity.clone()).collect()
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

    /// Reads some blocks of each workload of our engine and finds out who sees it. Refuses one whose bytes would not come from the device, by what
    /// the file system tells or by what was counted.
    pub fn prove(&mut self, workloads: &[Workload]) -> Result<(), Error> {
        let mut sight = Sight::Process;
        for workload in workloads {
            self.members.iter().try_for_each(|member| member.serves(workload))?;
            let members = self.members.iter().filter(|_| workload.rw != Rw::Nop);
            for member in members {
                // Who sees least decides: the bytes of all members are one sum, and rows of all workloads are judged alike.
                sight = match (route::proof::read(member, workload, self.span_bytes)?, sight) {
                    (Sight::Process, so_far) | (_, so_far @ Sight::Nobody { .. }) => so_far,
                    (Sight::Devices(_), _) if self.members.len() > 1 => Sight::Nobody { why: SEVERAL.into() },
                    (less, _) => less,
                };
            }
        }
        self.sight = sight;
        Ok(())
    }

    /// True where the kernel promises that direct requests go to a device.
    pub fn promises_direct_io(&self) -> bool {
        self.members.iter().all(|member| member.device.is_some() || matches!(member.direct, DirectIo::From(_)))
    }

    /// Checks that a workload through the page cache is in the state that it declares: what is neither all in memory nor mostly outside lets
    /// the arms warm each other's cache.
    fn regime(&self, workload: &Workload) -> Result<(), Error> {
        let (span, info) = (self.span_bytes, rustix::system::sysinfo());
        let all = info.totalram * u64::from(info.mem_unit);
        let memory = memory_limit().bytes.map_or(all, |limit| limit.min(all));
        let fail = |cache, rule| Err(Error::Regime { cache, span, memory, rule });
        match workload.cache {
            Cache::Hit if !workload.direct && span > memory / 2 => fail("hit", "the span may be at most half of the memory"),
            Cache::Miss if !workload.direct && span < memory * 2 => fail("miss", "the span must be at least twice the memory"),
            _ => Ok(()),
        }
    }

    /// The members by the names that the user gave them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> + Clone {
        self.members.iter().map(|m| m.path.as_path())
    }

    /// The descriptors of the members.
    pub fn files(&self) -> Vec<&File> {
        self.members.iter().map(Member::file).collect()
    }

    /// The block devices that serve the target, and what those are made of.
    pub fn devices(&self) -> Vec<Number> {
        let behind = self.members.iter().flat_map(|m| block_device::behind(m.file()));
        let mut all: Vec<Number> = behind.flat_map(|device| device.with_all_below()).map(|device| device.number).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// True where a slice may find what the one before left behind: in the caches and the erased blocks of a real disk, not in memory.
    pub fn carries_over(&self) -> bool {
        let null_blk = |m: &Member| m.device.as_ref().is_some_and(BlockDevice::is_null_blk);
        !self.members.iter().all(|m| (m.made_here && m.device.is_some()) || null_blk(m))
    }

    /// What the devices offer to toggles.
    pub fn setting(&self, options: &Options) -> Setting {
        let generic = self.members.iter().map(Member::generic_handle).collect::<Option<_>>().unwrap_or_default();
        setting(self.members.iter().map(|m| m.device.clone()), options, generic)
    }
}

const SEVERAL: &str = "others submit for this process on one of several targets, and no counter knows of all of them";

/// Share of the first `span_bytes` of a file or device that the page cache holds; `None` where the kernel does not tell.
pub fn resident(file: &File, span_bytes: u64) -> Option<f64> {
    let pages = span_bytes.div_ceil(rustix::param::page_size() as u64).max(1);
    ioctl::cached_pages(file, span_bytes).ok().map(|cached| (cached as f64 / pages as f64).min(1.0))
}

/// Checks, of files that exist and that a run would open, whether the bytes of workloads can come from the device. Says nothing of the rest.
pub fn foresee(wanted: &[Wanted], workloads: &[Workload]) -> Result<(), Error> {
    let named = wanted.iter().filter(|w| w.path.as_deref().is_some_and(Path::is_file) && w.kind == Kind::File);
    for wanted in named {
        match open::target(wanted, Access::Read) {
            Ok(found) => {
                let serves = |workload: &Workload| found.members.iter().try_for_each(|member| member.serves(workload));
                workloads.iter().try_for_each(serves)?;
            }
            Err(error @ Error::Sparse { .. }) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

/// What devices offer to toggles that are not opened yet.
pub fn setting_of<'a>(paths: impl Iterator<Item = &'a Path>, options: &Options) -> Setting {
    let devices: Vec<Option<BlockDevice>> = paths.map(BlockDevice::at).collect();
    let generic = devices.iter().map(|device| Some(device.as_ref()?.generic()?.path)).collect::<Option<_>>().unwrap_or_default();
    setting(devices.into_iter(), options, generic)
}

/// What all of the devices do, and this machine's CPUs and kernel; `[engine] numa_node` overrides what devices say of their node.
fn setting(devices: impl Iterator<Item = Option<BlockDevice>>, options: &Options, generic: Vec<PathBuf>) -> Setting {
    let mut nodes = devices.map(|device| device?.numa_node());
    let node = nodes.next().flatten().filter(|node| nodes.all(|other| other == Some(*node)));
    let numa_node = options.numa_node.or(node);
    // What cannot be asked is not refused: the round asks again and fails with the reason.
    let seats = numa::seats(options, numa_node).unwrap_or_default();
    Setting { numa_node, generic, seats, most_buffers: capabilities::most_buffers() }
}

impl Wanted {
    /// True where the tool makes it.
    fn is_made(&self) -> bool {
        matches!(self.kind, Kind::Auto | Kind::Loop) || (self.kind == Kind::File && self.path.is_none())
    }

    /// Bytes of what the tool makes.
    fn size(&self) -> u64 {
        self.size_bytes.unwrap_or(DEFAULT_SIZE_BYTES)
    }
}

/// One target under two names would be read twice as often as it is counted.
fn refuse_twins<'a>(members: impl Iterator<Item = &'a Member>) -> Result<(), Error> {
    let mut seen: Vec<&Member> = Vec::new();
    for member in members {
        if let Some(twin) = seen.iter().find(|other| other.identity == member.identity) {
            return Err(Error::Twins { path: member.path.clone(), twin: twin.path.clone() });
        }
        seen.push(member);
    }
    Ok(())
}

/// True for a path that is a block device.
pub fn is_block_device(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| block_device::number_of(&stat).is_some())
}
