//! Tables of committed runs in a document such as README, between markers: `<!-- begin SECTION of RUN -->` and `<!-- end -->`.
//!
//! SECTION is `answer`, `advice` or `claims`, or one of a workload's: `toggles CELL`, `causes CELL`, `peers CELL`. RUN is the run's directory
//! as seen from the document, below whose directory it lies.

use super::{advice, answer, claims, markdown, overhead, toggles};
use crate::analysis::claim::judge;
use crate::analysis::{Model, load};
use crate::durable::Dir;
use std::collections::BTreeMap;
use std::path::Path;

const BEGIN: &str = "<!-- begin ";
const END: &str = "<!-- end -->";

/// A marker that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "line {line}: {text:?} is no marker; write <!-- begin SECTION of RUN --> with SECTION one of answer, advice, claims, toggles CELL, causes CELL, peers CELL"
    )]
    Marker { line: usize, text: String },
    #[error("line {0}: no {END} follows this marker")]
    Open(usize),
    #[error("line {line}: {run} has no workload {cell}; it has {known}")]
    Cell { line: usize, run: String, cell: String, known: String },
    #[error("line {line}: {run} has nothing to show there")]
    Empty { line: usize, run: String },
    #[error("line {line}: {source}")]
    Load { line: usize, source: load::Error },
}

/// The document with every marked part made anew; `home` is its directory.
pub fn spliced(document: &str, home: &Path) -> Result<String, Error> {
    let mut runs: BTreeMap<String, Model> = BTreeMap::new();
    let mut text = String::new();
    let mut lines = (1..).zip(document.lines());
    while let Some((line, content)) = lines.next() {
        text += content;
        text.push('\n');
        let Some(marker) = content.strip_prefix(BEGIN) else { continue };
        let fail = || Error::Marker { line, text: content.into() };
        let (section, run) = marker.strip_suffix(" -->").and_then(|m| m.split_once(" of ")).ok_or_else(fail)?;
        if !runs.contains_key(run) {
            runs.insert(run.into(), model(home, run).map_err(|source| Error::Load { line, source })?);
        }
        let made = part(&runs[run], section, run, line)?.ok_or_else(fail)?;
        if made.trim().is_empty() {
            return Err(Error::Empty { line, run: run.into() });
        }
        text += &format!("{}\n{END}\n", made.trim_end());
        match lines.find(|(_, l)| *l == END || l.starts_with(BEGIN)) {
            Some((_, END)) => {}
            _ => return Err(Error::Open(line)),
        }
    }
    Ok(text)
}

/// A run that a document names.
fn model(home: &Path, run: &str) -> Result<Model, load::Error> {
    let dir = Dir::open(home).and_then(|home| home.below(Path::new(run)));
    Model::read(&dir.map_err(|source| load::Error::Read { path: home.join(run), source })?)
}

/// One section; `None` where its name is unknown.
fn part(model: &Model, section: &str, run: &str, line: usize) -> Result<Option<String>, Error> {
    let cell = |name: &str| {
        let found = model.cells.iter().find(|c| c.cell == name);
        let known = || model.cells.iter().map(|c| c.cell.as_str()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| Error::Cell { line, run: run.into(), cell: name.into(), known: known() })
    };
    let made = match section.split_once(' ').unwrap_or((section, "")) {
        ("answer", "") => answer::body(model),
        ("advice", "") => advice::table(model),
        ("claims", "") => claims::table(&judge(model)),
        ("toggles", name) => toggles::single(cell(name)?),
        ("causes", name) => overhead::moved(model, cell(name)?),
        ("peers", name) => markdown::peers(cell(name)?),
        _ => return Ok(None),
    };
    Ok(Some(made))
}
