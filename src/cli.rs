//! The command line: the only door to clap.

mod nights;

pub use nights::{BisectArgs, HistoryVerb, NightlyArgs, SimulateNightsArgs};

use crate::analysis::contrast::Metric;
use crate::export::Format;
use crate::toggle::Toggle;
use crate::workload::{self, Distribution, Rw};
use crate::{engine, limits, units};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory, Parser, Subcommand};
pub use clap_complete::Shell;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which io_uring optimisation pays on this machine, by how much, and how far the result is from fio.
#[derive(Debug, Parser)]
// Not as the caller spells it, which nobody vouches for.
#[command(version, about, bin_name = "uring-ablate")]
pub struct Cli {
    /// Say nothing but errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run an experiment and report on it.
    Run(RunArgs),
    /// Show what an experiment would do: cells, arms, rounds, time.
    Plan(PlanArgs),
    /// Derive tables and charts from the files of a run and write them beside those, or to --out; measures nothing.
    Report(ReportArgs),
    /// Set runs side by side: what may be compared, and how much each toggle's worth differs; measures nothing.
    Compare(CompareArgs),
    /// Compare a candidate with a pinned reference, tonight and with the nights before; only what a second run confirms is a regression.
    Nightly(NightlyArgs),
    /// What nights have told: show, plot, verify, export or merge them; measures nothing.
    #[command(subcommand)]
    History(HistoryVerb),
    /// Find the commit that made it worse: build commits between two and measure each beside the good one.
    Bisect(BisectArgs),
    /// Write a run in the format of another tool; measures nothing.
    Export(ExportArgs),
    /// Measure one cell, with flags named as fio names them.
    Bench(BenchArgs),
    /// Show what can and cannot be measured here, and what would help; changes nothing.
    Doctor(DoctorArgs),
    /// Show whether the figures can be trusted here: the analysis on simulated machines, then this machine by its controls; about 3 minutes.
    Selftest(SelftestArgs),
    /// List every toggle with its levels, constraints and source.
    Toggles,
    /// Print what a shell needs to complete this command line: `uring-ablate completions bash >/etc/bash_completion.d/uring-ablate`.
    Completions { shell: Shell },
    /// Write the manual, a page for the program and one for each verb, for example into /usr/local/share/man/man1.
    Man {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// The hot loop on a simulated ring: what it costs without a kernel.
    #[command(hide = true)]
    Simulate {
        /// Every toggle that acts in the loop on, batches of 32; otherwise all off.
        #[arg(long)]
        all_on: bool,
        #[arg(long, default_value_t = 10_000_000)]
        requests: u64,
    },
    /// Nights on a machine that exists in numbers alone: how often a night finds what is not there, and what is.
    #[command(hide = true)]
    SimulateNights(SimulateNightsArgs),
    /// One round, as the runner starts it.
    #[command(hide = true)]
    Round,
    /// A process arm of our engine, as the runner starts it.
    #[command(hide = true)]
    Worker,
    /// Become PROGRAM, to be killed together with PARENT.
    #[command(hide = true)]
    Tether {
        /// Join this control group first.
        #[arg(long, value_name = "DIR")]
        group: Option<PathBuf>,
        parent: u32,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// What `shell` needs to complete our command line.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "uring-ablate", &mut script);
    script
}

/// Writes the manual's pages into a directory, which is made.
pub fn manual(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// File or block device to look at [default: a loop device over shared memory, or a temporary file].
    pub target: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct SelftestArgs {
    /// File or block device to read [default: a loop device over shared memory, or a temporary file].
    pub target: Option<PathBuf>,
    /// Only the analysis, on simulated machines: a few seconds.
    #[arg(long)]
    pub synthetic: bool,
    /// Instead: compare identical programs in several ways, for this time each, and draw how narrow an interval each gives.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "60s", value_parser = units::duration, conflicts_with = "synthetic")]
    pub schemes: Option<Duration>,
    /// Where the table and the chart of --schemes go.
    #[arg(long, value_name = "DIR", default_value = "results/schemes")]
    pub out: PathBuf,
    /// Override a key of the built-in experiment (experiments/aa.toml), for example --set design.round_time=2s.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The experiment file.
    pub experiment: PathBuf,
    /// Directory of this run's results and charts [default: results/EXPERIMENT/UTC-HOST and plots/EXPERIMENT].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A few seconds that only show that everything works: what the experiment lists under `smoke`.
    #[arg(long)]
    pub smoke: bool,
    /// Continue an interrupted run: the one in --out, else the newest of this experiment.
    #[arg(long)]
    pub resume: bool,
    /// Override a key of the experiment, for example --set design.rounds=24.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Time for all rounds in place of their number, spent where intervals are widest: 10m is the same as --set design.budget=10m.
    #[arg(long, value_name = "TIME")]
    pub budget: Option<String>,
    /// Allow writing to this target; repeat its exact path.
    #[arg(long, value_name = "PATH")]
    pub allow_destructive: Vec<PathBuf>,
    #[command(flatten)]
    pub allow: Allow,
}

/// What an experiment does only when the user says so, beside writing to what is his.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Allow {
    /// Start the programs that this experiment file names; repeat its path. It holds for this call.
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
    /// Let what the tool makes take up to this much memory or disk space: more than the usual half or 80 % of what is free.
    #[arg(long, value_name = "SIZE", value_parser = units::size_bytes)]
    pub allow_size: Option<u64>,
}

impl RunArgs {
    /// What is changed of the experiment.
    pub fn changes(&self) -> Vec<String> {
        changes(&self.overrides, self.budget.as_ref())
    }
}

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The experiment file.
    pub experiment: PathBuf,
    /// Override a key of the experiment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Time for all rounds in place of their number, spent where intervals are widest: 10m is the same as --set design.budget=10m.
    #[arg(long, value_name = "TIME")]
    pub budget: Option<String>,
    /// Measure slice lengths and block times on the target.
    #[arg(long)]
    pub pilot: bool,
    /// Allow the pilot to write to this target; repeat its exact path.
    #[arg(long, value_name = "PATH")]
    pub allow_destructive: Vec<PathBuf>,
    #[command(flatten)]
    pub allow: Allow,
    /// Print the fio job files of a cell instead.
    #[arg(long, value_name = "CELL")]
    pub fio_job: Option<String>,
}

impl PlanArgs {
    /// What is changed of the experiment.
    pub fn changes(&self) -> Vec<String> {
        changes(&self.overrides, self.budget.as_ref())
    }
}

fn changes(overrides: &[String], budget: Option<&String>) -> Vec<String> {
    let budget = budget.map(|time| format!("design.budget={time}"));
    overrides.iter().cloned().chain(budget).collect()
}

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Directory of a run.
    pub results: PathBuf,
    /// Tables for DuckDB and pandas, a log of HdrHistogram, JSON for Bencher or github-action-benchmark, lines for benchstat.
    #[arg(long, value_parser = formats())]
    pub format: Format,
    /// File to write, for parquet a directory [default: standard output, for parquet RESULTS/parquet].
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// What github-action-benchmark gets: cpu with customSmallerIsBetter, or iops with customBiggerIsBetter [default: cpu].
    #[arg(long, value_parser = metrics())]
    pub metric: Option<Metric>,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| Format::parse(&name).ok_or("not a format"))
}

