//! An experiment file: TOML as written -> validated [`Experiment`]. The only door to `toml`.
//!
//! The `Wire*` types mirror the file and refuse unknown keys; [`Experiment`] holds what they mean. Every error names file, line, key and
//! what would be valid; nothing is run on a file with one.

mod cells;
mod claim;
mod design;
pub mod difference;
mod peers;
pub mod programs;
pub mod subject;
mod wire;

pub use claim::{Claim, Range, Says};
pub use design::Design;
pub use peers::{FioConfig, Peers};

use crate::analysis::stopping::MISSES;
use crate::engine::Options;
use crate::engine::ring::Sqpoll;
use crate::engine::stamp::SEED;
use crate::target::{Kind, Wanted};
use crate::text;
use crate::toggle::{Levels, Toggle};
use crate::workload::{Rw, Workload};
use crate::{durable, limits, name, units};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;
use subject::{Gate, Subject};
use toml::Spanned;
use wire::{List, Scalar, Wire, WireEngine, WireTarget};

/// A validated experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    pub name: String,
    pub question: String,
    /// Changes, as with `--set`, for a run that only shows that everything works.
    pub smoke: Vec<String>,
    /// One, or several that serve every job in turn.
    pub target: Vec<Wanted>,
    /// io-wq workers may do the target's I/O; otherwise their work makes a row invalid.
    pub allow_iowq: bool,
    /// The product of the workload's lists.
    pub cells: Vec<Workload>,
    pub designs: Vec<Design>,
    /// The listed toggles with their *on* level, in the order given.
    pub toggles: Vec<(Toggle, u32)>,
    /// Toggles that are in neither baseline nor full what they are here: each is moved to this level alone, all others as in full.
    pub beside: Vec<(Toggle, u32)>,
    /// The levels that a sweep takes, of toggles that are listed.
    pub sweep: Vec<(Toggle, Vec<u32>)>,
    /// Levels of what is not listed; baseline is this with every listed toggle off.
    pub fixed: Levels,
    /// What is said of the toggles and to be judged.
    pub claims: Vec<Claim>,
    pub mode: Mode,
    pub rounds: Option<u32>,
    /// Stop before the last round when every interval of the family is at most this far from its middle, as a fraction.
    pub target_half_width: Option<f64>,
    /// Time for all rounds of all cells, spent where intervals are widest.
    pub budget: Option<Duration>,
    /// Time for the slices of one round; `None` for what is usual, or what the budget allows.
    pub round_time: Option<Duration>,
    /// Length of a slice of the slowest arm; `None` leaves it to the pilot.
    pub slice_time: Option<Duration>,
    /// Whether each slice is preceded by an unmeasured one of the same arm; `None` where the target may carry over.
    pub conditioning: Option<bool>,
    /// What kind = "explicit" compares with baseline.
    pub treatments: Vec<Treatment>,
    /// Duration of one trial in isolated mode.
    pub trial_time: Duration,
    pub seed: u64,
    /// Refuse what cannot run here instead of dropping it.
    pub strict: bool,
    /// Practical margin, as a fraction.
    pub delta: f64,
    pub alpha: f64,
    /// The size of the stall control, as a fraction.
    pub stall: f64,
    /// The size of the spin control, as a fraction.
    pub spin: f64,
    pub peers: Peers,
    pub profile: Profiling,
    /// `[counters] rounds`: rounds in which events are counted.
    pub counted_rounds: u32,
    /// `[engine]`: how toggles that need more than a level are set up.
    pub options: Options,
    /// What `nightly` compares, where it is not our engine.
    pub subject: Option<Subject>,
    pub gate: Gate,
    /// The text the plan is made of, after `--set`.
    pub text: String,
    /// The same before it: what somebody wrote and the user may trust.
    pub file_text: String,
}

/// A treatment that is spelt out: its name, and the levels that differ from baseline.
pub type Treatment = (String, Vec<(Toggle, u32)>);

impl Experiment {
    /// Takes what the user allows beyond what is usual for what the tool makes.
    pub fn allow_size(&mut self, bytes: Option<u64>) {
        self.target.iter_mut().for_each(|target| target.allowed_bytes = bytes.unwrap_or(0));
    }

    /// Whether the width of intervals may end a run, or say where its time goes.
    pub fn looks(&self) -> bool {
        self.target_half_width.is_some() || self.budget.is_some()
    }

