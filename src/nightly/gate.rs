//! Is tonight apart from what the segment was? Three stages: tonight's rounds against the level (a step), the nights before and after some
//! night (a drift), and whether a second run confirms either. Pure; everything in logarithms of ratios.

use super::segment::Segment;
use crate::analysis::signed_rank::{detectable_in, hodges_lehmann, interval, median, normal_quantile, p_value, rounds_for, sd};
use crate::analysis::{change_point, family};
use crate::nightly::row::Alarm;

/// Level of the first stage, over all series of a night.
pub const GATE_ALPHA: f64 = 0.001;
/// Level of the second run, over all series that raised an alarm: the alarm has paid for the rest.
pub const CONFIRM_ALPHA: f64 = 0.01;
/// Standard errors that a change lies from the level, at either stage, where nights scatter by more than their rounds tell; the one-sided
/// quantiles of the normal distribution at these levels.
const GATE_ERRORS: f64 = 3.090;
const CONFIRM_ERRORS: f64 = 2.326;
/// Standard errors by which a change must exceed a limit to do so with probability .8.
const POWER: f64 = 0.842;
/// One-sided, of what is seen gone.
const GONE_ERRORS: f64 = 1.645;
/// Of the interval that tells the standard error.
const BY_RANKS: f64 = 0.95;
/// Standard deviations of normal noise in its median absolute deviation.
const OF_MAD: f64 = 1.4826;
/// Efficiency of ranks against means on normal noise: 3 / pi.
const RANK_EFFICIENCY: f64 = 0.955;
/// Fewer nights do not tell how far nights scatter.
const TELLING_NIGHTS: usize = 8;
/// Fewer rounds cannot reach the level of the gate.
pub const LEAST_ROUNDS: u32 = 12;

/// A series tonight: what its rounds said, and what it was before.
pub struct Tonight<'a> {
    /// Log ratio of each round, candidate / reference.
    pub rounds: &'a [f64],
    pub segment: &'a Segment,
}

/// What rounds say of a series beside its level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Hodges-Lehmann of the rounds.
    pub point: f64,
    pub level: f64,
    pub p: f64,
    pub p_adjusted: f64,
    pub spread: f64,
    /// The spread of normal noise that would give as wide an interval.
    by_ranks: f64,
    /// Smallest change that raises an alarm with probability .8, as a log ratio.
    pub mde80: f64,
    /// Standard error of the difference from the level, nights' own scatter included.
    error: f64,
    /// The same without the scatter between nights, which a second run of the same night does not add.
    error_of_run: f64,
}

impl Reading {
    pub fn change(&self) -> f64 {
        self.point - self.level
    }

    fn beyond(&self, delta: f64, errors: f64) -> bool {
        self.change().abs() > delta.ln_1p() && self.change().abs() > errors
    }
}

