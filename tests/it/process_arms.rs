//! Peers for real: fio on a loop device of our own, and programs that call themselves fio and misbehave.
//!
//! Every test ends by looking through /proc for what it may have left running or stopped.

use crate::support::{Process, children_of, processes, script};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use uring_ablate::engine::Options;
use uring_ablate::experiment::FioConfig;
use uring_ablate::peer::duet::{self, Contest, Contestant, Report, Start, Timing};
use uring_ablate::peer::fio::{Fio, Work, job};
use uring_ablate::peer::{Error, counter, whole};
use uring_ablate::plan::{Arm, Control};
use uring_ablate::row::Outcome;
use uring_ablate::run::round::Spec;
use uring_ablate::spawn::{Interrupts, Tether};
use uring_ablate::target::{Kind, Target, Wanted};
use uring_ablate::toggle::{Levels, Setting, Toggle};
use uring_ablate::workload::Workload;

const WORKLOAD: Workload = Workload { queue_depth: 32, ..Workload::example() };

fn tether() -> Tether {
    Tether::through(env!("CARGO_BIN_EXE_uring-ablate"))
}

/// A loop device, or the reason for skipping, said aloud.
fn loop_target() -> Option<Target> {
    match Target::resolve(&Wanted { kind: Kind::Loop, path: None, size_bytes: Some(64 << 20), stamps: None, allowed_bytes: 0 }) {
        Ok(target) => Some(target),
        Err(error) => {
            crate::support::skip("process arms", &error.to_string());
            None
        }
    }
}

fn real_fio() -> Option<Fio> {
    Fio::find(tether(), Path::new("fio")).inspect_err(|error| crate::support::skip("process arms", &error.to_string())).ok()
}

/// A program in place of fio.
fn fake(dir: &Path, body: &str) -> Fio {
    Fio::find(tether(), &script(dir, "fio", body)).unwrap()
}

fn full() -> Levels {
    let on = [Toggle::FixedBuffers, Toggle::FixedFiles, Toggle::BatchSubmit, Toggle::QueueRefill];
    on.iter().fold(Levels::all_off(), |levels, t| levels.with(*t, t.spec().on))
}

fn fio_job(config: FioConfig, target: &Target, time: Duration) -> String {
    let (paths, span_bytes) = (target.handles(), target.span_bytes);
    job(config, &Work { workload: &WORKLOAD, paths, span_bytes, full: &full(), time }).unwrap()
}

/// One arm on these files, for as long as it is left running.
pub fn spec(paths: Vec<PathBuf>, span_bytes: u64) -> Spec {
    let arm = Arm { treatment: "full".into(), levels: full(), control: Control::None, copies: 3 };
    Spec {
        paths,
        identities: vec![],
        span_bytes,
        workload: WORKLOAD,
        options: Options::default(),
        setting: Setting::default(),
        arms: vec![arm],
        seed: 1,
        blocks: 0,
        completions: 0,
        conditioning: false,
        hang_guard: Duration::from_secs(20),
        profile: None,
        counted: None,
        tallied: vec![],
        allow_iowq: false,
    }
}

fn ours(target: &Target) -> Contestant {
    let spec = Spec { identities: target.identities(), ..spec(target.handles(), target.span_bytes) };
    Contestant { name: "full".into(), start: Start::Ours(Box::new(duet::worker(spec))) }
}

fn theirs(fio: &Fio, name: &str, job: String) -> Contestant {
    Contestant { name: name.into(), start: fio.start(job) }
}

fn conduct(target: &Target, contestants: &[Contestant], blocks: u32) -> Result<Report, Error> {
    let interrupts = Interrupts::install().unwrap();
    let timing = Timing { slice: Duration::from_millis(10), startup_limit: Duration::from_secs(3), ..Timing::default() };
    duet::conduct(&Contest {
        tether: &tether(),
        target,
        workload: &WORKLOAD,
        contestants,
        timing,
        blocks,
        seed: 7,
        interrupts: &interrupts,
    })
}

/// Nothing is a child of this process any more, nor carries `marker` in its command line.
fn assert_nobody_left(marker: Option<&Path>) {
    let own = std::process::id();
    let marker = marker.map(|m| m.display().to_string());
    let mine = |p: &Process| p.parent == own || marker.as_ref().is_some_and(|marker| p.line.contains(marker.as_str()));
    let left = || processes().filter(mine).collect::<Vec<_>>();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !left().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(left().is_empty(), "left behind: {:?}", left());
}

