//! A file or device of a target: held open from the check to the end of the run, and lent to the processes that do I/O on it.

use super::Error;
use super::block_device::BlockDevice;
use super::extents::Extents;
use super::identity::Identity;
use super::route;
use crate::mounts;
use crate::workload::{Rw, Workload};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the kernel says of direct I/O on a file (`STATX_DIOALIGN`, Linux 6.1; not every file system answers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    Untold,
    /// There is none: requests would go through the page cache.
    Never,
    /// At multiples of so many bytes.
    From(u32),
}

/// A file or device of a target.
#[derive(Debug)]
pub struct Member {
    /// What the user calls it.
    pub path: PathBuf,
    /// Resolved from the descriptor; `None` for a file.
    pub device: Option<BlockDevice>,
    /// Name under `/sys/block` of a device that serves nobody else, whose counters so tell what was moved.
    pub own_device: Option<String>,
    /// Made by the tool, so writable without asking.
    pub made_here: bool,
    pub identity: Identity,
    /// Of a file.
    pub direct: DirectIo,
    /// What of a file the user named is not on the device as it is read; `None` where nothing is known to be amiss.
    pub extents: Option<Extents>,
    file: File,
    /// The generic device of an NVMe namespace.
    pub(super) generic: Option<OwnedFd>,
}

impl Member {
    /// What the tool made: a loop device or an unlinked file.
    pub(super) fn made(path: PathBuf, file: File) -> io::Result<Member> {
        let device = BlockDevice::of(&file);
        let own_device = device.as_ref().map(BlockDevice::name);
        let identity = Identity::of(&file)?;
        let (direct, extents) = (direct_io(&file), None);
        Ok(Member { path, device, own_device, made_here: true, identity, direct, extents, file, generic: None })
    }

    /// What the user named and `file` is open on.
    pub(super) fn named(
        path: &Path,
        device: Option<BlockDevice>,
        own_device: Option<String>,
        file: File,
    ) -> Result<Member, Error> {
        let identity = Identity::of(&file).map_err(|source| Error::Open { path: path.into(), source })?;
        let (direct, extents) = (direct_io(&file), None);
        Ok(Member { path: path.into(), device, own_device, made_here: false, identity, direct, extents, file, generic: None })
    }

    /// Checks that the bytes of a workload can come from the device, as far as the file system tells.
    pub(super) fn serves(&self, workload: &Workload) -> Result<(), route::Refusal> {
        use route::Refusal as R;
        let path = self.path.clone();
        if workload.rw == Rw::Nop {
            return Ok(());
        }
        if workload.direct && self.device.is_none() && self.direct == DirectIo::Never {
            let kind = mounts::file_system(&self.file);
            return Err(R::NoDirect { path, kind });
        }
        let reads = !matches!(workload.rw, Rw::Write | Rw::Randwrite);
        match self.extents {
            Some(Extents { unwritten, span, .. }) if reads && unwritten > 0 => Err(R::Unwritten { path, unwritten, span }),
            Some(Extents { inline, span, .. }) if workload.direct && inline > 0 => Err(R::Inline { path, inline, span }),
            Some(Extents { encoded, span, .. }) if workload.direct && encoded > 0 => Err(R::Encoded { path, encoded, span }),
            _ => Ok(()),
        }
    }

    /// What a file no longer has of the span that is used of it: then other things than its blocks would be measured.
    pub(super) fn lost(&self, span_bytes: u64) -> Option<String> {
        let meta = self.file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        if meta.len() < span_bytes {
            return Some(format!("it was cut to {} bytes", meta.len()));
        }
        let missing = |extents: Option<Extents>| extents.map_or((0, 0), |e| (e.holes, e.unwritten));
        let (then, now) = (missing(self.extents), missing(Extents::of(&self.file, span_bytes)));
        if now.0 > then.0 {
            return Some(format!("it has become sparse: {} of its first {span_bytes} bytes are allocated", span_bytes - now.0));
        }
        (now.1 > then.1).then(|| format!("{} of its first {span_bytes} bytes were replaced by unwritten ones (fallocate)", now.1))
    }

    /// The descriptor that was checked.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where this process, and a child that it is lent to, reach it.
    pub fn handle(&self) -> PathBuf {
        handle(&self.file)
    }

    /// The same of its generic device.
    pub(super) fn generic_handle(&self) -> Option<PathBuf> {
        self.generic.as_ref().map(handle)
    }
}

/// Asks the kernel what direct I/O a file can do.
fn direct_io(file: &File) -> DirectIo {
    use rustix::fs::{AtFlags, StatxFlags};
    match rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(stat) if stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => match stat.stx_dio_offset_align {
            0 => DirectIo::Never,
            align => DirectIo::From(align),
        },
        _ => DirectIo::Untold,
    }
}

fn handle(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// While it lives, children inherit the members. They are not inherited for longer: a build that leaves a server behind must not keep them.
#[derive(Debug)]
pub struct Lent<'a> {
    members: &'a [Member],
    /// Another one lends them already, and ends later.
    inner: bool,
}

impl<'a> Lent<'a> {
    pub(super) fn new(members: &'a [Member]) -> Lent<'a> {
        let inner = members.iter().all(|member| fcntl_getfd(&member.file).is_ok_and(|flags| flags.is_empty()));
        let lent = Lent { members, inner };
        lent.set(FdFlags::empty());
        lent
    }

    fn set(&self, flags: FdFlags) {
        for member in self.members {
            // It fails for descriptors that are not open, and these are.
            let _ = fcntl_setfd(&member.file, flags);
            member.generic.iter().for_each(|generic| _ = fcntl_setfd(generic, flags));
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if !self.inner {
            self.set(FdFlags::CLOEXEC);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn children_inherit_what_is_lent_and_nothing_else() {
        let file = tempfile::tempfile_in(".").unwrap();
        let members = [Member::made("file".into(), file).unwrap()];
        let inherited = || Command::new("test").arg("-e").arg(members[0].handle()).status().unwrap().success();
        assert!(!inherited());
        let lent = Lent::new(&members);
        drop(Lent::new(&members));
        assert!(inherited(), "the end of an inner one is not the end of the outer one");
        drop(lent);
        assert!(!inherited());
    }
}
