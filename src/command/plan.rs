//! `uring-ablate plan`: what an experiment would do, without doing it.

use super::Failure;
use crate::cli::PlanArgs;
use crate::exit::Exit;
use crate::experiment;
use crate::plan::{self, Plan, RoundKind};
use crate::row::kind_name;
use crate::run::obstacle;

/// Prints the plan.
pub fn plan(args: &PlanArgs) -> Result<Exit, Failure> {
    let experiment = experiment::load(&args.experiment, &args.overrides)?;
    let plan = plan::make(&experiment, &obstacle)?;
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
