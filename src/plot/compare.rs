//! The comparison chart: what each toggle is worth in each of several runs, in throughput and in CPU per operation.

use super::axis::{Axis, Frame, better_side, ticks};
use super::layout::{LINE_PITCH, flow, lines, width_of};
use super::legend::mark;
use super::style::{AMBER, Area, BAND, BLUE, Chart, Drawn, GREEN, GREY, INK, LIGHT, ORANGE, PURPLE, SKY, at, bold, frame, text};
use crate::analysis::compare::{CellComparison, Comparison, Row};
use crate::analysis::contrast::{FAMILY, Metric};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: i32 = 1200;
/// The first row of the legend.
const LEGEND: i32 = 96;
/// From the last row of the legend to the panels, with their titles.
const HEAD: i32 = 56;
/// A run's part of a row, and what lies around them.
const PITCH: i32 = 15;
const AIR: i32 = 16;
const BOTTOM: i32 = 118;
const LABELS: i32 = 190;
const GAP: i32 = 40;

/// Colours of runs; their shapes go round at another rate.
const COLOURS: [RGBColor; 6] = [BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY];

/// Longer labels lose their beginning.
const LONGEST: usize = 120;

/// The chart of one cell.
pub struct Compare<'a> {
    cell: &'a str,
    /// Rows of either metric, by toggle.
    rows: [Vec<&'a Row<'a>>; 2],
    labels: Vec<String>,
    delta: f64,
    subtitle: String,
    foot: &'a str,
}

impl<'a> Compare<'a> {
    /// The toggles of a cell; why not, where no run compared one.
    pub fn new(comparison: &'a Comparison<'a>, cell: &'a CellComparison<'a>, foot: &'a str) -> Result<Compare<'a>, String> {
        let mut toggles: Vec<&str> = Vec::new();
        for row in cell.rows.iter().filter(|row| FAMILY.contains(&row.contrast.kind)) {
            if !toggles.contains(&row.contrast.toggle.as_str()) {
                toggles.push(&row.contrast.toggle);
            }
        }
        if toggles.is_empty() {
            return Err("no run has a leave-one-out, add-one-in or explicit arm that completed".into());
        }
        let of = |metric| {
            let is = |row: &&Row<'_>| row.metric == metric && FAMILY.contains(&row.contrast.kind);
            let mut rows: Vec<&Row<'_>> = cell.rows.iter().filter(is).collect();
            rows.sort_by_key(|row| toggles.iter().position(|t| *t == row.contrast.toggle));
            rows
        };
        let cut = |label: &&str| {
            let excess = label.chars().count().saturating_sub(LONGEST);
            if excess == 0 { label.to_string() } else { format!("...{}", label.chars().skip(excess).collect::<String>()) }
        };
        Ok(Compare {
            cell: cell.cell,
            rows: Metric::ALL.map(of),
            labels: comparison.labels.iter().map(cut).collect(),
            delta: comparison.settings.delta,
            subtitle: "marks are ratios with the toggle / without it, taken inside rounds of a run; bars their intervals over the rounds of that run"
                .into(),
            foot,
        })
    }

    /// Left ends and rows of the legend: the runs, then the margin.
    fn keys(&self) -> Vec<(i32, i32)> {
        let margin = self.margin();
        let widths: Vec<i32> = self.labels.iter().chain([&margin]).map(|label| 40 + width_of(label, 13)).collect();
        flow(&widths, 26, WIDTH - 10)
    }

    fn margin(&self) -> String {
        format!("within \u{b1}{} %: negligible", self.delta * 100.0)
    }

    fn top(&self) -> i32 {
        LEGEND + HEAD + LINE_PITCH * self.keys().last().map_or(0, |key| key.1)
    }

    /// A row has room for its runs and for its name.
    fn row(&self) -> i32 {
        let name = self.rows[0].iter().map(|row| name(row).len() as i32 + 1).max().unwrap_or(1);
        (PITCH * self.labels.len() as i32 + AIR).max(LINE_PITCH * name + AIR)
    }

    fn bottom(&self) -> i32 {
        self.top() + self.row() * self.rows[0].len() as i32
    }

    fn legend<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let margin = self.margin();
        for (i, (label, (x, row))) in self.labels.iter().chain([&margin]).zip(self.keys()).enumerate() {
            let y = LEGEND + LINE_PITCH * row;
            if i < self.labels.len() {
                mark(area, i, COLOURS[i % COLOURS.len()], (x, y))?;
            } else {
                area.draw(&Rectangle::new([(x - 8, y - 6), (x + 8, y + 6)], BAND.filled()))?;
            }
            area.draw(&Text::new(label.clone(), (x + 14, y), text(13, &INK)))?;
        }
        Ok(())
    }

