//! The ioctls of files, block and loop devices, and one system call, for which no crate offers a safe door.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;
const BLKGETDISKSEQ: libc::c_ulong = 0x8008_1280;
const NVME_IOCTL_ID: libc::c_ulong = 0x4E40;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const FS_IOC_FIEMAP: libc::c_ulong = 0xC020_660B;
const FIEMAP_FLAG_SYNC: u32 = 1;
/// `cachestat` (kernel 6.5) has this number on every architecture but alpha, where the call fails with ENOSYS.
const SYS_CACHESTAT: libc::c_long = 451;

/// Flags of an extent, of linux/fiemap.h.
pub const EXTENT_LAST: u32 = 0x1;
pub const EXTENT_ENCODED: u32 = 0x8;
pub const EXTENT_ENCRYPTED: u32 = 0x80;
pub const EXTENT_INLINE: u32 = 0x200;
pub const EXTENT_TAIL: u32 = 0x400;
pub const EXTENT_UNWRITTEN: u32 = 0x800;

/// `struct fiemap_extent` of linux/fiemap.h: a stretch of a file, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub start: u64,
    pub physical: u64,
    pub length: u64,
    pub reserved64: [u64; 2],
    pub flags: u32,
    pub reserved: [u32; 3],
}

/// Extents that one call asks for.
const EXTENTS: usize = 256;

/// `struct fiemap` of linux/fiemap.h.
#[repr(C)]
struct ExtentMap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [Extent; EXTENTS],
}

const _: () = assert!(size_of::<ExtentMap>() == 32 + 56 * EXTENTS, "the kernel's layout");

/// `struct cachestat` of linux/mman.h, in pages.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// `struct loop_config` of linux/loop.h (kernel 5.8).
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device_inode_rdevice: [u64; 3],
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl LoopInfo {
    const EMPTY: LoopInfo = LoopInfo {
        device_inode_rdevice: [0; 3],
        offset: 0,
        sizelimit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

const _: () = assert!(size_of::<LoopConfig>() == 8 + 232 + 64, "the kernel's layout");

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Size of a block device (`BLKGETSIZE64`); its file metadata says 0.
pub fn device_size_bytes(device: &File) -> io::Result<u64> {
    let mut size = 0_u64;
    // SAFETY: BLKGETSIZE64 writes one u64 through the pointer, which is valid for it.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64, &raw mut size) })?;
    Ok(size)
}

/// The number of the disk among all that this machine has had since it booted (`BLKGETDISKSEQ`, kernel 5.15); a partition has its disk's.
pub fn disk_sequence(device: &File) -> io::Result<u64> {
    let mut sequence = 0_u64;
    // SAFETY: BLKGETDISKSEQ writes one u64 through the pointer, which is valid for it.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), BLKGETDISKSEQ, &raw mut sequence) })?;
    Ok(sequence)
}

/// The namespace that an NVMe block device or generic device stands for (`NVME_IOCTL_ID`).
pub fn nvme_namespace(device: &File) -> io::Result<u32> {
    // SAFETY: NVME_IOCTL_ID takes no argument and touches no memory of ours.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), NVME_IOCTL_ID) }).map(|n| n as u32)
}

/// The number of a loop device that is free at this moment.
pub fn free_loop_number(control: &File) -> io::Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and touches no memory of ours.
    checked(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }).map(|n| n as u32)
}

/// `st_dev`, `st_ino` and `st_rdev` of the file or device behind a loop device (`LOOP_GET_STATUS64`).
pub fn loop_backing(device: &File) -> io::Result<[u64; 3]> {
    let mut info = LoopInfo::EMPTY;
    // SAFETY: LOOP_GET_STATUS64 writes one struct loop_info64 through the pointer; the layout is asserted above.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) })?;
    Ok(info.device_inode_rdevice)
}

/// Binds `backing` to the loop device, to be cleared by the kernel when its last opener closes it.
pub fn bind_loop(device: &File, backing: &File) -> io::Result<()> {
    let info = LoopInfo { flags: LO_FLAGS_AUTOCLEAR, ..LoopInfo::EMPTY };
    let config = LoopConfig { fd: backing.as_raw_fd() as u32, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one struct loop_config through the pointer; the layout is asserted above.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }).map(drop)
}

/// The extents of the first `length` bytes of a file, in order (`FS_IOC_FIEMAP`, Documentation/filesystems/fiemap.rst). What is in memory only is
/// written to the device first, so that none has its place still to be found. Fails where the file system does not tell (`EOPNOTSUPP`, `ENOTTY`).
pub fn extents(file: &File, length: u64) -> io::Result<Vec<Extent>> {
    let (mut all, mut start) = (Vec::new(), 0);
    let mut map = ExtentMap {
        start: 0,
        length: 0,
        flags: FIEMAP_FLAG_SYNC,
        mapped: 0,
        count: EXTENTS as u32,
        reserved: 0,
        extents: [Extent::default(); EXTENTS],
    };
    while start < length {
        (map.start, map.length, map.mapped) = (start, length - start, 0);
        // SAFETY: FS_IOC_FIEMAP reads and writes one struct fiemap with `count` extents behind it through the pointer; both layouts are asserted
        // above and the array has that many.
        checked(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut map) })?;
        let found = &map.extents[..(map.mapped as usize).min(EXTENTS)];
        let Some(last) = found.last() else { break };
        all.extend_from_slice(found);
        let end = last.start.saturating_add(last.length);
        if last.flags & EXTENT_LAST != 0 || end <= start {
            break;
        }
        start = end;
        map.flags = 0;
    }
    Ok(all)
}

/// How many pages of the first `length` bytes of a file or device are in the page cache (`cachestat`). Fails on kernels before 6.5 (`ENOSYS`)
/// and, since 6.13, for files that are neither this user's nor open to his writes (`EPERM`).
pub fn cached_pages(file: &File, length: u64) -> io::Result<u64> {
    let (range, mut stat) = ([0_u64, length], CacheStat::default());
    // SAFETY: cachestat reads one struct cachestat_range (two u64) through the second argument and writes one struct cachestat through the third.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut stat, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(stat.cached) }
}
