//! The plan: which arms each cell has, and the rounds that measure them, in an order drawn from the experiment's seed. Pure.

mod arms;
pub mod fraction;
pub mod order;
mod schedule;

use crate::analysis::contrast::CONFIRMED;
use crate::analysis::fraction::PREFIX;
use crate::analysis::stopping::FIRST;
use crate::experiment::{Experiment, FioConfig, Mode};
use crate::limits;
use crate::perf::Limits;
use crate::toggle::{self, Levels, Setting, Toggle};
use crate::workload::{Rw, Workload};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Rounds unless the experiment says otherwise.
const DEFAULT_ROUNDS: u32 = 12;
/// The same where peers take part: identical processes differ by more than identical arms do.
const DEFAULT_ROUNDS_WITH_PEERS: u32 = 24;
/// Where the width of the intervals is to end the run.
const MOST_ROUNDS: u32 = 60;
/// A plan of a budget has no more for a cell.
const MOST_AFFORDED: u32 = 1000;
/// For the slices of a round, unless the experiment says otherwise.
const USUAL_ROUND_TIME: Duration = Duration::from_secs(5);
/// Of a budget, what the slices of the first rounds of all cells may take.
const FIRST_SHARE: f64 = 0.6;

/// What an arm does besides the work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    None,
    /// In slices it runs on the copy of the code on which `full` does not run in the same block.
    Placebo,
    /// Burns this fraction of the elapsed time before each reading of the clock.
    Stall(f64),
    /// Burns this fraction of its own CPU time besides.
    Spin(f64),
    /// Does NOPs on the same ring in place of the work: what no target could exceed.
    Ceiling,
}

/// A slice of NOPs has so many times the completions of the others: it would be over before a ring is at its pace.
const CEILING_TIMES: u64 = 16;

impl Control {
    /// How many times the completions of the other arms a slice has.
    pub fn times(self) -> u64 {
        if self == Control::Ceiling { CEILING_TIMES } else { 1 }
    }

    /// The fraction of the elapsed time that is burnt.
    pub fn stall(self) -> f64 {
        if let Control::Stall(fraction) = self { fraction } else { 0.0 }
    }

    /// The fraction of the CPU time that is burnt.
    pub fn spin(self) -> f64 {
        if let Control::Spin(fraction) = self { fraction } else { 0.0 }
    }
}

/// One treatment of our engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    pub treatment: String,
    pub levels: Levels,
    pub control: Control,
    /// Slices per block.
    pub copies: u32,
}

/// A listed toggle that this cell cannot do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub toggle: String,
    pub reason: String,
}

/// One workload with its arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub name: String,
    pub workload: Workload,
    pub arms: Vec<Arm>,
    pub dropped: Vec<Dropped>,
}

impl Cell {
    /// The arms of a part. An arm without `sqpoll` whose reference has none needs no process with such a thread; each part has the
    /// references of its arms.
    pub fn arms_of(&self, part: Part) -> Vec<Arm> {
        let polls = |arm: &Arm| arm.levels.is_on(Toggle::Sqpoll);
        let reference =
            |arm: &Arm| if ["only:", "explicit:"].iter().any(|k| arm.treatment.starts_with(k)) { "baseline" } else { "full" };
        let polling = |name: &str| self.arms.iter().any(|arm| arm.treatment == name && polls(arm));
        let (baseline_polls, full_polls) = (polling("baseline"), polling("full"));
        let loud = |arm: &Arm| polls(arm) || if reference(arm) == "full" { full_polls } else { baseline_polls };
        let needed = |arm: &Arm| match arm.treatment.as_str() {
            "baseline" if full_polls => true,
            name @ ("baseline" | "full") => {
                self.arms.iter().any(|other| other.treatment != name && loud(other) && reference(other) == name)
            }
            _ => loud(arm),
        };
        let keeps = |arm: &&Arm| match part {
            Part::All => true,
            Part::Quiet => arm.treatment == "baseline" || !loud(arm),
            Part::Sqpoll => needed(arm),
        };
        self.arms.iter().filter(keeps).cloned().collect()
    }

