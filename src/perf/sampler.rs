//! A clock on every CPU that writes down who runs what, and who called it.

use crate::engine::numa;
use perf_event::data::Record;
use perf_event::events::{Hardware, Software};
use perf_event::{Builder, Clock, Counter, SampleFlag, Sampler};
use std::io;

/// One tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Monotonic time, comparable with the clocks of slices.
    pub time_ns: u64,
    pub process: u32,
    pub thread: u32,
    /// What has happened since the tick before: cycles, or nanoseconds of a timer. The kernel adapts it to the load.
    pub period: u64,
    /// Addresses, innermost first; kernel addresses are in the upper half.
    pub chain: Vec<u64>,
}

/// Whom the clocks watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything on the machine, and with it the kernel threads that serve the target.
    Machine,
    /// This process and the kernel threads made for it.
    Process,
}

/// Clocks on all CPUs.
pub struct Clocks {
    samplers: Vec<Sampler>,
    pub scope: Scope,
    /// The event that ticks: cycles where a PMU counts them, else a timer.
    pub event: &'static str,
    ticks: Vec<Tick>,
    lost: u64,
}

/// Bytes of each CPU's ring: what an ordinary user may lock (`perf_event_mlock_kb`, 516 KiB a CPU) holds the ticks of many blocks.
const RING_BYTES: usize = 512 << 10;

/// Markers of the kernel between the parts of a call chain (`PERF_CONTEXT_MAX`).
const MARKERS: u64 = -4095_i64 as u64;

const EVENTS: [(&str, Event); 2] = [("cycles", Event::Cycles), ("cpu-clock", Event::Timer)];

#[derive(Clone, Copy)]
enum Event {
    Cycles,
    Timer,
}

impl Clocks {
    /// Starts clocks that tick `frequency` times a second of CPU time. Must be called before the rings exist and before other threads do: what
    /// is made later is watched with its maker.
    pub fn start(frequency: u32) -> io::Result<Clocks> {
        let mut last = io::Error::from(io::ErrorKind::Unsupported);
        for scope in [Scope::Machine, Scope::Process] {
            for (name, event) in EVENTS {
                let each = numa::online().into_iter().map(|cpu| sampler(event, scope, cpu as usize, frequency));
                match each.collect::<io::Result<Vec<Sampler>>>() {
                    Ok(samplers) => return Ok(Clocks { samplers, scope, event: name, ticks: Vec::new(), lost: 0 }),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    /// What has been taken over so far.
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// Takes over what the rings hold, so that they never fill.
    pub fn collect(&mut self) {
        for sampler in &mut self.samplers {
            while let Some(record) = sampler.next_record() {
                match record.parse_record() {
                    Ok(Record::Sample(sample)) => self.ticks.push(Tick {
                        time_ns: sample.time().unwrap_or(0),
                        process: sample.pid().unwrap_or(0),
                        thread: sample.tid().unwrap_or(0),
                        period: sample.period().unwrap_or(0),
                        chain: sample.callchain().unwrap_or(&[]).iter().copied().filter(|a| *a < MARKERS).collect(),
                    }),
                    Ok(Record::Lost(lost)) => self.lost += lost.lost,
                    // The kernel stopped the clock for a while, or wrote what cannot be read.
                    Ok(Record::Throttle(_)) | Err(_) => self.lost += 1,
                    Ok(_) => {}
                }
            }
        }
    }

    /// Stops the clocks; all ticks, and how many were lost.
    pub fn stop(mut self) -> (Vec<Tick>, u64) {
        self.samplers.iter_mut().for_each(|s| _ = s.as_counter_mut().disable());
        self.collect();
        (self.ticks, self.lost)
    }
}

fn sampler(event: Event, scope: Scope, cpu: usize, frequency: u32) -> io::Result<Sampler> {
    let mut builder = match event {
        Event::Cycles => Builder::new(Hardware::CPU_CYCLES),
        Event::Timer => Builder::new(Software::CPU_CLOCK),
    };
    match scope {
        Scope::Machine => builder.any_pid(),
        Scope::Process => builder.observe_self().inherit(true),
    };
    let wanted = [SampleFlag::IP, SampleFlag::TID, SampleFlag::TIME, SampleFlag::PERIOD, SampleFlag::CALLCHAIN];
    wanted.into_iter().for_each(|flag| _ = builder.sample(flag));
    builder.one_cpu(cpu).sample_frequency(frequency.into()).clockid(Clock::MONOTONIC);
    // Idle CPUs too: most interrupts for a target find nothing else to interrupt.
    let counter: Counter = builder.exclude_kernel(false).exclude_hv(true).exclude_idle(false).enabled(true).build()?;
    counter.sampled(RING_BYTES)
}
