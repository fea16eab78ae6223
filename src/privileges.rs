//! Gives up what a verb does not need of root before it reads anything that others wrote.
//!
//! A verb that only reads files and derives others from them becomes the user to whom the place belongs that it writes to, or, writing nothing, to whom
//! what it reads belongs: so links can lead it nowhere that the owner could not go, and what it derives belongs to the owner. Where that is root's, root
//! stays, without capabilities. What was opened before stays open; there is no way back (capabilities(7), setresuid(2)).

use nix::unistd::{Gid, Uid, User, initgroups, setgroups, setresgid, setresuid};
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why privileges could not be given up, or why nothing can be done without them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{first} belongs to user {owner} and {second} to user {other}, and files are written as one of them: write both to places of one user",
        first = first.display(), second = second.display()
    )]
    Mixed { first: PathBuf, owner: u32, second: PathBuf, other: u32 },
    #[error(
        "user {uid} may not {verb} {path}. This verb gives up root and works as user {uid}, to whom {place} belongs: copy {path} to where that user can {verb} it, or choose another place",
        path = path.display(), place = place.display()
    )]
    Closed { verb: &'static str, path: PathBuf, uid: u32, place: PathBuf },
    #[error("cannot give up the privileges of root: {0}")]
    Kept(#[from] io::Error),
    #[error("privileges are given up before other threads start, and there are {0}")]
    Threads(usize),
}

impl From<nix::Error> for Error {
    fn from(error: nix::Error) -> Error {
        Error::Kept(error.into())
    }
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Error {
        Error::Kept(error.into())
    }
}

/// What setting up a ring needs here: where the sysctl `io_uring_disabled` is 1, rings are root's (Documentation/admin-guide/sysctl/kernel.rst).
pub fn of_rings() -> CapabilitySet {
    let roots = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|level| level.trim() == "1");
    if roots { CapabilitySet::SYS_ADMIN } else { CapabilitySet::empty() }
}

/// What a verb goes on to do.
#[derive(Debug)]
pub struct Needs<'a> {
    pub reads: Vec<&'a Path>,
    /// Directories, made where there are none.
    pub writes: Vec<&'a Path>,
    /// Capabilities without which it would answer otherwise.
    pub keeps: CapabilitySet,
}

impl Default for Needs<'_> {
    fn default() -> Self {
        Needs { reads: vec![], writes: vec![], keeps: CapabilitySet::empty() }
    }
}

/// Gives up everything else, for good.
pub fn shed(needs: &Needs<'_>) -> Result<(), Error> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(Error::Threads(threads));
    }
    let mut keeps = needs.keeps;
    if nix::unistd::geteuid().is_root() {
        match owner(needs)? {
            Some((place, uid)) if uid != 0 && may_become()? => {
                become_user(uid)?;
                keeps = CapabilitySet::empty();
                reachable(needs, place, uid)?;
            }
            // Reading what others keep to themselves, and nothing else of root.
            _ if needs.reads.iter().any(|path| uid_of(path) != Some(0)) => keeps |= CapabilitySet::DAC_READ_SEARCH,
            _ => {}
        }
    }
    keep(keeps)
}

/// To whom the place belongs that decides.
fn owner<'a>(needs: &Needs<'a>) -> Result<Option<(&'a Path, u32)>, Error> {
    let known = |paths: &[&'a Path]| paths.iter().filter_map(|path| Some((*path, uid_of(path)?))).collect::<Vec<_>>();
    let (writes, reads) = (known(&needs.writes), known(&needs.reads));
    match (writes.first().copied(), another(&writes)) {
        (Some((first, owner)), Some((second, other))) => {
            Err(Error::Mixed { first: first.into(), owner, second: second.into(), other })
        }
        (Some(place), None) => Ok(Some(place)),
        (None, _) => Ok(reads.first().copied().filter(|_| another(&reads).is_none())),
    }
}

/// The first place that belongs to somebody else than the first one.
fn another<'a>(places: &[(&'a Path, u32)]) -> Option<(&'a Path, u32)> {
    places.iter().find(|(_, uid)| *uid != places[0].1).copied()
}

/// To whom a path belongs, or, where it is not there yet, the nearest directory above it.
fn uid_of(path: &Path) -> Option<u32> {
    let whole = std::path::absolute(path).ok()?;
    whole.ancestors().find_map(|path| fs::metadata(path).ok()).map(|meta| meta.uid())
}

/// Root of a service without capabilities cannot become anybody, and has none to give up.
fn may_become() -> Result<bool, Error> {
    Ok(capabilities(None)?.effective.contains(CapabilitySet::SETUID | CapabilitySet::SETGID))
}

/// Becomes a user with the groups that this user has; one that the machine does not know has none. The group of a directory would not do: where
/// directories hand their group down, it is not one of the owner's.
fn become_user(uid: u32) -> Result<(), Error> {
    let user = Uid::from_raw(uid);
    let group = match User::from_uid(user)? {
        Some(known) => {
            initgroups(&CString::new(known.name).map_err(io::Error::from)?, known.gid)?;
            known.gid
        }
        None => {
            setgroups(&[])?;
            Gid::from_raw(overflow_gid())
        }
    };
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(())
}

/// The group of files whose group is not known: a group of nobody's.
fn overflow_gid() -> u32 {
    let told = fs::read_to_string("/proc/sys/kernel/overflowgid").ok();
    told.and_then(|gid| gid.trim().parse().ok()).unwrap_or(65534)
}

/// Says at once what would fail later with less of a reason.
fn reachable(needs: &Needs<'_>, place: &Path, uid: u32) -> Result<(), Error> {
    let reads = needs.reads.iter().map(|path| ("read", *path, Access::READ_OK));
    let writes = needs.writes.iter().map(|path| ("reach", *path, Access::EXISTS));
    for (verb, path, wanted) in reads.chain(writes) {
        // Whatever else is wrong, the verb itself says better.
        if rustix::fs::access(path, wanted) == Err(Errno::ACCESS) {
            return Err(Error::Closed { verb, path: path.into(), uid, place: place.into() });
        }
    }
    Ok(())
}

/// Keeps `wanted` of the capabilities at hand, and lets no program that is started have more.
fn keep(wanted: CapabilitySet) -> Result<(), Error> {
    let kept = capabilities(None)?.permitted & wanted;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    set_no_new_privs(true)?;
    Ok(())
}
