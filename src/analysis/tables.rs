//! The tables of a run or of a history as Parquet, for whatever reads that.

use super::columns::{Holds, holds};
use super::load::{Error, Table};
use crate::durable::Dir;
use crate::row::JournalRow;
use polars::prelude::{BooleanChunked, DataType, ParquetWriter, PolarsError};
use std::collections::BTreeSet;
use std::path::Path;

/// The tables that a run may have, by the names of their files.
pub const NAMES: [&str; 6] = ["trials", "arms", "rounds", "plan", "overhead", "effects"];

/// A table's file, named with its suffix or without, as Parquet, and how many rows it has; `None` where there is no such table. Lines that were torn are left out, empty
/// cells are nulls. Of what rounds append to, only rows of `finished` ones are taken, where it is known which were.
pub fn parquet(dir: &Dir, name: &str, finished: Option<&BTreeSet<u32>>) -> Result<Option<(Vec<u8>, usize)>, Error> {
    let file = Path::new(name).with_extension("csv").display().to_string();
    let path = dir.join(&file);
    if !dir.holds(&file).map_err(|source| Error::Read { path: path.clone(), source })? {
        return Ok(None);
    }
    let mut table = Table::read_as(dir, &file, &mut Vec::new(), exact)?;
    if let Some(finished) = finished.filter(|_| JournalRow::LENGTHS.iter().any(|(appended, _)| *appended == file)) {
        table.keep(finished)?;
    }
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut table.frame).map_err(|e| Error::Table { path, reason: e.to_string() })?;
    Ok(Some((bytes, table.frame.height())))
}

/// The type that loses nothing. It hangs on the column's name alone, so that files of several runs can be read as one.
fn exact(column: &str) -> DataType {
    match holds(column) {
        Holds::Text => DataType::String,
        Holds::Whole => DataType::Int64,
        Holds::Seeds => DataType::UInt64,
        Holds::Numbers => DataType::Float64,
        Holds::Flags => DataType::Boolean,
    }
}

impl Table {
    /// Keeps the rows of these rounds.
    fn keep(&mut self, rounds: &BTreeSet<u32>) -> Result<(), Error> {
        let fail = |e: PolarsError| Error::Table { path: self.path.clone(), reason: e.to_string() };
        let column = self.frame.column("round").and_then(|column| column.i64()).map_err(fail)?;
        let known = |round: i64| u32::try_from(round).is_ok_and(|round| rounds.contains(&round));
        let mask: BooleanChunked = column.iter().map(|round| Some(round.is_some_and(known))).collect();
        self.frame = self.frame.filter(&mask).map_err(fail)?;
        Ok(())
    }
}
