//! Which control groups this process is in: for every hierarchy the directories of its groups, in version 1, in version 2 and where both are
//! mounted. The only reader of `/proc/self/cgroup`; everything that asks a group for its limits, counts or a place begins here.
//!
//! cgroups(7) describes the table, cgroup_namespaces(7) why its paths may lead out of what a process sees, and the kernel's
//! Documentation/admin-guide/cgroup-v1/cgroups.rst and cgroup-v2.rst the files by which a root is known.

use crate::mounts::{self, Mount};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Of a hierarchy of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// What limits and counts a resource; each belongs to one hierarchy at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Cpu,
    Memory,
}

impl Controller {
    /// As the kernel's tables call it.
    fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Memory => "memory",
        }
    }
}

/// The groups of this process in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    pub version: Version,
    /// Directories, from the process's own group up to the topmost that can be seen; one at least.
    pub dirs: Vec<PathBuf>,
    /// The last is the root of the hierarchy; else there are groups above it that cannot be seen, as in a container.
    pub whole: bool,
}

/// The groups of this process that may limit a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    pub lineages: Vec<Lineage>,
    /// No group that limits the resource is out of sight.
    pub whole: bool,
}

impl Groups {
    /// The directories of all of them, the nearest of each hierarchy first.
    pub fn dirs(&self) -> impl Iterator<Item = (Version, &Path)> {
        self.lineages.iter().flat_map(|lineage| lineage.dirs.iter().map(|dir| (lineage.version, dir.as_path())))
    }
}

/// Where the tables of a process and the files of groups are: `/`, but in tests.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub root: &'a Path,
}

impl View<'_> {
    /// What this process sees.
    pub fn of_this_process() -> View<'static> {
        View { root: Path::new("/") }
    }

    /// A file by its path without the leading slash; empty where it cannot be read.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    /// This process's groups in the hierarchy of version 2; `None` where that is not mounted.
    pub fn unified(&self) -> Option<Lineage> {
        self.lineage(None, &self.memberships(), &self.mounts())
    }

    /// This process's groups that may limit a resource.
    pub fn groups(&self, controller: Controller) -> Groups {
        let (memberships, mounts) = (self.memberships(), self.mounts());
        let of = |controller| self.lineage(controller, &memberships, &mounts);
        let lineages: Vec<Lineage> = [of(Some(controller)), of(None)].into_iter().flatten().collect();
        // Bound to a hierarchy of version 1, it is not in version 2.
        let first = memberships.iter().any(|m| m.is_of(Some(controller)));
        let version = if first { Version::One } else { Version::Two };
        let whole = lineages.iter().any(|lineage| lineage.version == version && lineage.whole);
        Groups { lineages, whole }
    }

    fn memberships(&self) -> Vec<Membership> {
        memberships(&self.read("proc/self/cgroup"))
    }

    fn mounts(&self) -> Vec<Mount> {
        mounts::parse(&self.read("proc/self/mountinfo"))
    }

    /// The groups in the hierarchy of version 1 that has the controller, or in that of version 2.
    fn lineage(&self, controller: Option<Controller>, memberships: &[Membership], mounts: &[Mount]) -> Option<Lineage> {
        let version = if controller.is_some() { Version::One } else { Version::Two };
        let shows = |mount: &&Mount| match controller {
            Some(controller) => mount.kind == "cgroup" && mount.options.1.split(',').any(|o| o == controller.name()),
            None => mount.kind == "cgroup2",
        };
        let mut shown: Vec<&Mount> = mounts::reachable(mounts, shows).collect();
        if shown.is_empty() {
            // What is mounted over the root of a process hides nothing from it.
            shown = mounts.iter().filter(shows).collect();
        }
        let top = |mount: &Mount| self.root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
        let own = memberships.iter().find(|m| m.is_of(controller)).map(|m| m.group.as_path());
        let place = |mount: &&Mount| {
            let (top, below) = (top(mount), below(own?, &mount.root)?);
            top.join(below).is_dir().then(|| (below.components().count(), top, below))
        };
        // A group may be mounted at several places, whole or in part: the one that shows most of the groups above. A container may see a part
        // of the tree alone, under a path that its processes' groups do not begin with: then the group that is mounted is the nearest known.
        let mut places: Vec<(usize, PathBuf, &Path)> = shown.iter().filter_map(place).collect();
        places.sort_by_key(|(depth, ..)| std::cmp::Reverse(*depth));
        let known = places.into_iter().next().map(|(_, top, below)| (is_root(version, &top), top, below));
        let mounted = || shown.iter().map(|mount| top(mount)).find(|top| top.is_dir());
        let (whole, top, below) = known.or_else(|| Some((false, mounted()?, Path::new(""))))?;
        let dirs = below.ancestors().map(|part| if part == Path::new("") { top.clone() } else { top.join(part) }).collect();
        Some(Lineage { version, dirs, whole })
    }
}