/// Reads every series of a run beside a practical margin; `None` where rounds are too few to say anything.
pub fn read(all: &[Tonight<'_>], delta: f64) -> Vec<Option<Reading>> {
    let apart = |t: &Tonight<'_>| -> Vec<(u32, f64)> { (1..).zip(t.rounds.iter().map(|r| r - t.segment.level())).collect() };
    let members: Vec<Vec<(u32, f64)>> = all.iter().map(apart).collect();
    let values = |m: &Vec<(u32, f64)>| m.iter().map(|r| r.1).collect::<Vec<_>>();
    let raw: Vec<f64> = members.iter().map(|m| p_value(&values(m))).collect();
    let adjusted = family::adjusted(&members.iter().map(Vec::as_slice).collect::<Vec<_>>(), &raw, GATE_ALPHA);
    let alpha = GATE_ALPHA / all.len().max(1) as f64;
    all.iter().zip(raw).zip(adjusted).map(|((t, p), p_adjusted)| reading(t, (p, p_adjusted), alpha, delta)).collect()
}

fn reading(tonight: &Tonight<'_>, (p, p_adjusted): (f64, f64), alpha: f64, delta: f64) -> Option<Reading> {
    let Tonight { rounds, segment } = tonight;
    // A few rounds far out widen the standard deviation, and neither estimate nor interval, which are by ranks.
    let bounds = interval(rounds, BY_RANKS)?;
    let of_run = ((bounds.hi - bounds.lo) / 2.0 / normal_quantile((1.0 + bounds.confidence) / 2.0)).powi(2);
    let by_ranks = (of_run * rounds.len() as f64 * RANK_EFFICIENCY).sqrt();
    let nights = segment.values();
    let of_nights = if nights.len() < TELLING_NIGHTS { of_run } else { scatter(&nights)?.powi(2) };
    let of_level = if nights.is_empty() { 0.0 } else { of_nights / nights.len() as f64 };
    let (error, error_of_run) = ((of_run.max(of_nights) + of_level).sqrt(), (of_run + of_level).sqrt());
    // All that an alarm takes: the rounds' own test, the errors from the level, the margin.
    let mde80 = detectable_in(by_ranks, rounds.len(), alpha)?
        .max((GATE_ERRORS + POWER) * error)
        .max(delta.ln_1p() + POWER * error_of_run);
    Some(Reading {
        point: hodges_lehmann(rounds)?,
        level: segment.level(),
        p,
        p_adjusted,
        spread: sd(rounds)?,
        by_ranks,
        mde80,
        error,
        error_of_run,
    })
}

/// Standard deviation of nights as their median absolute deviation tells it: one odd night does not make the gate blind.
fn scatter(nights: &[f64]) -> Option<f64> {
    let middle = median(nights)?;
    median(&nights.iter().map(|v| (v - middle).abs()).collect::<Vec<_>>()).map(|mad| OF_MAD * mad)
}

/// What the first two stages say of a series.
#[derive(Clone, Debug)]
pub struct Alarmed {
    pub kind: Alarm,
    /// The first night of the change; `None` for tonight.
    pub since: Option<String>,
    /// What the series was before that.
    pub before: Segment,
    /// From there to what it is now, as a log ratio.
    pub change: f64,
}

/// Whether a series raises an alarm.
pub fn alarm(reading: &Reading, segment: &Segment, delta: f64) -> Option<Alarmed> {
    let step = reading.p_adjusted < GATE_ALPHA && reading.beyond(delta, GATE_ERRORS * reading.error);
    let before = segment.clone();
    match &segment.open {
        // Better than before it got worse is another matter.
        Some(open) if !(step && reading.change() * open.worse < 0.0) => {
            let change = open.worse * reading.change().abs().max(delta.ln_1p());
            return Some(Alarmed { kind: Alarm::Open, since: Some(open.since.clone()), before, change });
        }
        _ if step => return Some(Alarmed { kind: Alarm::Step, since: None, before, change: reading.change() }),
        _ => {}
    }
    let mut watched = segment.watched();
    watched.push(reading.point);
    let change = change_point::detect(&watched)?;
    let since = segment.watched_night(change.at)?;
    let before = segment.before(since);
    let now = hodges_lehmann(&watched[change.at..])?;
    let change = now - before.level();
    Some(Alarmed { kind: Alarm::Drift, since: Some(since.into()), before, change })
}

/// The rounds of a second run: as many as find half of the change with probability .8, at least as many as the night had.
pub fn rounds_to_confirm(reading: &Reading, change: f64, rounds: u32, most: u32) -> u32 {
    let wanted = rounds_for(reading.by_ranks, change.abs() / 2.0, CONFIRM_ALPHA).map_or(most, |n| n as u32);
    wanted.clamp(rounds.min(most), most)
}

/// Whether a second run says the same as the alarm did. `expected` is the change then, of which the direction counts.
pub fn confirms(second: &Reading, expected: f64, delta: f64) -> bool {
    second.p_adjusted < CONFIRM_ALPHA
        && second.change() * expected > 0.0
        && second.beyond(delta, CONFIRM_ERRORS * second.error_of_run)
}

/// Whether a second run shows that a change in this direction is no longer there: what remains of it lies within the margin.
pub fn gone(second: &Reading, expected: f64, delta: f64) -> bool {
    second.change() * expected.signum() + GONE_ERRORS * second.error_of_run < delta.ln_1p()
}
