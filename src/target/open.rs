//! Opens or makes one target: the descriptor first, then everything that is asked is asked of it.

use super::block_device::{BlockDevice, Generic};
use super::extents::Extents;
use super::guard::{self, Refusal};
use super::route::Sight;
use super::scratch::{self, Scratch};
use super::{Access, DirectIo, Error, Kind, Member, Target, Wanted, fill, ioctl, loop_device, refused, room};
use crate::mounts;
use crate::units::size_words;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::{File, Metadata, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens or makes what is wanted.
pub fn target(wanted: &Wanted, access: Access<'_>) -> Result<Target, Error> {
    match (wanted.kind, &wanted.path) {
        (Kind::Device | Kind::NullBlk | Kind::Nvme, Some(path)) => device(path, wanted.size_bytes, access),
        (Kind::Device, None) => Err(Error::NoPath("device")),
        (Kind::NullBlk, None) => device(Path::new("/dev/nullb0"), wanted.size_bytes, access),
        (Kind::Nvme, None) => Err(Error::NoPath("nvme")),
        (Kind::File, Some(path)) => file(path, wanted.size_bytes, access),
        (Kind::File, None) => temporary(wanted),
        (Kind::Loop, _) => loop_device::over_shared_memory(wanted).map_err(|source| Error::Loop { source }),
        (Kind::Auto, _) => loop_device::over_shared_memory(wanted).or_else(|refused| {
            let mut file = temporary(wanted)?;
            file.description += &format!(" (no loop device could be made: {refused})");
            Ok(file)
        }),
    }
}

/// Nothing is opened for writing that the user did not name for that.
fn allowed(path: &Path, access: Access<'_>) -> Result<bool, Refusal> {
    match access {
        Access::Read => Ok(false),
        Access::Write { allowed } if allowed.iter().any(|a| a == path) => Ok(true),
        Access::Write { .. } => Err(Refusal::NotAllowed(path.into())),
    }
}

fn device(path: &Path, wanted: Option<u64>, access: Access<'_>) -> Result<Target, Error> {
    let fail = |source: std::io::Error| Error::Open { path: path.into(), source };
    let writes = allowed(path, access)?;
    expect_type(path, &std::fs::metadata(path).map_err(fail)?, "device", true)?;
    if let Some(because) = BlockDevice::at(path).filter(|_| writes).and_then(|device| unwritable(&device)) {
        return Err(Error::Unwritable { path: path.into(), because });
    }
    let file = open_device(path, writes)?;
    let resolved = BlockDevice::of(&file);
    let device = resolved.as_ref().ok_or_else(|| fail(Errno::NXIO.into()))?;
    let size = ioctl::device_size_bytes(&file).map_err(fail)?;
    let logical = rustix::fs::ioctl_blksszget(&file).map_err(|e| fail(e.into()))?;
    if writes {
        guard::check(path, &file)?;
    }
    // The counters of a device that something else uses tell of everybody's traffic; those of a partition's disk too.
    let own_device = (!device.is_partition() && guard::unused(path, device).is_ok()).then(|| device.name());
    let called = if path.ends_with(device.name()) { String::new() } else { format!(" ({})", device.name()) };
    let below = below(device);
    let generic = device.generic().map(|generic| open_generic(&file, &generic, writes)).transpose()?.flatten();
    let mut member = Member::named(path, resolved, own_device, file)?;
    member.generic = generic;
    Ok(Target {
        members: vec![member],
        writes,
        span_bytes: span(path, size, wanted)?,
        logical_block_bytes: logical,
        label: path.display().to_string(),
        description: format!("block device {}{called} of {size} bytes, logical block {logical}{below}", path.display()),
        sight: Sight::unknown(),
    })
}

/// Why no workload of ours can write to a device. Some kernels open it all the same and fail each request.
fn unwritable(device: &BlockDevice) -> Option<String> {
    let zoned = || device.zones().map(|model| refused::zoned(device, &model));
    device.is_read_only().then(|| refused::read_only(device)).or_else(zoned)
}

/// A device that is written to is claimed: from then on the kernel lets nobody mount it, swap to it or build on it.
fn open_device(path: &Path, writes: bool) -> Result<File, Error> {
    let exclusive = if writes { libc::O_EXCL } else { 0 };
    let opened = OpenOptions::new().read(true).write(writes).custom_flags(exclusive | libc::O_NONBLOCK).open(path);
    opened.map_err(|source| {
        if writes && source.raw_os_error() == Some(libc::EBUSY) {
            let known = BlockDevice::at(path).map(|device| guard::unused(path, &device));
            return known.and_then(Result::err).unwrap_or(Refusal::Busy(path.into())).into();
        }
        Error::Open { path: path.into(), source }
    })
}

/// Opens the generic device of a namespace and makes sure that it is that of the block device, not of another that has its name by now. `None`
/// where this user may not open it: then it offers nothing.
fn open_generic(block: &File, generic: &Generic, writes: bool) -> Result<Option<OwnedFd>, Error> {
    let access = if writes { OFlags::RDWR } else { OFlags::RDONLY };
    let Ok(file) = rustix::fs::open(&generic.path, access | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) else {
        return Ok(None);
    };
    let stat = rustix::fs::fstat(&file).map_err(|e| Error::Open { path: generic.path.clone(), source: e.into() })?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let numbered = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == generic.number;
    let file = File::from(file);
    let namespace = |file: &File| ioctl::nvme_namespace(file).ok();
    let alike = namespace(&file).is_some_and(|number| namespace(block) == Some(number));
    Ok((character && numbered && alike).then(|| file.into()))
}

fn file(path: &Path, wanted: Option<u64>, access: Access<'_>) -> Result<Target, Error> {
    let fail = |source: std::io::Error| Error::Open { path: path.into(), source };
    let writes = allowed(path, access)?;
    // Before it is opened: a FIFO or a tape may do something at that.
    expect_type(path, &std::fs::metadata(path).map_err(fail)?, "file", false)?;
    let file = if writes { open_to_write(path)? } else { File::open(path).map_err(fail)? };
    let meta = file.metadata().map_err(fail)?;
    expect_type(path, &meta, "file", false)?;
    let span_bytes = span(path, meta.len(), wanted)?;
    let extents = Extents::of(&file, span_bytes);
    if let Some(Extents { span, holes: holes @ 1.., .. }) = extents {
        return Err(Error::Sparse { path: path.into(), allocated: span - holes, size: span });
    }
    if writes {
        guard::check(path, &file)?;
    }
    let mut description = format!("file {} on {}", path.display(), mounts::file_system(&file));
    if let Some(Extents { unwritten: unwritten @ 1.., span, .. }) = extents {
        description += &format!(
            "; {} of its first {} were never written (fallocate), so the first write to such a block is also its conversion",
            size_words(unwritten),
            size_words(span)
        );
    }
    let mut member = Member::named(path, None, None, file)?;
    member.extents = extents;
    Ok(Target {
        span_bytes,
        writes,
        logical_block_bytes: alignment(&member),
        label: path.display().to_string(),
        description,
        members: vec![member],
        sight: Sight::unknown(),
    })
}

/// Opens the very file that the path names: no link leads from it to another.
fn open_to_write(path: &Path) -> Result<File, Error> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a container's filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => by_component(path, flags),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(file.into()),
        Err(Errno::LOOP) => {
            let real = std::fs::canonicalize(path).map_err(|source| Error::Open { path: path.into(), source })?;
            Err(Refusal::Link { path: path.into(), real }.into())
        }
        Err(error) => Err(Error::Open { path: path.into(), source: error.into() }),
    }
}

