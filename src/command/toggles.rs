//! `uring-ablate toggles`: the declaration as a table.

use crate::exit::Exit;
use crate::toggle::SPECS;
use comfy_table::{ContentArrangement, Table, presets};

use super::Failure;

/// Prints every toggle.
pub fn toggles() -> Result<Exit, Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["toggle", "off", "on", "levels", "kernel", "what on does", "source"]);
    for spec in &SPECS {
        let doc = if spec.built { spec.doc.to_string() } else { format!("{} (not implemented yet)", spec.doc) };
        let (off, on) = (spec.level_text(spec.off), spec.level_text(spec.on));
        table.add_row([spec.key, &off, &on, &spec.levels(), spec.since, &doc, spec.source]);
    }
    println!("{table}");
    Ok(Exit::Ok)
}
