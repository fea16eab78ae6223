//! Everything about the machine and the target that may explain a result, as the kernel tells it. One table names each fact; what the kernel
//! does not tell is null, not a guess.

use super::fingerprint::fingerprint;
use super::processor;
use crate::control_group::membership::View;
use crate::control_group::{cpu, memory};
use crate::engine::capabilities;
use crate::mounts::{self, Mount};
use crate::target::block_device::{self, BlockDevice};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Facts by name.
pub type Facts = BTreeMap<String, Option<String>>;

/// Where a fact is found.
enum At {
    /// A file's first line.
    File(&'static str),
    /// The value of a line `key : value` or `key value` in a file.
    Line(&'static str, &'static str),
    /// The names of a directory's entries with their first lines.
    Directory(&'static str),
    /// A file of the process's own control group (version 2).
    Group(&'static str),
    /// What another module finds out.
    Asked(fn() -> Option<String>),
}

/// What a fact has to do with comparing absolute figures of two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearing {
    /// It tells machines apart: a machine that does not tell it is compared with no other.
    Names,
    /// Both must agree in it.
    Agrees,
    /// The same, but it was not always read: it is part of a fingerprint only where it says more than the facts that were.
    Later,
    /// Part of every fingerprint, and said better by another fact.
    Kept,
    /// None.
    Apart,
}

use Bearing::{Agrees, Apart, Kept, Later, Names};

/// Of the machine.
const MACHINE: &[(&str, At, Bearing)] = &[
    ("kernel_release", At::File("/proc/sys/kernel/osrelease"), Names),
    ("kernel_version", At::File("/proc/sys/kernel/version"), Agrees),
    ("kernel_command_line", At::File("/proc/cmdline"), Agrees),
    ("mitigations", At::Directory("/sys/devices/system/cpu/vulnerabilities"), Agrees),
    ("cpu_model", At::Asked(processor::name), Names),
    ("microcode", At::Line("/proc/cpuinfo", "microcode"), Agrees),
    ("cpus_online", At::File("/sys/devices/system/cpu/online"), Names),
    ("cpus_isolated", At::File("/sys/devices/system/cpu/isolated"), Agrees),
    ("hyper_threading", At::File("/sys/devices/system/cpu/smt/active"), Agrees),
    ("frequency_max_khz", At::File("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"), Agrees),
    ("governor", At::File("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), Agrees),
    ("boost", At::File("/sys/devices/system/cpu/cpufreq/boost"), Agrees),
    ("no_turbo", At::File("/sys/devices/system/cpu/intel_pstate/no_turbo"), Agrees),
    ("idle_driver", At::File("/sys/devices/system/cpu/cpuidle/current_driver"), Agrees),
    ("clock_source", At::File("/sys/devices/system/clocksource/clocksource0/current_clocksource"), Agrees),
    ("numa_nodes", At::File("/sys/devices/system/node/online"), Agrees),
    ("machine_vendor", At::File("/sys/class/dmi/id/sys_vendor"), Agrees),
    ("machine_product", At::File("/sys/class/dmi/id/product_name"), Agrees),
    ("hypervisor", At::File("/sys/hypervisor/type"), Agrees),
    ("iommus", At::Directory("/sys/class/iommu"), Agrees),
    ("memory", At::Line("/proc/meminfo", "MemTotal"), Names),
    ("huge_pages_reserved", At::Line("/proc/meminfo", "HugePages_Total"), Apart),
    ("transparent_huge_pages", At::File("/sys/kernel/mm/transparent_hugepage/enabled"), Agrees),
    ("memory_free", At::Line("/proc/meminfo", "MemAvailable"), Apart),
    ("locked_memory_limit", At::Line("/proc/self/limits", "Max locked memory"), Apart),
    ("cgroup_cpu_max", At::Group("cpu.max"), Kept),
    ("cpu_quota", At::Asked(quota), Later),
    ("cpu_quota_group", At::Asked(quota_group), Apart),
    ("cgroup_memory_max", At::Asked(memory_limit), Apart),
    ("cgroup_cpus", At::Group("cpuset.cpus.effective"), Agrees),
    ("perf_event_paranoid", At::File("/proc/sys/kernel/perf_event_paranoid"), Apart),
    ("io_uring_disabled", At::File("/proc/sys/kernel/io_uring_disabled"), Apart),
    ("io_uring_features", At::Asked(capabilities::features), Agrees),
    ("io_uring_opcodes", At::Asked(capabilities::opcodes), Agrees),
    ("nvme_poll_queues", At::File("/sys/module/nvme/parameters/poll_queues"), Agrees),
    ("null_blk_poll_queues", At::File("/sys/module/null_blk/parameters/poll_queues"), Agrees),
];

/// How often a processor was slowed for its heat, and this process held back by the limits of its groups.
pub const THROTTLES: [&str; 2] = ["throttled_for_heat", "throttled_by_cgroup"];

/// For how many microseconds groups were held back, all CPUs added up.
pub const THROTTLED_US: &str = "throttled_by_cgroup_us";

/// What else uses the machine: read before and after a run.
const LOAD: &[(&str, At, Bearing)] = &[
    ("load_average", At::File("/proc/loadavg"), Apart),
    ("pressure_cpu", At::File("/proc/pressure/cpu"), Apart),
    ("pressure_io", At::File("/proc/pressure/io"), Apart),
    ("pressure_memory", At::File("/proc/pressure/memory"), Apart),
    (THROTTLES[0], At::File("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"), Apart),
    (THROTTLES[1], At::Asked(|| Some(cpu::throttling()?.times.to_string())), Apart),
    (THROTTLED_US, At::Asked(|| Some(cpu::throttling()?.duration_us.to_string())), Apart),
];

/// Of a block device, below `/sys/dev/block/MAJOR:MINOR` or, for a partition, its disk; all of them belong to the fingerprint.
pub(super) const DEVICE: &[(&str, &str)] = &[
    ("model", "device/model"),
    ("firmware", "device/firmware_rev"),
    ("sectors", "size"),
    ("scheduler", "queue/scheduler"),
    ("requests", "queue/nr_requests"),
    ("no_merges", "queue/nomerges"),
    ("statistics", "queue/iostats"),
    ("write_throttling_us", "queue/wbt_lat_usec"),
    ("completion_affinity", "queue/rq_affinity"),
    ("polling", "queue/io_poll"),
    ("logical_block", "queue/logical_block_size"),
    ("physical_block", "queue/physical_block_size"),
    ("max_request_kib", "queue/max_sectors_kb"),
    ("rotational", "queue/rotational"),
    ("write_cache", "queue/write_cache"),
];

/// The names of the machine's facts, in the order of fingerprints.
pub(super) fn bearings() -> impl Iterator<Item = (&'static str, Bearing)> {
    MACHINE.iter().map(|(name, _, bearing)| (*name, *bearing))
}

/// The machine's.
pub fn machine() -> Facts {
    table(MACHINE)
}

/// What else uses it now.
pub fn load() -> Facts {
    table(LOAD)
}

/// Of the block device behind an open target, the first where there are several, and of the file system where it is a file.
pub fn target(file: &File) -> Facts {
    let device = block_device::behind(file).into_iter().next();
    let read = |attribute: &str| device.as_ref().and_then(|device| device.attribute(attribute));
    let mut facts: Facts = DEVICE.iter().map(|(name, attribute)| (name.to_string(), read(attribute))).collect();
    facts.insert("device".into(), device.as_ref().map(BlockDevice::name));
    if BlockDevice::of(file).is_none() {
        let shown = |m: Mount| format!("{} ({}; {})", m.kind, m.options.0, m.options.1);
        facts.insert("file_system".into(), mounts::of(file).map(shown));
    }
    facts
}

/// What the kernel says of the machine and of the targets, and what else went on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    /// See [`fingerprint`]; empty where it is not known.
    pub fingerprint: String,
    pub machine: Facts,
    pub targets: Vec<Facts>,
    pub load_before: Facts,
    /// Empty until the run has ended.
    pub load_after: Facts,
}

impl Circumstances {
    /// As they are now, for these targets.
    pub fn read(files: &[&File]) -> Circumstances {
        let (machine, targets) = (machine(), files.iter().map(|file| target(file)).collect::<Vec<_>>());
        let fingerprint = fingerprint(&machine, &targets);
        Circumstances { fingerprint, machine, targets, load_before: load(), load_after: Facts::new() }
    }
}

fn table(rows: &[(&str, At, Bearing)]) -> Facts {
    rows.iter().map(|(name, at, _)| (name.to_string(), find(at))).collect()
}

fn find(at: &At) -> Option<String> {
    match at {
        At::File(path) => first_line(Path::new(path)),
        At::Line(path, key) => line(Path::new(path), key),
        At::Asked(ask) => ask(),
        At::Directory(path) => {
            let mut entries: Vec<PathBuf> = fs::read_dir(path).ok()?.flatten().map(|e| e.path()).collect();
            entries.sort();
            let show = |p: &PathBuf| {
                let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
                first_line(p).map_or(name.clone(), |line| format!("{name}: {line}"))
            };
            Some(entries.iter().map(show).collect::<Vec<_>>().join("; "))
        }
        At::Group(file) => first_line(&View::of_this_process().unified()?.dirs.first()?.join(file)),
    }
}

/// The quota that holds for this process, as `cpu.max` of version 2 puts it, or that there is none; a group out of sight may have one.
fn quota() -> Option<String> {
    let quotas = cpu::quota()?;
    let shown = quotas.least.map(|least| format!("{} {}", least.quota_us, least.period_us));
    shown.or_else(|| quotas.whole.then(|| NO_QUOTA.into()))
}

/// What `cpu_quota` says where no group has one.
pub(super) const NO_QUOTA: &str = "none";

fn quota_group() -> Option<String> {
    Some(cpu::quota()?.least?.group.display().to_string())
}

/// The least memory limit on the way to this process, in bytes, or `max` where there is none.
fn memory_limit() -> Option<String> {
    let limit = memory::memory_limit();
    limit.bytes.map(|bytes| bytes.to_string()).or_else(|| limit.whole.then(|| "max".into()))
}

fn line(path: &Path, key: &str) -> Option<String> {
    words_behind(&fs::read_to_string(path).ok()?, key)
}

/// The words of the first line that begins with `key`, behind it.
pub fn words_behind(text: &str, key: &str) -> Option<String> {
    let rest = text.lines().find_map(|l| l.strip_prefix(key))?;
    let words = rest.trim_start().trim_start_matches(':').split_whitespace();
    Some(words.collect::<Vec<_>>().join(" "))
}

fn first_line(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next().unwrap_or_default().trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_what_every_machine_does() {
        let machine = machine();
        let untold: Vec<&str> = MACHINE.iter().filter(|m| m.2 == Names && machine[m.0].is_none()).map(|m| m.0).collect();
        assert_eq!(untold, [""; 0]);
        assert!(machine.contains_key("governor"));
        assert_eq!(machine.len(), MACHINE.len(), "each by one name");
        let load = load();
        assert_eq!(load[THROTTLES[1]].is_some(), load[THROTTLED_US].is_some());
    }
}
