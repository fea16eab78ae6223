//! `uring-ablate plan`: what an experiment would do, without doing it.

use super::Failure;
use crate::cli::PlanArgs;
use crate::exit::Exit;
use crate::experiment::{self, Experiment, FioConfig};
use crate::plan::{self, Plan, RoundKind};
use crate::row::kind_name;
use crate::run::{obstacle, peers};
use crate::target::Target;

/// Prints the plan.
pub fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let experiment = experiment::load(&args.experiment, &args.overrides)?;
    let plan = plan::make(&experiment, &obstacle)?;
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
    Ok(Exit::Ok)
}

/// The job file of every configuration on a cell, as fio would be given it.
fn fio_jobs(experiment: &Experiment, plan: &Plan, name: &str) -> Result<Exit, Failure> {
    let Some(cell) = plan.cells.iter().find(|c| c.name == name) else {
        let names: Vec<&str> = plan.cells.iter().map(|c| c.name.as_str()).collect();
        let message = format!("--fio-job {name:?} is not a cell of this experiment; cells are: {}", names.join(", "));
        return Err(Failure { exit: Exit::Usage, message });
    };
    let target = Target::resolve(&experiment.target)?;
    for config in FioConfig::ALL {
        let job = peers::job(cell, config, &target, experiment.peers.whole_time);
        println!("{}", job.map_err(|message| Failure { exit: Exit::Usage, message })?);
    }
    Ok(Exit::Ok)
}

fn rounds(plan: &Plan) -> String {
    let count = |kind: RoundKind| plan.rounds.iter().filter(|r| r.kind == kind).count();
    let kinds = [RoundKind::Slices, RoundKind::Isolated, RoundKind::Peers, RoundKind::Whole];
    let parts = kinds.into_iter().filter(|k| count(*k) > 0).map(|k| format!("{} of {}", count(k), kind_name(k)));
    format!(
        "{} rounds: {}; slices of one round take {:?}",
        plan.rounds.len(),
        parts.collect::<Vec<_>>().join(", "),
        plan.round_time
    )
}
