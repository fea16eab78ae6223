//! `uring-ablate simulate`: the hot loop on a simulated ring, for a look at its own cost without a kernel.

use super::Failure;
use crate::clock::monotonic_ns;
use crate::console;
use crate::engine::simulated;
use crate::exit::Exit;
use crate::run::round::histogram;

/// Has the loop complete `requests` and prints what each took.
pub fn simulate(all_on: bool, requests: u64) -> Result<Exit, Failure> {
    let each = if all_on { simulated::all_on } else { simulated::all_off };
    let mut latency = histogram();
    let started = monotonic_ns();
    let tally = simulated::run(each, all_on, requests, &mut latency)?;
    let ns = (monotonic_ns() - started) as f64 / tally.completions as f64;
    console::product(format!("{} requests, {} enters, {ns:.1} ns a request\n", tally.completions, tally.enters))?;
    Ok(Exit::Ok)
}
