//! A clock on every CPU that writes down who runs what, and who called it.

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
                let each = (0..online_cpus()?).map(|cpu| sampler(event, scope, cpu, frequency));
                match each.collect::<io::Result<Vec<Sampler>>>() {
                    Ok(samplers) => return Ok(Clocks { samplers, scope, event: name, ticks: Vec::new(), lost: 0 }),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    /// Takes over what the rings hold, so that they never fill.
    pub fn collect(&mut self) {
        for sampler in &mut self.samplers {
            while let Some(record) = sampler.next_record() {
                match record.parse_record() {
                    Ok(perf_event::data::Record::Sample(sample)) => self.ticks.push(Tick {
                        time_ns: sample.time().unwrap_or(0),
                        process: sample.pid().unwrap_or(0),
                        thread: sample.tid().unwrap_or(0),
                        chain: sample.callchain().unwrap_or(&[]).iter().copied().filter(|a| *a < MARKERS).collect(),
                    }),
                    Ok(perf_event::data::Record::Lost(lost)) => self.lost += lost.lost,
                    _ => {}
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
    let wanted = [SampleFlag::IP, SampleFlag::TID, SampleFlag::TIME, SampleFlag::CALLCHAIN];
    wanted.into_iter().for_each(|flag| _ = builder.sample(flag));
    builder.one_cpu(cpu).sample_frequency(frequency.into()).clockid(Clock::MONOTONIC);
    let counter: Counter = builder.exclude_kernel(false).exclude_hv(true).exclude_idle(true).enabled(true).build()?;
    counter.sampled(RING_BYTES)
}

/// CPUs are numbered without gaps on the machines this was tried on; one that is off-line refuses its clock and so the profile.
fn online_cpus() -> io::Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<usize>().ok());
    last.map(|n| n + 1).ok_or_else(|| io::Error::other(format!("/sys/devices/system/cpu/online holds {text:?}")))
}
