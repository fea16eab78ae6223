//! `uring-ablate selftest --schemes`: identical programs compared in several ways, each for the same time on the same target.

use super::selftest::{EXPERIMENT, named};
use super::{Failure, run};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::cli::SelftestArgs;
use crate::console;
use crate::durable::Dir;
use crate::exit::Exit;
use crate::experiment::{self, Experiment, FioConfig};
use crate::peer::duet::{self, Contest, Contestant};
use crate::peer::fio::Fio;
use crate::peer::whole;
use crate::plan::{Cell, Place};
use crate::run::environment::{self, Environment};
use crate::run::peers::{job, timing};
use crate::selftest::scheme::{self, Finding, Scheme};
use crate::spawn::{Interrupts, Tether};
use crate::target::Target;
use crate::{plan, plot, report, units};
use comfy_table::{Table, presets};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rounds of whatever is sliced.
const ROUNDS: u32 = 12;
/// Slice of a process that is stopped and continued.
const FIO_SLICE: Duration = Duration::from_millis(20);
/// Of processes that outlast their round.
const ENDLESS: Duration = Duration::from_secs(24 * 3600);

/// Measures every scheme for `time`, prints the table, and writes it and its chart into `out`.
pub fn schemes(args: &SelftestArgs, time: Duration, out: &Path, quiet: bool) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure { exit: Exit::Usage, message: format!("cannot write {}: {error}", out.display()) };
    let dir = Dir::create(out).map_err(fail)?;
    let mut found = Vec::new();
    for scheme in Scheme::ALL {
        if !quiet {
            console::note(format!("{}: about {}", scheme.name(), units::duration_text(time)));
        }
        let started = Instant::now();
        let finding = match scheme {
            Scheme::Processes(trial) => {
                engine(args, scheme, "isolated", &[("trial_time", trial)], (time / 2).div_duration_f64(trial))
            }
            Scheme::Slices(slice) => {
                engine(args, scheme, "sliced", &[("slice_time", slice), ("round_time", time / ROUNDS)], f64::from(ROUNDS))
            }
            Scheme::FioInTurn(_) | Scheme::FioSliced => fio(args, scheme, time),
        };
        match finding {
            Ok(Some(finding)) => found.push(Finding { wall: started.elapsed(), ..finding }),
            Ok(None) => {
                console::note(format!("{}: left out: {time:?} hold too few pairs of it for an interval", scheme.name()));
            }
            Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
            Err(failure) => console::note(format!("{}: left out: {}", scheme.name(), failure.message)),
        }
    }
    if found.is_empty() {
        let message = format!("no scheme gave an interval; {} is the time of each: raise it", units::duration_text(time));
        return Err(Failure { exit: Exit::Environment, message });
    }
    dir.replace("schemes.csv", scheme::csv(&found).as_ref()).map_err(fail)?;
    let foot = format!("{}; {}", Environment::read(), environment::command());
    let charts = plot::schemes(&found, time, foot, &dir).map_err(report::Error::from)?;
    let charts: String = charts.iter().map(|file| format!("chart: {}\n", file.display())).collect();
    console::print(format!("{}\n{charts}", table(&found)));
    Ok(())
}

fn table(found: &[Finding]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "identical programs, compared by",
        "n",
        "a pair",
        "ratio",
        "half-width",
        "took",
    ]);
    for f in found {
        table.add_row([
            f.scheme.name(),
            f.n.to_string(),
            format!("{:.1} %", f.pair_sd * 100.0),
            format!("{:.4} [{:.4}, {:.4}]", f.ratio, f.lo, f.hi),
            format!("{:.2} %", f.half_width() * 100.0),
            format!("{:.0} s", f.wall.as_secs_f64()),
        ]);
    }
    table
}

/// The experiment of the selftest with other times and without the controls that differ.
fn experiment(args: &SelftestArgs, changes: Vec<String>) -> Result<Experiment, Failure> {
    let alone = ["analysis.stall=0%".to_string(), "analysis.spin=0%".to_string()];
    let changes = [alone.to_vec(), args.overrides.clone(), changes].concat();
    Ok(named(experiment::overridden(Path::new("selftest"), EXPERIMENT, &changes)?, args))
}

