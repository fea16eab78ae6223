//! Axes of charts: from a figure to its pixel, round ticks, grid lines with their labels.

use super::style::{Area, Drawn, INK, LIGHT, at, text};
use crate::analysis::contrast::Metric;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// Figures that span more than this (a decade and a half) are shown on a logarithmic axis.
const LOGARITHMIC: f64 = 31.6;

/// An axis is divided into so many steps at most.
const STEPS: f64 = 6.0;

/// On a logarithmic axis that spans more than this, powers of ten alone have ticks.
const WIDEST: f64 = 1e4;

/// A round figure with its text.
pub type Tick = (f64, String);

/// Round numbers from `lo` to `hi` with their text, in at most so many steps; none of an empty range.
pub fn ticks(lo: f64, hi: f64, most: f64) -> Vec<Tick> {
    if !(hi > lo && (hi - lo).is_finite()) {
        return Vec::new();
    }
    let least = (hi - lo) / most;
    let power = least.log10().floor() as i32;
    let steps = [(1.0, power), (2.0, power), (5.0, power), (1.0, power + 1)];
    let size = |(times, power): (f64, i32)| times * 10_f64.powi(power);
    let (times, power) = steps.into_iter().find(|s| size(*s) >= least).unwrap_or((1.0, power + 1));
    let (step, decimals) = (size((times, power)), (-power).max(0) as usize);
    // Ends that are ticks themselves are so despite rounding.
    let (first, last) = ((lo / step - 1e-9).ceil() as i64, (hi / step + 1e-9).floor() as i64);
    // Where a step is too small to be a number there are none.
    if !step.is_normal() || (last - first) as f64 > most * 10.0 {
        return Vec::new();
    }
    (first..=last).map(|i| i as f64 * step).map(|tick| (tick, format!("{tick:.decimals$}"))).collect()
}

/// Ones, twos and fives of each power of ten from `lo` to `hi`; the ones alone where `hi` is more than `widest` times `lo`.
pub fn log_ticks(lo: f64, hi: f64, widest: f64) -> Vec<Tick> {
    if !(lo > 0.0 && hi >= lo && hi.is_finite()) {
        return Vec::new();
    }
    let (first, last) = (lo.log10().floor() as i32, hi.log10().ceil() as i32);
    let times: &[f64] = if hi / lo > widest { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let of = |power: i32| {
        let decimals = (-power).max(0) as usize;
        times.iter().map(move |t| t * 10_f64.powi(power)).map(move |tick| (tick, format!("{tick:.decimals$}")))
    };
    (first..=last).flat_map(of).filter(|(tick, _)| (lo..=hi).contains(tick)).collect()
}

/// Where ratios of a metric are good, on a horizontal axis.
pub fn better_side(metric: Metric) -> &'static str {
    if metric.sign() > 0.0 { "right is better" } else { "left is better" }
}

/// A panel's frame in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub left: i32,
    pub right: i32,
    pub top: i32,
    pub bottom: i32,
}

/// A map from a range of figures to a range of pixels.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    figures: (f64, f64),
    pixels: (i32, i32),
    log: bool,
}

impl Axis {
    pub fn linear(figures: (f64, f64), pixels: (i32, i32)) -> Axis {
        Axis { figures, pixels, log: false }
    }

    /// Of figures above 0.
    pub fn log(figures: (f64, f64), pixels: (i32, i32)) -> Axis {
        Axis { figures, pixels, log: true }
    }

    /// An axis with air that shows all of `values`; `None` of none.
    pub fn over(values: impl IntoIterator<Item = f64>, pixels: (i32, i32)) -> Option<Axis> {
        let (lo, hi) = range(values)?;
        let air = if hi > lo { (hi - lo) * 0.08 } else { (hi.abs() * 0.05).max(1e-9) };
        Some(Axis::linear((lo - air, hi + air), pixels))
    }

    /// As [`Axis::over`], logarithmic where the figures, which are positive, span more than a decade and a half.
    pub fn over_decades(values: impl IntoIterator<Item = f64> + Clone, pixels: (i32, i32)) -> Option<Axis> {
        let (lo, hi) = range(values.clone())?;
        if lo > 0.0 && hi / lo > LOGARITHMIC {
            return Some(Axis::log((lo / 1.2, hi * 1.2), pixels));
        }
        let Axis { figures: (from, to), .. } = Axis::over(values, pixels)?;
        Some(Axis::linear((if lo >= 0.0 { from.max(0.0) } else { from }, to), pixels))
    }

