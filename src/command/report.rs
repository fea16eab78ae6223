//! `uring-ablate report`: tables and charts from the files of a run.

use super::Failure;
use crate::cli::ReportArgs;
use crate::exit::Exit;
use crate::report;
use std::path::Path;

/// Reports on a run.
pub fn report(args: &ReportArgs, quiet: bool) -> Result<Exit, Failure> {
    let plots = args.plots.clone().unwrap_or_else(|| args.results.join("plots"));
    show(&args.results, &plots, args.history.as_deref(), quiet)
}

/// Writes the report, beside the runs in `history`, and prints the tables and where everything lies.
pub fn show(results: &Path, plots: &Path, history: Option<&Path>, quiet: bool) -> Result<Exit, Failure> {
    let summary = report::write_beside(results, plots, history)?;
    if !quiet {
        println!("{}", summary.text);
        println!("report: {}", summary.report.display());
        summary.gallery.pictures.iter().for_each(|p| println!("chart:  {}", p.png.display()));
    }
    if summary.measured {
        return Ok(Exit::Ok);
    }
    let message = format!("nothing could be compared; {} says what became of each arm", results.join("arms.csv").display());
    Err(Failure { exit: Exit::Environment, message })
}
