//! `uring-ablate history`: what nights have told.

use super::Failure;
use crate::cli::HistoryVerb;
use crate::console;
use crate::exit::Exit;
use crate::nightly::store::{History, NIGHTS, SERIES};
use crate::nightly::{merge, watch};
use crate::{export, plot, report};
use std::path::Path;

/// Does what is asked of a history.
pub fn history(verb: &HistoryVerb, quiet: bool) -> Result<Exit, Failure> {
    match verb {
        HistoryVerb::Show { history, json } => {
            let history = History::read(history)?;
            let (nights, series) = history.tables();
            let told = if *json {
                export::night::history(nights, series)
            } else {
                report::night::with_remarks(report::hosts::markdown(nights, series), &watch::remarks(&history))
            };
            console::product(told)?;
        }
        HistoryVerb::Plot { history, out } => {
            let history = History::read(history)?;
            let out = out.clone().unwrap_or_else(|| history.dir.join("plots"));
            plot(&history, &out)?;
            say(quiet, &format!("written: {}", out.display()));
        }
        HistoryVerb::Verify { history } => verify(&History::read(history)?, quiet),
        HistoryVerb::Export { history, out } => {
            let history = History::read(history)?;
            let out = out.clone().unwrap_or_else(|| history.dir.join("parquet"));
            for (path, rows) in export::parquet_of(&history.dir, &[NIGHTS, SERIES], &out)? {
                say(quiet, &format!("{}: {rows} rows", path.display()));
            }
        }
        HistoryVerb::Merge { into, histories } => {
            let sources = histories.iter().map(|dir| History::read(dir)).collect::<Result<Vec<_>, _>>()?;
            let added = merge::merge(&mut History::open(into)?, &sources)?;
            say(quiet, &format!("{}: {added} nights added", into.display()));
        }
    }
    Ok(Exit::Ok)
}

fn say(quiet: bool, what: &str) {
    if !quiet {
        console::print(format!("{what}\n"));
    }
}

/// What reading has proved, and what an unfinished night left.
fn verify(history: &History, quiet: bool) {
    let (nights, series) = history.tables();
    say(
        quiet,
        &format!(
            "{}: {} nights, {} lines of series, every line is as it was written",
            history.dir.path().display(),
            nights.len(),
            series.len()
        ),
    );
    if history.unfinished_bytes > 0 {
        let bytes = history.unfinished_bytes;
        say(quiet, &format!("{bytes} bytes of a night that was not finished; the next night cuts them off"));
    }
    let known = |name: &str| nights.iter().any(|n| n.night == name);
    for name in history.directories().iter().filter(|name| !known(name)) {
        say(quiet, &format!("{}: a night that was not finished, which does not count", crate::text::line(name)));
    }
}

/// Draws every chart of a history into a directory.
pub fn plot(history: &History, out: &Path) -> Result<(), Failure> {
    let (nights, series) = history.tables();
    let dir = history.dir.create_at(out).map_err(|source| export::Error::Write { path: out.into(), source })?;
    plot::nights::write(nights, series, &dir).map_err(report::Error::Plot)?;
    Ok(())
}
