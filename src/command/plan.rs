//! `uring-ablate plan`: what an experiment would do, without doing it.

use super::Failure;
use super::history::{self, LEAST_ROUNDS};
use super::run::{limits, plan_on, prepare};
use crate::analysis::fraction::Fraction;
use crate::cli::PlanArgs;
use crate::engine::lane;
use crate::exit::Exit;
use crate::experiment::{self, Experiment, FioConfig};
use crate::plan::{self, Plan, RoundKind};
use crate::row::kind_name;
use crate::run::facts::{self, Circumstances};
use crate::run::{self, peers};
use crate::spawn::{Interrupts, Tether};
use crate::target::{self, Target};
use crate::toggle::Toggle;
use crate::units;
use crate::workload::Workload;
use std::path::PathBuf;
use std::time::Duration;

/// Start, warm-up and settling of the process arms of a round.
const PEERS_EXTRA: Duration = Duration::from_secs(1);

/// Prints the plan.
pub fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let mut experiment = experiment::load(&args.experiment, &args.changes())?;
    // The target is not made yet: earlier runs on this machine count.
    let machine = facts::fingerprint(&facts::machine(), &[]);
    let here = |c: &Circumstances| facts::fingerprint(&c.machine, &[]) == machine;
    let chosen = history::rounds(&experiment, here);
    experiment.rounds = experiment.rounds.or(chosen);
    let setting = target::setting(experiment.target.iter().flat_map(|t| t.path.as_deref()), experiment.options.numa_node);
    let plan =
        plan::make(&experiment, &plan::Place { setting: &setting, obstacle: &unlockable, limits: limits(&experiment, &[]) })?;
    if let Some(name) = &args.fio_job {
        return fio_jobs(&experiment, &plan, name);
    }
    println!("{}: {}", experiment.name, experiment.question);
    for cell in &plan.cells {
        println!("\ncell {}", cell.name);
        for arm in &cell.arms {
            println!("  {} x {}", arm.copies, arm.treatment);
        }
        plan.fio.iter().for_each(|c| println!("  1 x {}", c.treatment()));
        cell.dropped.iter().for_each(|d| println!("  dropped {}: {}", d.toggle, d.reason));
        let fraction = Fraction::of(cell.arms.iter().map(|arm| arm.treatment.as_str()));
        for (name, with) in fraction.map_or(vec![], |fraction| fraction.aliases()) {
            println!("  alias: {name} = {}", with.join(" = "));
        }
    }
    println!("\n{}", rounds(&plan));
    println!("time: about {}", units::duration_text(expected(&experiment, &plan)));
    if let Some(rounds) = chosen {
        println!("{rounds} rounds of each cell: what earlier rounds here ask for to find {} %", experiment.delta * 100.0);
    }
    println!("{}", detectable(&experiment, here, &plan));
    print!("{}", plan.limits);
    if args.pilot { pilot(&experiment, &args.allow_destructive) } else { Ok(Exit::Ok) }
}

/// How long a run will take, beside pilots and the making of the target.
fn expected(experiment: &Experiment, plan: &Plan) -> Duration {
    let whole = experiment.peers.whole_time + PEERS_EXTRA;
    let of = |round: &plan::Round| match round.kind {
        RoundKind::Slices | RoundKind::Profile | RoundKind::Counts => plan.round_time.mul_f64(OUTSIDE) + START,
        RoundKind::Isolated => {
            let arms = plan.cells.iter().find(|c| c.name == round.cell).map_or(0, |c| c.arms.len());
            (experiment.trial_time + START) * arms as u32
        }
        RoundKind::Peers => experiment.peers.round_time + PEERS_EXTRA,
        RoundKind::Whole => whole * experiment.peers.count() as u32,
    };
    plan.rounds.iter().map(of).sum()
}

/// Start and set-up of a round process.
const START: Duration = Duration::from_millis(300);

/// Of slices with their fill and drain over the slices alone.
const OUTSIDE: f64 = 1.1;

/// What earlier runs on this machine say of the effects that this plan would find with probability 0.8.
fn detectable(experiment: &Experiment, here: impl Fn(&Circumstances) -> bool, plan: &Plan) -> String {
    let name = &experiment.name;
    let of_cell = |s: &history::Spread| {
        let (least, most) = s.detectable(plan.repetitions)?;
        let (least, most) = (least * 100.0, most * 100.0);
        Some(format!(
            "\n  {}: {least:.1} to {most:.1} %, of {} ({} earlier rounds in {} runs)",
            s.cell, s.metric, s.rounds, s.runs
        ))
    };
    let cells: String = history::spread(experiment, here).iter().filter_map(of_cell).collect();
    if cells.is_empty() {
        return format!(
            "detectable effect: not known until runs of {LEAST_ROUNDS} rounds on this machine lie in results/{name}; from fewer the spread between rounds cannot be told"
        );
    }
    format!("detectable effects, from the spread between rounds of earlier runs:{cells}")
}

/// Says why buffers cannot be registered here: what can be found out without the target.
fn unlockable(toggle: Toggle, level: u32, workload: &Workload) -> Option<String> {
    let registers = toggle == Toggle::FixedBuffers && level != toggle.spec().off;
    registers.then(|| lane::probe_registration(workload).err().map(|e| e.to_string())).flatten()
}

/// Measures slices and blocks on the target, and how long the rounds of slices will take.
fn pilot(experiment: &Experiment, allowed: &[PathBuf]) -> Result<Exit, Failure> {
    let process = |e: std::io::Error| run::Error::Process(e);
    let (tether, interrupts) = (Tether::current(), Interrupts::install().map_err(process)?);
    let target = prepare(experiment, allowed)?;
    let plan = &plan_on(experiment, &target, &tether, &interrupts)?;
    println!("pilot on {}", target.description);
    let mut total = Duration::ZERO;
    for cell in &plan.cells {
        cell.dropped.iter().for_each(|d| println!("cell {}: without {}: {}", cell.name, d.toggle, d.reason));
        let fixed =
            run::pilot_of(experiment, experiment.mode, plan, &target, cell, (&tether, &interrupts)).map_err(run::Error::from)?;
        let round = fixed.block_time * fixed.blocks;
        total += round * plan.repetitions;
        println!(
            "cell {}: slices of {} completions, {} blocks of {:.0?} a round",
            cell.name, fixed.completions, fixed.blocks, fixed.block_time
        );
    }
    println!(
        "rounds of our arms: about {total:.0?}; each round of peers adds about {:.0?}",
        experiment.peers.round_time + PEERS_EXTRA
    );
    Ok(Exit::Ok)
}

/// The job file of every configuration on a cell, as fio would be given it.
fn fio_jobs(experiment: &Experiment, plan: &Plan, name: &str) -> Result<Exit, Failure> {
    let Some(cell) = plan.cells.iter().find(|c| c.name == name) else {
        let names: Vec<&str> = plan.cells.iter().map(|c| c.name.as_str()).collect();
        let message = format!("--fio-job {name:?} is not a cell of this experiment; cells are: {}", names.join(", "));
        return Err(Failure { exit: Exit::Usage, message });
    };
    let target = Target::resolve_all(&experiment.target)?;
    for config in FioConfig::ALL {
        let job = peers::job(cell, config, &target, experiment.peers.whole_time);
        println!("{}", job.map_err(|message| Failure { exit: Exit::Usage, message })?);
    }
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
