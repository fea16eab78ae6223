//! The two tables of a history: `nights.csv`, a line for each finished night, and `series.csv`, a line for each thing compared in it. What does
//! not apply is an empty cell.

use serde::{Deserialize, Serialize};

/// Version of the columns below.
pub const SCHEMA_VERSION: u32 = 1;

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
}

impl Better {
    /// 1 where more is better, else -1.
    pub fn sign(self) -> f64 {
        if self == Better::Higher { 1.0 } else { -1.0 }
    }
}

/// Each night with its series, of both tables as they are read.
pub fn by_night<'a>(nights: &'a [NightRow], series: &'a [SeriesRow]) -> impl Iterator<Item = (&'a NightRow, &'a [SeriesRow])> {
    let mut rest = series;
    nights.iter().map(move |night| {
        let (own, later) = rest.split_at(rest.len().min(night.series_rows as usize));
        rest = later;
        (night, own)
    })
}

/// What is compared: one metric of one cell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub cell: String,
    pub metric: String,
}

/// What first spoke of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alarm {
    /// Tonight's rounds lie apart from what the segment was.
    Step,
    /// The nights before and after some night lie apart.
    Drift,
    /// A regression that was confirmed in an earlier night and was not seen gone since.
    Open,
}

/// What a night says of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// No alarm.
    Steady,
    /// An alarm that the second run did not confirm; of an open regression, one that it saw gone.
    Unconfirmed,
    /// Confirmed, for the worse, tonight or in an earlier night and not gone.
    Regressed,
    /// Confirmed, for the better: a new segment begins.
    Improved,
    /// No alarm, and so few or so scattered rounds that the regression to be found would have been missed.
    Inconclusive,
}

impl Finding {
    /// As in `series.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Finding::Steady => "steady",
            Finding::Unconfirmed => "unconfirmed",
            Finding::Regressed => "regressed",
            Finding::Improved => "improved",
            Finding::Inconclusive => "inconclusive",
        }
    }
}

/// A line of `series.csv`. Every ratio is candidate / reference, of the metric itself: whether more is better says `better`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesRow {
    /// The night's name, which is that of its directory.
    pub night: String,
    pub cell: String,
    pub metric: String,
    pub unit: String,
    pub better: Better,
    /// Of the segment among those of this series, from 1; nights of one segment are comparable.
    pub segment: u32,
    /// Why a segment begins tonight; empty where the last one goes on.
    pub segment_began: String,
    /// What the segment was before tonight, as a ratio; 1 in its first night, where the reference itself is the measure.
    pub level: f64,
    /// Nights that the level rests on.
    pub level_nights: u32,
    pub rounds: u32,
    /// Hodges-Lehmann over the rounds, with its interval.
    pub ratio: f64,
    pub lo: f64,
    pub hi: f64,
    pub confidence: f64,
    /// Standard deviation of the rounds' log ratios.
    pub spread: f64,
    /// Smallest change found with probability .8 at the level of the gate, as a fraction.
    pub mde80: f64,
    /// Of no change from the level, by tonight's rounds; then adjusted for all series of the night.
    pub p: f64,
    pub p_adjusted: f64,
    /// The same figures of the second copy of the reference, against the first: 1 but for chance.
    pub placebo_ratio: f64,
    pub placebo_lo: f64,
    pub placebo_hi: f64,
    pub placebo_p: f64,
    /// Median over the rounds, in the metric's unit; comparable under the full fingerprint alone.
    pub reference_value: f64,
    pub candidate_value: f64,
    pub alarm: Option<Alarm>,
    /// The first night of the change, where there is an alarm.
    pub since: String,
    pub confirm_rounds: Option<u32>,
    pub confirm_ratio: Option<f64>,
    pub confirm_lo: Option<f64>,
    pub confirm_hi: Option<f64>,
    pub confirm_p: Option<f64>,
    pub finding: Finding,
}

