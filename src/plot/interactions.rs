//! The interactions chart: for each pair of toggles how much one changes the other's worth, as a map.

use super::heat::{Diverging, Square, blank};
use super::layout::{lines, width_of};
use super::style::{Area, Chart, Drawn, INK, at, bold, frame, text};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::verdict::Verdict;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: i32 = 1200;
const TOP: i32 = 96;
const LEFT: i32 = 190;
const HEIGHT: i32 = 58;
/// A square is as wide as its interval needs, and no wider than looks like a square.
const WIDEST: i32 = 190;
/// Below the names of the columns.
const BOTTOM: i32 = 70;
const LINE: i32 = 16;
const SCALE: i32 = 320;

/// The chart of one cell.
pub struct Interactions<'a> {
    cell: &'a CellEffects,
    toggles: Vec<&'a str>,
    scale: Diverging,
    subtitle: String,
    foot: String,
}

impl<'a> Interactions<'a> {
    /// Of the metric that verdicts are drawn from; why not, where no pair was taken apart.
    pub fn new(model: &Model, cell: &'a CellEffects) -> Result<Interactions<'a>, String> {
        let toggles = toggles(cell.effects.iter().filter(|e| e.contrast.kind == "main").map(|e| e.contrast.toggle.as_str()));
        let pairs: Vec<&Effect> = cell.effects.iter().filter(|e| of_pair(e, cell.primary)).collect();
        if pairs.is_empty() {
            return Err("pairs of toggles are told apart by a factorial or a fraction alone".into());
        }
        let metric = cell.primary.title();
        let subtitle = format!(
            "{metric}, {} rounds: root of the ratio of ratios; 1: independent, better: together worth more than apart, worse: each replaces some \
             of the other. Brackets: {:.0} % intervals; grey and faded: no interaction shown, or one within the margin",
            pairs[0].n_rounds,
            model.settings.confidence() * 100.0
        );
        let scale = Diverging::new(pairs.iter().map(|e| e.ratio), cell.primary, 5.0 * model.settings.delta);
        Ok(Interactions { cell, toggles, scale, subtitle, foot: model.provenance() })
    }

    /// Why nothing is known of a pair: its estimate is that of something else, too.
    fn word(&self, pair: &str) -> &'static str {
        if self.cell.aliases.iter().any(|(name, _)| name == pair) { "aliased" } else { "-" }
    }

    fn width(&self) -> i32 {
        ((WIDTH - LEFT - 20) / (self.toggles.len() as i32 - 1).max(1)).min(WIDEST)
    }

    /// The names of the columns, in lines.
    fn columns(&self) -> impl Iterator<Item = Vec<String>> {
        let room = self.width() - 4;
        self.toggles.iter().take(self.toggles.len().saturating_sub(1)).map(move |toggle| lines(toggle, 13, room))
    }

    /// Where the squares end.
    fn bottom(&self) -> i32 {
        TOP + HEIGHT * (self.toggles.len() as i32 - 1).max(1)
    }

    fn square<DB: DrawingBackend>(&self, area: &Area<DB>, (column, row): (usize, usize), corner: (i32, i32)) -> Drawn<DB> {
        let pair = format!("{} x {}", self.toggles[column], self.toggles[row]);
        let size = (self.width(), HEIGHT);
        let Some(effect) = self.cell.effects.iter().find(|e| of_pair(e, self.cell.primary) && e.contrast.toggle == pair) else {
            return blank(area, corner, size, self.word(&pair));
        };
        let square = Square {
            fill: self.scale.colour(effect.ratio),
            first: format!("{:.3}", effect.ratio),
            second: effect.bounds.map_or_else(|| "few rounds".into(), |b| format!("[{:.3}, {:.3}]", b.lo, b.hi)),
            shown: matches!(effect.verdict, Verdict::Improved | Verdict::Regressed),
        };
        square.draw(area, corner, size)
    }
}

fn of_pair(effect: &Effect, metric: Metric) -> bool {
    effect.contrast.kind == "interaction" && effect.metric == metric
}

/// Each name once, in order of appearance.
fn toggles<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.fold(Vec::new(), |mut found, name| {
        if !found.contains(&name) {
            found.push(name);
        }
        found
    })
}

impl Chart for Interactions<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (self.bottom() + LINE * self.columns().map(|name| name.len() as i32).max().unwrap_or(0) + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &format!("Which toggles change each other's worth: {}", self.cell.cell), &self.subtitle, &self.foot)?;
        let width = self.width();
        for row in 1..self.toggles.len() {
            let y = TOP + HEIGHT * (row as i32 - 1);
            area.draw(&Text::new(self.toggles[row].to_string(), (LEFT - 10, y + HEIGHT / 2), at(text(14, &INK), HPos::Right)))?;
            for column in 0..row {
                self.square(area, (column, row), (LEFT + width * column as i32, y))?;
            }
        }
        for (column, name) in (0..).zip(self.columns()) {
            for (line, part) in (0..).zip(name) {
                let place = (LEFT + width * column + width / 2, self.bottom() + 14 + LINE * line);
                area.draw(&Text::new(part, place, at(text(13, &INK), HPos::Center)))?;
            }
        }
        // The upper right half is free: every pair stands once.
        let (x, y) = (WIDTH - SCALE - 80, TOP + 24);
        let title = "each changes the other's worth by a factor of";
        area.draw(&Text::new(title, (x + SCALE / 2 - width_of(title, 13) / 2, y - 14), bold(13)))?;
        self.scale.bar(area, (x, y), SCALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toggles_stand_once_in_their_order() {
        assert_eq!(toggles(["b", "a", "b"].into_iter()), ["b", "a"]);
    }
}
