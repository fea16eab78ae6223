//! Reads a run's files into typed rows. Uses only the columns that exist and only the rounds that were finished.

use super::columns::{Holds, holds};
use super::intact::{self, JOURNAL};
use crate::durable::Dir;
use crate::name;
use crate::perf::counters;
use crate::toggle::Toggle;
use polars::prelude::{Column, CsvReadOptions, DataFrame, DataType, PlSmallStr, PolarsError, Schema, SerReader};
use std::collections::{BTreeSet, HashMap};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

/// A file that a report cannot do without, or that is no CSV.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}; name the directory of a run: a report needs trials.csv and arms.csv of it", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} cannot be read: {reason}", path = path.display())]
    Table { path: PathBuf, reason: String },
    #[error(
        "{path} is too large: {reason}, and no run of this tool writes more; copy the run again, or name another",
        path = path.display()
    )]
    TooLarge { path: PathBuf, reason: String },
    #[error(
        "{path} is cut short: it has {has} bytes, and rounds.csv says that {written} were written; copy the run again from where it was measured; \
         where this is the original, what was lost does not come back: measure again with another --out",
        path = path.display()
    )]
    Cut { path: PathBuf, has: u64, written: u64 },
    #[error("{path} has no column {column}", path = path.display())]
    Column { path: PathBuf, column: &'static str },
    #[error(
        "cannot start threads to read tables with: {0}; raise the limit on processes (ulimit -u, pids.max of the control group)"
    )]
    Threads(String),
}

/// One slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    pub round: u32,
    /// Index into [`Data::treatments`].
    pub treatment: usize,
    pub block: u32,
    pub position: u32,
    pub duration_s: f64,
    pub ops: f64,
    pub cpu_total_ns: Option<f64>,
}

/// One arm in one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arm {
    pub round: u32,
    pub kind: String,
    pub cell: String,
    pub treatment: String,
    pub engine: String,
    pub outcome: String,
    pub reason: String,
    /// As the column of this name says, see [`crate::target::route`]; empty in runs of old.
    pub route: String,
    pub target: String,
    /// As in the experiment: `read`, `randrw`, ...
    pub rw: String,
    pub block_size_bytes: Option<f64>,
    pub queue_depth: Option<f64>,
    pub jobs: Option<f64>,
    /// Levels of toggles as they took effect, by key; what the row does not say is absent.
    /// Shared by the arms that have the same.
    pub levels: Arc<HashMap<&'static str, String>>,
    /// Numeric columns by name; an empty cell is absent.
    pub figures: HashMap<&'static str, f64>,
}

/// One finished round.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    pub round: u32,
    pub cell: String,
    pub kind: String,
    pub wall_s: f64,
    pub slices_s: f64,
    pub violations: f64,
    pub machine_busy_share: Option<f64>,
    pub machine_steal_share: Option<f64>,
}

/// One line of `overhead.csv`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overhead {
    pub round: u32,
    pub cell: String,
    pub treatment: String,
    /// False for what the kernel did for the target outside the process.
    pub own: bool,
    pub category: String,
    /// Named where no rule knows it.
    pub symbol: String,
    pub samples: f64,
    pub share: Option<f64>,
    pub ns_per_op: f64,
}

/// Everything a report is made of.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// Sorted by round, block and position; only arms whose outcome is `completed`.
    pub trials: Vec<Trial>,
    pub treatments: Vec<String>,
    pub arms: Vec<Arm>,
    /// `None` where the run has no rounds.csv.
    pub rounds: Option<Vec<Round>>,
    /// Lines of `overhead.csv`.
    pub overhead: Vec<Overhead>,
    /// Rounds that the plan has, where plan.csv says so.
    pub planned_rounds: Option<usize>,
    /// Rounds that were measured again, each with the round that stands for it.
    pub redone: Vec<(u32, u32)>,
    /// What was left out, in words.
    pub warnings: Vec<String>,
}

impl Data {
    /// Of rounds that were measured again keeps the second where it broke fewer gates, else the first; returns those that do not count.
    fn replace(&mut self, redone: impl Iterator<Item = (u32, u32)>) -> BTreeSet<u32> {
        let mut broken: HashMap<u32, BTreeSet<&str>> = HashMap::new();
        for arm in self.arms.iter().filter(|a| !["completed", "unsupported"].contains(&a.outcome.as_str())) {
            broken.entry(arm.round).or_default().insert(&arm.treatment);
        }
        let broken = |round: &u32| broken.get(round).map_or(0, BTreeSet::len);
        let better = |(first, again): &(u32, u32)| broken(again) < broken(first);
        let (better, worse): (Vec<_>, Vec<_>) = redone.partition(better);
        self.redone = better;
        self.redone.iter().map(|(first, _)| *first).chain(worse.into_iter().map(|(_, again)| again)).collect()
    }
}

