//! What the kernel counted so far: for this process, for devices, and for the page cache of the whole machine.

use crate::target::block_device::Number;
use serde::{Deserialize, Serialize};
use std::fs;

/// The unit of a device's `stat`, whatever its sector is.
const SECTOR_BYTES: u64 = 512;

/// Bytes; what the kernel does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// That this process had read from block devices (`read_bytes` of proc_pid_io(5)).
    pub read: Option<u64>,
    /// That it had written to them, or made dirty in the page cache (`write_bytes`).
    pub written: Option<u64>,
    /// That the devices asked for read and wrote, for whomever.
    pub devices: Option<u64>,
    /// That became dirty in the page cache of this machine (`nr_dirtied` of /proc/vmstat), for whomever.
    pub dirtied: Option<u64>,
}

impl Tally {
    /// As it stands now, `devices` included.
    pub fn now(devices: &[Number]) -> Tally {
        let process = fs::read_to_string("/proc/self/io").ok();
        let field = |name| process_field(process.as_deref()?, name);
        let memory = fs::read_to_string("/proc/vmstat").ok();
        let page = rustix::param::page_size() as u64;
        Tally {
            read: field("read_bytes:"),
            written: field("write_bytes:"),
            devices: devices.iter().map(|device| of_device(*device)).sum(),
            dirtied: memory.and_then(|text| process_field(&text, "nr_dirtied ")).map(|pages| pages * page),
        }
    }

    /// What children that this process waited for had read and written (`ru_inblock` and `ru_oublock` of getrusage(2), which are the same accounts
    /// in sectors).
    pub fn of_children() -> Tally {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
        let bytes = |sectors: i64| u64::try_from(sectors).ok()?.checked_mul(SECTOR_BYTES);
        Tally {
            read: usage.and_then(|usage| bytes(usage.block_reads())),
            written: usage.and_then(|usage| bytes(usage.block_writes())),
            ..Tally::default()
        }
    }

    /// What was added since `before`.
    pub fn since(&self, before: &Tally) -> Tally {
        let added = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Tally {
            read: added(self.read, before.read),
            written: added(self.written, before.written),
            devices: added(self.devices, before.devices),
            dirtied: added(self.dirtied, before.dirtied),
        }
    }

    /// Read and written by this process.
    pub fn of_process(&self) -> Option<u64> {
        self.read?.checked_add(self.written?)
    }
}

/// A number behind its name at the start of a line.
fn process_field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Bytes that a device or partition has moved.
fn of_device((major, minor): Number) -> Option<u64> {
    device_bytes(&fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?)
}

/// Bytes that `/sys/block/X/stat` tells of: sectors read and written are the third and the seventh field.
pub fn device_bytes(text: &str) -> Option<u64> {
    let mut fields = text.split_ascii_whitespace();
    let read: u64 = fields.nth(2)?.parse().ok()?;
    let written: u64 = fields.nth(3)?.parse().ok()?;
    read.checked_add(written)?.checked_mul(SECTOR_BYTES)
}

/// Bytes that `/proc/PID/io` tells of.
pub fn process_bytes(text: &str) -> Option<u64> {
    process_field(text, "read_bytes:")?.checked_add(process_field(text, "write_bytes:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_the_kernels() {
        let stat = "  25 1 2048 3 7 0 16 4 0 2 2 0 0 0 0 0 0\n";
        assert_eq!(device_bytes(stat), Some((2048 + 16) * 512));
        let io = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 9\n";
        assert_eq!(process_bytes(io), Some(4608));
        assert_eq!((device_bytes("1 2"), process_bytes("rchar: 1\n")), (None, None));
    }

    #[test]
    fn what_is_unknown_on_either_side_stays_unknown() {
        let (before, after) =
            (Tally { read: Some(3), ..Tally::default() }, Tally { read: Some(10), written: Some(1), ..Tally::default() });
        let added = after.since(&before);
        assert_eq!((added.read, added.written, added.of_process()), (Some(7), None, None));
    }
}
