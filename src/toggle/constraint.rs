//! What levels need of the place they run in, and which levels exclude each other.

use super::seats::Seats;
use super::{Domain, Levels, Max, Toggle};
use crate::workload::{Rw, Workload};

/// What a level other than *off* demands of the cell it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// 100 % sequential reads, or NOPs, which have no offset.
    SequentialReads,
    /// A queue depth that is a power of two.
    PowerOfTwoDepth,
    /// `direct = true`: io_uring_setup(2) allows IOPOLL for files opened with O_DIRECT only.
    DirectIo,
    /// A device that says which NUMA node it is attached to, or `[engine] numa_node`.
    NumaNode,
    /// An NVMe namespace with its generic character device.
    NvmeDevice,
    /// A buffer for each request in flight, which the kernel registers in one table.
    BufferTable,
}

/// What a cell offers beside its workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Setting {
    /// The node that `numa_bind` binds to, or why there is none.
    pub numa_node: Option<u32>,
    /// `/dev/ngXnY` of an NVMe target.
    pub generic: Vec<std::path::PathBuf>,
    /// The CPUs for jobs.
    #[serde(default)]
    pub seats: Seats,
    /// The most buffers that the kernel registers; `None` where it was not asked, which stands for [`MOST_BUFFERS`].
    #[serde(default)]
    pub most_buffers: Option<u32>,
}

/// `IORING_MAX_REG_BUFFERS` (io_uring/rsrc.c of the kernel).
pub const MOST_BUFFERS: u32 = 1 << 14;
/// The same before kernel 5.13: `UIO_MAXIOV`.
pub const MOST_BUFFERS_ONCE: u32 = 1024;

