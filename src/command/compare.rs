//! `uring-ablate compare`: runs side by side.

use super::Failure;
use crate::cli::CompareArgs;
use crate::exit::Exit;
use crate::report::compare;

/// Compares runs.
pub fn compare(args: &CompareArgs, quiet: bool) -> Result<Exit, Failure> {
    let compared = compare::compare(&args.runs, args.out.as_deref())?;
    if !quiet {
        println!("{}", compared.text);
        match args.out {
            Some(_) => compared.files.iter().for_each(|file| println!("{}", file.display())),
            None => println!("--out DIR writes the other metric, the steps of ladders, charts and a page."),
        }
    }
    Ok(Exit::Ok)
}