#[test]
fn our_engine_and_every_fio_take_turns() {
    let (Some(target), Some(fio)) = (loop_target(), real_fio()) else { return };
    let long = Duration::from_secs(3600);
    let configs = [FioConfig::Default, FioConfig::Registered, FioConfig::Matched, FioConfig::Tuned];
    let mut contestants = vec![ours(&target)];
    for config in configs {
        let text = fio_job(config, &target, long);
        fio.check(&text).unwrap();
        contestants.push(theirs(&fio, &format!("fio:{config:?}"), text));
    }
    let report = conduct(&target, &contestants, 6).unwrap();
    assert_nobody_left(None);
    assert!(report.arms.iter().all(|a| a.outcome == Outcome::Completed), "{:?}", report.arms);
    assert_eq!(report.slices.len(), 5 * 6);
    assert_eq!(report.violations, 0);
    for block in report.slices.chunks(5) {
        let mut arms: Vec<usize> = block.iter().map(|s| s.arm).collect();
        arms.sort_unstable();
        assert_eq!(arms, [0, 1, 2, 3, 4], "every arm once in every block");
        assert!(block.iter().zip(0..).all(|(s, at)| s.position == at), "{block:?}");
    }
    // A single slice may get no CPU on a busy machine.
    for arm in 0..5 {
        let progress = report.slices.iter().filter(|s| s.arm == arm).fold((0, 0), |(o, c), s| (o + s.ops, c + s.cpu_total_ns));
        assert!(progress.0 > 0 && progress.1 > 0, "arm {arm}: {progress:?}");
    }
}

#[test]
fn a_whole_run_tells_latency() {
    let (Some(target), Some(fio)) = (loop_target(), real_fio()) else { return };
    let interrupts = Interrupts::install().unwrap();
    let second = Duration::from_secs(1);
    let _lent = target.lend().unwrap();
    let run = whole::run(&fio, &fio_job(FioConfig::Matched, &target, second), second, Some(&target), &interrupts).unwrap();
    assert_eq!(run.bytes, run.ops * 4096);
    assert_eq!(run.errors, 0);
    assert!(run.cpu_user_ns + run.cpu_sys_ns > 0 && run.duration >= Duration::from_millis(900), "{run:?}");
    // The process has what its threads tell, and neither its start nor its end.
    let (told, billed) = ((run.cpu_user_ns + run.cpu_sys_ns) as f64, run.cpu_process_ns.unwrap() as f64);
    assert!((0.8..1.4).contains(&(billed / told)), "{run:?}");
    let latency = run.latency;
    assert!(latency.p50 > Some(0) && latency.p50 <= latency.p99 && latency.p99 <= latency.max, "{latency:?}");
    let tuned = whole::run(&fio, &fio_job(FioConfig::Tuned, &target, second), second, None, &interrupts).unwrap();
    assert_eq!(tuned.latency.p50, None, "gtod_reduce measures none, so none is made up");
    assert_nobody_left(None);
}

#[test]
fn an_arm_that_ends_midway_is_left_out_and_the_others_go_on() {
    let (Some(target), Some(fio)) = (loop_target(), real_fio()) else { return };
    let short = theirs(&fio, "fio:short", fio_job(FioConfig::Default, &target, Duration::from_secs(1)));
    let report = conduct(&target, &[ours(&target), short], 80).unwrap();
    assert_nobody_left(None);
    assert_eq!(report.arms[0].outcome, Outcome::Completed);
    assert_eq!(report.arms[1].outcome, Outcome::Failed);
    assert!(report.arms[1].reason.contains("while it was measured"), "{}", report.arms[1].reason);
    let slices = |arm| report.slices.iter().filter(|s| s.arm == arm).count();
    assert_eq!(slices(0), 80);
    assert!(slices(1) < 80, "it ended after a second");
}

#[test]
fn arms_that_hang_or_die_say_so_and_ours_goes_on() {
    let Some(target) = loop_target() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (script, outcome, words) in [
        ("sleep 1000", Outcome::TimedOut, "moved nothing within 3 s"),
        ("echo no luck today >&2; exit 1", Outcome::Failed, "no luck today"),
    ] {
        let fio = fake(dir.path(), script);
        let report = conduct(&target, &[theirs(&fio, "fio:fake", "x".into()), ours(&target)], 3).unwrap();
        assert_nobody_left(Some(dir.path()));
        assert_eq!(report.arms[0].outcome, outcome);
        assert!(report.arms[0].reason.contains(words) && report.arms[0].reason.contains("fio:fake"), "{}", report.arms[0].reason);
        assert_eq!(report.slices.len(), 3, "ours has all its slices");
    }
}

