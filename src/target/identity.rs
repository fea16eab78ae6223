//! Which device or file a descriptor leads to: what another one that takes its name, its number or its place does not share.

use super::block_device::{BlockDevice, Number, number_of};
use super::ioctl;
use rustix::fs::{AtFlags, StatxFlags, fstat, statx};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;

/// What tells one target from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The boot in which numbers mean what they say (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Device {
        number: Number,
        /// Counts the disks that this machine has seen since it booted (`BLKGETDISKSEQ`, kernel 5.15): a loop device gets another with each
        /// backing file.
        sequence: Option<u64>,
        /// WWID, UUID or serial number, where the device has one that outlasts a boot; of a partition, with its start.
        lasting: Option<String>,
        size_bytes: u64,
    },
    File {
        device: Number,
        inode: u64,
        /// Seconds and nanoseconds of its birth, where the file system keeps that: an inode's number is used again.
        born: Option<(i64, u32)>,
    },
}

impl Identity {
    /// Of what an open file leads to.
    pub fn of(file: &File) -> io::Result<Identity> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string();
        let what = match number_of(&fstat(file)?) {
            Some(number) => of_device(number, file)?,
            None => of_file(file)?,
        };
        Ok(Identity { boot, what })
    }

    /// Says in what `now`, read from the descriptor that this was read from, differs.
    pub fn changed_to(&self, now: &Identity) -> Option<String> {
        // What has no name that lasts is known by being held.
        if self == now { None } else { self.other_than(now).or_else(|| Some("its serial number changed".into())) }
    }

    /// Says in what `now`, opened anew, differs, if it is another device or file. Across boots numbers tell nothing: then a lasting name or a time
    /// of birth decides, and what has none counts as another.
    pub fn other_than(&self, now: &Identity) -> Option<String> {
        let same_boot = !self.boot.is_empty() && self.boot == now.boot;
        match (&self.what, &now.what) {
            (What::Device { sequence: Some(a), .. }, What::Device { sequence: Some(b), .. }) if same_boot && a != b => {
                Some(format!("its disk sequence number was {a} and is {b}: another disk has taken its place"))
            }
            (What::Device { size_bytes: a, .. }, What::Device { size_bytes: b, .. }) if a != b => {
                Some(format!("it had {a} bytes and has {b}"))
            }
            (a @ What::Device { .. }, b @ What::Device { .. }) => devices(a, b, same_boot),
            (What::File { device: d, inode: i, born: t }, What::File { device, inode, born }) => {
                let moved = same_boot && d != device;
                let nameless = || !same_boot && t.is_none();
                let again =
                    || "its file system keeps no time of birth by which to know it again after a restart of the machine".into();
                let other = (moved || i != inode || t != born)
                    .then(|| format!("it was inode {i} and is inode {inode}, or was made anew"));
                other.or_else(|| nameless().then(again))
            }
            _ => Some("it was a file and is a device, or the other way round".into()),
        }
    }
}

/// Two devices of one size.
fn devices(a: &What, b: &What, same_boot: bool) -> Option<String> {
    let (What::Device { number: m, sequence: s, lasting: x, .. }, What::Device { number: n, sequence: t, lasting: y, .. }) =
        (a, b)
    else {
        return None;
    };
    if same_boot && m != n {
        return Some(format!("it was {}:{} and is {}:{}", m.0, m.1, n.0, n.1));
    }
    if same_boot && s.is_some() && s == t {
        return None;
    }
    match (x, y) {
        (Some(x), Some(y)) if x == y => None,
        (Some(x), Some(y)) => Some(format!("it was {x} and is {y}")),
        _ => Some("it has no WWID or serial number by which to know it again after a restart of the machine".into()),
    }
}