/// Kinds of rounds whose throughput is not used: what watches them costs some.
pub const WATCHED: [&str; 2] = ["profile", "counts"];

/// Kinds of rounds that measure our arms undisturbed.
pub const OURS: [&str; 2] = ["slices", "isolated"];

/// The numeric columns of `arms.csv` that reports show, beside the counts.
const FIGURES: [&str; 10] = [
    "iops",
    "bandwidth_bytes_per_s",
    "cpu_total_ns_per_op",
    "thread_cpu_share",
    "enters_per_op",
    "device_share",
    "lat_ns_p50",
    "lat_ns_p90",
    "lat_ns_p99",
    "lat_ns_p999",
];

/// Reads a run's directory.
pub fn load(dir: &Dir) -> Result<Data, Error> {
    super::threads::start().map_err(Error::Threads)?;
    let mut data = Data::default();
    let rounds = optional(dir, JOURNAL, &mut data.warnings)?;
    rounds.as_ref().map_or(Ok(()), |journal| intact::check(dir, journal, &mut data.warnings))?;
    data.rounds = rounds.map(|table| table.rounds()).transpose()?;
    let plan = optional(dir, "plan.csv", &mut data.warnings)?;
    data.planned_rounds = plan.as_ref().map(|t| t.frame.height());
    let finished: Option<BTreeSet<u32>> = data.rounds.as_ref().map(|rows| rows.iter().map(|r| r.round).collect());
    let counts = |round: u32| finished.as_ref().is_none_or(|f| f.contains(&round));
    data.arms = Table::read(dir, "arms.csv", &mut data.warnings)?.arms()?;
    data.arms.retain(|a| counts(a.round));
    intact::arms(dir, &data.arms)?;
    let redone = plan.map_or(Ok(Vec::new()), |table| table.redone())?;
    let replaced = data.replace(redone.into_iter().filter(|(_, again)| counts(*again)));
    // What broke a gate stays, for its reason.
    data.arms.retain(|a| a.outcome != "completed" || !replaced.contains(&a.round));
    let completed: BTreeSet<(u32, &str)> =
        data.arms.iter().filter(|a| a.outcome == "completed").map(|a| (a.round, a.treatment.as_str())).collect();
    let (mut trials, treatments) = Table::read(dir, "trials.csv", &mut data.warnings)?.trials()?;
    trials.retain(|t| completed.contains(&(t.round, treatments[t.treatment].as_str())));
    trials.sort_by_key(|t| (t.round, t.block, t.position));
    intact::trials(dir, &trials, &treatments)?;
    (data.trials, data.treatments) = (trials, treatments);
    data.overhead = optional(dir, "overhead.csv", &mut data.warnings)?.map_or(Ok(Vec::new()), |table| table.overhead())?;
    data.overhead.retain(|o| completed.contains(&(o.round, o.treatment.as_str())));
    intact::overhead(dir, &data.overhead)?;
    Ok(data)
}

/// The arms of a run alone, also of rounds that were measured again.
pub fn arms(dir: &Dir) -> Result<Vec<Arm>, Error> {
    super::threads::start().map_err(Error::Threads)?;
    Table::read(dir, "arms.csv", &mut Vec::new())?.arms()
}

pub(super) fn optional(dir: &Dir, name: &str, warnings: &mut Vec<String>) -> Result<Option<Table>, Error> {
    let there = dir.holds(name).map_err(|source| Error::Read { path: dir.join(name), source })?;
    if there { Table::read(dir, name, warnings).map(Some) } else { Ok(None) }
}

/// One CSV file as polars reads it.
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) frame: DataFrame,
}

impl Table {
    fn read(dir: &Dir, name: &str, warnings: &mut Vec<String>) -> Result<Table, Error> {
        let kind = |column: &str| if holds(column) == Holds::Text { DataType::String } else { DataType::Float64 };
        Table::read_as(dir, name, warnings, kind)
    }

