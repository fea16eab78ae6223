//! How far the CPU time that is charged for the kernel's threads jumps: seen on one that spins.

use crate::clock::helpers::{Helpers, Jobs};
use crate::clock::{burn, monotonic_ns};
use io_uring::IoUring;
use std::time::Duration;

/// A slice holds at least this many steps, so that the step at either edge is a small part of it.
pub const STEPS_PER_SLICE: u64 = 50;

/// How long the thread is looked at: some ticks of the scheduler, which are 1 to 10 ms long.
const LOOKED_AT: Duration = Duration::from_millis(25);

/// By when the thread is gone, from the first look on.
const GONE: Duration = Duration::from_millis(500);

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(50);

/// The CPU time that was read, between two readings of the time. All in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Look {
    before: u64,
    cpu: u64,
    after: u64,
}

/// The farthest that CPU time got ahead of the time, between any two looks. One thread cannot use more than passes, so what it got ahead is how
/// much was charged late. A thread that is held up falls behind, which is no step.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    /// The least that CPU time was ahead at any look.
    least: Option<i64>,
    largest: u64,
}

impl Steps {
    fn add(&mut self, look: Look) {
        let ahead = |time: u64| look.cpu as i64 - time as i64;
        let step = self.least.map_or(0, |least| ahead(look.after) - least);
        self.largest = self.largest.max(u64::try_from(step).unwrap_or(0));
        self.least = Some(self.least.map_or(ahead(look.before), |least| least.min(ahead(look.before))));
    }
}

/// Looks that are made where one finds a step of more than [`SMALL_STEP_NS`]: another thread of a ring may not sleep yet, which looks like one.
const LOOKS: usize = 3;
const SMALL_STEP_NS: u64 = 100_000;

/// How far the charge jumps here, in nanoseconds; `None` where no kernel thread can be made to spin. Nothing else of the process may run.
pub fn step_ns(jobs: &Jobs) -> Option<u64> {
    let mut least = None;
    for _ in 0..LOOKS {
        least = Some(look(jobs)?.min(least.unwrap_or(u64::MAX)));
        if least < Some(SMALL_STEP_NS) {
            break;
        }
    }
    least
}

fn look(jobs: &Jobs) -> Option<u64> {
    let before = Helpers::list(jobs).ok()?;
    // It spins for a little longer than it is looked at.
    let ring: IoUring = IoUring::builder().setup_sqpoll(LOOKED_AT.as_millis() as u32 * 2).build(1).ok()?;
    let helpers = Helpers::list(jobs).ok()?;
    let (begin, mut steps) = (monotonic_ns(), Steps::default());
    while monotonic_ns() - begin < LOOKED_AT.as_nanos() as u64 {
        // Wakes the thread where it sleeps.
        ring.submitter().submit().ok()?;
        let before = monotonic_ns();
        let (cpu, _) = helpers.so_far();
        steps.add(Look { before, cpu, after: monotonic_ns() });
        burn(PAUSE);
    }
    drop(ring);
    // The thread of a ring that is gone may run on for its idle time.
    while Helpers::list(jobs).is_ok_and(|now| now.are_more_than(&before)) && monotonic_ns() - begin < GONE.as_nanos() as u64 {
        std::thread::sleep(PAUSE);
    }
    Some(steps.largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these times with this CPU time, each of which took 1.
    fn largest(looks: &[(u64, u64)]) -> u64 {
        let mut steps = Steps::default();
        looks.iter().for_each(|(before, cpu)| steps.add(Look { before: *before, cpu: *cpu, after: before + 1 }));
        steps.largest
    }

    #[test]
    fn a_clock_that_keeps_up_has_no_step() {
        assert_eq!(largest(&[(1000, 5), (1100, 105), (1200, 205)]), 0);
        assert_eq!(largest(&[]), 0);
    }

    #[test]
    fn a_clock_that_stands_and_jumps_has_a_step() {
        assert_eq!(largest(&[(1000, 0), (1100, 0), (1200, 0), (1300, 300), (1400, 300)]), 199);
        assert_eq!(largest(&[(1000, 0), (1100, 100), (1200, 100), (1300, 100), (1400, 100), (1500, 500)]), 299);
    }

    #[test]
    fn a_thread_that_is_held_up_or_a_look_that_takes_long_is_no_step() {
        assert_eq!(largest(&[(1000, 0), (1100, 100), (5000, 100), (5100, 200)]), 0, "it did not run for a while");
        let mut steps = Steps::default();
        for look in [(0, 0, 1), (100, 4000, 4100), (4200, 4200, 4201)] {
            steps.add(Look { before: look.0, cpu: look.1, after: look.2 });
        }
        assert_eq!(steps.largest, 0, "who looks was held up before the CPU time was read");
    }

    #[test]
    fn here_the_charge_keeps_up_with_a_thread_that_spins() {
        let jobs = Jobs::default();
        jobs.join();
        let step = step_ns(&jobs).expect("SQPOLL can be had");
        assert!(step < 1_000_000, "a step of {step} ns");
    }
}
