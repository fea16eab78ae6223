//! The one declaration of every toggle: key, levels, meaning, source, constraints.
//!
//! TOML keys, help, the `toggles` table, CSV columns, chart labels and plan constraints are all derived from [`SPECS`]. No other module
//! lists toggles; the engine asks for them by name.

mod levels;

pub use levels::Levels;

/// A factor of the engine that an experiment can switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Toggle {
    FixedBuffers,
    FixedFiles,
    BatchSubmit,
    TimeCheckInterval,
    FastPath,
    StatsBatching,
    LatencySampling,
    Pow2Mask,
    Iopoll,
    QueueRefill,
    Sqpoll,
    NumaBind,
    CpuAffinity,
    BatchComplete,
    Taskrun,
    RegisteredRing,
    NoSqarray,
    HugePages,
    Passthrough,
}

/// The values a toggle can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Named levels; a level is stored as its index.
    Names(&'static [&'static str]),
    /// A number; a level is stored as itself.
    Count { min: u32, max: Max },
}

/// Upper end of a numeric toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Max {
    Fixed(u32),
    QueueDepth,
}

/// How far apart two levels of a toggle are kept while they are measured side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Arms may follow each other slice by slice in one process.
    Slice,
    /// As `Slice`, with buffer pools of their own.
    Pool,
    /// The setting belongs to the thread and is reset after the slice.
    Thread,
    /// Round processes of their own (the arm creates kernel threads).
    Process,
}

/// What a level other than *off* demands of the cell it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    None,
    /// 100 % sequential reads.
    SequentialReads,
    /// A queue depth that is a power of two.
    PowerOfTwoDepth,
}

/// One row of the declaration.
#[derive(Debug)]
pub struct Spec {
    pub toggle: Toggle,
    /// TOML key and CSV column stem.
    pub key: &'static str,
    pub domain: Domain,
    /// The level the seed calls "was".
    pub off: u32,
    /// The level an experiment switches to unless it names another.
    pub on: u32,
    /// First kernel that has it.
    pub since: &'static str,
    pub isolation: Isolation,
    pub need: Need,
    /// False until the engine implements it; experiments that name it are refused.
    pub built: bool,
    /// What *on* changes, one sentence.
    pub doc: &'static str,
    /// Where the mechanism is documented.
    pub source: &'static str,
}

const SWITCH: Domain = Domain::Names(&["off", "on"]);

/// A switch that exists in the engine; the rows below override what differs.
const BASE: Spec = Spec {
    toggle: Toggle::FixedBuffers,
    key: "",
    domain: SWITCH,
    off: 0,
    on: 1,
    since: "5.1",
    isolation: Isolation::Slice,
    need: Need::None,
    built: true,
    doc: "",
    source: "",
};

const PLANNED: Spec = Spec { built: false, ..BASE };

