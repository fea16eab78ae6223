//! Counters at the edges of slices, in rounds that count.

use crate::engine::slice::Edge;
use crate::perf::counters::{Counters, Counts};

/// Counters and their sums for each arm.
pub struct Watch {
    counters: Option<Counters>,
    counts: Vec<Counts>,
}

impl Watch {
    /// Opens the counters where `devices` are named.
    pub fn new(devices: Option<Vec<(u32, u32)>>, arms: usize) -> Watch {
        Watch { counters: devices.map(|devices| Counters::open(&devices)), counts: vec![Counts::default(); arms] }
    }

    /// At the edges of a slice of an arm.
    pub fn edge(&mut self, edge: Edge, arm: usize) {
        match (&mut self.counters, edge) {
            (Some(counters), Edge::Begin) => counters.begin(),
            (Some(counters), Edge::End) => counters.end(&mut self.counts[arm]),
            (None, _) => {}
        }
    }

    /// The sums of each arm.
    pub fn finish(self) -> Option<Vec<Counts>> {
        Some(self.counters?.finish(self.counts))
    }
}
