//! History: the whole effect and the level of `full` in each run of an experiment, machines told apart.

use super::axis::{Axis, Frame};
use super::legend::mark;
use super::style::{Area, BLUE, Chart, Drawn, GREEN, GREY, INK, LIGHT, ORANGE, PURPLE, SKY, at, bold, frame, text};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::history::{Past, PastCell};
use crate::analysis::level::Level;
use crate::analysis::signed_rank::Interval;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: u32 = 1200;
const LEFT: i32 = 80;
const GAP: i32 = 90;
const TOP: i32 = 152;
const PANEL: i32 = 200;
const BETWEEN: i32 = 92;
const BOTTOM: i32 = 106;

/// Older runs than so many are left out: dates would lie over each other.
const MOST: usize = 60;

/// So many dates find room below a panel.
const DATES: usize = 6;

/// The chart of a run among others.
pub struct History<'a> {
    runs: &'a [Past],
    /// Cells of this run with the metric that verdicts come from.
    cells: Vec<(&'a str, Metric)>,
    /// Fingerprints in order of appearance.
    machines: Vec<&'a str>,
    subtitle: String,
    foot: String,
    name: &'a str,
}

impl<'a> History<'a> {
    /// The runs that were found beside this one; why not, where there are none.
    pub fn new(model: &'a Model) -> Result<History<'a>, String> {
        let runs = &model.history[model.history.len().saturating_sub(MOST)..];
        if runs.len() < 2 {
            return Err("no other run of this experiment was found (report --history DIR looks in the directories of DIR)".into());
        }
        let mut machines: Vec<&str> = Vec::new();
        for run in runs {
            if !machines.contains(&run.fingerprint.as_str()) {
                machines.push(&run.fingerprint);
            }
        }
        let percent = model.settings.confidence() * 100.0;
        Ok(History {
            runs,
            cells: model.cells.iter().map(|c| (c.cell.as_str(), c.primary)).collect(),
            machines,
            subtitle: format!(
                "{} runs in order of their time, evenly spaced; bars: {percent:.0} % intervals over the rounds of a run; levels may be compared where colour and shape agree: the same circumstances{}",
                runs.len(),
                if runs.iter().any(|run| run.fingerprint.is_empty()) { ", but not where those are unknown" } else { "" }
            ),
            foot: model.provenance(),
            name: model.manifest.as_ref().map_or("", |m| m.experiment.name.as_str()),
        })
    }

    /// A panel of one cell: what `of` says of each run.
    fn panel<DB: DrawingBackend>(
        &self,
        area: &Area<DB>,
        frame: Frame,
        cell: &str,
        zero: Option<f64>,
        of: impl Fn(&PastCell) -> Option<Level>,
    ) -> Drawn<DB> {
        let told = |run: &Past| run.cells.iter().find(|c| c.cell == cell).and_then(&of);
        let levels: Vec<(usize, Level)> = self.runs.iter().enumerate().filter_map(|(i, run)| Some((i, told(run)?))).collect();
        let ends = |level: &Level| level.bounds.map_or([level.value; 2], |b| [b.lo, b.hi]);
        let shown = levels.iter().flat_map(|(_, level)| ends(level)).chain(zero);
        let Some(y) = Axis::over_decades(shown.collect::<Vec<_>>(), (frame.bottom, frame.top)) else {
            let nothing = "no run measured it";
            return area.draw(&Text::new(nothing, (frame.left, frame.top + 20), text(13, &GREY)));
        };
        y.draw_rows(area, frame, y.ticks())?;
        self.dates(area, frame)?;
        if let Some(zero) = zero {
            area.draw(&PathElement::new(vec![(frame.left, y.place(zero)), (frame.right, y.place(zero))], INK))?;
        }
        for (i, level) in levels {
            let (machine, colour) = self.machine(&self.runs[i].fingerprint);
            let x = self.place(i, frame);
            if let Some(b) = level.bounds {
                area.draw(&PathElement::new(vec![(x, y.place(b.lo)), (x, y.place(b.hi))], colour.stroke_width(3)))?;
            }
            mark(area, machine, colour, (x, y.place(level.value)))?;
        }
        Ok(())
    }

    fn place(&self, run: usize, frame: Frame) -> i32 {
        let part = (run as f64 + 0.5) / self.runs.len() as f64;
        frame.left + (part * f64::from(frame.right - frame.left)) as i32
    }

    fn dates<DB: DrawingBackend>(&self, area: &Area<DB>, frame: Frame) -> Drawn<DB> {
        let every = self.runs.len().div_ceil(DATES);
        // The newest run has its date, and every so many before it.
        for (i, run) in self.runs.iter().enumerate().rev().step_by(every) {
            let x = self.place(i, frame);
            area.draw(&PathElement::new(vec![(x, frame.top), (x, frame.bottom)], LIGHT))?;
            for (line, format) in (0..).zip(["%Y-%m-%d", "%H:%M UTC"]) {
                let label = run.started.strftime(format).to_string();
                area.draw(&Text::new(label, (x, frame.bottom + 14 + 15 * line), at(text(11, &INK), HPos::Center)))?;
            }
        }
        Ok(())
    }

    fn machine(&self, fingerprint: &str) -> (usize, RGBColor) {
        let place = self.machines.iter().position(|m| *m == fingerprint).unwrap_or_default();
        (place, [BLUE, ORANGE, GREEN, PURPLE, SKY, GREY][place % 6])
    }

    fn legend<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        const SHOWN: usize = 6;
        for (i, name) in self.machines.iter().take(SHOWN).enumerate() {
            let x = 24 + 185 * i as i32;
            let (machine, colour) = self.machine(name);
            let runs = self.runs.iter().filter(|r| r.fingerprint == **name).count();
            let short: String = if name.is_empty() { "unknown".into() } else { name.chars().take(8).collect() };
            mark(area, machine, colour, (x, 98))?;
            area.draw(&Text::new(
                format!("{short}: {runs} {}", if runs == 1 { "run" } else { "runs" }),
                (x + 12, 98),
                text(13, &INK),
            ))?;
        }
        let more = self.machines.len().saturating_sub(SHOWN);
        if more == 0 {
            return Ok(());
        }
        area.draw(&Text::new(format!("and {more} more"), (WIDTH as i32 - 20, 98), at(text(13, &GREY), HPos::Right)))
    }
}

