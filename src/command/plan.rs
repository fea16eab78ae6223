//! `uring-ablate plan`: what an experiment would do, without doing it.

use super::Failure;
use super::run::{limits, plan_on, prepare};
use crate::cli::PlanArgs;
use crate::engine::lane;
use crate::exit::Exit;
use crate::experiment::{self, Experiment, FioConfig};
use crate::plan::{self, Plan, RoundKind};
use crate::row::kind_name;
use crate::run::{self, peers};
use crate::spawn::{Interrupts, Tether};
use crate::target::{self, Target};
use crate::toggle::Toggle;
use crate::workload::Workload;
use std::path::PathBuf;
use std::time::Duration;

/// Start, warm-up and settling of the process arms of a round.
const PEERS_EXTRA: Duration = Duration::from_secs(1);

/// Prints the plan.
pub fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let experiment = experiment::load(&args.experiment, &args.overrides)?;
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
    }
    println!("\n{}", rounds(&plan));
    print!("{}", plan.limits);
    if args.pilot { pilot(&experiment, &args.allow_destructive) } else { Ok(Exit::Ok) }
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