/// Every toggle, in the order in which tables show them and ladders climb them.
pub const SPECS: [Spec; 19] = [
    Spec {
        toggle: Toggle::FixedBuffers,
        key: "fixed_buffers",
        doc: "READ_FIXED/WRITE_FIXED on one registered buffer per request in flight.",
        source: "io_uring_register(2) IORING_REGISTER_BUFFERS",
        ..BASE
    },
    Spec {
        toggle: Toggle::FixedFiles,
        key: "fixed_files",
        doc: "The file is registered and requests carry IOSQE_FIXED_FILE.",
        source: "io_uring_register(2) IORING_REGISTER_FILES",
        ..BASE
    },
    Spec {
        toggle: Toggle::BatchSubmit,
        key: "batch_submit",
        domain: Domain::Count { min: 1, max: Max::QueueDepth },
        off: 1,
        on: 4,
        doc: "Requests queued before one io_uring_enter submits them.",
        source: "io_uring_enter(2) to_submit",
        ..BASE
    },
    Spec {
        toggle: Toggle::TimeCheckInterval,
        key: "time_check_interval",
        domain: Domain::Count { min: 1, max: Max::Fixed(1_000_000) },
        off: 1,
        on: 1000,
        doc: "Loop turns between two looks at the clock for the deadline.",
        source: "clock_gettime(2)",
        ..BASE
    },
    Spec {
        toggle: Toggle::FastPath,
        key: "fast_path",
        need: Need::SequentialReads,
        doc: "Sequential reads compute the next offset inline instead of asking a pattern object behind a Mutex.",
        source: "the seed, optimisation 5",
        ..BASE
    },
    Spec {
        toggle: Toggle::StatsBatching,
        key: "stats_batching",
        doc: "Shared counters are updated once per reap instead of once per completion.",
        source: "the seed, optimisation 6",
        ..BASE
    },
    Spec {
        toggle: Toggle::LatencySampling,
        key: "latency_sampling",
        domain: Domain::Count { min: 0, max: Max::Fixed(1_000_000) },
        off: 1,
        on: 100,
        doc: "Every N-th request is timed; 0 times none.",
        source: "clock_gettime(2)",
        ..BASE
    },
    Spec {
        toggle: Toggle::Pow2Mask,
        key: "pow2_mask",
        need: Need::PowerOfTwoDepth,
        doc: "The circular queue of free slots advances by a mask instead of a modulo.",
        source: "the seed, optimisation 8",
        ..BASE
    },
    Spec {
        toggle: Toggle::Iopoll,
        key: "iopoll",
        domain: Domain::Names(&["off", "on", "hybrid"]),
        doc: "Completions are polled from the device instead of interrupting.",
        source: "io_uring_setup(2) IORING_SETUP_IOPOLL; hybrid: 6.13",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::QueueRefill,
        key: "queue_refill",
        domain: Domain::Names(&["threshold", "eager"]),
        doc: "Eager flushes what is queued and sleeps when nothing has completed; threshold spins until fewer than 8 requests are pending.",
        source: "the seed, phases 3 and 4; io_uring_enter(2) min_complete",
        ..BASE
    },
    Spec {
        toggle: Toggle::Sqpoll,
        key: "sqpoll",
        isolation: Isolation::Process,
        doc: "A kernel thread submits.",
        source: "io_uring_setup(2) IORING_SETUP_SQPOLL",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::NumaBind,
        key: "numa_bind",
        isolation: Isolation::Pool,
        doc: "Buffers and thread live on the device's NUMA node.",
        source: "mbind(2)",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::CpuAffinity,
        key: "cpu_affinity",
        isolation: Isolation::Thread,
        doc: "The worker is pinned to one CPU.",
        source: "sched_setaffinity(2)",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::BatchComplete,
        key: "batch_complete",
        domain: Domain::Count { min: 1, max: Max::QueueDepth },
        off: 1,
        on: 16,
        doc: "Completions that one wait asks for.",
        source: "io_uring_enter(2) min_complete",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::Taskrun,
        key: "taskrun",
        domain: Domain::Names(&["default", "coop", "defer"]),
        on: 2,
        since: "6.1",
        doc: "When completion work runs in the submitting task.",
        source: "io_uring_setup(2) IORING_SETUP_COOP_TASKRUN, IORING_SETUP_DEFER_TASKRUN",
        ..BASE
    },
    Spec {
        toggle: Toggle::RegisteredRing,
        key: "registered_ring",
        since: "5.18",
        doc: "The ring's own descriptor is registered.",
        source: "io_uring_register(2) IORING_REGISTER_RING_FDS",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::NoSqarray,
        key: "no_sqarray",
        since: "6.6",
        doc: "The submission queue has no index array.",
        source: "io_uring_setup(2) IORING_SETUP_NO_SQARRAY",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::HugePages,
        key: "huge_pages",
        domain: Domain::Names(&["off", "thp", "hugetlb"]),
        isolation: Isolation::Pool,
        doc: "Buffers lie in huge pages.",
        source: "madvise(2), mmap(2) MAP_HUGETLB",
        ..PLANNED
    },
    Spec {
        toggle: Toggle::Passthrough,
        key: "passthrough",
        since: "5.19",
        doc: "NVMe commands through IORING_OP_URING_CMD on the generic device.",
        source: "io_uring_enter(2) IORING_OP_URING_CMD",
        ..PLANNED
    },
];

