//! The depth chart: throughput and tail latency against queue depth, ours and fio's.

use super::axis::{Axis, Frame, log_air, log_ticks, throughput};
use super::layout::{flow, width_of};
use super::style::{
    AMBER, Area, BLUE, Chart, DOUBTFUL, Drawn, GREEN, INK, ORANGE, PURPLE, SKY, at, bold, doubtful, evidence, frame, text,
};
use crate::analysis::Model;
use crate::analysis::level::{Kept, Measured};
use crate::analysis::load::{Arm, OURS};
use crate::units::size_text;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::collections::{BTreeMap, BTreeSet};

const WIDTH: i32 = 1200;
const TOP: i32 = 112;
const BOTTOM: i32 = 56;
const LEFT: i32 = 90;
const GAP: i32 = 90;
const PANEL: i32 = 230;
/// Above a panel for its title, below it for its axis.
const ABOVE: i32 = 34;
const BELOW: i32 = 56;
const LEGEND_PITCH: i32 = 20;

/// Fewer depths than this are no curve.
const FEWEST: usize = 3;

/// What is drawn as one line: an arm in rounds of these kinds.
struct Series {
    name: String,
    treatment: String,
    kinds: &'static [&'static str],
    colour: RGBColor,
    hollow: bool,
}

struct Line {
    colour: RGBColor,
    hollow: bool,
    points: Vec<Point>,
}

struct Point {
    depth: u64,
    /// `None` where every round was lost.
    found: Option<Measured>,
    kept: Kept,
}

struct Panel {
    title: String,
    lines: Vec<Line>,
    depths: Vec<u64>,
    log: bool,
}

/// The chart of a run.
pub struct Depth {
    subtitle: String,
    foot: String,
    /// Names with colours and whether marks are hollow; none of the cross.
    legend: Vec<(String, Option<(RGBColor, bool)>)>,
    /// Throughput and latency of each workload.
    pairs: Vec<[Panel; 2]>,
}

/// Kind of access, block size, jobs.
type Group<'a> = (&'a str, u64, u64);

impl Depth {
    /// Of each workload that was measured at several depths; why not, where none was.
    pub fn new(model: &Model) -> Result<Depth, String> {
        let mut groups: BTreeMap<Group<'_>, Vec<&Arm>> = BTreeMap::new();
        for arm in &model.data.arms {
            if let (Some(block), Some(jobs), Some(_)) = (arm.block_size_bytes, arm.jobs, arm.queue_depth) {
                groups.entry((&arm.rw, block as u64, jobs as u64)).or_default().push(arm);
            }
        }
        groups.retain(|_, arms| depths(arms).len() >= FEWEST);
        let series = series(groups.values().flatten().copied().filter(completed));
        let confidence = model.settings.confidence();
        let pairs: Vec<[Panel; 2]> = groups.iter().map(|(group, arms)| pair(*group, arms, &series, confidence)).collect();
        if pairs.iter().flatten().all(|p| p.lines.is_empty()) {
            return Err(format!("no workload was measured at {FEWEST} queue depths or more"));
        }
        let paced = model.cells.iter().any(|cell| cell.paced);
        let due = if paced { " (at fixed rates from submission, which flatters it)" } else { "" };
        let mut legend: Vec<_> =
            series.iter().filter(|s| s.kinds != ["whole"]).map(|s| (s.name.clone(), Some((s.colour, s.hollow)))).collect();
        if pairs.iter().flatten().flat_map(|panel| &panel.lines).flat_map(|line| &line.points).any(|p| p.kept.mark().is_some()) {
            legend.push((DOUBTFUL.into(), None));
        }
        Ok(Depth {
            subtitle: format!(
                "{}; full and baseline (filled) from rounds of slices in one process; throughput of fio and of full beside it (hollow) as \
                 processes in turn, latency of fio from its whole runs{due}. Dots: rounds, bars: {:.0} % intervals over them",
                model.target(),
                confidence * 100.0
            ),
            foot: model.provenance(),
            legend,
            pairs,
        })
    }

