//! Charts, one file per kind, each as SVG and PNG from the same drawing. The only door to plotters.

mod ablation;
mod axis;
mod bitmap;
mod compare;
mod depth;
mod drift;
mod heat;
mod history;
mod interactions;
mod ladder;
mod latency;
mod layout;
mod legend;
mod matrix;
pub mod nights;
mod overhead;
mod schemes;
mod shapley;
mod style;
mod timeline;

use crate::analysis::Model;
use crate::analysis::compare::Comparison;
use crate::durable::Dir;
use crate::selftest::scheme::Finding;
use std::path::PathBuf;
use std::time::Duration;

/// A chart that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw {path}: {reason}; what was measured is kept, and can be drawn again when there is room", path = path.display())]
pub struct Error {
    pub path: PathBuf,
    pub reason: String,
}

/// Draws ways of comparing identical programs as `schemes.svg` and `schemes.png`; returns the files.
pub fn schemes(found: &[Finding], time: Duration, foot: String, dir: &Dir) -> Result<[PathBuf; 2], Error> {
    let drawn = style::render(dir, "schemes", &schemes::Schemes::new(found, time, foot))?;
    Ok([drawn.svg, drawn.png])
}

/// A chart that was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The workload it shows; `None` where it shows the whole run.
    pub cell: Option<String>,
    /// What kind of chart it is, which ends the names of its files.
    pub kind: &'static str,
    pub svg: PathBuf,
    pub png: PathBuf,
    /// What the SVG file holds.
    pub markup: String,
}

/// The charts of a run.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    pub pictures: Vec<Picture>,
    /// Kinds that had nothing to show of a workload (`None`: of the whole run), and why.
    pub absent: Vec<(Option<String>, &'static str, String)>,
}

impl Gallery {
    fn add(
        &mut self,
        dir: &Dir,
        cell: Option<&str>,
        kind: &'static str,
        chart: Result<impl style::Chart, String>,
    ) -> Result<(), Error> {
        let cell = cell.map(String::from);
        match chart {
            Ok(chart) => {
                let name = cell.iter().map(String::as_str).chain([kind]).collect::<Vec<_>>().join("-");
                let style::Files { svg, png, markup } = style::render(dir, &name, &chart)?;
                self.pictures.push(Picture { cell, kind, svg, png, markup });
            }
            Err(reason) => self.absent.push((cell, kind, reason)),
        }
        Ok(())
    }

    /// Whether so many workloads have charts of their own.
    fn shows(&mut self, cells: usize) -> bool {
        let few = cells <= MOST_IN_DETAIL;
        if !few {
            let reason = format!("with more than {MOST_IN_DETAIL} workloads only the charts of the whole run are drawn");
            self.absent.push((None, "workload's", reason));
        }
        few
    }
}

/// A page with the charts of more workloads than this would be too large to read.
const MOST_IN_DETAIL: usize = 8;

/// Draws every chart of a run that has something to show into `dir`.
pub fn draw_all(model: &Model, dir: &Dir) -> Result<Gallery, Error> {
    let mut gallery = Gallery::default();
    let few = gallery.shows(model.cells.len());
    for cell in model.cells.iter().filter(|_| few) {
        let name = Some(cell.cell.as_str());
        gallery.add(dir, name, "ablation", ablation::Ablation::new(model, cell))?;
        gallery.add(dir, name, "ladder", ladder::Ladder::new(model, cell))?;
        gallery.add(dir, name, "overhead", overhead::Overhead::new(model, cell))?;
        gallery.add(dir, name, "interactions", interactions::Interactions::new(model, cell))?;
        gallery.add(dir, name, "shapley", shapley::Shapley::new(model, cell))?;
        gallery.add(dir, name, "latency", latency::Latency::new(model, cell))?;
        gallery.add(dir, name, "timeline", timeline::Timeline::new(model, cell))?;
        gallery.add(dir, name, "drift", drift::Drift::new(model, cell))?;
    }
    gallery.add(dir, None, "matrix", matrix::Matrix::new(model))?;
    gallery.add(dir, None, "depth", depth::Depth::new(model))?;
    gallery.add(dir, None, "history", history::History::new(model))?;
    Ok(gallery)
}

/// Draws a chart of each workload of several runs into `dir`; `foot` says where they were made.
pub fn draw_comparison(comparison: &Comparison<'_>, foot: &str, dir: &Dir) -> Result<Gallery, Error> {
    let mut gallery = Gallery::default();
    let few = gallery.shows(comparison.cells.len());
    for cell in comparison.cells.iter().filter(|_| few) {
        gallery.add(dir, Some(cell.cell), "compare", compare::Compare::new(comparison, cell, foot))?;
    }
    Ok(gallery)
}