/// Why a level was refused; the caller adds file and line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("unknown toggle {key:?}; toggles are: {}", keys(|_| true))]
    Unknown { key: String },
    #[error("toggle {key:?} is not implemented yet; implemented are: {}", keys(|s| s.built))]
    NotBuilt { key: &'static str },
    #[error("{key} = {value:?} is not a level; levels are: {levels}")]
    BadLevel { key: &'static str, value: String, levels: String },
}

fn keys(which: fn(&&Spec) -> bool) -> String {
    SPECS.iter().filter(which).map(|s| s.key).collect::<Vec<_>>().join(", ")
}

impl Toggle {
    /// The row of the declaration.
    pub fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }

    /// TOML key and CSV column stem.
    pub fn key(self) -> &'static str {
        self.spec().key
    }

    /// The toggles the engine implements, in table order.
    pub fn built() -> impl Iterator<Item = Toggle> {
        SPECS.iter().filter(|s| s.built).map(|s| s.toggle)
    }

    /// Finds an implemented toggle by key.
    pub fn parse(key: &str) -> Result<Toggle, Error> {
        match SPECS.iter().find(|s| s.key == key) {
            None => Err(Error::Unknown { key: key.into() }),
            Some(spec) if !spec.built => Err(Error::NotBuilt { key: spec.key }),
            Some(spec) => Ok(spec.toggle),
        }
    }
}

impl Spec {
    /// Reads a level as written in an experiment.
    pub fn parse_level(&self, value: &str) -> Result<u32, Error> {
        let level = match self.domain {
            Domain::Names(names) => names.iter().position(|n| *n == value).map(|i| i as u32),
            Domain::Count { min, max } => value.parse().ok().filter(|n| *n >= min && !matches!(max, Max::Fixed(max) if *n > max)),
        };
        level.ok_or_else(|| Error::BadLevel { key: self.key, value: value.into(), levels: self.levels() })
    }

    /// A level as written in experiments and CSV.
    pub fn level_text(&self, level: u32) -> String {
        match self.domain {
            Domain::Names(names) => names[level as usize].to_string(),
            Domain::Count { .. } => level.to_string(),
        }
    }

    /// All levels, for people.
    pub fn levels(&self) -> String {
        match self.domain {
            Domain::Names(names) => names.join(", "),
            Domain::Count { min, max: Max::QueueDepth } => format!("{min}..=queue_depth"),
            Domain::Count { min, max: Max::Fixed(max) } => format!("{min}..={max}"),
        }
    }

    /// Says why `level` cannot run at this depth and access pattern; `None` when it can.
    pub fn refusal(&self, level: u32, queue_depth: u32, sequential_reads: bool) -> Option<String> {
        if let Domain::Count { max: Max::QueueDepth, .. } = self.domain
            && level > queue_depth
        {
            return Some(format!("{} = {level} exceeds the queue depth of {queue_depth}", self.key));
        }
        if level == self.off {
            return None;
        }
        match self.need {
            Need::SequentialReads if !sequential_reads => {
                Some(format!("{} needs 100 % sequential reads (rw = \"read\")", self.key))
            }
            Need::PowerOfTwoDepth if !queue_depth.is_power_of_two() => {
                Some(format!("{} needs a power-of-two queue depth, not {queue_depth}", self.key))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        let mut seen = std::collections::HashSet::new();
        for (i, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.toggle as usize, i, "{} stands in the place of its variant", spec.key);
            assert!(seen.insert(spec.key), "{} is declared twice", spec.key);
            assert!(spec.doc.ends_with('.'), "{} has a sentence", spec.key);
            assert!(!spec.source.is_empty(), "{} names its source", spec.key);
            assert_ne!(spec.off, spec.on, "{} has two levels", spec.key);
            for level in [spec.off, spec.on] {
                assert_eq!(spec.parse_level(&spec.level_text(level)), Ok(level), "{} round-trips", spec.key);
            }
        }
    }

    #[test]
    fn constraints_name_what_they_need() {
        assert!(Toggle::FastPath.spec().refusal(1, 128, false).unwrap().contains("sequential"));
        assert!(Toggle::Pow2Mask.spec().refusal(1, 96, true).unwrap().contains("96"));
        assert!(Toggle::BatchSubmit.spec().refusal(64, 32, true).unwrap().contains("32"));
        assert_eq!(Toggle::FastPath.spec().refusal(0, 96, false), None, "off needs nothing");
    }
}
