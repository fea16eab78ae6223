//! How a night ends, and why in one sentence.

use super::gate::GATE_ALPHA;
use super::row::{Finding, SeriesRow};
use crate::analysis::family::holm;
use crate::exit::Exit;

/// The code with which a night ends, and the reason. A failed control comes first: then nothing is believed.
pub fn verdict(series: &[SeriesRow], delta: f64) -> (Exit, String) {
    if let Some(row) = control_failed(series, delta) {
        let summary = format!(
            "{}: two copies of the reference differ in {} by {:+.2} % (p = {:.1e}): nothing of this night is believed",
            row.cell,
            row.metric,
            100.0 * (row.placebo_ratio - 1.0),
            row.placebo_p
        );
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
    let alarms = of(Finding::Unconfirmed).count();
    let quiet = if alarms == 0 { "no alarm".into() } else { format!("{alarms} alarms that a second run did not confirm") };
    (Exit::Ok, format!("steady: {} series, {quiet}", series.len()))
}

/// The series whose second copy of the reference differs from the first, which cannot be.
fn control_failed(series: &[SeriesRow], delta: f64) -> Option<&SeriesRow> {
    let p: Vec<f64> = series.iter().map(|row| row.placebo_p).collect();
    let failed = |(row, p): &(&SeriesRow, f64)| *p < GATE_ALPHA && row.placebo_ratio.ln().abs() > delta.ln_1p();
    series.iter().zip(holm(&p)).find(failed).map(|(row, _)| row)
}

/// A cell of which no series could be judged, and the smallest change that would have been found in it.
fn blind(series: &[SeriesRow]) -> Option<(&str, f64)> {
    let cell_of = |row: &SeriesRow| series.iter().filter(|s| s.cell == row.cell).collect::<Vec<_>>();
    let row = series.iter().find(|row| cell_of(row).iter().all(|s| s.finding == Finding::Inconclusive))?;
    Some((&row.cell, cell_of(row).iter().map(|s| s.mde80).fold(f64::INFINITY, f64::min)))
}

/// A finding in words: what, where, by how much, since when.
fn sentence(row: &SeriesRow) -> String {
    let (change, lo, hi) = row.confirmed_change().unwrap_or((row.change(), f64::NAN, f64::NAN));
    let way = if change > 0.0 { "higher" } else { "lower" };
    format!(
        "{}: {} {way} by {:.1} % [{:+.1}, {:+.1}] than before, since {}, confirmed by {} rounds",
        row.cell,
        row.metric,
        100.0 * change.abs(),
        100.0 * lo,
        100.0 * hi,
        row.since,
        row.confirm_rounds.unwrap_or(0)
    )
}
