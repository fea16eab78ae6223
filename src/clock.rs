//! Readings of the clocks at the edges of a slice.

pub mod helpers;

use nix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::Duration;

/// Monotonic time, CPU time of the calling thread, and CPU time of the threads that the kernel made in this process (see [`helpers`]). All in
/// nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub monotonic_ns: u64,
    pub thread_cpu_ns: u64,
    pub helpers_cpu_ns: u64,
    /// When that was so: a job can lose its CPU between two readings, while the kernel's threads run on.
    pub helpers_at_ns: u64,
    /// All threads of the process could be listed.
    pub charged: bool,
}

fn nanos(id: ClockId) -> u64 {
    try_nanos(id).expect("every Linux has these clocks")
}

/// `None` where the thread of the clock has ended.
fn try_nanos(id: ClockId) -> Option<u64> {
    let time = clock_gettime(id).ok()?;
    Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Monotonic nanoseconds, comparable between processes of one boot. Out of line, so that every copy of the hot loop calls the same code.
#[inline(never)]
pub fn monotonic_ns() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// CPU time of the calling thread.
pub fn thread_cpu_ns() -> u64 {
    nanos(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// What reading the thread's CPU time takes of it: the median of many readings, asked for once.
pub fn thread_cpu_reading_ns() -> u64 {
    static READING: OnceLock<u64> = OnceLock::new();
    *READING.get_or_init(|| {
        let readings: Vec<u64> = (0..1001).map(|_| thread_cpu_ns()).collect();
        let mut each: Vec<u64> = readings.windows(2).map(|pair| pair[1] - pair[0]).collect();
        each.sort_unstable();
        each[each.len() / 2]
    })
}

/// Burns until the thread's CPU time has reached `due_ns`; returns what it is then.
pub fn burn_until(due_ns: u64) -> u64 {
    loop {
        let now_ns = thread_cpu_ns();
        if now_ns >= due_ns {
            return now_ns;
        }
    }
}

/// Burns CPU until `duration` has passed.
pub fn burn(duration: Duration) {
    let start = std::time::Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}
