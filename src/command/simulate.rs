//! `uring-ablate simulate`: the hot loop on a simulated ring, for a look at its own cost without a kernel.

use super::Failure;
use crate::clock::monotonic_ns;
use crate::engine::aims::{Aim, Aims};
use crate::engine::buffers::{Kind, Pool};
use crate::engine::drive::{Goal, Settings, Worker};
use crate::engine::pattern::Pattern;
use crate::engine::queue::Simulated;
use crate::engine::slots::Slots;
use crate::engine::stats::Stats;
use crate::engine::variants;
use crate::engine::work::Device;
use crate::exit::Exit;
use crate::run::round::histogram;
use crate::workload::Workload;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// Requests submitted at once with everything on.
const BATCH: u32 = 32;

/// Has the loop complete `requests` and prints what each took.
pub fn simulate(all_on: bool, requests: u64) -> Result<Exit, Failure> {
    let workload = Workload::example();
    let mut pool = Pool::new(Kind { huge_pages: 0, node: None }, workload.block_size_bytes, workload.queue_depth, 1)?;
    let level = |on, off| if all_on { on } else { off };
    let settings = Settings {
        block_size: workload.block_size_bytes,
        batch_submit: level(BATCH, 1),
        batch_complete: level(BATCH, 1),
        time_check_interval: level(1000, 1),
        latency_sampling: level(100, 1),
        device: Device::default(),
        buffers: pool.jobs().remove(0),
    };
    let pattern = Arc::new(Mutex::new(Pattern::new(&workload, &(0..1 << 30), 1)));
    let aims = Aims::new([Aim { device: Device::default(), pattern }]);
    let mut worker = Worker { slots: Slots::new(workload.queue_depth), stats: Stats::default(), aims, settings, queued: 0 };
    let mut queue = Simulated::new(workload.block_size_bytes as i32, workload.queue_depth);
    let goal = Goal { completions: requests, stop: &AtomicBool::new(false), deadline_ns: u64::MAX };
    let started = monotonic_ns();
    let run = if all_on { variants::simulate_all_on } else { variants::simulate_all_off };
    let tally = run(&mut queue, &mut worker, &goal, &mut histogram());
    let each = (monotonic_ns() - started) as f64 / tally.completions as f64;
    println!("{} requests, {} enters, {each:.1} ns a request", tally.completions, tally.enters);
    Ok(Exit::Ok)
}