    /// The pixel of a figure; of a range of one figure the middle.
    pub fn place(&self, figure: f64) -> i32 {
        let scale = |v: f64| if self.log { v.max(self.figures.0).ln() } else { v };
        let (lo, hi) = (scale(self.figures.0), scale(self.figures.1));
        let share = if hi == lo { 0.5 } else { (scale(figure) - lo) / (hi - lo) };
        self.pixels.0 + (share * f64::from(self.pixels.1 - self.pixels.0)).round() as i32
    }

    /// The ticks that suit most panels.
    pub fn ticks(&self) -> Vec<Tick> {
        let (lo, hi) = self.figures;
        if self.log { log_ticks(lo, hi, WIDEST) } else { ticks(lo, hi, STEPS) }
    }

    /// Grid lines across a panel with the figures to its left.
    pub fn draw_rows<DB: DrawingBackend>(&self, area: &Area<DB>, frame: Frame, ticks: Vec<Tick>) -> Drawn<DB> {
        for (tick, label) in ticks {
            let y = self.place(tick);
            area.draw(&PathElement::new(vec![(frame.left, y), (frame.right, y)], LIGHT))?;
            area.draw(&Text::new(label, (frame.left - 8, y), at(text(12, &INK), HPos::Right)))?;
        }
        Ok(())
    }

    /// Grid lines down a panel with the figures below it.
    pub fn draw_columns<DB: DrawingBackend>(&self, area: &Area<DB>, frame: Frame, ticks: Vec<Tick>) -> Drawn<DB> {
        for (tick, label) in ticks {
            let x = self.place(tick);
            area.draw(&PathElement::new(vec![(x, frame.top), (x, frame.bottom)], LIGHT))?;
            area.draw(&Text::new(label, (x, frame.bottom + 14), at(text(12, &INK), HPos::Center)))?;
        }
        Ok(())
    }
}

fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let (lo, hi) = values.into_iter().filter(|v| v.is_finite()).fold(start, |(lo, hi), v| (lo.min(v), hi.max(v)));
    (lo <= hi).then_some((lo, hi))
}

/// What a range of ratios or times needs so that nothing touches its frame: so much of its length on either side, in logarithms.
pub fn log_air((lo, hi): (f64, f64), share: f64) -> (f64, f64) {
    let air = (hi / lo).powf(share);
    (lo / air, hi * air)
}

/// The figure that throughput is shown by at a block size, its unit, and the name of that.
pub fn throughput(block_bytes: Option<f64>) -> (&'static str, f64, &'static str) {
    let large = block_bytes.is_some_and(|b| b >= 65_536.0);
    if large { ("bandwidth_bytes_per_s", 1e9, "GB/s") } else { ("iops", 1e3, "thousand IOPS") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: Vec<Tick>) -> Vec<String> {
        ticks.into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(texts(ticks(0.93, 1.11, 7.0)), ["0.95", "1.00", "1.05", "1.10"]);
        assert_eq!(texts(ticks(0.0, 7446.0, 8.0)), ["0", "1000", "2000", "3000", "4000", "5000", "6000", "7000"]);
        assert_eq!(texts(ticks(-0.4, 0.6, 5.0)), ["-0.4", "-0.2", "0.0", "0.2", "0.4", "0.6"]);
        assert!(ticks(1.0, 1.0, 5.0).is_empty() && ticks(0.0, f64::NAN, 5.0).is_empty());
        assert!(ticks(0.0, 1e-320, 5.0).is_empty(), "steps below the least number");
        assert_eq!(texts(log_ticks(0.09, 6.0, 1e3)), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(texts(log_ticks(1.0, 2000.0, 1e3)), ["1", "10", "100", "1000"]);
        assert!(log_ticks(0.0, 1.0, 1e3).is_empty());
    }

    #[test]
    fn axes_map_their_ends_to_their_pixels() {
        let depth = Axis::log((1.0, 16.0), (100, 500));
        assert_eq!([1.0, 2.0, 4.0, 16.0].map(|d| depth.place(d)), [100, 200, 300, 500]);
        assert_eq!(Axis::linear((0.0, 2.0), (300, 100)).place(0.5), 250);
        assert_eq!(Axis::linear((4.0, 4.0), (0, 10)).place(4.0), 5);
    }

    #[test]
    fn ticks_stand_on_their_axis() {
        let axis = Axis::over([0.91, 1.08], (0, 100)).unwrap();
        assert_eq!(texts(axis.ticks()), ["0.90", "0.95", "1.00", "1.05"]);
        let wide = Axis::over_decades([3.0, 900.0], (100, 0)).unwrap();
        assert_eq!(wide.ticks().first().unwrap().1, "5");
        assert!(wide.place(3.0) > wide.place(900.0) && wide.place(900.0) >= 0);
        assert!(Axis::over([f64::NAN], (0, 1)).is_none());
    }
}
