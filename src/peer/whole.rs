//! One whole, uninterrupted run of fio: what it says of itself, latency above all, which cannot be counted from outside.
//!
//! Parses of fio's JSON only what is used. Of CPU time fio tells that of its job threads, each in whole milliseconds, without the kernel workers
//! that do their I/O. The process's own clock has all threads to the nanosecond, as the clock of our engine has, but fio's start and end besides
//! (170 ms of 0.5 s in a run of a second). So it is read while the kernel counts fio's bytes, and what lies between two readings in the midst of
//! the run is scaled to all of its bytes.

use super::Error;
use super::counter::{Counter, CpuClock};
use super::fio::Fio;
use crate::limits;
use crate::printed;
use crate::process::Process;
use crate::row::Latency;
use crate::spawn::Interrupts;
use crate::target::Target;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Set-up, tear-down and report beside the run itself; generous, for a hang is the exception.
const GRACE: Duration = Duration::from_secs(30);

/// Readings of the process's clock in the time that a run is to take.
const LOOKS: u32 = 100;
/// Share of a run's bytes at either end in which no reading counts: what fio's own program was read with is less.
const EDGE: f64 = 0.05;
/// Share of the CPU time that fio tells of its threads which its process has at least: scaled from a part, the one may lie below the other.
const LEAST_OF_TOLD: f64 = 0.8;

/// fio's own figures over all of its jobs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whole {
    pub duration: Duration,
    pub ops: u64,
    pub bytes: u64,
    pub errors: u64,
    pub cpu_user_ns: u64,
    pub cpu_sys_ns: u64,
    /// By the clock of the process, without its start and end; `None` where that cannot be told.
    pub cpu_process_ns: Option<u64>,
    /// Completion latency; empty where the configuration does not measure it.
    pub latency: Latency,
}

#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    error: i64,
    #[serde(default)]
    total_err: u64,
    read: Option<Direction>,
    write: Option<Direction>,
    mixed: Option<Direction>,
    /// Summed over threads, in milliseconds.
    job_runtime: f64,
    usr_cpu: f64,
    sys_cpu: f64,
}

#[derive(Deserialize)]
struct Direction {
    io_bytes: u64,
    total_ios: u64,
    /// Milliseconds.
    runtime: u64,
    clat_ns: Completion,
}

#[derive(Deserialize)]
struct Completion {
    #[serde(rename = "N")]
    samples: u64,
    mean: f64,
    max: u64,
    #[serde(default)]
    percentile: BTreeMap<String, u64>,
}

/// Runs `job`, which takes `time`, and reads fio's report. With a target, where the kernel counts what fio moves, its CPU time is billed from outside.
pub fn run(fio: &Fio, job: &str, time: Duration, billed_on: Option<&Target>, interrupts: &Interrupts) -> Result<Whole, Error> {
    let options = ["--output-format=json", "--eta=never", "-"];
    let mut meter: Option<(CpuClock, Counter)> = None;
    let mut readings = Vec::with_capacity(LOOKS as usize * 2);
    let mut look = |process: &Process| {
        let Some(target) = billed_on else { return };
        if meter.is_none() {
            meter = CpuClock::of(process.pid()).ok().zip(Counter::open(target, process.pid()).ok());
        }
        readings.extend(meter.as_ref().and_then(|(clock, counter)| Some((counter.bytes().ok()?, clock.nanoseconds()?))));
    };
    let pause = if billed_on.is_some() { time / LOOKS } else { time + GRACE };
    let process = fio.finish_watched(&options, job, time + GRACE, Some(interrupts), (pause, &mut look))?;
    let fail = |reason: String| Error::Report { program: fio.program().into(), reason };
    let text = process.output().map_err(|e| fail(e.to_string()))?;
    let whole = parse(&text).map_err(|reason| fail(format!("{reason}; {}", process.last_words())))?;
    Ok(Whole { cpu_process_ns: of_run(&readings, whole.bytes).filter(|ns| is_of_fio(*ns, &whole)), ..whole })
}

/// CPU time for `moved` bytes from readings of what the kernel had counted and of the process's clock: of what lies between the first and the last
/// of which the one is not its start and the other not its end. `None` where the kernel counted less than that, or it was not looked often enough.
fn of_run(readings: &[(u64, u64)], moved: u64) -> Option<u64> {
    let before = readings.first()?.0;
    let share = |(bytes, _): &(u64, u64)| bytes.saturating_sub(before) as f64 / moved as f64;
    let first = readings.iter().find(|reading| share(reading) >= EDGE)?;
    let last = readings.iter().rfind(|reading| share(reading) <= 1.0 - EDGE)?;
    let between = share(last) - share(first);
    let ends = share(readings.last()?) >= 1.0 - EDGE;
    (ends && between >= 0.5).then(|| (last.1.saturating_sub(first.1) as f64 / between) as u64)
}