    /// The level of every single test and interval: where a rule looks often, a little below what is asked for, which keeps the promise.
    pub fn level(&self) -> f64 {
        self.alpha * if self.looks() { MISSES } else { 1.0 }
    }

    /// True where some workload writes to the target.
    pub fn writes(&self) -> bool {
        self.cells.iter().any(|workload| workload.rw.writes())
    }

    /// Whether slices of a workload are preceded by unmeasured ones of the same arm, on a target that carries over or not.
    pub fn conditions(&self, workload: &Workload, carries_over: bool) -> bool {
        workload.rw != Rw::Nop && self.conditioning.unwrap_or(carries_over || workload.rw.writes())
    }
}

/// `[design] mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Sliced,
    Isolated,
}

/// `[profile]`: rounds in which a clock writes down what runs, for the causes of the time. None where `rounds` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profiling {
    pub rounds: u32,
    /// Ticks a second of CPU time.
    pub frequency: u32,
}

/// An experiment that cannot be used, with the place in its file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read experiment {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place}: {message}")]
    Invalid { place: String, message: String },
    #[error("--set {0:?}: write KEY=VALUE, for example --set design.rounds=24")]
    Set(String),
}

/// The text of one experiment with the means to say where an error lies.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn fail(&self, at: std::ops::Range<usize>, message: impl Display) -> Error {
        let line = self.text[..at.start.min(self.text.len())].matches('\n').count() + 1;
        Error::Invalid { place: format!("{}:{line}", self.path.display()), message: message.to_string() }
    }

    fn read<T, U, E: Display>(&self, key: &str, value: &Spanned<T>, parse: impl Fn(&T) -> Result<U, E>) -> Result<U, Error> {
        parse(value.get_ref()).map_err(|e| self.fail(value.span(), format!("{key}: {e}")))
    }

    fn list<U, E: Display>(
        &self,
        key: &str,
        value: &Spanned<List>,
        parse: impl Fn(&str) -> Result<U, E>,
    ) -> Result<Vec<U>, Error> {
        let items = &value.get_ref().0;
        if items.is_empty() {
            return Err(self.fail(value.span(), format!("{key} lists nothing")));
        }
        if items.len() > limits::LIST {
            return Err(self.fail(value.span(), format!("{key} lists {} items; at most {} are taken", items.len(), limits::LIST)));
        }
        items.iter().map(|t| parse(t).map_err(|e| self.fail(value.span(), format!("{key}: {e}")))).collect()
    }

    fn duration(&self, key: &str, value: Option<&Spanned<Scalar>>, default: Duration) -> Result<Duration, Error> {
        value.map_or(Ok(default), |v| self.read(key, v, |t| units::duration(&t.0)))
    }

    /// The time for the slices of one round: all of them are held in memory.
    fn round_time(&self, key: &str, value: Option<&Spanned<Scalar>>) -> Result<Option<Duration>, Error> {
        let bounded = |text: &Scalar| match some_time(&text.0)? {
            time if time > limits::ROUND_TIME => {
                let most = limits::ROUND_TIME.as_secs() / 3600;
                Err(format!("{:?} is too long: {most}h is the most; measure more rounds", text.0))
            }
            time => Ok(time),
        };
        value.map(|v| self.read(key, v, bounded)).transpose()
    }

    fn level(&self, toggle: Toggle, value: &Spanned<Scalar>) -> Result<u32, Error> {
        self.read("level", value, |t| toggle.spec().parse_level(&t.0))
    }
}

/// Reads and validates an experiment, with `--set` overrides applied.
pub fn load(path: &Path, overrides: &[String]) -> Result<Experiment, Error> {
    let text = durable::text(path, limits::EXPERIMENT_BYTES).map_err(|source| Error::Read { path: path.into(), source })?;
    overridden(path, &text, overrides)
}

/// Validates the text of an experiment with `--set` overrides applied; `path` is for messages.
pub fn overridden(path: &Path, text: &str, overrides: &[String]) -> Result<Experiment, Error> {
    let experiment = if overrides.is_empty() { parse(path, text)? } else { parse(path, &apply(path, text, overrides)?)? };
    Ok(Experiment { file_text: text.into(), ..experiment })
}

