//! One round of process arms: every arm is started once, then they are stopped and continued in turn, and what each moves in its slices is
//! counted by the kernel, alike for all.
//!
//! Only one arm ever runs. Between two slices the last one is stopped to its last thread, nothing is in flight and the counter stands
//! still; where that cannot be had in time, it is counted. Everything started here is killed and reaped however the round ends.

use super::Error;
use super::counter::{self, Counter};
use super::live::{Edge, Live, Whole};
use crate::control_group::Group;
use crate::plan::Arm;
use crate::process::{Process, Stop};
use crate::random::Decisions;
use crate::row::Outcome;
use crate::run::round::Spec;
use crate::spawn::{Interrupts, Tether};
use crate::target::Target;
use crate::workload::Workload;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// For all arms to start side by side.
const HEAD_START: Duration = Duration::from_millis(300);
/// How often it is looked whether one of them writes without end meanwhile.
const HEAD_LOOK: Duration = Duration::from_millis(20);
/// Between two looks at an arm that starts.
const STARTING: Duration = Duration::from_millis(5);
/// An arm runs once the counter moved in this many looks in a row: reading its own program from disk is no start.
const STARTED_LOOKS: u32 = 3;

/// How an arm is started.
#[derive(Clone, Debug)]
pub enum Start {
    /// Our engine; see [`worker`].
    Ours(Box<Spec>),
    /// Another program, whose running time must outlast the round, pauses included.
    Program { program: PathBuf, arguments: Vec<String>, input: String },
    /// A command that may start processes of its own: stopped, timed and ended as one control group. Same rule.
    Command { words: Vec<String> },
}

/// What takes part.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// For messages: `fio:tuned`.
    pub name: String,
    pub start: Start,
}

/// How long things take, and how long they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Measured stretch.
    pub slice: Duration,
    /// From continuing an arm to the measured stretch: its queue fills, its caches warm.
    pub warm_up: Duration,
    /// Until an arm moves something.
    pub startup_limit: Duration,
    /// Until an arm is stopped.
    pub stop_limit: Duration,
    /// Until nothing is in flight any more.
    pub settle_limit: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            slice: Duration::from_millis(20),
            warm_up: Duration::from_millis(5),
            startup_limit: Duration::from_secs(20),
            stop_limit: Duration::from_secs(2),
            settle_limit: Duration::from_millis(200),
        }
    }
}

impl Timing {
    /// Blocks in which the slices of `arms` arms take `round_time`; at least one.
    pub fn blocks(&self, round_time: Duration, arms: usize) -> u32 {
        let block = self.slice.as_secs_f64() * arms.max(1) as f64;
        (round_time.as_secs_f64() / block).round().max(1.0) as u32
    }
}

/// One slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Index of the contestant.
    pub arm: usize,
    pub block: u32,
    pub position: u32,
    pub duration_ns: u64,
    pub ops: u64,
    pub bytes: u64,
    /// CPU time of the process with all its threads and kernel workers.
    pub cpu_total_ns: u64,
}

/// What became of a contestant. Slices before a failure stand.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmReport {
    pub outcome: Outcome,
    pub reason: String,
    /// Alone, after the common head start, until it was seen moving.
    pub startup: Duration,
}

/// One round.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub slices: Vec<Slice>,
    pub arms: Vec<ArmReport>,
    /// Order in which the arms were started.
    pub setup_order: Vec<usize>,
    /// Slices after which something was still in flight, or the counter still moved, when the limit was reached.
    pub violations: u32,
    /// Until all arms were ready.
    pub startup: Duration,
}

/// What a round needs to know.
pub struct Contest<'a> {
    pub tether: &'a Tether,
    pub target: &'a Target,
    pub workload: &'a Workload,
    pub contestants: &'a [Contestant],
    pub timing: Timing,
    pub blocks: u32,
    pub seed: u64,
    pub interrupts: &'a Interrupts,
}

/// The spec of our engine as a process arm: the one arm of `spec`, for ever.
pub fn worker(spec: Spec) -> Spec {
    let arms = spec.arms.into_iter().map(|arm| Arm { copies: 1, ..arm }).collect();
    // The worker replaces the hang guard: it runs until it is killed.
    Spec { arms, blocks: 1, completions: u64::MAX, ..spec }
}

