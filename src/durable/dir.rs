//! An opened directory. Files in it are named relative to its descriptor, and no link in it is followed: a directory of results may come from
//! somebody else and be read by root.
//!
//! The path by which the user names a directory may hold links. Below it a name is one component, opened with `O_NOFOLLOW`, and directories are
//! opened one in another. That is what `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` of openat2(2) promise, on kernels and under filters without it, too.

use crate::{limits, program, units};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// An opened directory, and what the user calls it.
#[derive(Debug)]
pub struct Dir {
    pub(super) handle: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a directory that the user named.
    pub fn open(path: &Path) -> io::Result<Dir> {
        let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let handle = rustix::fs::open(named, directory() - OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Dir { handle, path: path.into() })
    }

    /// The same to write into, made where there is none, without what a kill left of replacements.
    pub fn create(path: &Path) -> io::Result<Dir> {
        // Nobody else may replace what lies there, whatever the umask allows.
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
        let dir = Dir::open(path)?;
        dir.sweep();
        Ok(dir)
    }

    /// The directory at `path`, made where there is none. Where its path leads through this directory no link below it is followed, although the
    /// user may have named it.
    pub fn create_at(&self, path: &Path) -> io::Result<Dir> {
        let below = path.strip_prefix(&self.path).ok().filter(|_| !self.path.as_os_str().is_empty());
        let inside = |path: &&Path| path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        match below.filter(inside) {
            Some(below) => self.walk(below, |dir, name| dir.make(name)),
            None => Dir::create(path),
        }
    }

    /// The directory at a path from here, which a file names: it leads further in.
    pub fn below(&self, path: &Path) -> io::Result<Dir> {
        self.walk(path, |dir, name| dir.dir(name))
    }