/// Opens a file by a path in which no component is a link: each is looked up in the directory before it.
fn by_component(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let absolute = std::path::absolute(path).map_err(|_| Errno::INVAL)?;
    let mut parents: Vec<_> = absolute.components().skip(1).collect();
    let name = parents.pop().ok_or(Errno::ISDIR)?;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", step, Mode::empty())?;
    let dir = parents.iter().try_fold(root, |dir, parent| {
        // With O_DIRECTORY a link is no directory.
        let found = rustix::fs::openat(&dir, parent.as_os_str(), step, Mode::empty());
        found.map_err(|error| if error == Errno::NOTDIR { Errno::LOOP } else { error })
    })?;
    rustix::fs::openat(&dir, name.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty())
}

/// An unlinked, filled file in the temporary directory, reached through this process's descriptor.
fn temporary(wanted: &Wanted) -> Result<Target, Error> {
    let size = wanted.size();
    let Scratch { dir, why } = scratch::choose();
    let fail = |source| Error::Temporary { dir: dir.clone(), size, source };
    // Here too: `auto` comes here where no loop device can be made after all.
    room::file(&dir, size, wanted.allowed_bytes)?;
    let file = tempfile::tempfile_in(&dir).map_err(fail)?;
    fill::fill(&file, size, wanted.stamps).map_err(fail)?;
    let on = mounts::file_system(&file);
    let member = Member::made("temporary file".into(), file).map_err(fail)?;
    Ok(Target {
        span_bytes: size,
        writes: true,
        logical_block_bytes: alignment(&member),
        label: "temporary file".into(),
        description: format!(
            "temporary file of {size} bytes in {} on {on}{why}; the disk below is shared with everything else on this machine",
            dir.display(),
        ),
        members: vec![member],
        sight: Sight::unknown(),
    })
}

