//! One cell's work: what is read or written, in what blocks, how deep, by how many jobs.

use crate::units::size_text;
use serde::{Deserialize, Serialize};

/// Access kind, in fio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rw {
    Read,
    Write,
    Randread,
    Randwrite,
    Randrw,
}

impl Rw {
    pub const ALL: [Rw; 5] = [Rw::Read, Rw::Write, Rw::Randread, Rw::Randwrite, Rw::Randrw];

    /// fio's name.
    pub fn name(self) -> &'static str {
        match self {
            Rw::Read => "read",
            Rw::Write => "write",
            Rw::Randread => "randread",
            Rw::Randwrite => "randwrite",
            Rw::Randrw => "randrw",
        }
    }

    pub fn is_random(self) -> bool {
        matches!(self, Rw::Randread | Rw::Randwrite | Rw::Randrw)
    }

    pub fn writes(self) -> bool {
        matches!(self, Rw::Write | Rw::Randwrite | Rw::Randrw)
    }
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
}

impl Workload {
    /// Name of the cell in tables and files: `read-4k-qd128-j1`.
    pub fn cell_name(&self) -> String {
        let mix = if self.rw == Rw::Randrw { format!("{}", self.read_percent) } else { String::new() };
        let bs = size_text(self.block_size_bytes.into());
        format!("{}{mix}-{bs}-qd{}-j{}", self.rw.name(), self.queue_depth, self.jobs)
    }

    /// True for the one pattern the sequential fast path covers.
    pub fn sequential_reads(&self) -> bool {
        self.rw == Rw::Read
    }

    /// Bytes of buffers that all jobs hold.
    pub fn buffer_bytes(&self) -> u64 {
        u64::from(self.block_size_bytes) * u64::from(self.queue_depth) * u64::from(self.jobs)
    }
}
