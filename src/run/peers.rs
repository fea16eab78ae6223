//! The rounds in which fio takes part: process arms in turn, and whole runs.

use super::rows::{RunFacts, blank};
use super::store::{PlannedRound, RoundRows};
use crate::experiment::{Experiment, FioConfig};
use crate::peer::duet::{self, Contest, Contestant, Start, Timing};
use crate::peer::fio::{self, Fio, Work};
use crate::peer::t_io_uring::{self, TIoUring};
use crate::peer::{Error, whole};
use crate::plan::{Arm, Cell, Part, Round, RoundKind};
use crate::row::{ArmRow, Outcome, TrialRow};
use crate::run::manifest::{self, FioJob};
use crate::spawn::{Interrupts, Tether};
use crate::target::Target;
use crate::target::route::tally::Tally;
use crate::target::route::{self, Evidence, Route, Sight};
use std::path::PathBuf;
use std::time::Duration;

/// fio's own time limit in a round of process arms that are stopped and continued: longer than any round, pauses included.
const ENDLESS: Duration = Duration::from_secs(24 * 3600);

/// The peers of a run: what can take part, and why the rest cannot.
pub struct Peers<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) target: &'a Target,
    pub(super) tether: &'a Tether,
    fio: Option<Fio>,
    pub(super) t_io_uring: Option<Result<TIoUring, String>>,
    version: String,
    /// Why a configuration cannot run on a cell, by cell and configuration; asked of fio once.
    refusals: Vec<(String, FioConfig, String)>,
}

/// What a round of peers leaves: its rows, the order of set-up, and how often the rules of process arms were broken.
pub type Outcomes = (RoundRows, String, u32);

