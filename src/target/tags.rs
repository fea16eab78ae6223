//! How many requests a block device takes at once, against what a workload keeps in flight.
//!
//! A request that finds no free tag cannot be issued without waiting (`REQ_NOWAIT`, block/blk-mq.c), so io_uring hands it to an io-wq worker.
//! `queue/nr_requests` is the limit of one hardware queue (Documentation/ABI/stable/sysfs-block); each directory below `mq/` is such a queue,
//! and `nr_tags` there is what the driver has without a scheduler.

use super::block_device::BlockDevice;
use super::{Kind, Target, Wanted, loop_device};
use crate::workload::{Rw, Workload};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What the loop driver has unless it is told otherwise (drivers/block/loop.c).
const LOOP_TAGS: u32 = 128;
const LOOP_PARAMETER: &str = "/sys/module/loop/parameters/hw_queue_depth";

/// The limits of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Its name in `/sys/block`; `None` for a loop device that is still to be made.
    pub disk: Option<String>,
    /// `queue/nr_requests`.
    pub requests: u32,
    /// Hardware queues.
    pub queues: u32,
    /// What the driver has for each of them.
    pub driver: u32,
    /// A scheduler is set: it can hold more requests than the driver has tags.
    pub scheduled: bool,
    /// Over how many devices the requests of a workload are dealt.
    pub members: u32,
}

/// More requests in flight than tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    tags: Tags,
    depth: u32,
    jobs: u32,
    /// On one hardware queue.
    in_flight: u32,
}

impl Tags {
    /// Of the disk that takes the requests: that of a partition, or the one on which a stack of single devices ends. `None` where requests are
    /// dealt to several, or where a device has no tags (device mapper, md and NVMe multipath hand bios on).
    pub fn of(device: &BlockDevice) -> Option<Tags> {
        let disk = device.disk();
        let number = |text: String| text.parse::<u32>().ok();
        let queues = disk.hardware_queues();
        let Some(first) = queues.first() else {
            return if let [below] = &disk.members()[..] { Tags::of(below) } else { None };
        };
        let requests = disk.attribute("queue/nr_requests").and_then(number)?;
        let driver = fs::read_to_string(first.join("nr_tags")).ok().and_then(|text| number(text.trim().into()));
        let scheduler = disk.attribute("queue/scheduler").unwrap_or_default();
        Some(Tags {
            disk: Some(disk.name()),
            requests,
            queues: queues.len() as u32,
            driver: driver.unwrap_or(requests),
            scheduled: !scheduler.contains("[none]") && scheduler.contains('['),
            members: 1,
        })
    }

    /// Of a loop device that is still to be made.
    fn of_a_loop_device() -> Tags {
        let told = fs::read_to_string(LOOP_PARAMETER).ok().and_then(|text| text.trim().parse().ok());
        let tags = told.unwrap_or(LOOP_TAGS);
        Tags { disk: None, requests: tags, queues: 1, driver: tags, scheduled: false, members: 1 }
    }

    /// The narrowest of a target's devices; `None` where one of them does not tell.
    fn narrowest(all: impl Iterator<Item = Option<Tags>>) -> Option<Tags> {
        let all = all.collect::<Option<Vec<_>>>()?;
        let members = all.len() as u32;
        all.into_iter().min_by_key(|tags| u64::from(tags.requests) * u64::from(tags.queues)).map(|tags| Tags { members, ..tags })
    }

    /// Of an open target.
    pub fn of_target(target: &Target) -> Option<Tags> {
        let of_member = |file| if let [device] = &super::block_device::behind(file)[..] { Tags::of(device) } else { None };
        Tags::narrowest(target.files().into_iter().map(of_member))
    }

    /// Of a target that is not opened yet. A file's is not looked for: a plan may name one that is still to be written.
    pub fn of_wanted(wanted: &[Wanted]) -> Option<Tags> {
        let one = |wanted: &Wanted| match (wanted.kind, &wanted.path) {
            (Kind::Loop, _) => Some(Tags::of_a_loop_device()),
            (Kind::Auto, _) if loop_device::is_permitted() => Some(Tags::of_a_loop_device()),
            (Kind::Device | Kind::Nvme | Kind::NullBlk, Some(path)) => Tags::of(&BlockDevice::at(path)?),
            (Kind::NullBlk, None) => Tags::of(&BlockDevice::at(Path::new("/dev/nullb0"))?),
            _ => None,
        };
        Tags::narrowest(wanted.iter().map(one))
    }

    /// Says where a workload keeps more in flight than its device takes. Jobs are taken to spread over the hardware queues as evenly as they
    /// can, so that what is said here is certain; requests through the page cache and NOPs need no tag of their own.
    pub fn shortage(&self, workload: &Workload) -> Option<Shortage> {
        let Workload { queue_depth: depth, jobs, .. } = *workload;
        if !workload.direct || workload.rw == Rw::Nop {
            return None;
        }
        let of_device = (depth.saturating_mul(jobs)).div_ceil(self.members);
        let in_flight = of_device.div_ceil(self.queues.min(jobs).max(1));
        (in_flight > self.requests).then(|| Shortage { tags: self.clone(), depth, jobs, in_flight })
    }

