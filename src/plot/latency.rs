//! Latency by percentile: how long requests took, with each further nine of the tail as wide as the one before.

use super::axis::{Axis, Frame};
use super::legend::{Key, legend};
use super::style::{Area, BLUE, Chart, Drawn, GREEN, INK, ORANGE, PURPLE, SKY, at, bold, frame, text};
use crate::analysis::Model;
use crate::analysis::effect::CellEffects;
use crate::analysis::latency::Merged;
use crate::analysis::level::{Level, level};
use crate::analysis::load::Arm;
use crate::analysis::signed_rank::median;
use hdrhistogram::Histogram;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: u32 = 1200;
const PANEL: Frame = Frame { left: 90, right: 1170, top: 156, bottom: 580 };
const HEIGHT: u32 = 680;

/// A slice ends when enough has completed, which cuts off what was still in flight: the slowest.
const CENSORED: f64 = 2.0;

/// A percentile is shown where so many requests lie beyond it.
const BEYOND: f64 = 5.0;

/// Percentiles with their names, where rounds and intervals are marked.
const MARKED: [(f64, &str); 5] = [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];

/// Percentiles in the columns of `arms.csv`.
const COLUMNS: [(f64, &str); 4] = [(0.5, "lat_ns_p50"), (0.9, "lat_ns_p90"), (0.99, "lat_ns_p99"), (0.999, "lat_ns_p999")];

/// A percentile with what each round says of it, in microseconds.
struct Mark {
    x: f64,
    rounds: Vec<f64>,
    level: Option<Level>,
}

struct Line {
    name: String,
    colour: RGBColor,
    /// Nines and microseconds.
    points: Vec<(f64, f64)>,
    marks: Vec<Mark>,
    /// Known at its points alone.
    sparse: bool,
}

/// The chart of one cell.
pub struct Latency {
    title: String,
    subtitle: String,
    foot: String,
    lines: Vec<Line>,
}

/// Where a quantile stands: the number of nines.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// The curve of a histogram up to `most` nines, as far as enough requests lie beyond.
fn curve(histogram: &Histogram<u64>, most: f64) -> Vec<(f64, f64)> {
    let end = most.min((histogram.len() as f64 / BEYOND).log10());
    let places = (0..).map(|i| f64::from(i) * 0.02).take_while(|x| *x <= end + 1e-9);
    places.map(|x| (x, histogram.value_at_quantile(1.0 - 10_f64.powf(-x)) as f64 / 1e3)).collect()
}

impl Latency {
    /// `full` and `baseline` as the log has them, fio's whole runs; why not, where nothing was timed.
    pub fn new(model: &Model, cell: &CellEffects) -> Result<Latency, String> {
        let of_cell = |kind: &str| model.latency.iter().any(|r| r.cell == cell.cell && r.kind == kind);
        let alone = of_cell("isolated");
        let kind = if alone { "isolated" } else { "slices" };
        let most = if alone { nines(0.9999) } else { CENSORED };
        let mut lines = Vec::new();
        for (treatment, colour) in [("baseline", ORANGE), ("full", GREEN)] {
            lines.extend(ours(model, cell, (treatment, kind), colour, most)?);
        }
        lines.extend(theirs(model, cell));
        if lines.is_empty() {
            return Err("no request of baseline, full or fio was timed".into());
        }
        let percent = model.settings.confidence() * 100.0;
        let cut = if alone {
            format!("each arm alone in its process; as far as {BEYOND} requests lie beyond")
        } else {
            "our arms in slices, which censor the tail: drawn to 99 % at most".into()
        };
        let due = if cell.paced { ", from submission and not from when it was due, which flatters it" } else { "" };
        Ok(Latency {
            title: format!("Latency by percentile: {}", cell.cell),
            subtitle: format!(
                "{}; {cut}; lines: all rounds, dots: rounds, bars: {percent:.0} % intervals over rounds; fio: its whole runs, uninterrupted{due}",
                model.target()
            ),
            foot: model.provenance(),
            lines,
        })
    }
}

/// One of our arms, merged over its rounds of one kind.
fn ours(
    model: &Model,
    cell: &CellEffects,
    (treatment, kind): (&str, &str),
    colour: RGBColor,
    most: f64,
) -> Result<Option<Line>, String> {
    let recorded = model.latency.iter().filter(|r| r.cell == cell.cell && r.kind == kind && r.treatment == treatment);
    let marked: Vec<f64> = MARKED.iter().map(|(q, _)| *q).filter(|q| nines(*q) <= most + 1e-9).collect();
    // Of each round what it says at the marks: thousands of histograms would not fit into memory.
    let (mut merged, mut of_marks, mut count) = (Merged::default(), vec![Vec::new(); marked.len()], 0);
    for round in recorded {
        let round = round.histogram()?;
        merged.add(&round)?;
        count += 1;
        for (quantile, rounds) in marked.iter().zip(&mut of_marks) {
            if round.len() as f64 * (1.0 - quantile) >= BEYOND - 1e-9 {
                rounds.push(round.value_at_quantile(*quantile) as f64 / 1e3);
            }
        }
    }
    let Some(all) = merged.all() else { return Ok(None) };
    let points = curve(&all, most);
    let mark = |(quantile, rounds): (f64, Vec<f64>)| {
        let level = level(rounds.iter().copied(), model.settings.confidence());
        Mark { x: nines(quantile), rounds, level }
    };
    let marks = marked.into_iter().zip(of_marks).map(mark).collect();
    let name = format!("{treatment}: {} requests in {count} rounds", all.len());
    Ok(Some(Line { name, colour, points, marks, sparse: false }))
}

