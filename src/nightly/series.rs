//! What a night says of each series: its line, judged by the first two stages, and by the third where they raise an alarm.

use super::course::{Course, Rounds, Run};
use super::gate::{self, Alarmed, Reading, Tonight};
use super::instrument::{Measure, Round};
use super::row::{Alarm, Finding, Key, SeriesRow};
use super::segment::{Segment, Segments};
use super::{Error, Settings};
use crate::analysis::signed_rank::{hodges_lehmann, interval, median, p_value};

/// A series with what is needed to ask again.
pub struct Judged {
    cell: usize,
    measure: usize,
    reading: Option<Reading>,
    alarmed: Option<Alarmed>,
    pub row: SeriesRow,
}

/// The rounds of a series, as numbers.
struct Numbers {
    candidate: Vec<f64>,
    placebo: Vec<f64>,
    /// Medians of the reference's and the candidate's own figures.
    absolute: [f64; 2],
}

impl Numbers {
    fn of(rounds: &[Round], measure: usize) -> Numbers {
        let own = |arm: usize| median(&rounds.iter().map(|r| r.figures[measure][arm]).collect::<Vec<_>>()).unwrap_or(f64::NAN);
        Numbers { candidate: logs(rounds, measure, 1), placebo: logs(rounds, measure, 2), absolute: [own(0), own(1)] }
    }
}

/// Log ratios of an arm to the reference, a value a round.
fn logs(rounds: &[Round], measure: usize, arm: usize) -> Vec<f64> {
    rounds.iter().map(|r| (r.figures[measure][arm] / r.figures[measure][0]).ln()).collect()
}

/// Lower bound, estimate and upper bound as ratios.
fn bounds(logs: &[f64], confidence: f64) -> [f64; 3] {
    let bounds = interval(logs, confidence);
    let point = hodges_lehmann(logs).unwrap_or(f64::NAN);
    [bounds.map_or(f64::NAN, |b| b.lo), point, bounds.map_or(f64::NAN, |b| b.hi)].map(f64::exp)
}

/// Every series of the first run.
pub fn judge(night: &str, course: &Course<'_>, rounds: &Rounds, segments: &Segments) -> Vec<Judged> {
    let places = (0..course.cells.len()).flat_map(|cell| (0..course.measures.len()).map(move |measure| (cell, measure)));
    let places: Vec<(usize, usize)> = places.collect();
    let numbers: Vec<Numbers> = places.iter().map(|(cell, measure)| Numbers::of(&rounds[*cell], *measure)).collect();
    let key = |(cell, measure): &(usize, usize)| Key {
        cell: course.cells[*cell].clone(),
        metric: course.measures[*measure].name.clone(),
    };
    let known: Vec<Segment> = places.iter().map(|place| segments.of(&key(place))).collect();
    let tonight: Vec<Tonight<'_>> =
        numbers.iter().zip(&known).map(|(n, segment)| Tonight { rounds: &n.candidate, segment }).collect();
    let readings = gate::read(&tonight, course.settings.delta);
    let mut judged = Vec::with_capacity(places.len());
    for (((cell, measure), numbers), (segment, reading)) in places.into_iter().zip(&numbers).zip(known.iter().zip(readings)) {
        let alarmed = reading.and_then(|r| gate::alarm(&r, segment, course.settings.delta));
        let what = (course.cells[cell].as_str(), &course.measures[measure]);
        let row = line(night, what, numbers, (segment, reading.as_ref(), alarmed.as_ref()), &course.settings);
        judged.push(Judged { cell, measure, reading, alarmed, row });
    }
    judged
}

