//! When a run has seen enough: a rule that looks at the width of intervals and never at where they lie, so that it cannot stop at a lucky
//! moment.

use super::effect::{CellEffects, Effect};

/// No look before so many rounds.
pub const FIRST: u32 = 12;
/// Then one after every so many.
pub const EVERY: u32 = 4;

/// Of the rate of misses that was asked for, what intervals of a run with this rule are built for: looking often costs some of their
/// coverage (simulated in `tests/it/statistics.rs`).
pub const MISSES: f64 = 0.8;

/// True after the rounds of each cell at which the rule may look.
pub fn looks_after(rounds: u32) -> bool {
    rounds >= FIRST && (rounds - FIRST).is_multiple_of(EVERY)
}

/// What is judged: the effects of toggles and levels.
const KINDS: [&str; 7] = ["leave-one-out", "add-one-in", "explicit", "ladder", "ladder-reverse", "sweep", "main"];

/// How far from its middle the widest interval of a cell's toggles lies, as a fraction, in the metric that the verdicts come from. Infinite
/// where one has no interval; `None` where there is nothing to judge. An arm that breaks its gates in most rounds would never be narrow and
/// does not count.
pub fn widest(cell: &CellEffects) -> Option<f64> {
    let rounds = cell.effects.iter().map(|e| e.n_rounds).max().unwrap_or(0);
    let judged = |e: &&Effect| e.metric == cell.primary && KINDS.contains(&e.contrast.kind) && 2 * e.n_rounds > rounds;
    cell.effects
        .iter()
        .filter(judged)
        .map(|e| e.bounds.map_or(f64::INFINITY, |b| (b.hi / b.lo).ln() / 2.0))
        .max_by(f64::total_cmp)
}
