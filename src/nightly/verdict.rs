//! How a night ends, and why in one sentence.

use super::gate::GATE_ALPHA;
use super::row::{Alarm, Finding, SeriesRow};
use crate::analysis::family::holm;
use crate::analysis::signed_rank::p_value;
use crate::exit::Exit;

/// The code with which a night ends, and the reason. `again` are the placebo's log ratios in the rounds of a second run. A failed control
/// comes first: then nothing is believed.
pub fn verdict(series: &[SeriesRow], again: &[Vec<f64>]) -> (Exit, String) {
    if let Some(row) = control_failed(series) {
        let summary = format!(
            "{}: two copies of the reference differ in {} by {:+.2} % (p = {:.1e}): nothing of this night is believed",
            row.cell,
            row.metric,
            100.0 * (row.placebo_ratio - 1.0),
            row.placebo_p
        );
        return (Exit::SelfCheck, summary);
    }
    let second: Vec<f64> = again.iter().map(|logs| p_value(logs)).collect();
    if let Some(p) = holm(&second).into_iter().find(|p| *p < GATE_ALPHA) {
        let summary =
            format!("in the second run two copies of the reference differ (p = {p:.1e}): nothing of this night is believed");
        return (Exit::SelfCheck, summary);
    }
    let of = |finding: Finding| series.iter().filter(move |s| s.finding == finding);
    let told = |finding: Finding| of(finding).map(sentence).collect::<Vec<_>>().join("; ");
    if of(Finding::Regressed).next().is_some() {
        return (Exit::Regression, told(Finding::Regressed));
    }
    if let Some((cell, least)) = blind(series) {
        let summary =
            format!("{cell}: rounds lie so far apart that only changes of {:.1} % and more would have been found", 100.0 * least);
        return (Exit::Inconclusive, summary);
    }
    if of(Finding::Improved).next().is_some() {
        return (Exit::Ok, told(Finding::Improved));
    }
    let gone = of(Finding::Unconfirmed).filter(|row| row.alarm == Some(Alarm::Open));
    let gone: Vec<String> =
        gone.map(|row| format!("{}: the regression of {} since {} is gone", row.cell, row.metric, row.since)).collect();
    if !gone.is_empty() {
        return (Exit::Ok, gone.join("; "));
    }
    let quiet = match of(Finding::Unconfirmed).count() {
        0 => "no alarm".into(),
        1 => "one alarm, which a second run did not confirm".into(),
        alarms => format!("{alarms} alarms, which a second run did not confirm"),
    };
    (Exit::Ok, format!("steady: {} series, {quiet}", series.len()))
}

/// The series whose second copy of the reference differs from the first, which cannot be.
fn control_failed(series: &[SeriesRow]) -> Option<&SeriesRow> {
    let p: Vec<f64> = series.iter().map(|row| row.placebo_p).collect();
    series.iter().zip(holm(&p)).find(|(_, p)| *p < GATE_ALPHA).map(|(row, _)| row)
}

/// A cell of which no series could be judged, and the smallest change that would have been found in it.
fn blind(series: &[SeriesRow]) -> Option<(&str, f64)> {
    let cell_of = |row: &SeriesRow| series.iter().filter(|s| s.cell == row.cell).collect::<Vec<_>>();
    let row = series.iter().find(|row| cell_of(row).iter().all(|s| s.finding == Finding::Inconclusive))?;
    Some((&row.cell, cell_of(row).iter().map(|s| s.mde80).fold(f64::INFINITY, f64::min)))
}

/// What a series did, in words that need no thought about which way is good.
pub fn sentence(row: &SeriesRow) -> String {
    let (change, lo, hi) = row.confirmed_change().unwrap_or((row.change(), row.lo / row.level - 1.0, row.hi / row.level - 1.0));
    let judged = if change * row.better.sign() > 0.0 { "better" } else { "worse" };
    let way = if change > 0.0 { "higher" } else { "lower" };
    let size = format!("{way} by {:.1} % [{:+.1}, {:+.1}]", 100.0 * change.abs(), 100.0 * lo, 100.0 * hi);
    let (cell, metric, since) = (&row.cell, &row.metric, &row.since);
    let rounds = row.confirm_rounds.unwrap_or(0);
    match row.finding {
        Finding::Regressed if row.alarm == Some(Alarm::Open) => {
            format!("{cell}: {metric} {size} ({judged}) than before, open since {since}, not gone by {rounds} rounds more")
        }
        Finding::Regressed | Finding::Improved => {
            format!("{cell}: {metric} {size} ({judged}) than before, since {since}, confirmed by {rounds} rounds")
        }
        Finding::Unconfirmed => {
            format!("{cell}: {metric} seemed different since {since}; measured again it is {size}: no finding")
        }
        Finding::Inconclusive => {
            format!(
                "{cell}: {metric} {size}; rounds lie so far apart that only {:.1} % and more would be found",
                100.0 * row.mde80
            )
        }
        Finding::Steady => format!("{cell}: {metric} {size} than before: no alarm"),
    }
}
