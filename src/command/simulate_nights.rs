//! `uring-ablate simulate-nights`: the whole procedure of a night, history on disk included, on series of known truth.

use super::Failure;
use crate::cli::SimulateNightsArgs;
use crate::console;
use crate::exit::Exit;
use crate::experiment::subject::Gate;
use crate::nightly::synthetic::{Course, World, history};
use crate::nightly::{self, Settings};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::Builder;

/// Nights from a change to where it counts as found.
const WITHIN: [u32; 4] = [1, 3, 5, 10];

/// Runs the histories on all processors and prints what became of their series.
pub fn simulate_nights(args: &SimulateNightsArgs) -> Result<Exit, Failure> {
    let next = AtomicU32::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || -> Result<Vec<Course>, nightly::Error> {
        let mut all = Vec::new();
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= args.histories {
                return Ok(all);
            }
            all.extend(one(args, number)?);
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        // Threads that cannot be started are done without: this one works, too.
        let started: Vec<_> = (1..threads).map_while(|_| Builder::new().spawn_scoped(scope, work).ok()).collect();
        let own = work();
        started.into_iter().map(|t| t.join().expect("a simulation does not panic")).chain([own]).collect()
    });
    let all = results.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    console::product(table(args, &all))?;
    Ok(Exit::Ok)
}

fn one(args: &SimulateNightsArgs, number: u32) -> Result<Vec<Course>, nightly::Error> {
    let world = World {
        cells: args.cells,
        nights: args.nights,
        spread: args.spread,
        between: args.between,
        step: (1.0 - args.step).ln(),
        at: args.at.unwrap_or(u32::MAX),
    };
    let settings = Settings {
        rounds: args.rounds,
        gate: Gate { find: 1.0, most_rounds: 4 * args.rounds },
        delta: args.delta,
        confidence: 0.95,
        seed: args.seed,
        budget: None,
    };
    let dir = tempfile::tempdir().map_err(|source| nightly::store::Error::Write { path: std::env::temp_dir(), source })?;
    history(&world, settings, dir.path(), args.seed << 32 | u64::from(number))
}

fn table(args: &SimulateNightsArgs, all: &[Course]) -> String {
    let share = |of: &dyn Fn(&Course) -> bool| {
        let hits = all.iter().filter(|c| of(c)).count();
        format!("{:5.1} % ({hits} of {})", 100.0 * hits as f64 / all.len() as f64, all.len())
    };
    let mut lines = vec![
        format!("series with an alarm before any change:     {}", share(&|c| c.alarmed)),
        format!("series with a finding before any change:    {}", share(&|c| c.confirmed)),
    ];
    if args.at.is_some() {
        for within in WITHIN {
            lines.push(format!(
                "change found within {within:2} nights:  {}, alarmed {}",
                share(&|c| c.found_after.is_some_and(|n| n < within)),
                share(&|c| c.alarmed_after.is_some_and(|n| n < within))
            ));
        }
    }
    lines.join("\n") + "\n"
}
