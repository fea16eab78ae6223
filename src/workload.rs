//! One cell's work: what is read or written, where, in what blocks, how deep, how fast, by how many jobs.

use crate::limits;
use crate::units::{self, size_text};
use serde::{Deserialize, Serialize};

/// Access kind, in fio's words; `nop` moves nothing and shows what the ring itself costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rw {
    Read,
    Write,
    Randread,
    Randwrite,
    Randrw,
    Nop,
}

impl Rw {
    pub const ALL: [Rw; 6] = [Rw::Read, Rw::Write, Rw::Randread, Rw::Randwrite, Rw::Randrw, Rw::Nop];

    /// fio's name.
    pub fn name(self) -> &'static str {
        match self {
            Rw::Read => "read",
            Rw::Write => "write",
            Rw::Randread => "randread",
            Rw::Randwrite => "randwrite",
            Rw::Randrw => "randrw",
            Rw::Nop => "nop",
        }
    }

    /// Reads fio's name.
    pub fn parse(text: &str) -> Result<Rw, String> {
        let valid = || Rw::ALL.map(Rw::name).join(", ");
        Rw::ALL
            .into_iter()
            .find(|rw| rw.name() == text)
            .ok_or_else(|| format!("{text:?} is not an access kind; kinds are: {}", valid()))
    }

    pub fn is_random(self) -> bool {
        matches!(self, Rw::Randread | Rw::Randwrite | Rw::Randrw)
    }

    pub fn writes(self) -> bool {
        matches!(self, Rw::Write | Rw::Randwrite | Rw::Randrw)
    }
}

/// How random offsets are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    #[default]
    Uniform,
    /// Zipf's law over the blocks of the span, scattered over it; the exponent in hundredths (120 is 1.2).
    Zipf(u16),
}

impl Distribution {
    /// Reads `uniform` or `zipf:THETA`.
    pub fn parse(text: &str) -> Result<Distribution, String> {
        let theta = |t: &str| t.parse::<f64>().ok().filter(|t| (0.01..=10.0).contains(t));
        match text.split_once(':') {
            None if text == "uniform" => Ok(Distribution::Uniform),
            Some(("zipf", t)) if theta(t).is_some() => Ok(Distribution::Zipf((theta(t).unwrap_or(1.0) * 100.0).round() as u16)),
            _ => Err(format!(
                "{text:?} is not a distribution; write uniform or zipf:THETA with THETA in 0.01..=10, for example zipf:1.2"
            )),
        }
    }
}

/// A block size: a multiple of 512 that a request can carry.
pub fn block_size(text: &str) -> Result<u32, String> {
    let bytes = units::size_bytes(text).map_err(|e| e.to_string())?;
    let fits = bytes > 0 && bytes.is_multiple_of(512) && bytes <= limits::BLOCK_BYTES;
    if fits {
        Ok(bytes as u32)
    } else {
        Err(format!("{text:?} must be a multiple of 512 bytes, at most {}", units::size_words(limits::BLOCK_BYTES)))
    }
}

/// What the page cache holds where `direct = false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// The whole span: it is read once before each round.
    Hit,
    /// Little of it: the span is at least twice the machine's memory.
    Miss,
}

/// The workload of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub rw: Rw,
    /// Share of reads in `randrw`, in percent.
    pub read_percent: u8,
    pub block_size_bytes: u32,
    pub queue_depth: u32,
    /// Threads, each with a ring and `queue_depth` buffers of its own.
    pub jobs: u32,
    pub distribution: Distribution,
    /// O_DIRECT, or the page cache in the state that `cache` names.
    pub direct: bool,
    pub cache: Cache,
    /// Requests per second that each job starts, whatever has completed; `None` keeps the queue full.
    pub rate: Option<u32>,
    /// Where the first job's span begins, and how much further on each next job's does.
    pub offset_bytes: u64,
    pub offset_increment_bytes: u64,
    /// Length of each job's span; `None` reaches to the end of the target.
    pub job_span_bytes: Option<u64>,
    /// Blocks carry stamps and each read is checked in full: a test, not a measurement.
    pub verify: bool,
}

