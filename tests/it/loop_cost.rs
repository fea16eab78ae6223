//! What the loop itself costs, in instructions that valgrind counts on a simulated ring: toggles that are off leave none, and the cost of a
//! request does not creep up.

use crate::support::skip;
use hdrhistogram::Histogram;
use io_uring::{opcode, types};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use uring_ablate::clock::monotonic_ns;
use uring_ablate::engine::drive::{Failed, Goal, Tally, Worker, drive, record, shared};
use uring_ablate::engine::hooks::Plain;
use uring_ablate::engine::queue::Queue;
use uring_ablate::engine::simulated::{self, Loop, Simulated};
use uring_ablate::engine::switches::Dynamic;
use uring_ablate::engine::work::Io;

/// The seed's loop before its eight optimisations, written without any switch: what all toggles off should compile to. What the product's
/// loop keeps out of line is called by both.
#[inline(never)]
fn reference(queue: &mut Simulated, worker: &mut Worker, goal: &Goal<'_>, latency: &mut Histogram<u64>) -> Tally {
    let (mut slots, mut queued) = (std::mem::take(&mut worker.slots), worker.queued);
    let Worker { stats, aims, settings, .. } = worker;
    let mut failed = Failed::default();
    let mut free = Free { slots: (0..slots.depth()).collect(), head: 0, tail: 0, available: slots.depth() };
    let mut tally = Tally::default();
    while tally.completions < goal.completions && !goal.stop.load(Relaxed) {
        if late(&mut tally, goal) {
            break;
        }
        Queue::<Io>::refresh(queue);
        while let Some((data, result)) = Queue::<Io>::reap(queue) {
            let slot = data as u32;
            record::<Io, _>(queue, latency, slots.started_ns[slot as usize]);
            free.give(slot);
            tally.completions += 1;
            if !failed.count(result, settings.block_size as i32, true) {
                continue;
            }
            stats.add(1, settings.block_size.into());
        }
        if aims.several() {
            (_, settings.device) = aims.turn(false, uring_ablate::engine::aims::InlinePath::of(aims.pattern()));
        }
        while let Some(slot) = free.take() {
            let (read, offset) = shared(aims.pattern());
            slots.started_ns[slot as usize] = monotonic_ns();
            let (fd, buffer) = (types::Fd(settings.device.fd), settings.buffers.start(slot));
            let entry = match read {
                true => opcode::Read::new(fd, buffer, settings.block_size).offset(offset).build(),
                false => opcode::Write::new(fd, buffer, settings.block_size).offset(offset).build(),
            };
            let entry = entry.user_data(u64::from(slot) | 1 << 32);
            // SAFETY: a simulated ring does not touch the buffer.
            unsafe { Queue::<Io>::push(queue, &entry) };
            queued += 1;
            if queued >= settings.batch_submit {
                queued = tally.enter::<Io, _, Plain>(queue, false, queued, None, &mut failed, goal);
            }
        }
        let taken = slots.depth() - free.available;
        if taken - queued < 8 {
            queued =
                tally.enter::<Io, _, Plain>(queue, false, queued, Some(settings.batch_complete.min(taken)), &mut failed, goal);
        }
    }
    Tally { failed, ..tally }
}

/// The seed's circular queue of free slots, with its modulo.
struct Free {
    slots: Box<[u32]>,
    head: u32,
    tail: u32,
    available: u32,
}

impl Free {
    #[inline(always)]
    fn take(&mut self) -> Option<u32> {
        if self.available == 0 {
            return None;
        }
        let slot = self.slots[self.head as usize];
        self.head = (self.head + 1) % self.slots.len() as u32;
        self.available -= 1;
        Some(slot)
    }

    #[inline(always)]
    fn give(&mut self, slot: u32) {
        self.slots[self.tail as usize] = slot;
        self.tail = (self.tail + 1) % self.slots.len() as u32;
        self.available += 1;
    }
}

#[inline(always)]
fn late(tally: &mut Tally, goal: &Goal<'_>) -> bool {
    tally.overran = monotonic_ns() >= goal.deadline_ns;
    tally.overran
}

/// The product's loop with every toggle off, found out request by request.
#[inline(never)]
fn at_run_time(queue: &mut Simulated, worker: &mut Worker, goal: &Goal<'_>, latency: &mut Histogram<u64>) -> Tally {
    drive::<_, Io, _, _>(Dynamic(std::hint::black_box(0)), queue, worker, &mut Plain, goal, latency)
}

const LOOPS: [(&str, Loop, bool); 4] = [
    ("reference", reference, false),
    ("at_run_time", at_run_time, false),
    ("all_off", simulated::all_off, false),
    ("all_on", simulated::all_on, true),
];

/// Instructions a request with all toggles off and on, as recorded with the pinned compiler; a simulated ring's own are among them.
const ALL_OFF: f64 = 390.6;
const ALL_ON: f64 = 80.0;

/// Names the loop that this test, run again under valgrind, is to run.
const SUBJECT: &str = "URING_ABLATE_LOOP";
const REQUESTS: &str = "URING_ABLATE_REQUESTS";

/// Instructions that a process executes which runs the named loop; `None` where valgrind is missing.
fn instructions(name: &str, requests: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "loop_cost::toggles_that_are_off_leave_no_instruction"])
        .env(SUBJECT, name)
        .env(REQUESTS, requests.to_string())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let (_, count) = text.split_once("Collected : ").unwrap_or_else(|| panic!("{text}"));
    count.split_whitespace().next().unwrap().parse().ok()
}

fn per_request(name: &str) -> Option<f64> {
    const FEW: u64 = 100_000;
    Some((instructions(name, 2 * FEW)? as f64 - instructions(name, FEW)? as f64) / FEW as f64)
}

#[test]
fn toggles_that_are_off_leave_no_instruction() {
    if let Ok(name) = std::env::var(SUBJECT) {
        let requests = std::env::var(REQUESTS).unwrap().parse().unwrap();
        let (_, each, on) = LOOPS.into_iter().find(|l| l.0 == name).unwrap();
        let tally = simulated::run(each, on, requests, &mut Histogram::new(3).unwrap()).unwrap();
        assert!(tally.completions >= requests);
        return;
    }
    let counts: Option<Vec<f64>> = LOOPS.iter().map(|l| per_request(l.0)).collect();
    let Some(counts) = counts else {
        return skip("toggles_that_are_off_leave_no_instruction", "valgrind is not installed");
    };
    let [reference, at_run_time, all_off, all_on] = counts[..] else { unreachable!() };
    // A switch that is asked at run time takes two instructions a request or more.
    assert!(all_off < reference + 2.0, "all off executes {all_off} instructions, without switches {reference}");
    assert!(at_run_time / reference > 1.05, "asking at run time executes {at_run_time}, without switches {reference}");
    for (name, counted, recorded) in [("all_off", all_off, ALL_OFF), ("all_on", all_on, ALL_ON)] {
        // How the compiler divides the crate moves some instructions in and out of the loop.
        assert!(
            counted < recorded * 1.10,
            "{name} executes {counted} instructions a request, recorded are {recorded}: explain, then record"
        );
    }
}