/// Validates the text of an experiment; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Experiment, Error> {
    let source = Source { path, text };
    let wire: Wire = toml::from_str(text).map_err(|e| source.fail(e.span().unwrap_or(0..0), e.message()))?;
    let name = source.read("name", &wire.name, |n| check_name(n))?;
    let (designs, fixed) = (wire.design.kind.clone(), design::fixed(&source, &wire)?);
    let (toggles, mut beside) = design::toggles(&source, &wire.design)?;
    beside.iter_mut().filter(|(t, _)| fixed.is_on(*t)).for_each(|(t, level)| *level = t.spec().off);
    if let [first, second, ..] = designs.iter().filter(|d| d.is_of_combinations()).collect::<Vec<_>>()[..] {
        let (first, second) = (first.name(), second.name());
        let message = format!("[design] kind: {first:?} and {second:?} are each analysed as a whole; keep one");
        return Err(source.fail(wire.name.span(), message));
    }
    if designs.is_empty() != toggles.is_empty() {
        let message = "[design] kind and toggles must each name at least one, or both none for the controls alone";
        return Err(source.fail(wire.name.span(), message));
    }
    if repeats(&designs) || repeats(&wire.peers.fio) {
        return Err(source.fail(wire.name.span(), "[design] kind and [peers] fio name each kind once"));
    }
    let rounds = wire.design.rounds.as_ref().map(|r| source.read("[design] rounds", r, |n| some_rounds(*n))).transpose()?;
    let rounds_of = |key, value: Option<&Spanned<u32>>| value.map_or(Ok(0), |v| source.read(key, v, |n| not_too_many(*n)));
    let second = Duration::from_secs(1);
    let optional = |key, value: Option<&Spanned<Scalar>>| value.map(|v| source.read(key, v, |t| some_time(&t.0))).transpose();
    let claims = wire.claim.iter().map(|c| claim::read(&source, c, &wire)).collect::<Result<_, _>>()?;
    let fraction =
        |key, value: Option<&Spanned<Scalar>>| value.map(|v| source.read(key, v, |t| units::percent(&t.0))).transpose();
    let delta = fraction("delta", wire.analysis.delta.as_ref())?.unwrap_or(0.02);
    let sweep = design::sweep(&source, &wire.design, &toggles)?;
    Ok(Experiment {
        name,
        question: source.read("question", &wire.question, |q| text::words(q, limits::SENTENCE))?,
        smoke: wire.smoke.clone(),
        allow_iowq: wire.target.0.iter().any(|target| target.allow_iowq),
        target: targets(&source, &wire)?,
        cells: cells::read(&source, &wire.workload)?,
        designs,
        toggles,
        beside,
        sweep,
        claims,
        fixed,
        treatments: design::treatments(&source, &wire.design)?,
        mode: wire.design.mode.unwrap_or(Mode::Sliced),
        slice_time: optional("slice_time", wire.design.slice_time.as_ref())?,
        conditioning: wire.design.conditioning,
        rounds,
        target_half_width: fraction("target_half_width", wire.design.target_half_width.as_ref())?,
        budget: optional("budget", wire.design.budget.as_ref())?,
        round_time: source.round_time("[design] round_time", wire.design.round_time.as_ref())?,
        trial_time: source.duration("trial_time", wire.design.trial_time.as_ref(), second)?,
        seed: wire.design.seed.unwrap_or(1),
        strict: wire.design.strict,
        delta,
        alpha: wire.analysis.alpha.as_ref().map_or(Ok(0.05), |v| source.read("alpha", v, |a| check_alpha(*a)))?,
        stall: fraction("stall", wire.analysis.stall.as_ref())?.unwrap_or(0.02),
        spin: fraction("spin", wire.analysis.spin.as_ref())?.unwrap_or(0.05),
        peers: peers::read(&source, &wire.peers)?,
        profile: Profiling {
            rounds: rounds_of("[profile] rounds", wire.profile.rounds.as_ref())?,
            frequency: wire.profile.frequency.as_ref().map_or(Ok(FREQUENCY), |f| source.read("frequency", f, |n| ticks(*n)))?,
        },
        counted_rounds: rounds_of("[counters] rounds", wire.counters.rounds.as_ref())?,
        options: options(&source, &wire.engine)?,
        subject: wire.subject.as_ref().map(|s| subject::subject(&source, s)).transpose()?,
        gate: subject::gate(&source, &wire.gate, delta)?,
        text: text.to_string(),
        file_text: text.to_string(),
    })
}

