//! A series night by night: its change against the reference with intervals, its levels, its segments, its alarms.

use super::slots::Slots;
use crate::analysis::signed_rank::median;
use crate::nightly::row::{Better, Finding, Key, SeriesRow};
use crate::plot::axis::{Axis, Frame};
use crate::plot::layout::width_of;
use crate::plot::legend::sized;
use crate::plot::style::{AMBER, Area, BLUE, Drawn, GREEN, GREY, HATCH, INDIGO, INK, LIGHT, PURPLE, RED, SKY, at, bold, text};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// Colours of machines, apart from those of findings.
const COLOURS: [RGBColor; 6] = [BLUE, AMBER, PURPLE, INDIGO, SKY, INK];

/// Dates keep this distance.
const DATES: f64 = 96.0;
/// With more slots than this, bars are thin and marks small.
const DENSE: usize = 80;
/// An axis spans at least this many percent.
const LEAST: f64 = 0.1;
/// Bars longer than so many usual ones leave the panel.
const LONGEST: f64 = 4.0;

/// The colour of a machine.
pub fn colour(machine: usize) -> RGBColor {
    COLOURS[machine % COLOURS.len()]
}

/// A night of a series.
#[derive(Debug)]
pub struct Point<'a> {
    pub slot: usize,
    pub machine: usize,
    /// Whether the night's control held.
    pub believed: bool,
    pub row: &'a SeriesRow,
}

/// How a night is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Plain,
    Pale,
    Ring,
    Worse,
    Better,
    Unbelieved,
}

impl Mark {
    /// Whether a second run was made.
    fn is_loud(self) -> bool {
        matches!(self, Mark::Ring | Mark::Worse | Mark::Better)
    }
}

impl Point<'_> {
    pub fn mark(&self) -> Mark {
        match self.row.finding {
            _ if !self.believed => Mark::Unbelieved,
            Finding::Steady => Mark::Plain,
            Finding::Inconclusive => Mark::Pale,
            Finding::Unconfirmed => Mark::Ring,
            Finding::Regressed => Mark::Worse,
            Finding::Improved => Mark::Better,
        }
    }

    /// Half of the interval's length.
    fn reach(&self) -> f64 {
        (percent(self.row.hi) - percent(self.row.lo)) / 2.0
    }
}

/// By how much a ratio differs from the reference.
fn percent(ratio: f64) -> f64 {
    100.0 * (ratio - 1.0)
}

/// A series; its points are in order of time.
#[derive(Debug)]
pub struct Panel<'a> {
    pub key: Key,
    pub points: Vec<Point<'a>>,
}

/// What panels of a chart share.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub slots: &'a Slots,
    pub machines: &'a [&'a str],
    pub frame: Frame,
}

impl Setting<'_> {
    fn dense(&self) -> bool {
        self.slots.began.len() > DENSE
    }
}