    fn places(&self) -> Vec<(i32, i32)> {
        flow(&self.legend.iter().map(|(name, _)| width_of(name, 13) + 60).collect::<Vec<_>>(), 20, WIDTH - 20)
    }

    fn top(&self) -> i32 {
        TOP + LEGEND_PITCH * self.places().last().map_or(0, |(_, row)| *row)
    }
}

fn completed(arm: &&Arm) -> bool {
    arm.outcome == "completed"
}

fn depths(arms: &[&Arm]) -> BTreeSet<u64> {
    arms.iter().copied().filter(completed).filter_map(|a| a.queue_depth).map(|d| d as u64).collect()
}

/// The lines that these arms allow. Whole runs are those of fio that tell its latency; they share the colour of its throughput.
fn series<'a>(arms: impl Iterator<Item = &'a Arm>) -> Vec<Series> {
    let arms: BTreeSet<(&str, &str)> = arms.map(|a| (a.treatment.as_str(), a.kind.as_str())).collect();
    let new = |name: &str, treatment: &str, kinds, colour, hollow| Series {
        name: name.into(),
        treatment: treatment.into(),
        kinds,
        colour,
        hollow,
    };
    let mut found = vec![
        new("baseline", "baseline", &OURS, ORANGE, false),
        new("full", "full", &OURS, GREEN, false),
        new("full as a process", "full", &["peers"], GREEN, true),
    ];
    let fio: BTreeSet<&str> = arms.iter().map(|(treatment, _)| *treatment).filter(|t| t.starts_with("fio:")).collect();
    for (name, colour) in fio.into_iter().zip([BLUE, PURPLE, SKY, AMBER].into_iter().cycle()) {
        found.extend([&["peers"][..], &["whole"][..]].map(|kinds| new(name, name, kinds, colour, true)));
    }
    found.retain(|s| s.kinds.iter().any(|kind| arms.contains(&(s.treatment.as_str(), *kind))));
    found
}

fn pair((rw, block, jobs): Group<'_>, arms: &[&Arm], series: &[Series], confidence: f64) -> [Panel; 2] {
    let (name, unit, title) = throughput(Some(block as f64));
    let workload = format!("{rw} {}, {jobs} {}", size_text(block), if jobs == 1 { "job" } else { "jobs" });
    let panel = |title: String, figure: &'static str, unit: f64, skipped: &str, log: bool| {
        let line = |series: &Series| Line {
            colour: series.colour,
            hollow: series.hollow,
            points: points(arms, series, figure, unit, confidence),
        };
        let lines = series
            .iter()
            .filter(|s| s.kinds != [skipped])
            .map(line)
            .filter(|l| l.points.iter().any(|p| p.found.is_some()))
            .collect();
        let all = arms.iter().filter_map(|a| a.queue_depth).map(|d| d as u64).collect::<BTreeSet<_>>();
        Panel { title, lines, depths: all.into_iter().collect(), log }
    };
    [
        panel(format!("{workload}: throughput, {title}"), name, unit, "whole", false),
        panel(format!("{workload}: 99th percentile of latency, \u{b5}s"), "lat_ns_p99", 1e3, "peers", true),
    ]
}

/// A point for each depth at which the series was measured, whether a round of it counts or not.
fn points(arms: &[&Arm], series: &Series, figure: &str, unit: f64, confidence: f64) -> Vec<Point> {
    let of = |depth: u64| {
        let here = |a: &&Arm| {
            a.treatment == series.treatment && series.kinds.contains(&a.kind.as_str()) && a.queue_depth == Some(depth as f64)
        };
        let kept = Kept::of(arms.iter().copied().filter(here));
        let found = Measured::of(arms.iter().copied().filter(completed).filter(here), figure, unit, confidence);
        // What completed and lacks the figure has nothing to show, and lost nothing.
        (found.is_some() || (kept.valid == 0 && kept.all > 0)).then_some(Point { depth, found, kept })
    };
    let all: BTreeSet<u64> = arms.iter().filter_map(|a| a.queue_depth).map(|d| d as u64).collect();
    all.into_iter().filter_map(of).collect()
}

