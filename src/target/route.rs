//! By what route bytes came or went: whether what the engine moved is what the kernel handed to block devices, or the page cache stood in between.
//!
//! Direct I/O is a wish. A file system may serve it from the page cache without a word (btrfs below its sector, ext4 with data=journal,
//! compression, an overlay over either), and answers reads of what was never written with zeros. So nothing is believed that was not counted:
//! first a known read ([`proof`]), then every round as a whole ([`judge`]).
//!
//! The first witness is `/proc/PID/io`: submit_bio() charges reads to the process whose task submits them, io-wq and SQPOLL threads included, and the
//! direct path charges writes (block/blk-core.c, fs/iomap/direct-io.c). It knows nothing of other users of the device. Where others submit for the
//! process, the statistics of the devices behind the file stand in, which count everybody.

pub mod proof;
pub mod tally;

use super::block_device::Number;
use crate::units::size_words;
use crate::workload::{Rw, Workload};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use tally::Tally;

/// How far what was counted may lie from what was moved.
pub const TOLERANCE: f64 = 0.02;

/// What a process may read besides, from its own program above all.
pub const SLACK_BYTES: u64 = 1 << 20;

/// What became of the bytes of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// The kernel counted on block devices what the engine moved.
    Proved { counted: u64, moved: u64 },
    /// Something else moved them: the figures are not the device's.
    Contradicted { cause: String },
    /// Nobody can tell.
    Unobservable { why: String },
}

/// Begins the word of [`Route::Unobservable`] in `arms.csv`.
pub const NOT_PROVED: &str = "not proved";

/// As the column `route` of `arms.csv` has it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Proved { .. } => f.write_str("proved"),
            Route::Contradicted { .. } => f.write_str("contradicted"),
            Route::Unobservable { why } => write!(f, "{NOT_PROVED}: {why}"),
        }
    }
}

/// The reason in a cell of the column `route` that says that it was not proved.
pub fn unproved(cell: &str) -> Option<&str> {
    cell.strip_prefix(NOT_PROVED).map(|rest| rest.trim_start_matches([':', ' ']))
}

/// Who sees what is moved on a target, found out by a known read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sight {
    /// The kernel counts it for the process.
    Process,
    /// Others submit it for the process; the devices count it beside everybody else's.
    Devices(Vec<Number>),
    /// Nobody does.
    Nobody { why: String },
}

impl Sight {
    /// Before it was looked.
    pub fn unknown() -> Sight {
        Sight::Nobody { why: "no known read was made".into() }
    }

    /// The devices that are to be looked at.
    pub fn devices(&self) -> Vec<Number> {
        if let Sight::Devices(devices) = self { devices.clone() } else { vec![] }
    }
}

/// Why a target is not measured: its bytes would not come from the device.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "{path} lies on {kind}, which does no direct I/O on this file (statx says stx_dio_offset_align = 0{}): every request would go through the \
         page cache. Name a file for which it does, or measure the page cache with direct = false (--direct 0)",
        reason(kind), path = path.display()
    )]
    NoDirect { path: PathBuf, kind: String },
    #[error(
        "{path}: {} of its first {} are allocated but were never written (fallocate); the file system reads zeros there and asks the device for \
         nothing. Name a file that is written in full, for example a copy: cp --sparse=never {path} COPY",
        size_words(*unwritten), size_words(*span), path = path.display()
    )]
    Unwritten { path: PathBuf, unwritten: u64, span: u64 },
    #[error(
        "{path}: {} of its first {} are compressed; direct reads of them go through the page cache. Name a file that is stored as it is read: on \
         btrfs a copy into a directory with `btrfs property set DIRECTORY compression none`; or measure with direct = false (--direct 0)",
        size_words(*encoded), size_words(*span), path = path.display()
    )]
    Encoded { path: PathBuf, encoded: u64, span: u64 },
    #[error(
        "{path}: {} of its first {} lie inside of the file system's own blocks (inline data); reading them asks the device for nothing. Name a \
         larger file",
        size_words(*inline), size_words(*span), path = path.display()
    )]
    Inline { path: PathBuf, inline: u64, span: u64 },
    #[error(
        "{path}: direct reads of {} come from the page cache of {kind}: blocks were read twice, and of the second time the kernel counted {percent} % on \
         block devices. {remedy}",
        size_words(u64::from(*bs)), path = path.display()
    )]
    Cached { path: PathBuf, kind: String, bs: u32, percent: u64, remedy: &'static str },
}

/// Why a file system does no direct I/O.
fn reason(kind: &str) -> &'static str {
    match kind {
        "ext4" => "; ext4 does so with data=journal, inline data, verity and encryption without inline hardware",
        "f2fs" => "; f2fs does so with compression, verity, encryption without inline hardware and mode=lfs",
        _ => "",
    }
}

/// What is judged: the bytes of a round that went to block devices by request, and what the kernel counted meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub workload: &'a Workload,
    pub moved: u64,
    pub counted: &'a Tally,
    pub sight: &'a Sight,
    /// The kernel promises direct I/O: it is a block device, or its file system tells an alignment.
    pub promised: bool,
}