impl<'a> Panel<'a> {
    /// Nights of each machine, in order.
    fn by_machine(&self) -> Vec<Vec<&Point<'a>>> {
        let machines = self.points.iter().map(|p| p.machine + 1).max().unwrap_or(0);
        (0..machines).map(|machine| self.points.iter().filter(|p| p.machine == machine).collect()).collect()
    }

    /// Slots with which segments begin, each with why; the oldest night shown begins none.
    pub fn boundaries(&self, machines: &[&str]) -> Vec<(usize, String)> {
        let mut all: Vec<(usize, usize, String)> = Vec::new();
        for nights in self.by_machine() {
            let begins = nights.windows(2).filter(|w| w[0].row.segment != w[1].row.segment);
            all.extend(begins.map(|w| (w[1].slot, w[1].machine, reason(w[1].row))));
        }
        all.sort();
        let mut slots: Vec<(usize, String)> = Vec::new();
        for group in all.chunk_by(|a, b| a.0 == b.0) {
            let same = group.iter().all(|g| g.2 == group[0].2);
            let named = |(_, machine, why): &(usize, usize, String)| format!("{why} on {}", machines[*machine]);
            let one = machines.len() == 1 || same && group.len() == machines.len();
            let why = if one { group[0].2.clone() } else { group.iter().map(named).collect::<Vec<_>>().join("; ") };
            slots.push((group[0].0, why));
        }
        slots
    }

    /// Of an axis that shows every night which is believed, and the bars but for outlandish ones.
    fn axis(&self, frame: Frame) -> Option<Axis> {
        let believed: Vec<&Point<'_>> = self.points.iter().filter(|p| p.believed).collect();
        let shown = if believed.is_empty() { self.points.iter().collect() } else { believed };
        let reaches: Vec<f64> = shown.iter().map(|p| p.reach()).filter(|r| r.is_finite()).collect();
        let most = LONGEST * median(&reaches).unwrap_or(0.0);
        let mut figures = vec![-LEAST, LEAST];
        for Point { row, .. } in shown {
            let point = percent(row.ratio);
            figures.extend([point, percent(row.lo).max(point - most), percent(row.hi).min(point + most)]);
            figures.extend((row.level_nights > 0).then_some(percent(row.level)));
            figures.extend([row.confirm_ratio, row.confirm_lo, row.confirm_hi].into_iter().flatten().map(percent));
        }
        Axis::over(figures, (frame.bottom, frame.top))
    }

    pub fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, setting: Setting<'_>) -> Drawn<DB> {
        let frame = setting.frame;
        self.title(area, setting)?;
        let Some(axis) = self.axis(frame) else { return Ok(()) };
        gaps(area, setting)?;
        let signed = |(tick, label): (f64, String)| (tick, if tick > 0.0 { format!("+{label} %") } else { format!("{label} %") });
        axis.draw_rows(area, frame, axis.ticks().into_iter().map(signed).collect())?;
        dates(area, setting)?;
        let y = |ratio: f64| axis.place(percent(ratio)).clamp(frame.top, frame.bottom);
        area.draw(&PathElement::new(vec![(frame.left, y(1.0)), (frame.right, y(1.0))], INK))?;
        self.segments(area, setting)?;
        for nights in self.by_machine() {
            levels(area, setting, &nights, &y)?;
        }
        // Findings lie above what is beside them.
        for loud in [false, true] {
            for point in self.points.iter().filter(|p| p.row.ratio.is_finite() && p.mark().is_loud() == loud) {
                night(area, setting, point, &y)?;
            }
        }
        Ok(())
    }

    fn title<DB: DrawingBackend>(&self, area: &Area<DB>, setting: Setting<'_>) -> Drawn<DB> {
        let (Some(newest), frame) = (self.points.last(), setting.frame) else { return Ok(()) };
        let side = if newest.row.better == Better::Higher { "higher is better" } else { "lower is better" };
        let y = frame.top - 32;
        let title = format!("{}: {}, {side}", self.key.cell, self.key.metric);
        area.draw(&Text::new(title.clone(), (20, y), bold(14)))?;
        // Absolute figures of several machines have nothing in common.
        let value = newest.row.reference_value;
        if setting.machines.len() > 1 || !value.is_finite() {
            return Ok(());
        }
        let value = if value.abs() < 100.0 { format!("{value:.3}") } else { format!("{value:.0}") };
        let absolute = format!("reference in the newest night: {value} {}", newest.row.unit);
        if 20 + width_of(&title, 15) + width_of(&absolute, 12) > frame.right {
            return Ok(());
        }
        area.draw(&Text::new(absolute, (frame.right, y), at(text(12, &GREY), HPos::Right)))
    }

    /// Dashed lines, each with why a segment begins as far as there is room before the next.
    fn segments<DB: DrawingBackend>(&self, area: &Area<DB>, setting: Setting<'_>) -> Drawn<DB> {
        let (Setting { slots, frame, .. }, boundaries) = (setting, self.boundaries(setting.machines));
        let x = |slot: usize| slots.ends(slot, frame).0;
        let mut free = frame.left;
        for (i, (slot, why)) in boundaries.iter().enumerate() {
            let x = x(*slot);
            dashed(area, x, (frame.top - 6, frame.bottom))?;
            let next = boundaries.get(i + 1).map_or(frame.right, |b| slots.ends(b.0, frame).0);
            // The last one may stand to the left of its line.
            let (to_right, to_left) = (next - x - 6, x - free - 6);
            let left = i + 1 == boundaries.len() && to_right < room_of(why) && to_left > to_right;
            let label = shortened(why, if left { to_left } else { to_right });
            let (place, anchor) = if left { (x - 4, HPos::Right) } else { (x + 4, HPos::Left) };
            area.draw(&Text::new(label.clone(), (place, frame.top - 11), at(text(11, &INK), anchor)))?;
            free = x + 4 + if left { 0 } else { room_of(&label) };
        }
        Ok(())
    }
}