impl Chart for History<'_> {
    fn size(&self) -> (u32, u32) {
        let rows = self.cells.len() as i32;
        (WIDTH, (TOP + rows * PANEL + (rows - 1).max(0) * BETWEEN + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &format!("Run by run: {}", self.name), &self.subtitle, &self.foot)?;
        self.legend(area)?;
        let width = (WIDTH as i32 - LEFT - GAP - 20) / 2;
        for (row, (cell, metric)) in self.cells.iter().enumerate() {
            let top = TOP + row as i32 * (PANEL + BETWEEN);
            let at = |left: i32| Frame { left, right: left + width, top, bottom: top + PANEL };
            let what = if *metric == Metric::Iops { "IOPS" } else { "CPU per operation" };
            area.draw(&Text::new(format!("{cell}: {what}, full / baseline"), (20, top - 20), bold(14)))?;
            self.panel(area, at(LEFT), cell, Some(1.0), |c| c.total(*metric))?;
            let right = at(LEFT + width + GAP);
            area.draw(&Text::new("full, thousand IOPS", (right.left - 60, top - 20), bold(14)))?;
            let thousand = |level: Level| Level {
                value: level.value / 1e3,
                bounds: level.bounds.map(|b| Interval { lo: b.lo / 1e3, hi: b.hi / 1e3, ..b }),
            };
            self.panel(area, right, cell, None, |c| c.full.map(thousand))?;
        }
        Ok(())
    }
}
