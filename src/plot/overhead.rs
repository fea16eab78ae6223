//! The overhead chart: what a request costs by cause, as one bar for baseline, for full and for full without each toggle.

use super::axis::{Axis, Frame, ticks};
use super::layout::{flow, width_of};
use super::style::{
    AMBER, Area, BLUE, Chart, Drawn, GREEN, GREY, INDIGO, INK, ORANGE, PURPLE, SKY, WINE, YELLOW, at, bold, evidence, frame, text,
};
use crate::analysis::Model;
use crate::analysis::effect::CellEffects;
use crate::analysis::overhead::{Change, Cost, changes, costs, ranked};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: i32 = 1200;
const ROW: i32 = 46;
const BAR: i32 = 26;
const TOP: i32 = 140;
const BOTTOM: i32 = 100;
const LEFT: i32 = 216;
/// The longest bar ends here; its total follows.
const BARS: i32 = 690;
/// What the toggle changes stands from here.
const CHANGES: i32 = 880;
const LEGEND_PITCH: i32 = 20;

/// In the order of causes by size, dark beside light. The rest is one cause.
const COLOURS: [RGBColor; 10] = [BLUE, AMBER, GREEN, PURPLE, SKY, ORANGE, INDIGO, YELLOW, WINE, RGBColor(85, 85, 85)];
const REST: RGBColor = RGBColor(200, 200, 200);

/// A cause that takes less than this share of the largest bar everywhere is part of the rest.
const SMALL: f64 = 0.02;

struct Bar<'a> {
    label: String,
    cost: Cost,
    /// The sum first.
    changes: Vec<&'a Change>,
}

/// The chart of one cell.
pub struct Overhead {
    title: String,
    subtitle: String,
    foot: String,
    causes: Vec<(String, RGBColor)>,
    rows: Vec<Row>,
}

/// A bar as it is drawn.
struct Row {
    label: String,
    /// Lengths in the order of the chart's causes.
    parts: Vec<f64>,
    rounds: Vec<f64>,
    bounds: Option<(f64, f64)>,
    /// What the toggle changes of the sum, and the cause that it changes most.
    change: Option<(String, String)>,
}

impl Overhead {
    /// From the rounds with a profile; why not, where there is none.
    pub fn new(model: &Model, cell: &CellEffects) -> Result<Overhead, String> {
        let alpha = model.settings.alpha;
        let (costs, changes) = (costs(&model.data, &cell.cell, alpha), changes(&model.data, &cell.cell, alpha));
        if costs.is_empty() {
            return Err("no round with a profile was completed".into());
        }
        let kind = if costs.iter().any(|c| c.treatment.starts_with("without:")) { "leave-one-out" } else { "add-one-in" };
        let bars = bars(costs, &changes, kind);
        if bars.len() < 2 {
            return Err("fewer than two of baseline, full and its toggles were profiled".into());
        }
        let causes = causes(&bars, &ranked(&model.data));
        let others = if kind == "leave-one-out" { "on" } else { "off" };
        Ok(Overhead {
            title: format!("Where the CPU time of a request goes: {}", cell.cell),
            subtitle: format!(
                "{}; means of {} rounds with a profile, of our own threads only; brackets: {:.0} % intervals over rounds, dots: rounds; right: \
                 what switching the toggle on changes with all others {others}, and the cause it moves most (of many: not adjusted)",
                model.target(),
                bars.iter().map(|b| b.cost.rounds.len()).max().unwrap_or(0),
                model.settings.confidence() * 100.0
            ),
            foot: model.provenance(),
            rows: bars.iter().map(|bar| bar.row(&causes)).collect(),
            causes,
        })
    }
}

/// Baseline, each toggle, full: those that were profiled.
fn bars<'a>(costs: Vec<Cost>, changes: &'a [Change], kind: &str) -> Vec<Bar<'a>> {
    let prefix = if kind == "leave-one-out" { "without" } else { "only" };
    let place = |treatment: &str| match treatment.split_once(':') {
        None if treatment == "baseline" => Some(0),
        Some((word, _)) if word == prefix || word == "with" && prefix == "without" => Some(1),
        None if treatment == "full" => Some(2),
        _ => None,
    };
    let bar = |cost: Cost| {
        let (kind, toggle) = cost.treatment.split_once(':').map_or(("total", ""), |(_, toggle)| (kind, toggle));
        let of = changes.iter().filter(|c| c.kind == kind && c.toggle == toggle && cost.treatment != "baseline").collect();
        Bar { label: cost.treatment.replacen(':', " ", 1), cost, changes: of }
    };
    let mut bars: Vec<(u32, Bar<'a>)> = costs.into_iter().filter_map(|cost| Some((place(&cost.treatment)?, bar(cost)))).collect();
    bars.sort_by_key(|(place, _)| *place);
    bars.into_iter().map(|(_, bar)| bar).collect()
}

