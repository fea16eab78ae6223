//! The pilot: how many completions make a slice, and how many blocks a round has time for. Its measurements never enter the analysis.

use super::child;
use super::round::{Report, Spec};
use crate::plan::Cell;
use crate::spawn::{Interrupts, Tether};
use std::time::Duration;

/// A slice is at least this long for the slowest arm, ...
const SLICE_TIME: Duration = Duration::from_millis(5);
/// ... holds at least this many completions per request in flight, ...
const COMPLETIONS_PER_DEPTH: u64 = 20;
/// ... and where jobs share CPUs lasts several turns of the scheduler.
const SHARED_CPU_SLICE_TIME: Duration = Duration::from_millis(20);

/// Blocks of the pilot proper.
const PILOT_BLOCKS: u32 = 3;

/// What the pilot fixes for a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    pub completions: u64,
    pub blocks: u32,
    /// Expected time of one block, its time outside slices included.
    pub block_time: Duration,
}

/// Why no slice length could be fixed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cell {cell}: one block of {slices} slices takes {block:.1?}, longer than round_time = {round:.1?} allows; list fewer toggles or \
         designs, lower iodepth, or set [design] round_time to {needed} s or more"
    )]
    TooSlow { cell: String, slices: usize, block: Duration, round: Duration, needed: u64 },
    #[error("cell {cell}: pilot: {source}")]
    Round { cell: String, source: child::Error },
    #[error("cell {cell}: pilot: no arm could run: {reason}")]
    NothingRan { cell: String, reason: String },
}

/// What is wanted of a slice: `None` for sliced mode, the trial time for isolated mode.
pub type TrialTime = Option<Duration>;

/// Runs the pilot of a cell. `spec` describes its rounds; blocks and completions in it are ignored.
pub fn run(
    tether: &Tether,
    cell: &Cell,
    spec: &Spec,
    round_time: Duration,
    trial_time: TrialTime,
    interrupts: &Interrupts,
) -> Result<Fixed, Error> {
    let depth = u64::from(cell.workload.queue_depth);
    let mut measured = None;
    // First a short look, so that a device too slow for the plan is found out in one turn and not in twenty.
    for (blocks, completions) in [(1, depth), (PILOT_BLOCKS, depth * COMPLETIONS_PER_DEPTH)] {
        let spec = Spec { blocks, completions, ..spec.clone() };
        let report = child::run(tether, &spec, spec.hang_guard * 4, interrupts)
            .map_err(|source| Error::Round { cell: cell.name.clone(), source })?;
        let fixed = derive(cell, &report, round_time, trial_time)?;
        measured = Some(fixed);
    }
    Ok(measured.expect("the pilot has two steps"))
}

/// Completions and blocks from the slices of a pilot.
fn derive(cell: &Cell, report: &Report, round_time: Duration, trial_time: TrialTime) -> Result<Fixed, Error> {
    let jobs = f64::from(cell.workload.jobs);
    let rates = (0..cell.arms.len()).filter_map(|arm| {
        let slices = report.slices.iter().filter(|s| s.arm == arm);
        let (ops, ns) = slices.fold((0, 0), |(o, n), s| (o + s.ops, n + s.duration_ns));
        (ops > 0).then(|| ops as f64 / ns as f64)
    });
    let Some(slowest) = rates.min_by(f64::total_cmp) else {
        let reason = report.arms.iter().find_map(|a| a.unsupported.clone()).unwrap_or_else(|| "no request completed".into());
        return Err(Error::NothingRan { cell: cell.name.clone(), reason });
    };
    let wanted = trial_time.unwrap_or(slice_time(cell.workload.jobs)).as_nanos() as f64;
    let least = cell.workload.queue_depth as u64 * COMPLETIONS_PER_DEPTH;
    let completions = ((slowest * wanted / jobs) as u64).max(least);
    let (slices, outside) = block_ns(cell, report, completions);
    let block = Duration::from_nanos(slices as u64);
    let blocks = if trial_time.is_some() { 1 } else { (round_time.as_secs_f64() / block.as_secs_f64()) as u32 };
    if blocks == 0 {
        let count = cell.arms.iter().map(|a| a.copies as usize).sum();
        let needed = block.as_secs_f64().ceil() as u64;
        return Err(Error::TooSlow { cell: cell.name.clone(), slices: count, block, round: round_time, needed });
    }
    Ok(Fixed { completions, blocks, block_time: Duration::from_nanos((slices + outside) as u64) })
}

fn slice_time(jobs: u32) -> Duration {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    if jobs > cpus { SHARED_CPU_SLICE_TIME * jobs.div_ceil(cpus) } else { SLICE_TIME }
}

/// Expected nanoseconds of one block inside its slices and between them.
fn block_ns(cell: &Cell, report: &Report, completions: u64) -> (f64, f64) {
    let blocks = report.slices.last().map_or(1, |s| s.block + 1);
    let total: u64 = report.slices.iter().map(|s| s.duration_ns).sum();
    let ops: u64 = report.slices.iter().map(|s| s.ops).sum();
    let due = completions * u64::from(cell.workload.jobs) * report.slices.len() as u64;
    let inside = total as f64 * due as f64 / ops.max(1) as f64 / f64::from(blocks);
    let span = match (report.slices.first(), report.slices.last()) {
        (Some(first), Some(last)) => last.start_ns + last.duration_ns - first.start_ns,
        _ => 0,
    };
    (inside, span.saturating_sub(total) as f64 / f64::from(blocks))
}
