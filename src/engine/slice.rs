//! One slice: fill an empty ring, discard what the fill completes, measure, drain.

use super::drive::{Batches, Buffers, Goal, Tally};
use super::hooks::Kept;
use super::lane::{Drained, Lane, Tuning};
use super::variants::Tabled;
use super::{SetupError, pattern::COVERAGE_PIECES};
use crate::clock::helpers::{Helpers, Jobs};
use crate::clock::{self, Reading};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// What the jobs of a round share.
pub struct Gang {
    /// Their threads.
    pub jobs: Jobs,
    pub barrier: Barrier,
    pub stop: AtomicBool,
    /// A job could not begin its slice: the round ends.
    pub broken: AtomicBool,
}

impl Gang {
    /// Of `jobs`, none of which has joined.
    pub fn new(jobs: usize) -> Gang {
        let (stop, broken) = (AtomicBool::new(false), AtomicBool::new(false));
        Gang { jobs: Jobs::default(), barrier: Barrier::new(jobs), stop, broken }
    }
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Completions of the measured stretch.
    pub completions: u64,
    /// Run as many completions of the same arm before, unmeasured: what the arm before left behind on the target is not measured then.
    pub conditioning: bool,
    /// Fraction of the elapsed time to burn before the clock is read: the stall control.
    pub stall: f64,
    /// Fraction of the thread's CPU time to burn besides: the spin control.
    pub spin: f64,
    /// The device counts as hung when a stretch takes longer than this; no sound slice does.
    pub hang_guard: Duration,
}

/// What a slice saw on one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub start_ns: u64,
    pub end_ns: u64,
    pub ops: u64,
    pub bytes: u64,
    pub errors: u64,
    pub first_error: i32,
    pub enters: u64,
    /// Of an open loop.
    pub batches: Batches,
    /// Of an open loop, over the measured stretch.
    pub kept: Kept,
    pub thread_cpu_ns: u64,
    /// CPU time of the kernel's threads in this process at the edges, whichever job made them work.
    pub helpers_cpu_start_ns: u64,
    pub helpers_cpu_end_ns: u64,
    /// When either was read: not after the slice began, and not before it ended.
    pub helpers_start_ns: u64,
    pub helpers_end_ns: u64,
    /// The CPU time could be read where the slice ended.
    pub charged: bool,
    /// The bit-set of the loop that ran.
    pub variant: u32,
    /// Every slot was free exactly once after the drain.
    pub slots_intact: bool,
    /// The drain or the loop ran into the hang guard.
    pub overran: bool,
    /// Pieces of the span that were touched.
    pub touched: u64,
    /// Requests of the whole slice, what fills and drains the ring included.
    pub issued: u64,
}

/// Where the measured stretch begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Begin,
    End,
}

/// What a slice is observed with.
pub struct Instruments<'a> {
    /// Gets the timed requests of the measured stretch.
    pub latency: &'a mut Histogram<u64>,
    /// Those of the fill.
    pub discard: &'a mut Histogram<u64>,
    /// Told of the edges, inside of the clocks' readings.
    pub edge: &'a mut dyn FnMut(Edge),
}

/// Runs one slice of an arm on `lane`, unless its thread could not be made ready for it, which takes the place of its `buffers`. Prints
/// nothing.
pub fn run<W: Tabled>(
    lane: &mut Lane<W>,
    tuning: &Tuning,
    buffers: Result<&Arc<Buffers>, SetupError>,
    order: &Order,
    gang: &Gang,
    instruments: Instruments<'_>,
) -> Result<Sample, SetupError> {
    let Instruments { latency, discard, edge } = instruments;
    if order.spin > 0.0 {
        clock::thread_cpu_reading_ns();
    }
    // A job that cannot go on must not keep the others waiting at the barrier.
    let begun = buffers.and_then(|buffers| lane.begin(tuning, buffers));
    lane.worker.aims.jump();
    let deadline_ns = || clock::monotonic_ns() + order.hang_guard.as_nanos() as u64;
    let goal = |completions| Goal { completions, stop: &gang.stop, deadline_ns: deadline_ns() };
    let depth = u64::from(lane.worker.slots.depth());
    let never = AtomicBool::new(false);
    // An open loop has no queue to fill: its schedule begins with an empty one.
    let filling = if lane.is_paced() { 1 } else { depth } + if order.conditioning { order.completions } else { 0 };
    let mut fill = lane.drive(tuning, &Goal { stop: &never, ..goal(filling) }, discard);
    if lane.is_paced() {
        fill = fill.and(emptied(lane, order));
    }
    let counted = lane.worker.stats.read();
    let listed = begun.and_then(|()| Helpers::list(&gang.jobs).map_err(SetupError::Threads));
    gang.broken.fetch_or(listed.is_err(), Relaxed);

    gang.barrier.wait();
    let mut helpers = match listed {
        Ok(helpers) if !gang.broken.load(Relaxed) => helpers,
        other => {
            lane.drain(order.hang_guard);
            return Err(other.err().unwrap_or(SetupError::OtherJob));
        }
    };
    let goal = goal(order.completions);
    let opened = helpers.open();
    lane.restart_schedule();
    edge(Edge::Begin);
    let tally =
        if order.spin > 0.0 { spinning(lane, tuning, &goal, latency, order.spin) } else { lane.drive(tuning, &goal, latency) };
    // The others stop first: what devices did is counted for all jobs.
    gang.stop.store(true, Relaxed);
    edge(Edge::End);
    if order.stall > 0.0 {
        let elapsed = Duration::from_nanos(clock::monotonic_ns() - opened.monotonic_ns);
        clock::burn(elapsed.mul_f64(order.stall));
    }
    let closed = helpers.close();

    let total = lane.worker.stats.read();
    let issued = fill.completions + tally.completions + u64::from(lane.worker.slots.taken());
    let drained = lane.drain(order.hang_guard);
    lane.end();
    let touched = lane.worker.aims.touched(issued);
    gang.barrier.wait();
    gang.stop.store(false, Relaxed);
    let moved = (total.0 - counted.0, total.1 - counted.1);
    Ok(Sample { issued, ..sample(lane, &tally, &fill, moved, (opened, closed), drained, touched) })
}