    /// Reads a file with the types that `kind` gives its columns.
    pub(super) fn read_as(
        dir: &Dir,
        name: &str,
        warnings: &mut Vec<String>,
        kind: impl Fn(&str) -> DataType,
    ) -> Result<Table, Error> {
        let path = dir.join(name);
        let mut bytes = intact::read(dir, name)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            warnings.push(format!("the last line of {name} was torn and is left out"));
            bytes.truncate(whole);
        }
        let header = String::from_utf8_lossy(bytes.split(|b| *b == b'\n').next().unwrap_or_default()).trim().to_string();
        let types = header.split(',').map(|c| (PlSmallStr::from_str(c), kind(c)));
        let schema: Schema = types.collect();
        let options = CsvReadOptions::default().with_schema_overwrite(Some(Arc::new(schema)));
        let frame = options.into_reader_with_file_handle(Cursor::new(bytes)).finish();
        let frame = frame.map_err(|e: PolarsError| Error::Table { path: path.clone(), reason: e.to_string() })?;
        Ok(Table { path, frame })
    }

    fn column(&self, name: &'static str) -> Result<&Column, Error> {
        self.frame.column(name).map_err(|_| Error::Column { path: self.path.clone(), column: name })
    }

    fn numbers(&self, name: &'static str) -> Result<Vec<Option<f64>>, Error> {
        let values = self.column(name)?.f64().map_err(|e| Error::Table { path: self.path.clone(), reason: e.to_string() })?;
        Ok(values.iter().collect())
    }

    /// A column that may be missing; its cells are then empty.
    pub(super) fn maybe_numbers(&self, name: &'static str) -> Result<Vec<Option<f64>>, Error> {
        if self.frame.column(name).is_err() { Ok(vec![None; self.frame.height()]) } else { self.numbers(name) }
    }

    pub(super) fn required(&self, name: &'static str) -> Result<Vec<f64>, Error> {
        let empty = || Error::Table { path: self.path.clone(), reason: format!("an empty cell in column {name}") };
        self.numbers(name)?.into_iter().map(|v| v.ok_or_else(empty)).collect()
    }

    fn texts(&self, name: &'static str) -> Result<Vec<String>, Error> {
        let values = self.column(name)?.str().map_err(|e| Error::Table { path: self.path.clone(), reason: e.to_string() })?;
        Ok(values.iter().map(|t| t.unwrap_or_default().to_string()).collect())
    }

    /// Names of workloads: charts are named after them.
    fn names(&self, column: &'static str) -> Result<Vec<String>, Error> {
        let names = self.texts(column)?;
        let damaged = names.iter().enumerate().find_map(|(row, name)| Some((row + 1, name::check(name).err()?)));
        match damaged {
            None => Ok(names),
            Some((row, reason)) => {
                Err(Error::Table { path: self.path.clone(), reason: format!("row {row}: {column}: {reason}") })
            }
        }
    }

    fn maybe_names(&self, column: &'static str) -> Result<Vec<String>, Error> {
        if self.frame.column(column).is_err() { Ok(vec![String::new(); self.frame.height()]) } else { self.names(column) }
    }

    fn maybe_texts(&self, name: &'static str) -> Result<Vec<String>, Error> {
        if self.frame.column(name).is_err() { Ok(vec![String::new(); self.frame.height()]) } else { self.texts(name) }
    }

    fn trials(&self) -> Result<(Vec<Trial>, Vec<String>), Error> {
        let (rounds, blocks, positions) = (self.required("round")?, self.required("block")?, self.required("position")?);
        let (durations, ops, cpu) = (self.required("duration_s")?, self.required("ops")?, self.maybe_numbers("cpu_total_ns")?);
        let (mut names, mut index) = (Vec::new(), HashMap::new());
        let trials = self.texts("treatment")?.into_iter().enumerate().map(|(i, name)| {
            let treatment = *index.entry(name).or_insert_with_key(|name| {
                names.push(name.clone());
                names.len() - 1
            });
            let (round, block, position) = (rounds[i] as u32, blocks[i] as u32, positions[i] as u32);
            Trial { round, treatment, block, position, duration_s: durations[i], ops: ops[i], cpu_total_ns: cpu[i] }
        });
        let trials = trials.collect();
        Ok((trials, names))
    }

    fn arms(&self) -> Result<Vec<Arm>, Error> {
        let rounds = self.required("round")?;
        let (cells, [treatments, outcomes]) = (self.names("cell"), ["treatment", "outcome"].map(|c| self.texts(c)));
        let [kinds, engines, reasons, targets, rw] = ["kind", "engine", "reason", "target", "rw"].map(|c| self.maybe_texts(c));
        let routes = self.maybe_texts("route")?;
        let (cells, treatments, outcomes, kinds, engines, reasons, targets, rw) =
            (cells?, treatments?, outcomes?, kinds?, engines?, reasons?, targets?, rw?);
        let [sizes, depths, jobs] = ["block_size_bytes", "queue_depth", "jobs"].map(|c| self.maybe_numbers(c));
        let (sizes, depths, jobs) = (sizes?, depths?, jobs?);
        let figures: Vec<(&'static str, Vec<Option<f64>>)> = FIGURES
            .into_iter()
            .chain(counters::columns())
            .map(|name| Ok((name, self.maybe_numbers(name)?)))
            .collect::<Result<_, Error>>()?;
        let levels: Vec<(&'static str, Vec<Option<&str>>)> =
            Toggle::all().filter_map(|t| Some((t.key(), self.levels(t)?))).collect();
        let mut shared: HashMap<Vec<Option<&str>>, Arc<HashMap<&'static str, String>>> = HashMap::new();
        let mut levels_of = |i: usize| {
            let row: Vec<Option<&str>> = levels.iter().map(|(_, column)| column[i]).collect();
            let map = |row: &Vec<Option<&str>>| {
                let told = levels.iter().zip(row).filter_map(|((key, _), level)| Some((*key, (*level)?.to_string())));
                Arc::new(told.collect::<HashMap<_, _>>())
            };
            Arc::clone(shared.entry(row).or_insert_with_key(map))
        };
        let arm = |i: usize| Arm {
            round: rounds[i] as u32,
            kind: kinds[i].clone(),
            cell: cells[i].clone(),
            treatment: treatments[i].clone(),
            engine: engines[i].clone(),
            outcome: outcomes[i].clone(),
            reason: reasons[i].clone(),
            route: routes[i].clone(),
            target: targets[i].clone(),
            rw: rw[i].clone(),
            block_size_bytes: sizes[i],
            queue_depth: depths[i],
            jobs: jobs[i],
            levels: levels_of(i),
            figures: figures.iter().filter_map(|(name, column)| Some((*name, column[i]?))).collect(),
        };
        Ok((0..rounds.len()).map(arm).collect())
    }

    /// The effective levels of a toggle; `None` where the table has none.
    fn levels(&self, toggle: Toggle) -> Option<Vec<Option<&str>>> {
        Some(self.frame.column(&format!("eff_{}", toggle.key())).ok()?.str().ok()?.iter().collect())
    }

    fn redone(&self) -> Result<Vec<(u32, u32)>, Error> {
        let (rounds, redoes) = (self.required("round")?, self.maybe_numbers("redoes")?);
        Ok(redoes.into_iter().zip(rounds).filter_map(|(old, again)| Some((old? as u32, again as u32))).collect())
    }

    fn overhead(&self) -> Result<Vec<Overhead>, Error> {
        let cells = self.names("cell");
        let [treatments, sides, categories, symbols] = ["treatment", "side", "category", "symbol"].map(|c| self.texts(c));
        let (cells, treatments, sides, categories, symbols) = (cells?, treatments?, sides?, categories?, symbols?);
        let (rounds, samples, ns) = (self.required("round")?, self.required("samples")?, self.required("ns_per_op")?);
        let shares = self.numbers("share")?;
        let row = |i: usize| Overhead {
            round: rounds[i] as u32,
            cell: cells[i].clone(),
            treatment: treatments[i].clone(),
            own: sides[i] == "own",
            category: categories[i].clone(),
            symbol: symbols[i].clone(),
            samples: samples[i],
            share: shares[i],
            ns_per_op: ns[i],
        };
        Ok((0..rounds.len()).map(row).collect())
    }

    fn rounds(&self) -> Result<Vec<Round>, Error> {
        let (rounds, kinds, wall) = (self.required("round")?, self.texts("kind")?, self.required("wall_s")?);
        let (slices, violations) = (self.required("slices_s")?, self.maybe_numbers("violations")?);
        let cells = self.maybe_names("cell")?;
        let (busy, steal) = (self.maybe_numbers("machine_busy_share")?, self.maybe_numbers("machine_steal_share")?);
        let round = |i: usize| Round {
            round: rounds[i] as u32,
            kind: kinds[i].clone(),
            wall_s: wall[i],
            slices_s: slices[i],
            violations: violations[i].unwrap_or(0.0),
            cell: cells[i].clone(),
            machine_busy_share: busy[i],
            machine_steal_share: steal[i],
        };
        Ok((0..rounds.len()).map(round).collect())
    }
}
