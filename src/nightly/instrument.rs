//! What measures: any way to have the reference, the candidate and a second copy of the reference do the same work beside each other.

use super::row::Better;
use crate::program::{Held, Replaced};

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
    /// No round counts from here on.
    #[error(transparent)]
    Replaced(#[from] Replaced),
}

/// A way to measure.
pub trait Instrument {
    /// The cells by name.
    fn cells(&self) -> Vec<String>;

    fn measures(&self) -> Vec<Measure>;

    /// One round of a cell. Every arm is a fresh process; `seed` decides everything random.
    fn round(&mut self, cell: usize, seed: u64) -> Result<Round, Error>;
}

/// Measures with another instrument for as long as the programs that it starts by their paths are those that were there at first.
pub struct Watched<'a> {
    pub inner: Box<dyn Instrument + 'a>,
    pub programs: Vec<&'a Held>,
}

impl Watched<'_> {
    fn check(&self) -> Result<(), Error> {
        Ok(self.programs.iter().try_for_each(|program| program.check())?)
    }
}

impl Instrument for Watched<'_> {
    fn cells(&self) -> Vec<String> {
        self.inner.cells()
    }

    fn measures(&self) -> Vec<Measure> {
        self.inner.measures()
    }

    /// Checked before and behind: of a round in which a program was replaced nobody knows which one it measured.
    fn round(&mut self, cell: usize, seed: u64) -> Result<Round, Error> {
        self.check()?;
        match self.inner.round(cell, seed) {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            round => self.check().and(round),
        }
    }
}
