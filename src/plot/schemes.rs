//! The chart of ways to compare identical programs: the interval that each gives from the same time, around the truth.

use super::axis::{Axis, Frame, ticks};
use super::style::{Area, BLUE, Chart, Drawn, GREY, INK, ORANGE, at, bold, frame, text};
use crate::selftest::scheme::{Finding, Scheme};
use crate::units;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::time::Duration;

const WIDTH: i32 = 1200;
const ROW: i32 = 44;
const TOP: i32 = 116;
const BOTTOM: i32 = 96;
const LEFT: i32 = 360;
const RIGHT: i32 = 190;

/// The chart.
pub struct Schemes<'a> {
    found: &'a [Finding],
    subtitle: String,
    foot: String,
}

impl<'a> Schemes<'a> {
    /// Of schemes that had this time each; `foot` says where and how.
    pub fn new(found: &'a [Finding], time: Duration, foot: String) -> Schemes<'a> {
        let subtitle = format!(
            "Throughput of a program over that of itself, {} of each scheme: 95 % intervals over rounds or pairs; truth is 1. n: rounds or pairs.",
            units::duration_text(time)
        );
        Schemes { found, subtitle, foot }
    }

    /// As far as the widest interval reaches to either side of 1, with air.
    fn reach(&self) -> f64 {
        let ends = self.found.iter().flat_map(|f| [1.0 - f.lo, f.hi - 1.0]);
        ends.fold(0.01, f64::max) * 1.08
    }
}

impl Chart for Schemes<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (TOP + ROW * self.found.len().max(1) as i32 + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, "Why not just run it twice?", &self.subtitle, &self.foot)?;
        if self.found.is_empty() {
            return area.draw(&Text::new("No scheme could be measured here.", (20, TOP), text(16, &INK)));
        }
        let (reach, right) = (self.reach(), WIDTH - RIGHT);
        let bottom = TOP + ROW * self.found.len() as i32;
        let (lo, hi) = (1.0 - reach, 1.0 + reach);
        let axis = Axis::linear((lo, hi), (LEFT, right));
        let x = |ratio: f64| axis.place(ratio);
        // All to as many decimals, whatever the step.
        let ticks = ticks(lo, hi, 10.0).into_iter().map(|(tick, _)| (tick, format!("{tick:.3}"))).collect();
        axis.draw_columns(area, Frame { left: LEFT, right, top: TOP, bottom }, ticks)?;
        area.draw(&PathElement::new(vec![(x(1.0), TOP), (x(1.0), bottom)], INK))?;
        area.draw(&Text::new("ratio of throughputs", ((LEFT + right) / 2, bottom + 34), at(text(13, &INK), HPos::Center)))?;
        area.draw(&Text::new("half-width", (right + 20, TOP - 14), bold(13)))?;
        for (row, f) in (0..).zip(self.found) {
            let y = TOP + ROW * row + ROW / 2;
            // Ours in blue, what one would do with fio in orange.
            let colour = if matches!(f.scheme, Scheme::FioInTurn(_) | Scheme::FioSliced) { ORANGE } else { BLUE };
            area.draw(&Text::new(f.scheme.name(), (20, y), text(14, &INK)))?;
            area.draw(&PathElement::new(vec![(x(f.lo), y), (x(f.hi), y)], colour.stroke_width(5)))?;
            area.draw(&Circle::new((x(f.ratio), y), 5, colour.filled()))?;
            area.draw(&Text::new(format!("\u{b1}{:.2} %", f.half_width() * 100.0), (right + 20, y), bold(14)))?;
            area.draw(&Text::new(format!("n = {}", f.n), (right + 106, y), text(12, &GREY)))?;
        }
        Ok(())
    }
}