/// Sets dotted keys and writes the experiment out again: lines in later messages count in that text.
fn apply(path: &Path, text: &str, overrides: &[String]) -> Result<String, Error> {
    let source = Source { path, text };
    let mut root: toml::Table = toml::from_str(text).map_err(|e| source.fail(e.span().unwrap_or(0..0), e.message()))?;
    for item in overrides {
        let fail = || Error::Set(item.clone());
        let (key, value) = item.split_once('=').ok_or_else(fail)?;
        // `v = VALUE` parses numbers, lists and quoted strings; anything else is a plain string.
        let parsed = toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
        let mut parts: Vec<&str> = key.trim().split('.').collect();
        let last = parts.pop().filter(|k| !k.is_empty()).ok_or_else(fail)?;
        let mut table = &mut root;
        for part in parts {
            let entry = table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            table = entry.as_table_mut().ok_or_else(fail)?;
        }
        table.insert(last.into(), parsed.unwrap_or_else(|| value.into()));
    }
    toml::to_string(&root).map_err(|e| Error::Set(e.to_string()))
}

fn check_name(name: &str) -> Result<String, String> {
    name::check(name).map(|()| name.into())
}

fn repeats<T: PartialEq>(list: &[T]) -> bool {
    (1..list.len()).any(|i| list[..i].contains(&list[i]))
}

fn some_time(text: &str) -> Result<Duration, String> {
    match units::duration(text).map_err(|e| e.to_string())? {
        Duration::ZERO => Err("must be longer than nothing".into()),
        time => Ok(time),
    }
}

fn some_rounds(n: u32) -> Result<u32, String> {
    if n > 0 { not_too_many(n) } else { Err("must be at least 1".into()) }
}

fn not_too_many(rounds: u32) -> Result<u32, String> {
    if rounds <= limits::ROUNDS { Ok(rounds) } else { Err(format!("{rounds} are too many: {} are the most", limits::ROUNDS)) }
}

/// No multiple of the kernel's own tick, so that the two do not walk in step.
pub const FREQUENCY: u32 = 997;

fn ticks(frequency: u32) -> Result<u32, String> {
    if (1..=limits::TICKS).contains(&frequency) {
        Ok(frequency)
    } else {
        Err(format!("{frequency} must be from 1 to {} ticks a second", limits::TICKS))
    }
}

fn check_alpha(alpha: f64) -> Result<f64, String> {
    if alpha > 0.0 && alpha < 0.5 { Ok(alpha) } else { Err(format!("{alpha} must lie between 0 and 0.5")) }
}

/// What verified workloads read on each is stamped with a seed of its own.
fn targets(source: &Source<'_>, wire: &Wire) -> Result<Vec<Wanted>, Error> {
    if wire.target.0.is_empty() {
        return Err(source.fail(wire.name.span(), "target lists nothing; leave it out for kind = \"auto\""));
    }
    let stamps = |seed| wire.workload.verify.then_some(seed);
    wire.target.0.iter().zip(SEED..).map(|(wire, seed)| target(source, wire, stamps(seed))).collect()
}

fn target(source: &Source<'_>, wire: &WireTarget, stamps: Option<u64>) -> Result<Wanted, Error> {
    let size_bytes = wire.size.as_ref().map(|s| source.read("size", s, |t| units::size_bytes(&t.0))).transpose()?;
    if let (None | Some(Kind::Auto | Kind::Loop), Some(path)) = (wire.kind, &wire.path) {
        let message = "[target] path needs a kind that has one: file, device, null_blk or nvme";
        return Err(source.fail(path.span(), message));
    }
    let path = wire.path.as_ref().map(|p| p.get_ref().clone());
    Ok(Wanted { kind: wire.kind.unwrap_or(Kind::Auto), path, size_bytes, stamps, allowed_bytes: 0 })
}

fn options(source: &Source<'_>, wire: &WireEngine) -> Result<Options, Error> {
    let usual = Sqpoll::default();
    let idle = source.duration("[engine] sqpoll_idle", wire.sqpoll_idle.as_ref(), Duration::from_millis(usual.idle_ms.into()))?;
    let sqpoll = Sqpoll { idle_ms: (idle.as_millis() as u32).max(1), cpu: wire.sqpoll_cpu };
    Ok(Options { sqpoll, cpus: wire.cpus.clone(), numa_node: wire.numa_node })
}
