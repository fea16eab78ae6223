//! Counts of what the kernel did for a thread, for the kernel threads made for it, and on the devices it reads: between two moments.
//!
//! A thread's events are one group, read by one call without allocation. Requests are often issued by kernel threads that work for everybody,
//! so what is counted on devices is counted on every CPU, whoever runs.

use super::Watched;
use crate::engine::numa;
use crate::target::block_device::{BlockDevice, Number};
use perf_event::events::{Hardware, Software, Tracepoint};
use perf_event::{Builder, Counter, ReadFormat};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where a count comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Software(Software),
    /// The processor's counting unit, which may have to share its registers between the events.
    Processor(Hardware),
    /// A tracepoint, of this thread and those made for it.
    Thread(&'static str),
    /// A tracepoint, of the devices.
    Device(&'static str),
}

/// Everything that is counted, by its column of `arms.csv`.
const COUNTS: [(&str, Source); COUNT] = [
    ("task_clock_ns_per_op", Source::Software(Software::TASK_CLOCK)),
    ("context_switches_per_op", Source::Software(Software::CONTEXT_SWITCHES)),
    ("cpu_migrations_per_op", Source::Software(Software::CPU_MIGRATIONS)),
    ("page_faults_per_op", Source::Software(Software::PAGE_FAULTS)),
    (SYSCALLS, Source::Thread("raw_syscalls/sys_enter")),
    ("cqring_waits_per_op", Source::Thread("io_uring/io_uring_cqring_wait")),
    ("iowq_punts_per_op", Source::Thread("io_uring/io_uring_queue_async_work")),
    ("block_bios_per_op", Source::Device("block/block_bio_queue")),
    (BLOCK_REQUESTS, Source::Device("block/block_rq_issue")),
    ("cycles_per_op", Source::Processor(Hardware::CPU_CYCLES)),
    ("instructions_per_op", Source::Processor(Hardware::INSTRUCTIONS)),
    ("branch_misses_per_op", Source::Processor(Hardware::BRANCH_MISSES)),
    ("cache_misses_per_op", Source::Processor(Hardware::CACHE_MISSES)),
];

/// How many there are.
pub const COUNT: usize = 13;

const SYSCALLS: &str = "syscalls_per_op";
const BLOCK_REQUESTS: &str = "block_requests_per_op";

/// The columns, in order.
pub fn columns() -> impl Iterator<Item = &'static str> {
    COUNTS.iter().map(|c| c.0)
}

/// Sums over stretches, in the order of [`columns`]; `None` where nothing could be counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    sums: [Option<f64>; COUNT],
    /// Time in which the processor's events were wanted, and in which they were counted.
    processor_ns: [u64; 2],
}

impl Counts {
    /// Adds another sum: of another job. One job counts for all what the devices did; what a job did itself is not known where one of them
    /// could not count.
    pub fn add(&mut self, other: &Counts) {
        for ((sum, more), (_, source)) in self.sums.iter_mut().zip(other.sums).zip(COUNTS) {
            let both = sum.zip(more).map(|(a, b)| a + b);
            *sum = if matches!(source, Source::Device(_)) { both.or(*sum).or(more) } else { both };
        }
        self.processor_ns = std::array::from_fn(|i| self.processor_ns[i] + other.processor_ns[i]);
    }

    /// Of one of `ops` operations. The processor's events are scaled to the time in which they were wanted.
    pub fn per_op(&self, ops: u64) -> [Option<f64>; COUNT] {
        std::array::from_fn(|place| {
            let scale = if let Source::Processor(_) = COUNTS[place].1 { 1.0 / self.processor_share()? } else { 1.0 };
            self.sums[place].map(|sum| sum * scale / ops as f64).filter(|count| count.is_finite())
        })
    }

    /// Share of the time in which the processor's events were counted; `None` where there were none.
    pub fn processor_share(&self) -> Option<f64> {
        let [wanted, counted] = self.processor_ns;
        (wanted > 0).then(|| counted as f64 / wanted as f64)
    }
}

