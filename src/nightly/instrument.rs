//! What measures: any way to have the reference, the candidate and a second copy of the reference do the same work beside each other.

use super::row::Better;

/// The three that take part, in the order of every array of figures.
pub const ARMS: [&str; 3] = ["reference", "candidate", "placebo"];

/// A metric of every cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    pub name: String,
    pub unit: String,
    pub better: Better,
}

/// One round of a cell.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// For each metric what each of [`ARMS`] reached.
    pub figures: Vec<[f64; 3]>,
    /// Slices behind which something was still in flight or the counter still moved.
    pub violations: u32,
}

/// Why there is no round.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("interrupted")]
    Interrupted,
    /// This round failed; another may succeed.
    #[error("{0}")]
    Round(String),
    #[error(transparent)]
    Peer(crate::peer::Error),
}

/// A way to measure.
pub trait Instrument {
    /// The cells by name.
    fn cells(&self) -> Vec<String>;

    fn measures(&self) -> Vec<Measure>;

    /// One round of a cell. Every arm is a fresh process; `seed` decides everything random.
    fn round(&mut self, cell: usize, seed: u64) -> Result<Round, Error>;
}
