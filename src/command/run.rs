//! `uring-ablate run`: preflight, the run, the report.

use super::progress::Bar;
use super::{Failure, earlier, trust};
use crate::analysis::{Model, stopping};
use crate::cli::RunArgs;
use crate::console;
use crate::durable::Dir;
use crate::engine::{self, numa};
use crate::exit::Exit;
use crate::experiment::programs::Starts;
use crate::experiment::{self, Experiment};
use crate::perf::{self, Limits};
use crate::plan::{self, Plan, RoundKind};
use crate::report::Places;
use crate::run::checks;
use crate::run::manifest::{Circumstances, Manifest};
use crate::run::pace::{Pace, Widths};
use crate::run::{self, Job};
use crate::spawn::{Interrupts, Tether};
use crate::target::route::{self, Sight};
use crate::target::{self, Access, Target, room};
use crate::toggle::Toggle;
use crate::{control_group, workload::Workload};
use std::path::{Path, PathBuf};

/// Runs an experiment.
pub fn run(args: &RunArgs, quiet: bool) -> Result<Exit, Failure> {
    let smoke = if args.smoke { smoke(&args.experiment)? } else { Vec::new() };
    let mut experiment = experiment::load(&args.experiment, &[smoke, args.changes()].concat())?;
    trust::check(&args.experiment, &experiment, Starts::Peers, &args.changes(), &args.allow)?;
    experiment.allow_size(args.allow.allow_size);
    let place = Place::choose(args, &experiment)?;
    measure(experiment, &place.results, args.resume, &args.allow_destructive, quiet)?;
    let Place { results, plots, history } = &place;
    super::report::show(&Places { results, out: results, plots, history: history.as_deref() }, quiet)
}

/// What makes a smoke run of an experiment, under a name of its own: its figures are no history of the real one.
fn smoke(file: &Path) -> Result<Vec<String>, Failure> {
    let experiment = experiment::load(file, &[])?;
    if experiment.smoke.is_empty() {
        let message = format!("{}: --smoke needs a key smoke, for example smoke = [\"design.round_time=300ms\"]", file.display());
        return Err(Failure { exit: Exit::Usage, message });
    }
    Ok([experiment.smoke, vec![format!("name={}-smoke", experiment.name)]].concat())
}

/// Preflight and run, into `dir`.
pub fn measure(mut experiment: Experiment, dir: &Path, resume: bool, allowed: &[PathBuf], quiet: bool) -> Result<(), Failure> {
    engine::probe(experiment.allow_iowq)?;
    check_cpus(&experiment)?;
    control_group::clear();
    let process = |e: std::io::Error| run::Error::Process(e);
    let (tether, interrupts) = (Tether::current(), Interrupts::install().map_err(process)?);
    let target = prepare(&experiment, allowed)?;
    if resume {
        run::check_target(dir, &target)?;
    }
    let learnt = || {
        let here = Circumstances::read(&target.files());
        earlier::rounds(&experiment, &earlier::spread(&experiment, |c| here.obstacle(c).is_none()))
    };
    // Earlier runs are read only where they have a say.
    let learnt = if resume || !earlier::chooses(&experiment) { None } else { learnt() };
    experiment.rounds = experiment.rounds.or_else(|| begun_with(dir).filter(|_| resume));
    let plan = plan_on(&experiment, &target, learnt, &tether, &interrupts)?;
    if !quiet {
        announce(&experiment, &plan, &target, dir);
    }
    let widths = || Model::load(dir).map(|model| widths(&model)).map_err(|e| e.to_string());
    let whole = plan.expected(&experiment, |r| r.kind == RoundKind::Whole);
    let pace = Pace {
        budget: experiment.budget.map(|b| b.saturating_sub(whole)),
        target_half_width: experiment.target_half_width,
        widths: &widths,
    };
    let (experiment, plan, target) = (&experiment, &plan, &target);
    let (interrupts, tether, progress) = (&interrupts, &tether, &Bar::new(quiet));
    run::run(&Job { experiment, plan, target, dir, resume, tether, interrupts, progress, pace })?;
    Ok(())
}

/// How wide the intervals of each cell are.
fn widths(model: &Model) -> Widths {
    model.cells.iter().filter_map(|cell| Some((cell.cell.clone(), stopping::widest(cell)?))).collect()
}

/// The number of rounds that a run was planned with.
fn begun_with(dir: &Path) -> Option<u32> {
    Manifest::read(&Dir::open(dir).ok()?).ok()?.map(|manifest| manifest.repetitions).filter(|n| *n > 0)
}

