//! Nights: a candidate beside a pinned reference, night after night, and what may be said of the difference.
//!
//! A night measures rounds, asks the gate, and where it raises an alarm measures again; only what the second run confirms is a finding. Knows
//! nothing of how a round is measured (`instrument.rs`) and of how a night is shown.

pub mod arms;
pub mod course;
pub mod gate;
pub mod instrument;
pub mod merge;
pub mod row;
pub mod segment;
pub mod series;
pub mod store;
pub mod synthetic;
pub mod unfinished;
pub mod verdict;
pub mod watch;

use crate::exit::Exit;
use crate::experiment::subject::Gate;
use crate::random::Decisions;
use course::{Course, FAILURES_IN_A_ROW, Rounds, Run};
use gate::LEAST_ROUNDS;
use instrument::{Instrument, Measure, Round};
use row::SeriesRow;
use segment::Segments;
use std::time::Duration;

/// Why a night has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("interrupted after {done} of {total} rounds; this night does not count: start it again")]
    Interrupted { done: u32, total: u32 },
    #[error("{FAILURES_IN_A_ROW} rounds of {cell} in a row failed, the last with: {reason}")]
    Failing { cell: String, reason: String },
    #[error("{cell}: only {rounds} of {wanted} rounds could be measured, the last failed with: {reason}")]
    TooFew { cell: String, rounds: usize, wanted: u32, reason: String },
    #[error(
        "of {budget:?} a second run has room for {rounds} rounds, and fewer than {LEAST_ROUNDS} tell nothing: lower [peers] round_time or measure fewer cells"
    )]
    TooSlow { budget: Duration, rounds: u32 },
    #[error("[design] rounds = {0}: fewer than {LEAST_ROUNDS} cannot reach the level of the gate; a night has 24")]
    Rounds(u32),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Peer(crate::peer::Error),
    #[error("{0}; this night does not count: start it again, and leave both programs as they are until it ends")]
    Replaced(crate::program::Replaced),
}

/// Is told of every round.
pub trait Witness {
    /// A round of a cell is about to begin, after `done` of `total`.
    fn begins(&mut self, run: Run, progress: (u32, u32), cell: &str);

    /// What it brought.
    fn measured(&mut self, run: Run, cell: &str, seed: u64, round: (&[Measure], &Round)) -> Result<(), store::Error>;
}

/// How a night is measured and judged.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub rounds: u32,
    pub gate: Gate,
    /// Practical margin, a fraction.
    pub delta: f64,
    pub confidence: f64,
    pub seed: u64,
    /// For both runs.
    pub budget: Option<Duration>,
}

/// What a night says.
#[derive(Clone, Debug)]
pub struct Night {
    pub series: Vec<SeriesRow>,
    pub exit: Exit,
    /// One sentence.
    pub summary: String,
    /// What a reader must know of the figures, a line each.
    pub remarks: Vec<String>,
}

/// Measures and judges the night of that name.
pub fn conduct(
    night: &str,
    instrument: &mut dyn Instrument,
    witness: &mut dyn Witness,
    segments: &Segments,
    settings: Settings,
) -> Result<Night, Error> {
    if settings.rounds < LEAST_ROUNDS {
        return Err(Error::Rounds(settings.rounds));
    }
    let (cells, measures) = (instrument.cells(), instrument.measures());
    let decisions = Decisions::new(settings.seed);
    let mut course = Course { instrument, witness, settings, decisions, cells, measures };
    let every: Vec<usize> = (0..course.cells.len()).collect();
    let first = course.run(Run::First, &every, settings.rounds)?;
    let remarks = constant(&course, &first);
    let mut judged = series::judge(night, &course, &first, segments);
    let again = series::confirm(&mut course, &mut judged)?;
    let series: Vec<SeriesRow> = judged.into_iter().map(|s| s.row).collect();
    let (exit, summary) = verdict::verdict(&series, &again);
    Ok(Night { series, exit, summary, remarks })
}

/// Says which series have one figure in every round of every arm: nothing that is measured comes out so.
fn constant(course: &Course<'_>, rounds: &Rounds) -> Vec<String> {
    let places = (0..course.cells.len()).flat_map(|cell| (0..course.measures.len()).map(move |measure| (cell, measure)));
    let said = |(cell, measure): (usize, usize)| {
        let mut figures = rounds[cell].iter().flat_map(|round| round.figures[measure]);
        let first = figures.next()?;
        figures.all(|figure| figure == first).then(|| {
            let name = &course.measures[measure].name;
            format!(
                "{} {name}: it is {first} in every round of both programs, so it is hardly measured: check which figure is read",
                course.cells[cell]
            )
        })
    };
    places.filter_map(said).collect()
}
