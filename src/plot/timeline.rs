//! The timeline: throughput from the start of a round to its end, whether it warms up or drifts.

use super::axis::{Axis, Frame};
use super::legend::{Key, legend};
use super::style::{Area, BLUE, Chart, Drawn, GREEN, INK, ORANGE, at, bold, frame, text};
use crate::analysis::Model;
use crate::analysis::effect::CellEffects;
use crate::analysis::load::{Arm, OURS, Trial};
use crate::analysis::signed_rank::{median, quantile};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::collections::{BTreeMap, BTreeSet};

const WIDTH: u32 = 1200;
const LEFT: i32 = 90;
const RIGHT: i32 = 1170;
const TOP: i32 = 132;
const PANEL: i32 = 270;
const BETWEEN: i32 = 62;
const HEIGHT: u32 = 840;

const CEILING: &str = "NOP on the same ring";

/// More parts of a round than this are narrower than noise.
const MOST_PARTS: usize = 40;

/// Part of the round's length that has passed, in percent, and operations a second, slice by slice. Not seconds: slow rounds last longer, and
/// at late seconds they would be alone.
type Path = Vec<(f64, f64)>;

/// Quartiles over rounds in the part of the round around `x`.
struct Part {
    x: f64,
    quartiles: [f64; 3],
}

struct Line {
    name: &'static str,
    colour: RGBColor,
    rounds: Vec<Path>,
    parts: Vec<Part>,
    /// The same, each round over its own mean.
    relative: Vec<Part>,
}

/// The chart of one cell.
pub struct Timeline {
    title: String,
    subtitle: String,
    foot: String,
    axis: String,
    lines: Vec<Line>,
}

impl Timeline {
    /// Baseline, full and the ceiling in slices or alone; why not, where a round has no course.
    pub fn new(model: &Model, cell: &CellEffects) -> Result<Timeline, String> {
        let ours = |a: &&Arm| a.cell == cell.cell && a.outcome == "completed" && OURS.contains(&a.kind.as_str());
        let rounds: BTreeSet<u32> = model.data.arms.iter().filter(ours).map(|a| a.round).collect();
        let trials: Vec<&Trial> = model.data.trials.iter().filter(|t| rounds.contains(&t.round)).collect();
        let line = |(treatment, name, colour): (&str, &'static str, RGBColor)| {
            let number = model.data.treatments.iter().position(|t| t == treatment)?;
            Line::of(name, colour, paths(&trials, number))
        };
        let named = [("baseline", "baseline", ORANGE), ("full", "full", GREEN), ("ceiling", CEILING, BLUE)];
        let lines: Vec<Line> = named.into_iter().filter_map(line).collect();
        if lines.iter().all(|l| l.name == CEILING) {
            return Err("no round has two slices of baseline or full".into());
        }
        let seconds = median(&lengths(&trials).into_values().collect::<Vec<_>>()).unwrap_or_default();
        Ok(Timeline {
            title: format!("Throughput within rounds: {}", cell.cell),
            subtitle: format!(
                "{}, {} rounds; thin: rounds; thick with band: median and quartiles over rounds of the slices in a part of the round",
                model.target(),
                rounds.len()
            ),
            foot: model.provenance(),
            axis: format!("share of the round that has passed, % (the slices of a round last {seconds:.2} s in the median)"),
            lines,
        })
    }
}

/// How long the slices of each round take.
fn lengths(trials: &[&Trial]) -> BTreeMap<u32, f64> {
    let mut lengths = BTreeMap::new();
    trials.iter().for_each(|t| *lengths.entry(t.round).or_default() += t.duration_s);
    lengths
}

/// The slices of a treatment, round by round; other arms' slices pass between them. `trials` are in order.
fn paths(trials: &[&Trial], treatment: usize) -> Vec<Path> {
    let mut rounds: BTreeMap<u32, (f64, Path)> = BTreeMap::new();
    for trial in trials {
        let (since, path) = rounds.entry(trial.round).or_default();
        if trial.treatment == treatment && trial.duration_s > 0.0 && trial.ops > 0.0 {
            path.push((*since + trial.duration_s / 2.0, trial.ops / trial.duration_s));
        }
        *since += trial.duration_s;
    }
    let percent = |(length, path): (f64, Path)| path.into_iter().map(|(x, rate)| (x / length * 100.0, rate)).collect();
    rounds.into_values().filter(|(_, path)| path.len() >= 2).map(percent).collect()
}

/// Quartiles over all rounds in parts of equal length.
fn parts(rounds: &[Path]) -> Vec<Part> {
    let mut lengths: Vec<usize> = rounds.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    let Some(slices) = lengths.get(lengths.len() / 2) else { return Vec::new() };
    let width = 100.0 / (*slices).clamp(2, MOST_PARTS) as f64;
    let mut bins: BTreeMap<u64, Path> = BTreeMap::new();
    for point in rounds.iter().flatten() {
        bins.entry(((point.0 / width).ceil() as u64).saturating_sub(1)).or_default().push(*point);
    }
    let part = |slices: &Path| {
        let at = |part: f64, of: fn(&(f64, f64)) -> f64| quantile(&slices.iter().map(of).collect::<Vec<_>>(), part);
        let quartiles = [at(0.25, |p| p.1)?, at(0.5, |p| p.1)?, at(0.75, |p| p.1)?];
        // Quartiles of fewer say nothing.
        (slices.len() >= 4).then_some(Part { x: at(0.5, |p| p.0)?, quartiles })
    };
    bins.values().filter_map(part).collect()
}

fn relative(path: &Path) -> Path {
    let mean = path.iter().map(|p| p.1).sum::<f64>() / path.len() as f64;
    path.iter().map(|(x, rate)| (*x, rate / mean)).collect()
}