fn type_name(kind: std::fs::FileType) -> &'static str {
    match kind {
        k if k.is_dir() => "directory",
        k if k.is_file() => "regular file",
        k if k.is_block_device() => "block device",
        k if k.is_char_device() => "character device",
        _ => "special file",
    }
}

fn expect_type(path: &Path, meta: &Metadata, kind: &'static str, block: bool) -> Result<(), Error> {
    let right = if block { meta.file_type().is_block_device() } else { meta.is_file() };
    let needed = if block { "block device" } else { "regular file" };
    if right { Ok(()) } else { Err(Error::WrongType { path: path.into(), found: type_name(meta.file_type()), kind, needed }) }
}

fn span(path: &Path, has: u64, wanted: Option<u64>) -> Result<u64, Error> {
    match wanted {
        Some(wanted) if wanted > has => Err(Error::TooSmall { path: path.into(), has, wanted }),
        wanted => Ok(wanted.unwrap_or(has)),
    }
}

/// The alignment that direct I/O on a file needs, as far as the kernel tells, else the least there is.
fn alignment(member: &Member) -> u32 {
    if let DirectIo::From(align) = member.direct { align } else { 512 }
}

/// What a loop device that is not the tool's reads from: it ends at the loop device what can be proved of it.
fn below(device: &BlockDevice) -> String {
    if loop_device::backing(device).is_none() {
        return String::new();
    }
    let how = match device.attribute("loop/dio").as_deref() {
        Some("1") => "directly",
        _ => "through the page cache (losetup --direct-io=on changes that), so its figures may be those of memory",
    };
    format!("; a loop device, which reads and writes the file behind it {how}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither a device of another number, nor one that names no namespace, nor a link or a file passes for the generic device of a namespace.
    #[test]
    fn a_generic_device_of_something_else_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("ng0n1");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let block = File::open("/dev/zero").unwrap();
        for (path, number) in [("/dev/null".into(), (1, 3)), ("/dev/null".into(), (237, 0)), (link, (1, 3)), (file, (0, 0))] {
            let generic = Generic { path, number };
            let opened = open_generic(&block, &generic, false);
            assert!(matches!(opened, Ok(None)), "{generic:?}: {opened:?}");
        }
    }

    #[test]
    fn no_component_of_a_path_that_is_written_to_is_a_link() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        std::fs::create_dir(home.join("dir")).unwrap();
        std::fs::write(home.join("dir/file"), "x").unwrap();
        std::os::unix::fs::symlink("dir", home.join("link")).unwrap();
        std::os::unix::fs::symlink("file", home.join("dir/link")).unwrap();
        for (path, opens) in [("dir/file", true), ("link/file", false), ("dir/link", false), ("dir/nothing", false)] {
            let path = home.join(path);
            assert_eq!(by_component(&path, OFlags::RDWR).is_ok(), opens, "{}", path.display());
            assert_eq!(open_to_write(&path).is_ok(), opens, "{}", path.display());
        }
        assert!(matches!(open_to_write(&home.join("link/file")), Err(Error::Guard(Refusal::Link { .. }))));
    }
}