/// A count that cannot be had, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub column: &'static str,
    pub reason: String,
}

/// What the group of a thread or of a CPU said at one moment: how many events, time wanted, time counted, then a value and a number of each,
/// the leader first.
type Reading = [u64; 3 + 2 * (COUNT + 1)];

/// Events that are read together.
struct Group {
    leader: Counter,
    /// The place in [`COUNTS`] of each member, in order.
    members: Vec<(usize, Counter)>,
    before: Reading,
    /// A reading failed.
    lost: bool,
}

impl Group {
    /// A group with what of `wanted` can be had; what cannot goes to `missing`.
    fn open(who: Who, wanted: &[usize], devices: &[(u32, u32)], missing: &mut Vec<Missing>) -> Option<Group> {
        let format = ReadFormat::GROUP | ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING;
        let mut fail = |place: usize, reason: String| {
            let column = COUNTS[place].0;
            if missing.iter().all(|m| m.column != column) {
                missing.push(Missing { column, reason });
            }
        };
        let mut leader = match who.builder(Software::DUMMY).enabled(false).read_format(format).build() {
            Ok(leader) => leader,
            Err(error) => {
                wanted.iter().for_each(|place| fail(*place, who.refused(&error)));
                return None;
            }
        };
        let mut members = Vec::new();
        for &place in wanted {
            match member(who, place, &mut leader, devices) {
                Ok(counter) => members.push((place, counter)),
                Err(reason) => fail(place, reason),
            }
        }
        // Only now: what joins a group of a CPU that counts already is not counted itself (seen on Linux 6.18).
        if let Err(error) = leader.enable() {
            wanted.iter().for_each(|place| fail(*place, who.refused(&error)));
            return None;
        }
        (!members.is_empty()).then_some(Group { leader, members, before: [0; _], lost: false })
    }

    fn read(&self) -> io::Result<Reading> {
        let mut reading: Reading = [0; _];
        // SAFETY: an array of u64 is as many bytes without padding, and every pattern of them is a u64.
        let bytes = unsafe { std::slice::from_raw_parts_mut(reading.as_mut_ptr().cast::<u8>(), size_of::<Reading>()) };
        // SAFETY: the descriptor is open for as long as the group.
        rustix::io::read(unsafe { BorrowedFd::borrow_raw(self.leader.as_raw_fd()) }, bytes)?;
        Ok(reading)
    }

    fn add(&self, after: &Reading, counts: &mut Counts) {
        let since = |place: usize| after[place] - self.before[place];
        for (member, (place, _)) in (1..).zip(&self.members) {
            // The call that reads this group at the end of the stretch.
            let own = if COUNTS[*place].0 == SYSCALLS { 1.0 } else { 0.0 };
            *counts.sums[*place].get_or_insert(0.0) += since(3 + 2 * member) as f64 - own;
        }
        if self.members.iter().any(|(place, _)| matches!(COUNTS[*place].1, Source::Processor(_))) {
            counts.processor_ns = [counts.processor_ns[0] + since(1), counts.processor_ns[1] + since(2)];
        }
    }
}

/// Whom a group watches.
#[derive(Clone, Copy)]
enum Who {
    /// This thread and those that it makes: also the kernel's.
    Thread,
    /// Whoever runs on a CPU.
    Cpu(u32),
}

impl Who {
    fn builder<E: perf_event::events::Event>(self, event: E) -> Builder<'static> {
        let mut builder = Builder::new(event);
        match self {
            Who::Thread => builder.observe_self().inherit(true),
            Who::Cpu(cpu) => builder.any_pid().one_cpu(cpu as usize),
        };
        builder.exclude_kernel(false).exclude_hv(false).enabled(true);
        builder
    }

    /// Why it cannot be watched.
    fn refused(self, error: &io::Error) -> String {
        let watched = if let Who::Thread = self { Watched::Own } else { Watched::Machine };
        super::refused(error, watched)
    }
}

