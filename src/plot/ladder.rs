//! The ladder: from baseline to full, one toggle at a time, with fio's levels as lines.

use super::axis::{Axis, Frame, throughput, ticks};
use super::layout::{LINE_PITCH, spread};
use super::style::{Area, BLUE, Chart, DOUBTFUL, Drawn, GREEN, GREY, INK, ORANGE, at, bold, doubtful, frame, text};
use crate::analysis::Model;
use crate::analysis::effect::CellEffects;
use crate::analysis::level::{Kept, Measured};
use crate::analysis::load::{Arm, OURS};
use crate::analysis::signed_rank::Interval;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const WIDTH: u32 = 1200;
const PANEL: i32 = 300;
const TOP: i32 = 96;
const LEFT: i32 = 90;
const RIGHT: i32 = 190;
const BETWEEN: i32 = 130;
const BOTTOM: i32 = 130;

/// A line this many times higher than every bar is written above the panel instead of drawn: it would flatten the rest.
const OFF_SCALE: f64 = 3.0;

/// A level with its interval over rounds.
struct Step {
    name: String,
    value: f64,
    bounds: Option<Interval>,
    /// What is said of few valid rounds.
    few: Option<String>,
}

struct Panel {
    title: String,
    steps: Vec<Step>,
    lines: Vec<Step>,
}

/// The chart of one cell.
pub struct Ladder {
    title: String,
    subtitle: String,
    foot: String,
    panels: Vec<Panel>,
}

impl Ladder {
    /// Levels of the ladder's arms in slices, and of fio as a process arm; why not, where there is none.
    pub fn new(model: &Model, cell: &CellEffects) -> Result<Ladder, String> {
        let arms: Vec<&Arm> = model.data.arms.iter().filter(|a| a.cell == cell.cell).collect();
        let (name, unit, title) = throughput(arms.first().and_then(|a| a.block_size_bytes));
        let confidence = model.settings.confidence();
        let panel = |title: &str, figure: &'static str, unit: f64| Panel {
            title: title.into(),
            steps: steps(&arms, figure, Scale { unit, confidence }),
            lines: lines(&arms, figure, Scale { unit, confidence }),
        };
        let panels = vec![
            panel(&format!("Throughput, {title}: higher is better"), name, unit),
            panel("CPU time per operation, \u{b5}s: lower is better", "cpu_total_ns_per_op", 1e3),
        ];
        if panels.iter().all(|p| p.steps.len() < 2) {
            return Err("neither baseline nor a step of a ladder completed".into());
        }
        let doubtful = panels.iter().flat_map(|p| &p.steps).any(|step| step.few.is_some());
        let doubt = if doubtful { format!("; {DOUBTFUL}") } else { String::new() };
        Ok(Ladder {
            title: format!("From baseline to full: {}", cell.cell),
            subtitle: format!(
                "{}; points with {:.0} % intervals over rounds: our arms in slices; lines: peers as processes in turn, and the ring alone (NOP){doubt}",
                model.target(),
                model.settings.confidence() * 100.0
            ),
            foot: model.provenance(),
            panels,
        })
    }
}

/// How a figure is shown: in this unit, with intervals of this confidence.
#[derive(Clone, Copy)]
struct Scale {
    unit: f64,
    confidence: f64,
}

/// Level of a treatment's figure.
fn level(arms: &[&Arm], treatment: &str, kinds: &[&str], figure: &str, scale: Scale) -> Option<Step> {
    let of = || arms.iter().copied().filter(|a| a.treatment == treatment && kinds.contains(&a.kind.as_str()));
    let completed = of().filter(|a| a.outcome == "completed");
    let level = Measured::of(completed, figure, scale.unit, scale.confidence)?.level;
    Some(Step { name: treatment.into(), value: level.value, bounds: level.bounds, few: Kept::of(of()).mark() })
}

fn steps(arms: &[&Arm], figure: &str, scale: Scale) -> Vec<Step> {
    let mut names = vec!["baseline"];
    for arm in arms {
        if arm.treatment.starts_with("ladder:") && !names.contains(&arm.treatment.as_str()) {
            names.push(&arm.treatment);
        }
    }
    names.push("full");
    names.iter().filter_map(|n| level(arms, n, &OURS, figure, scale)).collect()
}

fn lines(arms: &[&Arm], figure: &str, scale: Scale) -> Vec<Step> {
    let names = ["fio:default", "fio:registered", "fio:matched", "fio:tuned", "t_io_uring"];
    names.iter().filter_map(|n| level(arms, n, &["peers"], figure, scale)).chain(ceiling(arms, figure, scale)).collect()
}