    /// The parts into which its rounds of slices fall.
    fn parts(&self) -> &'static [Part] {
        // The cells of a factorial or a fraction are one contrast, so they share their rounds.
        let of_many = |arm: &Arm| arm.treatment.split_once(':').is_some_and(|(kind, _)| ["cell", PREFIX].contains(&kind));
        if self.arms.iter().any(of_many) {
            return &[Part::All];
        }
        let mixed = self.arms.iter().any(|a| a.levels.is_on(Toggle::Sqpoll)) && self.arms_of(Part::Quiet).len() > 1;
        if mixed { &[Part::Quiet, Part::Sqpoll] } else { &[Part::All] }
    }
}

/// What a round runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoundKind {
    /// All arms of a cell in one process, in slices.
    Slices,
    /// All arms of a cell once, a process each.
    Isolated,
    /// Our `full` and the peers: as processes, stopped and continued in turn, or as whole runs ([`Workload::whole_turns`]).
    Peers,
    /// As `Slices`, with a clock that writes down what runs; its throughput is not used.
    Profile,
    /// As `Slices`, with counters that are read at the edges; its throughput is not used.
    Counts,
    /// Each peer once without interruption, for what it says of itself.
    Whole,
}

impl RoundKind {
    /// True where all arms are watched in one process while they take turns, and their throughput is not used.
    pub fn is_watched(self) -> bool {
        matches!(self, RoundKind::Profile | RoundKind::Counts)
    }
}

/// Which arms of a cell a round of slices holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All of them.
    All,
    /// Those that are compared with a baseline without a submitting kernel thread, and that baseline.
    Quiet,
    /// The rest, with a baseline of their own: a submitting kernel thread must not disturb what has none.
    Sqpoll,
}

/// One unit of replication, of durability and of resume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// 1, 2, ... over the whole plan; the key in every result file.
    pub round: u32,
    /// From 0: how often its cell was measured before.
    pub repetition: u32,
    pub cell: String,
    pub kind: RoundKind,
    pub part: Part,
    pub seed: u64,
}

/// Everything that is decided before anything runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub cells: Vec<Cell>,
    pub rounds: Vec<Round>,
    /// Rounds of each cell.
    pub repetitions: u32,
    /// Time for the slices of one round of one cell.
    pub round_time: Duration,
    pub fio: Vec<FioConfig>,
    /// What of the profiles and counts that were asked for cannot be had.
    pub limits: Limits,
}

/// Why no plan can be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "[design] rounds = {rounds} cannot decide {contrasts} contrasts at alpha = {alpha}: {least} rounds are needed \
         (ceil(log2(2 x contrasts / alpha)), or no signed-rank test can reach the level)"
    )]
    TooFewRounds { rounds: u32, contrasts: usize, alpha: String, least: u32 },
    #[error("[profile] rounds = {rounds} gives no interval at alpha = {alpha}: {least} are needed, or 0 for no profiles")]
    TooFewProfiles { rounds: u32, alpha: String, least: u32 },
    #[error(
        "[design] budget = {budget:?} is too short: the first {rounds} rounds of each cell take about {needed:.0?} together; raise it, or \
         lower round_time, trial_time or the number of cells"
    )]
    Budget { budget: Duration, needed: Duration, rounds: u32 },
    #[error("cell {cell}: {reason}; strict = true refuses it")]
    Strict { cell: String, reason: String },
    #[error("cell {cell}: none of the listed toggles can run: {reasons}")]
    NothingLeft { cell: String, reasons: String },
    #[error("cell {cell}: the design asks for {treatment}, which cannot run: {reason}; leave out one of these toggles")]
    Combination { cell: String, treatment: String, reason: String },
    #[error("cell {cell}: [design] kind = \"{design}\" takes {least} to {most} toggles; {factors} are listed that can run here")]
    Factors { cell: String, design: &'static str, factors: usize, least: usize, most: usize },
    #[error("cell {cell}: [design] makes {arms} arms; {} are the most: list fewer toggles, levels or treatments", limits::ARMS)]
    Arms { cell: String, arms: usize },
    #[error(
        "the plan has {rounds} rounds in {cells} cells; {} are the most: lower [design] rounds, or measure fewer workloads",
        limits::PLANNED_ROUNDS
    )]
    Rounds { rounds: u64, cells: usize },
    #[error("cell {cell}: [fixed] cannot run: {reason}")]
    Fixed { cell: String, reason: String },
}

