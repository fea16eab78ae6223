//! CPU time of the threads that the kernel makes in this process for its rings: `iou-sqp-*` of SQPOLL and `iou-wrk-*` of io-wq, members of the
//! thread group since Linux 5.12. Whatever runs in the process and is no job was made by the kernel: nothing is told by its name, which a new
//! thread gets only when it first runs.
//!
//! The CPU clock of a process adds up what the scheduler has booked for each thread (`thread_group_cputime`, kernel/sched/cputime.c). A thread
//! that runs on another CPU is booked by scheduler ticks, several milliseconds late. Reading the thread's own CPU clock books it up to now
//! (`task_sched_runtime`, kernel/sched/core.c), so that is done for each thread first. `scripts/bench-cpu-charge.sh` shows both.

use super::{Reading, monotonic_ns, nanos, thread_cpu_ns, try_nanos};
use nix::time::ClockId;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

/// The threads of this process, as its own `/proc` numbers them.
const TASKS: &str = "/proc/self/task";

/// `CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED` (include/linux/posix-timers_types.h): the scheduler's clock of one thread.
const THREAD_CLOCK: i32 = 4 | 2;

/// The CPU clock of a thread of this process.
fn clock_of(thread: i32) -> ClockId {
    ClockId::from_raw((!thread << 3) | THREAD_CLOCK)
}

/// The threads that run jobs.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<Vec<i32>>);

impl Jobs {
    /// The calling thread runs one, from now on.
    pub fn join(&self) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
}

/// The threads of this process: jobs, and all others.
#[derive(Debug)]
pub struct Helpers {
    jobs: Vec<i32>,
    others: Vec<ClockId>,
    /// How many threads there were when they were listed.
    threads: u64,
}

impl Helpers {
    /// Lists what runs in this process now. Takes some ten microseconds: not for where time counts.
    pub fn list(jobs: &Jobs) -> io::Result<Helpers> {
        let jobs = jobs.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut helpers = Helpers { jobs, others: Vec::new(), threads: 0 };
        helpers.list_again()?;
        Ok(helpers)
    }

    /// Whether there are more of them than there were.
    pub fn are_more_than(&self, before: &Helpers) -> bool {
        self.others.len() > before.others.len()
    }

    fn list_again(&mut self) -> io::Result<()> {
        // Counted first: a thread that is made meanwhile is listed next time, if not now.
        self.threads = threads()?;
        let mut all = Vec::new();
        for entry in fs::read_dir(TASKS)? {
            all.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
        }
        if self.jobs.iter().any(|job| !all.contains(job)) {
            return Err(io::Error::other("/proc is that of another PID namespace; mount the one of this"));
        }
        self.others = all.into_iter().filter(|thread| !self.jobs.contains(thread)).map(clock_of).collect();
        Ok(())
    }

    /// All clocks where a slice begins: the time last, so that reading the others is not measured.
    pub fn open(&self) -> Reading {
        let (helpers_cpu_ns, helpers_at_ns) = self.so_far();
        let thread_cpu_ns = thread_cpu_ns();
        Reading { monotonic_ns: monotonic_ns(), thread_cpu_ns, helpers_cpu_ns, helpers_at_ns, charged: true }
    }

    /// All clocks where a slice ends: the time first.
    pub fn close(&mut self) -> Reading {
        let (monotonic_ns, thread_cpu_ns) = (monotonic_ns(), thread_cpu_ns());
        // A worker may have been made in the slice.
        let charged = match threads() {
            Ok(threads) if threads == self.threads => true,
            counted => counted.and_then(|_| self.list_again()).is_ok(),
        };
        let helpers_at_ns = self.book();
        self.jobs_cpu_ns();
        let process = nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        let helpers_cpu_ns = process.saturating_sub(self.jobs_cpu_ns());
        Reading { monotonic_ns, thread_cpu_ns, helpers_cpu_ns, helpers_at_ns, charged }
    }

    /// CPU time of the others so far, those that have ended included, and when that was. What jobs do while this is read makes it too large here, and too small in
    /// [`Helpers::close`]: of several jobs the least at the beginning and the most at the end are right.
    pub fn so_far(&self) -> (u64, u64) {
        let at_ns = self.book();
        let jobs = self.jobs_cpu_ns();
        (nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(jobs), at_ns)
    }

    /// Has the scheduler book what the others have used until now, and says when that is. One that has ended is in the sum of the process.
    fn book(&self) -> u64 {
        self.others.iter().for_each(|clock| {
            let _ = try_nanos(*clock);
        });
        monotonic_ns()
    }

    fn jobs_cpu_ns(&self) -> u64 {
        self.jobs.iter().filter_map(|job| try_nanos(clock_of(*job))).sum()
    }
}

/// How many threads this process has, and two: a directory has as many links as directories in it, and two of its own.
fn threads() -> io::Result<u64> {
    Ok(fs::metadata(TASKS)?.nlink())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::Duration;

    /// A thread that was not announced stands for one of the kernel's.
    fn beside_one_that_burns(check: impl FnOnce(&Jobs, ClockId)) {
        let (jobs, stop, thread) = (Jobs::default(), AtomicBool::new(false), OnceLock::new());
        jobs.join();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                thread.set(clock_of(rustix::thread::gettid().as_raw_nonzero().get())).unwrap();
                while !stop.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&jobs, *thread.wait())));
            stop.store(true, Relaxed);
            // A thread that is not stopped would hide the failure behind the test's time.
            checked.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        });
    }

    #[test]
    fn a_running_thread_is_charged_no_more_than_has_passed() {
        beside_one_that_burns(|jobs, clock| {
            let (first, mut last, mut charged) = (nanos(clock), 0, 0);
            for _ in 0..100 {
                let mut helpers = Helpers::list(jobs).unwrap();
                let begin = monotonic_ns();
                let opened = helpers.open();
                super::super::burn(Duration::from_micros(700));
                let closed = helpers.close();
                // Where it did not run, the two edges differ by a reading of a clock.
                let (one, passed) = (closed.helpers_cpu_ns.saturating_sub(opened.helpers_cpu_ns), monotonic_ns() - begin);
                assert!(one <= passed + 20_000, "{one} ns of {passed}");
                charged += one;
                last = nanos(clock);
            }
            assert!(charged > 0 && charged <= last - first + 100_000, "{charged} of {}", last - first);
        });
    }

    #[test]
    fn jobs_are_not_among_the_others_and_new_threads_are() {
        let jobs = Jobs::default();
        jobs.join();
        let mut helpers = Helpers::list(&jobs).unwrap();
        let before = helpers.open();
        super::super::burn(Duration::from_millis(5));
        let after = helpers.close();
        assert!(after.thread_cpu_ns - before.thread_cpu_ns > 1_000_000);
        let (opened, mut closed) = (helpers.open(), Reading::default());
        beside_one_that_burns(|_, _| {
            super::super::burn(Duration::from_millis(20));
            closed = helpers.close();
        });
        assert!(closed.helpers_cpu_ns - opened.helpers_cpu_ns > 1_000_000, "a thread made in between is charged");
    }
}