    /// True where a workload keeps just as many in flight as its device takes. A tag is free a moment after its request was seen to complete, so
    /// the next one may find none; neighbours of a sequential workload share one.
    pub fn has_none_to_spare(&self, workload: &Workload) -> bool {
        let deeper = Workload { queue_depth: workload.queue_depth + 1, ..*workload };
        workload.rw.is_random() && self.shortage(workload).is_none() && self.shortage(&deeper).is_some()
    }

    fn setting(&self) -> PathBuf {
        Path::new("/sys/block").join(self.disk.as_deref().unwrap_or("loopN").replace('/', "!")).join("queue/nr_requests")
    }
}

impl Shortage {
    /// What a user can do. The kernel refuses more than the driver's own tags where no scheduler is set.
    pub fn remedy(&self) -> String {
        let Shortage { tags, in_flight, jobs, .. } = self;
        let setting = tags.setting();
        let lower =
            format!("keep at most {} in flight (iodepth {})", tags.requests * tags.queues.min(*jobs).max(1), self.fitting());
        if tags.scheduled || *in_flight <= tags.driver {
            return format!("{lower}, or: echo {in_flight} > {}", setting.display());
        }
        let is_loop = tags.disk.as_ref().is_none_or(|name| name.starts_with("loop"));
        let more = if is_loop && Path::new(LOOP_PARAMETER).exists() {
            format!(", or load its driver with loop.hw_queue_depth={in_flight}")
        } else {
            String::new()
        };
        format!("{lower}{more}")
    }

    /// How many requests meet how many tags, and what becomes of the rest.
    pub fn cause(&self) -> String {
        let Shortage { tags, depth, jobs, in_flight } = self;
        let all = u64::from(*depth) * u64::from(*jobs);
        let job = if *jobs == 1 { "job" } else { "jobs" };
        let several = tags.members > 1 || tags.queues > 1;
        let part = if several { format!(", {in_flight} of them on one hardware queue") } else { String::new() };
        let disk = tags.disk.as_deref().unwrap_or("the loop device that will be made");
        format!(
            "iodepth {depth} x {jobs} {job} keeps {all} requests in flight{part}, and {disk} takes {requests} ({} is {requests}). What finds no \
             tag goes to io-wq workers, and such rows are invalid",
            tags.setting().display(),
            requests = tags.requests
        )
    }

    /// The largest iodepth that needs no more than there is.
    fn fitting(&self) -> u32 {
        let Shortage { tags, jobs, .. } = self;
        let all = u64::from(tags.requests) * u64::from(tags.queues.min(*jobs).max(1)) * u64::from(tags.members);
        u32::try_from(all / u64::from((*jobs).max(1))).unwrap_or(u32::MAX).max(1)
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOP: Tags = Tags { disk: None, requests: 128, queues: 1, driver: 128, scheduled: false, members: 1 };

    fn told(tags: &Tags, depth: u32, jobs: u32) -> Option<String> {
        let workload = Workload { queue_depth: depth, jobs, ..Workload::example() };
        tags.shortage(&workload).map(|shortage| shortage.to_string())
    }

    #[test]
    fn more_requests_than_tags_are_told_with_the_file_and_what_helps() {
        let disk = Tags { disk: Some("loop3".into()), ..LOOP };
        assert_eq!(told(&disk, 128, 1), None);
        let short = told(&disk, 128, 2).unwrap();
        for part in ["iodepth 128 x 2 jobs keeps 256 requests", "/sys/block/loop3/queue/nr_requests is 128", "(iodepth 64)"] {
            assert!(short.contains(part), "{short}");
        }
        assert!(!short.contains("echo"), "a scheduler would make room, and cost more than is won: {short}");
        // Lowered below what the driver has, or with a scheduler, the file takes the number itself.
        for able in [Tags { requests: 64, driver: 256, ..disk.clone() }, Tags { scheduled: true, ..disk.clone() }] {
            let short = told(&able, 128, 2).unwrap();
            assert!(short.ends_with("or: echo 256 > /sys/block/loop3/queue/nr_requests"), "{short}");
        }
        assert!(told(&LOOP, 256, 1).unwrap().contains("the loop device that will be made takes 128"));
    }

    #[test]
    fn as_many_random_requests_as_tags_leave_none_to_spare() {
        let tight = |rw, depth| LOOP.has_none_to_spare(&Workload { rw, queue_depth: depth, jobs: 1, ..Workload::example() });
        assert!(tight(Rw::Randread, 128) && !tight(Rw::Randread, 127) && !tight(Rw::Randread, 129));
        assert!(!tight(Rw::Read, 128), "neighbours share a tag");
    }

    #[test]
    fn jobs_spread_over_hardware_queues_and_requests_over_devices() {
        let nvme = Tags { disk: Some("nvme0n1".into()), requests: 1023, queues: 8, driver: 1023, ..LOOP };
        assert_eq!(told(&nvme, 128, 16), None, "two jobs on each queue");
        assert!(told(&nvme, 2048, 1).is_some(), "one job has one queue at a time");
        assert!(told(&nvme, 1024, 8).unwrap().contains("1024 of them on one hardware queue"));
        assert_eq!(told(&Tags { members: 2, ..LOOP }, 128, 2), None, "each device has half of them");
        let cached = Workload { direct: false, queue_depth: 1000, ..Workload::example() };
        let nops = Workload { rw: Rw::Nop, queue_depth: 1000, ..Workload::example() };
        assert_eq!((LOOP.shortage(&cached), LOOP.shortage(&nops)), (None, None));
    }
}
