//! How much of the whole gain each toggle brings.

use super::effect::CellEffects;

/// A toggle's share of the logarithm of full / baseline, in the cell's primary metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub toggle: String,
    pub share: f64,
}

/// The shares, largest first; empty where full is not shown to differ from baseline, or a toggle was not measured in both ways.
///
/// A toggle's fair share (its Shapley value) is measured where every combination was. Else it is the mean of what the toggle is worth with
/// all others off and with all others on, in logarithms: exactly the same as long as toggles interact in pairs alone, since the one holds
/// none and the other all of a toggle's pair interactions, of which half are its own.
pub fn shares(cell: &CellEffects) -> Vec<Share> {
    let log = |kind: &str, toggle: &str| Some(cell.find(kind, toggle, cell.primary)?.ratio.ln());
    let whole = cell.find("total", "", cell.primary).filter(|e| e.bounds.is_some_and(|b| b.lo > 1.0 || b.hi < 1.0));
    let Some(total) = whole.map(|e| e.ratio.ln()) else { return Vec::new() };
    let of = |kind: &'static str| {
        cell.effects
            .iter()
            .filter(move |e| e.contrast.kind == kind && e.metric == cell.primary)
            .map(|e| e.contrast.toggle.as_str())
    };
    let share = |toggle: &str, log: f64| Share { toggle: toggle.into(), share: log / total };
    let mut shares: Vec<Share> = of("shapley").filter_map(|t| Some(share(t, log("shapley", t)?))).collect();
    if shares.is_empty() {
        // A toggle beside full has no add-one-in arm: it is no part of the whole.
        let mean = |t: &str| Some((log("add-one-in", t)? + log("leave-one-out", t)?) / 2.0);
        shares = of("add-one-in").filter_map(|t| Some(share(t, mean(t)?))).collect();
    }
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    shares
}
