//! The ioctls of block and loop devices for which no crate offers a safe door.

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
