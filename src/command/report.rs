//! `uring-ablate report`: tables and charts from the files of a run.

use super::Failure;
use crate::cli::ReportArgs;
use crate::console;
use crate::durable;
use crate::exit::Exit;
use crate::export;
use crate::limits;
use crate::report::{self, Places};
use crate::text;
use std::path::Path;

/// Reports on a run.
pub fn report(args: &ReportArgs, quiet: bool) -> Result<Exit, Failure> {
    match (&args.splice, &args.results) {
        (Some(document), _) => splice(document),
        (None, Some(results)) => {
            let out = args.out.as_deref().unwrap_or(results);
            let plots = args.plots.clone().unwrap_or_else(|| out.join("plots"));
            let exit = show(&Places { results, out, plots: &plots, history: args.history.as_deref() }, quiet)?;
            if !quiet && args.out.is_none() {
                console::print("These files lie beside those of the run; --out DIR puts them elsewhere.\n");
            }
            Ok(exit)
        }
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

/// Makes the tables of a document anew from the runs that it names.
fn splice(document: &Path) -> Result<Exit, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure { exit: Exit::Usage, message: format!("{}: {error}", document.display()) };
    // A link that the user names stays, and what it leads to is made anew.
    let document = &document.canonicalize().map_err(|e| fail(&e))?;
    let text = durable::text(document, limits::FILE_BYTES).map_err(|e| fail(&e))?;
    let home = document.parent().unwrap_or(Path::new(""));
    let spliced = report::splice::spliced(&text, home).map_err(|e| fail(&e))?;
    if spliced != text {
        export::replace(document, spliced.as_bytes()).map_err(|e| fail(&e))?;
    }
    Ok(Exit::Ok)
}

/// Writes the report and prints the tables and where everything lies.
pub fn show(places: &Places<'_>, quiet: bool) -> Result<Exit, Failure> {
    let summary = report::write_to(places)?;
    if !quiet {
        let charts: String =
            summary.gallery.pictures.iter().map(|p| format!("chart:  {}\n", text::line(&p.png.to_string_lossy()))).collect();
        let (report, page) = (summary.report.display(), summary.page.display());
        console::print(format!("{}\nreport: {report}\npage:   {page}\n{charts}", summary.text));
    }
    if summary.measured {
        return Ok(Exit::Ok);
    }
    let arms = places.results.join("arms.csv");
    let message = format!("nothing could be compared; {} says what became of each arm", arms.display());
    Err(Failure { exit: Exit::Environment, message })
}