fn member(who: Who, place: usize, leader: &mut Counter, devices: &[(u32, u32)]) -> Result<Counter, String> {
    let built = |builder: Builder<'_>, leader: &mut Counter| builder.build_with_group(leader).map_err(|e| who.refused(&e));
    match COUNTS[place].1 {
        Source::Software(event) => built(who.builder(event), leader),
        Source::Processor(event) => match who.builder(event).build_with_group(leader) {
            Err(e) if [Some(libc::ENOENT), Some(libc::EOPNOTSUPP), Some(libc::ENODEV)].contains(&e.raw_os_error()) => {
                Err("this machine shows no counters of the processor (a virtual machine without a PMU?)".into())
            }
            other => other.map_err(|e| who.refused(&e)),
        },
        Source::Thread(name) => built(who.builder(tracepoint(name)?), leader),
        Source::Device(name) => {
            let counter = built(who.builder(tracepoint(name)?), leader)?;
            keep_devices(&counter, devices).map_err(|e| format!("{name} cannot be filtered by device: {e}"))?;
            Ok(counter)
        }
    }
}

/// A tracepoint by its place below `events`.
fn tracepoint(name: &str) -> Result<Tracepoint, String> {
    let id = std::fs::read_to_string(format!("/sys/kernel/tracing/events/{name}/id"));
    let id = id.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => "tracefs may not be read by this user: run as root".into(),
        _ => format!("no tracepoint {name}: mount -t tracefs tracefs /sys/kernel/tracing, or this kernel lacks it"),
    })?;
    id.trim().parse().map(Tracepoint::with_id).map_err(|_| format!("the number of tracepoint {name} is {id:?}"))
}

/// `PERF_EVENT_IOC_SET_FILTER` of perf_event_open(2), for which perf-event2 has no door.
const SET_FILTER: libc::c_ulong = 0x4008_2406;

