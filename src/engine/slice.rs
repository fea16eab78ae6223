//! One slice: fill an empty ring, discard what the fill completes, measure, drain.

use super::drive::{Goal, Tally};
use super::lane::{Lane, Tuning};
use super::{SetupError, pattern::COVERAGE_PIECES};
use crate::clock::{self, Reading};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the jobs of a round share.
pub struct Gang {
    pub barrier: Barrier,
    pub stop: AtomicBool,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Completions of the measured stretch.
    pub completions: u64,
    /// Fraction of the elapsed time to burn before the clock is read: the stall control.
    pub stall: f64,
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
    pub thread_cpu_ns: u64,
    pub process_cpu_start_ns: u64,
    pub process_cpu_end_ns: u64,
    /// The bit-set of the loop that ran.
    pub variant: u32,
    /// Every slot was free exactly once after the drain.
    pub slots_intact: bool,
    /// The drain or the loop ran into the hang guard.
    pub overran: bool,
    /// Pieces of the span that were touched.
    pub touched: u64,
}

/// Runs one slice of an arm on `lane`. Allocates and prints nothing. `latency` gets the timed requests of the measured stretch, `discard` those of
/// the fill.
pub fn run(
    lane: &mut Lane,
    tuning: &Tuning,
    order: &Order,
    gang: &Gang,
    latency: &mut Histogram<u64>,
    discard: &mut Histogram<u64>,
) -> Result<Sample, SetupError> {
    lane.begin(tuning)?;
    lane.pattern.lock().unwrap().jump();
    let from = lane.pattern.lock().unwrap().cursor_bytes();
    let drive = tuning.variant;
    let goal = |completions| Goal { completions, stop: &gang.stop, deadline: Instant::now() + order.hang_guard };
    let depth = u64::from(lane.slots.depth());
    let never = AtomicBool::new(false);
    let fill = drive(lane, &Goal { stop: &never, ..goal(depth) }, discard);
    let counted = lane.stats.read();

    gang.barrier.wait();
    let goal = goal(order.completions);
    let opened = clock::open();
    let tally = drive(lane, &goal, latency);
    gang.stop.store(true, Relaxed);
    if order.stall > 0.0 {
        let elapsed = Duration::from_nanos(clock::monotonic_ns() - opened.monotonic_ns);
        clock::burn(elapsed.mul_f64(order.stall));
    }
    let closed = clock::close();

    let total = lane.stats.read();
    let drained = drain(lane, order.hang_guard);
    lane.end();
    let gone = fill.completions + tally.completions + depth;
    let touched = lane.pattern.lock().unwrap().touched(from, gone);
    gang.barrier.wait();
    gang.stop.store(false, Relaxed);
    let moved = (total.0 - counted.0, total.1 - counted.1);
    Ok(sample(lane, &tally, &fill, moved, (opened, closed), drained, touched))
}

fn sample(
    lane: &Lane,
    tally: &Tally,
    fill: &Tally,
    (ops, bytes): (u64, u64),
    (opened, closed): (Reading, Reading),
    drained: bool,
    touched: u64,
) -> Sample {
    Sample {
        start_ns: opened.monotonic_ns,
        end_ns: closed.monotonic_ns,
        ops,
        bytes,
        errors: tally.errors + fill.errors,
        first_error: if fill.errors > 0 { fill.first_error } else { tally.first_error },
        enters: tally.enters,
        thread_cpu_ns: closed.thread_cpu_ns - opened.thread_cpu_ns,
        process_cpu_start_ns: opened.process_cpu_ns,
        process_cpu_end_ns: closed.process_cpu_ns,
        variant: tally.variant,
        slots_intact: lane.slots.intact(),
        overran: tally.overran || fill.overran || !drained,
        touched,
    }
}

/// Waits until nothing is queued or in flight, off the clock. False when the device does not let go in time.
fn drain(lane: &mut Lane, hang_guard: Duration) -> bool {
    let deadline = Instant::now() + hang_guard;
    while lane.slots.taken() > 0 {
        if Instant::now() > deadline {
            return false;
        }
        // Interrupted waits are made again; a lasting failure shows as slots that stay taken.
        if lane.ring.submit_and_wait(1).is_err() {
            std::thread::yield_now();
        }
        for cqe in lane.ring.completion() {
            lane.slots.give(false, cqe.user_data() as u32);
        }
    }
    lane.queued = 0;
    true
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
