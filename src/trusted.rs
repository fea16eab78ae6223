//! What a user has agreed to run, remembered by its hash in a file of his own: `uring-ablate/trusted` below `$XDG_STATE_HOME`, else below
//! `~/.local/state`.
//!
//! Nobody else may be able to write there, or he could agree in the user's name: the directories and the file must be the user's own and closed
//! to others, and the last two are no links. For root the home is that of the password file, whatever `HOME` says under sudo.

use crate::limits;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat};
use sha2::{Digest, Sha256};
use std::env;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "uring-ablate";
const FILE: &str = "trusted";

/// SHA-256 of parts that are told apart, in hexadecimal digits.
pub fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file of one user, by the directory that holds the state of all his programs.
#[derive(Debug)]
pub struct Trusted {
    state: PathBuf,
}

impl Trusted {
    /// That of the user who runs this.
    pub fn of_this_user() -> io::Result<Trusted> {
        let named = |name| env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let user = nix::unistd::geteuid();
        let listed = || nix::unistd::User::from_uid(user).ok().flatten().map(|user| user.dir);
        let home = || named("HOME").filter(|_| !user.is_root()).or_else(listed);
        let state = named("XDG_STATE_HOME").or_else(|| Some(home()?.join(".local/state")));
        state.map(|state| Trusted { state }).ok_or_else(|| io::Error::other("this user has no home directory"))
    }

    /// Whether a hash was agreed to.
    pub fn holds(&self, hash: &str) -> io::Result<bool> {
        let file = match self.directory().and_then(|dir| own(&dir, FILE, OFlags::RDONLY, FileType::RegularFile)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => File::from(file?),
        };
        let mut text = String::new();
        file.take(limits::TRUSTED_BYTES).read_to_string(&mut text)?;
        Ok(text.lines().any(|line| line.split(' ').next() == Some(hash)))
    }

    /// Remembers a hash, with a word on what it is of.
    pub fn add(&self, hash: &str, what: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.state)?;
        match mkdirat(&self.home()?, DIRECTORY, Mode::RWXU) {
            Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        let mut file = File::from(own(&self.directory()?, FILE, flags, FileType::RegularFile)?);
        // One write: two calls at once leave two lines.
        file.write_all(format!("{hash} {what:?}\n").as_bytes())?;
        file.sync_data()
    }

    /// The directory of all his programs, which may be a link of the user's own.
    fn home(&self) -> io::Result<OwnedFd> {
        let home = openat(CWD, &self.state, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        closed(home, &self.state.display().to_string(), FileType::Directory)
    }

    fn directory(&self) -> io::Result<OwnedFd> {
        own(&self.home()?, DIRECTORY, OFlags::RDONLY | OFlags::DIRECTORY, FileType::Directory)
    }
}

/// Opens what must be the user's own, without following a link or waiting for a pipe.
fn own(dir: &OwnedFd, name: &str, flags: OFlags, kind: FileType) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    closed(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?, name, kind)
}

/// Refuses what is not of this kind, what belongs to somebody else, and what others may write to.
fn closed(file: OwnedFd, name: &str, kind: FileType) -> io::Result<OwnedFd> {
    let stat = fstat(&file)?;
    let others = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    match stat.st_uid == rustix::process::geteuid().as_raw() && !others && FileType::from_raw_mode(stat.st_mode) == kind {
        true => Ok(file),
        false => Err(io::Error::other(format!("{name} must be this user's own, and nobody else may write to it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn trusted() -> (tempfile::TempDir, Trusted) {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("a/state");
        (home, Trusted { state })
    }

    #[test]
    fn what_was_agreed_to_is_remembered_in_a_closed_file() {
        let (_home, trusted) = trusted();
        let (one, other) = (hash([&b"a"[..], b"bc"]), hash([&b"ab"[..], b"c"]));
        assert_ne!(one, other);
        assert_eq!(hash([]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(!trusted.holds(&one).unwrap());
        trusted.add(&one, Path::new("evil\n0000 file")).unwrap();
        assert_eq!([&one, &other, "0000", ""].map(|h| trusted.holds(h).unwrap()), [true, false, false, false]);
        trusted.add(&other, Path::new("x")).unwrap();
        assert!(trusted.holds(&one).unwrap() && trusted.holds(&other).unwrap());
        let mode = |path: &str| fs::metadata(trusted.state.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(""), mode(DIRECTORY), mode("uring-ablate/trusted")], [0o700, 0o700, 0o600]);
    }

    #[test]
    fn of_a_file_that_is_too_large_the_beginning_is_read() {
        let (_home, trusted) = trusted();
        trusted.add("first", Path::new("x")).unwrap();
        let file = trusted.state.join(DIRECTORY).join(FILE);
        File::options().append(true).open(file).unwrap().write_all(&vec![b'\n'; limits::TRUSTED_BYTES as usize]).unwrap();
        trusted.add("last", Path::new("x")).unwrap();
        assert!(trusted.holds("first").unwrap() && !trusted.holds("last").unwrap(), "who agreed beyond the limit is asked again");
    }

    #[test]
    fn a_place_that_others_can_write_to_is_not_believed() {
        let (home, trusted) = trusted();
        trusted.add("aa", Path::new("x")).unwrap();
        let (dir, file) = (trusted.state.join(DIRECTORY), trusted.state.join(DIRECTORY).join(FILE));
        for (place, open, closed) in [(&file, 0o620, 0o600), (&dir, 0o777, 0o700), (&trusted.state, 0o770, 0o700)] {
            set_permissions(place, Permissions::from_mode(open)).unwrap();
            assert!(trusted.holds("aa").unwrap_err().to_string().contains("nobody else"), "{}", place.display());
            assert!(trusted.add("bb", Path::new("x")).is_err());
            set_permissions(place, Permissions::from_mode(closed)).unwrap();
        }
        let theirs = home.path().join("theirs");
        fs::rename(&file, &theirs).unwrap();
        symlink(&theirs, &file).unwrap();
        assert!(trusted.holds("aa").is_err() && trusted.add("bb", Path::new("x")).is_err(), "a link");
        fs::remove_file(&file).unwrap();
        rustix::fs::mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(trusted.holds("aa").is_err() && trusted.add("bb", Path::new("x")).is_err(), "a pipe");
        assert_eq!(fs::read_to_string(theirs).unwrap(), "aa \"x\"\n");
    }
}