impl Workload {
    /// Sequential 4 KiB reads, 128 deep, of one job: the seed's own, and the ground for the rest.
    pub const fn example() -> Workload {
        Workload {
            rw: Rw::Read,
            read_percent: 50,
            block_size_bytes: 4096,
            queue_depth: 128,
            jobs: 1,
            distribution: Distribution::Uniform,
            direct: true,
            cache: Cache::Hit,
            rate: None,
            offset_bytes: 0,
            offset_increment_bytes: 0,
            job_span_bytes: None,
            verify: false,
        }
    }

    /// True where peers are compared by whole runs, and not as processes that are stopped and continued: at a fixed rate those catch up with all
    /// that was due while they were stopped, and NOPs no device counts.
    pub fn whole_turns(&self) -> bool {
        self.rate.is_some() || self.rw == Rw::Nop
    }

    /// True of the [`Workload::cell_name`] of a workload at a fixed rate.
    pub fn is_paced(cell_name: &str) -> bool {
        cell_name.contains("-rate")
    }

    /// Name of the cell in tables and files: `read-4k-qd128-j1`, and what else is not usual.
    pub fn cell_name(&self) -> String {
        let mix = if self.rw == Rw::Randrw { format!("{}", self.read_percent) } else { String::new() };
        let bs = size_text(self.block_size_bytes.into());
        let mut name = format!("{}{mix}-{bs}-qd{}-j{}", self.rw.name(), self.queue_depth, self.jobs);
        if let Distribution::Zipf(hundredths) = self.distribution {
            name += &format!("-zipf{}", f64::from(hundredths) / 100.0);
        }
        if !self.direct {
            name += if self.cache == Cache::Hit { "-cached" } else { "-uncached" };
        }
        if let Some(rate) = self.rate {
            name += &format!("-rate{rate}");
        }
        if self.verify {
            name += "-verify";
        }
        name
    }

    /// True where the next offset can be computed inline: 100 % sequential reads, and NOPs, which have none.
    pub fn inline_offsets(&self) -> bool {
        matches!(self.rw, Rw::Read | Rw::Nop)
    }

    /// The bytes that a job works on, of a target of which `span_bytes` are used; empty where the offset lies beyond.
    pub fn job_range(&self, job: u32, span_bytes: u64) -> std::ops::Range<u64> {
        let start = self.offset_bytes + self.offset_increment_bytes * u64::from(job);
        let length = self.job_span_bytes.unwrap_or(u64::MAX).min(span_bytes.saturating_sub(start));
        start..start + length
    }

    /// Bytes of buffers that all jobs hold.
    pub fn buffer_bytes(&self) -> u64 {
        u64::from(self.block_size_bytes) * u64::from(self.queue_depth) * u64::from(self.jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_work_where_they_are_told() {
        let split =
            Workload { offset_bytes: 4096, offset_increment_bytes: 8192, job_span_bytes: Some(8192), ..Workload::example() };
        assert_eq!(split.job_range(0, 1 << 20), 4096..12_288);
        assert_eq!(split.job_range(1, 1 << 20), 12_288..20_480);
        assert_eq!(split.job_range(1, 16_384), 12_288..16_384, "no further than the target");
        assert!(split.job_range(3, 16_384).is_empty());
    }

    #[test]
    fn names_say_what_is_not_usual() {
        let usual = Workload::example();
        assert_eq!(usual.cell_name(), "read-4k-qd128-j1");
        let odd = Workload { distribution: Distribution::Zipf(120), rate: Some(1000), direct: false, ..usual };
        assert_eq!(odd.cell_name(), "read-4k-qd128-j1-zipf1.2-cached-rate1000");
        assert!(Workload::is_paced(&odd.cell_name()) && !Workload::is_paced(&usual.cell_name()));
    }
}
