//! A profile of a round: how many ticks fell into the slices of each arm, by cause.

use super::category::{Context, Frame, Rules, UNKNOWN};
use super::sampler::{Clocks, Scope, Tick};
use super::symbols::Symbols;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;

/// A stretch of time that belongs to an arm.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub start_ns: u64,
    pub end_ns: u64,
    pub arm: usize,
}

/// Ticks of one arm with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub arm: usize,
    /// True for this process and the kernel threads made for it; false for kernel threads and interrupts that serve the target.
    pub own: bool,
    pub context: String,
    pub category: String,
    /// The function that was interrupted, where no rule knows its category; else empty.
    pub symbol: String,
    pub ticks: u64,
    /// What the ticks stand for: cycles or nanoseconds.
    pub weight: u64,
}

/// What the clocks of one round saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The event that ticked.
    pub event: String,
    /// Ticks that are missing, at least.
    pub lost: u64,
    pub causes: Vec<Cause>,
}

/// A profile in the making.
pub struct Recorder {
    clocks: Clocks,
    /// Of the threads seen so far: many are gone in the end.
    names: HashMap<u32, String>,
    named: usize,
}

/// What tells causes apart.
type Key = (bool, Context, &'static str, String);

impl Recorder {
    /// Starts the clocks; to be called before threads and rings are made.
    pub fn start(frequency: u32) -> io::Result<Recorder> {
        Ok(Recorder { clocks: Clocks::start(frequency)?, names: HashMap::new(), named: 0 })
    }

    /// Empties the clocks' buffers; to be called between slices.
    pub fn collect(&mut self) {
        self.clocks.collect();
        for tick in &self.clocks.ticks()[self.named..] {
            self.names.entry(tick.thread).or_insert_with(|| thread_name(tick.thread));
        }
        self.named = self.clocks.ticks().len();
    }

    /// True where the kernel threads and interrupts that serve the target are watched as well.
    pub fn machine(&self) -> bool {
        self.clocks.scope == Scope::Machine
    }

    /// Stops the clocks and names what they saw. `stretches` are in order of time and do not overlap.
    pub fn finish(mut self, stretches: &[Stretch]) -> Profile {
        self.collect();
        let event = self.clocks.event;
        let (ticks, lost) = self.clocks.stop();
        let mut naming = Naming { rules: Rules::default(), symbols: Symbols::new(), threads: self.names };
        let mut causes: BTreeMap<(usize, Key), (u64, u64)> = BTreeMap::new();
        for tick in &ticks {
            let Some(arm) = arm_at(stretches, tick.time_ns) else { continue };
            if let Some(key) = naming.name(tick) {
                let (ticks, weight) = causes.entry((arm, key)).or_default();
                (*ticks, *weight) = (*ticks + 1, *weight + tick.period);
            }
        }
        let cause = |((arm, (own, context, category, symbol)), (ticks, weight)): ((usize, Key), (u64, u64))| Cause {
            arm,
            own,
            context: context.name().into(),
            category: category.into(),
            symbol,
            ticks,
            weight,
        };
        Profile { event: event.into(), lost, causes: causes.into_iter().map(cause).collect() }
    }
}

/// The arm whose stretch a moment falls into.
fn arm_at(stretches: &[Stretch], time_ns: u64) -> Option<usize> {
    let after = stretches.partition_point(|s| s.start_ns <= time_ns);
    stretches[..after].last().filter(|s| time_ns < s.end_ns).map(|s| s.arm)
}

/// Names ticks.
struct Naming {
    rules: Rules,
    symbols: Symbols,
    threads: HashMap<u32, String>,
}

impl Naming {
    /// What the tick is a part of; `None` for what has nothing to do with the run.
    fn name(&mut self, tick: &Tick) -> Option<Key> {
        let own = tick.process == std::process::id();
        let thread = self.threads.get(&tick.thread).cloned().unwrap_or_default();
        let chain: Vec<Frame> = tick.chain.iter().map(|address| (*self.symbols.frame(*address)).clone()).collect();
        let context = Context::of(&thread, &chain);
        if !own && !serves_targets(&chain, &thread, context) {
            return None;
        }
        let after_syscall = tick.chain.first().is_some_and(|address| self.symbols.follows_syscall(*address));
        let category = self.rules.classify(&chain, after_syscall);
        let known = category != UNKNOWN;
        let symbol = chain.first().and_then(|f| f.names.first()).cloned().unwrap_or_else(|| "(no symbol)".into());
        Some((own, context, category, if known { String::new() } else { symbol }))
    }
}

/// Kernel threads that copy or complete for block devices, and interrupts, whoever they interrupt.
fn serves_targets(chain: &[Frame], thread: &str, context: Context) -> bool {
    let workers = ["kworker", "loop", "ksoftirqd", "kblockd", "nvme"];
    let works = chain.iter().all(|f| f.kernel) && workers.iter().any(|w| thread.starts_with(w));
    works || context == Context::Interrupt
}

/// The name of a thread that is still there.
fn thread_name(thread: u32) -> String {
    std::fs::read_to_string(format!("/proc/{thread}/comm")).map_or_else(|_| String::new(), |name| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_belong_to_the_slice_they_fall_into() {
        let stretches = [Stretch { start_ns: 10, end_ns: 20, arm: 3 }, Stretch { start_ns: 30, end_ns: 40, arm: 5 }];
        let at = |time| arm_at(&stretches, time);
        assert_eq!([at(9), at(10), at(19), at(20), at(35), at(40)], [None, Some(3), Some(3), None, Some(5), None]);
    }
}