/// The plan of an experiment on a target, without the toggles that it turns out to lack.
/// `learnt` is what earlier runs ask for.
pub fn plan_on(
    experiment: &Experiment,
    target: &Target,
    learnt: Option<u32>,
    tether: &Tether,
    interrupts: &Interrupts,
) -> Result<Plan, Failure> {
    check_cpus(experiment)?;
    let obstacles = run::obstacles(experiment, target, tether, interrupts)?;
    let obstacle = |toggle, level, workload: &Workload| {
        let found = obstacles.iter().find(|o| (o.toggle, o.level, &o.workload) == (toggle, level, workload));
        found.map(|o| o.reason.clone())
    };
    let setting = target.setting(&experiment.options);
    let limits = limits(experiment, &target.devices());
    Ok(plan::make(experiment, &plan::Place { setting: &setting, obstacle: &obstacle, limits, learnt })?)
}

/// Refuses CPUs that an experiment names and this process cannot have: jobs never run on another one instead.
pub fn check_cpus(experiment: &Experiment) -> Result<(), Failure> {
    numa::check(&experiment.options)
        .map_err(engine::SetupError::Cpus)?
        .map_err(|beyond| Failure { exit: Exit::Usage, message: beyond.to_string() })
}

/// What of the profiles and counts that an experiment asks for cannot be had here.
pub fn limits(experiment: &Experiment, devices: &[(u32, u32)]) -> Limits {
    let profile = (experiment.profile.rounds > 0).then_some(experiment.profile.frequency);
    perf::limits(profile, (experiment.counted_rounds > 0).then_some(devices))
}

/// Opens or makes the target and checks every workload against it, writes included.
pub fn prepare(experiment: &Experiment, allowed: &[PathBuf]) -> Result<Target, Failure> {
    Ok(prepare_for(experiment, Access::of(experiment.writes(), allowed))?)
}

/// The same for what the caller knows to be done to the target.
pub fn prepare_for(experiment: &Experiment, access: Access<'_>) -> Result<Target, target::Error> {
    let allowed_bytes = experiment.target.iter().map(|t| t.allowed_bytes).max().unwrap_or(0);
    for workload in &experiment.cells {
        room::buffers(workload, pools(experiment), allowed_bytes)?;
    }
    let mut target = Target::resolve_all(&experiment.target, access)?;
    for workload in &experiment.cells {
        target.accepts(workload)?;
    }
    // What a command does to its target is its own affair, and counted from outside.
    if experiment.subject.is_none() {
        target.prove(&experiment.cells)?;
    }
    Ok(target)
}

/// How many times the buffers of a workload are held at once: four pools of each kind where there are several kinds of memory, and one in
/// each process that takes part.
fn pools(experiment: &Experiment) -> u64 {
    let several = [Toggle::HugePages, Toggle::NumaBind];
    let kinds =
        1 + experiment.toggles.iter().chain(&experiment.beside).filter(|(toggle, _)| several.contains(toggle)).count() as u64;
    let in_rounds = if kinds > 1 { kinds * 4 } else { 1 };
    in_rounds.max(1 + experiment.peers.count() as u64)
}

fn announce(experiment: &Experiment, plan: &Plan, target: &Target, results: &Path) {
    console::note(format!("{}: {}\ntarget: {}", experiment.name, experiment.question, target.description));
    if let Sight::Nobody { why } = &target.sight {
        console::note(format!("{}: nobody can check that bytes come from or go to a device: {why}", route::NOT_PROVED));
    }
    for cell in &plan.cells {
        console::note(format!("cell {}: {} arms, {} rounds", cell.name, cell.arms.len(), plan.repetitions));
        cell.dropped.iter().for_each(|d| console::note(format!("  without {}: {}", d.toggle, d.reason)));
    }
    let found = checks::of_target(target, &experiment.cells, experiment.allow_iowq);
    checks::warnings(&found).into_iter().for_each(console::note);
    console::note(format!("{}results: {}", plan.limits, results.display()));
}

/// Where a run's files go.
struct Place {
    results: PathBuf,
    plots: PathBuf,
    /// Where earlier runs of the experiment lie.
    history: Option<PathBuf>,
}

impl Place {
    fn choose(args: &RunArgs, experiment: &Experiment) -> Result<Place, Failure> {
        if let Some(out) = &args.out {
            return Ok(Place { results: out.clone(), plots: out.join("plots"), history: None });
        }
        let home = Path::new("results").join(&experiment.name);
        let plots = Path::new("plots").join(&experiment.name);
        if args.resume {
            let newest =
                earlier::newest(&home).ok_or_else(|| run::store::Error::Nothing(home.clone())).map_err(run::Error::from)?;
            return Ok(Place { results: newest, plots, history: Some(home) });
        }
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let host = rustix::system::uname();
        let results = home.join(format!("{now}-{}", host.nodename().to_string_lossy()));
        Ok(Place { results, plots, history: Some(home) })
    }
}
