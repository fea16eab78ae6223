//! `[peers]`: who else does the work.

use super::wire::WirePeers;
use super::{Error, Source};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// `[peers]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    pub fio: Vec<FioConfig>,
    /// Program to run; found on PATH unless it contains a slash.
    pub fio_path: PathBuf,
    /// Path of fio's `t/io_uring`, where it takes part.
    pub t_io_uring: Option<PathBuf>,
    /// Time for the slices of one round of process arms, or for the run of each side where they run whole.
    pub round_time: Duration,
    /// Duration of the whole run that gives fio's own figures.
    pub whole_time: Duration,
}

impl Peers {
    /// How many treatments take part.
    pub fn count(&self) -> usize {
        self.fio.len() + usize::from(self.t_io_uring.is_some())
    }

    /// Length of the run of each side where they run whole: [`Peers::round_time`] in fio's unit, which are seconds.
    pub fn turn_time(&self) -> Duration {
        Duration::from_secs(self.round_time.as_secs_f64().ceil().max(1.0) as u64)
    }
}

/// How fio is configured; see `peer::fio`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FioConfig {
    Default,
    Registered,
    Matched,
    Tuned,
}

impl FioConfig {
    pub const ALL: [FioConfig; 4] = [FioConfig::Default, FioConfig::Registered, FioConfig::Matched, FioConfig::Tuned];

    /// The treatment's name in result files.
    pub fn treatment(self) -> &'static str {
        match self {
            FioConfig::Default => "fio:default",
            FioConfig::Registered => "fio:registered",
            FioConfig::Matched => "fio:matched",
            FioConfig::Tuned => "fio:tuned",
        }
    }
}

/// Validates the table.
pub fn read(source: &Source<'_>, wire: &WirePeers) -> Result<Peers, Error> {
    let usual = Duration::from_secs(2);
    Ok(Peers {
        fio: wire.fio.clone(),
        t_io_uring: wire.t_io_uring.clone(),
        fio_path: wire.fio_path.clone().unwrap_or_else(|| "fio".into()),
        round_time: source.round_time("[peers] round_time", wire.round_time.as_ref())?.unwrap_or(usual),
        whole_time: source.duration("[peers] whole_time", wire.whole_time.as_ref(), usual)?,
    })
}
