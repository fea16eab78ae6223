//! The residual effect of the arm that ran before: what one slice leaves behind for the next.

use super::load::{Data, Trial};
use super::signed_rank::median;
use std::collections::{BTreeMap, HashMap};

/// The largest residual of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    pub cell: String,
    /// The treatment that ran before.
    pub after: String,
    /// Median over slices of the log rate less the median log rate of the slice's own treatment in its round.
    pub residual: f64,
    pub slices: usize,
}

/// Fewer slices than this behind one treatment say nothing.
const LEAST_SLICES: usize = 30;

/// The previous treatment with the largest residual, for each cell with slices enough.
pub fn carry(data: &Data) -> Vec<Carry> {
    let cells: HashMap<u32, &str> = data.arms.iter().filter(|a| a.kind == "slices").map(|a| (a.round, a.cell.as_str())).collect();
    let rate = |t: &Trial| (t.ops / t.duration_s).ln();
    let mut own: HashMap<(u32, usize), Vec<f64>> = HashMap::new();
    data.trials.iter().for_each(|t| own.entry((t.round, t.treatment)).or_default().push(rate(t)));
    let own: HashMap<(u32, usize), f64> = own.into_iter().filter_map(|(key, rates)| Some((key, median(&rates)?))).collect();
    let mut residuals: BTreeMap<(&str, usize), Vec<f64>> = BTreeMap::new();
    for pair in data.trials.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let neighbours = before.round == after.round && before.block == after.block && before.position + 1 == after.position;
        if let (true, Some(cell)) = (neighbours, cells.get(&after.round)) {
            let residual = rate(after) - own[&(after.round, after.treatment)];
            residuals.entry((cell, before.treatment)).or_default().push(residual);
        }
    }
    let mut worst: BTreeMap<&str, Carry> = BTreeMap::new();
    for ((cell, before), values) in residuals.iter().filter(|(_, v)| v.len() >= LEAST_SLICES) {
        let residual = median(values).unwrap_or(0.0);
        if worst.get(cell).is_none_or(|w| w.residual.abs() < residual.abs()) {
            let after = data.treatments[*before].clone();
            worst.insert(cell, Carry { cell: (*cell).into(), after, residual, slices: values.len() });
        }
    }
    worst.into_values().collect()
}
