//! Requests at a fixed rate: on a queue whose answer is known, and on a real target.

use crate::support::ablate;
use hdrhistogram::Histogram;
use io_uring::squeue;
use rand_distr::{Distribution, Exp1};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::SeedableRng;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicBool;
use uring_ablate::engine::drive::{Goal, Settings, Tally, drive};
use uring_ablate::engine::hooks::{Kept, Paced};
use uring_ablate::engine::queue::Queue;
use uring_ablate::engine::simulated;
use uring_ablate::engine::switches::{Dynamic, bits_of};
use uring_ablate::engine::work::{Device, Io};
use uring_ablate::run::round::histogram;
use uring_ablate::toggle::{Levels, Toggle};
use uring_ablate::workload::Workload;

/// A ring over one server that serves in order and takes exponentially distributed times, on a clock of its own.
struct Server {
    now_ns: Cell<u64>,
    mean_ns: f64,
    random: Pcg64,
    pushed: VecDeque<u64>,
    /// What is in service or waits for it: `user_data` and when it completes, in order.
    served: VecDeque<(u64, u64)>,
    length: i32,
}

impl Server {
    fn new(mean_ns: f64, length: u32) -> Server {
        let random = Pcg64::seed_from_u64(1);
        Server { now_ns: Cell::new(1), mean_ns, random, pushed: VecDeque::new(), served: VecDeque::new(), length: length as i32 }
    }
}

impl Queue<Io> for Server {
    fn refresh(&mut self) {}

    fn reap(&mut self) -> Option<(u64, i32)> {
        let (data, _) = self.served.pop_front_if(|(_, done_ns)| *done_ns <= self.now_ns.get())?;
        Some((data, self.length))
    }

    fn nothing_completed(&mut self) -> bool {
        self.served.front().is_none_or(|(_, done_ns)| *done_ns > self.now_ns.get())
    }

    unsafe fn push(&mut self, entry: &squeue::Entry) {
        self.pushed.push_back(entry.get_user_data());
    }

    fn is_full(&mut self) -> bool {
        false
    }

    fn sync_submissions(&mut self) {}

    fn needs_wakeup(&mut self) -> bool {
        false
    }