/// What the ring alone does; as bandwidth, as if each NOP moved a block.
fn ceiling(arms: &[&Arm], figure: &str, scale: Scale) -> Option<Step> {
    let level = match arms.first()?.block_size_bytes {
        Some(block) if figure == "bandwidth_bytes_per_s" => {
            level(arms, "ceiling", &OURS, "iops", Scale { unit: scale.unit / block, ..scale })
        }
        _ => level(arms, "ceiling", &OURS, figure, scale),
    };
    level.map(|level| Step { name: "NOP".into(), ..level })
}

impl Panel {
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, top: i32) -> Drawn<DB> {
        let bottom = top + PANEL;
        let right = WIDTH as i32 - RIGHT;
        let top_of = |levels: &[Step]| levels.iter().map(|l| l.bounds.map_or(l.value, |b| b.hi)).fold(0.0, f64::max);
        let (beyond, lines): (Vec<&Step>, Vec<&Step>) =
            self.lines.iter().partition(|line| line.value > top_of(&self.steps) * OFF_SCALE);
        let most = lines.iter().map(|l| l.value).fold(top_of(&self.steps), f64::max) * 1.08;
        // Levels that are all 0 stand at the bottom.
        let axis = Axis::linear((0.0, most.max(f64::MIN_POSITIVE)), (bottom, top));
        let y = |value: f64| axis.place(value);
        let pitch = (right - LEFT) / self.steps.len().max(1) as i32;
        area.draw(&Text::new(self.title.clone(), (20, top - 22), bold(14)))?;
        axis.draw_rows(area, Frame { left: LEFT, right, top, bottom }, ticks(0.0, most, 8.0))?;
        for (place, line) in spread(&lines.iter().map(|l| y(l.value)).collect::<Vec<_>>(), bottom).into_iter().zip(&lines) {
            area.draw(&PathElement::new(vec![(LEFT, y(line.value)), (right, y(line.value))], GREY.stroke_width(1)))?;
            area.draw(&PathElement::new(vec![(right, y(line.value)), (right + 12, place)], GREY))?;
            let few = line.few.as_ref().filter(|words| !words.is_empty()).map_or(String::new(), |words| format!(" ({words})"));
            area.draw(&Text::new(
                format!("{} {}{few}", line.name, value_text(line.value)),
                (right + 16, place),
                text(12, &GREY),
            ))?;
        }
        for (i, line) in beyond.iter().enumerate() {
            let place = (right + 16, top - 8 - LINE_PITCH * i as i32);
            area.draw(&Text::new(format!("\u{2191} {} {}", line.name, value_text(line.value)), place, text(12, &GREY)))?;
        }
        for (i, step) in self.steps.iter().enumerate() {
            let x = LEFT + pitch * i as i32 + pitch / 2;
            let colour = [BLUE, ORANGE, GREEN][if step.name == "baseline" {
                1
            } else if step.name == "full" {
                2
            } else {
                0
            }];
            area.draw(&Rectangle::new(
                [(x - pitch.min(90) / 3, y(step.value)), (x + pitch.min(90) / 3, bottom)],
                colour.mix(0.25).filled(),
            ))?;
            if let Some(bounds) = step.bounds {
                area.draw(&PathElement::new(vec![(x, y(bounds.lo)), (x, y(bounds.hi))], colour.stroke_width(3)))?;
            }
            match &step.few {
                Some(words) => doubtful(area, (x, y(step.value)), words, colour)?,
                None => area.draw(&Circle::new((x, y(step.value)), 4, colour.filled()))?,
            }
            // Below the axis, where no line crosses it.
            area.draw(&Text::new(value_text(step.value), (x, bottom + 16), at(bold(12), HPos::Center)))?;
            for (line, part) in (1..).zip(label(&step.name)) {
                area.draw(&Text::new(part, (x, bottom + 16 + 15 * line), at(text(12, &INK), HPos::Center)))?;
            }
        }
        area.draw(&PathElement::new(vec![(LEFT, bottom), (right, bottom)], INK))
    }
}

/// A step's name in lines short enough to stand side by side.
fn label(treatment: &str) -> Vec<String> {
    match treatment.splitn(3, ':').collect::<Vec<_>>()[..] {
        ["ladder", _, toggle] => {
            let mut parts: Vec<String> = toggle.split('_').map(String::from).collect();
            parts[0].insert(0, '+');
            parts
        }
        _ => vec![treatment.into()],
    }
}

fn value_text(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

impl Chart for Ladder {
    fn size(&self) -> (u32, u32) {
        (WIDTH, (TOP + 2 * PANEL + BETWEEN + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        frame(area, &self.title, &self.subtitle, &self.foot)?;
        let mut top = TOP + 20;
        for panel in &self.panels {
            if panel.steps.is_empty() {
                area.draw(&Text::new("No arm of the ladder completed in this run.", (20, top + 20), text(16, &INK)))?;
            } else {
                panel.draw(area, top)?;
            }
            top += PANEL + BETWEEN;
        }
        Ok(())
    }
}
