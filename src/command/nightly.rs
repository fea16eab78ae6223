//! `uring-ablate nightly`: preflight, the night, its files, its line in the history.

mod notes;
pub mod preflight;
mod programs;

use super::progress::Bar;
use super::{Failure, trust};
use crate::cli::NightlyArgs;
use crate::console;
use crate::control_group;
use crate::durable::Dir;
use crate::exit::Exit;
use crate::experiment::programs::Starts;
use crate::experiment::{self, Experiment};
use crate::export;
use crate::limits;
use crate::nightly::arms::Programs;
use crate::nightly::instrument::Watched;
use crate::nightly::row::{NightRow, SCHEMA_VERSION};
use crate::nightly::segment::{Identity, Segments};
use crate::nightly::store::{self, History};
use crate::nightly::unfinished::{self, Leftover};
use crate::nightly::{self, Night, Settings, watch};
use crate::program::Held;
use crate::report::night::{markdown, with_remarks};
use crate::run::checks;
use crate::run::environment::Environment;
use crate::run::facts::Circumstances;
use crate::spawn::{Interrupts, Tether};
use crate::target::Target;
use crate::text;
use crate::toggle::Toggle;
use crate::workload::Workload;
use jiff::Timestamp;
use notes::Notes;
use preflight::Means;
use programs::Program;
use std::path::Path;
use std::time::{Duration, Instant};

/// For both runs of a pull request.
const PULL_REQUEST: Duration = Duration::from_secs(285);
/// Rounds of a night unless the experiment says otherwise: identical processes differ by more than identical arms do.
const USUAL_ROUNDS: u32 = 24;

/// Runs a night.
pub fn nightly(args: &NightlyArgs, quiet: bool) -> Result<Exit, Failure> {
    let named = args.machine.as_deref().map_or(Ok(String::new()), |name| text::words(name, limits::LABEL));
    named.map_err(|reason| Failure { exit: Exit::Usage, message: format!("--machine: {reason}") })?;
    let mut experiment = experiment::load(&args.experiment, &args.overrides)?;
    trust::check(&args.experiment, &experiment, Starts::Subject, &args.overrides, &args.allow)?;
    preflight::check(&experiment)?;
    experiment.allow_size(args.allow.allow_size);
    let history = args.history.as_ref().map(|dir| History::open(dir)).transpose()?;
    if let Some(history) = &history {
        clear(history, quiet);
    }
    let programs = programs::both(args, &experiment, history.as_ref())?;
    let tonight = Tonight { args, experiment, programs, started: Timestamp::now(), environment: Environment::read(), quiet };
    tonight.run(history)
}

/// Clears away what unfinished nights left, and says so.
fn clear(history: &History, quiet: bool) {
    for leftover in unfinished::clear(history) {
        let said = match leftover {
            Leftover::Removed(night) => {
                format!("removed {}: a night that was not finished, which did not count", history.dir.join(night).display())
            }
            Leftover::Kept { night, holds } => {
                format!("{}: a night that was not finished stays, as it holds {holds}", history.dir.join(night).display())
            }
        };
        if !quiet {
            console::note(said);
        }
    }
}

/// What is known before anything is measured.
struct Tonight<'a> {
    args: &'a NightlyArgs,
    experiment: Experiment,
    /// The reference's and the candidate's.
    programs: [Program; 2],
    started: Timestamp,
    environment: Environment,
    quiet: bool,
}

