//! `uring-ablate selftest`: may the figures of this build be trusted, on this machine? Observed beside announced; exit 4 when not.

use super::bench::wanted;
use super::{Failure, run};
use crate::analysis::Model;
use crate::cli::SelftestArgs;
use crate::exit::Exit;
use crate::experiment;
use crate::report;
use crate::run::Error;
use crate::selftest::{self, Check};
use comfy_table::{Table, presets};
use std::path::Path;

/// One toggle, for the references and controls that every experiment has: about two and a half minutes.
const EXPERIMENT: &str = "name = \"selftest\"
question = \"Do the controls show what they must?\"
[workload]
rw = \"read\"
bs = \"4k\"
iodepth = 128
[design]
kind = [\"add-one-in\"]
toggles = [\"fixed_files\"]
rounds = 24
round_time = \"5s\"
seed = 1
[fixed]
queue_refill = \"eager\"
taskrun = \"defer\"
";

/// Checks the analysis, then the machine.
pub fn selftest(args: &SelftestArgs, quiet: bool) -> Result<Exit, Failure> {
    let mut passed = show("the analysis, on simulated machines", &selftest::synthetic());
    if !args.synthetic {
        let checks = controls(args, quiet)?;
        passed &= show("this machine, by controls of known truth", &checks);
    }
    if passed {
        println!("selftest passed");
        return Ok(Exit::Ok);
    }
    let message = "selftest failed: do not trust figures from here; uring-ablate doctor shows what disturbs";
    Err(Failure { exit: Exit::SelfCheck, message: message.into() })
}

fn controls(args: &SelftestArgs, quiet: bool) -> Result<Vec<Check>, Failure> {
    let mut experiment = experiment::overridden(Path::new("selftest"), EXPERIMENT, &args.overrides)?;
    if let Some(path) = &args.target {
        experiment.target = vec![wanted(Some(path.clone()), None)];
    }
    let dir = tempfile::tempdir().map_err(Error::Process)?;
    let results = dir.path().join("run");
    run::measure(&experiment, &results, false, &[], quiet)?;
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
    println!("{}\n", table.trim_fmt());
    checks.iter().all(|check| check.passed)
}