/// The causes that have a colour of their own, and the rest where there is one. Ranks are the run's, so that a cause keeps its colour from
/// chart to chart.
fn causes(bars: &[Bar<'_>], ranked: &[&str]) -> Vec<(String, RGBColor)> {
    let largest = bars.iter().map(|b| b.cost.total()).fold(0.0, f64::max);
    let most = |name: &str| bars.iter().filter_map(|b| b.cost.causes.get(name)).copied().fold(0.0, f64::max);
    let named = ranked.iter().zip(COLOURS).filter(|(name, _)| most(name) >= SMALL * largest);
    let mut causes: Vec<(String, RGBColor)> = named.map(|(name, colour)| (name.to_string(), colour)).collect();
    if bars.iter().any(|b| b.cost.causes.keys().any(|name| !causes.iter().any(|(c, _)| c == name))) {
        causes.push(("other".into(), REST));
    }
    causes
}

impl Bar<'_> {
    fn row(&self, causes: &[(String, RGBColor)]) -> Row {
        let mut parts: Vec<f64> = causes.iter().map(|(name, _)| self.cost.causes.get(name).copied().unwrap_or(0.0)).collect();
        let named: f64 = parts.iter().sum();
        if let Some((rest, _)) = parts.last_mut().zip(causes.last().filter(|(name, _)| name == "other")) {
            *rest += self.cost.total() - named;
        }
        Row {
            label: self.label.clone(),
            parts,
            rounds: self.cost.rounds.clone(),
            bounds: self.cost.bounds.map(|b| (b.lo, b.hi)),
            change: self.change(),
        }
    }

    fn change(&self) -> Option<(String, String)> {
        let sum = self.changes.iter().find(|c| c.category.is_empty())?;
        let size = |c: &Change| c.difference.unwrap_or(0.0).abs();
        let moved = self.changes.iter().filter(|c| !c.category.is_empty() && c.moved());
        let most = moved.max_by(|a, b| size(a).total_cmp(&size(b)));
        let most = most.map_or_else(|| "no cause is shown to move".into(), |c| format!("{} {}", c.category, difference(c)));
        Some((difference(sum), if sum.bounds.is_some() { most } else { String::new() }))
    }
}

/// A difference with its interval, to tenths where they are not lost in it.
fn difference(change: &Change) -> String {
    let Some(point) = change.difference else { return String::new() };
    let decimals = if point.abs() < 100.0 { 1 } else { 0 };
    match change.bounds {
        Some(b) => format!("{point:+.decimals$} [{:+.decimals$}, {:+.decimals$}] ns", b.lo, b.hi),
        None => format!("{point:+.decimals$} ns [too few rounds]"),
    }
}

impl Overhead {
    fn legend<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        for ((name, colour), (x, row)) in self.causes.iter().zip(self.places()) {
            let y = 90 + LEGEND_PITCH * row;
            area.draw(&Rectangle::new([(x, y - 6), (x + 12, y + 6)], colour.filled()))?;
            area.draw(&Text::new(name.clone(), (x + 17, y), text(13, &INK)))?;
        }
        Ok(())
    }

    fn places(&self) -> Vec<(i32, i32)> {
        flow(&self.causes.iter().map(|(name, _)| width_of(name, 13) + 30).collect::<Vec<_>>(), 20, WIDTH - 20)
    }

    /// Where the first bar's row begins.
    fn top(&self) -> i32 {
        TOP + LEGEND_PITCH * self.places().last().map_or(0, |(_, row)| *row)
    }

    /// From bars to pixels: the longest ends in time for its total.
    fn x(&self) -> Axis {
        let ends = |row: &Row| row.rounds.iter().copied().chain(row.bounds.map(|b| b.1)).fold(row.parts.iter().sum(), f64::max);
        Axis::linear((0.0, self.rows.iter().map(ends).fold(0.0, f64::max)), (LEFT, BARS))
    }
}

