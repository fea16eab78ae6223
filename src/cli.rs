//! The command line: the only door to clap.

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Which io_uring optimisation pays on this machine, by how much, and how far the result is from fio.
#[derive(Debug, Parser)]
#[command(version, about)]
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
    /// Derive tables and charts from the files of a run; measures nothing.
    Report(ReportArgs),
    /// List every toggle with its levels, constraints and source.
    Toggles,
    /// One round, as the runner starts it.
    #[command(hide = true)]
    Round,
    /// A process arm of our engine, as the runner starts it.
    #[command(hide = true)]
    Worker,
    /// Become PROGRAM, to be killed together with PARENT.
    #[command(hide = true)]
    Tether {
        parent: u32,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The experiment file.
    pub experiment: PathBuf,
    /// Directory of this run's results and charts [default: results/EXPERIMENT/UTC-HOST and plots/EXPERIMENT].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue an interrupted run: the one in --out, else the newest of this experiment.
    #[arg(long)]
    pub resume: bool,
    /// Override a key of the experiment, for example --set design.rounds=24.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Allow writing to this target; repeat its exact path.
    #[arg(long, value_name = "PATH")]
    pub allow_destructive: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The experiment file.
    pub experiment: PathBuf,
    /// Override a key of the experiment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Measure slice lengths and block times on the target.
    #[arg(long)]
    pub pilot: bool,
    /// Allow the pilot to write to this target; repeat its exact path.
    #[arg(long, value_name = "PATH")]
    pub allow_destructive: Option<PathBuf>,
    /// Print the fio job files of a cell instead.
    #[arg(long, value_name = "CELL")]
    pub fio_job: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Directory of a run.
    pub results: PathBuf,
    /// Where the charts go [default: RESULTS/plots].
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
}
