//! A history on disk: `nights.csv` and `series.csv`, append-only, and a directory for each night.
//!
//! A night's lines go to `series.csv` and are flushed; then one line of `nights.csv` says so, with that file's length and the CRC-32 of the lines.
//! What lies beyond the last such line belongs to a night that was not finished and is cut off before the next is added. Order is that of
//! the lines: a clock that goes backwards changes nothing.

use super::row::{NightRow, SCHEMA_VERSION, SeriesRow, by_night};
use crate::durable::{self, Dir};
use crate::name;
use std::io;
use std::path::{Path, PathBuf};

pub const NIGHTS: &str = "nights.csv";
pub const SERIES: &str = "series.csv";
/// Of a night's own directory.
pub const ROUNDS: &str = "rounds.csv";

/// A history that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write {path}: {source}; make room or choose another --history: what was measured in earlier nights is kept", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds no history (no {NIGHTS}); the first night makes it: uring-ablate nightly EXPERIMENT --history {path}", path = .0.display())]
    Nothing(PathBuf),
    #[error("{path} is in use by another night; wait for it to end or choose another --history", path = .0.display())]
    Busy(PathBuf),
    #[error("{path} is damaged: {reason}; restore it from a copy, or move it away and begin a new history", path = path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{dir} has nights of another machine that is called {machine}, too (no night and no fingerprint in common); give one of them another name \
         (nightly --machine NAME) or merge them into another history", dir = dir.display()
    )]
    Namesakes { machine: String, dir: PathBuf },
    #[error("cannot lock {path}: {source}", path = path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("{path} was written by a newer uring-ablate (schema {schema}, this one knows {SCHEMA_VERSION}); use that one", path = path.display())]
    Newer { path: PathBuf, schema: u32 },
}

/// The nights of a directory.
#[derive(Debug)]
pub struct History {
    pub dir: Dir,
    rows: Vec<NightRow>,
    /// In the order of nights, as many of each as its line says.
    series: Vec<SeriesRow>,
    /// Bytes beyond the last finished night in `series.csv` and in `nights.csv`.
    pub unfinished_bytes: u64,
    /// By who adds a night; the kernel lets go of it with the process.
    locked: bool,
}

impl History {
    /// Reads a history; what is not finished is left where it is.
    pub fn read(dir: &Path) -> Result<History, Error> {
        match Dir::open(dir) {
            Ok(dir) => History::of(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Nothing(dir.into())),
            Err(source) => Err(Error::Read { path: dir.into(), source }),
        }
    }

    fn of(dir: Dir) -> Result<History, Error> {
        if !dir.holds(NIGHTS).map_err(|source| Error::Read { path: dir.join(NIGHTS), source })? {
            return Err(Error::Nothing(dir.path().into()));
        }
        let path = dir.join(NIGHTS);
        let text = read(&dir, NIGHTS)?;
        let whole = durable::whole_lines(&text);
        let rows: Vec<NightRow> = parse(&path, whole)?;
        if let Some(newer) = rows.iter().find(|n| n.schema_version > SCHEMA_VERSION) {
            return Err(Error::Newer { path, schema: newer.schema_version });
        }
        let mut before = "";
        for night in &rows {
            if chained(before, night) != night.line_crc {
                let reason =
                    format!("the line of night {:?} is not the one that was written behind those before (CRC-32)", night.night);
                return Err(Error::Damaged { path, reason });
            }
            before = &night.line_crc;
        }
        for (row, night) in rows.iter().enumerate() {
            for (column, value) in [("night", &night.night), ("experiment", &night.experiment)] {
                // Directories and charts are named after them.
                let damaged =
                    |reason| Error::Damaged { path: path.clone(), reason: format!("line {}: {column}: {reason}", row + 2) };
                name::check(value).map_err(damaged)?;
            }
        }
        let (series, beyond) = read_series(&dir, &rows)?;
        let unfinished_bytes = beyond + (text.len() - whole.len()) as u64;
        Ok(History { dir, rows, series, unfinished_bytes, locked: false })
    }

