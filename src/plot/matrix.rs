//! The matrix: ours against fio over block size and queue depth, a map for each kind of access and number of jobs.

use super::heat::{Diverging, Square, blank};
use super::layout::flow;
use super::style::{Area, Chart, Drawn, GREY, INK, at, bold, frame, text};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::Effect;
use crate::analysis::level::Kept;
use crate::analysis::load::{Arm, Data};
use crate::analysis::verdict::Verdict;
use crate::units::size_text;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::collections::BTreeSet;

const WIDTH: i32 = 1200;
const TOP: i32 = 96;
const BOTTOM: i32 = 56;
const SQUARE: (i32, i32) = (86, 46);
/// Left of a map for its depths, above it for its title, below it for its block sizes, and between maps.
const DEPTHS: i32 = 70;
const TITLE: i32 = 30;
const SIZES: i32 = 66;
const GAP: i32 = 30;
/// Above the maps of a metric, for its name and its scale.
const HEADING: i32 = 46;
const SCALE: i32 = 320;

/// What brackets mean.
const FEW: &str = "in brackets or empty: fewer than 3 valid rounds, with how many were lost";

/// Fewer cells than this are a table, not a map.
const FEWEST: usize = 4;

/// The configuration of fio that reports speak of first.
const FIRST: &str = "fio:registered";

/// One workload with what was found of it.
struct Spot<'a> {
    rw: &'a str,
    jobs: u64,
    block: u64,
    depth: u64,
    /// In the order of [`Metric::ALL`].
    effects: [Option<&'a Effect>; 2],
    /// Rounds of ours beside it.
    rounds: usize,
}

impl Spot<'_> {
    /// How many rounds of the comparison count.
    fn kept(&self, metric: usize) -> Kept {
        match self.effects[metric] {
            Some(Effect { n_rounds, .. }) => Kept { valid: *n_rounds, all: self.rounds.max(*n_rounds) },
            // What one metric alone lacks was not measured, and so not lost.
            None if self.effects.iter().any(Option::is_some) => Kept::default(),
            None => Kept { valid: 0, all: self.rounds },
        }
    }
}

/// The chart of a run.
pub struct Matrix<'a> {
    title: String,
    subtitle: String,
    foot: String,
    spots: Vec<Spot<'a>>,
    blocks: Vec<u64>,
    depths: Vec<u64>,
    /// Kind of access and number of jobs.
    maps: Vec<(&'a str, u64)>,
    scales: [Diverging; 2],
}