#[test]
fn a_missing_an_old_and_a_broken_fio_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Fio::find(tether(), &dir.path().join("nowhere/fio")).unwrap_err().to_string();
    assert!(missing.contains("nowhere/fio") && missing.contains("apt-get install fio"), "{missing}");
    let old = "if [ $1 = --version ]; then echo fio-2.1; exit 0; fi; echo 'Bad option <registerfiles=1>' >&2; exit 1";
    let old = fake(dir.path(), old).check("[x]\n").unwrap_err().to_string();
    assert!(old.contains("fio-2.1") && old.contains("the option registerfiles;") && old.contains("newer fio"), "{old}");
    let engine = fake(dir.path(), "echo 'fio: engine io_uring not loadable' >&2; echo 'Bad option <fixedbufs=1>' >&2; exit 1");
    assert!(matches!(engine.check("[x]\n"), Err(Error::Engine { .. })));
    let interrupts = Interrupts::install().unwrap();
    let broken = fake(dir.path(), "echo first >&2; echo last words >&2; exit 1");
    let error = whole::run(&broken, "[x]\n", Duration::from_secs(1), None, &interrupts).unwrap_err().to_string();
    assert!(error.contains("exit status: 1") && error.contains("last words"), "{error}");
    assert_nobody_left(Some(dir.path()));
}

#[test]
fn a_real_fio_names_its_version_and_refuses_what_it_does_not_know() {
    let Some(fio) = real_fio() else { return };
    assert!(fio.version().unwrap().starts_with("fio-"));
    let error = fio.check("[x]\nioengine=io_uring\nfilename=/dev/zero\nfrobnicate=1\n").unwrap_err().to_string();
    assert!(error.contains("frobnicate"), "{error}");
}

#[test]
fn an_interrupt_ends_a_round_quickly_and_cleans_up() {
    let (Some(target), Some(fio)) = (loop_target(), real_fio()) else { return };
    let contestants =
        [ours(&target), theirs(&fio, "fio:default", fio_job(FioConfig::Default, &target, Duration::from_secs(3600)))];
    let sender = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(1500));
        kill_process(rustix::process::getpid(), Signal::TERM).unwrap();
        Instant::now()
    });
    let result = conduct(&target, &contestants, 100_000);
    assert!(sender.join().unwrap().elapsed() < Duration::from_secs(1));
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    assert_nobody_left(None);
}

#[test]
fn the_counter_is_proved_before_it_is_believed() {
    let Some(target) = loop_target() else { return };
    counter::preflight(&target).unwrap();
    let device = target.members[0].own_device.clone().unwrap();
    let switch = PathBuf::from(format!("/sys/block/{device}/queue/iostats"));
    if std::fs::write(&switch, "0").is_err() {
        crate::support::skip("the_counter_is_proved_before_it_is_believed", "the iostats switch cannot be written");
        return;
    }
    let error = counter::preflight(&target).unwrap_err().to_string();
    std::fs::write(&switch, "1").unwrap();
    assert!(error.contains(&format!("echo 1 > {}", switch.display())), "{error}");
}

#[test]
fn what_is_stopped_dies_with_a_killed_conductor() {
    let dir = tempfile::tempdir().unwrap();
    let fake = fake(dir.path(), "while :; do :; done");
    // The shell stands for the conductor: it starts a tethered process, stops it and waits.
    let script = "\"$0\" tether $$ \"$1\" & sleep 0.5; kill -STOP $!; wait";
    let mut conductor = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_uring-ablate")])
        .arg(fake.program())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let conductor_id = conductor.id();
    let marker = dir.path().display().to_string();
    let stopped = || children_of(conductor_id).any(|p| p.line.contains(&marker) && p.state == 'T');
    let deadline = Instant::now() + Duration::from_secs(10);
    while !stopped() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(stopped(), "the tethered process is stopped");
    kill_process(Pid::from_child(&conductor), Signal::KILL).unwrap();
    conductor.wait().unwrap();
    assert_nobody_left(Some(dir.path()));
}