    /// Takes a history for this process to add to, made where there is none, cut back to whole nights once all of it was read and checked.
    pub fn open(dir: &Path) -> Result<History, Error> {
        let dir = Dir::create(dir).map_err(|source| Error::Write { path: dir.into(), source })?;
        let locked = dir.lock().map_err(|source| Error::Lock { path: dir.path().into(), source })?;
        if !locked {
            return Err(Error::Busy(dir.path().into()));
        }
        begin(&dir)?;
        let history = History::of(dir)?;
        let nights = durable::whole_lines(&read(&history.dir, NIGHTS)?).len() as u64;
        let lengths = [(SERIES, history.series_bytes()), (NIGHTS, nights)];
        let fail = |name: &'static str| {
            let path = history.dir.join(name);
            move |source| Error::Write { path, source }
        };
        for (name, length) in lengths {
            history.dir.can_cut(name, length).map_err(fail(name))?;
        }
        for (name, length) in lengths {
            history.dir.cut(name, length).map_err(fail(name))?;
        }
        Ok(History { locked, unfinished_bytes: 0, ..history })
    }

    /// Length of `series.csv` behind the last finished night.
    fn series_bytes(&self) -> u64 {
        self.rows.last().map_or_else(|| header(&[SeriesRow::example()]).len() as u64, |night| night.series_bytes)
    }

    /// Makes a night durable: until the last step has reached the disk it does not count.
    pub fn commit(&mut self, mut night: NightRow, series: &[SeriesRow]) -> Result<(), Error> {
        assert!(self.locked, "only an open history is added to");
        let text = durable::lines(series);
        night.series_rows = series.len() as u32;
        night.series_bytes = self.series_bytes() + text.len() as u64;
        night.series_crc = crc(&text);
        night.line_crc = chained(self.rows.last().map_or("", |n| n.line_crc.as_str()), &night);
        let append = |name: &str, text: &str| {
            self.dir.append(name, text.as_bytes()).map_err(|source| Error::Write { path: self.dir.join(name), source })
        };
        append(SERIES, &text)?;
        append(NIGHTS, &durable::lines(&[&night]))?;
        self.rows.push(night);
        self.series.extend_from_slice(series);
        Ok(())
    }

    /// The lines of both tables.
    pub fn tables(&self) -> (&[NightRow], &[SeriesRow]) {
        (&self.rows, &self.series)
    }

    /// Each night with its series.
    pub fn nights(&self) -> impl Iterator<Item = (&NightRow, &[SeriesRow])> {
        by_night(&self.rows, &self.series)
    }

    /// The directories of nights, finished or not, by name.
    pub fn directories(&self) -> Vec<String> {
        let names = self.dir.names().into_iter().flatten().filter_map(|name| name.into_string().ok());
        names.filter(|name| self.dir.dir(name).and_then(|night| night.holds(ROUNDS)).unwrap_or_default()).collect()
    }

    /// A directory for a night that begins now, with its name; that of a clock which was set back gets a number.
    pub fn directory(&self, started: &jiff::Timestamp, host: &str) -> Result<(String, Dir), Error> {
        let plain = night_name(started, host);
        let names = std::iter::once(plain.clone()).chain((2..).map(|n| format!("{plain}-{n}")));
        for name in names {
            match self.dir.make_new(&name) {
                Ok(night) => return Ok((name, night)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::Write { path: self.dir.join(name), source }),
            }
        }
        unreachable!("numbers do not end")
    }
}

/// What a night is called; a host may be called what a file may not.
pub fn night_name(started: &jiff::Timestamp, host: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    format!("{}-{}", started.strftime("%Y%m%dT%H%M%SZ"), host.chars().map(plain).collect::<String>())
}

/// Makes both tables where there is none. What else may be in their place is not ours to write to.
fn begin(dir: &Dir) -> Result<(), Error> {
    let headers = [(SERIES, header(&[SeriesRow::example()])), (NIGHTS, header(&[NightRow::example()]))];
    let mut missing = Vec::new();
    let mut holds_nights = false;
    for (name, header) in headers {
        let path = dir.join(name);
        match dir.read(name) {
            Ok(bytes) if bytes.starts_with(header.as_bytes()) => holds_nights |= bytes.len() > header.len(),
            // A start that was killed leaves a part of the header.
            Ok(bytes) if header.as_bytes().starts_with(&bytes) => missing.push((name, header)),
            Ok(_) => {
                let reason = "its first line is not that of a history".into();
                return Err(Error::Damaged { path, reason });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((name, header)),
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    for (name, header) in missing {
        let path = dir.join(name);
        if holds_nights {
            return Err(Error::Damaged { path, reason: "it is gone, and the other table holds nights".into() });
        }
        dir.replace(name, header.as_bytes()).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

/// What `line_crc` of a night is behind the line before.
fn chained(before: &str, night: &NightRow) -> String {
    let bare = NightRow { line_crc: String::new(), ..night.clone() };
    crc(&(before.to_string() + &durable::lines(&[bare])))
}

/// The lines of all finished nights, each checked against what its night says of them, and the bytes beyond.
fn read_series(dir: &Dir, nights: &[NightRow]) -> Result<(Vec<SeriesRow>, u64), Error> {
    let path = dir.join(SERIES);
    let text = read(dir, SERIES)?;
    let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
    let mut at = text.find('\n').map_or(0, |end| end + 1);
    for night in nights {
        let end = night.series_bytes as usize;
        let Some(own) = text.get(at..end) else {
            return Err(damaged(format!("night {} ends at byte {end} of {}", night.night, text.len())));
        };
        if crc(own) != night.series_crc {
            return Err(damaged(format!("the lines of night {} are not those that were written (CRC-32)", night.night)));
        }
        at = end;
    }
    let rows: Vec<SeriesRow> = parse(&path, &text[..at])?;
    let told: usize = nights.iter().map(|n| n.series_rows as usize).sum();
    if rows.len() != told {
        return Err(damaged(format!("{} lines where the nights tell of {told}", rows.len())));
    }
    Ok((rows, (text.len() - at) as u64))
}

fn read(dir: &Dir, name: &str) -> Result<String, Error> {
    dir.text(name).map_err(|source| Error::Read { path: dir.join(name), source })
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>, Error> {
    durable::parse(text).map_err(|e| Error::Damaged { path: path.into(), reason: e.to_string() })
}

fn header<T: serde::Serialize>(example: &[T]) -> String {
    let text = durable::with_header(example);
    text[..text.find('\n').map_or(0, |end| end + 1)].to_string()
}

fn crc(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}
