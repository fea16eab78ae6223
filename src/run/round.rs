//! The body of a round process: sets up every arm once, then runs blocks of slices. Writes and prints nothing while slices run.

use super::merge::{self, Placed};
use super::regime;
use super::tracks::{Ground, Tracks};
use super::watch::Watch;
use crate::engine::charge;
use crate::engine::hooks::Kept;
use crate::engine::lane::{JobContext, Place, Ran};
use crate::engine::numa;
use crate::engine::pattern::Pattern;
use crate::engine::slice::{Gang, Instruments, Order, Sample};
use crate::engine::{Options, SetupError};
use crate::limits;
use crate::perf::counters::Counts;
use crate::perf::profile::{Profile, Recorder, Stretch};
use crate::plan::{Arm, Control, order};
use crate::random::Decisions;
use crate::target::block_device::Number;
use crate::target::identity::Identity;
use crate::target::route::tally::Tally;
use crate::toggle::seats::Seats;
use crate::toggle::{Levels, Setting, Toggle};
use crate::workload::Workload;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Builder;
use std::time::Duration;

/// What a round process is told on its standard input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The files or devices, which serve every job in turn.
    pub paths: Vec<PathBuf>,
    /// Which they are, in the same order: what a path leads to is compared before it is used.
    #[serde(default)]
    pub identities: Vec<Identity>,
    /// Bytes from offset 0 that are used of each.
    pub span_bytes: u64,
    pub workload: Workload,
    pub options: Options,
    /// What the devices offer: their node, their generic devices.
    pub setting: Setting,
    pub arms: Vec<Arm>,
    pub seed: u64,
    pub blocks: u32,
    /// Completions of each job in each slice: the same for every arm that does the work.
    pub completions: u64,
    /// Each slice is preceded by as many completions of its arm that are not measured.
    pub conditioning: bool,
    /// Longest time a slice may take.
    pub hang_guard: Duration,
    /// Ticks a second of the clock that writes down what runs.
    pub profile: Option<u32>,
    /// Counters are read at the edges of slices; the devices (major and minor) on which they watch.
    pub counted: Option<Vec<(u32, u32)>>,
    /// The devices whose statistics tell what the round moved, where those of the process do not.
    #[serde(default)]
    pub tallied: Vec<Number>,
    /// Workers of io-wq may do the I/O.
    #[serde(default)]
    pub allow_iowq: bool,
}

impl Spec {
    /// True for an arm for which the kernel's threads are expected to work, so that their CPU time matters.
    pub fn has_helpers(&self, arm: &Arm) -> bool {
        self.allow_iowq || arm.levels.is_on(Toggle::Sqpoll)
    }
}

/// What it answers on its standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Indices of the arms in the order in which they were set up.
    pub setup_order: Vec<usize>,
    pub slices: Vec<Slice>,
    pub arms: Vec<ArmReport>,
    /// CPU time of the process by mode over all slices, tick-sampled: of use where the round has one arm.
    pub user_ns: u64,
    pub system_ns: u64,
    /// Where the time went, where that was asked for, or why it cannot be said.
    pub profile: Option<Result<Profile, String>>,
    /// What the kernel counted from before the first slice to behind the last.
    pub tally: Tally,
    /// Share of the span that was in the page cache before the first slice, of rounds through it.
    pub resident: Option<f64>,
    /// How far the CPU time of the kernel's threads jumps, in nanoseconds; looked at where it matters.
    pub charge_step_ns: Option<u64>,
}

