//! From the files of a run to tables and charts: a pure function of those files. Measures nothing, knows no engine.

mod advice;
mod answer;
mod claims;
pub mod compare;
mod counts;
mod effects;
mod factorial;
pub mod hosts;
mod html;
mod markdown;
pub mod night;
mod overhead;
mod reproduce;
pub mod splice;
mod terminal;
mod toggles;
mod validity;

use crate::analysis::claim::judge;
use crate::analysis::{Model, history, load};
use crate::plot::{self, Gallery};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why no report could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Plot(#[from] plot::Error),
    #[error(
        "{reference} and {run} have nothing in common that could be compared: no contrast of the same name in the same workload; arms.csv of either \
         lists its workloads and treatments",
        reference = reference.display(),
        run = run.display()
    )]
    NothingInCommon { reference: PathBuf, run: PathBuf },
    #[error("--out {out} lies in the directory of a run, {run}, whose files stay as they are; name another place", out = out.display(), run = run.display())]
    InsideOfRun { out: PathBuf, run: PathBuf },
}

/// What a report leaves for the terminal.
pub struct Summary {
    pub text: String,
    pub report: PathBuf,
    /// The same in one file with its charts.
    pub page: PathBuf,
    pub gallery: Gallery,
    /// Some contrast could be computed.
    pub measured: bool,
}

/// Writes `effects.csv`, `report.md` and `report.html` into `results` and the charts into `plots`.
pub fn write(results: &Path, plots: &Path) -> Result<Summary, Error> {
    write_beside(results, plots, None)
}

/// As [`write()`], beside the runs of the same experiment in the directories of `home`.
pub fn write_beside(results: &Path, plots: &Path, home: Option<&Path>) -> Result<Summary, Error> {
    let mut model = Model::load(results)?;
    model.history = home.map_or_else(Vec::new, |home| history::load(&model, home));
    let fail = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(plots).map_err(fail(plots))?;
    let gallery = plot::draw_all(&model, plots)?;
    let effects = results.join("effects.csv");
    fs::write(&effects, effects::csv(&model.cells)).map_err(fail(&effects))?;
    let report = results.join("report.md");
    let judged = judge(&model);
    let text = markdown::report(&model, &judged, &gallery, results);
    fs::write(&report, &text).map_err(fail(&report))?;
    let page = results.join("report.html");
    fs::write(&page, html::page(&text, &gallery)?).map_err(fail(&page))?;
    let measured = model.cells.iter().any(|cell| !cell.effects.is_empty());
    Ok(Summary { text: terminal::tables(&model, &judged), report, page, gallery, measured })
}
