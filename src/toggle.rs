//! The one declaration of every toggle: key, levels, meaning, source, constraints.
//!
//! TOML keys, help, the `toggles` table, CSV columns, chart labels and plan constraints are all derived from [`SPECS`]. No other module
//! lists toggles; the engine asks for them by name.

mod constraint;
mod levels;
pub mod seats;
mod table;

pub use constraint::{EXCLUSIONS, Exclusion, MOST_BUFFERS, MOST_BUFFERS_ONCE, Need, Setting, refusal};
pub use levels::Levels;
pub use table::SPECS;

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
    pub needs: &'static [Need],
    /// What *on* changes, one sentence.
    pub doc: &'static str,
    /// Where the mechanism is documented.
    pub source: &'static str,
    pub calls: Calls,
}

/// How a program of one's own gets what *on* does; empty where there is no such thing. `{level}` stands for the level, `{LEVEL}` for it in capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Of the io-uring crate.
    pub rust: &'static str,
    /// Of liburing, or the kernel's flag.
    pub liburing: &'static str,
    /// Options of fio's io_uring engine.
    pub fio: &'static str,
}

/// Why a level was refused; the caller adds file and line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("unknown toggle {key:?}; toggles are: {}", keys())]
    Unknown { key: String },
    #[error("{key} = {value:?} is not a level; levels are: {levels}")]
    BadLevel { key: &'static str, value: String, levels: String },
}

fn keys() -> String {
    SPECS.map(|s| s.key).join(", ")
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

    /// All toggles, in table order.
    pub fn all() -> impl Iterator<Item = Toggle> {
        SPECS.iter().map(|s| s.toggle)
    }

    /// Finds a toggle by key.
    pub fn parse(key: &str) -> Result<Toggle, Error> {
        SPECS.iter().find(|s| s.key == key).map(|s| s.toggle).ok_or_else(|| Error::Unknown { key: key.into() })
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

    /// Every level but *off*.
    pub fn on_levels(&self) -> Vec<u32> {
        match self.domain {
            Domain::Names(names) => (0..names.len() as u32).filter(|l| *l != self.off).collect(),
            Domain::Count { .. } => vec![self.on],
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
}
