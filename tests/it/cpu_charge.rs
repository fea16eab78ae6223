//! The CPU time that is charged to short slices is what the kernel's threads used in them.

use crate::support::ablate;
use std::collections::HashMap;
use std::fs;
use std::io::Seek;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use uring_ablate::engine::Options;
use uring_ablate::plan::{Arm, Control};
use uring_ablate::run::round::{Report, Slice, Spec};
use uring_ablate::toggle::{Levels, Setting, Toggle};
use uring_ablate::workload::{Rw, Workload};

const BYTES: usize = 16 << 20;

/// NOPs that a kernel thread submits.
fn spec(file: &Path, blocks: u32, completions: u64) -> Spec {
    let levels = Levels::all_off().with(Toggle::QueueRefill, 1).with(Toggle::Sqpoll, 1);
    Spec {
        paths: vec![file.into()],
        identities: vec![],
        span_bytes: BYTES as u64,
        workload: Workload { rw: Rw::Nop, queue_depth: 64, ..Workload::example() },
        options: Options::default(),
        setting: Setting::default(),
        arms: vec![Arm { treatment: "polled".into(), levels, control: Control::None, copies: 1 }],
        seed: 5,
        blocks,
        completions,
        conditioning: false,
        hang_guard: Duration::from_secs(20),
        profile: None,
        counted: None,
        tallied: vec![],
        allow_iowq: false,
    }
}

/// What schedstat says of each submitting kernel thread of a process: nanoseconds on a CPU, and in wait for one.
fn submitters(child: &Child) -> HashMap<String, (u64, u64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten().flatten();
    let told = tasks.filter_map(|task| {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).ok();
        let submits = read("comm")?.starts_with("iou-sqp-");
        let schedstat = read("schedstat")?;
        let mut numbers = schedstat.split_ascii_whitespace().map_while(|n| n.parse::<u64>().ok());
        submits.then_some((task.file_name().into_string().ok()?, (numbers.next()?, numbers.next()?)))
    });
    told.collect()
}

/// Runs a round; what it reports, and which part of the time in which its submitting threads wanted a CPU they had one.
fn watched(spec: &Spec) -> (Report, f64) {
    let mut input = tempfile::tempfile().unwrap();
    serde_json::to_writer(&input, spec).unwrap();
    input.rewind().unwrap();
    let mut child = ablate().arg("round").stdin(input).stdout(Stdio::piped()).spawn().unwrap();
    let output = std::thread::scope(|scope| {
        let mut pipe = child.stdout.take().unwrap();
        let reader = scope.spawn(move || std::io::read_to_string(&mut pipe).unwrap());
        let mut seen = HashMap::new();
        while child.try_wait().unwrap().is_none() {
            seen.extend(submitters(&child));
            std::thread::sleep(Duration::from_millis(5));
        }
        (reader.join().unwrap(), seen)
    });
    let (ran, waited) = output.1.values().fold((0, 0), |(ran, waited), (r, w)| (ran + r, waited + w));
    (serde_json::from_str(&output.0).unwrap(), ran as f64 / (ran + waited).max(1) as f64)
}

/// CPU time of the kernel's threads in a slice.
fn of_helpers(slice: &Slice) -> u64 {
    slice.cpu_total_ns - slice.thread_cpu_ns
}

#[test]
fn slices_of_two_milliseconds_are_charged_what_the_submitting_thread_used() {
    let file = tempfile::NamedTempFile::new_in(".").unwrap();
    fs::write(file.path(), vec![1; BYTES]).unwrap();
    let (look, _) = watched(&spec(file.path(), 16, 20_000));
    if let Some(reason) = &look.arms[0].unsupported {
        return crate::support::skip("slices_of_two_milliseconds_are_charged_what_the_submitting_thread_used", reason);
    }
    assert!(look.charge_step_ns.is_some_and(|step| step < 1_000_000), "{:?}", look.charge_step_ns);
    let mut times: Vec<u64> = look.slices.iter().map(|s| s.duration_ns).collect();
    times.sort_unstable();
    let completions = 20_000 * 2_000_000 / times[times.len() / 2];
    let (report, had_a_cpu) = watched(&spec(file.path(), 400, completions));
    // A thread that spins wants a CPU all the time, and what it had of one is charged. Between slices it has other rivals on a busy machine, so
    // the share that it had of the whole round is only near.
    let (charged, passed) =
        report.slices.iter().fold((0, 0), |(c, p), slice| (c + of_helpers(slice), p + slice.end_ns - slice.start_ns));
    let share = charged as f64 / passed as f64;
    assert!((0.7 * had_a_cpu..1.3 * had_a_cpu).contains(&share), "charged {share:.3} of the time, it ran {had_a_cpu:.3} of it");
    let beyond = report.slices.iter().filter(|s| of_helpers(s) > s.end_ns - s.start_ns + 100_000).count();
    // The job may lose its CPU while it reads the clocks.
    assert!(
        beyond * 50 <= report.slices.len(),
        "{beyond} slices that were charged more than they lasted, of {}",
        report.slices.len()
    );
}

#[test]
fn a_worker_that_does_the_reading_is_charged_to_its_slices() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return crate::support::skip("a_worker_that_does_the_reading_is_charged_to_its_slices", "/dev/shm is not writable");
    };
    let file = dir.path().join("data");
    fs::write(&file, vec![1; BYTES]).unwrap();
    let levels = Levels::all_off().with(Toggle::QueueRefill, 1);
    let arms = vec![Arm { treatment: "punted".into(), levels, control: Control::None, copies: 1 }];
    let base = spec(&file, 60, 400);
    let spec = Spec { arms, workload: Workload { rw: Rw::Read, queue_depth: 16, ..base.workload }, allow_iowq: true, ..base };
    let (report, _) = watched(&spec);
    if let Some(reason) = &report.arms[0].unsupported {
        return crate::support::skip("a_worker_that_does_the_reading_is_charged_to_its_slices", reason);
    }
    let without = report.slices.iter().filter(|s| of_helpers(s) * 20 < s.cpu_total_ns).count();
    assert_eq!(without, 0, "slices of {} in which no worker was charged", report.slices.len());
}
