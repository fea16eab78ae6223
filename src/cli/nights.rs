//! Flags of what goes from night to night: nightly, history, bisect.

use super::Allow;
use crate::units;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct NightlyArgs {
    /// The experiment file: its cells with all toggles at *on*, its rounds, the round_time of its peers and its delta, or its subject.
    pub experiment: PathBuf,
    /// Directory of the history, made by the first night.
    #[arg(long, value_name = "DIR", required_unless_present = "pull_request")]
    pub history: Option<PathBuf>,
    /// What the candidate is compared with, night after night [default: HISTORY/reference/uring-ablate, which the first night copies from
    /// the candidate].
    #[arg(long, value_name = "BINARY")]
    pub reference: Option<PathBuf>,
    /// What is judged [default: this program].
    #[arg(long, value_name = "BINARY")]
    pub candidate: Option<PathBuf>,
    /// What this machine is called in the history; one name for all of a pool of runners [default: its host name].
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// Without a history and within 5 minutes: whether the candidate differs from the reference.
    #[arg(long, conflicts_with = "history", requires = "reference")]
    pub pull_request: bool,
    /// With --pull-request: where the summary and the other files go [default: results/pull-request/UTC-HOST].
    #[arg(long, value_name = "DIR", requires = "pull_request")]
    pub out: Option<PathBuf>,
    /// Print the night as JSON.
    #[arg(long)]
    pub json: bool,
    /// Override a key of the experiment, for example --set peers.round_time=1s.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Allow writing to this target; repeat its exact path.
    #[arg(long, value_name = "PATH")]
    pub allow_destructive: Vec<PathBuf>,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, clap::Args)]
pub struct SimulateNightsArgs {
    #[arg(long, default_value_t = 100)]
    pub histories: u32,
    /// Series of each history.
    #[arg(long, default_value_t = 10)]
    pub cells: usize,
    #[arg(long, default_value_t = 100)]
    pub nights: u32,
    #[arg(long, default_value_t = 24)]
    pub rounds: u32,
    /// Standard deviation of rounds.
    #[arg(long, default_value = "1%", value_parser = units::percent)]
    pub spread: f64,
    /// Standard deviation of what all rounds of a night have in common.
    #[arg(long, default_value = "0%", value_parser = units::percent)]
    pub between: f64,
    /// By how much the candidate gets slower.
    #[arg(long, default_value = "0%", value_parser = units::percent)]
    pub step: f64,
    /// In which night, from 0 [default: never].
    #[arg(long)]
    pub at: Option<u32>,
    /// Practical margin.
    #[arg(long, default_value = "1%", value_parser = units::percent)]
    pub delta: f64,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Subcommand)]
pub enum HistoryVerb {
    /// Every series as of its newest night, machines side by side.
    Show {
        #[arg(value_name = "DIR")]
        history: PathBuf,
        /// Print JSON: all nights and series.
        #[arg(long)]
        json: bool,
    },
    /// Draw the charts of a history into DIR/plots.
    Plot {
        #[arg(value_name = "DIR")]
        history: PathBuf,
        /// Where they go instead.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Check that a history is as it was written, by a chain of checksums over its lines; what an unfinished night left is named and does no harm.
    Verify {
        #[arg(value_name = "DIR")]
        history: PathBuf,
    },
    /// Write both tables as Parquet.
    Export {
        #[arg(value_name = "DIR")]
        history: PathBuf,
        /// [default: DIR/parquet]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Add the nights of other histories to one; nights that it has are left alone.
    Merge {
        /// The history that grows, made where there is none.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        #[arg(required = true, value_name = "DIR")]
        histories: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub struct BisectArgs {
    /// The experiment file: what is measured of two programs.
    pub experiment: PathBuf,
    /// A commit that was good.
    #[arg(long, value_name = "REVISION")]
    pub good: String,
    /// A commit behind it that is bad.
    #[arg(long, value_name = "REVISION")]
    pub bad: String,
    /// What builds the program, run by `sh -c` in a work tree of its own with the commit in URING_ABLATE_COMMIT.
    #[arg(long, value_name = "COMMAND")]
    pub build: String,
    /// Where the build puts the program, in the work tree.
    #[arg(long, value_name = "PATH", default_value = "target/release/uring-ablate")]
    pub program: PathBuf,
    /// A directory of the git repository; its work tree and branches are left alone.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub repository: PathBuf,
    /// Where steps and programs are kept, and continued from [default: bisect/GOOD..BAD].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Override a key of the experiment, for example --set gate.most_rounds=192.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Allow writing to this target; repeat its exact path.
    #[arg(long, value_name = "PATH")]
    pub allow_destructive: Vec<PathBuf>,
    #[command(flatten)]
    pub allow: Allow,
    /// What got worse [default: anything that is measured].
    #[arg(long, value_name = "METRIC")]
    pub metric: Option<String>,
    /// Where it got worse [default: any cell].
    #[arg(long, value_name = "CELL")]
    pub cell: Option<String>,
}
