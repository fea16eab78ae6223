//! A known read: the same blocks twice, directly. What goes to the device is counted both times, what the page cache serves once or never.

use super::{Refusal, Sight, TOLERANCE, tally::Tally};
use crate::mounts::{self, Mount};
use crate::target::block_device::{self, Number};
use crate::target::{DirectIo, Member};
use crate::workload::Workload;
use memmap2::MmapMut;
use rustix::fs::Advice;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes that are read, in at least two and at most [`PLACES`] places.
const PROOF_BYTES: u64 = 4 << 20;
const PLACES: u64 = 64;
/// Where reading is no more direct than this the page cache is used on purpose, and blocks are pages.
const PAGE_BYTES: u32 = 4096;

/// Reads some blocks of a workload twice and says who saw it. Changes nothing but what the page cache holds of those blocks.
pub fn read(member: &Member, workload: &Workload, span_bytes: u64) -> Result<Sight, Refusal> {
    let mount = if member.device.is_some() { None } else { mounts::of(member.file()) };
    if let Some(why) = mount.as_ref().and_then(no_device) {
        return Ok(Sight::Nobody { why });
    }
    let devices: Vec<Number> = block_device::behind(member.file()).iter().map(|device| device.number).collect();
    let bs = if workload.direct { workload.block_size_bytes } else { workload.block_size_bytes.max(PAGE_BYTES) };
    let counts = match twice(member, workload, span_bytes, bs, &devices) {
        Ok(counts) => counts,
        // The requests of the round will fail the same way, with their own words.
        Err(error) => return Ok(Sight::Nobody { why: format!("{} cannot be read for a proof: {error}", member.path.display()) }),
    };
    // Reads of what was never written are counted nowhere; a workload that only writes has its writes counted, round by round.
    let never_written = member.extents.is_some_and(|extents| extents.unwritten > 0);
    let kind = mount.map_or_else(|| "the block device".into(), |mount| mount.kind);
    match counts.sight(&devices, workload.direct) {
        Ok(sight) => Ok(sight),
        Err(_) if never_written => Ok(Sight::Process),
        Err(share) => Err(Refusal::Cached {
            path: member.path.clone(),
            remedy: remedy(&kind, bs),
            kind,
            bs,
            percent: (share * 100.0).round() as u64,
        }),
    }
}

/// What a user can do about a file system that reads through the page cache.
fn remedy(kind: &str, bs: u32) -> &'static str {
    match kind {
        "btrfs" if !bs.is_multiple_of(PAGE_BYTES) => {
            "btrfs reads directly only whole sectors, usually of 4 KiB: raise bs (--bs), or name a file on another file system"
        }
        "overlay" => {
            "Name the file by its path on the file system below the overlay, or measure the page cache with direct = false (--direct 0)"
        }
        _ => "Name a file on another file system, or measure the page cache with direct = false (--direct 0)",
    }
}

/// File systems whose files other machines or programs serve: what a process reads of them is counted for it, and says nothing of a device.
const SERVED: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "lustre", "glusterfs", "beegfs", "gpfs"];
/// Those that count for a process what their own cache serves (`zfs_read` in OpenZFS ends with `task_io_account_read`), and so prove nothing.
const CHARGED: [&str; 2] = ["zfs", "orangefs"];
/// Those that keep their files in memory.
const IN_MEMORY: [&str; 4] = ["tmpfs", "ramfs", "devtmpfs", "hugetlbfs"];

/// Why no device is behind a file that can count; `None` where one may be.
fn no_device(mount: &Mount) -> Option<String> {
    let kind = mount.kind.as_str();
    if kind == "fuse" || kind.starts_with("fuse.") || kind == "fuseblk" {
        return Some(format!("{kind}: a program serves its files, and nobody counts from where it has them"));
    }
    if SERVED.contains(&kind) {
        return Some(format!(
            "{kind}: its files are served from outside of this machine's block devices, where nothing counts for us"
        ));
    }
    if CHARGED.contains(&kind) {
        return Some(format!("{kind} counts what it serves from its own cache like what it reads from a device"));
    }
    if IN_MEMORY.contains(&kind) {
        return Some(format!("{kind} keeps its files in memory: no device is behind them"));
    }
    if kind == "overlay" {
        let below = layers(mount).into_iter().filter_map(|dir| mounts::of(File::open(dir).ok()?));
        return below.filter(|mount| mount.kind != "overlay").find_map(|mount| no_device(&mount));
    }
    None
}

/// The directories that an overlay is made of, as far as its options name them.
fn layers(mount: &Mount) -> Vec<&Path> {
    let all =
        mount.options.1.split(',').filter_map(|option| option.strip_prefix("lowerdir=").or(option.strip_prefix("upperdir=")));
    all.flat_map(|dirs| dirs.split(':')).map(Path::new).collect()
}

/// What was counted of two readings of the same `moved` bytes, as shares of them.
#[derive(Clone, Copy, Debug)]
struct Counts {
    first: Option<f64>,
    second: Option<f64>,
    /// By the devices behind, of the second.
    devices: Option<f64>,
}

