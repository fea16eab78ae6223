//! A process arm that was started: continued and stopped, alone or with all that it started, and read at the edges of slices.

use super::Error;
use super::counter::{Counter, CpuClock};
use crate::clock::monotonic_ns;
use crate::control_group::Group;
use crate::process::{Process, Stop};
use std::time::{Duration, Instant};

/// Between two looks at what is still in flight.
const SETTLING: Duration = Duration::from_micros(50);

/// A contestant that was started.
pub struct Live {
    pub process: Process,
    pub counter: Counter,
    pub whole: Whole,
    /// Measured time since it last moved anything.
    pub stalled: Duration,
}

/// What an arm is: whose CPU time is read, and what is stopped.
pub enum Whole {
    Process(CpuClock),
    Group(Group),
}

impl Whole {
    /// The process alone.
    pub fn process(process: &Process) -> Result<Whole, Error> {
        Ok(Whole::Process(CpuClock::of(process.pid())?))
    }
}

/// Readings at one edge of a slice, always taken in this order: what lies between the first two is the same at both edges and cancels.
#[derive(Clone, Copy)]
pub struct Edge {
    pub bytes: u64,
    pub monotonic_ns: u64,
    pub cpu_ns: u64,
}

impl Live {
    /// `None` once it is gone.
    pub fn edge(&self) -> Option<Edge> {
        let bytes = self.counter.bytes().ok()?;
        let monotonic_ns = monotonic_ns();
        let cpu_ns = match &self.whole {
            Whole::Process(clock) => clock.nanoseconds()?,
            Whole::Group(group) => group.cpu_ns()?,
        };
        Some(Edge { bytes, monotonic_ns, cpu_ns })
    }

    /// Lets it run on.
    pub fn resume(&self) {
        match &self.whole {
            Whole::Process(_) => self.process.resume(),
            Whole::Group(group) => group.thaw(),
        }
    }

    /// Stops it to its last thread, for at most `limit`.
    pub fn stop(&self, limit: Duration) -> Stop {
        match &self.whole {
            Whole::Process(_) => self.process.stop(limit),
            Whole::Group(_) if self.process.ended() => Stop::Ended,
            Whole::Group(group) if group.freeze(limit) => Stop::Stopped,
            Whole::Group(_) => Stop::Late,
        }
    }

    /// Ends it, with what it started.
    pub fn end(&self) {
        self.process.kill();
        self.end_group();
    }

    /// Ends what it started besides itself.
    pub fn end_group(&self) {
        if let Whole::Group(group) = &self.whole {
            group.kill();
        }
    }

    /// Waits until nothing is in flight in two looks in a row and the counter stood still between them; false when that takes too long.
    pub fn settle(&self, limit: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + limit;
        let (mut idle, mut bytes) = (self.counter.idle()?, self.counter.bytes()?);
        loop {
            std::thread::sleep(SETTLING);
            let (now_idle, now_bytes) = (self.counter.idle()?, self.counter.bytes()?);
            if idle && now_idle && now_bytes == bytes {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            (idle, bytes) = (now_idle, now_bytes);
        }
    }
}
