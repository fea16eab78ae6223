//! Files that survive a kill at any moment: locked, appended to and flushed, replaced whole, cut back to what was finished; CSV lines for them.
//! The only door to files of results, of histories and of searches.

mod dir;
mod replace;

pub use dir::{Dir, open_named, whole};
pub use replace::{PROGRAM, is_temporary};

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;

/// Writes a whole file that the user named: who reads it meanwhile, or after a crash, sees the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let dir = Dir::open(path.parent().unwrap_or(Path::new("")))?;
    dir.sweep();
    dir.replace(name, bytes)
}

/// A whole file of text that the user named, of at most `most` bytes.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    let bytes = dir::whole_within(&open_named(path)?, most)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// The whole lines of a text: what a kill left of the last one is not among them.
pub fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

/// One CSV line.
pub fn line<T: AsRef<[u8]>>(cells: &[T]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).expect("memory takes every record");
    written(writer)
}

/// CSV lines without a header.
pub fn lines<T: Serialize>(rows: &[T]) -> String {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    rows.iter().for_each(|row| writer.serialize(row).expect("rows are flat"));
    written(writer)
}

/// CSV lines behind the names of their fields; nothing of no rows.
pub fn with_header<T: Serialize>(rows: &[T]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().for_each(|row| writer.serialize(row).expect("rows are flat"));
    written(writer)
}

fn written(writer: csv::Writer<Vec<u8>>) -> String {
    let bytes = writer.into_inner().expect("memory flushes");
    String::from_utf8(bytes).expect("rows are text")
}

/// The rows of a CSV text with its header.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, csv::Error> {
    csv::Reader::from_reader(text.as_bytes()).into_deserialize().collect()
}
