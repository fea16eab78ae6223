//! Charts, one file per kind, each as SVG and PNG from the same drawing. The only door to plotters.

mod ablation;
mod ladder;
mod schemes;
mod style;

use crate::analysis::Model;
use crate::selftest::scheme::Finding;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A chart that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw {path}: {reason}", path = path.display())]
pub struct Error {
    pub path: PathBuf,
    pub reason: String,
}

/// Draws ways of comparing identical programs as `stem.svg` and `stem.png`; returns the files.
pub fn schemes(found: &[Finding], time: Duration, foot: String, stem: &Path) -> Result<[PathBuf; 2], Error> {
    style::render(stem, &schemes::Schemes::new(found, time, foot))
}

/// Draws every chart of a run into `dir`; returns the files.
pub fn draw_all(model: &Model, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for cell in &model.cells {
        let chart = ablation::Ablation::new(model, cell);
        files.extend(style::render(&dir.join(format!("{}-ablation", cell.cell)), &chart)?);
        let chart = ladder::Ladder::new(model, cell);
        files.extend(style::render(&dir.join(format!("{}-ladder", cell.cell)), &chart)?);
    }
    Ok(files)
}