/// Compares what was moved in a round with what was counted. `None` where nothing was moved.
pub fn judge(evidence: &Evidence<'_>) -> Option<Route> {
    let &Evidence { moved, counted, sight, .. } = evidence;
    if moved == 0 {
        return None;
    }
    let unobservable = |why: String| Some(Route::Unobservable { why });
    let sum = match sight {
        Sight::Nobody { why } => return unobservable(why.clone()),
        Sight::Process => counted.of_process(),
        Sight::Devices(_) => counted.devices,
    };
    let Some(sum) = sum else { return unobservable("the kernel does not tell what it counted".into()) };
    let (low, high) = bounds(moved);
    if sum < low {
        let cause = format!(
            "{:.0} % of the bytes did not come from or go to the device ({} were moved, {} counted): the page cache or the file system served them",
            (1.0 - sum as f64 / moved as f64) * 100.0,
            size_words(moved),
            size_words(sum)
        );
        return Some(Route::Contradicted { cause });
    }
    if sum <= high {
        return Some(written(evidence).map_or(Route::Proved { counted: sum, moved }, |why| Route::Unobservable { why }));
    }
    let more = format!("{} were counted where {} were moved", size_words(sum), size_words(moved));
    match sight {
        // btrfs reads checksums in the reader's name, and a request that finds no tag is counted again when a worker makes it.
        Sight::Process => unobservable(format!("{more}: metadata of the file system, or requests that were made twice")),
        _ => unobservable(format!("{more}: something else uses the device")),
    }
}

/// The least and the most that may be counted.
fn bounds(moved: u64) -> (u64, u64) {
    let part = (moved as f64 * TOLERANCE) as u64;
    (moved - part, moved + part + SLACK_BYTES)
}

/// Why writes that were counted may still have gone through the page cache: the kernel counts those as well, when their page becomes dirty. Too few
/// dirty pages on the whole machine rule that out.
fn written(evidence: &Evidence<'_>) -> Option<String> {
    let Evidence { workload, moved, counted, promised, .. } = evidence;
    if *promised || !workload.rw.writes() {
        return None;
    }
    let share = if workload.rw == Rw::Randrw { 100 - u64::from(workload.read_percent) } else { 100 };
    let least = moved / 100 * share / 2;
    let clean = counted.dirtied.is_some_and(|dirtied| dirtied < least);
    (!clean).then(|| {
        "the kernel counts writes through the page cache as well, and the file system does not say that it writes directly (btrfs does not, for \
         files with checksums, since Linux 6.15)"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn judged(rw: Rw, sight: &Sight, promised: bool, moved: u64, counted: Tally) -> Option<Route> {
        let workload = Workload { rw, ..Workload::example() };
        judge(&Evidence { workload: &workload, moved, counted: &counted, sight, promised })
    }

    fn read(bytes: u64) -> Tally {
        Tally { read: Some(bytes), written: Some(0), ..Tally::default() }
    }

    #[test]
    fn a_round_is_proved_within_two_percent_and_contradicted_below() {
        let by = |counted| judged(Rw::Randread, &Sight::Process, false, 1000 * MIB, read(counted * MIB));
        for counted in [980, 1000, 1021] {
            assert!(matches!(by(counted), Some(Route::Proved { .. })), "{counted}");
        }
        let Some(Route::Contradicted { cause }) = by(250) else { panic!("{:?}", by(250)) };
        assert!(cause.starts_with("75 % of the bytes"), "{cause}");
        assert!(matches!(by(979), Some(Route::Contradicted { .. })));
        assert!(matches!(by(1022), Some(Route::Unobservable { .. })), "more is no proof, and no contradiction");
        assert_eq!(judged(Rw::Nop, &Sight::Process, true, 0, read(0)), None);
    }

    #[test]
    fn what_others_may_have_moved_proves_nothing() {
        let devices = Sight::Devices(vec![(8, 0)]);
        let by = |counted: u64| {
            let tally = Tally { devices: Some(counted * MIB), ..read(0) };
            judged(Rw::Randread, &devices, false, 100 * MIB, tally).unwrap().to_string()
        };
        assert_eq!([by(100), by(50)], ["proved", "contradicted"]);
        assert!(unproved(&by(200)).unwrap().ends_with("something else uses the device"), "{}", by(200));
        let nobody = Sight::Nobody { why: "tmpfs".into() };
        assert_eq!(judged(Rw::Read, &nobody, false, 1, read(1)).unwrap().to_string(), "not proved: tmpfs");
    }

    #[test]
    fn writes_are_proved_where_nothing_can_have_been_buffered() {
        let by = |promised, dirtied| {
            let counted = Tally { read: Some(0), written: Some(100 * MIB), devices: None, dirtied };
            judged(Rw::Randwrite, &Sight::Process, promised, 100 * MIB, counted).unwrap()
        };
        for (promised, dirtied) in [(true, None), (true, Some(1000 * MIB)), (false, Some(MIB))] {
            assert!(matches!(by(promised, dirtied), Route::Proved { .. }), "{promised} {dirtied:?}");
        }
        for dirtied in [None, Some(100 * MIB)] {
            assert!(matches!(by(false, dirtied), Route::Unobservable { .. }), "{dirtied:?}");
        }
    }
}
