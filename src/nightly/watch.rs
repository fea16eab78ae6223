//! What a history says of its series as of now, beside their figures: regressions that are open, changes of level, nights that remember each other.

use super::row::NightRow;
use super::segment::{Identity, Segments};
use super::store::History;
use crate::analysis::change_point::{detect, lag1};
use std::collections::BTreeMap;

/// Above this correlation of a night with the one before, false alarms of drifts are much more frequent than the thresholds promise: at .3 in half of all
/// series within 100 nights in place of a tenth.
const MOST_MEMORY: f64 = 0.2;

/// One line for each thing that a reader must know.
pub fn remarks(history: &History) -> Vec<String> {
    let mut newest: BTreeMap<(&str, &str), &NightRow> = BTreeMap::new();
    newest.extend(history.tables().0.iter().map(|n| ((n.experiment.as_str(), n.machine.as_str()), n)));
    newest.into_iter().flat_map(|((experiment, machine), night)| of(history, experiment, machine, night)).collect()
}

/// The same of one machine in one experiment, whose newest night this is.
pub fn of(history: &History, experiment: &str, machine: &str, newest: &NightRow) -> Vec<String> {
    let segments = Segments::before(history, experiment, machine, &Identity::of(newest));
    let mut lines = Vec::new();
    for (key, segment) in segments.all() {
        let what = format!("{experiment} on {machine}: {} {}", key.cell, key.metric);
        if let Some(open) = &segment.open {
            lines.push(format!("{what}: a confirmed regression is open since {}", open.since));
        }
        let change = detect(&segment.watched()).and_then(|change| segment.watched_night(change.at));
        if let Some(since) = change {
            lines.push(format!("{what}: the nights since {since} lie apart from those before"));
        }
        if let Some(r) = lag1(&segment.values()).filter(|r| *r > MOST_MEMORY) {
            lines.push(format!(
                "{what}: a night is like the one before (lag-1 correlation {r:.2}), so drifts raise false alarms more often than is promised; \
                 something of the machine is not in both programs alike"
            ));
        }
    }
    lines.sort();
    lines
}
