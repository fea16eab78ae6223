//! Which file a program's name stands for: decided once, in one way, for what is shown, asked about and started.
//!
//! A name with a slash is a path, from the current directory where it is relative. Any other name is looked for on PATH, in directories that
//! only root and the user can write to: what anybody may put there is not started in somebody else's name.

use rustix::fs::{Mode, Stat};
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file that `name` stands for, by its absolute path; it need not exist where the name is a path. `None` where PATH has no such program.
pub fn find(name: &Path) -> Option<PathBuf> {
    if name.as_os_str().as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    on_path(name, &env::var_os("PATH").unwrap_or_default())
}

fn on_path(name: &Path, path: &OsStr) -> Option<PathBuf> {
    let named = !name.as_os_str().is_empty();
    let places = env::split_paths(path).filter(|dir| named && dir.is_absolute() && is_safe(dir));
    places.map(|dir| dir.join(name)).find(|file| is_program(file) && is_safe(file))
}

/// A regular file that somebody may execute.
pub fn is_program(file: &Path) -> bool {
    let executable = |stat: Stat| Mode::from_raw_mode(stat.st_mode).intersects(Mode::XUSR | Mode::XGRP | Mode::XOTH);
    file.is_file() && rustix::fs::stat(file).is_ok_and(executable)
}

/// As [`is_ours`]. Links are followed: their target is what counts.
fn is_safe(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| belongs_to_us(&stat))
}

/// True for what belongs to root or to the user, and what nobody else may write to.
pub fn is_ours(open: impl AsFd) -> bool {
    rustix::fs::fstat(open).is_ok_and(|stat| belongs_to_us(&stat))
}

fn belongs_to_us(stat: &Stat) -> bool {
    let own = rustix::process::geteuid().as_raw();
    // Many systems give each user a group of his own, under his own number, that may write to what he has.
    let group = if [0, own].contains(&stat.st_gid) { Mode::empty() } else { Mode::WGRP };
    [0, own].contains(&stat.st_uid) && !Mode::from_raw_mode(stat.st_mode).intersects(group | Mode::WOTH)
}

/// A program that is held open. A script needs its own path (`$0`), so a program may have to be started by it, and then has to be checked: what is
/// put in its place is another program.
#[derive(Debug)]
pub struct Held {
    pub path: PathBuf,
    pub file: File,
    then: Stat,
}

/// A program that is not the one that is held.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is no longer the program that is measured: {how}", path = path.display())]
pub struct Replaced {
    path: PathBuf,
    how: String,
}

impl Held {
    /// Of the file at `path`, opened.
    pub fn new(path: PathBuf, file: File) -> io::Result<Held> {
        let then = rustix::fs::fstat(&file)?;
        Ok(Held { path, file, then })
    }

    /// A path to this very file, whatever has its name by now.
    pub fn very_file(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Checks that the file at the path is the one that is held, as it was when it was opened. As it is held, no other can have its number.
    pub fn check(&self) -> Result<(), Replaced> {
        let then = &self.then;
        let how = match rustix::fs::stat(&self.path) {
            Err(error) => format!("it cannot be found ({})", io::Error::from(error)),
            Ok(now) if (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino) => "another file has its name".into(),
            Ok(now) if (now.st_size, now.st_mtime, now.st_mtime_nsec) != (then.st_size, then.st_mtime, then.st_mtime_nsec) => {
                "it was written to".into()
            }
            Ok(now) if (now.st_ctime, now.st_ctime_nsec) != (then.st_ctime, then.st_ctime_nsec) => {
                "its inode was changed meanwhile (mode, owner, links or times)".into()
            }
            Ok(_) => return Ok(()),
        };
        Err(Replaced { path: self.path.clone(), how })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn names_are_looked_for_where_nobody_else_can_write() {
        let home = tempfile::tempdir().unwrap();
        for (dir, mode) in [("theirs", 0o777), ("ours", 0o755)] {
            let dir = home.path().join(dir);
            create_dir(&dir).unwrap();
            write(dir.join("tool"), "#!/bin/sh\n").unwrap();
            set_permissions(dir.join("tool"), Permissions::from_mode(0o755)).unwrap();
            set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        }
        let path = env::join_paths(["theirs", "ours"].map(|dir| home.path().join(dir))).unwrap();
        let found = |name: &str| on_path(Path::new(name), &path);
        assert_eq!(found("tool"), Some(home.path().join("ours/tool")));
        set_permissions(home.path().join("ours/tool"), Permissions::from_mode(0o757)).unwrap();
        assert_eq!(found("tool"), None, "others may write to the file");
        set_permissions(home.path().join("ours/tool"), Permissions::from_mode(0o644)).unwrap();
        assert_eq!((found("tool"), found("")), (None, None), "no program");
        assert_eq!(on_path(Path::new("tool"), OsStr::new(".:relative:")), None);
    }

    #[test]
    fn paths_are_taken_from_the_current_directory() {
        let here = env::current_dir().unwrap();
        assert_eq!(find(Path::new("./evil")), Some(here.join("evil")));
        assert_eq!(find(Path::new("bin/evil")), Some(here.join("bin/evil")));
        assert_eq!(find(Path::new("/nonexistent/fio")), Some("/nonexistent/fio".into()));
        assert_eq!(find(Path::new("surely-no-such-program")), None);
    }

    #[test]
    fn a_program_is_told_from_what_takes_its_place() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("program");
        let hold = || {
            write(&path, "one").unwrap();
            Held::new(path.clone(), File::open(&path).unwrap()).unwrap()
        };
        let how = |held: &Held| held.check().map_err(|replaced| replaced.how);
        let held = hold();
        assert_eq!(how(&held), Ok(()));
        write(home.path().join("other"), "two").unwrap();
        std::fs::rename(home.path().join("other"), &path).unwrap();
        assert_eq!(how(&held), Err("another file has its name".into()));
        let held = hold();
        File::options().append(true).open(&path).unwrap().set_len(1).unwrap();
        assert_eq!(how(&held), Err("it was written to".into()));
        let held = hold();
        std::thread::sleep(std::time::Duration::from_millis(20));
        set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(how(&held), Err("its inode was changed meanwhile (mode, owner, links or times)".into()));
        std::fs::remove_file(&path).unwrap();
        assert!(how(&held).unwrap_err().starts_with("it cannot be found (No such file"));
        assert_eq!(std::fs::read_to_string(held.very_file()).unwrap(), "one", "and is there all the same");
    }
}
