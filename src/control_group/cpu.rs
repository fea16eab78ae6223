//! How much CPU time the groups of this process leave it, and how often they held it back: every group from its own up to the topmost that can be
//! seen, in version 1, in version 2 and where both are mounted. The kernel enforces all of them, so the narrowest decides.
//!
//! The files are described in the kernel's Documentation/scheduler/sched-bwc.rst (version 1) and Documentation/admin-guide/cgroup-v2.rst.

use super::membership::{Controller, Version, View};
use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

/// CPU time that a group may use in each period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub quota_us: u64,
    pub period_us: u64,
    /// The directory of the group that sets it.
    pub group: PathBuf,
}

impl Quota {
    /// As a number of CPUs.
    pub fn cpus(&self) -> f64 {
        self.quota_us as f64 / self.period_us as f64
    }

    /// Of two, the one that leaves less time; without rounding.
    fn narrowest(&self, other: &Quota) -> Ordering {
        let cross = |quota: u64, period: u64| u128::from(quota) * u128::from(period);
        cross(self.quota_us, other.period_us).cmp(&cross(other.quota_us, self.period_us))
    }
}

/// What the groups of this process say of its CPU time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// The least quota / period; `None` without any.
    pub least: Option<Quota>,
    /// Every group that may limit CPU time was seen.
    pub whole: bool,
}

/// How much the groups of this process were held back since they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which one of them had used up its quota, all of them added up.
    pub times: u64,
    /// For how long, all CPUs and groups added up.
    pub duration_us: u64,
}

/// The quota that holds for this process now. `None` where no group can be seen.
pub fn quota() -> Option<Quotas> {
    quota_of(View::of_this_process())
}

/// How much this process and its neighbours in its groups were held back. `None` where nothing tells.
pub fn throttling() -> Option<Throttling> {
    throttling_of(View::of_this_process())
}

fn quota_of(view: View<'_>) -> Option<Quotas> {
    let groups = view.groups(Controller::Cpu);
    let least = groups.dirs().filter_map(|(version, dir)| own_quota(version, dir)).min_by(Quota::narrowest);
    (!groups.lineages.is_empty()).then_some(Quotas { least, whole: groups.whole })
}

fn own_quota(version: Version, dir: &Path) -> Option<Quota> {
    let read = |file: &str| fs::read_to_string(dir.join(file)).ok();
    let text = match version {
        Version::One => format!("{} {}", read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim()),
        Version::Two => read("cpu.max")?,
    };
    // Without a limit the first is "max" in version 2 and -1 in version 1.
    let [quota, period] = text.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    let (quota_us, period_us) = (quota.parse().ok()?, period.parse().ok().filter(|period| *period > 0)?);
    Some(Quota { quota_us, period_us, group: dir.into() })
}

fn throttling_of(view: View<'_>) -> Option<Throttling> {
    let groups = view.groups(Controller::Cpu);
    let told: Vec<Throttling> = groups.dirs().filter_map(|(version, dir)| own_throttling(version, dir)).collect();
    // Where every group was seen and none can be held back, none was.
    (groups.whole || !told.is_empty()).then(|| {
        let sum = |of: fn(&Throttling) -> u64| told.iter().map(of).fold(0, u64::saturating_add);
        Throttling { times: sum(|t| t.times), duration_us: sum(|t| t.duration_us) }
    })
}

