//! Everything about the machine and the target that may explain a result, as the kernel tells it. One table names each fact; what the kernel
//! does not tell is null, not a guess.

use crate::control_group::membership::View;
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
    /// A file of the process's control group (version 2).
    Group(&'static str),
    /// The value of a line of such a file.
    GroupLine(&'static str, &'static str),
    /// What the engine finds out.
    Asked(fn() -> Option<String>),
}

/// Of the machine. The last column says whether two runs must agree in it to be compared in absolute figures.
const MACHINE: &[(&str, At, bool)] = &[
    ("kernel_release", At::File("/proc/sys/kernel/osrelease"), true),
    ("kernel_version", At::File("/proc/sys/kernel/version"), true),
    ("kernel_command_line", At::File("/proc/cmdline"), true),
    ("mitigations", At::Directory("/sys/devices/system/cpu/vulnerabilities"), true),
    ("cpu_model", At::Line("/proc/cpuinfo", "model name"), true),
    ("microcode", At::Line("/proc/cpuinfo", "microcode"), true),
    ("cpus_online", At::File("/sys/devices/system/cpu/online"), true),
    ("cpus_isolated", At::File("/sys/devices/system/cpu/isolated"), true),
    ("hyper_threading", At::File("/sys/devices/system/cpu/smt/active"), true),
    ("frequency_max_khz", At::File("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"), true),
    ("governor", At::File("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), true),
    ("boost", At::File("/sys/devices/system/cpu/cpufreq/boost"), true),
    ("no_turbo", At::File("/sys/devices/system/cpu/intel_pstate/no_turbo"), true),
    ("idle_driver", At::File("/sys/devices/system/cpu/cpuidle/current_driver"), true),
    ("clock_source", At::File("/sys/devices/system/clocksource/clocksource0/current_clocksource"), true),
    ("numa_nodes", At::File("/sys/devices/system/node/online"), true),
    ("machine_vendor", At::File("/sys/class/dmi/id/sys_vendor"), true),
    ("machine_product", At::File("/sys/class/dmi/id/product_name"), true),
    ("hypervisor", At::File("/sys/hypervisor/type"), true),
    ("iommus", At::Directory("/sys/class/iommu"), true),
    ("memory", At::Line("/proc/meminfo", "MemTotal"), true),
    ("huge_pages_reserved", At::Line("/proc/meminfo", "HugePages_Total"), false),
    ("transparent_huge_pages", At::File("/sys/kernel/mm/transparent_hugepage/enabled"), true),
    ("memory_free", At::Line("/proc/meminfo", "MemAvailable"), false),
    ("locked_memory_limit", At::Line("/proc/self/limits", "Max locked memory"), false),
    ("cgroup_cpu_max", At::Group("cpu.max"), true),
    ("cgroup_memory_max", At::Group("memory.max"), false),
    ("cgroup_cpus", At::Group("cpuset.cpus.effective"), true),
    ("perf_event_paranoid", At::File("/proc/sys/kernel/perf_event_paranoid"), false),
    ("io_uring_disabled", At::File("/proc/sys/kernel/io_uring_disabled"), false),
    ("io_uring_features", At::Asked(capabilities::features), true),
    ("io_uring_opcodes", At::Asked(capabilities::opcodes), true),
    ("nvme_poll_queues", At::File("/sys/module/nvme/parameters/poll_queues"), true),
    ("null_blk_poll_queues", At::File("/sys/module/null_blk/parameters/poll_queues"), true),
];

/// How often a processor was slowed for its heat, and this process held back by its group's limit.
pub const THROTTLES: [&str; 2] = ["throttled_for_heat", "throttled_by_cgroup"];

/// What else uses the machine: read before and after a run.
const LOAD: &[(&str, At, bool)] = &[
    ("load_average", At::File("/proc/loadavg"), false),
    ("pressure_cpu", At::File("/proc/pressure/cpu"), false),
    ("pressure_io", At::File("/proc/pressure/io"), false),
    ("pressure_memory", At::File("/proc/pressure/memory"), false),
    (THROTTLES[0], At::File("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"), false),
    (THROTTLES[1], At::GroupLine("cpu.stat", "nr_throttled"), false),
];

/// Of a block device, below `/sys/dev/block/MAJOR:MINOR` or, for a partition, its disk; all of them belong to the fingerprint.
const DEVICE: &[(&str, &str)] = &[
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

/// A digest of what must agree for absolute figures of two runs to be comparable: where and on what they were taken.
pub fn fingerprint(machine: &Facts, targets: &[Facts]) -> String {
    let identity =
        |facts: &Facts| MACHINE.iter().filter(|m| m.2).map(|m| format!("{}={:?};", m.0, facts.get(m.0))).collect::<String>();
    // The number of a loop device and its like is chance.
    let of_target = |facts: &Facts| DEVICE.iter().map(|d| format!("{}={:?};", d.0, facts.get(d.0))).collect::<String>();
    let text = identity(machine) + &targets.iter().map(of_target).collect::<String>();
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// What the kernel says of the machine and of the targets, and what else went on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    /// See [`fingerprint`].
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

    /// Names of the facts that make the fingerprints of two runs differ.
    pub fn parted_by(&self, other: &Circumstances) -> Vec<String> {
        let machine = MACHINE.iter().filter(|m| m.2 && self.machine.get(m.0) != other.machine.get(m.0)).map(|m| m.0.to_string());
        let of = |run: &Circumstances, name: &str| run.targets.iter().map(|t| t.get(name).cloned()).collect::<Vec<_>>();
        let target = DEVICE.iter().filter(|d| of(self, d.0) != of(other, d.0)).map(|d| format!("target: {}", d.0));
        machine.chain(target).collect()
    }
}

fn table(rows: &[(&str, At, bool)]) -> Facts {
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
        At::Group(file) => first_line(&group()?.join(file)),
        At::GroupLine(file, key) => line(&group()?.join(file), key),
    }
}

/// The process's control group.
fn group() -> Option<PathBuf> {
    View::of_this_process().unified()?.dirs.into_iter().next()
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
    fn the_fingerprint_is_of_the_place_and_not_of_the_moment() {
        let (machine, device) = (machine(), target(&File::open("/proc/self/exe").unwrap()));
        assert!(machine["cpu_model"].is_some() && machine["kernel_release"].is_some() && machine.contains_key("governor"));
        let print = fingerprint(&machine, std::slice::from_ref(&device));
        let with = |name: &str, value: &str| {
            let mut changed = machine.clone();
            changed.insert(name.into(), Some(value.into()));
            fingerprint(&changed, std::slice::from_ref(&device))
        };
        assert_eq!(with("memory_free", "1 kB"), print);
        assert_ne!(with("governor", "powersave-of-another-machine"), print);
        let mut other = device.clone();
        other.insert("scheduler".into(), Some("[bfq]".into()));
        assert_ne!(fingerprint(&machine, std::slice::from_ref(&other)), print);
        let run = |device| Circumstances { machine: machine.clone(), targets: vec![device], ..Circumstances::default() };
        assert_eq!(run(device.clone()).parted_by(&run(other)), ["target: scheduler"]);
        assert_eq!(run(device.clone()).parted_by(&run(device)), [""; 0]);
    }
}