/// One slice, over all jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    pub arm: usize,
    pub copy: u32,
    pub block: u32,
    pub position: u32,
    /// Monotonic time at which the first job's measured stretch began.
    pub start_ns: u64,
    /// When the last job's ended.
    pub end_ns: u64,
    /// Mean over the jobs of their measured stretch.
    pub duration_ns: u64,
    /// CPU time of the jobs' threads and of those that the kernel made in the process.
    pub cpu_total_ns: u64,
    pub thread_cpu_ns: u64,
    pub ops: u64,
    pub bytes: u64,
    pub errors: u64,
    pub first_error: i32,
    pub enters: u64,
    /// At a fixed rate.
    pub kept: Kept,
    /// The bit-set of the loop that ran.
    pub variant: u32,
    pub slots_intact: bool,
    pub overran: bool,
    /// The CPU time could be read of all threads.
    pub charged: bool,
    pub touched: u64,
    /// Requests, those that fill and drain the rings included.
    pub issued: u64,
}

/// One arm over the whole round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmReport {
    /// Why the arm could not be set up.
    pub unsupported: Option<String>,
    pub effective: Levels,
    /// Recorded latencies in nanoseconds with their counts.
    pub latency: Vec<(u64, u64)>,
    /// Completions of each job in all slices.
    pub job_ops: Vec<u64>,
    /// What was counted in all slices.
    pub counts: Option<Counts>,
}

/// Bounds of recorded latencies; longer ones count as the bound.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// An empty latency histogram: three significant digits up to a minute, allocated whole.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, limits::HISTOGRAM_DIGITS as u8).expect("constant bounds are valid")
}

/// Longer than any run.
const ENDLESS: Duration = Duration::from_secs(365 * 86_400);

/// What the jobs of a round have in common.
struct Shared<'a> {
    spec: &'a Spec,
    ground: &'a Ground,
    setup_order: &'a [usize],
    schedule: &'a [Vec<(usize, u32)>],
    gang: &'a Gang,
    refused: &'a [AtomicBool],
    recorder: &'a Mutex<Option<Result<Recorder, String>>>,
    /// Set by the first job before any slice begins.
    before: &'a OnceLock<Before>,
    charge_step_ns: &'a OnceLock<Option<u64>>,
}

/// What had been counted before the first slice.
struct Before {
    tally: Tally,
    /// User and system time.
    used: (u64, u64),
}

/// What one job brings home.
pub struct JobResult {
    pub samples: Vec<Sample>,
    pub latency: Vec<Histogram<u64>>,
    pub refusals: Vec<Option<String>>,
    pub effective: Vec<Levels>,
    pub counts: Option<Vec<Counts>>,
}

/// Runs the round. Single-threaded at one job.
pub fn run(spec: &Spec) -> Result<Report, SetupError> {
    // The clocks watch what is made after them.
    let recorder = spec.profile.map(|frequency| Recorder::start(frequency).map_err(|e| e.to_string()));
    let recorder = Mutex::new(recorder);
    let mut decisions = Decisions::new(spec.seed);
    let mut setup_order: Vec<usize> = (0..spec.arms.len()).collect();
    decisions.shuffle(&mut setup_order);
    let schedule = order::blocks(&spec.arms, spec.blocks as usize, &mut decisions);
    let seeds: Vec<u64> = (0..spec.workload.jobs).map(|_| decisions.seed()).collect();
    let ground = Ground::prepare(spec, &mut decisions)?;
    regime::prepare(spec).map_err(SetupError::Regime)?;
    let resident = regime::resident(spec);
    let gang = Gang::new(seeds.len());
    let refused: Vec<AtomicBool> = spec.arms.iter().map(|_| AtomicBool::new(false)).collect();
    let (before, charge_step_ns) = (OnceLock::new(), OnceLock::new());
    let shared = Shared {
        spec,
        before: &before,
        charge_step_ns: &charge_step_ns,
        ground: &ground,
        setup_order: &setup_order,
        schedule: &schedule,
        gang: &gang,
        refused: &refused,
        recorder: &recorder,
    };
    let results = work(&shared, &seeds)?;
    let (used, now) = (usage(), Tally::now(&spec.tallied));
    let before = before.get_or_init(|| Before { tally: now, used });
    let ran = ran(&shared);
    let arms = (0..spec.arms.len()).map(|arm| merge::arm(&results, &ran, arm)).collect();
    let slices: Vec<Slice> =
        ran.iter().zip(0..).map(|(place, i)| merge::slice(*place, results.iter().map(|r| &r.samples[i]))).collect();
    let profile = recorder.into_inner().unwrap().map(|r| r.map(|r| r.finish(&stretches(&slices))));
    let tally = now.since(&before.tally);
    let (user_ns, system_ns) = (used.0 - before.used.0, used.1 - before.used.1);
    let charge_step_ns = charge_step_ns.into_inner().flatten();
    Ok(Report { setup_order, slices, arms, user_ns, system_ns, profile, tally, resident, charge_step_ns })
}