/// The state of a round.
struct Stage<'a> {
    contest: &'a Contest<'a>,
    live: Vec<Option<Live>>,
    arms: Vec<ArmReport>,
    violations: u32,
}

/// Conducts the round. Arms that fail are left out and say why; only what concerns all of them is an error.
pub fn conduct(contest: &Contest<'_>) -> Result<Report, Error> {
    let _lent = contest.target.lend()?;
    counter::preflight(contest.target)?;
    let mut decisions = Decisions::new(contest.seed);
    let count = contest.contestants.len();
    let mut setup_order: Vec<usize> = (0..count).collect();
    decisions.shuffle(&mut setup_order);
    let ready = ArmReport { outcome: Outcome::Completed, reason: String::new(), startup: Duration::ZERO };
    let mut stage = Stage { contest, live: (0..count).map(|_| None).collect(), arms: vec![ready; count], violations: 0 };
    let started = Instant::now();
    stage.launch_all(&setup_order)?;
    for &arm in &setup_order {
        stage.see_moving(arm)?;
    }
    let startup = started.elapsed();
    let mut slices = Vec::with_capacity(count * contest.blocks as usize);
    let mut order: Vec<usize> = (0..count).collect();
    for block in 0..contest.blocks {
        decisions.shuffle(&mut order);
        for (&arm, position) in order.iter().zip(0..) {
            slices.extend(stage.slice(arm)?.map(|slice| Slice { block, position, ..slice }));
        }
    }
    Ok(Report { slices, arms: stage.arms, setup_order, violations: stage.violations, startup })
}