    fn enter(&mut self, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<usize> {
        self.enter_until(to_submit, min_complete, flags, u64::MAX)
    }

    fn enter_until(&mut self, to_submit: u32, min_complete: u32, _: u32, until_ns: u64) -> io::Result<usize> {
        let now_ns = self.now_ns.get();
        for data in self.pushed.drain(..to_submit as usize) {
            let free_ns = self.served.back().map_or(now_ns, |(_, done_ns)| now_ns.max(*done_ns));
            let service: f64 = Exp1.sample(&mut self.random);
            self.served.push_back((data, free_ns + (service * self.mean_ns) as u64));
        }
        if let Some(last) = min_complete.checked_sub(1) {
            let enough_ns = self.served.get(last as usize).map_or(u64::MAX, |(_, done_ns)| *done_ns);
            self.now_ns.set(now_ns.max(enough_ns.min(until_ns)));
        }
        Ok(to_submit as usize)
    }

    /// A look at the clock takes a nanosecond, so that a loop that spins gets on.
    fn now_ns(&self) -> u64 {
        self.now_ns.set(self.now_ns.get() + 1);
        self.now_ns.get()
    }
}

/// Microseconds between two requests.
const INTERVAL_NS: f64 = 10_000.0;
const DEPTH: u32 = 64;

/// Has `completions` requests served that are due every [`INTERVAL_NS`] and take `mean_ns` each, and says what became of the schedule.
fn served(mean_ns: f64, completions: u64, batch_submit: u32) -> (Histogram<u64>, Kept, Tally) {
    let workload = Workload { queue_depth: DEPTH, ..Workload::example() };
    let mut pool = simulated::pool(&workload).unwrap();
    let settings = Settings {
        block_size: workload.block_size_bytes,
        batch_submit,
        batch_complete: 1,
        time_check_interval: 1,
        latency_sampling: 1,
        polled: false,
        device: Device::default(),
        buffers: pool.jobs().remove(0),
    };
    let mut worker = simulated::worker(&workload, settings);
    let mut server = Server::new(mean_ns, workload.block_size_bytes);
    let mut paced = Paced::new((1e9 / INTERVAL_NS) as u32, Queue::<Io>::now_ns(&server));
    let mut latency = histogram();
    let goal = Goal { completions, stop: &AtomicBool::new(false), deadline_ns: u64::MAX };
    let on = Dynamic(bits_of(&Levels::all_off().with(Toggle::QueueRefill, 1)));
    let tally = drive::<_, Io, _, _>(on, &mut server, &mut worker, &mut paced, &goal, &mut latency);
    paced.pause(Queue::<Io>::now_ns(&server));
    (latency, paced.kept(), tally)
}

/// The mean of the time in D/M/1, which is exponentially distributed: service / (1 - s), where s = exp(-(1 - s) interval / service).
/// Kleinrock, Queueing Systems I, 6.4.
fn mean_in_dm1(mean_ns: f64) -> f64 {
    let root = (0..10_000).fold(0.5_f64, |s, _| (-(1.0 - s) * INTERVAL_NS / mean_ns).exp());
    mean_ns / (1.0 - root)
}

#[test]
fn latency_at_a_fixed_rate_is_that_of_the_queue_which_is_known() {
    for load in [0.5, 0.8, 0.9] {
        let (latency, kept, _) = served(load * INTERVAL_NS, 4_000_000, 1);
        let mean_ns = mean_in_dm1(load * INTERVAL_NS);
        for quantile in [0.1, 0.5, 0.9, 0.99, 0.999] {
            let (due, seen) = (-mean_ns * (1.0_f64 - quantile).ln(), latency.value_at_quantile(quantile) as f64);
            println!("load {load}: quantile {quantile} {seen:.0} ns, {due:.0} by theory");
            assert!((seen / due - 1.0).abs() < 0.05, "load {load}, quantile {quantile}: {seen} instead of {due}");
        }
        assert!(kept.due - kept.started <= u64::from(DEPTH), "{kept:?}");
    }
}

/// More is asked than the server does: nothing is left out, and latency grows for as long as it lasts.
#[test]
fn nothing_that_is_due_is_left_out_when_the_target_cannot_follow() {
    let completions = 100_000;
    let (latency, kept, _) = served(2.0 * INTERVAL_NS, completions, 1);
    assert!((completions..=completions + u64::from(DEPTH)).contains(&kept.started), "{kept:?}");
    assert!((1.98..2.02).contains(&(kept.due as f64 / completions as f64)), "twice as many were due: {kept:?}");
    // The last request was due when half of them were served.
    let (due, seen) = (completions as f64 * INTERVAL_NS, latency.max() as f64);
    assert!((seen / due - 1.0).abs() < 0.02, "the last took {seen} ns instead of {due}");
    assert!((latency.value_at_quantile(0.5) as f64 / due - 0.5).abs() < 0.02, "latency grows evenly");
}

/// A batch is handed over when it is full, not before and not after.
#[test]
fn batches_at_a_fixed_rate_are_as_long_as_they_say() {
    for batch in [1, 4, 16, DEPTH] {
        let (latency, _, tally) = served(0.5 * INTERVAL_NS, 100_000, batch);
        assert_eq!(tally.batches.mean(), Some(batch));
        assert!(tally.batches.entries == tally.batches.calls * u64::from(batch), "{:?}", tally.batches);
        let least = f64::from(batch - 1) * INTERVAL_NS;
        assert!(latency.max() as f64 >= least, "the first of a batch waits for the last");
    }
}

fn bench(rate: &str, more: &[&str]) -> serde_json::Value {
    let fixed =
        ["--rw", "randread", "--bs", "4k", "--size", "16m", "--runtime", "500ms", "--allow-iowq", "--json", "--rate-iops", rate];
    let output = ablate().arg("bench").args(fixed).args(more).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_real_target_gets_what_is_due_from_a_loop_that_sleeps() {
    let row = bench("4000", &["--iodepth", "64", "--batch-submit", "16", "--latency-sampling", "1"]);
    let [due, started, share] = ["requests_due", "requests_started", "thread_cpu_share"].map(|key| row[key].as_f64().unwrap());
    assert!(due >= 1000.0 && started + 64.0 >= due, "{row}");
    assert!(share < 0.8, "a loop that spins has a share of 1: {row}");
    assert!(row["outcome"] == "completed" && row["eff_batch_submit"] == 16, "{row}");
    assert!(row["lat_ns_p99"].as_f64().unwrap() > 15.0 * 250e3 * 0.9, "the first of a batch waits for the last: {row}");
}

#[test]
fn a_rate_that_no_target_does_is_said() {
    let row = bench("100000000", &["--iodepth", "4"]);
    let reason = row["reason"].as_str().unwrap();
    assert!(row["outcome"] == "invalid" && reason.contains("rate_iops = 100000000 was not kept up with"), "{row}");
}
