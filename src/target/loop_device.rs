//! A loop device over shared memory: the inline, CPU-bound target that needs no disk.
//!
//! The backing memory has no name (memfd) and the device clears itself when its last opener is gone, so the runner holds both by one open
//! descriptor and nothing has to be cleaned up. A memfd is not bounded by the size of `/dev/shm`.

use super::block_device::BlockDevice;
use super::route::Sight;
use super::{Member, Target, Wanted, fill, ioctl};
use rustix::fs::{MemfdFlags, Mode, OFlags, Stat, fstat, makedev, memfd_create};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Another process may take the free device between asking and binding.
const ATTEMPTS: usize = 8;

/// True where this process may ask for a loop device.
pub fn is_permitted() -> bool {
    open_control().is_ok()
}

fn open_control() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/loop-control")
}

/// Makes the device, `size` bytes of incompressible data.
pub fn over_shared_memory(wanted: &Wanted) -> io::Result<Target> {
    let size = wanted.size();
    let backing = File::from(memfd_create("uring-ablate", MemfdFlags::CLOEXEC)?);
    let control = open_control()?;
    let (number, device) = bind(&control, &backing, wanted)?;
    Ok(Target {
        writes: true,
        span_bytes: size,
        logical_block_bytes: rustix::fs::ioctl_blksszget(&device)?,
        label: "loop over shared memory".into(),
        description: format!(
            "loop device over {size} bytes of shared memory: requests are issued inline and completed by a kernel worker that copies; CPU-bound \
             at small blocks, bound by the copying worker at large ones; it has no DMA, no interrupts and no poll queues"
        ),
        members: vec![Member::made(format!("/dev/loop{number}").into(), device)?],
        sight: Sight::unknown(),
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

/// What lies behind a loop device, opened to be looked at: a file or a block device. `None` for what is no loop device.
pub fn backing(device: &BlockDevice) -> Option<io::Result<File>> {
    let name = device.disk().name();
    let path = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    Some(open_backing(Path::new("/dev").join(name).as_path(), Path::new(path.trim_end_matches('\n'))))
}

/// Opens it by its path, and makes sure that it is what the loop device has, which may have been renamed or replaced.
fn open_backing(device: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let stat = fstat(&file)?;
    let told = ioctl::loop_backing(&File::open(device)?)?;
    let same = told == [stat.st_dev, stat.st_ino, stat.st_rdev];
    if same { Ok(file) } else { Err(io::Error::other(format!("{} is not the file that it was made over", path.display()))) }
}

/// The loop devices whose data a file is.
pub fn over_file(file: &Stat) -> Vec<String> {
    bound_to((file.st_dev, file.st_ino, 0))
}

/// The loop devices whose data a block device is: they do not count among its holders.
pub fn over(device: &BlockDevice) -> Vec<String> {
    bound_to((0, 0, makedev(device.number.0, device.number.1)))
}

/// The loop devices over a file (device and inode of its node) or a block device (its own number). The kernel tells numbers to whom may open a
/// loop device, and to others a path.
fn bound_to(backing: (u64, u64, u64)) -> Vec<String> {
    let loops = std::fs::read_dir("/sys/block").into_iter().flatten().flatten().map(|entry| entry.path());
    let told = |dir: PathBuf| {
        let path = std::fs::read_to_string(dir.join("loop/backing_file")).ok()?;
        Some((format!("/dev/{}", dir.file_name()?.to_string_lossy()), path))
    };
    let over = |(device, path): (String, String)| {
        let status = File::open(&device).and_then(|open| ioctl::loop_backing(&open));
        let of_path = || rustix::fs::stat(path.trim_end_matches('\n')).ok().map(|s| [s.st_dev, s.st_ino, s.st_rdev]);
        let [dev, inode, rdev] = status.ok().or_else(of_path)?;
        let found = if rdev == 0 { (dev, inode, 0) } else { (0, 0, rdev) };
        (found == backing).then_some(device)
    };
    loops.filter_map(told).filter_map(over).collect()
}
