//! The pilot: how many completions make a slice, and how many blocks a round has time for. Its measurements never enter the analysis.

use super::round::{Report, Spec};
use super::{child, failure};
use crate::engine::charge;
use crate::limits;
use crate::plan::{Arm, Cell, Control};
use crate::spawn::{Interrupts, Tether};
use crate::workload::Workload;
use std::time::Duration;

/// A slice is at least this long for the slowest arm, ...
const SLICE_TIME: Duration = Duration::from_millis(5);
/// ... holds at least this many completions per request in flight, ...
const COMPLETIONS_PER_DEPTH: u64 = 20;
/// ... and where jobs share CPUs lasts several turns of the scheduler.
const SHARED_CPU_SLICE_TIME: Duration = Duration::from_millis(20);

/// Blocks of the pilot proper.
const PILOT_BLOCKS: u32 = 3;

/// A block of so few completions tells little: it refuses only what is too slow by this factor.
const SHORT_LOOK_MARGIN: u32 = 8;

/// What the pilot fixes for a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    pub completions: u64,
    pub blocks: u32,
    /// Expected time of one block, its time outside slices included.
    pub block_time: Duration,
    /// Time in which the slowest arm completes as many requests as it keeps in flight.
    pub queue_time: Duration,
    /// How far the CPU time of the kernel's threads jumps, where some arm has any.
    pub charge_step: Option<Duration>,
    pub workload: Workload,
}

impl Fixed {
    /// Completions of each job of a run that is to take `time`: what the rate asks for, or what the slowest arm can.
    pub fn completions_in(&self, time: Duration) -> u64 {
        let can = time.div_duration_f64(self.queue_time) * f64::from(self.workload.queue_depth);
        let due = self.workload.rate.map_or(can, |rate| time.as_secs_f64() * f64::from(rate));
        can.min(due).ceil() as u64
    }
}

/// Why no slice length could be fixed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Target(#[from] crate::target::Error),
    #[error(
        "cell {cell}: one block of {slices} slices takes {block:.1?}, longer than round_time = {round:.1?} allows; list fewer toggles or \
         designs, lower iodepth, or set [design] round_time to {needed} s or more"
    )]
    TooSlow { cell: String, slices: usize, block: Duration, round: Duration, needed: u64 },
    #[error(
        "cell {cell}: a round of {round:.1?} holds {slices} slices; {} are the most: lower [design] round_time, or raise slice_time or iodepth",
        limits::SLICES
    )]
    TooMany { cell: String, slices: u64, round: Duration },
    #[error("cell {cell}: pilot: {source}")]
    Round { cell: String, source: child::Error },
    #[error("cell {cell}: pilot: no arm could run: {reason}")]
    NothingRan { cell: String, reason: String },
}

/// How long the slowest arm is to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// For a slice, of which a round holds as many as it has time for.
    Slice(Duration),
    /// For a trial in a process of its own.
    Trial(Duration),
}

/// Runs the pilot of a cell. `spec` describes its rounds; blocks and completions in it are ignored.
pub fn run(
    tether: &Tether,
    cell: &Cell,
    spec: &Spec,
    round_time: Duration,
    length: Length,
    interrupts: &Interrupts,
) -> Result<Fixed, Error> {
    let depth = in_flight(&cell.workload);
    let measure = |blocks, completions| {
        let spec = Spec { blocks, completions, ..spec.clone() };
        child::run(tether, &spec, spec.hang_guard * 4, interrupts)
            .map_err(|source| Error::Round { cell: cell.name.clone(), source })
    };
    // First a short look, so that a device far too slow for the plan is found out in one turn and not in twenty.
    derive(cell, spec, &measure(1, depth)?, round_time * SHORT_LOOK_MARGIN, length)?;
    let fixed = derive(cell, spec, &measure(PILOT_BLOCKS, depth * COMPLETIONS_PER_DEPTH)?, round_time, length)?;
    match u64::from(fixed.blocks) * slices_of_block(cell) as u64 {
        slices if slices > limits::SLICES => Err(Error::TooMany { cell: cell.name.clone(), slices, round: round_time }),
        _ => Ok(fixed),
    }
}

/// Requests that make a turn of the queue. At a fixed rate it need not be full: those of 2.5 ms.
fn in_flight(workload: &Workload) -> u64 {
    let depth = workload.queue_depth;
    workload.rate.map_or(depth, |rate| (rate / 400).clamp(1, depth)).into()
}

fn slices_of_block(cell: &Cell) -> usize {
    cell.arms.iter().map(|a| a.copies as usize).sum()
}

/// Why no arm did any work: what one of them could not be set up for, or what the kernel answered to the first request that failed, with what
/// explains it.
fn nothing_ran(cell: &str, spec: &Spec, report: &Report) -> Error {
    let unsupported = report.arms.iter().find_map(|arm| arm.unsupported.clone());
    let first = report.slices.iter().map(|slice| slice.first_error).find(|error| *error != 0);
    let reason = unsupported.unwrap_or_else(|| match first {
        Some(error) => format!("no request completed, the first failed with: {}", failure::text(spec, error)),
        None => "no request completed".into(),
    });
    Error::NothingRan { cell: cell.into(), reason }
}

