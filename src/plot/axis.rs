//! Axes of charts: from a figure to its pixel, where ticks stand, labels that keep their distance.

use super::style::{Area, Drawn, INK, LIGHT, at, text};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// Labels of lines keep this distance.
pub const LINE_PITCH: i32 = 17;

/// Figures that span more than this (a decade and a half) are shown on a logarithmic axis.
const LOGARITHMIC: f64 = 31.6;

/// A panel's frame in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub left: i32,
    pub right: i32,
    pub top: i32,
    pub bottom: i32,
}

/// An axis from `lo` at pixel `from` to `hi` at pixel `to`.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    lo: f64,
    hi: f64,
    from: i32,
    to: i32,
    logarithmic: bool,
}

impl Axis {
    /// An axis exactly from `lo` to `hi`.
    pub fn exact((lo, hi): (f64, f64), from: i32, to: i32) -> Axis {
        Axis { lo, hi: if hi > lo { hi } else { lo + 1.0 }, from, to, logarithmic: false }
    }

    /// An axis with air that shows all of `values`; `None` of none.
    pub fn over(values: impl IntoIterator<Item = f64>, from: i32, to: i32) -> Option<Axis> {
        let (lo, hi) = range(values)?;
        let air = if hi > lo { (hi - lo) * 0.08 } else { (hi.abs() * 0.05).max(1e-9) };
        Some(Axis { lo: lo - air, hi: hi + air, from, to, logarithmic: false })
    }

    /// As [`Axis::over`], logarithmic where the figures, which are positive, span more than a decade and a half.
    pub fn over_decades(values: impl IntoIterator<Item = f64> + Clone, from: i32, to: i32) -> Option<Axis> {
        let (lo, hi) = range(values.clone())?;
        if lo <= 0.0 || hi / lo <= LOGARITHMIC {
            return Axis::over(values, from, to)
                .map(|axis| Axis { lo: if lo >= 0.0 { axis.lo.max(0.0) } else { axis.lo }, ..axis });
        }
        Some(Axis { lo: lo / 1.2, hi: hi * 1.2, from, to, logarithmic: true })
    }

    /// The pixel of a figure.
    pub fn place(&self, value: f64) -> i32 {
        let scale = |v: f64| if self.logarithmic { v.max(self.lo).ln() } else { v };
        let part = (scale(value) - scale(self.lo)) / (scale(self.hi) - scale(self.lo));
        self.from + (part * f64::from(self.to - self.from)).round() as i32
    }

    /// Round figures with their texts.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        if self.logarithmic {
            return self.decades().into_iter().map(|t| (t, if t < 1.0 { format!("{t}") } else { format!("{t:.0}") })).collect();
        }
        let step = step((self.hi - self.lo) / 6.0);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let (first, last) = ((self.lo / step).ceil() as i64, (self.hi / step).floor() as i64);
        (first..=last).map(|i| i as f64 * step).map(|t| (t, format!("{t:.decimals$}"))).collect()
    }

    /// 1, 2 and 5 of each decade, or 1 alone where that would be many.
    fn decades(&self) -> Vec<f64> {
        let decades = self.lo.log10().floor() as i32..=self.hi.log10().ceil() as i32;
        let parts: &[f64] = if self.hi / self.lo > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|d| parts.iter().map(move |p| p * 10_f64.powi(d)));
        all.filter(|t| (self.lo..=self.hi).contains(t)).collect()
    }

    /// Grid lines across a panel with the figures to its left.
    pub fn draw_rows<DB: DrawingBackend>(&self, area: &Area<DB>, frame: Frame) -> Drawn<DB> {
        for (tick, label) in self.ticks() {
            let y = self.place(tick);
            area.draw(&PathElement::new(vec![(frame.left, y), (frame.right, y)], LIGHT))?;
            area.draw(&Text::new(label, (frame.left - 8, y), at(text(12, &INK), HPos::Right)))?;
        }
        Ok(())
    }

    /// Grid lines down a panel with the figures below it.
    pub fn draw_columns<DB: DrawingBackend>(&self, area: &Area<DB>, frame: Frame) -> Drawn<DB> {
        for (tick, label) in self.ticks() {
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

/// The smallest of 1, 2 and 5 of a decade that is not below `least`.
fn step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|s| s * decade).find(|s| *s >= least).unwrap_or(10.0 * decade)
}

/// What a colour stands for.
pub struct Key<'a> {
    pub name: &'a str,
    pub colour: RGBColor,
    /// A square in place of a dot.
    pub square: bool,
}

/// Keys in a row from a place on, in further rows where one is full.
pub fn legend<DB: DrawingBackend>(area: &Area<DB>, keys: &[Key<'_>], (left, top): (i32, i32)) -> Drawn<DB> {
    let end = area.dim_in_pixel().0 as i32 - 10;
    let (mut x, mut y) = (left, top);
    for key in keys {
        let width = 36 + 15 * key.name.chars().count() as i32 / 2;
        if x + width > end && x > left {
            (x, y) = (left, y + LINE_PITCH);
        }
        if key.square {
            area.draw(&Rectangle::new([(x, y - 4), (x + 8, y + 4)], key.colour.filled()))?;
        } else {
            area.draw(&Circle::new((x + 4, y), 5, key.colour.filled()))?;
        }
        area.draw(&Text::new(key.name.to_string(), (x + 14, y), text(13, &INK)))?;
        x += width;
    }
    Ok(())
}

/// Moves places apart until labels no longer overlap, keeping their order.
pub fn spread(places: &[i32], bottom: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|i| places[*i]);
    let mut moved = places.to_vec();
    for pair in order.windows(2) {
        moved[pair[1]] = moved[pair[1]].max(moved[pair[0]] + LINE_PITCH);
    }
    let excess = order.last().map_or(0, |i| (moved[*i] - bottom).max(0));
    moved.iter().map(|m| m - excess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_distance_and_their_order() {
        let moved = spread(&[100, 102, 101, 300], 310);
        assert!(moved[0] < moved[2] && moved[2] < moved[1] && moved[1] < moved[3]);
        let mut sorted = moved.clone();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|w| w[1] - w[0] >= LINE_PITCH), "{moved:?}");
        assert!(spread(&[300, 301], 305).iter().all(|m| *m <= 305));
    }

    #[test]
    fn ticks_are_round_and_on_the_axis() {
        let axis = Axis::over([0.91, 1.08], 0, 100).unwrap();
        let texts: Vec<String> = axis.ticks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["0.90", "0.95", "1.00", "1.05"]);
        let wide = Axis::over_decades([3.0, 900.0], 100, 0).unwrap();
        assert_eq!(wide.ticks().first().unwrap().1, "5");
        assert!(wide.place(3.0) > wide.place(900.0) && wide.place(900.0) >= 0);
        assert!(Axis::over([f64::NAN], 0, 1).is_none());
    }
}