/// False where the process is not fio but something that started it: then its threads took more than their process.
fn is_of_fio(process_ns: u64, whole: &Whole) -> bool {
    process_ns as f64 >= (whole.cpu_user_ns + whole.cpu_sys_ns) as f64 * LEAST_OF_TOLD
}

/// Reads the report, past any lines around it.
pub fn parse(text: &str) -> Result<Whole, String> {
    let mut reports = printed::documents(text)?;
    reports.retain(|document| document.get("jobs").is_some());
    let [report] = &reports[..] else { return Err(format!("{} JSON reports instead of 1", reports.len())) };
    let report = Report::deserialize(report).map_err(|e| e.to_string())?;
    // The jobs report as one group.
    let [job] = &report.jobs[..] else { return Err(format!("{} groups of jobs instead of 1", report.jobs.len())) };
    let directions = [&job.read, &job.write, &job.mixed].into_iter().flatten();
    let busy: Vec<&Direction> = directions.filter(|d| d.total_ios > 0).collect();
    let [direction] = busy[..] else { return Err(format!("{} directions with I/O instead of 1", busy.len())) };
    credible(job, direction)?;
    let cpu_ns = |percent: f64| (percent / 100.0 * job.job_runtime * 1e6) as u64;
    Ok(Whole {
        duration: Duration::from_millis(direction.runtime),
        ops: direction.total_ios,
        bytes: direction.io_bytes,
        errors: job.total_err.max(u64::from(job.error != 0)),
        cpu_user_ns: cpu_ns(job.usr_cpu),
        cpu_sys_ns: cpu_ns(job.sys_cpu),
        cpu_process_ns: None,
        latency: latency(&direction.clat_ns),
    })
}

/// Refuses figures that no run has, so that no sum or quotient of them can be one either.
fn credible(job: &Job, direction: &Direction) -> Result<(), String> {
    let longest_ms = limits::TIME.as_millis() as f64;
    // In percent of one CPU and in milliseconds, each over all threads.
    let threads = f64::from(limits::JOBS);
    let clat = &direction.clat_ns;
    let slowest = clat.percentile.values().copied().chain([clat.max]).max().unwrap_or(0);
    let figures = [
        ("usr_cpu", job.usr_cpu, 0.0, 100.0 * threads),
        ("sys_cpu", job.sys_cpu, 0.0, 100.0 * threads),
        ("job_runtime", job.job_runtime, 0.0, longest_ms * threads),
        ("runtime", direction.runtime as f64, 1.0, longest_ms),
        ("total_ios", direction.total_ios as f64, 1.0, limits::PEER_OPS),
        ("io_bytes", direction.io_bytes as f64, 1.0, limits::PEER_BYTES),
        ("clat_ns N", clat.samples as f64, 0.0, limits::PEER_OPS),
        ("clat_ns mean", clat.mean, 0.0, longest_ms * 1e6),
        ("clat_ns max or percentile", slowest as f64, 0.0, longest_ms * 1e6),
    ];
    match figures.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
        Some((key, value, least, most)) => Err(format!("its {key} is {value:e}, which no run has ({least:e} to {most:e})")),
        None => Ok(()),
    }
}