impl<'a> Matrix<'a> {
    /// Against the first configuration of fio; why not, where too few cells were compared.
    pub fn new(model: &'a Model) -> Result<Matrix<'a>, String> {
        let peer = peer(model).ok_or("no peer was compared with")?;
        let spots = spots(model, peer);
        let compared = spots.iter().filter(|s| s.effects.iter().any(Option::is_some)).count();
        if compared < FEWEST {
            return Err(format!("a map needs {FEWEST} workloads that were compared with {peer}, there are {compared}"));
        }
        let maps: BTreeSet<(&str, u64)> = spots.iter().map(|s| (s.rw, s.jobs)).collect();
        let distinct = |of: fn(&Spot<'_>) -> u64| spots.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
        let scale = |metric: usize| {
            let ratios = spots.iter().filter_map(|s| Some(s.effects[metric]?.ratio));
            Diverging::new(ratios, Metric::ALL[metric], 5.0 * model.settings.delta)
        };
        let confidence = model.settings.confidence() * 100.0;
        Ok(Matrix {
            title: format!("Ours / {peer} over block size and queue depth"),
            subtitle: format!(
                "{}; full and {peer} as processes in turn; \u{b1}: half the width of the {confidence:.0} % interval over \
                 rounds; grey and faded: no difference shown, or one within the margin of {} %; each square is tested on its own",
                model.target(),
                model.settings.delta * 100.0
            ),
            foot: model.provenance(),
            blocks: distinct(|s| s.block),
            depths: distinct(|s| s.depth),
            scales: [scale(0), scale(1)],
            spots,
            maps: maps.into_iter().collect(),
        })
    }

    fn map_size(&self) -> (i32, i32) {
        let (columns, rows) = (self.blocks.len() as i32, self.depths.len() as i32);
        (DEPTHS + SQUARE.0 * columns + GAP, TITLE + SQUARE.1 * rows + SIZES)
    }

    /// Left ends and rows of the maps of one metric.
    fn places(&self) -> Vec<(i32, i32)> {
        flow(&vec![self.map_size().0; self.maps.len()], 20, WIDTH - 20 + GAP)
    }

    fn section(&self) -> i32 {
        let rows = self.places().last().map_or(0, |(_, row)| row + 1);
        HEADING + rows * self.map_size().1
    }

    fn map<DB: DrawingBackend>(&self, area: &Area<DB>, metric: usize, map: (&str, u64), (left, top): (i32, i32)) -> Drawn<DB> {
        let (x, y) = (left + DEPTHS, top + TITLE);
        let jobs = if map.1 == 1 { "1 job".to_string() } else { format!("{} jobs", map.1) };
        area.draw(&Text::new(format!("{}, {jobs}", map.0), (x, top + 16), bold(13)))?;
        for (row, depth) in (0..).zip(&self.depths) {
            let corner = y + SQUARE.1 * row;
            area.draw(&Text::new(format!("qd {depth}"), (x - 8, corner + SQUARE.1 / 2), at(text(12, &INK), HPos::Right)))?;
            for (column, block) in (0..).zip(&self.blocks) {
                let is = |s: &&Spot<'_>| (s.rw, s.jobs, s.block, s.depth) == (map.0, map.1, *block, *depth);
                let spot = self.spots.iter().find(is);
                let corner = (x + SQUARE.0 * column, corner);
                let few = spot.and_then(|s| s.kept(metric).mark());
                match spot.and_then(|s| s.effects[metric]) {
                    Some(effect) => square(effect, few, &self.scales[metric]).draw(area, corner, SQUARE)?,
                    None => blank(area, corner, SQUARE, &few.as_deref().map_or("-".into(), short))?,
                }
            }
        }
        let bottom = y + SQUARE.1 * self.depths.len() as i32;
        for (column, block) in (0..).zip(&self.blocks) {
            let middle = x + SQUARE.0 * column + SQUARE.0 / 2;
            area.draw(&Text::new(size_text(*block), (middle, bottom + 14), at(text(12, &INK), HPos::Center)))?;
        }
        let middle = x + SQUARE.0 * self.blocks.len() as i32 / 2;
        area.draw(&Text::new("block size, bytes", (middle, bottom + 32), at(text(12, &INK), HPos::Center)))
    }
}

/// The configuration of fio that the answers of a report name, or else the first that was compared with.
fn peer(model: &Model) -> Option<&str> {
    let peers = || {
        model.cells.iter().flat_map(|c| &c.effects).filter(|e| e.contrast.kind == "peer").map(|e| e.contrast.reference.as_str())
    };
    peers().find(|p| *p == FIRST).or_else(|| peers().next())
}

fn spots<'a>(model: &'a Model, peer: &str) -> Vec<Spot<'a>> {
    let of_cell = |cell: &'a crate::analysis::effect::CellEffects| {
        let (rw, jobs, block, depth) = facets(&model.data, &cell.cell)?;
        let find = |metric| {
            cell.effects.iter().find(|e| e.contrast.kind == "peer" && e.contrast.reference == peer && e.metric == metric)
        };
        let effects = Metric::ALL.map(find);
        let ours = |a: &&Arm| a.cell == cell.cell && a.kind == "peers" && a.treatment == "full";
        let rounds = Kept::of(model.data.arms.iter().filter(ours)).all;
        (rounds > 0 || effects.iter().any(Option::is_some)).then_some(Spot { rw, jobs, block, depth, effects, rounds })
    };
    model.cells.iter().filter_map(of_cell).collect()
}

/// Kind of access, jobs, block size and depth of a cell.
fn facets<'a>(data: &'a Data, cell: &str) -> Option<(&'a str, u64, u64, u64)> {
    let arm = data.arms.iter().find(|a| a.cell == cell)?;
    Some((&arm.rw, arm.jobs? as u64, arm.block_size_bytes? as u64, arm.queue_depth? as u64))
}

/// What fits into a square.
fn short(words: &str) -> String {
    words.replace(" rounds lost", " lost")
}

/// The square of an effect. `few`: what is said of one with few valid rounds, which shows nothing.
fn square(effect: &Effect, few: Option<String>, scale: &Diverging) -> Square {
    if let Some(words) = few {
        let first = format!("({:.3})", effect.ratio);
        let second = if words.is_empty() { "few rounds".into() } else { short(&words) };
        return Square { fill: scale.colour(effect.ratio), first, second, shown: false };
    }
    Square {
        fill: scale.colour(effect.ratio),
        first: format!("{:.3}", effect.ratio),
        second: effect.bounds.map_or_else(|| "few rounds".into(), |b| format!("\u{b1}{:.3}", (b.hi - b.lo) / 2.0)),
        shown: matches!(effect.verdict, Verdict::Improved | Verdict::Regressed),
    }
}

impl Chart for Matrix<'_> {
    fn size(&self) -> (u32, u32) {
        (WIDTH as u32, (TOP + 2 * self.section() + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &self.title, &self.subtitle, &self.foot)?;
        for (metric, name) in [(0, "IOPS"), (1, "CPU time per operation")] {
            let top = TOP + self.section() * metric as i32;
            area.draw(&Text::new(name, (20, top + 16), bold(16)))?;
            if self.spots.iter().any(|spot| spot.kept(metric).mark().is_some()) {
                area.draw(&Text::new(FEW, (280, top + 16), text(12, &GREY)))?;
            }
            self.scales[metric].bar(area, (WIDTH - SCALE - 80, top + 8), SCALE)?;
            for (map, (left, row)) in self.maps.iter().zip(self.places()) {
                self.map(area, metric, *map, (left, top + HEADING + self.map_size().1 * row))?;
            }
        }
        Ok(())
    }
}
