//! Runs side by side: `compare.csv`, `compare.md`, `compare.html`, charts, and a table for the terminal. Writes nothing into a run's directory.

mod csv;
mod grounds;
mod label;
mod markdown;
mod terminal;

use super::{Error, html};
use crate::analysis::Model;
use crate::analysis::compare::Comparison;
use crate::durable::Dir;
use crate::plot;
use std::path::{Path, PathBuf};

/// A run that is compared.
struct Run {
    label: String,
    dir: PathBuf,
    model: Model,
}

/// What a comparison leaves for the terminal.
pub struct Compared {
    pub text: String,
    /// What was written.
    pub files: Vec<PathBuf>,
}

/// Compares the runs in these directories with the first of them; writes files only where it is told to.
pub fn compare(dirs: &[PathBuf], out: Option<&Path>) -> Result<Compared, Error> {
    if let Some(out) = out {
        apart(out, dirs)?;
    }
    let models: Vec<Model> = dirs.iter().map(|dir| Model::load(dir)).collect::<Result<_, _>>()?;
    let labels =
        label::labels(&dirs.iter().zip(&models).map(|(dir, m)| (dir.as_path(), m.manifest.as_ref())).collect::<Vec<_>>());
    let whole = dirs.iter().zip(models).zip(labels).map(|((dir, model), label)| Run { label, dir: dir.clone(), model });
    let runs: Vec<Run> = whole.collect();
    let comparison = Comparison::of(&runs.iter().map(|r| (r.label.as_str(), &r.model)).collect::<Vec<_>>());
    if let Some(other) = (1..runs.len()).find(|i| comparison.common(*i) == (0, 0)) {
        return Err(Error::NothingInCommon { reference: runs[0].dir.clone(), run: runs[other].dir.clone() });
    }
    let files = out.map_or(Ok(Vec::new()), |out| write(&runs, &comparison, out))?;
    Ok(Compared { text: terminal::tables(&runs, &comparison), files })
}

fn write(runs: &[Run], comparison: &Comparison<'_>, out: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |path: PathBuf| move |source| Error::Write { path, source };
    let dir = Dir::create(out).map_err(fail(out.into()))?;
    let plots = dir.make("plots").map_err(fail(out.join("plots")))?;
    let gallery = plot::draw_comparison(comparison, &provenance(runs), &plots)?;
    let text = markdown::report(runs, comparison, &gallery, out);
    let page = html::page(&text, &gallery);
    let mut files = Vec::new();
    for (name, bytes) in
        [("compare.csv", csv::csv(comparison)), ("compare.md", text.into_bytes()), ("compare.html", page.into_bytes())]
    {
        dir.replace(name, &bytes).map_err(fail(dir.join(name)))?;
        files.push(dir.join(name));
    }
    files.extend(gallery.pictures.into_iter().map(|p| p.png));
    Ok(files)
}

/// The machines of all runs, for the foot of charts.
fn provenance(runs: &[Run]) -> String {
    let mut all: Vec<String> = Vec::new();
    for environment in runs.iter().filter_map(|r| Some(r.model.manifest.as_ref()?.environment.to_string())) {
        if !all.contains(&environment) {
            all.push(environment);
        }
    }
    all.join("; ")
}

/// Refuses a place inside of a run, whose files are nobody's to change.
fn apart(out: &Path, dirs: &[PathBuf]) -> Result<(), Error> {
    // Of what is still to be made the first part that exists is where it will lie.
    let here = || Path::new(".").canonicalize().ok();
    let place = out.ancestors().filter(|path| *path != Path::new("")).find_map(|path| path.canonicalize().ok()).or_else(here);
    let inside = |run: &&PathBuf| place.as_ref().zip(run.canonicalize().ok()).is_some_and(|(p, r)| p.starts_with(r));
    match dirs.iter().find(inside) {
        Some(run) => Err(Error::InsideOfRun { out: out.into(), run: run.clone() }),
        None => Ok(()),
    }
}
