//! When a run has seen enough: a rule that looks at the width of intervals and never at where they lie, so that it cannot stop at a lucky
//! moment.

use super::effect::CellEffects;

/// No look before so many rounds.
const FIRST: u32 = 12;
/// Then one after every so many.
const EVERY: u32 = 4;

/// Of the rate of misses that was asked for, what intervals of a run with this rule are built for: looking often costs some of their
/// coverage (simulated in `tests/it/statistics.rs`).
pub const MISSES: f64 = 0.8;

/// True after the rounds of each cell at which the rule may look.
pub fn looks_after(rounds: u32) -> bool {
    rounds >= FIRST && (rounds - FIRST).is_multiple_of(EVERY)
}

/// What is judged: the effects of toggles and levels.
const KINDS: [&str; 5] = ["leave-one-out", "add-one-in", "ladder", "sweep", "main"];

/// True when every cell has effects of toggles and no interval of one is further from its middle than `half_width` (a fraction), in the metric that the
/// verdicts come from.
pub fn narrow_enough(cells: &[CellEffects], half_width: f64) -> bool {
    let narrow = |bounds: super::effect::Bounds| (bounds.hi / bounds.lo).ln() / 2.0 <= half_width;
    let of_cell = |cell: &CellEffects| {
        let judged = cell.effects.iter().filter(|e| e.metric == cell.primary && KINDS.contains(&e.contrast.kind));
        let all: Vec<_> = judged.collect();
        !all.is_empty() && all.iter().all(|e| e.bounds.is_some_and(narrow))
    };
    !cells.is_empty() && cells.iter().all(of_cell)
}
