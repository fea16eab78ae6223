//! The most that is accepted of what others wrote: files, plans, times, the output of programs. Each number stands here once.
//!
//! They lie far above what anybody measures. Who meets one is told the key, the value and the limit.

use std::time::Duration;

/// Bytes of an experiment file.
pub const EXPERIMENT_BYTES: u64 = 1 << 20;

/// Characters of a question and of a claim.
pub const SENTENCE: usize = 1000;

/// Characters of what stands in every table: a metric's name, a machine's.
pub const LABEL: usize = 80;

/// The same of a unit.
pub const UNIT: usize = 24;

/// Characters of a name that may become part of a path: with what stands before and behind it, it stays below what file systems allow (255 bytes).
pub const NAME: usize = 200;

/// Items of a list in an experiment file.
pub const LIST: usize = 1000;

/// Workloads of an experiment: the product of the lists of `[workload]`.
pub const CELLS: usize = 1000;

/// Bytes of a block (`bs`).
pub const BLOCK_BYTES: u64 = 1 << 30;

/// Jobs of a workload (`numjobs`).
pub const JOBS: u32 = 256;

/// Requests a second that each job is to be given (`rate_iops`).
pub const RATE: u32 = 100_000_000;

/// Arms of a workload.
pub const ARMS: usize = 256;

/// Rounds of a workload, of each kind.
pub const ROUNDS: u32 = 10_000;

/// Rounds of a plan over all workloads.
pub const PLANNED_ROUNDS: u64 = 100_000;

/// Slices of a round, which are held in memory until it ends.
pub const SLICES: u64 = 1_000_000;

/// Any time that somebody writes down. Sums and products of such times cannot overflow.
pub const TIME: Duration = Duration::from_secs(30 * 86_400);

/// Any share that somebody writes down, in percent.
pub const PERCENT: f64 = 1000.0;

/// Slices of one round.
pub const ROUND_TIME: Duration = Duration::from_secs(3600);

/// Ticks a second of a profile's clock: what the kernel takes by default (`kernel.perf_event_max_sample_rate`).
pub const TICKS: u32 = 100_000;

/// Requests that a peer says of a run: 30 days at 10^9 a second, ...
pub const PEER_OPS: f64 = 3e15;

/// ... its bytes: 2^63, which is more than 3 TB a second, ...
pub const PEER_BYTES: f64 = 9.3e18;

/// ... and its requests a second. No ring comes near it.
pub const PEER_RATE: f64 = 1e12;

/// What another program writes to its standard output, and to its standard error.
pub const OUTPUT_BYTES: u64 = 16 << 20;

/// The same of git and of the user's build.
pub const LOG_BYTES: u64 = 1 << 30;

/// How much of the end of an output is looked at where only its last lines are quoted.
pub const QUOTED_BYTES: u64 = 64 << 10;

/// A histogram of the latency log, inflated. One of this tool's has at most a quarter of it.
pub const HISTOGRAM_BYTES: u64 = 1 << 20;

/// Significant digits of such a histogram, as this tool writes them: its size in memory goes by them.
pub const HISTOGRAM_DIGITS: u32 = 3;

/// A file of a history or a search, and a program that is compared.
pub const FILE_BYTES: u64 = 1 << 30;

/// How large a table of a run may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub bytes: u64,
    pub rows: u64,
}

/// No row of a table is shorter; it counts where somebody else's are.
const ROW_BYTES: u64 = 32;

const fn table(bytes: u64) -> Table {
    Table { bytes, rows: bytes / ROW_BYTES }
}

/// `trials.csv`: some six million slices, eight hours of such as last 5 ms.
const TRIALS: Table = table(512 << 20);

/// `latency.hlog`: the histograms of 500,000 arms of rounds.
const LATENCY: Table = table(1 << 30);

/// Every other table. `arms.csv` has room for 500,000 arms of rounds: ten thousand rounds of fifty.
const OTHER: Table = table(256 << 20);

/// How large a file of a run may be, by its name. A run ends before a file of its own outgrows what is read of it.
pub fn of_file(name: &str) -> Table {
    match name {
        "trials.csv" => TRIALS,
        "latency.hlog" => LATENCY,
        _ => OTHER,
    }
}

/// How often a treatment stands in a block of slices.
pub const COPIES: usize = 64;

/// Causes of CPU time in a table.
pub const CAUSES: usize = 1000;

/// The file of what the user agreed to run: some 10,000 experiments.
pub const TRUSTED_BYTES: u64 = 1 << 20;
