//! `uring-ablate plan`: what an experiment would do, without doing it.

use super::earlier::{self, LEAST_ROUNDS};
use super::run::{check_cpus, limits, plan_on, prepare};
use super::{Failure, trust};
use crate::analysis::fraction::Fraction;
use crate::analysis::stopping::FIRST;
use crate::cli::PlanArgs;
use crate::console;
use crate::engine::registration;
use crate::exit::Exit;
use crate::experiment::programs::Starts;
use crate::experiment::{self, Experiment, FioConfig};
use crate::plan::{self, Cell, Plan, RoundKind};
use crate::row::kind_name;
use crate::run::facts::{self, Circumstances};
use crate::run::fingerprint::{self, fingerprint};
use crate::run::{self, checks, peers};
use crate::spawn::{Interrupts, Tether};
use crate::target::{self, Access, Target};
use crate::toggle::Toggle;
use crate::units;
use crate::workload::Workload;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Prints the plan.
pub fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let mut experiment = experiment::load(&args.experiment, &args.changes())?;
    if args.pilot {
        // It starts none of them, but who prepares a run wants to know now what the run will ask for.
        trust::check(&args.experiment, &experiment, Starts::Peers, &args.changes(), &args.allow)?;
    }
    check_cpus(&experiment)?;
    experiment.allow_size(args.allow.allow_size);
    // The target is not made yet: earlier runs on this machine count.
    let machine = fingerprint(&facts::machine(), &[]);
    let here = |c: &Circumstances| fingerprint::same(&fingerprint(&c.machine, &[]), &machine);
    let spread = earlier::spread(&experiment, here);
    let learnt = earlier::rounds(&experiment, &spread);
    target::foresee(&experiment.target, &experiment.cells)?;
    let setting = target::setting_of(experiment.target.iter().flat_map(|t| t.path.as_deref()), &experiment.options);
    let place = plan::Place { setting: &setting, obstacle: &unlockable, limits: limits(&experiment, &[]), learnt };
    let plan = plan::make(&experiment, &place)?;
    if let Some(name) = &args.fio_job {
        return fio_jobs(&experiment, &plan, name);
    }
    console::product(text(&experiment, &plan, learnt, &spread))?;
    if args.pilot { pilot(&experiment, &args.allow_destructive) } else { Ok(Exit::Ok) }
}

/// The plan in words.
fn text(experiment: &Experiment, plan: &Plan, learnt: Option<u32>, spread: &[earlier::Spread]) -> String {
    let mut lines = vec![format!("{}: {}", experiment.name, experiment.question)];
    for cell in &plan.cells {
        lines.push(format!("\ncell {}", cell.name));
        lines.extend(cell.arms.iter().map(|arm| format!("  {} x {}", arm.copies, arm.treatment)));
        lines.extend(plan.fio.iter().map(|c| format!("  1 x {}", c.treatment())));
        lines.extend(turns(experiment, cell));
        lines.extend(cell.dropped.iter().map(|d| format!("  dropped {}: {}", d.toggle, d.reason)));
        let fraction = Fraction::of(cell.arms.iter().map(|arm| arm.treatment.as_str()));
        let aliases = fraction.map_or(vec![], |fraction| fraction.aliases());
        lines.extend(aliases.into_iter().map(|(name, with)| format!("  alias: {name} = {}", with.join(" = "))));
    }
    lines.push(format!("\n{}{}", if experiment.looks() { "at most " } else { "" }, rounds(plan)));
    lines.push(order(experiment, plan));
    lines.push(format!("time: {}", time(experiment, plan)));
    if let Some(rounds) = learnt {
        let most = if rounds == earlier::MOST_ROUNDS { ", and more are not chosen unasked" } else { "" };
        lines.push(format!(
            "rounds: {rounds} from the spread of earlier ones, for effects of {} %{most}",
            experiment.delta * 100.0
        ));
    }
    lines.extend(checks::warnings(&checks::of_wanted(&experiment.target, &experiment.cells, experiment.allow_iowq)));
    lines.push(detectable(experiment, spread, plan));
    lines.join("\n") + &format!("\n{}", plan.limits)
}

/// How peers are compared, where it is not as processes that are stopped and continued.
fn turns(experiment: &Experiment, cell: &Cell) -> Option<String> {
    let why = if cell.workload.rate.is_some() { "a fixed rate" } else { "NOPs" };
    (!plan::peers_round(experiment, &cell.workload).is_zero() && cell.workload.whole_turns()).then(|| {
        format!("  peers: at {why} full and each peer run whole, in random order, {:?} each", experiment.peers.turn_time())
    })
}

/// How blocks are randomised.
fn order(experiment: &Experiment, plan: &Plan) -> String {
    let most = plan.cells.iter().map(|c| c.arms.len()).max().unwrap_or(0);
    let blocks = if most <= plan::order::BALANCED { "rows of Williams squares" } else { "an order of its own in each block" };
    format!("order: cells in turn, arms in {blocks}, all drawn by ChaCha8 from seed {}", experiment.seed)
}

/// How long a run will take, in words.
fn time(experiment: &Experiment, plan: &Plan) -> String {
    let all = units::duration_text(plan.expected(experiment, |_| true));
    match (experiment.budget, experiment.target_half_width) {
        (Some(budget), _) => {
            let first = FIRST.min(plan.repetitions);
            format!("{}: {first} rounds of each cell, then where intervals are widest", units::duration_text(budget))
        }
        (None, Some(half_width)) => format!("at most about {all}; less where intervals reach {} % before", half_width * 100.0),
        (None, None) => format!("about {all}"),
    }
}

