//! What about a file or a device explains that the kernel refused a request: its file system, what it is stacked on, its zones, that it may not
//! be written to, or that its driver has no poll queues.

use super::block_device::{self, BlockDevice};
use crate::mounts;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// What was asked of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Some requests write.
    pub writes: bool,
    /// Completions are polled: `iopoll`, or `hybrid`.
    pub polled: bool,
}

/// File systems whose direct I/O can be polled where their device can: those with an `iopoll` method that asks the block layer
/// (`iocb_bio_iopoll` in fs/ of the kernel).
const POLLED: [&str; 5] = ["ext4", "xfs", "f2fs", "gfs2", "zonefs"];

/// Drivers with a parameter for poll queues, by the beginning of their devices' names.
const DRIVERS: [(&str, &str); 3] =
    [("nvme", "nvme.poll_queues=N"), ("nullb", "null_blk.poll_queues=N"), ("vd", "virtio_blk.poll_queues=N")];

/// Says what explains `error` on an open file or device, as a sentence part that begins with a semicolon; empty where nothing does.
pub fn because(file: &File, error: &io::Error, asked: Asked) -> String {
    let device = BlockDevice::of(file);
    let below = block_device::behind(file);
    let number = error.raw_os_error().unwrap_or(0);
    let denied = [libc::EPERM, libc::EACCES, libc::EROFS].contains(&number);
    let unable = [libc::EOPNOTSUPP, libc::EINVAL, libc::ENOTTY].contains(&number);
    let kind = mounts::of(file).map(|mount| mount.kind).filter(|_| device.is_none());
    let told = match below.first() {
        Some(disk) if asked.writes && denied && disk.is_read_only() => Some(read_only(disk)),
        Some(disk) if asked.writes && unable_in_zones(number) && device.is_some() && disk.zones().is_some() => {
            disk.zones().map(|model| zoned(disk, &model))
        }
        _ if asked.polled && unable => Some(unpolled(kind.as_deref(), below.first())),
        _ => None,
    };
    let place = || kind.map(|kind| format!("the file lies on {kind}")).or_else(|| below.first().and_then(stacked));
    told.or_else(place).map_or(String::new(), |told| format!("; {told}"))
}

/// What the kernel answers to a write elsewhere than at a zone's write pointer (`blk_zone_plug_prepare_write`, and drives).
fn unable_in_zones(number: i32) -> bool {
    [libc::EIO, libc::EINVAL, libc::EOPNOTSUPP].contains(&number)
}

/// The same of paths, which are opened anew: what explains it of the first that something does.
pub fn because_of_any(paths: &[PathBuf], error: &io::Error, asked: Asked) -> String {
    let told = paths.iter().filter_map(|path| Some(because(&File::open(path).ok()?, error, asked)));
    told.into_iter().find(|told| !told.is_empty()).unwrap_or_default()
}

/// Of a device that may not be written to.
pub fn read_only(device: &BlockDevice) -> String {
    format!("{} is read-only (`blockdev --getro` says 1): name a device that may be written to", device.name())
}

/// Of a device that takes writes at its zones' write pointers alone.
pub fn zoned(device: &BlockDevice, model: &str) -> String {
    format!(
        "{} is a zoned device ({model}, {}), whose sequential zones take writes only where their write pointers stand, and our requests \
         go elsewhere: read it, or name a device without zones",
        device.name(),
        device.queue().join("zoned").display()
    )
}

/// What is not polled, and what can be done about it.
fn unpolled(kind: Option<&str>, device: Option<&BlockDevice>) -> String {
    match (kind, device) {
        (Some(kind), _) if !POLLED.contains(&kind) => {
            format!(
                "the file lies on {kind}, whose files cannot be polled: leave out iopoll, or name a block device or a file on xfs or ext4"
            )
        }
        (_, Some(device)) => {
            let setting = device.queue().join("io_poll");
            let disk = device.disk().name();
            let parts = stacked(device)
                .map(|parts| format!("{parts}, and what is stacked passes polling on only where all below can do it; "));
            let driver = DRIVERS.iter().find(|(name, _)| disk.starts_with(name));
            let remedy = match (&parts, driver) {
                (Some(_), _) => "leave out iopoll, or name a device below it".to_string(),
                (None, Some((_, parameter))) => format!("load its driver with some ({parameter}) or leave out iopoll"),
                (None, None) => "its driver offers none, so leave out iopoll".to_string(),
            };
            let queues = match device.attribute("queue/io_poll").as_deref() {
                Some("1") => format!("{disk} is polled ({} is 1), but not for this", setting.display()),
                _ => format!("{disk} has no poll queues ({} is 0)", setting.display()),
            };
            format!("{}{queues}: {remedy}", parts.unwrap_or_default())
        }
        (_, None) => "no block device is behind it that could be polled: leave out iopoll".into(),
    }
}

/// What a device is built on.
fn stacked(device: &BlockDevice) -> Option<String> {
    let members: Vec<String> = device.disk().members().iter().map(BlockDevice::name).collect();
    (!members.is_empty()).then(|| format!("{} is stacked on {}", device.name(), members.join(", ")))
}
