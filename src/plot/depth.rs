//! The depth chart: throughput and tail latency against queue depth, ours and fio's.

use super::axis::{Axis, Frame, log_air, log_ticks, throughput};
use super::layout::{flow, width_of};
use super::style::{AMBER, Area, BLUE, Chart, Drawn, GREEN, INK, ORANGE, PURPLE, SKY, at, bold, evidence, frame, text};
use crate::analysis::Model;
use crate::analysis::level::Measured;
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
    points: Vec<(u64, Measured)>,
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
    legend: Vec<(String, RGBColor, bool)>,
    /// Throughput and latency of each workload.
    pairs: Vec<[Panel; 2]>,
}

/// Kind of access, block size, jobs.
type Group<'a> = (&'a str, u64, u64);

impl Depth {
    /// Of each workload that was measured at several depths; why not, where none was.
    pub fn new(model: &Model) -> Result<Depth, String> {
        let mut groups: BTreeMap<Group<'_>, Vec<&Arm>> = BTreeMap::new();
        for arm in model.data.arms.iter().filter(|a| a.outcome == "completed") {
            if let (Some(block), Some(jobs), Some(_)) = (arm.block_size_bytes, arm.jobs, arm.queue_depth) {
                groups.entry((&arm.rw, block as u64, jobs as u64)).or_default().push(arm);
            }
        }
        groups.retain(|_, arms| depths(arms).len() >= FEWEST);
        let series = series(groups.values().flatten().copied());
        let confidence = model.settings.confidence();
        let pairs: Vec<[Panel; 2]> = groups.iter().map(|(group, arms)| pair(*group, arms, &series, confidence)).collect();
        if pairs.iter().flatten().all(|p| p.lines.is_empty()) {
            return Err(format!("no workload was measured at {FEWEST} queue depths or more"));
        }
        let legend = series.iter().filter(|s| s.kinds != ["whole"]).map(|s| (s.name.clone(), s.colour, s.hollow)).collect();
        Ok(Depth {
            subtitle: format!(
                "{}; full and baseline (filled) from rounds of slices in one process; throughput of fio and of full beside it (hollow) as \
                 processes in turn, latency of fio from its whole runs. Dots: rounds, bars: {:.0} % intervals over them",
                model.target(),
                confidence * 100.0
            ),
            foot: model.provenance(),
            legend,
            pairs,
        })
    }

    fn places(&self) -> Vec<(i32, i32)> {
        flow(&self.legend.iter().map(|(name, ..)| width_of(name, 13) + 60).collect::<Vec<_>>(), 20, WIDTH - 20)
    }

    fn top(&self) -> i32 {
        TOP + LEGEND_PITCH * self.places().last().map_or(0, |(_, row)| *row)
    }
}

fn depths(arms: &[&Arm]) -> BTreeSet<u64> {
    arms.iter().filter_map(|a| a.queue_depth).map(|d| d as u64).collect()
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
        let lines = series.iter().filter(|s| s.kinds != [skipped]).map(line).filter(|l| !l.points.is_empty()).collect();
        Panel { title, lines, depths: depths(arms).into_iter().collect(), log }
    };
    [
        panel(format!("{workload}: throughput, {title}"), name, unit, "whole", false),
        panel(format!("{workload}: 99th percentile of latency, \u{b5}s"), "lat_ns_p99", 1e3, "peers", true),
    ]
}

fn points(arms: &[&Arm], series: &Series, figure: &str, unit: f64, confidence: f64) -> Vec<(u64, Measured)> {
    let of = |depth: u64| {
        let arms = arms.iter().copied().filter(|a| {
            a.treatment == series.treatment && series.kinds.contains(&a.kind.as_str()) && a.queue_depth == Some(depth as f64)
        });
        Some((depth, Measured::of(arms, figure, unit, confidence)?))
    };
    depths(arms).into_iter().filter_map(of).collect()
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
            line.draw(area, (i - middle) * 7, &|depth, value| (x.place(depth as f64), y.place(value)))?;
        }
        Ok(())
    }

    /// What the panel shows: of throughput from 0, of latency on a logarithmic axis.
    fn range(&self) -> (f64, f64) {
        let levels = self.lines.iter().flat_map(|l| &l.points).map(|(_, level)| level.reach());
        let (lo, hi) = levels.fold((f64::INFINITY, 0.0), |(lo, hi), (low, high)| (f64::min(lo, low), f64::max(hi, high)));
        if self.log { log_air((lo, hi * 1.01), 0.06) } else { (0.0, hi * 1.06) }
    }
}

impl Line {
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, shift: i32, at: &dyn Fn(u64, f64) -> (i32, i32)) -> Drawn<DB> {
        let place = |depth: u64, value: f64| {
            let (x, y) = at(depth, value);
            (x + shift, y)
        };
        let path: Vec<(i32, i32)> = self.points.iter().map(|(depth, found)| place(*depth, found.level.value)).collect();
        area.draw(&PathElement::new(path.clone(), self.colour.mix(0.7).stroke_width(2)))?;
        for (depth, found) in &self.points {
            let bounds = found.level.bounds.map(|b| (b.lo, b.hi));
            evidence(area, found.rounds.iter().copied(), bounds, self.colour, &|value| place(*depth, value))?;
        }
        path.into_iter().try_for_each(|point| marker(area, point, self.colour, self.hollow))
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
        for ((name, colour, hollow), (x, row)) in self.legend.iter().zip(self.places()) {
            let y = 92 + LEGEND_PITCH * row;
            area.draw(&PathElement::new(vec![(x, y), (x + 28, y)], colour.stroke_width(2)))?;
            marker(area, (x + 14, y), *colour, *hollow)?;
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
        Arm { kind: kind.into(), treatment: treatment.into(), queue_depth: Some(depth), figures, ..Arm::default() }
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
            points.iter().map(|(d, found)| (*d, found.level.value.round())).collect::<Vec<_>>(),
            [(1, 10.0)],
            "not those with a profile"
        );
    }
}