/// Why a segment begins; the night of an improvement is the one before the line.
fn reason(row: &SeriesRow) -> String {
    match row.segment_began.as_str() {
        "" => format!("segment {}", row.segment),
        why if why.starts_with("improved by") => why.split(" in ").next().unwrap_or(why).into(),
        why => why.into(),
    }
}

/// Pixels of a reason.
fn room_of(label: &str) -> i32 {
    width_of(label, 10)
}

/// A reason in so many pixels: without what it was before and after, then its beginning; nothing where that cannot be read.
fn shortened(label: &str, room: i32) -> String {
    let what: Vec<&str> = label.split("; ").map(|part| part.split(':').next().unwrap_or(part)).collect();
    let what = what.join(", ");
    if let Some(whole) = [label, &what].into_iter().find(|l| room_of(l) <= room) {
        return whole.into();
    }
    let most = room.max(0) as usize / room_of("m").max(1) as usize;
    if most < 12 { String::new() } else { format!("{}...", what.chars().take(most - 3).collect::<String>()) }
}

/// A vertical line of dashes; `(top, bottom)` are its ends.
pub fn dashed<DB: DrawingBackend>(area: &Area<DB>, x: i32, (top, bottom): (i32, i32)) -> Drawn<DB> {
    for y in (top..bottom).step_by(8) {
        area.draw(&PathElement::new(vec![(x, y), (x, (y + 4).min(bottom))], INK))?;
    }
    Ok(())
}

/// Bands where nights were left out, with a broken axis below.
fn gaps<DB: DrawingBackend>(area: &Area<DB>, Setting { slots, frame, .. }: Setting<'_>) -> Drawn<DB> {
    for gap in &slots.gaps {
        let (left, right) = (slots.ends(gap - 1, frame).1, slots.ends(*gap, frame).0);
        area.draw(&Rectangle::new([(left + 1, frame.top), (right - 1, frame.bottom)], HATCH.filled()))?;
        broken(area, ((left + right) / 2, frame.bottom))?;
    }
    Ok(())
}

/// Two strokes across an axis.
pub fn broken<DB: DrawingBackend>(area: &Area<DB>, (x, y): (i32, i32)) -> Drawn<DB> {
    for x in [x - 2, x + 2] {
        area.draw(&PathElement::new(vec![(x - 2, y + 5), (x + 2, y - 5)], GREY))?;
    }
    Ok(())
}

fn dates<DB: DrawingBackend>(area: &Area<DB>, Setting { slots, frame, .. }: Setting<'_>) -> Drawn<DB> {
    for slot in slots.dated(DATES, frame) {
        let (left, right) = slots.ends(slot, frame);
        let x = (left + right) / 2;
        area.draw(&PathElement::new(vec![(x, frame.top), (x, frame.bottom)], LIGHT))?;
        for (line, format) in (0..).zip(["%Y-%m-%d", "%H:%M UTC"]) {
            let label = slots.began[slot].strftime(format).to_string();
            area.draw(&Text::new(label, (x, frame.bottom + 14 + 15 * line), at(text(11, &INK), HPos::Center)))?;
        }
    }
    Ok(())
}