impl Need {
    /// Says what is missing.
    fn missing(self, workload: &Workload, setting: &Setting) -> Option<String> {
        let depth = workload.queue_depth;
        match self {
            Need::SequentialReads if !workload.inline_offsets() => {
                Some("100 % sequential reads (rw = \"read\" without zipf) or rw = \"nop\"".into())
            }
            Need::PowerOfTwoDepth if !depth.is_power_of_two() => Some(format!("a power-of-two queue depth, not {depth}")),
            Need::BufferTable if depth > setting.most_buffers.unwrap_or(MOST_BUFFERS) => {
                let most = setting.most_buffers.unwrap_or(MOST_BUFFERS);
                Some(format!(
                    "an iodepth of at most {most}, not {depth}: so many buffers are registered with a ring ({MOST_BUFFERS}, and \
                     {MOST_BUFFERS_ONCE} before kernel 5.13); lower iodepth or leave fixed_buffers out"
                ))
            }
            Need::DirectIo if !workload.direct => Some("direct = true (io_uring_setup(2))".into()),
            Need::NumaNode if setting.numa_node.is_none() => {
                Some("a device that names its NUMA node (/sys/block/X/device/numa_node); [engine] numa_node = N names one".into())
            }
            Need::NvmeDevice if setting.generic.is_empty() || workload.rw == Rw::Nop => Some(
                "reads or writes on an NVMe namespace with its /dev/ngXnY ([target] kind = \"nvme\", path = \"/dev/nvme0n1\")"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// Two levels that cannot stand together, and who says so.
#[derive(Debug)]
pub struct Exclusion {
    pub one: (Toggle, u32),
    pub other: (Toggle, u32),
    pub source: &'static str,
}

/// Combinations that the kernel, or the library between us, refuses.
pub const EXCLUSIONS: &[Exclusion] = &[
    Exclusion {
        one: (Toggle::Sqpoll, 1),
        other: (Toggle::Taskrun, 1),
        source: "io_uring_setup(2): IORING_SETUP_COOP_TASKRUN with SQPOLL is EINVAL",
    },
    Exclusion {
        one: (Toggle::Sqpoll, 1),
        other: (Toggle::Taskrun, 2),
        source: "io_uring_setup(2): IORING_SETUP_DEFER_TASKRUN with SQPOLL is EINVAL",
    },
    Exclusion {
        one: (Toggle::Passthrough, 1),
        other: (Toggle::Iopoll, 2),
        source: "the io-uring crate can adopt a ring with IORING_SETUP_HYBRID_IOPOLL only with 64-byte entries",
    },
];

/// Says why these levels cannot run in this cell, and which toggle is at fault; `None` when they can.
pub fn refusal(levels: &Levels, workload: &Workload, setting: &Setting) -> Option<(Toggle, String)> {
    Toggle::all().find_map(|toggle| Some((toggle, alone(toggle, levels.get(toggle), workload, setting)?))).or_else(|| {
        let both = |e: &&Exclusion| levels.get(e.one.0) == e.one.1 && levels.get(e.other.0) == e.other.1;
        let excluded = EXCLUSIONS.iter().find(both).map(|e| (e.one.0, e.text()));
        excluded.or_else(|| setting.seats.refusal(levels, setting.numa_node))
    })
}

/// Says why a level cannot run in this cell, whatever the other toggles are.
fn alone(toggle: Toggle, level: u32, workload: &Workload, setting: &Setting) -> Option<String> {
    let spec = toggle.spec();
    if let Domain::Count { max: Max::QueueDepth, .. } = spec.domain
        && level > workload.queue_depth
    {
        return Some(format!("{} = {level} exceeds the queue depth of {}", spec.key, workload.queue_depth));
    }
    if toggle == Toggle::QueueRefill && workload.rate.is_some() && level == spec.off {
        return Some("rate needs [fixed] queue_refill = \"eager\": at a fixed rate no queue is kept full".into());
    }
    if level == spec.off {
        return None;
    }
    let missing = spec.needs.iter().find_map(|need| need.missing(workload, setting))?;
    Some(format!("{} = {} needs {missing}", spec.key, spec.level_text(level)))
}

impl Exclusion {
    /// For people: both levels and the source.
    pub fn text(&self) -> String {
        let level = |(toggle, level): (Toggle, u32)| format!("{} = {}", toggle.key(), toggle.spec().level_text(level));
        format!("{} excludes {} ({})", level(self.one), level(self.other), self.source)
    }

    /// True when `toggle` is one of the two.
    pub fn names(&self, toggle: Toggle) -> bool {
        self.one.0 == toggle || self.other.0 == toggle
    }
}

impl Need {
    /// For the table of toggles.
    pub fn text(self) -> &'static str {
        match self {
            Need::SequentialReads => "sequential reads or nop",
            Need::PowerOfTwoDepth => "power-of-two iodepth",
            Need::DirectIo => "direct = true",
            Need::NumaNode => "a device with a NUMA node",
            Need::NvmeDevice => "an NVMe namespace with /dev/ngXnY",
            Need::BufferTable => "iodepth of at most 16384",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(toggle: Toggle, level: u32, change: impl Fn(&mut Workload)) -> Option<String> {
        let mut workload = Workload::example();
        change(&mut workload);
        refusal(&Levels::all_off().with(toggle, level), &workload, &Setting::default()).map(|(_, reason)| reason)
    }

    #[test]
    fn constraints_name_what_they_need() {
        assert!(reason(Toggle::FastPath, 1, |w| w.rw = Rw::Randread).unwrap().contains("sequential"));
        assert!(reason(Toggle::Pow2Mask, 1, |w| w.queue_depth = 96).unwrap().contains("96"));
        assert!(reason(Toggle::BatchSubmit, 64, |w| w.queue_depth = 32).unwrap().contains("32"));
        assert!(reason(Toggle::Iopoll, 2, |w| w.direct = false).unwrap().contains("direct"));
        assert!(reason(Toggle::NumaBind, 1, |_| ()).unwrap().contains("numa_node"));
        assert!(reason(Toggle::Passthrough, 1, |_| ()).unwrap().contains("/dev/ngXnY"));
        assert!(reason(Toggle::FixedBuffers, 1, |w| w.queue_depth = 20_000).unwrap().contains("at most 16384, not 20000"));
        assert_eq!(reason(Toggle::FixedBuffers, 1, |w| w.queue_depth = 16_384), None);
        let old = Setting { most_buffers: Some(MOST_BUFFERS_ONCE), ..Setting::default() };
        let deep = Workload { queue_depth: 1025, ..Workload::example() };
        let (toggle, reason_of_old) = refusal(&Levels::all_off().with(Toggle::FixedBuffers, 1), &deep, &old).unwrap();
        assert!(toggle == Toggle::FixedBuffers && reason_of_old.contains("at most 1024, not 1025"), "{reason_of_old}");
        assert_eq!(reason(Toggle::FastPath, 0, |w| w.rw = Rw::Randread), None, "off needs nothing");
    }

    #[test]
    fn what_the_kernel_refuses_together_is_refused() {
        let levels = Levels::all_off().with(Toggle::Sqpoll, 1).with(Toggle::Taskrun, 2);
        let (toggle, reason) = refusal(&levels, &Workload::example(), &Setting::default()).unwrap();
        assert!(toggle == Toggle::Sqpoll && reason.contains("taskrun = defer") && reason.contains("io_uring_setup(2)"));
    }
}
