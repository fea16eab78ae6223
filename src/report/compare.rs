//! Runs side by side: `compare.csv`, `compare.md`, `compare.html`, charts, and a table for the terminal. Writes nothing into a run's directory.

mod csv;
mod grounds;
mod label;
mod markdown;
mod terminal;

use super::{Error, html};
use crate::analysis::Model;
use crate::analysis::compare::Comparison;
use crate::plot;
use std::fs;
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
    let plots = out.join("plots");
    fs::create_dir_all(&plots).map_err(|source| Error::Write { path: plots.clone(), source })?;
    let gallery = plot::draw_comparison(comparison, &provenance(runs), &plots)?;
    let text = markdown::report(runs, comparison, &gallery, out);
    let page = html::page(&text, &gallery)?;
    let mut files = Vec::new();
    for (name, bytes) in
        [("compare.csv", csv::csv(comparison)), ("compare.md", text.into_bytes()), ("compare.html", page.into_bytes())]
    {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(|source| Error::Write { path: path.clone(), source })?;
        files.push(path);
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
    let exists = |path: &&Path| !path.as_os_str().is_empty() && path.exists();
    let place = out.ancestors().find(exists).unwrap_or(Path::new(".")).canonicalize();
    let inside = |run: &&PathBuf| place.as_ref().ok().zip(run.canonicalize().ok()).is_some_and(|(p, r)| p.starts_with(r));
    match dirs.iter().find(inside) {
        Some(run) => Err(Error::InsideOfRun { out: out.into(), run: run.clone() }),
        None => Ok(()),
    }
}