/// Counts only what happens on these devices; the kernel writes a device as `major << 20 | minor`.
fn keep_devices(counter: &Counter, devices: &[(u32, u32)]) -> io::Result<()> {
    let each: Vec<String> = devices.iter().map(|(major, minor)| format!("dev == {}", major << 20 | minor)).collect();
    let filter = CString::new(each.join(" || "))?;
    // SAFETY: the descriptor is a tracepoint event's, and the string lives until the call returns.
    let done = unsafe { libc::ioctl(counter.as_raw_fd(), SET_FILTER, filter.as_ptr()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The counters of a thread.
pub struct Counters {
    /// In the order in which they are read where a stretch begins; the thread's own last, since its system calls are counted.
    groups: Vec<Group>,
    pub missing: Vec<Missing>,
}

/// The devices among these whose requests are made by others that cannot be watched.
fn hidden(devices: &[Number]) -> Vec<String> {
    let found = devices.iter().filter_map(|number| BlockDevice::numbered(*number));
    found.filter(BlockDevice::has_hidden_paths).map(|device| device.name()).collect()
}

/// Of the device counts, those that can be had: with hidden paths bios are seen where they come in, requests nowhere. Counted on the device
/// that was named they would be none at all.
fn seen(places: Vec<usize>, hidden: &[String], missing: &mut Vec<Missing>) -> Vec<usize> {
    let Some(name) = hidden.first() else { return places };
    let reason = format!(
        "requests of {name} are made by hidden devices, one for each path (NVMe multipath), which have no number to watch them by; bios are \
         counted"
    );
    let (made, seen): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| COUNTS[*place].0 == BLOCK_REQUESTS);
    missing.extend(made.iter().map(|place| Missing { column: COUNTS[*place].0, reason: reason.clone() }));
    seen
}

impl Counters {
    /// Opens what can be had for the calling thread, to be called before it makes rings, and what happens on `devices` (major and minor).
    pub fn open(devices: &[(u32, u32)]) -> Counters {
        let places = |wanted: fn(&Source) -> bool| -> Vec<usize> { (0..COUNT).filter(|i| wanted(&COUNTS[*i].1)).collect() };
        let mut missing = Vec::new();
        let mut groups = Vec::new();
        let block = places(|s| matches!(s, Source::Device(_)));
        if devices.is_empty() {
            let reason = "the kernel names no block device under the target";
            missing.extend(block.iter().map(|place| Missing { column: COUNTS[*place].0, reason: reason.into() }));
        } else {
            let block = seen(block, &hidden(devices), &mut missing);
            groups.extend(numa::online().into_iter().filter_map(|cpu| Group::open(Who::Cpu(cpu), &block, devices, &mut missing)));
            // What one CPU cannot count, the others do not know.
            let whole = |(place, _): &(usize, Counter)| missing.iter().all(|m| m.column != COUNTS[*place].0);
            groups.iter_mut().for_each(|group| group.members.retain(whole));
        }
        for wanted in
            [places(|s| matches!(s, Source::Processor(_))), places(|s| matches!(s, Source::Software(_) | Source::Thread(_)))]
        {
            groups.extend(Group::open(Who::Thread, &wanted, devices, &mut missing));
        }
        Counters { groups, missing }
    }

    /// A stretch begins.
    pub fn begin(&mut self) {
        for group in &mut self.groups {
            match group.read() {
                Ok(reading) => group.before = reading,
                Err(_) => group.lost = true,
            }
        }
    }

    /// The stretch ends: adds what happened since its beginning.
    pub fn end(&mut self, counts: &mut Counts) {
        for group in self.groups.iter_mut().rev() {
            match group.read() {
                Ok(after) => group.add(&after, counts),
                Err(_) => group.lost = true,
            }
        }
    }

    /// Sums of several kinds of stretches as far as they are whole: the kernel refuses to read a group while a thread in it ends.
    pub fn finish(self, mut sums: Vec<Counts>) -> Vec<Counts> {
        for (place, _) in self.groups.iter().filter(|group| group.lost).flat_map(|group| &group.members) {
            sums.iter_mut().for_each(|counts| counts.sums[*place] = None);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(column: &str) -> usize {
        columns().position(|c| c == column).unwrap()
    }

    fn counts(known: &[(&str, f64)]) -> Counts {
        let mut counts = Counts::default();
        known.iter().for_each(|(column, sum)| counts.sums[place(column)] = Some(*sum));
        counts
    }

    #[test]
    fn one_job_counts_the_devices_for_all_and_each_its_own() {
        let mut first = counts(&[(SYSCALLS, 1.0), ("block_bios_per_op", 6.0), ("page_faults_per_op", 4.0)]);
        first.add(&counts(&[(SYSCALLS, 2.0)]));
        assert_eq!(first, counts(&[(SYSCALLS, 3.0), ("block_bios_per_op", 6.0)]));
    }

    #[test]
    fn requests_that_hidden_paths_make_are_an_empty_cell_and_not_none() {
        let both = vec![place("block_bios_per_op"), place(BLOCK_REQUESTS)];
        let mut missing = Vec::new();
        assert_eq!((seen(both.clone(), &[], &mut missing), missing.len()), (both.clone(), 0));
        assert_eq!(seen(both.clone(), &["nvme1n2".into()], &mut missing), both[..1]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].column == BLOCK_REQUESTS && missing[0].reason.contains("nvme1n2"), "{missing:?}");
    }

    #[test]
    fn what_was_counted_for_a_part_of_the_time_is_scaled_and_what_never_was_is_empty() {
        let shared = Counts { processor_ns: [400, 100], ..counts(&[("cycles_per_op", 50.0), (SYSCALLS, 20.0)]) };
        let of = |counts: &Counts, column| counts.per_op(10)[place(column)];
        assert_eq!((of(&shared, "cycles_per_op"), of(&shared, SYSCALLS)), (Some(20.0), Some(2.0)));
        assert_eq!(shared.processor_share(), Some(0.25));
        let never = Counts { processor_ns: [400, 0], ..counts(&[("cycles_per_op", 0.0)]) };
        assert_eq!(of(&never, "cycles_per_op"), None);
    }
}