impl Counts {
    /// Who saw it, or the share of the second reading that was counted where the rest came from the page cache.
    fn sight(&self, devices: &[Number], direct: bool) -> Result<Sight, f64> {
        let Counts { first: Some(first), second: Some(second), .. } = *self else { return Ok(self.without_process(devices)) };
        let seen = first > TOLERANCE || second > TOLERANCE;
        if second >= 1.0 - TOLERANCE || (seen && !direct) {
            return Ok(Sight::Process);
        }
        match self.devices {
            _ if seen => Err(second),
            Some(by_devices) if by_devices >= 1.0 - TOLERANCE => Ok(Sight::Devices(devices.to_vec())),
            // Nothing was read from devices that are there and count.
            Some(_) if direct && !devices.is_empty() => Err(second),
            _ => Ok(Sight::Nobody { why: UNSEEN.into() }),
        }
    }

    /// Without `/proc/self/io` the devices have to tell.
    fn without_process(&self, devices: &[Number]) -> Sight {
        match self.devices {
            Some(share) if share >= 1.0 - TOLERANCE && !devices.is_empty() => Sight::Devices(devices.to_vec()),
            Some(_) if !devices.is_empty() => Sight::Nobody { why: UNCOUNTED.into() },
            _ => Sight::Nobody { why: "this kernel does not count what a process reads (CONFIG_TASK_IO_ACCOUNTING)".into() },
        }
    }
}

const UNCOUNTED: &str = "the devices behind it did not count a known read (queue/iostats may be 0)";
const UNSEEN: &str = "the kernel counted nothing of a known read, neither for this process nor on a block device behind the file";

/// Reads the blocks twice.
fn twice(member: &Member, workload: &Workload, span_bytes: u64, bs: u32, devices: &[Number]) -> io::Result<Counts> {
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(member.handle());
    let file = if workload.direct || member.direct != DirectIo::Never { direct? } else { File::open(member.handle())? };
    let range = workload.job_range(0, span_bytes);
    let block = u64::from(bs);
    let blocks = (range.end - range.start) / block;
    let places = (PROOF_BYTES / block).clamp(2, PLACES).min(blocks.max(1));
    let offsets = (0..places).map(|place| range.start + blocks * place / places * block);
    // Mapped memory begins at a page: aligned for any device.
    let mut buffer = MmapMut::map_anon(bs as usize)?;
    for offset in offsets.clone() {
        // What is cached already would serve the first reading, too.
        rustix::fs::fadvise(&file, offset, NonZero::new(block), Advice::DontNeed)?;
    }
    let mut pass = || -> io::Result<Tally> {
        let before = Tally::now(devices);
        offsets.clone().try_for_each(|offset| file.read_exact_at(&mut buffer, offset))?;
        Ok(Tally::now(devices).since(&before))
    };
    let (first, second) = (pass()?, pass()?);
    let share = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / (places * block) as f64);
    Ok(Counts { first: share(first.read), second: share(second.read), devices: share(second.devices) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &str) -> Mount {
        let table = format!("30 22 0:45 / /mnt rw - {kind} none {options}\n");
        mounts::parse(&table).pop().unwrap()
    }

    #[test]
    fn what_the_page_cache_keeps_is_counted_once() {
        let of = |first, second, devices: Option<f64>, direct| {
            let counts = Counts { first: Some(first), second: Some(second), devices };
            counts.sight(if devices.is_some() { &[(8, 0)] } else { &[] }, direct)
        };
        let devices = Ok(Sight::Devices(vec![(8, 0)]));
        assert_eq!(of(1.04, 1.0, Some(3.0), true), Ok(Sight::Process), "metadata is read with the first");
        assert_eq!(of(7.9, 0.0, Some(0.0), true), Err(0.0), "read ahead, then cached");
        assert_eq!(of(0.0, 0.0, Some(0.0), true), Err(0.0), "dirty pages cannot be dropped");
        assert_eq!(of(0.0, 0.0, Some(1.0), true), devices, "somebody else submits");
        assert!(matches!(of(0.0, 0.0, None, true), Ok(Sight::Nobody { .. })));
        assert_eq!(of(0.9, 0.0, None, true), Err(0.0), "an overlay over a file system that caches");
        assert_eq!(of(0.9, 0.0, Some(0.0), false), Ok(Sight::Process), "where the page cache is wanted");
        let blind = Counts { first: None, second: None, devices: Some(1.0) };
        assert_eq!(blind.sight(&[(8, 0)], true), devices);
    }

    #[test]
    fn file_systems_without_a_device_are_known() {
        for kind in ["tmpfs", "nfs4", "fuse.sshfs", "fuseblk", "9p", "zfs"] {
            let why = no_device(&mount(kind, "rw")).unwrap();
            assert!(why.starts_with(kind), "{why}");
        }
        for kind in ["ext4", "xfs", "btrfs"] {
            assert_eq!(no_device(&mount(kind, "rw")), None, "{kind}");
        }
        let overlay = mount("overlay", "rw,lowerdir=/proc:/sys,upperdir=/dev/shm,workdir=/x");
        assert_eq!(layers(&overlay), ["/proc", "/sys", "/dev/shm"].map(Path::new));
    }
}