fn work(shared: &Shared<'_>, seeds: &[u64]) -> Result<Vec<JobResult>, SetupError> {
    if let [seed] = seeds {
        return job(shared, 0, *seed).map(|result| vec![result]);
    }
    // Jobs wait for each other, so none begins before all have their threads.
    let all_started = OnceLock::new();
    let begin = |number, seed| if *all_started.wait() { job(shared, number, seed) } else { Err(SetupError::OtherJob) };
    let begin = &begin;
    std::thread::scope(|scope| {
        let start = |(number, seed): (u32, &u64)| {
            let seed = *seed;
            Builder::new().spawn_scoped(scope, move || begin(number, seed)).map_err(SetupError::Thread)
        };
        let threads = (0..).zip(seeds).map(start).collect::<Result<Vec<_>, _>>();
        let _ = all_started.set(threads.is_ok());
        let results: Vec<_> = threads?.into_iter().map(|t| t.join().expect("a job does not panic")).collect();
        // The job that failed says why, before those that only ended with it.
        let cause = |r: &Result<JobResult, SetupError>| matches!(r, Err(e) if !matches!(e, SetupError::OtherJob));
        let (causes, rest): (Vec<_>, Vec<_>) = results.into_iter().partition(cause);
        causes.into_iter().chain(rest).collect()
    })
}

/// Waits until every job has tried its arms on. None begins a slice before the counters were read.
fn start_together(shared: &Shared<'_>, number: u32) {
    shared.gang.barrier.wait();
    if number == 0 {
        if shared.spec.arms.iter().any(|arm| shared.spec.has_helpers(arm)) {
            shared.charge_step_ns.get_or_init(|| charge::step_ns(&shared.gang.jobs));
        }
        shared.before.get_or_init(|| Before { tally: Tally::now(&shared.spec.tallied), used: usage() });
    }
    shared.gang.barrier.wait();
}

