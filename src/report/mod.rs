//! From the files of a run to tables and charts: a pure function of those files. Measures nothing, knows no engine.

mod advice;
mod answer;
mod claims;
pub mod compare;
mod counts;
mod effects;
mod escape;
mod factorial;
pub mod hosts;
mod html;
mod markdown;
pub mod night;
mod overhead;
mod reproduce;
pub mod route;
pub mod splice;
mod terminal;
mod toggles;
mod validity;

use crate::analysis::claim::judge;
use crate::analysis::{Model, history, load};
use crate::durable::Dir;
use crate::plot::{self, Gallery};
use std::io;
use std::path::{Path, PathBuf};

/// Why no report could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}; make room, or name another place with --out", path = path.display())]
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

/// Where a report reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The run's directory.
    pub results: &'a Path,
    /// Where `effects.csv`, `report.md` and `report.html` go.
    pub out: &'a Path,
    /// Where the charts go.
    pub plots: &'a Path,
    /// Whose directories are runs of the same experiment.
    pub history: Option<&'a Path>,
}

/// Writes `effects.csv`, `report.md` and `report.html` into `results` and the charts into `plots`.
pub fn write(results: &Path, plots: &Path) -> Result<Summary, Error> {
    write_to(&Places { results, out: results, plots, history: None })
}

/// Reads a run and writes what is derived from it to where it is told.
pub fn write_to(places: &Places<'_>) -> Result<Summary, Error> {
    let Places { results: named, .. } = *places;
    let results = Dir::open(named).map_err(|source| Error::Read { path: named.into(), source })?;
    let mut model = Model::read(&results)?;
    model.history = places.history.map_or_else(Vec::new, |home| history::load(&model, home));
    let fail = |path: PathBuf| move |source| Error::Write { path, source };
    let out = results.create_at(places.out).map_err(fail(places.out.into()))?;
    let plots = out.create_at(places.plots).map_err(fail(places.plots.into()))?;
    let gallery = plot::draw_all(&model, &plots)?;
    let judged = judge(&model);
    let text = markdown::report(&model, &judged, &gallery, out.path());
    let page = html::page(&text, &gallery);
    for (name, bytes) in
        [("effects.csv", &effects::csv(&model.cells)[..]), ("report.md", text.as_bytes()), ("report.html", page.as_bytes())]
    {
        out.replace(name, bytes).map_err(fail(out.join(name)))?;
    }
    let measured = model.cells.iter().any(|cell| !cell.effects.is_empty());
    let [report, page] = ["report.md", "report.html"].map(|name| out.join(name));
    Ok(Summary { text: terminal::tables(&model, &judged), report, page, gallery, measured })
}