impl<'a> Peers<'a> {
    /// Looks for fio and has it read every job of the plan. One that is missing is no error: its treatments are `unsupported`.
    pub fn find(experiment: &'a Experiment, cells: &[Cell], target: &'a Target, tether: &'a Tether) -> Peers<'a> {
        // Where no configuration of it takes part it is not started, not even to be asked what it is.
        let wanted = !experiment.peers.fio.is_empty();
        let found = match wanted.then(|| Fio::find(tether.clone(), &experiment.peers.fio_path)) {
            Some(found) => found.and_then(|f| f.version().map(|v| (f, v))),
            None => Err(Error::Missing(experiment.peers.fio_path.clone())),
        };
        let mut refusals = Vec::new();
        for (cell, config) in cells.iter().flat_map(|cell| experiment.peers.fio.iter().map(move |config| (cell, *config))) {
            let read = found.as_ref().map_err(ToString::to_string).and_then(|(fio, _)| {
                let job = job(cell, config, target, target.handles(), ENDLESS)?;
                fio.check(&job).map_err(|e| e.to_string())
            });
            refusals.extend(read.err().map(|reason| (cell.name.clone(), config, reason)));
        }
        let (fio, version) = found.ok().unzip();
        let t_io_uring = experiment.peers.t_io_uring.as_ref().map(|path| TIoUring::at(path).map_err(|e| e.to_string()));
        Peers { experiment, target, tether, fio, t_io_uring, version: version.unwrap_or_default(), refusals }
    }

    /// Blocks that a round of process arms has time for.
    pub fn blocks(&self, slice: Duration) -> u32 {
        timing(slice).blocks(self.experiment.peers.round_time, self.experiment.peers.count() + 1)
    }

    /// fio as the manifest records it: version and the exact job of each configuration on each cell.
    pub fn manifest(&self, cells: &[Cell]) -> Option<manifest::Fio> {
        let jobs = cells.iter().flat_map(|cell| {
            let job = |config: &FioConfig| {
                let time = if cell.workload.whole_turns() { self.experiment.peers.turn_time() } else { ENDLESS };
                let job = job(cell, *config, self.target, self.target.paths(), time).unwrap_or_else(|e| e);
                FioJob { cell: cell.name.clone(), treatment: config.treatment().into(), job }
            };
            self.experiment.peers.fio.iter().map(job)
        });
        (!self.experiment.peers.fio.is_empty() && self.fio.is_some())
            .then(|| manifest::Fio { version: self.version.clone(), jobs: jobs.collect() })
    }

    /// fio and its job, or why this configuration cannot run here.
    pub(super) fn ready(&self, cell: &Cell, config: FioConfig, time: Duration) -> Result<(&Fio, String), String> {
        let refusal = self.refusals.iter().find(|(name, c, _)| *name == cell.name && *c == config);
        match (refusal, &self.fio) {
            (Some((_, _, reason)), _) => Err(reason.clone()),
            (None, Some(fio)) => Ok((fio, job(cell, config, self.target, self.target.handles(), time)?)),
            (None, None) => Err("fio was not found".into()),
        }
    }

    /// Whom our `full` is compared with on a cell, and why the others cannot take part.
    fn others(&self, cell: &Cell) -> Vec<(&'static str, Result<Start, String>)> {
        let fio = self.experiment.peers.fio.iter().map(|config| {
            let start = self.ready(cell, *config, ENDLESS).map(|(fio, job)| fio.start(job));
            (config.treatment(), start)
        });
        let peak = self.t_io_uring.iter().map(|found| {
            let arguments = |_: &TIoUring| t_io_uring::arguments(&self.work(cell, ENDLESS)).map_err(|e| e.to_string());
            let start = found
                .as_ref()
                .map_err(String::clone)
                .and_then(|t| Ok(Start::Program { program: t.program().into(), arguments: arguments(t)?, input: String::new() }));
            (t_io_uring::TREATMENT, start)
        });
        fio.chain(peak).collect()
    }

    /// The work of a cell as peers are told it.
    pub(super) fn work<'b>(&'b self, cell: &'b Cell, time: Duration) -> Work<'b> {
        work(cell, self.target, self.target.handles(), time)
    }

    /// A round of process arms: our `full` and every peer that can run. `None` when a signal came.
    pub fn duet(&self, facts: &RunFacts, planned: &PlannedRound, cell: &Cell, interrupts: &Interrupts) -> Option<Outcomes> {
        let round = &planned.round();
        let full = full(cell);
        let alone = Cell { arms: vec![full.clone()], ..cell.clone() };
        let spec = super::spec(self.experiment, self.target, &alone, Part::All, round.seed);
        let blank = |name: &str| blank(facts, round, cell.workload, name, engine_of(name));
        let mut rows = RoundRows::default();
        let mut contestants = vec![Contestant { name: full.treatment.clone(), start: Start::Ours(Box::new(duet::worker(spec))) }];
        for (name, start) in self.others(cell) {
            match start {
                Ok(start) => contestants.push(Contestant { name: name.into(), start }),
                Err(reason) => rows.arms.push(ArmRow { outcome: Outcome::Unsupported, reason, ..blank(name) }),
            }
        }
        if contestants.len() == 1 {
            return Some((rows, String::new(), 0));
        }
        let contest = Contest {
            tether: self.tether,
            target: self.target,
            workload: &cell.workload,
            contestants: &contestants,
            timing: timing(Duration::from_micros(planned.slice_us)),
            blocks: planned.blocks,
            seed: round.seed,
            interrupts,
        };
        match duet::conduct(&contest) {
            Ok(report) => {
                rows.trials = report.slices.iter().map(|s| trial(round, &contestants[s.arm].name, s)).collect();
                for (index, (contestant, arm)) in contestants.iter().zip(&report.arms).enumerate() {
                    let mut row = blank(&contestant.name);
                    (row.outcome, row.reason) = (arm.outcome, arm.reason.clone());
                    let slices: Vec<&duet::Slice> = report.slices.iter().filter(|s| s.arm == index).collect();
                    measured(&mut row, &slices);
                    rows.arms.push(row);
                }
                let names: Vec<&str> = report.setup_order.iter().map(|i| contestants[*i].name.as_str()).collect();
                Some((rows, names.join(" "), report.violations))
            }
            Err(Error::Interrupted) => None,
            Err(error) => {
                let row = |c: &Contestant| ArmRow { outcome: Outcome::Failed, reason: error.to_string(), ..blank(&c.name) };
                rows.arms.extend(contestants.iter().map(row));
                Some((rows, String::new(), 0))
            }
        }
    }

    /// Each configuration of fio alone, uninterrupted, for its own figures. `None` when a signal came.
    pub fn whole(&self, facts: &RunFacts, round: &Round, cell: &Cell, interrupts: &Interrupts) -> Option<Outcomes> {
        let time = self.experiment.peers.whole_time;
        let mut rows = RoundRows::default();
        for config in &self.experiment.peers.fio {
            let row = blank(facts, round, cell.workload, config.treatment(), "fio");
            rows.arms.push(match self.ready(cell, *config, time) {
                Err(reason) => ArmRow { outcome: Outcome::Unsupported, reason, ..row },
                Ok((fio, job)) => self.fio_run(facts, row, (fio, &job), time, interrupts)?,
            });
        }
        Some((rows, String::new(), 0))
    }

    /// One whole run of fio in the row that waits for it. `None` when a signal came.
    pub(super) fn fio_run(
        &self,
        facts: &RunFacts,
        mut row: ArmRow,
        (fio, job): (&Fio, &str),
        time: Duration,
        interrupts: &Interrupts,
    ) -> Option<ArmRow> {
        let before = Tally::of_children();
        // Beside ours its CPU time is counted as ours is, alone it tells its own.
        let billed_on = (row.kind == RoundKind::Peers).then_some(self.target);
        match whole::run(fio, job, time, billed_on, interrupts) {
            Ok(whole) => {
                whole_figures(&mut row, &whole);
                whole_route(&mut row, facts, Tally::of_children().since(&before));
            }
            Err(Error::Interrupted) => return None,
            Err(error) => {
                row.outcome = if matches!(error, Error::Hung { .. }) { Outcome::TimedOut } else { Outcome::Failed };
                row.reason = error.to_string();
            }
        }
        Some(row)
    }
}

/// A process arm that was stopped begins with an empty queue: until it has turned over a few times, its rate is that of its start.
pub const QUEUES_PER_SLICE: u32 = 12;
/// Shortest slice of a process arm.
pub const LEAST_SLICE: Duration = Duration::from_millis(10);

/// Two fifths of a slice go before it as warm-up.
pub fn timing(slice: Duration) -> Timing {
    Timing { slice, warm_up: slice * 2 / 5, ..Timing::default() }
}

/// The job file of a configuration on a cell of a target that is called `paths`: what is run names the descriptors that are lent, what people
/// read the files and devices.
pub fn job<P: Into<PathBuf>>(
    cell: &Cell,
    config: FioConfig,
    target: &Target,
    paths: impl IntoIterator<Item = P>,
    time: Duration,
) -> Result<String, String> {
    fio::job(config, &work(cell, target, paths, time)).map_err(|e| e.to_string())
}

fn work<'a, P: Into<PathBuf>>(cell: &'a Cell, target: &Target, paths: impl IntoIterator<Item = P>, time: Duration) -> Work<'a> {
    let paths = paths.into_iter().map(Into::into).collect();
    Work { workload: &cell.workload, paths, span_bytes: target.span_bytes, full: &full(cell).levels, time }
}

