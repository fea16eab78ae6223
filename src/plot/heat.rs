//! What heat maps share: a colour scale that parts at 1, squares with what is written in them, and the bar that explains the colours.

use super::axis::{Axis, ticks};
use super::style::{Area, BLUE, Drawn, GREY, INK, LIGHT, ORANGE, at, bold, text};
use crate::analysis::contrast::Metric;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// From ratios to colours: white at 1, blue towards better, orange towards worse, even in logarithms.
#[derive(Clone, Copy, Debug)]
pub struct Diverging {
    /// The log ratio with the full colour.
    reach: f64,
    better: f64,
}

impl Diverging {
    /// As far as the farthest of these, and at least as far as `least` (a fraction), so that noise stays pale.
    pub fn new(ratios: impl Iterator<Item = f64>, metric: Metric, least: f64) -> Diverging {
        let reach = ratios.map(|r| r.ln().abs()).filter(|r| r.is_finite()).fold(least.ln_1p(), f64::max);
        Diverging { reach, better: metric.sign() }
    }

    pub fn colour(&self, ratio: f64) -> RGBColor {
        let share = (ratio.ln() * self.better / self.reach).clamp(-1.0, 1.0);
        mixed(if share > 0.0 { BLUE } else { ORANGE }, share.abs())
    }

    /// The scale as a bar of this width whose top left corner is at `place`, with ticks below it.
    pub fn bar<DB: DrawingBackend>(&self, area: &Area<DB>, (left, top): (i32, i32), width: i32) -> Drawn<DB> {
        let ends = ((-self.reach).exp(), self.reach.exp());
        let x = Axis::log(ends, (left, left + width));
        for pixel in 0..width {
            let ratio = (self.reach * (2.0 * f64::from(pixel) / f64::from(width) - 1.0)).exp();
            let strip = [(left + pixel, top), (left + pixel + 1, top + BAR)];
            area.draw(&Rectangle::new(strip, self.colour(ratio).filled()))?;
        }
        area.draw(&Rectangle::new([(left, top), (left + width, top + BAR)], GREY))?;
        for (tick, label) in ticks(ends.0, ends.1, f64::from(width) / 50.0) {
            area.draw(&PathElement::new(vec![(x.place(tick), top + BAR), (x.place(tick), top + BAR + 4)], GREY))?;
            area.draw(&Text::new(label, (x.place(tick), top + BAR + 11), at(text(11, &INK), HPos::Center)))?;
        }
        let (low, high) = if self.better > 0.0 { ("worse", "better") } else { ("better", "worse") };
        area.draw(&Text::new(low, (left - 6, top + BAR / 2), at(text(12, &GREY), HPos::Right)))?;
        area.draw(&Text::new(high, (left + width + 6, top + BAR / 2), text(12, &GREY)))
    }
}

/// So much of a colour, the rest white.
fn mixed(RGBColor(red, green, blue): RGBColor, share: f64) -> RGBColor {
    let mix = |end: u8| (255.0 + (f64::from(end) - 255.0) * share).round() as u8;
    RGBColor(mix(red), mix(green), mix(blue))
}

/// What is left of the colour of a square where nothing was shown: enough to see a tendency, little enough to read grey on it.
const FADED: f64 = 0.4;

/// Height of the bar of colours.
const BAR: i32 = 14;

/// A square with a ratio on its first line and what is said of it on its second; grey and faded where nothing was shown.
pub struct Square {
    pub fill: RGBColor,
    pub first: String,
    pub second: String,
    pub shown: bool,
}

impl Square {
    pub fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, corner: (i32, i32), size: (i32, i32)) -> Drawn<DB> {
        let (left, top) = corner;
        let (right, bottom) = (left + size.0, top + size.1);
        let fill = if self.shown { self.fill } else { mixed(self.fill, FADED) };
        area.draw(&Rectangle::new([(left + 1, top + 1), (right - 1, bottom - 1)], fill.filled()))?;
        area.draw(&Rectangle::new([(left + 1, top + 1), (right - 1, bottom - 1)], LIGHT))?;
        let ink = match (self.shown, is_dark(fill)) {
            (false, _) => &GREY,
            (true, true) => &WHITE,
            (true, false) => &INK,
        };
        let first = if self.shown { bold(14).color(ink) } else { text(14, ink) };
        let (x, y) = ((left + right) / 2, (top + bottom) / 2);
        area.draw(&Text::new(self.first.clone(), (x, y - 9), at(first, HPos::Center)))?;
        area.draw(&Text::new(self.second.clone(), (x, y + 9), at(text(11, ink), HPos::Center)))
    }
}

/// A square of which nothing is known, with the reason in a word.
pub fn blank<DB: DrawingBackend>(area: &Area<DB>, corner: (i32, i32), size: (i32, i32), word: &str) -> Drawn<DB> {
    let (left, top) = corner;
    let (right, bottom) = (left + size.0, top + size.1);
    area.draw(&Rectangle::new([(left + 1, top + 1), (right - 1, bottom - 1)], LIGHT))?;
    let place = ((left + right) / 2, (top + bottom) / 2);
    area.draw(&Text::new(word.to_string(), place, at(text(12, &GREY), HPos::Center)))
}

/// True where white text reads better than black.
fn is_dark(RGBColor(red, green, blue): RGBColor) -> bool {
    0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue) < 140.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_white_at_one_and_full_at_its_reach() {
        let scale = Diverging::new([0.9, 2.0].into_iter(), Metric::Iops, 0.02);
        assert_eq!([1.0, 2.0, 0.5, 9.0].map(|r| scale.colour(r)), [WHITE, BLUE, ORANGE, BLUE]);
        let cost = Diverging::new([0.9, 2.0].into_iter(), Metric::CpuPerOp, 0.02);
        assert_eq!([0.5, 2.0].map(|r| cost.colour(r)), [BLUE, ORANGE], "less CPU is better");
        let quiet = Diverging::new([1.001].into_iter(), Metric::Iops, 0.1);
        let RGBColor(red, ..) = quiet.colour(1.001);
        assert!(red > 250, "what lies far inside the margin stays pale");
        assert!(is_dark(BLUE) && is_dark(ORANGE) && !is_dark(WHITE) && !is_dark(scale.colour(1.2)));
    }
}