    /// What stands to the left of the rows.
    fn names<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        for (i, row) in (0..).zip(&self.rows[0]) {
            let top = self.top() + self.row() * i;
            area.draw(&PathElement::new(vec![(20, top), (WIDTH - 20, top)], LIGHT))?;
            let company = match row.contrast.kind {
                "leave-one-out" => "others on",
                "add-one-in" => "others off",
                _ => "over baseline",
            };
            let name = name(row);
            let first = top + self.row() / 2 - LINE_PITCH * name.len() as i32 / 2;
            for (line, part) in (0..).zip(&name) {
                area.draw(&Text::new(part.clone(), (20, first + LINE_PITCH * line), text(13, &INK)))?;
            }
            area.draw(&Text::new(company, (20, first + LINE_PITCH * name.len() as i32), text(11, &GREY)))?;
        }
        Ok(())
    }

    fn panel<DB: DrawingBackend>(&self, area: &Area<DB>, metric: Metric, left: i32, width: i32) -> Drawn<DB> {
        let (top, bottom) = (self.top(), self.bottom());
        let rows = &self.rows[usize::from(metric != Metric::ALL[0])];
        let effects = rows.iter().flat_map(|row| row.sides.iter().filter_map(|s| s.effect));
        let shown = effects.flat_map(|e| [e.ratio].into_iter().chain(e.bounds.into_iter().flat_map(|b| [b.lo, b.hi])));
        let start = (1.0 - self.delta, 1.0 + self.delta);
        let (lo, hi) = shown.fold(start, |(lo, hi), ratio| (lo.min(ratio), hi.max(ratio)));
        let air = (hi - lo) * 0.05;
        let axis = Axis::linear((lo - air, hi + air), (left, left + width));
        let x = |ratio: f64| axis.place(ratio);
        area.draw(&Rectangle::new([(x(1.0 - self.delta), top), (x(1.0 + self.delta), bottom)], BAND.filled()))?;
        axis.draw_columns(area, Frame { left, right: left + width, top, bottom }, ticks(lo - air, hi + air, 7.0))?;
        area.draw(&PathElement::new(vec![(x(1.0), top), (x(1.0), bottom)], INK))?;
        area.draw(&Text::new(format!("{}: {}", metric.title(), better_side(metric)), (left, top - 16), bold(14)))?;
        let name = "ratio: with the toggle / without it";
        area.draw(&Text::new(name, (left + width / 2, bottom + 36), at(text(13, &INK), HPos::Center)))?;
        for (i, row) in (0..).zip(rows) {
            let first = top + self.row() * i + (self.row() - PITCH * (self.labels.len() as i32 - 1)) / 2;
            for (run, side) in row.sides.iter().enumerate() {
                let (y, colour) = (first + PITCH * run as i32, COLOURS[run % COLOURS.len()]);
                let Some(effect) = side.effect else {
                    // At the end that is far from the line at 1.
                    let end = if x(1.0) < left + width / 2 { (left + width - 4, HPos::Right) } else { (left + 4, HPos::Left) };
                    area.draw(&Text::new("not measured", (end.0, y), at(text(11, &GREY), end.1)))?;
                    continue;
                };
                if let Some(b) = effect.bounds {
                    area.draw(&PathElement::new(vec![(x(b.lo), y), (x(b.hi), y)], colour.stroke_width(3)))?;
                }
                mark(area, run, colour, (x(effect.ratio), y))?;
            }
        }
        Ok(())
    }
}

/// The name of a toggle in as many lines as it needs.
fn name(row: &Row<'_>) -> Vec<String> {
    lines(&row.contrast.toggle, 13, LABELS - 30)
}

impl Chart for Compare<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (self.bottom() + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &format!("What each toggle is worth in each run: {}", self.cell), &self.subtitle, self.foot)?;
        self.legend(area)?;
        self.names(area)?;
        let width = (WIDTH - LABELS - GAP - 40) / 2;
        self.panel(area, Metric::Iops, LABELS, width)?;
        self.panel(area, Metric::CpuPerOp, LABELS + width + GAP, width)
    }
}