/// What is known of the place before anything is measured.
pub struct Place<'a> {
    /// What the device offers.
    pub setting: &'a Setting,
    /// A reason, beyond the table's constraints, why a toggle cannot run on a workload here: locked memory, a device without poll queues.
    pub obstacle: &'a dyn Fn(Toggle, u32, &Workload) -> Option<String>,
    /// What of the profiles and counts that are asked for cannot be had here.
    pub limits: Limits,
    /// The rounds that earlier runs ask for, where the experiment leaves their number open.
    pub learnt: Option<u32>,
}

/// Makes the plan of an experiment.
pub fn make(experiment: &Experiment, place: &Place<'_>) -> Result<Plan, Error> {
    let cells = experiment.cells.iter().map(|w| cell(experiment, w, place)).collect::<Result<Vec<_>, _>>()?;
    let contrasts = cells.iter().map(|c| contrasts(&c.arms)).max().unwrap_or(1).max(1);
    let least = (2.0 * contrasts as f64 / experiment.level()).log2().ceil() as u32;
    let usual = match experiment.peers.count() {
        _ if experiment.target_half_width.is_some() => MOST_ROUNDS,
        0 => DEFAULT_ROUNDS,
        _ => DEFAULT_ROUNDS_WITH_PEERS,
    };
    let usual = experiment.rounds.unwrap_or(usual.max(least).max(place.learnt.unwrap_or(0)));
    let parts = cells.iter().map(|cell| cell.parts().len()).sum::<usize>() as u32;
    // What the first rounds of a budget leave goes where intervals are widest.
    let first = |budget: Duration| USUAL_ROUND_TIME.min(budget.mul_f64(FIRST_SHARE) / FIRST / parts);
    let round_time = experiment.round_time.unwrap_or(experiment.budget.map_or(USUAL_ROUND_TIME, first));
    let rounds = experiment.budget.map_or(usual, |budget| affordable(budget, experiment, round_time).max(least));
    if rounds < least {
        return Err(Error::TooFewRounds { rounds, contrasts, alpha: experiment.alpha.to_string(), least });
    }
    let profiles = experiment.profile.rounds;
    let least = (2.0 / experiment.alpha).log2().ceil() as u32;
    if (1..least).contains(&profiles) {
        return Err(Error::TooFewProfiles { rounds: profiles, alpha: experiment.alpha.to_string(), least });
    }
    schedule::check(experiment, &cells, rounds)?;
    let plan = Plan {
        rounds: schedule::rounds(experiment, &cells, rounds, &place.limits),
        cells,
        repetitions: rounds,
        round_time,
        fio: experiment.peers.fio.clone(),
        limits: place.limits.clone(),
    };
    let needed = plan.first_rounds(experiment);
    match experiment.budget {
        Some(budget) if budget < needed => Err(Error::Budget { budget, needed, rounds: rounds.min(FIRST) }),
        _ => Ok(plan),
    }
}

impl Plan {
    /// How long some of the rounds will take, beside pilots and the making of the target.
    pub fn expected(&self, experiment: &Experiment, wanted: impl Fn(&Round) -> bool) -> Duration {
        let whole = experiment.peers.whole_time + PEERS_EXTRA;
        let of = |round: &Round| match round.kind {
            RoundKind::Slices | RoundKind::Profile | RoundKind::Counts => self.round_time.mul_f64(OUTSIDE) + ROUND_START,
            RoundKind::Isolated => {
                let arms = self.cells.iter().find(|c| c.name == round.cell).map_or(0, |c| c.arms.len());
                (experiment.trial_time + ROUND_START) * arms as u32
            }
            RoundKind::Peers => {
                self.cells.iter().find(|c| c.name == round.cell).map_or(Duration::ZERO, |c| peers_round(experiment, &c.workload))
            }
            RoundKind::Whole => whole * experiment.peers.count() as u32,
        };
        self.rounds.iter().filter(|r| wanted(r)).map(of).sum()
    }