impl Stage<'_> {
    fn pause(&self, time: Duration) -> Result<(), Error> {
        if self.contest.interrupts.sleep(time) { Ok(()) } else { Err(Error::Interrupted) }
    }

    fn launch(&self, arm: usize) -> Result<(Process, Whole), Error> {
        let fail = |program: PathBuf| move |source| Error::Start { program, source };
        match &self.contest.contestants[arm].start {
            Start::Ours(spec) => {
                let input = serde_json::to_vec(spec).map_err(|e| fail("uring-ablate".into())(e.into()))?;
                started(Process::start(&mut self.contest.tether.own("worker"), &input).map_err(fail("uring-ablate".into()))?)
            }
            Start::Program { program, arguments, input } => {
                let mut command = self.contest.tether.command(program);
                started(Process::start(command.args(arguments), input.as_bytes()).map_err(fail(program.clone()))?)
            }
            Start::Command { words } => {
                let (program, arguments) = words.split_first().ok_or(Error::NoCommand)?;
                let group = Group::make()?;
                let mut command = self.contest.tether.command_in(group.dir(), program);
                let process = Process::start(command.args(arguments), b"").map_err(fail(program.into()))?;
                Ok((process, Whole::Group(group)))
            }
        }
    }

    /// Starts every arm at once, since most of a start is waiting, and stops them all before any is looked at.
    fn launch_all(&mut self, order: &[usize]) -> Result<(), Error> {
        for &arm in order {
            let (process, whole) = self.launch(arm)?;
            match Counter::open(self.contest.target, process.pid()) {
                Ok(counter) => self.live[arm] = Some(Live { process, counter, whole, stalled: Duration::ZERO }),
                Err(error) => {
                    self.arms[arm].outcome = Outcome::Failed;
                    self.arms[arm].reason = format!("{error}: {}", process.last_words());
                }
            }
        }
        for _ in 0..HEAD_START.as_millis() / HEAD_LOOK.as_millis() {
            self.pause(HEAD_LOOK)?;
            self.live.iter().flatten().filter(|live| live.process.floods()).for_each(Live::end);
        }
        for live in self.live.iter().flatten() {
            // One that ended or does not stop is found out when it is looked at.
            live.stop(self.contest.timing.stop_limit);
        }
        Ok(())
    }

    /// Lets an arm run alone until it is seen moving, and stops it.
    fn see_moving(&mut self, arm: usize) -> Result<(), Error> {
        let timing = self.contest.timing;
        let Some(live) = self.live[arm].take() else { return Ok(()) };
        let started = Instant::now();
        live.resume();
        let (mut seen, mut moving) = (live.counter.bytes()?, 0);
        while moving < STARTED_LOOKS {
            self.pause(STARTING)?;
            if live.process.floods() {
                self.bury(arm, live, Outcome::Failed, "before it moved anything");
                return Ok(());
            }
            if live.process.ended() {
                self.bury(arm, live, Outcome::Failed, "before it moved anything");
                return Ok(());
            }
            if started.elapsed() > timing.startup_limit {
                let reason = format!("moved nothing within {} s", timing.startup_limit.as_secs_f64());
                self.bury(arm, live, Outcome::TimedOut, &reason);
                return Ok(());
            }
            // A process that ends between the looks is found out by the next.
            let now = live.counter.bytes().unwrap_or(seen);
            moving = if now > seen { moving + 1 } else { 0 };
            seen = now;
        }
        self.arms[arm].startup = started.elapsed();
        self.halt(arm, live).map(drop)
    }

    /// Stops an arm and waits for what it left in flight. Puts it back among the living if it is; true when it is.
    fn halt(&mut self, arm: usize, live: Live) -> Result<bool, Error> {
        let timing = self.contest.timing;
        match live.stop(timing.stop_limit) {
            Stop::Stopped if !live.process.floods() => {}
            Stop::Stopped | Stop::Ended => {
                self.bury(arm, live, Outcome::Failed, "while it was measured");
                return Ok(false);
            }
            Stop::Late => {
                let reason = format!("did not stop within {} s", timing.stop_limit.as_secs_f64());
                self.bury(arm, live, Outcome::TimedOut, &reason);
                return Ok(false);
            }
        }
        let settled = live.settle(timing.settle_limit)?;
        self.violations += u32::from(!settled);
        self.live[arm] = Some(live);
        Ok(true)
    }

    /// One slice, unless the arm has ended.
    fn slice(&mut self, arm: usize) -> Result<Option<Slice>, Error> {
        let Some(mut live) = self.live[arm].take() else { return Ok(None) };
        let timing = self.contest.timing;
        live.resume();
        self.pause(timing.warm_up)?;
        let opened = live.edge();
        self.pause(timing.slice)?;
        let closed = live.edge();
        let slice = opened.zip(closed).map(|(a, b)| self.measure(arm, a, b));
        live.stalled = if slice.is_some_and(|s| s.bytes == 0) { live.stalled + timing.slice } else { Duration::ZERO };
        if live.stalled > timing.startup_limit {
            let reason = format!("moved nothing for {} s", live.stalled.as_secs_f64());
            self.bury(arm, live, Outcome::TimedOut, &reason);
            return Ok(None);
        }
        let alive = self.halt(arm, live)?;
        Ok(slice.filter(|_| alive))
    }

    fn measure(&self, arm: usize, opened: Edge, closed: Edge) -> Slice {
        // A device that was replaced begins to count anew; such a slice moved nothing.
        let bytes = closed.bytes.saturating_sub(opened.bytes);
        Slice {
            arm,
            block: 0,
            position: 0,
            duration_ns: closed.monotonic_ns - opened.monotonic_ns,
            ops: bytes / u64::from(self.contest.workload.block_size_bytes),
            bytes,
            cpu_total_ns: closed.cpu_ns.saturating_sub(opened.cpu_ns),
        }
    }

    /// Records why an arm takes part no more. It is killed and reaped here, and what it left in flight is waited for.
    fn bury(&mut self, arm: usize, mut live: Live, outcome: Outcome, reason: &str) {
        let name = &self.contest.contestants[arm].name;
        live.end_group();
        let status = live.process.finish().map_or_else(|e| e.to_string(), |s| s.to_string());
        let said = live.process.last_words();
        let report = &mut self.arms[arm];
        report.outcome = outcome;
        // A status that is our own doing explains nothing.
        report.reason = match outcome {
            Outcome::TimedOut => format!("{name} {reason}: {said}"),
            _ => format!("{name} ended {reason} ({status}): {said}"),
        };
        // The counter of a process went with it; then there is nothing left to wait for.
        let _ = live.settle(self.contest.timing.settle_limit);
    }
}

/// An arm that is one process.
fn started(process: Process) -> Result<(Process, Whole), Error> {
    let whole = Whole::process(&process)?;
    Ok((process, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_fill_the_round() {
        let timing = Timing::default();
        assert_eq!(timing.blocks(Duration::from_secs(2), 4), 25);
        assert_eq!(timing.blocks(Duration::from_millis(1), 4), 1);
        assert_eq!(timing.blocks(Duration::from_secs(1), 0), 50, "no arms are no division by zero");
    }
}
