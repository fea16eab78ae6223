//! Readings of the clocks at the edges of a slice.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Monotonic time, CPU time of the calling thread, and CPU time of the process with the kernel threads that work for it (io-wq workers
/// and SQPOLL threads belong to the process that caused them). All in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub monotonic_ns: u64,
    pub thread_cpu_ns: u64,
    pub process_cpu_ns: u64,
}

fn nanos(id: ClockId) -> u64 {
    let time = clock_gettime(id).expect("every Linux has these clocks");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Monotonic nanoseconds, comparable between processes of one boot. Out of line, so that every copy of the hot loop calls the same code.
#[inline(never)]
pub fn monotonic_ns() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// All clocks where a slice begins: the time last, so that reading the others is not measured.
pub fn open() -> Reading {
    let thread_cpu_ns = nanos(ClockId::CLOCK_THREAD_CPUTIME_ID);
    let process_cpu_ns = nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    Reading { monotonic_ns: monotonic_ns(), thread_cpu_ns, process_cpu_ns }
}

/// All clocks where a slice ends: the time first.
pub fn close() -> Reading {
    let monotonic_ns = monotonic_ns();
    Reading {
        monotonic_ns,
        thread_cpu_ns: nanos(ClockId::CLOCK_THREAD_CPUTIME_ID),
        process_cpu_ns: nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID),
    }
}

/// Burns CPU until `duration` has passed.
pub fn burn(duration: Duration) {
    let start = std::time::Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}
