//! Where the tool makes a file of its own: on a disk.
//!
//! `TMPDIR` is memory (tmpfs) on newer distributions. A file there is no disk, its requests cannot be issued without waiting, and the rows of
//! such a run are all invalid: so another directory is taken, and said.

use super::room::lies_in_memory;
use rustix::fs::Access;
use std::path::{Path, PathBuf};

/// A directory for temporary files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    pub dir: PathBuf,
    /// Why it is not the usual one, or what is wrong with it: a part of a sentence in brackets. Empty where it is as it should be.
    pub why: String,
}

/// `TMPDIR`; where that lies in memory, /var/tmp or the current directory, whichever is on a disk and may be written to.
pub fn choose() -> Scratch {
    let writable = |dir: &Path| rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    let others = [PathBuf::from("/var/tmp"), std::env::current_dir().unwrap_or_default()];
    choose_from(std::env::temp_dir(), others, lies_in_memory, writable)
}

fn choose_from(
    usual: PathBuf,
    others: [PathBuf; 2],
    in_memory: impl Fn(&Path) -> bool,
    writable: impl Fn(&Path) -> bool,
) -> Scratch {
    if !in_memory(&usual) {
        return Scratch { dir: usual, why: String::new() };
    }
    match others.iter().find(|dir| dir.is_absolute() && !in_memory(dir) && writable(dir)) {
        Some(dir) => Scratch { why: format!(" (chosen since TMPDIR, {}, lies in memory)", usual.display()), dir: dir.clone() },
        None => {
            let [first, second] = others.map(|dir| dir.display().to_string());
            let why = format!(
                " (which lies in memory; neither {first} nor {second} is on a disk and may be written to: set TMPDIR to a directory that is)"
            );
            Scratch { dir: usual, why }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_taken_where_the_usual_place_is_memory_and_it_is_said() {
        let choose = |memory: &'static [&str], locked: &'static [&str]| {
            let has = |list: &'static [&str]| move |dir: &Path| list.iter().any(|name| dir == Path::new(name));
            choose_from("/tmp".into(), ["/var/tmp".into(), "/home/me".into()], has(memory), move |dir| !has(locked)(dir))
        };
        assert_eq!(choose(&[], &[]), Scratch { dir: "/tmp".into(), why: String::new() });
        let other = choose(&["/tmp"], &[]);
        assert!(other.dir == Path::new("/var/tmp") && other.why.contains("TMPDIR, /tmp, lies in memory"), "{other:?}");
        assert_eq!(choose(&["/tmp", "/var/tmp"], &[]).dir, Path::new("/home/me"));
        assert_eq!(choose(&["/tmp"], &["/var/tmp"]).dir, Path::new("/home/me"));
        let none = choose(&["/tmp", "/home/me"], &["/var/tmp"]);
        assert!(none.dir == Path::new("/tmp") && none.why.contains("set TMPDIR"), "{none:?}");
    }
}