    fn walk(&self, path: &Path, step: impl Fn(&Dir, &OsStr) -> io::Result<Dir>) -> io::Result<Dir> {
        let mut dir = Dir { handle: openat(&self.handle, ".", directory(), Mode::empty())?, path: self.path.clone() };
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) => dir = step(&dir, name)?,
                _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it leads elsewhere than into this directory")),
            }
        }
        Ok(dir)
    }

    /// What the user calls it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the user calls something in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A directory in it.
    pub fn dir(&self, name: impl AsRef<OsStr>) -> io::Result<Dir> {
        let name = component(name.as_ref())?;
        match FileType::from_raw_mode(self.status(name)?.st_mode) {
            FileType::Directory => {}
            other => return Err(unexpected(other, "a directory")),
        }
        Ok(Dir { handle: openat(&self.handle, name, directory(), Mode::empty())?, path: self.join(name) })
    }

    /// The same to write into, made where there is none, without what a kill left of replacements.
    pub fn make(&self, name: impl AsRef<OsStr>) -> io::Result<Dir> {
        match self.make_new(name.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let dir = self.dir(name)?;
                dir.sweep();
                Ok(dir)
            }
            made => made,
        }
    }

    /// True where only root and this user can change what lies in it.
    pub fn is_ours(&self) -> bool {
        program::is_ours(&self.handle)
    }

    /// A directory in it that is new.
    pub fn make_new(&self, name: impl AsRef<OsStr>) -> io::Result<Dir> {
        let name = component(name.as_ref())?;
        mkdirat(&self.handle, name, Mode::from_raw_mode(0o755))?;
        self.dir(name)
    }

    /// Whether there is anything of that name.
    pub fn holds(&self, name: impl AsRef<OsStr>) -> io::Result<bool> {
        match self.status(component(name.as_ref())?) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Names in it, in order.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_os_string();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens a file to be read.
    pub fn file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.opened(name.as_ref(), OFlags::RDONLY)
    }

    /// A whole file.
    pub fn read(&self, name: impl AsRef<OsStr>) -> io::Result<Vec<u8>> {
        whole(&self.file(name)?)
    }

    /// A whole file of at most `most` bytes.
    pub fn read_within(&self, name: impl AsRef<OsStr>, most: u64) -> io::Result<Vec<u8>> {
        whole_within(&self.file(name)?, most)
    }

    /// A whole file of text.
    pub fn text(&self, name: impl AsRef<OsStr>) -> io::Result<String> {
        String::from_utf8(self.read(name)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
    }

    /// A whole file of text; `None` where there is none.
    pub fn maybe_text(&self, name: impl AsRef<OsStr>) -> io::Result<Option<String>> {
        match self.text(name) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a file begins with these bytes.
    pub fn begins(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<bool> {
        let mut found = Vec::new();
        self.file(name)?.take(bytes.len() as u64).read_to_end(&mut found)?;
        Ok(found == bytes)
    }

    /// Appends to a file that exists; on disk when it returns.
    pub fn append(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.own(name.as_ref(), OFlags::WRONLY | OFlags::APPEND)?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    /// Whether a file has its first `length` bytes to be cut to. An error of kind `UnexpectedEof` where it has fewer.
    pub fn can_cut(&self, name: impl AsRef<OsStr>, length: u64) -> io::Result<()> {
        self.cuttable(name.as_ref(), length).map(drop)
    }

    /// Cuts a file to its first `length` bytes; errors as those of [`Dir::can_cut`].
    pub fn cut(&self, name: impl AsRef<OsStr>, length: u64) -> io::Result<()> {
        let file = self.cuttable(name.as_ref(), length)?;
        file.set_len(length)?;
        file.sync_data()
    }

    fn cuttable(&self, name: &OsStr, length: u64) -> io::Result<File> {
        let file = self.own(name, OFlags::WRONLY)?;
        let has = file.metadata()?.len();
        if has < length {
            let reason = format!("{has} bytes are left of {length} that were written");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        Ok(file)
    }

    /// Empties a file, or makes it, and opens it to be read and appended to.
    pub fn log(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.replace(name.as_ref(), b"")?;
        self.own(name.as_ref(), OFlags::RDWR | OFlags::APPEND)
    }

    /// Removes a file, or a link.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(&self.handle, component(name.as_ref())?, AtFlags::empty())?)
    }

    /// Removes a directory that is empty.
    pub fn remove_dir(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(&self.handle, component(name.as_ref())?, AtFlags::REMOVEDIR)?)
    }

    /// A regular file by its name alone. To open a device may do something, and to open a FIFO may wait: what it is is asked before and, as it may
    /// be another by then, behind.
    fn opened(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let name = component(name)?;
        regular(&self.status(name)?)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&self.handle, name, flags, Mode::empty())?);
        regular(&fstat(&file)?)?;
        Ok(file)
    }

    /// The same of a file that is changed in place, which must have no other name: that may lie anywhere.
    fn own(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let file = self.opened(name, flags)?;
        match fstat(&file)?.st_nlink {
            0 | 1 => Ok(file),
            names => {
                let reason =
                    format!("it has {names} names (hard links), and the others would change with it; put a copy in its place");
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
        }
    }

    fn status(&self, name: &OsStr) -> Result<Stat, Errno> {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Opens a regular file that the user named, by whatever links, to be read.
pub fn open_named(path: &Path) -> io::Result<File> {
    regular(&rustix::fs::stat(path)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    regular(&fstat(&file)?)?;
    Ok(file)
}

/// All of an opened file.
pub fn whole(file: &File) -> io::Result<Vec<u8>> {
    whole_within(file, limits::FILE_BYTES)
}

/// All of an opened file of at most `most` bytes.
pub fn whole_within(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let too_large = |length: u64| {
        let [has, most] = [length, most].map(units::size_words);
        let reason = format!("it has {has} and is larger than {most}, the most that is read of it");
        io::Error::new(io::ErrorKind::FileTooLarge, reason)
    };
    let length = file.metadata()?.len();
    if length > most {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(length as usize + 1);
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// A name that leads nowhere else.
pub(super) fn component(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    let leads_elsewhere = bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| matches!(b, b'/' | 0));
    if leads_elsewhere {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of a file in a directory")));
    }
    Ok(name)
}

fn regular(status: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(unexpected(other, "a regular file")),
    }
}

fn unexpected(found: FileType, wanted: &str) -> io::Error {
    let found = match found {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link, which is not followed here",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "something unknown",
    };
    io::Error::new(io::ErrorKind::InvalidData, format!("it is {found}; {wanted} is needed in its place"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A directory with a file, a link to it, a directory and a link to that.
    fn home() -> (tempfile::TempDir, Dir) {
        let home = tempfile::tempdir().unwrap();
        let dir = Dir::create(&home.path().join("inside")).unwrap();
        fs::write(dir.join("file"), "text").unwrap();
        fs::create_dir(dir.join("dir")).unwrap();
        symlink("file", dir.join("link")).unwrap();
        symlink("dir", dir.join("dirlink")).unwrap();
        (home, dir)
    }

    #[test]
    fn a_name_is_one_component() {
        let (home, dir) = home();
        fs::write(home.path().join("outside"), "text").unwrap();
        let absolute = home.path().join("outside");
        for name in ["", ".", "..", "../outside", "dir/../../outside", "dir/", absolute.to_str().unwrap(), "a\0b"] {
            let kinds = [dir.read(name).err(), dir.replace(name, b"x").err(), dir.make(name).err(), dir.remove(name).err()];
            assert!(
                kinds.iter().all(|e| e.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::InvalidInput)),
                "{name:?}: {kinds:?}"
            );
        }
        assert_eq!(fs::read_to_string(home.path().join("outside")).unwrap(), "text");
    }

    #[test]
    fn no_link_is_followed_and_one_is_replaced() {
        let (_home, dir) = home();
        assert_eq!(dir.text("file").unwrap(), "text");
        let refused = [
            dir.read("link").err(),
            dir.append("link", b"x").err(),
            dir.cut("link", 0).err(),
            dir.dir("dirlink").err(),
            dir.read("dir").err(),
        ];
        assert!(refused.iter().all(|e| e.as_ref().is_some_and(|e| e.kind() == io::ErrorKind::InvalidData)), "{refused:?}");
        assert!(dir.create_at(&dir.join("dirlink/plots")).is_err() && dir.below(Path::new("dir/../dir")).is_err());
        dir.replace("link", b"new").unwrap();
        assert_eq!((dir.text("link").unwrap().as_str(), dir.text("file").unwrap().as_str()), ("new", "text"));
        assert!(dir.holds("dirlink").unwrap() && !dir.holds("nothing").unwrap());
    }

    #[test]
    fn a_file_is_cut_where_it_is_long_enough_and_has_no_other_name() {
        let (_home, dir) = home();
        assert_eq!(dir.can_cut("file", 5).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        dir.can_cut("file", 1).unwrap();
        assert_eq!(dir.text("file").unwrap(), "text");
        dir.cut("file", 1).unwrap();
        dir.append("file", b"wo").unwrap();
        assert_eq!(dir.text("file").unwrap(), "two");
        fs::hard_link(dir.join("file"), dir.join("other")).unwrap();
        assert!(dir.append("file", b"x").unwrap_err().to_string().contains("hard links"));
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let (_home, dir) = home();
        fs::File::create(dir.join("large")).unwrap().set_len(limits::FILE_BYTES + 1).unwrap();
        assert_eq!(dir.read("large").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_temporary_file_that_is_being_written_outlives_a_sweep() {
        let (_home, dir) = home();
        for name in [".uring-ablate-1-2.tmp", ".uring-ablate-3-4.tmp", ".uring-ablate-x.tmp", ".tmpabc"] {
            fs::write(dir.join(name), "").unwrap();
        }
        let written = fs::File::open(dir.join(".uring-ablate-3-4.tmp")).unwrap();
        rustix::fs::flock(&written, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(dir.lock().unwrap());
        let hidden: Vec<OsString> = dir.names().unwrap().into_iter().filter(|n| n.as_bytes().starts_with(b".")).collect();
        assert_eq!(hidden, [".tmpabc", ".uring-ablate-3-4.tmp", ".uring-ablate-x.tmp"]);
        assert!(!Dir::open(dir.path()).unwrap().lock().unwrap(), "one at a time");
    }
}