/// Of a group alone: the kernel does not add up those below it.
fn own_throttling(version: Version, dir: &Path) -> Option<Throttling> {
    let text = fs::read_to_string(dir.join("cpu.stat")).ok()?;
    let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse::<u64>().ok());
    let duration_us = match version {
        Version::One => value("throttled_time").map(|ns| ns / 1000),
        Version::Two => value("throttled_usec"),
    };
    Some(Throttling { times: value("nr_throttled")?, duration_us: duration_us.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::super::membership::tree::{UNIFIED, V1, V2, tree};
    use super::*;

    /// CPUs, the group by its path, whether all is seen; times and microseconds.
    type Seen = (Option<(f64, String)>, bool, Option<(u64, u64)>);

    fn seen(files: &[(&str, &str)]) -> Option<Seen> {
        let home = tree(files);
        let view = View { root: home.path() };
        let name = |group: &Path| group.strip_prefix(home.path().join("sys/fs/cgroup")).unwrap().display().to_string();
        let quotas = quota_of(view)?;
        let least = quotas.least.map(|q| (q.cpus(), name(&q.group)));
        Some((least, quotas.whole, throttling_of(view).map(|t| (t.times, t.duration_us))))
    }

    #[test]
    fn version_two_counts_every_group_above() {
        let files = [
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/slice/unit/leaf\n"),
            ("sys/fs/cgroup/cgroup.procs", ""),
            ("sys/fs/cgroup/cpu.stat", "usage_usec 5\n"),
            ("sys/fs/cgroup/slice/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/slice/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 7\nthrottled_usec 3000\n"),
            ("sys/fs/cgroup/slice/unit/cpu.max", "30000 20000\n"),
            ("sys/fs/cgroup/slice/unit/cpu.stat", "nr_throttled 2\nthrottled_usec 500\n"),
            ("sys/fs/cgroup/slice/unit/leaf/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/slice/unit/leaf/cpu.stat", "nr_throttled 0\nthrottled_usec 0\n"),
        ];
        assert_eq!(seen(&files), Some((Some((1.5, "slice/unit".into())), true, Some((9, 3500)))), "of equals the nearest");
        let narrow = [("sys/fs/cgroup/slice/cpu.max", "149999 100000\n")];
        assert_eq!(seen(&[&files[..], &narrow].concat()).unwrap().0.unwrap().1, "slice", "the ratio, not the numbers");
        let free = [("sys/fs/cgroup/slice/cpu.max", "max 100000\n"), ("sys/fs/cgroup/slice/unit/cpu.max", "max 20000\n")];
        assert_eq!(seen(&[&files[..], &free].concat()).unwrap().0, None);
    }

    #[test]
    fn version_one_has_files_of_its_own() {
        let files = [
            ("proc/self/mountinfo", V1),
            ("proc/self/cgroup", "4:cpu,cpuacct:/job/step\n"),
            ("sys/fs/cgroup/cpu,cpuacct/release_agent", ""),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.stat", "nr_periods 9\nnr_throttled 4\nthrottled_time 7000000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(seen(&files), Some((Some((0.5, "cpu,cpuacct/job".into())), true, Some((4, 7000)))));
        let root = [files[0], ("proc/self/cgroup", "4:cpu,cpuacct:/\n"), files[2], files[3], files[4], files[5]];
        assert_eq!(seen(&root), Some((None, true, Some((0, 0)))));
    }

    #[test]
    fn both_together_and_nothing_at_all() {
        let hybrid = [V1, UNIFIED].concat();
        let files = [
            ("proc/self/mountinfo", hybrid.as_str()),
            ("proc/self/cgroup", "4:cpu,cpuacct:/job\n0::/user\n"),
            ("sys/fs/cgroup/cpu,cpuacct/release_agent", ""),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "25000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/unified/user/cpu.stat", "usage_usec 1\n"),
        ];
        assert_eq!(seen(&files), Some((Some((0.25, "cpu,cpuacct/job".into())), true, Some((0, 0)))));
        assert_eq!(seen(&[files[1]]), None, "no group is mounted: not known, which is not none");
        let container = [("proc/self/mountinfo", V2), ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cgroup.events", "")];
        assert_eq!(seen(&container), Some((None, false, None)), "what is above a container is not known");
    }

    #[test]
    fn this_machine_tells_what_it_can() {
        let quotas = quota();
        assert!(quotas.is_none_or(|q| q.least.is_none_or(|least| least.cpus() > 0.0)));
        assert!(throttling().is_none_or(|t| t.times > 0 || t.duration_us == 0));
    }
}
