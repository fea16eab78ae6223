//! `uring-ablate export`: a run in the formats of other tools.

use super::Failure;
use crate::analysis::contrast::Metric;
use crate::cli::ExportArgs;
use crate::console;
use crate::exit::Exit;
use crate::export::{self, Format};
use std::path::PathBuf;

/// Exports a run.
pub fn export(args: &ExportArgs, quiet: bool) -> Result<Exit, Failure> {
    if args.metric.is_some() && args.format != Format::GithubActionBenchmark {
        let message = format!(
            "--metric chooses what --format {} tells; {} tells every metric: leave it out",
            Format::GithubActionBenchmark.name(),
            args.format.name()
        );
        return Err(Failure { exit: Exit::Usage, message });
    }
    let written = match (args.format, &args.out) {
        (Format::Parquet, out) => {
            let out = out.clone().unwrap_or_else(|| args.results.join("parquet"));
            export::parquet(&args.results, &out)?.into_iter().map(|(path, rows)| told(path, &format!("{rows} rows"))).collect()
        }
        (format, out) => {
            // Whole before a byte of it is seen.
            let text = export::text(&args.results, format, args.metric.unwrap_or(Metric::CpuPerOp))?;
            let Some(out) = out else {
                console::product(text)?;
                return Ok(Exit::Ok);
            };
            export::replace(out, text.as_bytes())?;
            vec![told(out.clone(), format.name())]
        }
    };
    if !quiet {
        written.iter().for_each(|line: &String| console::print(format!("{line}\n")));
    }
    Ok(Exit::Ok)
}

fn told(path: PathBuf, what: &str) -> String {
    format!("{}: {what}", path.display())
}