impl Panel {
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, (left, right): (i32, i32), top: i32) -> Drawn<DB> {
        let bottom = top + PANEL;
        area.draw(&Text::new(self.title.clone(), (left - 50, top - 18), bold(14)))?;
        let (Some(first), Some(last)) = (self.depths.first(), self.depths.last()) else { return Ok(()) };
        let x = Axis::log((*first as f64, *last as f64), (left + 30, right - 30));
        let frame = Frame { left, right, top, bottom };
        x.draw_columns(area, frame, self.depths.iter().map(|depth| (*depth as f64, depth.to_string())).collect())?;
        area.draw(&Text::new("queue depth", ((left + right) / 2, bottom + 32), at(text(12, &INK), HPos::Center)))?;
        if self.lines.is_empty() {
            return area.draw(&Text::new("not measured", (left + 20, (top + bottom) / 2), text(14, &INK)));
        }
        let (lo, hi) = self.range();
        let (y, ticks) = if self.log {
            // A low panel: three powers of ten are enough for powers alone.
            (Axis::log((lo, hi), (bottom, top)), log_ticks(lo, hi, 1e3))
        } else {
            let y = Axis::linear((lo, hi), (bottom, top));
            (y, y.ticks())
        };
        y.draw_rows(area, frame, ticks)?;
        area.draw(&PathElement::new(vec![(left, top), (left, bottom), (right, bottom)], INK))?;
        let middle = (self.lines.len() as i32 - 1) / 2;
        for (i, line) in (0..).zip(&self.lines) {
            // Side by side, so that intervals at one depth do not cover each other.
            // Where every round was lost there is no height: those marks stand above each other at the foot.
            let foot = bottom - 8 - 14 * i;
            let place = |depth: u64, value: Option<f64>| (x.place(depth as f64), value.map_or(foot, |value| y.place(value)));
            line.draw(area, (i - middle) * 7, &place)?;
        }
        Ok(())
    }

    /// What the panel shows: of throughput from 0, of latency on a logarithmic axis.
    fn range(&self) -> (f64, f64) {
        let levels = self.lines.iter().flat_map(|l| &l.points).filter_map(|point| Some(point.found.as_ref()?.reach()));
        let (lo, hi) = levels.fold((f64::INFINITY, 0.0), |(lo, hi), (low, high)| (f64::min(lo, low), f64::max(hi, high)));
        if self.log { log_air((lo, hi * 1.01), 0.06) } else { (0.0, hi * 1.06) }
    }
}

impl Line {
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, shift: i32, at: &dyn Fn(u64, Option<f64>) -> (i32, i32)) -> Drawn<DB> {
        let place = |depth: u64, value: Option<f64>| {
            let (x, y) = at(depth, value);
            (x + shift, y)
        };
        let level = |point: &Point| Some(point.found.as_ref()?.level.value);
        let path = self.points.iter().filter(|p| p.found.is_some()).map(|p| place(p.depth, level(p)));
        area.draw(&PathElement::new(path.collect::<Vec<_>>(), self.colour.mix(0.7).stroke_width(2)))?;
        for point in &self.points {
            if let Some(found) = &point.found {
                let bounds = found.level.bounds.map(|b| (b.lo, b.hi));
                evidence(area, found.rounds.iter().copied(), bounds, self.colour, &|value| place(point.depth, Some(value)))?;
            }
            let here = place(point.depth, level(point));
            match point.kept.mark() {
                Some(words) => doubtful(area, here, &words, self.colour)?,
                None => marker(area, here, self.colour, self.hollow)?,
            }
        }
        Ok(())
    }
}

