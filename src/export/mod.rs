//! A run in the formats of other tools. Reads its files, measures nothing; a file appears whole or not at all.

mod bencher;
mod github;
mod go;
mod hlog;
pub mod night;

use crate::analysis::contrast::Metric;
use crate::analysis::level::{Series, series};
use crate::analysis::{Model, intact, load, tables};
use crate::durable::{self, Dir};
use crate::text;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// A format of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Every table as a Parquet file, for DuckDB, pandas, polars.
    Parquet,
    /// Latency as a log of HdrHistogram's tools.
    Hlog,
    /// Bencher Metric Format.
    Bencher,
    GithubActionBenchmark,
    /// The benchmark format of Go, for benchstat.
    GoBenchfmt,
}

impl Format {
    pub const ALL: [Format; 5] =
        [Format::Parquet, Format::Hlog, Format::Bencher, Format::GithubActionBenchmark, Format::GoBenchfmt];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Hlog => "hlog",
            Format::Bencher => "bencher",
            Format::GithubActionBenchmark => "github-action-benchmark",
            Format::GoBenchfmt => "go-benchfmt",
        }
    }

    /// The format of that name.
    pub fn parse(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|f| f.name() == name)
    }
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error("cannot write {path}: {source}; choose another --out", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} has no {what}; {remedy}", path = path.display())]
    Nothing { path: PathBuf, what: &'static str, remedy: &'static str },
}

/// The text of a format that is one text. `metric` is what a format that has room for one figure tells.
pub fn text(results: &Path, format: Format, metric: Metric) -> Result<String, Error> {
    let dir = opened(results)?;
    let model = Model::read(&dir)?;
    if format == Format::Hlog {
        return hlog::text(&dir, &model);
    }
    let all = series(&model.data);
    let told: Vec<Series<'_>> = all.into_iter().filter(|s| ["slices", "isolated", "peers"].contains(&s.kind)).collect();
    if told.is_empty() {
        let path = results.join("trials.csv");
        return Err(Error::Nothing { path, what: "slice of a completed arm", remedy: "arms.csv says what became of each arm" });
    }
    let confidence = model.settings.confidence();
    Ok(match format {
        Format::Bencher => bencher::text(&told, confidence),
        Format::GithubActionBenchmark => github::text(&told, metric, confidence),
        Format::GoBenchfmt | Format::Parquet | Format::Hlog => go::text(&told, &model),
    })
}

/// Writes every table that the run has into `out`; returns the files with their numbers of rows.
pub fn parquet(results: &Path, out: &Path) -> Result<Vec<(PathBuf, usize)>, Error> {
    let results = opened(results)?;
    let finished = intact::finished(&results)?;
    written(&results, &tables::NAMES, finished.as_ref(), out)
}

fn opened(results: &Path) -> Result<Dir, Error> {
    Ok(Dir::open(results).map_err(|source| load::Error::Read { path: results.into(), source })?)
}

/// The same of tables by name.
pub fn parquet_of(results: &Dir, names: &[&str], out: &Path) -> Result<Vec<(PathBuf, usize)>, Error> {
    written(results, names, None, out)
}

fn written(results: &Dir, names: &[&str], finished: Option<&BTreeSet<u32>>, out: &Path) -> Result<Vec<(PathBuf, usize)>, Error> {
    let mut written = Vec::new();
    for name in names {
        let Some((bytes, rows)) = tables::parquet(results, name, finished)? else { continue };
        let dir = results.create_at(out).map_err(|source| Error::Write { path: out.into(), source })?;
        let name = Path::new(name).with_extension("parquet");
        dir.replace(&name, &bytes).map_err(|source| Error::Write { path: dir.join(&name), source })?;
        written.push((dir.join(&name), rows));
    }
    if written.is_empty() {
        return Err(Error::Nothing { path: results.path().into(), what: "table", remedy: "name the directory of a run" });
    }
    Ok(written)
}

/// Puts a file in place in one step: who reads it meanwhile sees the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    durable::replace(path, bytes).map_err(|source| Error::Write { path: path.into(), source })
}

/// The name of a series for tools that know one name: the same treatment runs in slices and as a process, which is not the same.
fn name(series: &Series<'_>) -> String {
    text::line(&format!("{}/{}/{}", series.cell, series.kind, series.treatment))
}
