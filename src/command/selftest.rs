//! `uring-ablate selftest`: may the figures of this build be trusted, on this machine? Observed beside announced; exit 4 when not.

use super::bench::wanted;
use super::{Failure, run};
use crate::analysis::Model;
use crate::cli::SelftestArgs;
use crate::console;
use crate::exit::Exit;
use crate::experiment::{self, Experiment};
use crate::report;
use crate::run::Error;
use crate::selftest::{self, Check};
use comfy_table::{Table, presets};
use std::path::Path;

/// The controls alone, for about two and a half minutes.
pub const EXPERIMENT: &str = include_str!("../../experiments/aa.toml");
const ROUND_TIME: &str = "design.round_time=6s";

/// Checks the analysis, then the machine.
pub fn selftest(args: &SelftestArgs, quiet: bool) -> Result<Exit, Failure> {
    if let Some(time) = args.schemes {
        super::schemes::schemes(args, time, &args.out, quiet)?;
        return Ok(Exit::Ok);
    }
    let mut passed = show("the analysis, on simulated machines", &selftest::synthetic());
    if !args.synthetic {
        let checks = controls(args, quiet)?;
        passed &= show("this machine, by controls of known truth", &checks);
    }
    if passed {
        console::print("selftest passed\n");
        return Ok(Exit::Ok);
    }
    let message = "selftest failed: do not trust figures from here; uring-ablate doctor shows what disturbs";
    Err(Failure { exit: Exit::SelfCheck, message: message.into() })
}

/// The experiment on the target that the user names.
pub fn named(mut experiment: Experiment, args: &SelftestArgs) -> Experiment {
    if let Some(path) = &args.target {
        experiment.target = vec![wanted(Some(path.clone()), None)];
    }
    experiment
}

fn controls(args: &SelftestArgs, quiet: bool) -> Result<Vec<Check>, Failure> {
    let changes = [vec![ROUND_TIME.to_string()], args.overrides.clone()].concat();
    let experiment = named(experiment::overridden(Path::new("selftest"), EXPERIMENT, &changes)?, args);
    let dir = tempfile::tempdir().map_err(Error::Process)?;
    let results = dir.path().join("run");
    run::measure(experiment, &results, false, &[], quiet)?;
    let model = Model::load(&results).map_err(report::Error::from)?;
    Ok(selftest::real(&model))
}

/// Prints a table; true when every check passed.
fn show(title: &str, checks: &[Check]) -> bool {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", title, "announced", "observed"]);
    for check in checks {
        table.add_row([if check.passed { "ok" } else { "FAILS" }, &check.what, &check.nominal, &check.observed]);
    }
    console::print(format!("{}\n\n", table.trim_fmt()));
    checks.iter().all(|check| check.passed)
}