fn of_device(number: Number, file: &File) -> io::Result<What> {
    let Some(device) = BlockDevice::numbered(number) else {
        return Err(io::Error::other(format!("/sys/dev/block lists no device {}:{}", number.0, number.1)));
    };
    Ok(What::Device {
        number,
        sequence: ioctl::disk_sequence(file).ok(),
        lasting: lasting(&device),
        size_bytes: ioctl::device_size_bytes(file)?,
    })
}

fn of_file(file: &File) -> io::Result<What> {
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?;
    let born = (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec));
    Ok(What::File { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino, born })
}

/// Where drivers keep what names a disk for good: NVMe, SCSI, virtio, device mapper, md.
const LASTING: [&str; 6] = ["wwid", "device/wwid", "dm/uuid", "md/uuid", "serial", "device/serial"];

fn lasting(device: &BlockDevice) -> Option<String> {
    let disk = device.disk();
    let name = LASTING.iter().find_map(|attribute| disk.attribute(attribute).filter(|text| !text.is_empty()))?;
    let start = device.attribute("start").filter(|_| device.is_partition());
    Some(start.map_or(name.clone(), |start| format!("{name}, from sector {start}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(boot: &str, number: Number, sequence: Option<u64>, lasting: Option<&str>) -> Identity {
        Identity {
            boot: boot.into(),
            what: What::Device { number, sequence, lasting: lasting.map(String::from), size_bytes: 4096 },
        }
    }

    #[test]
    fn another_disk_is_told_from_the_first() {
        let same = |a: &Identity, b: &Identity| a.other_than(b).is_none();
        let first = device("x", (7, 0), Some(5), None);
        assert!(same(&first, &first));
        assert!(!same(&first, &device("x", (7, 0), Some(6), None)), "another backing file");
        assert!(!same(&first, &device("x", (7, 1), Some(5), None)), "another partition of the disk");
        assert!(!same(&first, &device("y", (7, 0), Some(5), None)), "sequences begin anew with each boot");
        let named = device("x", (8, 0), Some(1), Some("naa.5"));
        assert!(same(&named, &device("y", (8, 16), Some(9), Some("naa.5"))), "found again under another number");
        assert!(!same(&named, &device("y", (8, 0), Some(1), Some("naa.6"))));
        assert!(!same(&named, &device("x", (8, 0), Some(2), Some("naa.5"))), "pulled and put back: its data may be others");
        let old = device("x", (8, 0), None, Some("naa.5"));
        assert!(same(&old, &old), "a kernel that counts no disks, a disk with a name");
        assert!(!same(&device("", (8, 0), Some(1), None), &device("", (8, 0), Some(1), None)), "of boots that are not told");
        let nameless = device("x", (8, 0), None, None);
        assert!(!same(&nameless, &nameless), "neither: not known to be the same");
        assert_eq!(nameless.changed_to(&nameless), None, "unless it is held");
        let mut grown = first.clone();
        if let What::Device { size_bytes, .. } = &mut grown.what {
            *size_bytes += 1;
        }
        assert!(!same(&first, &grown));
    }

    #[test]
    fn a_file_is_its_inode_and_not_its_name() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "x").unwrap();
        let identity = |path| Identity::of(&File::open(path).unwrap()).unwrap();
        let first = identity(&a);
        std::fs::rename(&a, &b).unwrap();
        assert_eq!(first.other_than(&identity(&b)), None);
        std::fs::write(&a, "x").unwrap();
        assert!(first.other_than(&identity(&a)).is_some());
        let of = |boot: &str, born| Identity { boot: boot.into(), what: What::File { device: (0, 40), inode: 7, born } };
        assert_eq!(of("x", None).other_than(&of("x", None)), None, "in one boot the inode is known");
        assert!(of("x", None).other_than(&of("y", None)).unwrap().contains("no time of birth"), "not told is not the same");
        assert!(of("", None).other_than(&of("", None)).is_some(), "boots that are not told are not known to be one");
        assert_eq!(of("x", Some((1, 2))).other_than(&of("y", Some((1, 2)))), None);
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), first);
    }
}