/// One job: its lanes, then every slice of every block.
fn job(shared: &Shared<'_>, number: u32, seed: u64) -> Result<JobResult, SetupError> {
    let Shared { spec, ground, .. } = *shared;
    shared.gang.jobs.join();
    let range = spec.workload.job_range(number, spec.span_bytes);
    let pattern = |seed| Arc::new(Mutex::new(Pattern::new(&spec.workload, &range, seed)));
    let patterns: Vec<_> = (seed..).take(spec.paths.len()).map(pattern).collect();
    let seats = seats(spec)?;
    let keeps = |toggle| spec.arms.iter().any(|a| a.levels.is_on(toggle));
    let context = JobContext {
        workload: &spec.workload,
        patterns: &patterns,
        sqpoll: spec.options.sqpoll,
        buffers_at_edge: keeps(Toggle::FixedBuffers),
        ring_at_edge: keeps(Toggle::RegisteredRing),
        place: Place { anywhere: &seats.allowed, node: spec.setting.numa_node, node_cpus: &seats.of_node },
    };
    // What is made after the counters is counted with its maker; what devices do, by one job for all.
    let devices = |devices: &Vec<_>| if number == 0 { devices.clone() } else { vec![] };
    let mut watch = Watch::new(spec.counted.as_ref().map(devices), spec.arms.len());
    let mut tracks = Tracks::new(ground, context, &seats, number as usize, seed % 2 == 1);
    let mut refusals: Vec<Option<String>> = vec![None; spec.arms.len()];
    for &arm in shared.setup_order {
        if let Err(error) = tracks.admit(arm, &spec.arms[arm]) {
            shared.refused[arm].store(true, Relaxed);
            refusals[arm] = Some(error.to_string());
        }
    }
    start_together(shared, number);
    let mut latency: Vec<Histogram<u64>> = spec.arms.iter().map(|_| histogram()).collect();
    let mut discard = histogram();
    let mut samples = Vec::with_capacity(shared.schedule.iter().map(Vec::len).sum());
    let mut ran: Vec<Option<Ran>> = vec![None; spec.arms.len()];
    let refused = |arm: usize| shared.refused[arm].load(Relaxed);
    for (block, order) in shared.schedule.iter().enumerate() {
        for &(arm, _) in order.iter().filter(|(arm, _)| !refused(*arm)) {
            let control = spec.arms[arm].control;
            let completions = spec.completions.saturating_mul(control.times());
            let order = Order {
                completions,
                conditioning: spec.conditioning && control != Control::Ceiling,
                stall: control.stall(),
                spin: control.spin(),
                hang_guard: spec.hang_guard,
            };
            let mut edge = |edge| watch.edge(edge, arm);
            let instruments = Instruments { latency: &mut latency[arm], discard: &mut discard, edge: &mut edge };
            let sample = tracks.slice(arm, block, &order, shared.gang, instruments)?;
            let batches = ran[arm].unwrap_or_default().batches.and(sample.batches);
            ran[arm] = Some(Ran { variant: sample.variant, batches });
            samples.push(sample);
            if number == 0
                && let Some(Ok(recorder)) = &mut *shared.recorder.lock().unwrap()
            {
                recorder.collect();
            }
        }
    }
    let read_back = |(arm, ran): (usize, &Option<Ran>)| ran.map_or(Ok(spec.arms[arm].levels), |ran| tracks.effective(arm, ran));
    let effective = ran.iter().enumerate().map(read_back).collect::<Result<_, _>>()?;
    Ok(JobResult { samples, latency, refusals, effective, counts: watch.finish() })
}

/// The CPUs of the jobs: as the runner planned with them, or as the kernel says now where nobody did.
fn seats(spec: &Spec) -> Result<Seats, SetupError> {
    if spec.setting.seats.allowed.is_empty() {
        return numa::seats(&spec.options, spec.setting.numa_node).map_err(SetupError::Cpus);
    }
    Ok(spec.setting.seats.clone())
}

fn ran(shared: &Shared<'_>) -> Vec<Placed> {
    let blocks = shared.schedule.iter().zip(0..);
    let places =
        blocks.flat_map(|(order, block)| order.iter().zip(0..).map(move |(&(arm, copy), position)| (arm, copy, block, position)));
    places.filter(|(arm, ..)| !shared.refused[*arm].load(Relaxed)).collect()
}

/// When each arm ran, in order of time.
fn stretches(slices: &[Slice]) -> Vec<Stretch> {
    let stretch = |s: &Slice| Stretch { start_ns: s.start_ns, end_ns: s.end_ns, arm: s.arm };
    slices.iter().map(stretch).collect()
}

/// User and system time of this process so far, in nanoseconds.
fn usage() -> (u64, u64) {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let nanos = |t: nix::sys::time::TimeVal| t.tv_sec() as u64 * 1_000_000_000 + t.tv_usec() as u64 * 1000;
    usage.map_or((0, 0), |u| (nanos(u.user_time()), nanos(u.system_time())))
}

/// The loop of a process arm: runs one arm until the process is killed.
pub fn run_forever(spec: &Spec) -> Result<(), SetupError> {
    let endless = Spec { completions: u64::MAX, conditioning: false, blocks: 1, hang_guard: ENDLESS, ..spec.clone() };
    let report = run(&endless)?;
    let refused = report.arms.into_iter().find_map(|arm| arm.unsupported);
    refused.map_or(Ok(()), |reason| Err(SetupError::Unsupported(reason)))
}