    /// How long it takes until a rule may look for the first time, whole runs of peers included.
    fn first_rounds(&self, experiment: &Experiment) -> Duration {
        self.expected(experiment, |r| r.repetition < FIRST || r.kind == RoundKind::Whole)
    }
}

/// How long a round of kind `peers` takes on a workload.
pub fn peers_round(experiment: &Experiment, workload: &Workload) -> Duration {
    let peers = &experiment.peers;
    if !workload.whole_turns() {
        return peers.round_time + PEERS_EXTRA;
    }
    // fio has no NOP, `t/io_uring` no rate.
    let fio = if workload.rw == Rw::Nop { 0 } else { peers.fio.len() };
    let peak = usize::from(workload.rate.is_none() && peers.t_io_uring.is_some());
    match fio + peak {
        0 => Duration::ZERO,
        others => (peers.turn_time() + ROUND_START) * (others as u32 + 1),
    }
}

/// Start, warm-up and settling of the process arms of a round.
const PEERS_EXTRA: Duration = Duration::from_secs(1);

/// Start and set-up of a round process.
pub const ROUND_START: Duration = Duration::from_millis(300);

/// Of slices with their fill and drain over the slices alone.
const OUTSIDE: f64 = 1.1;

/// The rounds that a budget could pay for if all of it went to one cell.
fn affordable(budget: Duration, experiment: &Experiment, round_time: Duration) -> u32 {
    let round = if experiment.mode == Mode::Sliced { round_time } else { experiment.trial_time };
    (budget.div_duration_f64(round) as u32).clamp(FIRST, MOST_AFFORDED)
}

/// The contrasts of the confirmatory family.
fn contrasts(arms: &[Arm]) -> usize {
    let confirms = |arm: &&Arm| arm.treatment.split_once(':').is_some_and(|(kind, _)| CONFIRMED.contains(&kind));
    arms.iter().filter(confirms).count()
}

fn cell(experiment: &Experiment, workload: &Workload, place: &Place<'_>) -> Result<Cell, Error> {
    let name = workload.cell_name();
    let refusal = |levels: &Levels| toggle::refusal(levels, workload, place.setting).map(|(_, reason)| reason);
    if let Some(reason) = refusal(&experiment.fixed) {
        return Err(Error::Fixed { cell: name, reason });
    }
    let (mut kept, mut dropped, mut full) = (Vec::new(), Vec::new(), experiment.fixed);
    for &(toggle, on) in &experiment.toggles {
        let with = full.with(toggle, on);
        match refusal(&with).or_else(|| (place.obstacle)(toggle, on, workload)) {
            None => {
                kept.push((toggle, on));
                full = with;
            }
            Some(reason) if experiment.strict => return Err(Error::Strict { cell: name, reason }),
            Some(reason) => dropped.push(Dropped { toggle: toggle.key().into(), reason }),
        }
    }
    if kept.is_empty() && !experiment.toggles.is_empty() {
        let reasons = dropped.iter().map(|d| d.reason.as_str()).collect::<Vec<_>>().join("; ");
        return Err(Error::NothingLeft { cell: name, reasons });
    }
    let mut beside = Vec::new();
    for &(toggle, level) in &experiment.beside {
        match refusal(&full.with(toggle, level)).or_else(|| (place.obstacle)(toggle, level, workload)) {
            None => beside.push((toggle, level)),
            Some(reason) if experiment.strict => return Err(Error::Strict { cell: name, reason }),
            Some(reason) => dropped.push(Dropped { toggle: toggle.key().into(), reason }),
        }
    }
    let arms = arms::of(experiment, workload, &kept, &beside);
    if arms.len() > limits::ARMS {
        return Err(Error::Arms { cell: name, arms: arms.len() });
    }
    if let Some((levels, reason)) = arms.iter().find_map(|arm| Some((arm.treatment.clone(), refusal(&arm.levels)?))) {
        return Err(Error::Combination { cell: name, treatment: levels, reason });
    }
    for &design in &experiment.designs {
        let takes = arms::takes(design);
        if !takes.contains(&kept.len()) {
            let (design, least, most) = (design.name(), *takes.start(), *takes.end());
            return Err(Error::Factors { cell: name, design, factors: kept.len(), least, most });
        }
    }
    Ok(Cell { name, workload: *workload, arms, dropped })
}