impl SeriesRow {
    /// What it is a line of.
    pub fn key(&self) -> Key {
        Key { cell: self.cell.clone(), metric: self.metric.clone() }
    }

    /// By how much tonight differs from the level, as a fraction of it: positive is more of the metric.
    pub fn change(&self) -> f64 {
        self.ratio / self.level - 1.0
    }

    /// The change as the second run measured it, with its interval.
    pub fn confirmed_change(&self) -> Option<(f64, f64, f64)> {
        let of = |ratio: f64| ratio / self.level - 1.0;
        Some((of(self.confirm_ratio?), of(self.confirm_lo?), of(self.confirm_hi?)))
    }
}

/// A line of `nights.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NightRow {
    pub schema_version: u32,
    /// Name of its directory: when it began, and where.
    pub night: String,
    pub started_utc: String,
    /// From the first round to the last.
    pub wall_s: f64,
    pub experiment: String,
    /// What its machine is called in the history; a pool of runners has one name.
    pub machine: String,
    pub host: String,
    /// Of the circumstances that must agree for absolute figures to be comparable.
    pub fingerprint: String,
    /// What must agree for ratios to be comparable: architecture, kernel's major version, kind of target.
    pub platform: String,
    /// CRC-32 of what is measured: workloads, levels, the subject's command.
    pub subject: String,
    /// CRC-32 of the reference's and of the candidate's file.
    pub reference: String,
    pub candidate: String,
    pub version: String,
    pub kernel: String,
    pub cpu: String,
    /// Code with which the night ended.
    pub exit: u8,
    /// One sentence.
    pub summary: String,
    /// Slices behind which something was still in flight or the counter still moved.
    pub violations: u32,
    /// Lines of this night in `series.csv`, the file's length behind them, and their CRC-32.
    pub series_rows: u32,
    pub series_bytes: u64,
    pub series_crc: String,
    /// CRC-32 of this column in the line before, followed by this line without this column: a chain over all nights.
    pub line_crc: String,
}

impl SeriesRow {
    /// A line that stands for any.
    pub fn example() -> SeriesRow {
        SeriesRow {
            night: "20260101T030000Z-host".into(),
            cell: "read-4k-qd128-j1".into(),
            metric: "iops".into(),
            unit: "IOPS".into(),
            better: Better::Higher,
            segment: 1,
            segment_began: String::new(),
            level: 1.0,
            level_nights: 0,
            rounds: 24,
            ratio: 1.0,
            lo: 0.99,
            hi: 1.01,
            confidence: 0.95,
            spread: 0.01,
            mde80: 0.01,
            p: 1.0,
            p_adjusted: 1.0,
            placebo_ratio: 1.0,
            placebo_lo: 0.99,
            placebo_hi: 1.01,
            placebo_p: 1.0,
            reference_value: 500_000.0,
            candidate_value: 500_000.0,
            alarm: None,
            since: String::new(),
            confirm_rounds: None,
            confirm_ratio: None,
            confirm_lo: None,
            confirm_hi: None,
            confirm_p: None,
            finding: Finding::Steady,
        }
    }
}

impl NightRow {
    /// A line that stands for any.
    pub fn example() -> NightRow {
        NightRow {
            schema_version: SCHEMA_VERSION,
            night: "20260101T030000Z-host".into(),
            started_utc: "2026-01-01T03:00:00Z".into(),
            wall_s: 60.0,
            experiment: "nightly".into(),
            machine: "host".into(),
            host: "host".into(),
            fingerprint: "00000000".into(),
            platform: "x86_64, Linux 6, loop".into(),
            subject: "00000000".into(),
            reference: "00000000".into(),
            candidate: "00000000".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kernel: "Linux 6.1.0 x86_64".into(),
            cpu: "a processor".into(),
            exit: 0,
            summary: "steady".into(),
            violations: 0,
            series_rows: 0,
            series_bytes: 0,
            series_crc: String::new(),
            line_crc: String::new(),
        }
    }
}
