//! What stands first in a report where nobody can prove that the bytes came from the device, and beside the figures that rest on it.

use super::escape;
use crate::analysis::Model;
use crate::analysis::load::Arm;
use crate::target::route::unproved;
use crate::text;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Beside a workload or a figure.
pub const MARK: &str = "route not proved";

/// The paragraph that stands before all figures; empty where every route was proved, or the run says nothing of routes.
pub fn first(model: &Model) -> String {
    words(model).map_or_else(String::new, |words| format!("**Route not proved.** {}\n\n", escape::text(&words)))
}

/// The same for the terminal.
pub fn line(model: &Model) -> String {
    words(model).map_or_else(String::new, |words| format!("ROUTE NOT PROVED. {}\n\n", text::line(&words)))
}

fn words(model: &Model) -> Option<String> {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for arm in completed(model) {
        if let Some(why) = unproved(&arm.route) {
            *reasons.entry(why).or_default() += 1;
        }
    }
    let rows: usize = reasons.values().sum();
    // NOPs have no route.
    let all = completed(model).filter(|arm| !arm.route.is_empty()).count();
    let why = reasons.keys().copied().collect::<Vec<_>>().join("; ");
    (rows > 0).then(|| {
        format!("Nobody could check that the bytes of {rows} of {all} rows came from or went to a device: {why}. Their figures may be those of memory.")
    })
}

/// ` (route not proved)` where that holds for a workload, else nothing.
pub fn mark(model: &Model, cell: &str) -> String {
    let of_cell = |arm: &&Arm| arm.cell == cell && unproved(&arm.route).is_some();
    if completed(model).any(|arm| of_cell(&arm)) { format!(" ({MARK})") } else { String::new() }
}

/// Of rounds through the page cache, what share of their bytes was read from a device.
pub fn cached(model: &Model) -> String {
    let mut text = String::new();
    for cell in &model.cells {
        // Direct rounds have a route.
        let of_cell = completed(model).filter(|arm| arm.cell == cell.cell && arm.route.is_empty());
        let shares: Vec<f64> = of_cell.filter_map(|arm| arm.figures.get("device_share").copied()).collect();
        let (least, most) = shares.iter().fold((f64::INFINITY, 0.0_f64), |(l, m), s| (l.min(*s), m.max(*s)));
        if !shares.is_empty() {
            let name = escape::text(&cell.cell);
            let (least, most) = (least * 100.0, most * 100.0);
            let _ = writeln!(
                text,
                "- {name}: through the page cache; {least:.1} to {most:.1} % of the bytes of a round were read from a device."
            );
        }
    }
    text
}

fn completed(model: &Model) -> impl Iterator<Item = &Arm> {
    model.data.arms.iter().filter(|arm| arm.outcome == "completed")
}