/// Our engine's `full` and its placebo.
fn engine(
    args: &SelftestArgs,
    scheme: Scheme,
    mode: &str,
    times: &[(&str, Duration)],
    rounds: f64,
) -> Result<Option<Finding>, Failure> {
    let times = times.iter().map(|(key, time)| format!("design.{key}={}us", time.as_micros()));
    let changes = [format!("design.mode={mode}"), format!("design.rounds={}", rounds.round())];
    let experiment = experiment(args, times.chain(changes).collect())?;
    let dir = tempfile::tempdir().map_err(crate::run::Error::Process)?;
    let results = dir.path().join("run");
    run::measure(experiment, &results, false, &[], true)?;
    let model = Model::load(&results).map_err(report::Error::from)?;
    let placebo = model.cells.first().and_then(|cell| cell.find("placebo", "", Metric::Iops));
    Ok(placebo.and_then(|effect| Finding::of_effect(scheme, effect)))
}

/// fio beside itself.
fn fio(args: &SelftestArgs, scheme: Scheme, time: Duration) -> Result<Option<Finding>, Failure> {
    let experiment = experiment(args, vec![])?;
    let process = |e: std::io::Error| crate::run::Error::Process(e);
    let (tether, interrupts) = (Tether::current(), Interrupts::install().map_err(process)?);
    let target = run::prepare(&experiment, &[])?;
    let setting = target.setting(&experiment.options);
    let plan = plan::make(
        &experiment,
        &Place { setting: &setting, obstacle: &|_, _, _| None, limits: run::limits(&experiment, &[]), learnt: None },
    )?;
    let cell = &plan.cells[0];
    let beside =
        Beside { fio: Fio::find(tether.clone(), &experiment.peers.fio_path)?, tether, interrupts, target: &target, cell };
    match scheme {
        Scheme::FioInTurn(each) => {
            beside.in_turn(each, (time / 2).div_duration_f64(each).round() as u32).map(|p| Finding::of_pairs(scheme, &p))
        }
        _ => {
            let ratios = (1..=ROUNDS).map(|round| beside.sliced(round, time / ROUNDS)).collect::<Result<Vec<_>, _>>()?;
            Ok(Finding::of_rounds(scheme, &ratios.into_iter().flatten().collect::<Vec<_>>()))
        }
    }
}

/// What fio needs to run beside itself.
struct Beside<'a> {
    fio: Fio,
    tether: Tether,
    interrupts: Interrupts,
    target: &'a Target,
    cell: &'a Cell,
}

impl Beside<'_> {
    fn job(&self, time: Duration) -> Result<String, Failure> {
        job(self.cell, FioConfig::Matched, self.target, self.target.handles(), time)
            .map_err(|message| Failure { exit: Exit::Environment, message })
    }

    /// Whole runs, two and two.
    fn in_turn(&self, each: Duration, pairs: u32) -> Result<Vec<(whole::Whole, whole::Whole)>, Failure> {
        let job = self.job(each)?;
        let _lent = self.target.lend()?;
        let run = || match whole::run(&self.fio, &job, each, None, &self.interrupts) {
            Ok(whole) if whole.errors > 0 || whole.ops == 0 => {
                let message = format!("fio reports {} errors in {} operations", whole.errors, whole.ops);
                Err(Failure { exit: Exit::Environment, message })
            }
            whole => Ok(whole?),
        };
        (0..pairs).map(|_| Ok((run()?, run()?))).collect()
    }

    /// One round of two processes.
    fn sliced(&self, round: u32, time: Duration) -> Result<Option<crate::analysis::contrast::RoundRatio>, Failure> {
        let job = self.job(ENDLESS)?;
        let contestant = |name: &str| Contestant { name: name.into(), start: self.fio.start(job.clone()) };
        let timing = timing(FIO_SLICE);
        let contest = Contest {
            tether: &self.tether,
            target: self.target,
            workload: &self.cell.workload,
            contestants: &[contestant("fio"), contestant("fio again")],
            timing,
            blocks: timing.blocks(time, 2),
            seed: u64::from(round),
            interrupts: &self.interrupts,
        };
        Ok(scheme::in_duet(round, &duet::conduct(&contest)?))
    }
}