/// What the segments of a machine were before each night, as a line of steps.
fn levels<DB: DrawingBackend>(
    area: &Area<DB>,
    Setting { slots, frame, .. }: Setting<'_>,
    nights: &[&Point<'_>],
    y: &dyn Fn(f64) -> i32,
) -> Drawn<DB> {
    let known: Vec<&&Point<'_>> = nights.iter().filter(|p| p.row.level_nights > 0 && p.row.level.is_finite()).collect();
    for segment in known.chunk_by(|a, b| a.row.segment == b.row.segment) {
        // A level holds until the next night of the machine.
        let next = segment.iter().skip(1).map(|p| slots.ends(p.slot, frame).0);
        let last = slots.ends(segment[segment.len() - 1].slot, frame).1;
        let steps = segment.iter().zip(next.chain([last])).flat_map(|(p, end)| {
            let y = y(p.row.level);
            [(slots.ends(p.slot, frame).0, y), (end, y)]
        });
        area.draw(&PathElement::new(steps.collect::<Vec<_>>(), colour(segment[0].machine).mix(0.5).stroke_width(2)))?;
    }
    Ok(())
}

/// A night: its interval, its mark, and beside them what a second run said.
fn night<DB: DrawingBackend>(area: &Area<DB>, setting: Setting<'_>, point: &Point<'_>, y: &dyn Fn(f64) -> i32) -> Drawn<DB> {
    let (row, mark, own) = (point.row, point.mark(), colour(point.machine));
    let x = setting.slots.place(point.slot, point.machine, setting.frame);
    let (dense, loud) = (setting.dense(), mark.is_loud());
    // Regressions stand night beside night until they have gone.
    let size = match mark {
        Mark::Worse if dense => 4,
        _ => 4 - i32::from(dense) + 2 * i32::from(loud),
    };
    let width = if dense { 1 } else { 2 };
    let bar = match mark {
        Mark::Unbelieved => GREY.mix(0.5),
        Mark::Pale => own.mix(0.35),
        _ => own.mix(if dense { 0.45 } else { 0.8 }),
    };
    if row.lo.is_finite() && row.hi.is_finite() {
        area.draw(&PathElement::new(vec![(x, y(row.lo)), (x, y(row.hi))], bar.stroke_width(width)))?;
    }
    let found = match mark {
        Mark::Worse => RED,
        Mark::Better => GREEN,
        _ => GREY,
    };
    if let (true, Some(ratio), Some(lo), Some(hi)) = (loud, row.confirm_ratio, row.confirm_lo, row.confirm_hi) {
        // To the left: at the right a new segment may begin.
        second(area, (x - size - 3, [y(lo), y(ratio), y(hi)]), found, width)?;
    }
    let place = (x, y(row.ratio));
    match mark {
        Mark::Ring => ring(area, point.machine, size, own, place),
        Mark::Pale => sized(area, point.machine, size, &mixed(own, 0.4), place),
        Mark::Plain => sized(area, point.machine, size, &own, place),
        _ => sized(area, point.machine, size, &found, place),
    }
}

/// A colour on white, so that what lies behind a mark does not show through.
pub fn mixed(RGBColor(r, g, b): RGBColor, share: f64) -> RGBColor {
    let mix = |c: u8| (share * f64::from(c) + (1.0 - share) * 255.0).round() as u8;
    RGBColor(mix(r), mix(g), mix(b))
}

/// The hollow mark of an alarm that was not confirmed.
pub fn ring<DB: DrawingBackend>(area: &Area<DB>, machine: usize, size: i32, colour: RGBColor, place: (i32, i32)) -> Drawn<DB> {
    sized(area, machine, size, &colour, place)?;
    sized(area, machine, size - 2, &WHITE, place)
}

/// The interval of a second run with its middle.
pub fn second<DB: DrawingBackend>(
    area: &Area<DB>,
    (x, [lo, middle, hi]): (i32, [i32; 3]),
    colour: RGBColor,
    width: u32,
) -> Drawn<DB> {
    area.draw(&PathElement::new(vec![(x, lo), (x, hi)], colour.stroke_width(width)))?;
    area.draw(&PathElement::new(vec![(x - 2, middle), (x + 2, middle)], colour.stroke_width(width)))
}
