//! The threads that polars reads tables with, started where it can be told that they do not start.

use polars::prelude::{CsvReadOptions, SerReader};
use std::io::Cursor;
use std::panic;
use std::sync::OnceLock;

/// Starts them, once: polars panics where the system has no thread left for it.
pub fn start() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED.get_or_init(first).clone()
}

fn first() -> Result<(), String> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let read = panic::catch_unwind(|| CsvReadOptions::default().into_reader_with_file_handle(Cursor::new("a\n1\n")).finish());
    panic::set_hook(before);
    match read {
        Ok(read) => read.map(drop).map_err(|e| e.to_string()),
        Err(payload) => Err(payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "no thread".into())),
    }
}
