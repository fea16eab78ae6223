//! Drift: what full and baseline did in each round of the run, and their ratio. Levels wander with the machine; ratios should do so less.

use super::axis::{Axis, Frame};
use super::legend::{Key, legend};
use super::style::{Area, BLUE, Chart, Drawn, GREEN, INK, ORANGE, PURPLE, at, bold, frame, text};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::CellEffects;
use crate::analysis::level::{Level, Series, level, series};
use crate::analysis::load::OURS;
use crate::analysis::signed_rank::{Interval, sd};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: u32 = 1200;
const LEFT: i32 = 90;
const RIGHT: i32 = 1170;
const TOP: i32 = 136;
const PANEL: i32 = 190;
const BETWEEN: i32 = 66;
const HEIGHT: u32 = 940;

/// One figure in each round, by the round's number, with its level.
struct Line {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(u32, f64)>,
    level: Option<Level>,
}

struct Panel {
    title: String,
    lines: Vec<Line>,
    /// What the lines are to be compared with.
    zero: Option<f64>,
}

/// The chart of one cell.
pub struct Drift {
    title: String,
    subtitle: String,
    foot: String,
    panels: [Panel; 3],
}

impl Drift {
    /// The rounds of a cell; why not, where they are too few.
    pub fn new(model: &Model, cell: &CellEffects) -> Result<Drift, String> {
        let levels = Metric::ALL.map(|metric| levels(model, cell, metric));
        let ratios = ratios(cell);
        if ratios.lines.iter().all(|l| l.points.len() < 2) {
            return Err("fewer than two rounds have both baseline and full".into());
        }
        let [iops, cpu] = levels;
        Ok(Drift {
            title: format!("Round by round, levels and ratio: {}", cell.cell),
            subtitle: format!(
                "{}; dots are rounds in the order in which they ran, bands {:.0} % intervals over rounds; SD: how far rounds lie apart",
                model.target(),
                model.settings.confidence() * 100.0
            ),
            foot: model.provenance(),
            panels: [iops, cpu, ratios],
        })
    }
}

fn levels(model: &Model, cell: &CellEffects, metric: Metric) -> Panel {
    let (title, unit) = match metric {
        Metric::Iops => ("Throughput, thousand IOPS", 1e3),
        Metric::CpuPerOp => ("CPU time per operation, \u{b5}s", 1e3),
    };
    let all = series(&model.data);
    let line = |(name, colour): (&'static str, RGBColor)| {
        let of = |s: &&Series<'_>| is_ours(s, cell, name);
        let points: Vec<(u32, f64)> =
            all.iter().filter(of).flat_map(|s| &s.rounds).filter_map(|s| Some((s.round, s.figure(metric)? / unit))).collect();
        let level = level(points.iter().map(|p| p.1), model.settings.confidence());
        Line { name, colour, points, level }
    };
    let lines: Vec<Line> = [("baseline", ORANGE), ("full", GREEN)].into_iter().map(line).collect();
    Panel { title: title.into(), lines, zero: None }
}

fn is_ours(series: &Series<'_>, cell: &CellEffects, name: &str) -> bool {
    series.cell == cell.cell && series.treatment == name && OURS.contains(&series.kind)
}

fn ratios(cell: &CellEffects) -> Panel {
    let line = |(metric, name, colour): (Metric, &'static str, RGBColor)| {
        let effect = cell.find("total", "", metric)?;
        let bounds = effect.bounds.map(|b| Interval { lo: b.lo, hi: b.hi, confidence: b.confidence });
        Some(Line { name, colour, points: effect.rounds.clone(), level: Some(Level { value: effect.ratio, bounds }) })
    };
    let named = [(Metric::Iops, "IOPS", BLUE), (Metric::CpuPerOp, "CPU per operation", PURPLE)];
    Panel { title: "Ratio full / baseline".into(), lines: named.into_iter().filter_map(line).collect(), zero: Some(1.0) }
}

impl Line {
    /// Name and how far rounds lie apart, of the level.
    fn told(&self) -> String {
        let logs: Vec<f64> = self.points.iter().map(|p| p.1.ln()).collect();
        sd(&logs).map_or_else(|| self.name.into(), |sd| format!("{}, SD {:.1} %", self.name, sd * 100.0))
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, x: &Axis, y: &Axis, frame: Frame) -> Drawn<DB> {
        if let Some(level) = &self.level {
            if let Some(b) = level.bounds {
                let corners = [(frame.left, y.place(b.hi)), (frame.right, y.place(b.lo))];
                area.draw(&Rectangle::new(corners, self.colour.mix(0.15).filled()))?;
            }
            let height = y.place(level.value);
            area.draw(&PathElement::new(vec![(frame.left, height), (frame.right, height)], self.colour.mix(0.6)))?;
        }
        let places: Vec<(i32, i32)> = self.points.iter().map(|(round, v)| (x.place(f64::from(*round)), y.place(*v))).collect();
        places.iter().try_for_each(|place| area.draw(&Circle::new(*place, 4, self.colour.filled())))?;
        area.draw(&PathElement::new(places, self.colour.stroke_width(2)))
    }
}

impl Panel {
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, x: &Axis, top: i32) -> Drawn<DB> {
        let frame = Frame { left: LEFT, right: RIGHT, top, bottom: top + PANEL };
        area.draw(&Text::new(self.title.clone(), (20, top - 20), bold(14)))?;
        let names: Vec<String> = self.lines.iter().map(Line::told).collect();
        let keys: Vec<Key<'_>> =
            self.lines.iter().zip(&names).map(|(l, name)| Key { name, colour: l.colour, square: false }).collect();
        legend(area, &keys, (360, top - 20))?;
        let shown = self.lines.iter().flat_map(|l| {
            let bounds = l.level.and_then(|level| level.bounds).into_iter().flat_map(|b| [b.lo, b.hi]);
            l.points.iter().map(|p| p.1).chain(bounds)
        });
        let Some(y) = Axis::over_decades(shown.chain(self.zero), (frame.bottom, frame.top)) else { return Ok(()) };
        x.draw_columns(area, frame, x.ticks())?;
        y.draw_rows(area, frame, y.ticks())?;
        if let Some(zero) = self.zero {
            area.draw(&PathElement::new(vec![(LEFT, y.place(zero)), (RIGHT, y.place(zero))], INK))?;
        }
        self.lines.iter().try_for_each(|line| line.draw(area, x, &y, frame))
    }
}

impl Chart for Drift {
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &self.title, &self.subtitle, &self.foot)?;
        let rounds = self.panels.iter().flat_map(|p| p.lines.iter().flat_map(|l| l.points.iter().map(|p| f64::from(p.0))));
        let Some(x) = Axis::over(rounds, (LEFT, RIGHT)) else { return Ok(()) };
        for (panel, top) in self.panels.iter().zip((0..).map(|i| TOP + i * (PANEL + BETWEEN))) {
            panel.draw(area, &x, top)?;
        }
        let bottom = TOP + 3 * PANEL + 2 * BETWEEN;
        let axis = "number of the round in the run";
        area.draw(&Text::new(axis, ((LEFT + RIGHT) / 2, bottom + 36), at(text(13, &INK), HPos::Center)))
    }
}
