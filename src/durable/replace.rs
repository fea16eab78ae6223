//! How a file replaces another in an opened directory, whole or not at all, and what a kill leaves of that.

use super::dir::{Dir, component};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Around the number of a file that is about to replace another.
const TEMPORARY: (&str, &str) = (".uring-ablate-", ".tmp");

/// The mode of a file that is not run.
const DATA: u32 = 0o644;
/// The mode of a program.
pub const PROGRAM: u32 = 0o755;

impl Dir {
    /// Writes a whole file: who reads it meanwhile, or after a crash, sees the old one or the new one. A link of that name is replaced, too.
    pub fn replace(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
        self.replace_as(name, bytes, DATA)
    }

    /// The same with a mode.
    pub fn replace_as(&self, name: impl AsRef<OsStr>, bytes: &[u8], mode: u32) -> io::Result<()> {
        let name = component(name.as_ref())?;
        let (temporary, mut file) = self.temporary(mode)?;
        let written = file.write_all(bytes).and_then(|()| {
            file.sync_data()?;
            Ok(renameat(&self.handle, &temporary, &self.handle, name)?)
        });
        if written.is_err() {
            let _ = unlinkat(&self.handle, &temporary, AtFlags::empty());
        }
        written?;
        Ok(fsync(&self.handle)?)
    }

    /// A new file for a moment. It is locked for as long as it is being written, which tells it from what a kill left.
    fn temporary(&self, mode: u32) -> io::Result<(String, File)> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..1000 {
            let name = format!("{}{}-{}{}", TEMPORARY.0, std::process::id(), NUMBER.fetch_add(1, Relaxed), TEMPORARY.1);
            let file = match openat(&self.handle, &name, flags, Mode::from_raw_mode(mode)) {
                Ok(handle) => File::from(handle),
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            // Where a sweep was faster the file is gone, or about to be; where there are no locks there is no sweep.
            let swept = flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK);
            if !swept && fstat(&file)?.st_nlink > 0 {
                return Ok((name, file));
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no name is left for a temporary file"))
    }

    /// Takes the directory for this process, for as long as the value lives, and removes what a kill left of replacements in it. False where
    /// another process has it.
    pub fn lock(&self) -> io::Result<bool> {
        match flock(&self.handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.sweep();
                Ok(true)
            }
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(no_lock(error)),
        }
    }

    /// Removes files that were to replace others when their writer was killed; what cannot be removed does no harm.
    pub fn sweep(&self) {
        for name in self.names().into_iter().flatten().filter(|name| is_temporary(name)) {
            let free = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if self.file(&name).is_ok_and(|file| free(&file)) {
                let _ = self.remove(&name);
            }
        }
    }
}

/// Whether a name is one of ours for a file that is about to replace another.
pub fn is_temporary(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|n| n.strip_prefix(TEMPORARY.0)?.strip_suffix(TEMPORARY.1));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
}

/// Network file systems may have no locks; NFS asks for a descriptor that may be written to, which a directory never has.
fn no_lock(error: Errno) -> io::Error {
    match error {
        Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF => {
            let reason = format!("its file system cannot lock directories ({error}); name a directory on a local file system");
            io::Error::new(io::ErrorKind::Unsupported, reason)
        }
        error => error.into(),
    }
}
