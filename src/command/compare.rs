//! `uring-ablate compare`: runs side by side.

use super::Failure;
use crate::cli::CompareArgs;
use crate::console;
use crate::exit::Exit;
use crate::report::compare;
use crate::text;

/// Compares runs.
pub fn compare(args: &CompareArgs, quiet: bool) -> Result<Exit, Failure> {
    let compared = compare::compare(&args.runs, args.out.as_deref())?;
    if quiet {
        return Ok(Exit::Ok);
    }
    if args.out.is_none() {
        console::product(format!(
            "{}\n--out DIR writes the other metric, the steps of ladders, charts and a page.\n",
            compared.text
        ))?;
        return Ok(Exit::Ok);
    }
    let files: String = compared.files.iter().map(|file| format!("{}\n", text::line(&file.to_string_lossy()))).collect();
    console::print(format!("{}\n{files}", compared.text));
    Ok(Exit::Ok)
}
