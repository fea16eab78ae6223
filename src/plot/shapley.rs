//! The Shapley chart: how much of the way from baseline to full each toggle contributes, averaged over all orders.

use super::axis::{Axis, Frame, better_side, log_air, ticks};
use super::style::{Area, BLUE, Chart, Drawn, GREEN, GREY, INK, at, bold, evidence, frame, text};
use crate::analysis::Model;
use crate::analysis::effect::{CellEffects, Effect};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: i32 = 1200;
const ROW: i32 = 50;
const TOP: i32 = 120;
const BOTTOM: i32 = 106;
const LEFT: i32 = 210;
const RIGHT: i32 = 870;
/// The texts stand from here.
const FACTORS: i32 = 896;
const SHARES: i32 = 1180;

/// The chart of one cell.
pub struct Shapley<'a> {
    title: String,
    subtitle: String,
    foot: String,
    /// The largest first.
    toggles: Vec<&'a Effect>,
    total: Option<&'a Effect>,
}

impl<'a> Shapley<'a> {
    /// Of the metric that verdicts are drawn from; why not, where not every combination was measured.
    pub fn new(model: &Model, cell: &'a CellEffects) -> Result<Shapley<'a>, String> {
        let of = |kind: &'static str| cell.effects.iter().filter(move |e| e.contrast.kind == kind && e.metric == cell.primary);
        let mut toggles: Vec<&Effect> = of("shapley").collect();
        if toggles.is_empty() {
            return Err("shares of the whole need every combination of the toggles".into());
        }
        let sign = cell.primary.sign();
        toggles.sort_by(|a, b| (b.ratio.ln() * sign).total_cmp(&(a.ratio.ln() * sign)));
        let (metric, better) = (cell.primary.title(), better_side(cell.primary));
        let subtitle = format!(
            "{metric}, {} rounds: {better}. Each toggle's factor averaged over all orders of switching them on (Shapley); these multiply to the \
             whole. Lines: {:.0} % intervals over rounds; dots: rounds",
            toggles[0].n_rounds,
            model.settings.confidence() * 100.0
        );
        let title = format!("What each toggle contributes to full / baseline: {}", cell.cell);
        Ok(Shapley { title, subtitle, foot: model.provenance(), toggles, total: of("total").next() })
    }

    fn effects(&self) -> impl Iterator<Item = &'a Effect> {
        self.toggles.iter().copied().chain(self.total)
    }

    /// The ratios that the axis shows, 1 among them.
    fn range(&self) -> (f64, f64) {
        let shown = self.effects().flat_map(|e| {
            let bounds = e.bounds.into_iter().flat_map(|b| [b.lo, b.hi]);
            e.rounds.iter().map(|r| r.1).chain(bounds).chain([e.ratio]).collect::<Vec<_>>()
        });
        log_air(shown.fold((1.0, 1.0), |(lo, hi), ratio| (lo.min(ratio), hi.max(ratio))), 0.04)
    }

    /// The log of the whole; `None` where it is not known to be other than 0, so that shares of it would mean nothing.
    fn whole(&self) -> Option<f64> {
        let bounds = self.total?.bounds?;
        (bounds.lo > 1.0 || bounds.hi < 1.0).then(|| self.toggles.iter().map(|e| e.ratio.ln()).sum())
    }

    fn row<DB: DrawingBackend>(&self, area: &Area<DB>, effect: &Effect, y: i32, x: Axis) -> Drawn<DB> {
        let whole = effect.contrast.kind == "total";
        let (name, colour) = if whole { ("all together", GREEN) } else { (effect.contrast.toggle.as_str(), BLUE) };
        let label = if whole { bold(14) } else { text(14, &INK) };
        area.draw(&Text::new(name.to_string(), (20, y), label))?;
        let ends = (x.place(1.0).min(x.place(effect.ratio)), x.place(1.0).max(x.place(effect.ratio)));
        area.draw(&Rectangle::new([(ends.0, y - 12), (ends.1, y + 12)], colour.mix(0.25).filled()))?;
        let bounds = effect.bounds.map(|b| (b.lo, b.hi));
        evidence(area, effect.rounds.iter().map(|r| r.1), bounds, colour, &|ratio| (x.place(ratio), y))?;
        area.draw(&Circle::new((x.place(effect.ratio), y), 5, colour.filled()))?;
        let interval = effect.bounds.map_or_else(|| "too few rounds".into(), |b| format!("[{:.3}, {:.3}]", b.lo, b.hi));
        area.draw(&Text::new(format!("{:.3}", effect.ratio), (FACTORS, y), bold(14)))?;
        area.draw(&Text::new(interval, (FACTORS + 62, y), text(13, &GREY)))?;
        match self.whole() {
            Some(_) if whole => area.draw(&Text::new("100 %", (SHARES, y), at(bold(14), HPos::Right))),
            Some(log) => {
                let share = format!("{:.0} %", effect.ratio.ln() / log * 100.0 + 0.0);
                area.draw(&Text::new(share, (SHARES, y), at(bold(14), HPos::Right)))
            }
            None => Ok(()),
        }
    }
}

impl Chart for Shapley<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (TOP + ROW * self.effects().count() as i32 + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &self.title, &self.subtitle, &self.foot)?;
        let (lo, hi) = self.range();
        let x = Axis::log((lo, hi), (LEFT, RIGHT));
        let bottom = TOP + ROW * self.effects().count() as i32;
        x.draw_columns(area, Frame { left: LEFT, right: RIGHT, top: TOP, bottom }, ticks(lo, hi, 8.0))?;
        area.draw(&PathElement::new(vec![(x.place(1.0), TOP), (x.place(1.0), bottom)], INK))?;
        let axis = "factor: with the toggle / without it, on a logarithmic axis";
        area.draw(&Text::new(axis, ((LEFT + RIGHT) / 2, bottom + 36), at(text(13, &INK), HPos::Center)))?;
        area.draw(&Text::new("factor", (FACTORS, TOP - 14), bold(13)))?;
        if self.whole().is_some() {
            area.draw(&Text::new("share of the whole", (SHARES, TOP - 14), at(bold(13), HPos::Right)))?;
        }
        for (i, effect) in (0..).zip(self.effects()) {
            if effect.contrast.kind == "total" {
                let y = TOP + ROW * i;
                area.draw(&PathElement::new(vec![(20, y), (WIDTH - 20, y)], GREY))?;
            }
            self.row(area, effect, TOP + ROW * i + ROW / 2, x)?;
        }
        Ok(())
    }
}
