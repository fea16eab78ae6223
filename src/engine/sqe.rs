//! Encodes one request.

use io_uring::{opcode, squeue, types};

/// What the encoder needs to know of the file and of one slot's buffer.
#[derive(Clone, Copy)]
pub struct Place {
    pub fd: i32,
    pub buffer: *mut u8,
    pub length: u32,
    pub slot: u32,
}

/// Marks a request whose latency is measured, beside the slot in `user_data`.
pub const TIMED: u64 = 1 << 32;

/// A read or write of one block. `fixed_buffers` and `fixed_files` are constants at each call and choose opcode and descriptor at compile
/// time; slot `i` uses registered buffer `i`, registered file 0 is the target.
#[inline(always)]
pub fn request(fixed_buffers: bool, fixed_files: bool, at: Place, read: bool, offset: u64) -> squeue::Entry {
    macro_rules! with_descriptor {
        ($fd:expr) => {
            match (fixed_buffers, read) {
                (true, true) => opcode::ReadFixed::new($fd, at.buffer, at.length, at.slot as u16).offset(offset).build(),
                (true, false) => opcode::WriteFixed::new($fd, at.buffer, at.length, at.slot as u16).offset(offset).build(),
                (false, true) => opcode::Read::new($fd, at.buffer, at.length).offset(offset).build(),
                (false, false) => opcode::Write::new($fd, at.buffer, at.length).offset(offset).build(),
            }
        };
    }
    if fixed_files { with_descriptor!(types::Fixed(0)) } else { with_descriptor!(types::Fd(at.fd)) }
}