/// fio's own percentiles, the median over its whole runs.
fn theirs(model: &Model, cell: &CellEffects) -> Vec<Line> {
    let line = |(name, colour): (&str, RGBColor)| {
        let whole = |a: &&Arm| a.cell == cell.cell && a.kind == "whole" && a.treatment == name && a.outcome == "completed";
        let runs: Vec<&Arm> = model.data.arms.iter().filter(whole).collect();
        let point = |(quantile, column): &(f64, &str)| {
            let values: Vec<f64> = runs.iter().filter_map(|a| a.figures.get(column).copied()).collect();
            Some((nines(*quantile), median(&values)? / 1e3))
        };
        let points: Vec<(f64, f64)> = COLUMNS.iter().filter_map(point).collect();
        (!points.is_empty()).then(|| Line { name: name.into(), colour, points, marks: Vec::new(), sparse: true })
    };
    let named = [("fio:default", BLUE), ("fio:registered", SKY), ("fio:matched", PURPLE), ("fio:tuned", INK)];
    named.into_iter().filter_map(line).collect()
}

impl Line {
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, x: &Axis, y: &Axis, shift: i32) -> Drawn<DB> {
        let pixels: Vec<(i32, i32)> = self.points.iter().map(|(px, py)| (x.place(*px), y.place(*py))).collect();
        for mark in &self.marks {
            let place = x.place(mark.x) + shift;
            for round in &mark.rounds {
                area.draw(&Circle::new((place, y.place(*round)), 2, self.colour.mix(0.35).filled()))?;
            }
            if let Some(b) = mark.level.and_then(|l| l.bounds) {
                area.draw(&PathElement::new(vec![(place, y.place(b.lo)), (place, y.place(b.hi))], self.colour.stroke_width(4)))?;
            }
        }
        if self.sparse {
            for (px, py) in &pixels {
                area.draw(&Rectangle::new([(px - 4, py - 4), (px + 4, py + 4)], self.colour.filled()))?;
            }
        }
        area.draw(&PathElement::new(pixels, self.colour.stroke_width(if self.sparse { 1 } else { 2 })))
    }
}

impl Chart for Latency {
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &self.title, &self.subtitle, &self.foot)?;
        let most = self.lines.iter().flat_map(|l| &l.points).map(|p| p.0).fold(nines(0.9), f64::max);
        let x = Axis::linear((0.0, most * 1.02), (PANEL.left, PANEL.right));
        let shown = self.lines.iter().flat_map(|l| {
            let rounds = l.marks.iter().flat_map(|m| m.rounds.iter().copied());
            l.points.iter().map(|p| p.1).chain(rounds)
        });
        let Some(y) = Axis::over_decades(shown, (PANEL.bottom, PANEL.top)) else { return Ok(()) };
        y.draw_rows(area, PANEL, y.ticks())?;
        let percents = [(0.0, "0 %")].into_iter().chain(MARKED).map(|(quantile, name)| (nines(quantile), name.to_string()));
        x.draw_columns(area, PANEL, percents.filter(|(place, _)| *place <= most * 1.02).collect())?;
        let middle = (PANEL.left + PANEL.right) / 2;
        let axis = "share of requests that were at least as fast";
        area.draw(&Text::new(axis, (middle, PANEL.bottom + 36), at(text(13, &INK), HPos::Center)))?;
        area.draw(&Text::new("Latency, \u{b5}s: lower is better", (20, PANEL.top - 22), bold(14)))?;
        for (i, line) in self.lines.iter().enumerate() {
            // Beside each other, or the bar of one would hide that of the other.
            line.draw(area, &x, &y, [-4, 4][i % 2])?;
        }
        let keys: Vec<Key<'_>> = self.lines.iter().map(|l| Key { name: &l.name, colour: l.colour, square: l.sparse }).collect();
        legend(area, &keys, (20, 90))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_too_few_requests_lie_beyond() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        (1..=5000).for_each(|v| histogram.record(v * 1000).unwrap());
        let points = curve(&histogram, 5.0);
        assert!((points.last().unwrap().0 - 3.0).abs() < 0.021, "5 of 5000 lie beyond 99.9 %");
        let nearest = |x: f64| points.iter().min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs())).unwrap().1;
        assert!((nearest(nines(0.9)) / 4500.0 - 1.0).abs() < 0.01);
        assert!(points.windows(2).all(|w| w[0].1 <= w[1].1));
        assert!((curve(&histogram, CENSORED).last().unwrap().0 - 2.0).abs() < 1e-6);
    }
}
