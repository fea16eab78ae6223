//! The kinds of work a ring does, and how one request of each is encoded.

use super::drive::Settings;
use super::ring::{self, Sqpoll};
use crate::toggle::Levels;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::io;
use std::os::fd::RawFd;

/// Where a request goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Device {
    pub fd: RawFd,
    /// Its place among the registered files.
    pub index: u32,
    /// Of an NVMe namespace that is reached through its generic device; 0 elsewhere.
    pub namespace: u32,
    /// Binary logarithm of its logical block; 0 elsewhere.
    pub block_shift: u32,
}

/// Marks a request whose latency is measured, beside the slot in `user_data`.
pub const TIMED: u64 = 1 << 32;

/// A kind of work: the entries of its ring, and how a request becomes one.
pub trait Work: Sized + 'static {
    type Entry: squeue::EntryMarker;
    type Completion: cqueue::EntryMarker;

    /// One block. `fixed_buffers` and `fixed_files` are constants at each call and choose opcode and descriptor at compile time; slot `i` uses
    /// registered buffer `i`.
    fn request(
        fixed_buffers: bool,
        fixed_files: bool,
        settings: &Settings,
        slot: u32,
        read: bool,
        offset: u64,
        user_data: u64,
    ) -> Self::Entry;

    /// `user_data` and result of a completion.
    fn answer(completion: &Self::Completion) -> (u64, i32);

    /// The result of a request that moved `length` bytes.
    fn success(length: u32) -> i32;

    /// Adopts a ring that was set up by our own call; only rings of 64-byte entries can be.
    fn adopt(_: &Levels, _: u32, _: Sqpoll) -> io::Result<IoUring<Self::Entry, Self::Completion>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes that a successful request of a block moved.
    fn moved(length: u32) -> u64 {
        length.into()
    }
}

/// Chooses between the registered file and the descriptor at compile time.
macro_rules! with_descriptor {
    ($fixed:expr, $at:expr, |$fd:ident| $build:expr) => {
        if $fixed {
            let $fd = types::Fixed($at.device.index);
            $build
        } else {
            let $fd = types::Fd($at.device.fd);
            $build
        }
    };
}

/// Reads and writes of files and block devices.
pub struct Io;

impl Work for Io {
    type Entry = squeue::Entry;
    type Completion = cqueue::Entry;

    #[inline(always)]
    fn request(
        fixed_buffers: bool,
        fixed_files: bool,
        at: &Settings,
        slot: u32,
        read: bool,
        offset: u64,
        user_data: u64,
    ) -> squeue::Entry {
        let (buffer, length, slot) = (at.buffers.start(slot), at.block_size, slot as u16);
        with_descriptor!(fixed_files, at, |fd| match (fixed_buffers, read) {
            (true, true) => opcode::ReadFixed::new(fd, buffer, length, slot).offset(offset).build(),
            (true, false) => opcode::WriteFixed::new(fd, buffer, length, slot).offset(offset).build(),
            (false, true) => opcode::Read::new(fd, buffer, length).offset(offset).build(),
            (false, false) => opcode::Write::new(fd, buffer, length).offset(offset).build(),
        })
        .user_data(user_data)
    }

    #[inline(always)]
    fn answer(completion: &cqueue::Entry) -> (u64, i32) {
        (completion.user_data(), completion.result())
    }

    #[inline(always)]
    fn success(length: u32) -> i32 {
        length as i32
    }

    fn adopt(levels: &Levels, entries: u32, sqpoll: Sqpoll) -> io::Result<IoUring> {
        ring::adopt(levels, entries, sqpoll)
    }
}

/// IORING_OP_NOP: what the ring itself costs. Registered buffers and files have nothing to act on.
pub struct Nop;

impl Work for Nop {
    type Entry = squeue::Entry;
    type Completion = cqueue::Entry;

    #[inline(always)]
    fn request(_: bool, _: bool, _: &Settings, _: u32, _: bool, _: u64, user_data: u64) -> squeue::Entry {
        opcode::Nop::new().build().user_data(user_data)
    }

    #[inline(always)]
    fn answer(completion: &cqueue::Entry) -> (u64, i32) {
        (completion.user_data(), completion.result())
    }

    #[inline(always)]
    fn success(_: u32) -> i32 {
        0
    }

    fn moved(_: u32) -> u64 {
        0
    }

    fn adopt(levels: &Levels, entries: u32, sqpoll: Sqpoll) -> io::Result<IoUring> {
        ring::adopt(levels, entries, sqpoll)
    }
}

/// NVMe commands through IORING_OP_URING_CMD on the generic character device; the kernel wants 128-byte entries and 32-byte completions
/// for them (drivers/nvme/host/ioctl.c, `nvme_uring_cmd_checks`).
pub struct Nvme;

/// `_IOWR('N', 0x80, struct nvme_uring_cmd)` of `linux/nvme_ioctl.h`, whose 72 bytes are encoded below.
const NVME_URING_CMD_IO: u32 = 0xC048_4E80;
const NVME_WRITE: u8 = 1;
const NVME_READ: u8 = 2;

impl Work for Nvme {
    type Entry = squeue::Entry128;
    type Completion = cqueue::Entry32;

    #[inline(always)]
    fn request(
        fixed_buffers: bool,
        fixed_files: bool,
        at: &Settings,
        slot: u32,
        read: bool,
        offset: u64,
        user_data: u64,
    ) -> squeue::Entry128 {
        let block = offset >> at.device.block_shift;
        let blocks = (at.block_size >> at.device.block_shift) - 1;
        let mut command = [0_u8; 80];
        command[0] = if read { NVME_READ } else { NVME_WRITE };
        command[4..8].copy_from_slice(&at.device.namespace.to_le_bytes());
        command[24..32].copy_from_slice(&(at.buffers.start(slot) as u64).to_le_bytes());
        command[36..40].copy_from_slice(&at.block_size.to_le_bytes());
        command[40..48].copy_from_slice(&block.to_le_bytes());
        command[48..52].copy_from_slice(&blocks.to_le_bytes());
        let buffer = fixed_buffers.then_some(slot as u16);
        with_descriptor!(fixed_files, at, |fd| opcode::UringCmd80::new(fd, NVME_URING_CMD_IO)
            .cmd(command)
            .buf_index(buffer)
            .build())
        .user_data(user_data)
    }

    #[inline(always)]
    fn answer(completion: &cqueue::Entry32) -> (u64, i32) {
        (completion.user_data(), completion.result())
    }

    /// The NVMe status.
    #[inline(always)]
    fn success(_: u32) -> i32 {
        0
    }
}
