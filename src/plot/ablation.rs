//! The ablation chart: for each toggle its effect with all others on and with all others off, in throughput and in CPU per operation.

use super::axis::{Axis, Frame, better_side, ticks};
use super::style::{Area, BAND, BLUE, Chart, Drawn, GREY, INK, LIGHT, ORANGE, at, bold, doubtful, evidence, frame, text};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::level::Kept;
use crate::analysis::load::Arm;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: u32 = 1200;
const ROW: i32 = 52;
const TOP: i32 = 132;
const BOTTOM: i32 = 118;
const LABELS: i32 = 190;
const GAP: i32 = 40;

/// The chart of one cell.
pub struct Ablation<'a> {
    cell: &'a CellEffects,
    toggles: Vec<&'a str>,
    /// Of the run, whether they count or not.
    arms: &'a [Arm],
    delta: f64,
    subtitle: String,
    foot: String,
}

impl<'a> Ablation<'a> {
    /// The toggles of a cell, in the order in which its effects name them; why not, where none was compared.
    pub fn new(model: &'a Model, cell: &'a CellEffects) -> Result<Ablation<'a>, String> {
        let toggles = cell.toggles();
        if toggles.is_empty() {
            return Err("no leave-one-out or add-one-in arm completed".into());
        }
        let bound = if cell.bound_by_target() { "; not bound by the loop: CPU per operation is what counts" } else { "" };
        let rounds = cell.effects.first().map_or(0, |e| e.n_rounds);
        let subtitle = format!(
            "{}, {rounds} rounds; dots are rounds, bars {:.0} % intervals{bound}",
            model.target(),
            model.settings.confidence() * 100.0
        );
        Ok(Ablation { cell, toggles, arms: &model.data.arms, delta: model.settings.delta, subtitle, foot: model.provenance() })
    }

    fn effects(&self, metric: Metric) -> impl Iterator<Item = (usize, bool, &Effect)> {
        self.toggles.iter().enumerate().flat_map(move |(row, toggle)| {
            let kinds = [("leave-one-out", true), ("add-one-in", false)];
            kinds.into_iter().filter_map(move |(kind, loo)| Some((row, loo, self.cell.find(kind, toggle, metric)?)))
        })
    }

    /// The range of ratios a panel shows: every round, every interval and the margin, with air.
    fn range(&self, metric: Metric) -> (f64, f64) {
        let shown = self
            .effects(metric)
            .flat_map(|(_, _, e)| e.rounds.iter().map(|r| r.1).chain(e.bounds.into_iter().flat_map(|b| [b.lo, b.hi])));
        let start = (1.0 - self.delta, 1.0 + self.delta);
        let (lo, hi) = shown.fold(start, |(lo, hi), ratio| (lo.min(ratio), hi.max(ratio)));
        let air = (hi - lo) * 0.08;
        (lo - air, hi + air)
    }

    fn panel<DB: DrawingBackend>(&self, area: &Area<DB>, metric: Metric, left: i32, width: i32) -> Drawn<DB> {
        let (lo, hi) = self.range(metric);
        let axis = Axis::linear((lo, hi), (left, left + width));
        let x = |ratio: f64| axis.place(ratio);
        let bottom = TOP + ROW * self.toggles.len() as i32;
        area.draw(&Rectangle::new([(x(1.0 - self.delta), TOP), (x(1.0 + self.delta), bottom)], BAND.filled()))?;
        axis.draw_columns(area, Frame { left, right: left + width, top: TOP, bottom }, ticks(lo, hi, 7.0))?;
        area.draw(&PathElement::new(vec![(x(1.0), TOP), (x(1.0), bottom)], INK))?;
        let (title, better) = (metric.title(), better_side(metric));
        area.draw(&Text::new(format!("{title}: {better}"), (left, TOP - 16), bold(14)))?;
        let name = "ratio: with the toggle / without it";
        area.draw(&Text::new(name, (left + width / 2, bottom + 36), at(text(13, &INK), HPos::Center)))?;
        for (row, loo, effect) in self.effects(metric) {
            let y = TOP + ROW * row as i32 + if loo { 17 } else { 35 };
            let few = Kept::of_effect(self.arms, &self.cell.cell, effect).mark();
            mark(area, effect, few, (loo, y), &x)?;
        }
        Ok(())
    }
}

/// One effect: rounds as faint dots, the interval as a bar, the estimate as a circle or square, as a cross where few rounds count.
fn mark<DB: DrawingBackend>(
    area: &Area<DB>,
    effect: &Effect,
    few: Option<String>,
    (loo, y): (bool, i32),
    x: &dyn Fn(f64) -> i32,
) -> Drawn<DB> {
    let colour = if loo { BLUE } else { ORANGE };
    let bounds = effect.bounds.map(|b| (b.lo, b.hi));
    evidence(area, effect.rounds.iter().map(|r| r.1), bounds, colour, &|ratio| (x(ratio), y))?;
    let centre = x(effect.ratio);
    if let Some(words) = few {
        return doubtful(area, (centre, y), &words, colour);
    }
    if loo {
        area.draw(&Circle::new((centre, y), 5, colour.filled()))
    } else {
        area.draw(&Rectangle::new([(centre - 4, y - 4), (centre + 4, y + 4)], colour.filled()))
    }
}

impl Chart for Ablation<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH, (TOP + ROW * self.toggles.len() as i32 + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let title = format!("What each toggle is worth: {}", self.cell.cell);
        frame(area, &title, &self.subtitle, &self.foot)?;
        for (row, toggle) in self.toggles.iter().enumerate() {
            let top = TOP + ROW * row as i32;
            area.draw(&PathElement::new(vec![(20, top), (WIDTH as i32 - 20, top)], LIGHT))?;
            area.draw(&Text::new((*toggle).to_string(), (20, top + ROW / 2), text(15, &INK)))?;
        }
        let width = (WIDTH as i32 - LABELS - GAP - 40) / 2;
        self.panel(area, Metric::Iops, LABELS, width)?;
        self.panel(area, Metric::CpuPerOp, LABELS + width + GAP, width)?;
        let y = 86;
        area.draw(&Circle::new((LABELS + 6, y), 5, BLUE.filled()))?;
        area.draw(&Text::new("leave-one-out: all others on", (LABELS + 18, y), text(13, &INK)))?;
        area.draw(&Rectangle::new([(LABELS + 252, y - 4), (LABELS + 260, y + 4)], ORANGE.filled()))?;
        area.draw(&Text::new("add-one-in: all others off", (LABELS + 268, y), text(13, &INK)))?;
        area.draw(&Rectangle::new([(LABELS + 490, y - 6), (LABELS + 510, y + 6)], BAND.filled()))?;
        let margin = format!("within \u{b1}{} %: negligible", self.delta * 100.0);
        area.draw(&Text::new(margin, (LABELS + 518, y), text(13, &GREY)))
    }
}
