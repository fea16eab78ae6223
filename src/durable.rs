//! Files that survive a kill at any moment: locked, appended to and flushed, replaced whole, cut back to what was finished; CSV lines for them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Takes a directory for this process, for as long as the file lives; `None` where another process has it.
pub fn lock(dir: &Path) -> io::Result<Option<File>> {
    let handle = File::open(dir)?;
    match rustix::fs::flock(&handle, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(handle)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Appends to a file that exists; on disk when it returns.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Writes a whole file: who reads it meanwhile, or after a crash, sees the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}

/// Cuts a file to its first `length` bytes. An error of kind `UnexpectedEof` where it has fewer.
pub fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let has = file.metadata()?.len();
    if has < length {
        let reason = format!("{has} bytes are left of {length} that were written");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
    }
    file.set_len(length)?;
    file.sync_data()
}

/// The whole lines of a text: what a kill left of the last one is not among them.
pub fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

/// One CSV line.
pub fn line<T: AsRef<[u8]>>(cells: &[T]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).expect("memory takes every record");
    text(writer)
}

/// CSV lines without a header.
pub fn lines<T: Serialize>(rows: &[T]) -> String {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    rows.iter().for_each(|row| writer.serialize(row).expect("rows are flat"));
    text(writer)
}

/// CSV lines behind the names of their fields; nothing of no rows.
pub fn with_header<T: Serialize>(rows: &[T]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().for_each(|row| writer.serialize(row).expect("rows are flat"));
    text(writer)
}

fn text(writer: csv::Writer<Vec<u8>>) -> String {
    let bytes = writer.into_inner().expect("memory flushes");
    String::from_utf8(bytes).expect("rows are text")
}

/// The rows of a CSV text with its header.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, csv::Error> {
    csv::Reader::from_reader(text.as_bytes()).into_deserialize().collect()
}
