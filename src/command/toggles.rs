//! `uring-ablate toggles`: the declaration as a table.

use crate::console;
use crate::exit::Exit;
use crate::toggle::{EXCLUSIONS, Exclusion, SPECS};
use comfy_table::{ContentArrangement, Table, presets};

use super::Failure;

/// Prints every toggle.
pub fn toggles() -> Result<Exit, Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["toggle", "off", "on", "levels", "kernel", "what on does", "needs, excludes", "source"]);
    for spec in &SPECS {
        let (off, on) = (spec.level_text(spec.off), spec.level_text(spec.on));
        let needs = spec.needs.iter().map(|need| format!("needs {}", need.text()));
        let excludes = EXCLUSIONS.iter().filter(|e| e.names(spec.toggle)).map(Exclusion::text);
        let constraints: Vec<String> = needs.chain(excludes).collect();
        table.add_row([spec.key, &off, &on, &spec.levels(), spec.since, spec.doc, &constraints.join("; "), spec.source]);
    }
    console::product(format!("{table}\n"))?;
    Ok(Exit::Ok)
}