impl Line {
    fn of(name: &'static str, colour: RGBColor, rounds: Vec<Path>) -> Option<Line> {
        let (all, own) = (parts(&rounds), parts(&rounds.iter().map(relative).collect::<Vec<_>>()));
        (all.len() >= 2).then_some(Line { name, colour, rounds, parts: all, relative: own })
    }

    fn band<DB: DrawingBackend>(&self, area: &Area<DB>, parts: &[Part], x: &Axis, y: &Axis, unit: f64) -> Drawn<DB> {
        let edge = |i: usize| parts.iter().map(move |p| (x.place(p.x), y.place(p.quartiles[i] / unit)));
        let outline: Vec<(i32, i32)> = edge(0).chain(edge(2).rev()).collect();
        area.draw(&Polygon::new(outline, self.colour.mix(0.2).filled()))
    }

    fn middle<DB: DrawingBackend>(&self, area: &Area<DB>, parts: &[Part], x: &Axis, y: &Axis, unit: f64) -> Drawn<DB> {
        let places: Vec<(i32, i32)> = parts.iter().map(|p| (x.place(p.x), y.place(p.quartiles[1] / unit))).collect();
        places.iter().try_for_each(|place| area.draw(&Circle::new(*place, 3, self.colour.filled())))?;
        area.draw(&PathElement::new(places, self.colour.stroke_width(3)))
    }
}

impl Timeline {
    /// What each round did.
    fn absolute<DB: DrawingBackend>(&self, area: &Area<DB>, x: &Axis, frame: Frame) -> Drawn<DB> {
        let unit = 1e3;
        let shown = self.lines.iter().flat_map(|l| l.rounds.iter().flatten()).map(|p| p.1 / unit);
        let Some(y) = Axis::over_decades(shown, (frame.bottom, frame.top)) else { return Ok(()) };
        y.draw_rows(area, frame, y.ticks())?;
        for line in &self.lines {
            for round in &line.rounds {
                let path: Vec<(i32, i32)> = round.iter().map(|(px, rate)| (x.place(*px), y.place(rate / unit))).collect();
                area.draw(&PathElement::new(path, line.colour.mix(0.25).stroke_width(1)))?;
            }
        }
        self.lines.iter().try_for_each(|line| line.band(area, &line.parts, x, &y, unit))?;
        self.lines.iter().try_for_each(|line| line.middle(area, &line.parts, x, &y, unit))
    }

    /// How a round's course differs from its own mean: what rounds differ by among themselves is out of the way.
    fn course<DB: DrawingBackend>(&self, area: &Area<DB>, x: &Axis, frame: Frame) -> Drawn<DB> {
        // The ceiling's own course would hide theirs.
        let ours: Vec<&Line> = self.lines.iter().filter(|l| l.name != CEILING).collect();
        let quartiles = ours.iter().flat_map(|l| l.relative.iter().flat_map(|p| p.quartiles));
        let Some(y) = Axis::over(quartiles.chain([1.0]), (frame.bottom, frame.top)) else { return Ok(()) };
        y.draw_rows(area, frame, y.ticks())?;
        area.draw(&PathElement::new(vec![(frame.left, y.place(1.0)), (frame.right, y.place(1.0))], INK))?;
        ours.iter().try_for_each(|line| line.band(area, &line.relative, x, &y, 1.0))?;
        ours.iter().try_for_each(|line| line.middle(area, &line.relative, x, &y, 1.0))
    }
}

impl Chart for Timeline {
    fn size(&self) -> (u32, u32) {
        (WIDTH, HEIGHT)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &self.title, &self.subtitle, &self.foot)?;
        let x = Axis::linear((0.0, 100.0), (LEFT, RIGHT));
        let panel = |top: i32| Frame { left: LEFT, right: RIGHT, top, bottom: top + PANEL };
        let (above, below) = (panel(TOP), panel(TOP + PANEL + BETWEEN));
        for (frame, title) in [(above, "Throughput, thousand IOPS"), (below, "Throughput over the round's own mean")] {
            area.draw(&Text::new(title, (20, frame.top - 20), bold(14)))?;
            x.draw_columns(area, frame, x.ticks())?;
        }
        self.absolute(area, &x, above)?;
        self.course(area, &x, below)?;
        area.draw(&Text::new(self.axis.clone(), ((LEFT + RIGHT) / 2, below.bottom + 36), at(text(13, &INK), HPos::Center)))?;
        let keys: Vec<Key<'_>> = self.lines.iter().map(|l| Key { name: l.name, colour: l.colour, square: false }).collect();
        legend(area, &keys, (360, TOP - 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_while_other_arms_run() {
        let trial = |round, treatment, position, duration_s| Trial {
            round,
            treatment,
            block: 0,
            position,
            duration_s,
            ops: 10.0,
            cpu_total_ns: None,
        };
        let trials = [trial(1, 0, 0, 2.0), trial(1, 1, 1, 4.0), trial(1, 0, 2, 2.0), trial(2, 0, 0, 1.0)];
        let found = paths(&trials.iter().collect::<Vec<_>>(), 0);
        assert_eq!(found, [vec![(12.5, 5.0), (87.5, 5.0)]], "a single slice is no course");
    }

    #[test]
    fn parts_tell_the_quartiles_of_their_slices() {
        let rounds: Vec<Path> = (0..5).map(|r| vec![(25.0, f64::from(r)), (75.0, f64::from(r) + 10.0)]).collect();
        let found = parts(&rounds);
        let told: Vec<_> = found.iter().map(|p| (p.x, p.quartiles)).collect();
        assert_eq!(told, [(25.0, [1.0, 2.0, 3.0]), (75.0, [11.0, 12.0, 13.0])]);
    }
}
