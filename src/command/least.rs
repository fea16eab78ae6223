//! What each verb needs of root, so that the rest is given up before the verb begins.

use super::Failure;
use crate::cli::{ExportArgs, HistoryVerb, ReportArgs, Verb};
use crate::exit::Exit;
use crate::export::Format;
use crate::privileges::{self, Needs};
use rustix::thread::CapabilitySet;
use std::path::Path;

/// Gives up what `verb` does not need. To be called before anything is opened and while there is one thread.
pub fn privilege(verb: &Verb) -> Result<(), Failure> {
    let Some(needs) = needs(verb) else { return Ok(()) };
    privileges::shed(&needs).map_err(|error| {
        use privileges::Error as E;
        let exit = match error {
            E::Mixed { .. } | E::Closed { .. } => Exit::Usage,
            E::Kept(_) | E::Threads(_) => Exit::Environment,
        };
        Failure { exit, message: error.to_string() }
    })
}

/// `None`: the verb measures, and needs what it was started with.
fn needs(verb: &Verb) -> Option<Needs<'_>> {
    Some(match verb {
        Verb::Plan(args) if !args.pilot => Needs { keeps: asking(), ..Needs::default() },
        Verb::Report(args) => report(args),
        Verb::Compare(args) => Needs {
            reads: args.runs.iter().map(AsRef::as_ref).collect(),
            writes: args.out.iter().map(AsRef::as_ref).collect(),
            ..Needs::default()
        },
        Verb::History(verb) => history(verb),
        Verb::Export(args) => export(args),
        Verb::Man { dir } => Needs { writes: vec![dir], ..Needs::default() },
        Verb::Toggles | Verb::Completions { .. } | Verb::Simulate { .. } => Needs::default(),
        Verb::Run(_)
        | Verb::Plan(_)
        | Verb::Nightly(_)
        | Verb::Bisect(_)
        | Verb::Bench(_)
        | Verb::Doctor(_)
        | Verb::Selftest(_)
        | Verb::SimulateNights(_)
        | Verb::Round
        | Verb::Worker
        | Verb::Tether { .. } => return None,
    })
}

/// A plan says what a run by the same user could do here: register memory, count, profile, and set up a ring where that is root's alone. So it does not
/// become another user, whoever's experiment and runs it reads; it writes nothing.
fn asking() -> CapabilitySet {
    CapabilitySet::IPC_LOCK
        | CapabilitySet::PERFMON
        | CapabilitySet::SYSLOG
        | CapabilitySet::DAC_READ_SEARCH
        | privileges::of_rings()
}

fn report(args: &ReportArgs) -> Needs<'_> {
    if let Some(document) = &args.splice {
        return Needs { reads: vec![document], writes: vec![above(document)], ..Needs::default() };
    }
    let results = args.results.as_deref();
    Needs {
        reads: results.into_iter().chain(args.history.as_deref()).collect(),
        writes: args.out.as_deref().or(results).into_iter().chain(args.plots.as_deref()).collect(),
        ..Needs::default()
    }
}

fn export(args: &ExportArgs) -> Needs<'_> {
    let results = args.results.as_path();
    let writes = match (args.format, &args.out) {
        (Format::Parquet, out) => vec![out.as_deref().unwrap_or(results)],
        (_, out) => out.iter().map(|out| above(out)).collect(),
    };
    Needs { reads: vec![results], writes, ..Needs::default() }
}

fn history(verb: &HistoryVerb) -> Needs<'_> {
    let (reads, writes): (Vec<&Path>, Option<&Path>) = match verb {
        HistoryVerb::Show { history, .. } | HistoryVerb::Verify { history } => (vec![history], None),
        HistoryVerb::Plot { history, out } | HistoryVerb::Export { history, out } => {
            (vec![history], Some(out.as_ref().unwrap_or(history)))
        }
        HistoryVerb::Merge { into, histories } => (histories.iter().map(AsRef::as_ref).collect(), Some(into)),
    };
    Needs { reads, writes: writes.into_iter().collect(), ..Needs::default() }
}

/// The directory in which a file is replaced.
fn above(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