/// Completions and blocks from the slices of a pilot, each of which is run twice where slices are conditioned. Medians: one slice that another
/// process held up must not decide.
fn derive(cell: &Cell, spec: &Spec, report: &Report, round_time: Duration, length: Length) -> Result<Fixed, Error> {
    let times: Vec<Option<f64>> = (0..cell.arms.len()).map(|arm| ns_per_completion(report, arm)).collect();
    // NOPs alone say nothing of the target.
    let worked = cell.arms.iter().zip(&times).any(|(arm, time)| arm.control != Control::Ceiling && time.is_some());
    let Some(slowest) = times.iter().flatten().copied().max_by(f64::total_cmp).filter(|_| worked) else {
        return Err(nothing_ran(&cell.name, spec, report));
    };
    let times_run = if spec.conditioning { 2.0 } else { 1.0 };
    let jobs = u64::from(cell.workload.jobs);
    let (Length::Slice(wanted) | Length::Trial(wanted)) = length;
    let least = in_flight(&cell.workload) * COMPLETIONS_PER_DEPTH;
    let within = |time: u64, each: f64| (time as f64 / each) as u64 / jobs;
    // The steps in which their CPU time moves are small beside a slice of every arm that has kernel threads, so of the fastest.
    let resolved = report.charge_step_ns.unwrap_or(0).saturating_mul(charge::STEPS_PER_SLICE);
    let helped = cell.arms.iter().zip(&times).filter(|(arm, _)| spec.has_helpers(arm)).filter_map(|(_, time)| *time);
    let resolving = helped.min_by(f64::total_cmp).map_or(0, |fastest| within(resolved, fastest));
    let completions = within(wanted.as_nanos() as u64, slowest).max(least).max(resolving);
    let work = |arm: &Arm| f64::from(arm.copies) * arm.control.times() as f64;
    let per_block = cell.arms.iter().zip(&times).filter_map(|(arm, time)| Some((*time)? * work(arm)));
    let block = Duration::from_nanos((per_block.sum::<f64>() * (completions * jobs) as f64 * times_run) as u64);
    let blocks = match length {
        Length::Trial(_) => 1,
        Length::Slice(_) => (round_time.as_secs_f64() / block.as_secs_f64()) as u32,
    };
    if blocks == 0 {
        let slices = slices_of_block(cell);
        let needed = block.as_secs_f64().ceil() as u64;
        return Err(Error::TooSlow { cell: cell.name.clone(), slices, block, round: round_time, needed });
    }
    let queue_time = Duration::from_nanos((slowest * f64::from(cell.workload.queue_depth) * jobs as f64) as u64);
    let charge_step = report.charge_step_ns.map(Duration::from_nanos);
    let block_time = block + time_outside(report);
    Ok(Fixed { completions, blocks, block_time, queue_time, charge_step, workload: cell.workload })
}

/// Completions of each job with which the one arm of `spec` takes `time`.
pub fn completions(tether: &Tether, spec: &Spec, time: Duration, interrupts: &Interrupts) -> Result<u64, Error> {
    let jobs = spec.workload.jobs;
    let cell = || spec.workload.cell_name();
    let look = Spec { blocks: PILOT_BLOCKS, completions: in_flight(&spec.workload) * COMPLETIONS_PER_DEPTH, ..spec.clone() };
    let report =
        child::run(tether, &look, spec.hang_guard * 4, interrupts).map_err(|source| Error::Round { cell: cell(), source })?;
    let each = ns_per_completion(&report, 0).ok_or_else(|| nothing_ran(&cell(), spec, &report))?;
    Ok((time.as_nanos() as f64 / each / f64::from(jobs)) as u64)
}

/// Median time per completion of an arm's slices, over all jobs; `None` for an arm that did not run.
fn ns_per_completion(report: &Report, arm: usize) -> Option<f64> {
    let slices = report.slices.iter().filter(|s| s.arm == arm && s.ops > 0);
    let mut times: Vec<f64> = slices.map(|s| s.duration_ns as f64 / s.ops as f64).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

/// A slice's length unless the experiment says otherwise.
pub fn usual_slice(jobs: u32) -> Duration {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    if jobs > cpus { SHARED_CPU_SLICE_TIME * jobs.div_ceil(cpus) } else { SLICE_TIME }
}

/// Time of one block that lies between its slices.
fn time_outside(report: &Report) -> Duration {
    let (Some(first), Some(last)) = (report.slices.first(), report.slices.last()) else { return Duration::ZERO };
    let inside: u64 = report.slices.iter().map(|s| s.duration_ns).sum();
    Duration::from_nanos((last.end_ns - first.start_ns).saturating_sub(inside)) / (last.block + 1)
}