fn latency(clat: &Completion) -> Latency {
    if clat.samples == 0 {
        return Latency::default();
    }
    // fio names the upper end of a range of values, which may lie above the highest.
    let percentile = |key: &str| clat.percentile.get(key).map(|value| (*value).min(clat.max));
    Latency {
        mean: Some(clat.mean),
        p50: percentile("50.000000"),
        p90: percentile("90.000000"),
        p99: percentile("99.000000"),
        p999: percentile("99.900000"),
        max: Some(clat.max),
        samples: Some(clat.samples),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_billed_for_the_midst_of_its_run() {
        // Start and end take 500 each, the run 10 a byte; the device had counted 7 before.
        let at = |bytes: u64| (7 + bytes, 500 + 10 * bytes);
        let mut readings = vec![(7, 0), (7, 250), (7, 500)];
        readings.extend((1..=100).map(at));
        readings.extend([(107, 1750), (107, 2000)]);
        assert_eq!(of_run(&readings, 100), Some(1000));
        assert_eq!(of_run(&readings, 200), None, "the kernel counted half of what is told");
        assert_eq!(of_run(&[(7, 0), at(50), at(100)], 100), None, "too few looks");
        assert_eq!(of_run(&[], 100), None);
    }

    const IDLE: &str = r#"{"io_bytes":0,"total_ios":0,"runtime":0,"clat_ns":{"min":0,"max":0,"mean":0.0,"N":0}}"#;

    fn report(read: &str, write: &str) -> String {
        format!(
            "fio: a warning {{about}} something\n{{\"fio version\":\"fio-3.33\",\"jobs\":[{{\"jobname\":\"x\",\"error\":0,\
             \"read\":{read},\"write\":{write},\"job_runtime\":4000,\"usr_cpu\":10.0,\"sys_cpu\":50.0}}],\"disk_util\":[]}}\nmore\n"
        )
    }

    #[test]
    fn figures_are_found_behind_warnings() {
        let busy = r#"{"io_bytes":8192,"total_ios":2,"runtime":2000,"clat_ns":{"min":1,"max":900,"mean":450.5,"N":2,
            "percentile":{"50.000000":400,"90.000000":800,"99.000000":890,"99.900000":899}}}"#;
        let whole = parse(&report(IDLE, busy)).unwrap();
        assert_eq!((whole.ops, whole.bytes, whole.errors, whole.duration), (2, 8192, 0, Duration::from_secs(2)));
        assert_eq!((whole.cpu_user_ns, whole.cpu_sys_ns), (400_000_000, 2_000_000_000), "shares of the summed run times");
        let latency = whole.latency;
        assert_eq!((latency.mean, latency.p999, latency.max, latency.samples), (Some(450.5), Some(899), Some(900), Some(2)));
    }

    #[test]
    fn latency_that_was_not_measured_is_empty() {
        let busy = r#"{"io_bytes":8192,"total_ios":2,"runtime":2000,"clat_ns":{"min":0,"max":0,"mean":0.0,"N":0}}"#;
        assert_eq!(parse(&report(busy, IDLE)).unwrap().latency, Latency::default());
    }

    #[test]
    fn a_run_without_io_and_a_torn_report_are_errors() {
        assert!(parse(&report(IDLE, IDLE)).unwrap_err().contains("0 directions"));
        assert!(parse("{\"jobs\": [").is_err());
        assert!(parse("nothing\n").unwrap_err().contains("0 JSON reports"));
        let twice = report(IDLE, IDLE).repeat(2);
        assert!(parse(&twice).unwrap_err().contains("2 JSON reports"));
    }

    #[test]
    fn figures_that_no_run_has_are_refused() {
        let busy = |key: &str, value: &str| {
            let mut keys =
                [("io_bytes", "8192"), ("total_ios", "2"), ("runtime", "2000"), ("max", "900"), ("mean", "450.5"), ("N", "2")];
            keys.iter_mut().filter(|(k, _)| *k == key).for_each(|(_, v)| *v = value);
            let of = |key: &str| keys.iter().find(|(k, _)| *k == key).unwrap().1;
            let clat = ["max", "mean", "N"].map(|k| format!("\"{k}\":{}", of(k))).join(",");
            let rest = ["io_bytes", "total_ios", "runtime"].map(|k| format!("\"{k}\":{}", of(k))).join(",");
            report(&format!("{{{rest},\"clat_ns\":{{{clat}}}}}"), IDLE)
        };
        assert!(parse(&busy("", "")).is_ok());
        let most = u64::MAX.to_string();
        let beyond = |limit: f64| (limit as u64 + (1 << 12)).to_string();
        let (bytes, ops) = (beyond(limits::PEER_BYTES), beyond(limits::PEER_OPS));
        let absurd = [
            ("io_bytes", &*bytes),
            ("total_ios", &ops),
            ("N", &ops),
            ("runtime", &most),
            ("runtime", "0"),
            ("max", &most),
            ("mean", "1e308"),
            ("mean", "-1"),
        ];
        for (key, value) in absurd {
            let said = parse(&busy(key, value)).unwrap_err();
            assert!(said.contains(key) && said.contains("no run has"), "{key} = {value}: {said}");
        }
        for broken in [("total_ios", "-5"), ("io_bytes", "NaN"), ("mean", "1e999")] {
            assert!(parse(&busy(broken.0, broken.1)).is_err(), "{broken:?}");
        }
        for (key, usual, value) in [("usr_cpu", "10.0", "1e300"), ("job_runtime", "4000", "1e300"), ("sys_cpu", "50.0", "-50.0")]
        {
            let report = busy("", "").replace(&format!("\"{key}\":{usual}"), &format!("\"{key}\":{value}"));
            assert!(parse(&report).unwrap_err().contains(key), "{key}");
        }
        assert!(parse(&format!("{{\"jobs\":{}", "[".repeat(200_000))).is_err(), "depth is bounded");
    }
}
