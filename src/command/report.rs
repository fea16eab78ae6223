//! `uring-ablate report`: tables and charts from the files of a run.

use super::Failure;
use crate::cli::ReportArgs;
use crate::exit::Exit;
use crate::export;
use crate::report;
use std::path::Path;

/// Reports on a run.
pub fn report(args: &ReportArgs, quiet: bool) -> Result<Exit, Failure> {
    match (&args.splice, &args.results) {
        (Some(document), _) => splice(document),
        (None, Some(results)) => {
            show(results, &args.plots.clone().unwrap_or_else(|| results.join("plots")), args.history.as_deref(), quiet)
        }
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

/// Makes the tables of a document anew from the runs that it names.
fn splice(document: &Path) -> Result<Exit, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure { exit: Exit::Usage, message: format!("{}: {error}", document.display()) };
    let text = std::fs::read_to_string(document).map_err(|e| fail(&e))?;
    let home = document.parent().unwrap_or(Path::new(""));
    let spliced = report::splice::spliced(&text, home).map_err(|e| fail(&e))?;
    if spliced != text {
        export::replace(document, spliced.as_bytes()).map_err(|e| fail(&e))?;
    }
    Ok(Exit::Ok)
}

/// Writes the report, beside the runs in `history`, and prints the tables and where everything lies.
pub fn show(results: &Path, plots: &Path, history: Option<&Path>, quiet: bool) -> Result<Exit, Failure> {
    let summary = report::write_beside(results, plots, history)?;
    if !quiet {
        println!("{}", summary.text);
        println!("report: {}", summary.report.display());
        println!("page:   {}", summary.page.display());
        summary.gallery.pictures.iter().for_each(|p| println!("chart:  {}", p.png.display()));
    }
    if summary.measured {
        return Ok(Exit::Ok);
    }
    let message = format!("nothing could be compared; {} says what became of each arm", results.join("arms.csv").display());
    Err(Failure { exit: Exit::Environment, message })
}
