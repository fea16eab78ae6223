//! The rounds of a plan and their order.

use super::{Cell, Error, Part, Round, RoundKind};
use crate::experiment::{Experiment, Mode};
use crate::limits;
use crate::perf::Limits;
use crate::random::Decisions;

/// Refuses a plan of more rounds than are kept in mind, before any is made. It counts each round in all of its parts.
pub fn check(experiment: &Experiment, cells: &[Cell], repetitions: u32) -> Result<(), Error> {
    let peers = u64::from(experiment.peers.count() > 0);
    let watched = u64::from(experiment.profile.rounds) + u64::from(experiment.counted_rounds);
    let of = |cell: &Cell| (u64::from(repetitions) + watched) * cell.parts().len() as u64 + peers * (u64::from(repetitions) + 1);
    let rounds: u64 = cells.iter().map(of).sum();
    if rounds <= limits::PLANNED_ROUNDS { Ok(()) } else { Err(Error::Rounds { rounds, cells: cells.len() }) }
}

/// Rounds of all cells take turns, in a fresh random order each time; the whole runs of the peers come last.
pub fn rounds(experiment: &Experiment, cells: &[Cell], repetitions: u32, limits: &Limits) -> Vec<Round> {
    let mut decisions = Decisions::new(experiment.seed);
    let kind = if experiment.mode == Mode::Sliced { RoundKind::Slices } else { RoundKind::Isolated };
    let peers = experiment.peers.count() > 0;
    let mut rounds = Vec::new();
    let mut push = |repetition, cell: &Cell, kind, part, seed| {
        rounds.push(Round { round: rounds.len() as u32 + 1, repetition, cell: cell.name.clone(), kind, part, seed });
    };
    let profiles = if limits.no_profile.is_some() { 0 } else { experiment.profile.rounds };
    let counts = if limits.counts_anything() { experiment.counted_rounds } else { 0 };
    for repetition in 0..repetitions.max(profiles).max(counts) {
        let mut order: Vec<&Cell> = cells.iter().collect();
        decisions.shuffle(&mut order);
        for cell in order {
            let parts = if kind == RoundKind::Slices { cell.parts() } else { &[Part::All] };
            if repetition < repetitions {
                parts.iter().for_each(|part| push(repetition, cell, kind, *part, decisions.seed()));
            }
            for (kind, rounds) in [(RoundKind::Profile, profiles), (RoundKind::Counts, counts)] {
                if repetition < rounds {
                    cell.parts().iter().for_each(|part| push(repetition, cell, kind, *part, decisions.seed()));
                }
            }
            if peers && repetition < repetitions {
                push(repetition, cell, RoundKind::Peers, Part::All, decisions.seed());
            }
        }
    }
    if peers {
        cells.iter().for_each(|cell| push(repetitions, cell, RoundKind::Whole, Part::All, decisions.seed()));
    }
    rounds
}
