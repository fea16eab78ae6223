//! What each verb does: wires the parts together, leaves its files, then prints, and decides the exit code.

mod bench;
mod bisect;
mod compare;
mod doctor;
mod earlier;
mod export;
mod guide;
mod history;
mod least;
mod nightly;
mod plan;
mod progress;
mod report;
mod run;
mod schemes;
mod selftest;
mod simulate;
mod simulate_nights;
mod toggles;
mod trust;

pub use bench::bench;
pub use bisect::bisect;
pub use compare::compare;
pub use doctor::doctor;
pub use export::export;
pub use guide::{completions, manual};
pub use history::history;
pub use least::privilege;
pub use nightly::nightly;
pub use plan::plan;
pub use report::report;
pub use run::run;
pub use selftest::selftest;
pub use simulate::simulate;
pub use simulate_nights::simulate_nights;
pub use toggles::toggles;

use crate::console;
use crate::exit::Exit;
use crate::{engine, experiment, target};

/// An end other than success: the exit code and what to tell the user.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

fn failure(exit: Exit) -> impl Fn(&dyn std::fmt::Display) -> Failure {
    move |error| Failure { exit, message: error.to_string() }
}

impl From<console::Lost> for Failure {
    fn from(lost: console::Lost) -> Failure {
        failure(Exit::Environment)(&lost)
    }
}

impl From<experiment::Error> for Failure {
    fn from(error: experiment::Error) -> Failure {
        failure(Exit::Usage)(&error)
    }
}

impl From<crate::plan::Error> for Failure {
    fn from(error: crate::plan::Error) -> Failure {
        failure(Exit::Usage)(&error)
    }
}

impl From<engine::SetupError> for Failure {
    fn from(error: engine::SetupError) -> Failure {
        failure(Exit::Environment)(&error)
    }
}

impl From<target::Error> for Failure {
    fn from(error: target::Error) -> Failure {
        use target::Error as E;
        let refused = matches!(
            error,
            E::Guard(_) | E::Route(_) | E::Changed { .. } | E::Unwritable { .. } | E::Loop { .. } | E::Temporary { .. }
        );
        failure(if refused { Exit::Environment } else { Exit::Usage })(&error)
    }
}

impl From<crate::run::Error> for Failure {
    fn from(error: crate::run::Error) -> Failure {
        use crate::run::Error as E;
        use crate::run::pilot;
        let exit = match &error {
            E::Interrupted { .. } => Exit::Interrupted,
            E::Store(_)
            | E::Changed { .. }
            | E::OtherTarget { .. }
            | E::Pilot(pilot::Error::TooSlow { .. } | pilot::Error::TooMany { .. }) => Exit::Usage,
            E::Pilot(_) | E::Target { .. } | E::Failing(_) | E::Unreadable(_) | E::Process(_) => Exit::Environment,
        };
        failure(exit)(&error)
    }
}

impl From<crate::nightly::store::Error> for Failure {
    fn from(error: crate::nightly::store::Error) -> Failure {
        failure(Exit::Usage)(&error)
    }
}

impl From<crate::nightly::Error> for Failure {
    fn from(error: crate::nightly::Error) -> Failure {
        use crate::nightly::Error as E;
        let exit = match &error {
            E::Interrupted { .. } => Exit::Interrupted,
            E::Rounds(_) | E::TooSlow { .. } | E::Store(_) => Exit::Usage,
            E::Failing { .. } | E::TooFew { .. } => Exit::Inconclusive,
            E::Peer(_) | E::Replaced(_) => Exit::Environment,
        };
        failure(exit)(&error)
    }
}

impl From<crate::peer::Error> for Failure {
    fn from(error: crate::peer::Error) -> Failure {
        let interrupted = matches!(error, crate::peer::Error::Interrupted);
        failure(if interrupted { Exit::Interrupted } else { Exit::Environment })(&error)
    }
}

impl From<crate::bisect::Error> for Failure {
    fn from(error: crate::bisect::Error) -> Failure {
        use crate::bisect::Error as E;
        let exit = match &error {
            E::Interrupted => Exit::Interrupted,
            E::NoGit(_) | E::Git { .. } | E::Start(_) | E::Judge(_) => Exit::Environment,
            _ => Exit::Usage,
        };
        failure(exit)(&error)
    }
}

impl From<crate::export::Error> for Failure {
    fn from(error: crate::export::Error) -> Failure {
        failure(Exit::Usage)(&error)
    }
}

impl From<crate::report::Error> for Failure {
    fn from(error: crate::report::Error) -> Failure {
        failure(Exit::Usage)(&error)
    }
}