fn metrics() -> impl TypedValueParser<Value = Metric> {
    PossibleValuesParser::new(["cpu", "iops"]).map(|name| if name == "iops" { Metric::Iops } else { Metric::CpuPerOp })
}

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// read, write, randread, randwrite, randrw or nop.
    #[arg(long, default_value = "read", value_parser = Rw::parse)]
    pub rw: Rw,
    /// Share of reads in randrw, in percent.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub rwmixread: u8,
    /// Block size.
    #[arg(long, default_value = "4k", value_parser = workload::block_size)]
    pub bs: u32,
    /// Requests in flight of each job.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=i64::from(engine::MAX_QUEUE_DEPTH)))]
    pub iodepth: u32,
    /// Threads, each with its own ring.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::JOBS)))]
    pub numjobs: u32,
    /// Files or block devices, separated by colons (\: is a colon of a name) [default: a loop device over shared memory, else a temporary file].
    #[arg(long)]
    pub filename: Option<String>,
    /// Bytes that are used, or made where there is no --filename.
    #[arg(long, value_parser = units::size_bytes)]
    pub size: Option<u64>,
    /// Length of the measured run; a plain number is of seconds, as in fio.
    #[arg(long, default_value = "5s", value_parser = units::seconds)]
    pub runtime: Duration,
    /// Run this long before, unmeasured.
    #[arg(long, default_value = "0s", value_parser = units::seconds)]
    pub ramp_time: Duration,
    /// uniform or zipf:THETA.
    #[arg(long, default_value = "uniform", value_parser = Distribution::parse)]
    pub random_distribution: Distribution,
    /// 1 for O_DIRECT, 0 for the page cache with the whole span in it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub direct: u8,
    /// Start so many requests a second and job, whatever has completed; latency then counts from the intended start.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::RATE)))]
    pub rate_iops: Option<u32>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub randseed: u64,
    /// Print one JSON object with the columns of arms.csv.
    #[arg(long)]
    pub json: bool,
    /// Allow writing to this target; repeat its exact path.
    #[arg(long, value_name = "PATH")]
    pub allow_destructive: Vec<PathBuf>,
    /// Let what the tool makes, and the buffers, take up to this much memory or disk space: more than the usual half or 80 % of what is free.
    #[arg(long, value_name = "SIZE", value_parser = units::size_bytes)]
    pub allow_size: Option<u64>,
    /// Count events: context switches, system calls, punts, block requests, cycles. Costs throughput where many are counted.
    #[arg(long)]
    pub counters: bool,
    /// Accept that io-wq workers do the target's I/O.
    #[arg(long)]
    pub allow_iowq: bool,
    #[command(flatten)]
    pub toggles: ToggleFlags,
}