/// What earlier runs on this machine say of the effects that this plan would find with probability 0.8.
fn detectable(experiment: &Experiment, spread: &[earlier::Spread], plan: &Plan) -> String {
    let name = &experiment.name;
    // A rule that looks may end a run at its first look.
    let rounds = if experiment.looks() { FIRST.min(plan.repetitions) } else { plan.repetitions };
    let of_cell = |s: &earlier::Spread| {
        let (least, most) = s.detectable(rounds, experiment.level())?;
        let (least, most) = (least * 100.0, most * 100.0);
        Some(format!(
            "\n  {}: {least:.1} to {most:.1} %, of {} ({} earlier rounds in {} runs)",
            s.cell, s.metric, s.rounds, s.runs
        ))
    };
    let cells: String = spread.iter().filter_map(of_cell).collect();
    if cells.is_empty() {
        return format!(
            "detectable effect: not known until runs of this plan with {LEAST_ROUNDS} rounds on this machine lie in results/{name}; from fewer the spread between rounds cannot be told"
        );
    }
    format!("detectable effects in {rounds} rounds, each for itself, from the spread between rounds of earlier runs:{cells}")
}

/// Says why buffers cannot be registered here: what can be found out without the target.
fn unlockable(toggle: Toggle, level: u32, workload: &Workload) -> Option<String> {
    let registers = toggle == Toggle::FixedBuffers && level != toggle.spec().off;
    registers.then(|| registration::probe_registration(workload).err().map(|e| e.to_string())).flatten()
}

/// Measures slices and blocks on the target, and how long the rounds of slices will take.
fn pilot(experiment: &Experiment, allowed: &[PathBuf]) -> Result<Exit, Failure> {
    let process = |e: std::io::Error| run::Error::Process(e);
    let (tether, interrupts) = (Tether::current(), Interrupts::install().map_err(process)?);
    let target = prepare(experiment, allowed)?;
    let plan = &plan_on(experiment, &target, None, &tether, &interrupts)?;
    console::product(format!("pilot on {}\n", target.description))?;
    let found = checks::of_target(&target, &experiment.cells, experiment.allow_iowq);
    console::product(checks::warnings(&found).into_iter().map(|line| line + "\n").collect::<String>())?;
    let (mut total, mut of_peers) = (Duration::ZERO, BTreeSet::new());
    for cell in &plan.cells {
        let dropped: String =
            cell.dropped.iter().map(|d| format!("cell {}: without {}: {}\n", cell.name, d.toggle, d.reason)).collect();
        console::product(dropped)?;
        let fixed =
            run::pilot_of(experiment, experiment.mode, plan, &target, cell, (&tether, &interrupts)).map_err(run::Error::from)?;
        let round = fixed.block_time * fixed.blocks;
        total += round * if experiment.looks() { FIRST.min(plan.repetitions) } else { plan.repetitions };
        console::product(format!(
            "cell {}: slices of {} completions, {} blocks of {:.0?} a round\n",
            cell.name, fixed.completions, fixed.blocks, fixed.block_time
        ))?;
        if let Some(step) = fixed.charge_step {
            console::product(format!("cell {}: CPU time of the kernel's threads is exact to {step:.1?}\n", cell.name))?;
        }
        of_peers.insert(plan::peers_round(experiment, &cell.workload));
    }
    let of_peers: Vec<String> = of_peers.iter().map(|time| format!("{time:.0?}")).collect();
    let least = if experiment.looks() { "at least" } else { "about" };
    console::product(format!(
        "rounds of our arms: {least} {total:.0?}; each round of peers adds about {}\n",
        of_peers.join(" or ")
    ))?;
    Ok(Exit::Ok)
}

/// The job file of every configuration on a cell, as fio would be given it.
fn fio_jobs(experiment: &Experiment, plan: &Plan, name: &str) -> Result<Exit, Failure> {
    let Some(cell) = plan.cells.iter().find(|c| c.name == name) else {
        let names: Vec<&str> = plan.cells.iter().map(|c| c.name.as_str()).collect();
        let message = format!("--fio-job {name:?} is not a cell of this experiment; cells are: {}", names.join(", "));
        return Err(Failure { exit: Exit::Usage, message });
    };
    let target = Target::resolve_all(&experiment.target, Access::Read)?;
    let job = |config| peers::job(cell, config, &target, target.paths(), experiment.peers.whole_time).map(|job| job + "\n");
    let jobs = FioConfig::ALL.into_iter().map(job).collect::<Result<String, _>>();
    console::product(jobs.map_err(|message| Failure { exit: Exit::Usage, message })?)?;
    Ok(Exit::Ok)
}

fn rounds(plan: &Plan) -> String {
    let count = |kind: RoundKind| plan.rounds.iter().filter(|r| r.kind == kind).count();
    let kinds =
        [RoundKind::Slices, RoundKind::Isolated, RoundKind::Profile, RoundKind::Counts, RoundKind::Peers, RoundKind::Whole];
    let parts = kinds.into_iter().filter(|k| count(*k) > 0).map(|k| format!("{} of {}", count(k), kind_name(k)));
    format!(
        "{} rounds: {}; slices of one round take {:?}",
        plan.rounds.len(),
        parts.collect::<Vec<_>>().join(", "),
        plan.round_time
    )
}