/// The column `engine` of a treatment among process arms.
pub fn engine_of(treatment: &str) -> &'static str {
    match treatment {
        t_io_uring::TREATMENT => "t_io_uring",
        name if name.starts_with("fio:") => "fio",
        _ => "uring",
    }
}

/// The arm that stands against the peers.
fn full(cell: &Cell) -> &Arm {
    cell.arms.iter().find(|a| a.treatment == "full").expect("every cell has its full")
}

fn trial(round: &Round, treatment: &str, slice: &duet::Slice) -> TrialRow {
    TrialRow {
        round: round.round,
        cell: round.cell.clone(),
        treatment: treatment.into(),
        replica: 0,
        block: slice.block,
        position: slice.position,
        duration_s: slice.duration_ns as f64 / 1e9,
        ops: slice.ops,
        bytes: slice.bytes,
        errors: 0,
        cpu_total_ns: Some(slice.cpu_total_ns),
        enters: None,
    }
}

fn measured(row: &mut ArmRow, slices: &[&duet::Slice]) {
    if slices.is_empty() {
        return;
    }
    let sum = |f: fn(&duet::Slice) -> u64| slices.iter().map(|s| f(s)).sum::<u64>();
    row.duration_s = Some(sum(|s| s.duration_ns) as f64 / 1e9);
    row.ops = Some(sum(|s| s.ops));
    row.bytes = Some(sum(|s| s.bytes));
    row.cpu_total_ns = Some(sum(|s| s.cpu_total_ns));
}

/// By what route the bytes of a whole run went that fio reports of itself. It may have moved more than it reports: what it cut off at its end.
fn whole_route(row: &mut ArmRow, facts: &RunFacts, counted: Tally) {
    let (Some(moved), true) = (row.bytes, row.workload.direct && facts.sight == Sight::Process) else { return };
    let sum = counted.of_process().map(|sum| sum.min(moved));
    let counted = Tally { read: sum, written: sum.map(|_| 0), ..Tally::default() };
    let evidence = Evidence { workload: &row.workload, moved, counted: &counted, sight: &facts.sight, promised: facts.promised };
    row.device_share = sum.map(|sum| sum as f64 / moved.max(1) as f64);
    row.route = route::judge(&evidence);
    if let Some(Route::Contradicted { cause }) = &row.route {
        (row.outcome, row.reason) = (Outcome::Invalid, cause.clone());
    }
}

fn whole_figures(row: &mut ArmRow, whole: &whole::Whole) {
    row.duration_s = Some(whole.duration.as_secs_f64());
    row.ops = Some(whole.ops);
    row.bytes = Some(whole.bytes);
    row.errors = Some(whole.errors);
    if row.kind == RoundKind::Peers {
        row.cpu_total_ns = whole.cpu_process_ns;
    } else {
        row.cpu_user_ns = Some(whole.cpu_user_ns);
        row.cpu_sys_ns = Some(whole.cpu_sys_ns);
        row.cpu_total_ns = Some(whole.cpu_user_ns + whole.cpu_sys_ns);
    }
    row.latency = whole.latency;
    if whole.errors > 0 {
        (row.outcome, row.reason) = (Outcome::Invalid, format!("fio reports {} errors", whole.errors));
    }
}