impl Row {
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, top: i32, x: Axis, causes: &[(String, RGBColor)]) -> Drawn<DB> {
        let y = top + BAR / 2 + 3;
        area.draw(&Text::new(self.label.clone(), (20, y), text(14, &INK)))?;
        let (mut from, bar) = (0.0, (y - BAR / 2, y + BAR / 2));
        for (part, (_, colour)) in self.parts.iter().zip(causes) {
            let (left, right) = (x.place(from), x.place(from + part));
            area.draw(&Rectangle::new([(left, bar.0), (right, bar.1)], colour.filled()))?;
            area.draw(&PathElement::new(vec![(right, bar.0), (right, bar.1)], WHITE))?;
            let label = format!("{part:.0}");
            if right - left > width_of(&label, 11) + 6 {
                let dark = [BLUE, INDIGO, WINE, GREEN, ORANGE, COLOURS[9]].contains(colour);
                let style = text(11, if dark { &WHITE } else { &INK });
                area.draw(&Text::new(label, ((left + right) / 2, y), at(style, HPos::Center)))?;
            }
            from += part;
        }
        // Below the bar, where they hide nothing of it.
        evidence(area, self.rounds.iter().copied(), self.bounds, INK, &|ns| (x.place(ns), bar.1 + 7))?;
        let end = x.place(from);
        let mut total = format!("{from:.0}");
        if let Some((lo, hi)) = self.bounds {
            total += &format!(" [{lo:.0}, {hi:.0}]");
        }
        area.draw(&Text::new(total, (end + 8, y), bold(12)))?;
        if let Some((sum, most)) = &self.change {
            let shift = if most.is_empty() { 0 } else { 8 };
            area.draw(&Text::new(sum.clone(), (CHANGES, y - shift), bold(12)))?;
            area.draw(&Text::new(most.clone(), (CHANGES, y + shift), text(11, &GREY)))?;
        }
        Ok(())
    }
}

impl Chart for Overhead {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (self.top() + ROW * self.rows.len() as i32 + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &self.title, &self.subtitle, &self.foot)?;
        self.legend(area)?;
        let (top, x) = (self.top(), self.x());
        let bottom = top + ROW * self.rows.len() as i32;
        let longest = self.rows.iter().flat_map(|r| r.rounds.iter().copied().chain([r.parts.iter().sum()])).fold(0.0, f64::max);
        x.draw_columns(area, Frame { left: LEFT, right: BARS, top, bottom }, ticks(0.0, longest, 7.0))?;
        let axis = "nanoseconds of CPU time per request";
        area.draw(&Text::new(axis, ((LEFT + BARS) / 2, bottom + 36), at(text(13, &INK), HPos::Center)))?;
        area.draw(&Text::new("the toggle (of full: all of them) changes it by", (CHANGES, top - 10), bold(13)))?;
        // Under the bars, so that it hides nothing of them.
        if let Some(full) = self.rows.iter().find(|r| r.label == "full") {
            let end = x.place(full.parts.iter().sum());
            area.draw(&PathElement::new(vec![(end, top), (end, bottom)], GREY))?;
            area.draw(&Text::new("full", (end, top - 10), at(text(12, &GREY), HPos::Center)))?;
        }
        for (i, row) in (0..).zip(&self.rows) {
            row.draw(area, top + ROW * i, x, &self.causes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(treatment: &str, causes: &[(&str, f64)]) -> Cost {
        let causes = causes.iter().map(|(name, ns)| (name.to_string(), *ns)).collect();
        Cost { treatment: treatment.into(), causes, rounds: vec![], bounds: None }
    }

    #[test]
    fn small_causes_are_one_and_bars_keep_their_length() {
        let full = cost("full", &[("driver", 90.0), ("syscall", 1.0), ("clock_read", 1.5)]);
        let costs = vec![
            full,
            cost("without:a", &[("driver", 95.0), ("file_reference", 5.0)]),
            cost("only:a", &[]),
            cost("baseline", &[]),
        ];
        let bars = bars(costs, &[], "leave-one-out");
        assert_eq!(bars.iter().map(|b| b.label.as_str()).collect::<Vec<_>>(), ["baseline", "without a", "full"]);
        let causes = causes(&bars, &["driver", "syscall", "file_reference", "clock_read"]);
        let names: Vec<&str> = causes.iter().map(|c| c.0.as_str()).collect();
        assert_eq!(names, ["driver", "file_reference", "other"]);
        assert_eq!(causes[1].1, COLOURS[2], "the colour of its rank in the run");
        assert_eq!(bars[2].row(&causes).parts, [90.0, 0.0, 2.5]);
    }
}