/// A flag for each toggle of the table, as the user gave it.
#[derive(Clone, Debug, Default)]
pub struct ToggleFlags(pub Vec<(Toggle, u32)>);

impl clap::Args for ToggleFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let flag = |toggle: Toggle| {
            let spec = toggle.spec();
            let help = format!("{} Levels: {}", spec.doc, spec.levels());
            let read = move |text: &str| spec.parse_level(text);
            clap::Arg::new(spec.key)
                .long(spec.key.replace('_', "-"))
                .value_name("LEVEL")
                .help(help)
                .help_heading("Toggles [default: what quick.toml calls full, where the workload allows it]")
                .value_parser(read)
        };
        Toggle::all().fold(command, |command, toggle| command.arg(flag(toggle)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ToggleFlags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<ToggleFlags, clap::Error> {
        let given = |toggle: Toggle| Some((toggle, *matches.get_one::<u32>(toggle.key())?));
        Ok(ToggleFlags(Toggle::all().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Directories of runs; the first is what the others are compared with.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Write compare.csv, compare.md, compare.html and plots/ there.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Directory of a run.
    #[arg(required_unless_present = "splice")]
    pub results: Option<PathBuf>,
    /// Make the tables anew that a document shows between <!-- begin SECTION of RUN --> and <!-- end -->.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["results", "out", "plots", "history"])]
    pub splice: Option<PathBuf>,
    /// Where effects.csv, report.md and report.html go [default: RESULTS, beside the files of the run].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where the charts go [default: plots, in the directory of the report].
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
    /// Draw a chart over the runs of the same experiment whose directories lie in DIR, for example results/EXPERIMENT.
    #[arg(long, value_name = "DIR")]
    pub history: Option<PathBuf>,
}
