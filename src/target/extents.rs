//! What of a file lies on its device as it is read: its extents, added up by what they are. Reading the rest asks the device for nothing.

use super::ioctl::{self, Extent};
use rustix::fs::{SeekFrom, seek};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// The first bytes of a file by where they come from. All in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    /// That were looked at.
    pub span: u64,
    /// Never allocated: read as zeros.
    pub holes: u64,
    /// Allocated and never written (`fallocate`): read as zeros.
    pub unwritten: u64,
    /// Not stored as they are read: compressed. Direct reads of them go through the page cache.
    pub encoded: u64,
    /// Stored among the file system's own data, in the inode or the tail of a block.
    pub inline: u64,
}

impl Extents {
    /// Looks at the first `span` bytes of a regular file. `None` where the file system tells nothing but its block count, and that is full.
    ///
    /// By `FS_IOC_FIEMAP`; where there is none (tmpfs, NFS, FUSE) by lseek(2) with `SEEK_DATA`, which takes what was never written for a hole, and
    /// by the allocated blocks.
    pub fn of(file: &File, span: u64) -> Option<Extents> {
        match ioctl::extents(file, span) {
            Ok(found) => Some(Extents::sum(&found, span)),
            Err(_) => sought(file, span).or_else(|| counted(file, span)),
        }
    }

    fn sum(found: &[Extent], span: u64) -> Extents {
        let mut sum = Extents { span, ..Extents::default() };
        let mut end = 0;
        for extent in found {
            let stop = extent.start.saturating_add(extent.length).min(span);
            let start = extent.start.clamp(end, span);
            sum.holes += start - end;
            let length = stop.saturating_sub(start);
            let is = |flag| extent.flags & flag != 0;
            if is(ioctl::EXTENT_UNWRITTEN) {
                sum.unwritten += length;
            } else if is(ioctl::EXTENT_INLINE | ioctl::EXTENT_TAIL) {
                sum.inline += length;
            } else if is(ioctl::EXTENT_ENCODED) && !is(ioctl::EXTENT_ENCRYPTED) {
                // What is encrypted has the same flag, and may be deciphered on the way from the device.
                sum.encoded += length;
            }
            end = end.max(stop);
        }
        sum.holes += span.saturating_sub(end);
        sum
    }

    /// Bytes that lie on the device as they are read.
    pub fn stored(&self) -> u64 {
        self.span - self.holes - self.unwritten - self.encoded - self.inline
    }
}

/// By lseek(2). A file system that does not know holes says that all is data.
fn sought(file: &File, span: u64) -> Option<Extents> {
    let (mut at, mut data) = (0, 0);
    while at < span {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(span),
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => return None,
        };
        at = seek(file, SeekFrom::Hole(start)).ok()?.min(span);
        data += at.saturating_sub(start);
        if at <= start {
            break;
        }
    }
    // Nobody reads from where a descriptor stands, but a program that inherits one might.
    let _ = seek(file, SeekFrom::Start(0));
    let found = Extents { span, holes: span - data, ..Extents::default() };
    if found.holes > 0 { Some(found) } else { counted(file, span) }
}

/// By the blocks that the whole file has.
fn counted(file: &File, span: u64) -> Option<Extents> {
    let meta = file.metadata().ok()?;
    let missing = meta.len().saturating_sub(meta.blocks() * 512).min(span);
    (missing > 0).then_some(Extents { span, holes: missing, ..Extents::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FallocateFlags, fallocate};
    use std::os::unix::fs::FileExt;

    const MIB: u64 = 1 << 20;

    fn extent(start: u64, length: u64, flags: u32) -> Extent {
        Extent { start, length, flags, ..Extent::default() }
    }

    #[test]
    fn extents_are_added_up_by_what_they_are() {
        let found = [
            extent(0, 10, 0),
            extent(20, 10, ioctl::EXTENT_UNWRITTEN),
            extent(30, 5, ioctl::EXTENT_ENCODED),
            extent(35, 5, ioctl::EXTENT_ENCODED | ioctl::EXTENT_ENCRYPTED),
            extent(40, 5, ioctl::EXTENT_INLINE),
            // Whole blocks, of which the span ends inside.
            extent(90, 100, ioctl::EXTENT_LAST),
        ];
        let sum = Extents::sum(&found, 100);
        assert_eq!(sum, Extents { span: 100, holes: 10 + 45, unwritten: 10, encoded: 5, inline: 5 });
        assert_eq!(sum.stored(), 10 + 5 + 10);
        assert_eq!(Extents::sum(&[], 7).holes, 7);
        assert_eq!(Extents::sum(&[extent(100, 10, 0)], 50).holes, 50, "what lies behind the span does not count");
    }

    #[test]
    fn a_file_is_what_was_done_to_it() {
        let file = tempfile::tempfile_in(".").unwrap();
        file.set_len(4 * MIB).unwrap();
        let Some(empty) = Extents::of(&file, 4 * MIB) else { return };
        assert_eq!((empty.holes, empty.stored()), (4 * MIB, 0));
        if fallocate(&file, FallocateFlags::empty(), 0, 4 * MIB).is_ok() {
            let Extents { holes, unwritten, .. } = Extents::of(&file, 4 * MIB).unwrap();
            assert_eq!(holes + unwritten, 4 * MIB);
        }
        file.write_all_at(&vec![7; 2 * MIB as usize], 0).unwrap();
        assert_eq!(Extents::of(&file, 2 * MIB).map_or(2 * MIB, |e| e.stored()), 2 * MIB, "what was written is stored");
        assert!(Extents::of(&file, 4 * MIB).is_some_and(|e| e.stored() < 4 * MIB));
    }
}