/// Waits for what is in flight, and accounts for it.
fn emptied<W: Tabled>(lane: &mut Lane<W>, order: &Order) -> Tally {
    let completions = lane.worker.slots.taken().into();
    let Drained { in_time, failed } = lane.drain(order.hang_guard);
    Tally { completions, failed, overran: !in_time, ..Tally::default() }
}

/// How often the spin control burns in a slice. Each time the device runs dry and must be woken, which changes what the requests themselves
/// cost: after every queue by 1 % where the loop is the limit, after every half of a slice by less than a tenth of that.
const BURNS: u64 = 2;
/// Completions between two burns where a slice has no end: some milliseconds, so that every stretch that is timed from outside has its share.
const ENDLESS_PIECE: u64 = 4096;

/// The measured stretch in pieces, after each of which the thread burns `fraction` of the CPU time that the piece took: the whole takes
/// 1 + `fraction` times the CPU time by construction, as long as no completion work interrupts the burning (`taskrun` other than
/// `default`). Reading the clock belongs to what is burnt.
fn spinning<W: Tabled>(
    lane: &mut Lane<W>,
    tuning: &Tuning,
    goal: &Goal<'_>,
    latency: &mut Histogram<u64>,
    fraction: f64,
) -> Tally {
    let piece = if goal.completions == u64::MAX { ENDLESS_PIECE } else { goal.completions.div_ceil(BURNS) };
    let reading_ns = clock::thread_cpu_reading_ns();
    let (mut tally, mut now_ns) = (Tally::default(), clock::thread_cpu_ns());
    let mut due_ns = now_ns;
    while tally.completions < goal.completions && !goal.stop.load(Relaxed) && !tally.overran {
        let completions = piece.min(goal.completions - tally.completions);
        tally = tally.and(lane.drive(tuning, &Goal { completions, ..*goal }, latency));
        let used_ns = (clock::thread_cpu_ns() - now_ns).saturating_sub(reading_ns);
        // What the last burn did too much, this one does less.
        due_ns += used_ns + (used_ns as f64 * fraction) as u64;
        now_ns = clock::burn_until(due_ns);
    }
    tally
}

fn sample<W: Tabled>(
    lane: &Lane<W>,
    tally: &Tally,
    fill: &Tally,
    (ops, bytes): (u64, u64),
    (opened, closed): (Reading, Reading),
    drained: Drained,
    touched: u64,
) -> Sample {
    let parts = [fill.failed, tally.failed, drained.failed];
    Sample {
        start_ns: opened.monotonic_ns,
        end_ns: closed.monotonic_ns,
        ops,
        bytes,
        errors: parts.iter().map(|f| f.errors).sum(),
        first_error: parts.iter().map(|f| f.first_error).find(|e| *e != 0).unwrap_or(0),
        enters: tally.enters,
        batches: tally.batches,
        thread_cpu_ns: closed.thread_cpu_ns - opened.thread_cpu_ns,
        helpers_cpu_start_ns: opened.helpers_cpu_ns,
        helpers_cpu_end_ns: closed.helpers_cpu_ns,
        helpers_start_ns: opened.helpers_at_ns,
        helpers_end_ns: closed.helpers_at_ns,
        charged: closed.charged,
        variant: tally.variant,
        slots_intact: lane.worker.slots.intact(),
        overran: tally.overran || fill.overran || !drained.in_time,
        touched,
        issued: 0,
        kept: lane.kept(),
    }
}

/// The least number of the span's pieces that sound offsets touch in `draws` independent places: half of what is expected. An engine that
/// reads one place over and over touches one.
pub fn least_coverage(draws: u64) -> u32 {
    let pieces = f64::from(COVERAGE_PIECES);
    let expected = pieces * (1.0 - (1.0 - 1.0 / pieces).powf(draws as f64));
    (expected / 2.0).floor().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_asks_for_more_the_more_was_drawn() {
        assert_eq!(least_coverage(1), 1);
        assert!(least_coverage(20) >= 8);
        assert_eq!(least_coverage(100_000), 32);
    }
}