/// A group's path below the one that is mounted. `None` where it lies elsewhere: "/.." is outside of the process's own name space.
fn below<'a>(group: &'a Path, mounted: &Path) -> Option<&'a Path> {
    let below = group.strip_prefix(mounted).ok()?;
    below.components().all(|part| matches!(part, Component::Normal(_))).then_some(below)
}

/// By the files that roots alone have, or lack; where a name space ends looks like a root by its path.
fn is_root(version: Version, dir: &Path) -> bool {
    match version {
        Version::One => dir.join("release_agent").exists(),
        Version::Two => dir.join("cgroup.procs").exists() && !dir.join("cgroup.events").exists(),
    }
}

/// A line of `/proc/self/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Of a hierarchy of version 1; none for version 2.
    pub controllers: Vec<String>,
    /// From the root of the hierarchy, or of the process's name space, with its leading slash.
    pub group: PathBuf,
}

impl Membership {
    fn is_of(&self, controller: Option<Controller>) -> bool {
        match controller {
            Some(controller) => self.controllers.iter().any(|c| c == controller.name()),
            None => self.controllers.is_empty(),
        }
    }
}

/// The lines of such a table that read as they should. Its paths are not escaped.
pub fn memberships(table: &str) -> Vec<Membership> {
    let line = |line: &str| {
        let [_, controllers, group] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { return None };
        let controllers = controllers.split(',').filter(|c| !c.is_empty()).map(String::from).collect();
        group.starts_with('/').then(|| Membership { controllers, group: group.into() })
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
pub mod tree {
    //! Made machines: a tree of files and a view of it.

    use super::*;

    /// Tables of hierarchies as the kernel writes them.
    pub const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                          36 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          37 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
    pub const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    pub const UNIFIED: &str = "41 31 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    /// A directory with these files, by their paths without a leading slash.
    pub fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        home
    }
}

#[cfg(test)]
mod tests {
    use super::tree::{UNIFIED, V1, V2, tree};
    use super::*;

    const MOUNTS: &str = "proc/self/mountinfo";
    const OWN: &str = "proc/self/cgroup";

    /// The groups for the CPU by their paths, and whether none is out of sight.
    fn seen(files: &[(&str, &str)]) -> (Vec<Vec<String>>, bool) {
        let home = tree(files);
        let groups = View { root: home.path() }.groups(Controller::Cpu);
        let name = |dir: &PathBuf| dir.strip_prefix(home.path()).unwrap().display().to_string();
        (groups.lineages.iter().map(|l| l.dirs.iter().map(name).collect()).collect(), groups.whole)
    }

    fn paths(all: &[&[&str]]) -> Vec<Vec<String>> {
        all.iter().map(|dirs| dirs.iter().map(|dir| dir.to_string()).collect()).collect()
    }

    #[test]
    fn version_two_from_the_own_group_to_the_root() {
        let files = [
            (MOUNTS, V2),
            (OWN, "0::/a.slice/b:c.scope\n"),
            ("sys/fs/cgroup/a.slice/b:c.scope/cgroup.events", ""),
            ("sys/fs/cgroup/cgroup.procs", ""),
        ];
        let dirs = ["sys/fs/cgroup/a.slice/b:c.scope", "sys/fs/cgroup/a.slice", "sys/fs/cgroup"];
        assert_eq!(seen(&files), (paths(&[&dirs]), true));
        let container = [(MOUNTS, V2), (OWN, "0::/\n"), ("sys/fs/cgroup/cgroup.procs", ""), ("sys/fs/cgroup/cgroup.events", "")];
        assert_eq!(seen(&container), (paths(&[&["sys/fs/cgroup"]]), false), "the root of a name space is no root");
    }

    #[test]
    fn version_one_by_its_controller() {
        let files = [
            (MOUNTS, V1),
            (OWN, "5:memory:/elsewhere\n4:cpuacct,cpu:/job/step\n1:name=systemd:/x\n"),
            ("sys/fs/cgroup/cpu,cpuacct/release_agent", ""),
            ("sys/fs/cgroup/cpu,cpuacct/job/step/cpu.stat", ""),
        ];
        let dirs = ["sys/fs/cgroup/cpu,cpuacct/job/step", "sys/fs/cgroup/cpu,cpuacct/job", "sys/fs/cgroup/cpu,cpuacct"];
        assert_eq!(seen(&files), (paths(&[&dirs]), true));
    }

    #[test]
    fn both_together_and_the_one_that_has_the_controller_tells_whether_all_is_seen() {
        let hybrid = [V1, UNIFIED].concat();
        let files = [
            (MOUNTS, hybrid.as_str()),
            (OWN, "4:cpu,cpuacct:/job\n0::/user\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.stat", ""),
            ("sys/fs/cgroup/unified/user/cgroup.events", ""),
            ("sys/fs/cgroup/unified/cgroup.procs", ""),
        ];
        let one: &[&str] = &["sys/fs/cgroup/cpu,cpuacct/job", "sys/fs/cgroup/cpu,cpuacct"];
        let two: &[&str] = &["sys/fs/cgroup/unified/user", "sys/fs/cgroup/unified"];
        assert_eq!(seen(&files), (paths(&[one, two]), false), "what is above in version 1 is out of sight");
        let root = [("sys/fs/cgroup/cpu,cpuacct/release_agent", "")];
        assert_eq!(seen(&[&files[..], &root].concat()), (paths(&[one, two]), true));
        let unmounted = [(MOUNTS, UNIFIED), (OWN, files[1].1), files[3], files[4]];
        assert_eq!(seen(&unmounted), (paths(&[two]), false), "version 1 has it, and is not mounted here");
        let moved = [(MOUNTS, UNIFIED), (OWN, "4:memory:/job\n0::/user\n"), files[3], files[4]];
        assert_eq!(seen(&moved), (paths(&[two]), true), "version 2 has it");
    }

    #[test]
    fn a_part_of_the_tree_is_joined_where_it_is_mounted() {
        let part = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let inner = "sys/fs/cgroup/inner/cgroup.events";
        let files = |own| [(MOUNTS, part), (OWN, own), (inner, "")];
        assert_eq!(seen(&files("0::/docker/abc/inner\n")).0, paths(&[&["sys/fs/cgroup/inner", "sys/fs/cgroup"]]));
        for own in ["0::/docker/abc\n", "0::/docker/abcd/inner\n", "0::/elsewhere\n", "0::/../inner\n", "0::/inner/../..\n", ""] {
            assert_eq!(seen(&files(own)).0, paths(&[&["sys/fs/cgroup"]]), "{own}");
        }
        let outside = "30 23 0:26 /.. /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(
            seen(&[(MOUNTS, outside), (OWN, "0::/\n"), (inner, "")]).0,
            paths(&[&["sys/fs/cgroup"]]),
            "the group above the name space"
        );
    }

    #[test]
    fn of_several_places_the_one_counts_that_shows_most() {
        let all = [
            "29 23 0:26 /other /mnt/other rw - cgroup2 cgroup2 rw\n",
            "30 23 0:26 /a /mnt/part\\040of rw - cgroup2 cgroup2 rw\n",
            "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        ];
        let files = [
            (OWN, "0::/a/b\n"),
            ("mnt/other/cgroup.procs", ""),
            ("mnt/part of/b/cgroup.procs", ""),
            ("sys/fs/cgroup/a/b/cgroup.procs", ""),
        ];
        let with = |mounts: &str| seen(&[&[(MOUNTS, mounts)], &files[..]].concat()).0;
        let full = paths(&[&["sys/fs/cgroup/a/b", "sys/fs/cgroup/a", "sys/fs/cgroup"]]);
        assert_eq!(with(&all.concat()), full);
        assert_eq!(with(&all[..2].concat()), paths(&[&["mnt/part of/b", "mnt/part of"]]), "never another's");
        let covered = all.concat() + "32 31 0:40 / /sys/fs/cgroup rw - tmpfs none rw\n";
        assert_eq!(with(&covered), paths(&[&["mnt/part of/b", "mnt/part of"]]), "what something lies on is not read");
        let over = all[2].to_owned() + "32 31 0:26 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let files = [(MOUNTS, over.as_str()), files[0], ("sys/fs/cgroup/b/cgroup.procs", "")];
        assert_eq!(seen(&files).0, paths(&[&["sys/fs/cgroup/b", "sys/fs/cgroup"]]), "a part over the whole");
    }

    #[test]
    fn nothing_mounted_is_nothing_known() {
        assert_eq!(seen(&[(OWN, "0::/a\n")]), (paths(&[]), false));
        let covered = V2.to_owned() + "32 30 0:40 / /sys/fs rw - tmpfs none rw\n33 23 0:41 / /sys/fs rw - tmpfs none rw\n";
        assert_eq!(seen(&[(MOUNTS, &covered), (OWN, "0::/a\n")]), (paths(&[]), false), "something lies over all of it");
        assert_eq!(memberships("0::a\n12\n\n3:x:/\n").len(), 1);
    }

    #[test]
    fn this_process_is_where_the_kernel_lists_it() {
        let Some(own) = View::of_this_process().unified() else { return };
        let members = fs::read_to_string(own.dirs[0].join("cgroup.procs")).unwrap_or_default();
        let pid = std::process::id().to_string();
        assert!(!own.whole || members.lines().any(|member| member == pid), "{own:?}");
    }
}