impl Tonight<'_> {
    fn run(&self, mut history: Option<History>) -> Result<Exit, Failure> {
        control_group::clear();
        let process = |e: std::io::Error| crate::run::Error::Process(e);
        let (tether, interrupts) = (Tether::current(), Interrupts::install().map_err(process)?);
        let target = preflight::target(&self.experiment, &self.args.allow_destructive)?;
        let identity = self.identity(target.as_ref());
        let machine = self.args.machine.as_ref().unwrap_or(&self.environment.host);
        let segments = match &history {
            Some(history) => Segments::before(history, &self.experiment.name, machine, &identity),
            None => Segments::default(),
        };
        let programs = self.programs();
        let means = Means { experiment: &self.experiment, target: target.as_ref(), tether: &tether, interrupts: &interrupts };
        let slices = means.slices()?;
        let mut instrument = Watched { inner: means.instrument(&programs, &slices)?, programs: self.watched() };
        let (name, dir) = self.directory(history.as_ref())?;
        self.announce(dir.path(), target.as_ref());
        let mut notes = Notes::create(&dir, Bar::new(self.quiet))?;
        let clock = Instant::now();
        let night = nightly::conduct(&name, &mut instrument, &mut notes, &segments, self.settings())?;
        drop(instrument);
        let mut row = self.row(&name, machine, identity, &night, clock.elapsed(), target.as_ref());
        row.violations = notes.violations;
        if let Some(history) = &mut history {
            history.commit(row.clone(), &night.series)?;
        }
        // The night counts now; what is made of it must not take its verdict away, and files come before words, which may reach nobody.
        let watched = history.as_ref().map_or(vec![], |history| watch::of(history, &row.experiment, &row.machine, &row));
        let remarks = [night.remarks.clone(), watched].concat();
        let kept = self.keep(&dir, &row, &night, &remarks, history.as_ref());
        self.show(&row, &night, &remarks);
        match kept {
            Ok(()) if !self.quiet => console::note(format!("written: {}", dir.path().display())),
            Ok(()) => {}
            Err(failure) => console::note(format!("uring-ablate: the night counts, but {}", failure.message)),
        }
        Ok(night.exit)
    }

    /// What must agree with earlier nights.
    fn identity(&self, target: Option<&Target>) -> Identity {
        let major = self.environment.kernel.split(' ').nth(1).and_then(|r| r.split('.').next()).unwrap_or_default();
        let kind = target.map_or("no target", Target::kind);
        Identity {
            platform: format!("{}, Linux {major}, {kind}", std::env::consts::ARCH),
            subject: format!("{:08x}", crc32fast::hash(self.measured().as_bytes())),
            reference: self.programs[0].id.clone(),
        }
    }

    /// What is measured, in words that do not depend on the version of this program.
    fn measured(&self) -> String {
        if let Some(subject) = &self.experiment.subject {
            let Workload { block_size_bytes, .. } = self.experiment.cells[0];
            return format!("{} {:?} {block_size_bytes}", subject.command.join("\u{1f}"), subject.metric);
        }
        let full = self.experiment.toggles.iter().fold(self.experiment.fixed, |levels, (t, on)| levels.with(*t, *on));
        let on: Vec<String> = Toggle::all().filter(|t| full.is_on(*t)).map(|t| format!("{}={}", t.key(), full.get(t))).collect();
        let cells: Vec<String> = self.experiment.cells.iter().map(Workload::cell_name).collect();
        format!("{} {}", cells.join(" "), on.join(" "))
    }

    fn programs(&self) -> Programs {
        let [reference, candidate] = &self.programs;
        let by_path = self.experiment.subject.is_some();
        let path = |p: &Program| if by_path { p.held.path.clone() } else { p.held.very_file() };
        Programs { reference: path(reference), candidate: path(candidate) }
    }

    /// The programs that are started by their paths, as a script of the user's has to be.
    fn watched(&self) -> Vec<&Held> {
        let by_path = self.experiment.subject.is_some();
        self.programs.iter().map(|program| &program.held).filter(|_| by_path).collect()
    }

    fn settings(&self) -> Settings {
        let Experiment { gate, delta, alpha, .. } = self.experiment;
        Settings {
            rounds: self.experiment.rounds.unwrap_or(USUAL_ROUNDS),
            gate,
            delta,
            confidence: 1.0 - alpha,
            // Another draw every night; rounds.csv has the seeds.
            seed: self.experiment.seed ^ self.started.as_nanosecond() as u64,
            budget: self.args.pull_request.then_some(PULL_REQUEST),
        }
    }

    /// Where the night's own files go, and its name.
    fn directory(&self, history: Option<&History>) -> Result<(String, Dir), Failure> {
        let host = &self.environment.host;
        match history {
            Some(history) => Ok(history.directory(&self.started, host)?),
            None => {
                let name = store::night_name(&self.started, host);
                let path = self.args.out.clone().unwrap_or_else(|| Path::new("results/pull-request").join(&name));
                let fail = |source| export::Error::Write { path: path.clone(), source };
                let dir = Dir::create(&path).map_err(fail)?;
                if !dir.names().map_err(fail)?.is_empty() {
                    let message = format!("--out {} is not empty; choose another directory", path.display());
                    return Err(Failure { exit: Exit::Usage, message });
                }
                Ok((name, dir))
            }
        }
    }

    fn announce(&self, dir: &Path, target: Option<&Target>) {
        if self.quiet {
            return;
        }
        let [reference, candidate] = &self.programs;
        console::note(format!(
            "{}: {} ({}) beside {} ({})\nnight: {}",
            self.experiment.name,
            candidate.held.path.display(),
            candidate.id,
            reference.held.path.display(),
            reference.id,
            dir.display()
        ));
        let Experiment { cells, allow_iowq, .. } = &self.experiment;
        let found = target.map_or(vec![], |target| checks::of_target(target, cells, *allow_iowq));
        checks::warnings(&found).into_iter().for_each(console::note);
    }

    fn row(
        &self,
        name: &str,
        machine: &str,
        identity: Identity,
        night: &Night,
        wall: Duration,
        target: Option<&Target>,
    ) -> NightRow {
        let Environment { host, kernel, cpu, version, .. } = self.environment.clone();
        NightRow {
            schema_version: SCHEMA_VERSION,
            night: name.into(),
            started_utc: self.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            wall_s: wall.as_secs_f64(),
            experiment: self.experiment.name.clone(),
            machine: machine.into(),
            host,
            fingerprint: Circumstances::read(&target.map_or_else(Vec::new, Target::files)).fingerprint,
            platform: identity.platform,
            subject: identity.subject,
            reference: identity.reference,
            candidate: self.programs[1].id.clone(),
            version,
            kernel,
            cpu,
            exit: night.exit as u8,
            summary: text::line(&night.summary),
            violations: 0,
            series_rows: 0,
            series_bytes: 0,
            series_crc: String::new(),
            line_crc: String::new(),
        }
    }

    /// Prints the night.
    fn show(&self, row: &NightRow, night: &Night, remarks: &[String]) {
        if self.args.json {
            console::print(export::night::json(row, &night.series));
        } else if !self.quiet {
            console::print(with_remarks(markdown(row, &night.series), remarks));
        }
    }

    /// Leaves the night in every format and as a chart.
    fn keep(
        &self,
        dir: &Dir,
        row: &NightRow,
        night: &Night,
        remarks: &[String],
        history: Option<&History>,
    ) -> Result<(), Failure> {
        if let (Some(history), [reference, _]) = (history, &self.programs) {
            programs::pin(&history.dir, reference, self.args.reference.is_some())?;
        }
        for (name, text) in export::night::files(row, &night.series) {
            let text = if name.ends_with(".md") { with_remarks(text, remarks) } else { text };
            dir.replace(name, text.as_bytes()).map_err(|source| export::Error::Write { path: dir.join(name), source })?;
        }
        if let Some(history) = history {
            super::history::plot(history, &history.dir.join("plots"))?;
        }
        Ok(())
    }
}
