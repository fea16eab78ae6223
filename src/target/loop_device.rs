//! A loop device over shared memory: the inline, CPU-bound target that needs no disk.
//!
//! The backing memory has no name (memfd) and the device clears itself when its last opener is gone, so the runner holds both by one open
//! descriptor and nothing has to be cleaned up. A memfd is not bounded by the size of `/dev/shm`.

use super::{Member, Target, Wanted, fill, ioctl};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{File, OpenOptions};
use std::io;

/// Another process may take the free device between asking and binding.
const ATTEMPTS: usize = 8;

/// Makes the device, `size` bytes of incompressible data.
pub fn over_shared_memory(wanted: &Wanted) -> io::Result<Target> {
    let size = wanted.size();
    let backing = File::from(memfd_create("uring-ablate", MemfdFlags::CLOEXEC)?);
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    let (number, device) = bind(&control, &backing, wanted)?;
    let own_device = Some(format!("loop{number}"));
    Ok(Target {
        span_bytes: size,
        logical_block_bytes: rustix::fs::ioctl_blksszget(&device)?,
        label: "loop over shared memory".into(),
        description: format!(
            "loop device over {size} bytes of shared memory: requests are issued inline and completed by a kernel worker that copies; CPU-bound \
             at small blocks, bound by the copying worker at large ones; it has no DMA, no interrupts and no poll queues"
        ),
        members: vec![Member { path: format!("/dev/loop{number}").into(), own_device, made_here: true, _hold: Some(device) }],
    })
}

fn bind(control: &File, backing: &File, wanted: &Wanted) -> io::Result<(u32, File)> {
    // Before the memory is filled: where loop devices are refused, that shows at once.
    backing.set_len(wanted.size())?;
    for _ in 0..ATTEMPTS {
        let number = ioctl::free_loop_number(control)?;
        let device = OpenOptions::new().read(true).write(true).open(format!("/dev/loop{number}"))?;
        match ioctl::bind_loop(&device, backing) {
            Ok(()) => {
                fill::fill(backing, wanted.size(), wanted.stamps)?;
                return Ok((number, device));
            }
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}
