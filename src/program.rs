//! Which file a program's name stands for: decided once, in one way, for what is shown, asked about and started.
//!
//! A name with a slash is a path, from the current directory where it is relative. Any other name is looked for on PATH, in directories that
//! only root and the user can write to: what anybody may put there is not started in somebody else's name.

use rustix::fs::{Mode, Stat};
use std::env;
use std::ffi::OsStr;
use std::os::fd::AsFd;
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
}