/// The line of a series before any second run.
fn line(
    night: &str,
    (cell, measure): (&str, &Measure),
    numbers: &Numbers,
    (segment, reading, alarmed): (&Segment, Option<&Reading>, Option<&Alarmed>),
    settings: &Settings,
) -> SeriesRow {
    let [lo, ratio, hi] = bounds(&numbers.candidate, settings.confidence);
    let [placebo_lo, placebo_ratio, placebo_hi] = bounds(&numbers.placebo, settings.confidence);
    let before = alarmed.map_or(segment, |a| &a.before);
    let mde80 = reading.map_or(f64::INFINITY, |r| r.mde80.exp_m1());
    SeriesRow {
        night: night.into(),
        cell: cell.into(),
        metric: measure.name.clone(),
        unit: measure.unit.clone(),
        better: measure.better,
        segment: segment.number,
        segment_began: segment.began.clone(),
        level: before.level().exp(),
        level_nights: before.values().len() as u32,
        rounds: numbers.candidate.len() as u32,
        ratio,
        lo,
        hi,
        confidence: settings.confidence,
        spread: reading.map_or(f64::NAN, |r| r.spread),
        mde80,
        p: reading.map_or(1.0, |r| r.p),
        p_adjusted: reading.map_or(1.0, |r| r.p_adjusted),
        placebo_ratio,
        placebo_lo,
        placebo_hi,
        placebo_p: p_value(&numbers.placebo),
        reference_value: numbers.absolute[0],
        candidate_value: numbers.absolute[1],
        alarm: alarmed.map(|a| a.kind),
        since: alarmed.map_or_else(String::new, |a| a.since.clone().unwrap_or_else(|| night.into())),
        confirm_rounds: None,
        confirm_ratio: None,
        confirm_lo: None,
        confirm_hi: None,
        confirm_p: None,
        finding: if mde80 > settings.gate.find { Finding::Inconclusive } else { Finding::Steady },
    }
}

/// The third stage: cells in which a series raised an alarm are measured again, with as many rounds as the smallest of the changes needs. Returns
/// the rounds' ratios of the placebo of those series, which must show nothing here either.
pub fn confirm(course: &mut Course<'_>, series: &mut [Judged]) -> Result<Vec<Vec<f64>>, Error> {
    let mut cells: Vec<usize> = series.iter().filter(|s| s.alarmed.is_some()).map(|s| s.cell).collect();
    cells.dedup();
    if cells.is_empty() {
        return Ok(vec![]);
    }
    let Settings { rounds, gate, delta, confidence, .. } = course.settings;
    let wanted =
        |s: &Judged| Some(gate::rounds_to_confirm(s.reading.as_ref()?, s.alarmed.as_ref()?.change, rounds, gate.most_rounds));
    let wanted = series.iter().filter_map(wanted).max().unwrap_or(rounds);
    let second = course.run(Run::Second, &cells, wanted)?;
    let of = |s: &Judged, arm: usize| logs(&second[s.cell], s.measure, arm);
    let placebos = series.iter().filter(|s| s.alarmed.is_some()).map(|s| of(s, 2)).collect();
    let logs: Vec<Vec<f64>> = series.iter().map(|s| of(s, 1)).collect();
    let asked: Vec<(&mut Judged, &Vec<f64>)> = series.iter_mut().zip(&logs).filter(|(s, _)| s.alarmed.is_some()).collect();
    let tonight: Vec<Tonight<'_>> =
        asked.iter().filter_map(|(s, rounds)| Some(Tonight { rounds, segment: &s.alarmed.as_ref()?.before })).collect();
    let readings = gate::read(&tonight, delta);
    for ((judged, logs), reading) in asked.into_iter().zip(readings) {
        let (Some(reading), Some(alarmed)) = (reading, &judged.alarmed) else { continue };
        let [lo, ratio, hi] = bounds(logs, confidence);
        let row = &mut judged.row;
        row.confirm_rounds = Some(logs.len() as u32);
        (row.confirm_lo, row.confirm_ratio, row.confirm_hi) = (Some(lo), Some(ratio), Some(hi));
        row.confirm_p = Some(reading.p_adjusted);
        row.finding = match alarmed.kind {
            Alarm::Open if gate::gone(&reading, alarmed.change, delta) => Finding::Unconfirmed,
            Alarm::Open => Finding::Regressed,
            _ if !gate::confirms(&reading, alarmed.change, delta) => Finding::Unconfirmed,
            _ if reading.change() * row.better.sign() > 0.0 => Finding::Improved,
            _ => Finding::Regressed,
        };
    }
    Ok(placebos)
}