fn marker<DB: DrawingBackend>(area: &Area<DB>, place: (i32, i32), colour: RGBColor, hollow: bool) -> Drawn<DB> {
    area.draw(&Circle::new(place, 5, colour.filled()))?;
    if hollow { area.draw(&Circle::new(place, 3, WHITE.filled())) } else { Ok(()) }
}

impl Chart for Depth {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (self.top() + (ABOVE + PANEL + BELOW) * self.pairs.len() as i32 + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, "How throughput and latency follow queue depth", &self.subtitle, &self.foot)?;
        for ((name, mark), (x, row)) in self.legend.iter().zip(self.places()) {
            let y = 92 + LEGEND_PITCH * row;
            match mark {
                None => doubtful(area, (x + 14, y), "", INK)?,
                Some((colour, hollow)) => {
                    area.draw(&PathElement::new(vec![(x, y), (x + 28, y)], colour.stroke_width(2)))?;
                    marker(area, (x + 14, y), *colour, *hollow)?;
                }
            }
            area.draw(&Text::new(name.clone(), (x + 36, y), text(13, &INK)))?;
        }
        let width = (WIDTH - LEFT - GAP - 20) / 2;
        for (i, pair) in (0..).zip(&self.pairs) {
            let top = self.top() + ABOVE + (ABOVE + PANEL + BELOW) * i;
            for (column, panel) in (0..).zip(pair) {
                let left = LEFT + (width + GAP) * column;
                panel.draw(area, (left, left + width), top)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(kind: &str, treatment: &str, depth: f64, iops: f64) -> Arm {
        let figures = [("iops", iops)].into();
        let (kind, treatment, outcome) = (kind.into(), treatment.into(), "completed".into());
        Arm { kind, treatment, outcome, queue_depth: Some(depth), figures, ..Arm::default() }
    }

    #[test]
    fn a_line_is_of_one_kind_of_rounds() {
        let arms = [
            arm("slices", "full", 1.0, 10.0),
            arm("peers", "full", 1.0, 20.0),
            arm("whole", "fio:a", 8.0, 30.0),
            arm("profile", "full", 8.0, 1.0),
        ];
        let arms: Vec<&Arm> = arms.iter().collect();
        let series = series(arms.iter().copied());
        assert_eq!(
            series.iter().map(|s| (s.name.as_str(), s.kinds[0])).collect::<Vec<_>>(),
            [("full", "slices"), ("full as a process", "peers"), ("fio:a", "whole")]
        );
        let points = points(&arms, &series[0], "iops", 1.0, 0.95);
        assert_eq!(
            points.iter().map(|p| (p.depth, p.found.as_ref().unwrap().level.value.round())).collect::<Vec<_>>(),
            [(1, 10.0)],
            "not those with a profile"
        );
    }

    #[test]
    fn depths_that_lost_their_rounds_are_marked_and_not_left_out() {
        let lost = |depth| Arm { outcome: "invalid".into(), ..arm("slices", "full", depth, 5.0) };
        let mut arms: Vec<Arm> = (0..8).map(|_| arm("slices", "full", 1.0, 10.0)).collect();
        arms.push(arm("slices", "full", 64.0, 20.0));
        arms.extend((0..7).map(|_| lost(64.0)));
        arms.extend((0..8).map(|_| lost(128.0)));
        let arms: Vec<&Arm> = arms.iter().collect();
        let [full] = &series(arms.iter().copied())[..] else { panic!("one series") };
        let points = points(&arms, full, "iops", 1.0, 0.95);
        let told: Vec<_> = points.iter().map(|p| (p.depth, p.found.is_some(), p.kept.mark())).collect();
        let words = |text: &str| Some(text.to_string());
        let due = [(1, true, None), (64, true, words("7 of 8 rounds lost")), (128, false, words("8 of 8 rounds lost"))];
        assert_eq!(told, due);
    }
}
