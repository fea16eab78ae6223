//! The rules of a round of slices, on real rings.

use crate::support::{root, skip};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use uring_ablate::clock::monotonic_ns;
use uring_ablate::engine::{Options, SetupError};
use uring_ablate::plan::{Arm, Control};
use uring_ablate::run::round::{self, Report, Spec};
use uring_ablate::target::identity::Identity;
use uring_ablate::target::{Kind, Target, Wanted};
use uring_ablate::toggle::{Levels, Setting, Toggle, refusal};
use uring_ablate::workload::{Rw, Workload};

const COMPLETIONS: u64 = 640;

fn file_target() -> Target {
    Target::resolve(&Wanted { kind: Kind::File, path: None, size_bytes: Some(16 << 20), stamps: None, allowed_bytes: 0 }).unwrap()
}

fn arm(treatment: &str, levels: Levels) -> Arm {
    Arm { treatment: treatment.into(), levels, control: Control::None, copies: 1 }
}

fn eager() -> Levels {
    Levels::all_off().with(Toggle::QueueRefill, 1)
}

fn spec(target: &Target, rw: Rw, jobs: u32, arms: Vec<Arm>, blocks: u32) -> Spec {
    Spec {
        paths: target.handles(),
        identities: target.identities(),
        span_bytes: target.span_bytes,
        workload: Workload { rw, read_percent: 70, queue_depth: 16, jobs, ..Workload::example() },
        options: Options::default(),
        setting: Setting::default(),
        arms,
        seed: 5,
        blocks,
        completions: COMPLETIONS,
        conditioning: false,
        hang_guard: Duration::from_secs(20),
        profile: None,
        counted: None,
        tallied: vec![],
        allow_iowq: false,
    }
}

/// A round of one arm on a file, for whom another part of it matters.
pub fn small_spec(file: &Path) -> Spec {
    let wanted = Wanted { kind: Kind::File, path: Some(file.into()), size_bytes: None, stamps: None, allowed_bytes: 0 };
    let target = Target::resolve(&wanted).unwrap();
    // By its name: what holds the target does not outlive this.
    Spec { paths: vec![file.into()], ..spec(&target, Rw::Read, 1, vec![arm("baseline", eager())], 1) }
}

/// The toggles that every machine with io_uring can do on a file.
fn one_arm_per_toggle(rw: Rw) -> Vec<Arm> {
    let workload = Workload { rw, queue_depth: 16, ..Workload::example() };
    let on = |t: Toggle| Levels::all_off().with(t, t.spec().on);
    let elsewhere =
        [Toggle::Iopoll, Toggle::NumaBind, Toggle::Passthrough, Toggle::Sqpoll, Toggle::HugePages, Toggle::CpuAffinity];
    let here = |t: &Toggle| !elsewhere.contains(t) && refusal(&on(*t), &workload, &Setting::default()).is_none();
    let toggles: Vec<Toggle> = Toggle::all().filter(here).collect();
    let mut arms = vec![arm("baseline", eager())];
    arms.extend(toggles.iter().map(|&t| arm(t.key(), Levels::all_off().with(t, t.spec().on))));
    arms.push(arm("batch = depth", Levels::all_off().with(Toggle::BatchSubmit, 16)));
    arms.push(arm("defer and eager", eager().with(Toggle::Taskrun, 2)));
    arms.push(arm("full", toggles.iter().fold(Levels::all_off(), |l, &t| l.with(t, t.spec().on))));
    arms
}

fn assert_sound(spec: &Spec, report: &Report) {
    let jobs = u64::from(spec.workload.jobs);
    for slice in &report.slices {
        let name = &spec.arms[slice.arm].treatment;
        assert_eq!((slice.errors, slice.first_error), (0, 0), "{name}");
        assert!(slice.slots_intact && !slice.overran, "{name}");
        let each = if spec.workload.rw == Rw::Nop { 0 } else { 4096 };
        assert_eq!(slice.bytes, slice.ops * each, "{name}");
        let most = (COMPLETIONS + 2 * u64::from(spec.workload.queue_depth)) * jobs;
        assert!(slice.ops <= most && slice.ops >= COMPLETIONS, "{name}: {} completions", slice.ops);
    }
    for (arm, seen) in spec.arms.iter().zip(&report.arms) {
        assert_eq!(seen.unsupported, None, "{}", arm.treatment);
        assert_eq!(seen.effective, arm.levels, "{}", arm.treatment);
    }
}

#[test]
fn every_toggle_runs_on_both_levels_for_every_access_kind() {
    let target = file_target();
    for rw in Rw::ALL {
        let spec = spec(&target, rw, 1, one_arm_per_toggle(rw), 2);
        let report = round::run(&spec).unwrap();
        assert_sound(&spec, &report);
        assert_eq!(report.slices.len(), 2 * spec.arms.len(), "{rw:?}");
    }
}

#[test]
fn jobs_have_rings_of_their_own_and_stop_together() {
    let target = file_target();
    let spec = spec(&target, Rw::Randread, 3, one_arm_per_toggle(Rw::Randread), 2);
    assert_sound(&spec, &round::run(&spec).unwrap());
}

#[test]
fn arms_are_set_up_in_a_fresh_order_each_round() {
    let target = file_target();
    let orders: HashSet<Vec<usize>> = (0..8)
        .map(|seed| {
            let spec = Spec { seed, ..spec(&target, Rw::Read, 1, one_arm_per_toggle(Rw::Read), 1) };
            let mut order = round::run(&spec).unwrap().setup_order;
            let drawn = order.clone();
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..spec.arms.len()), "a permutation");
            drawn
        })
        .collect();
    assert_eq!(orders.len(), 8);
}

#[test]
fn every_block_holds_every_arm_in_an_order_of_its_own() {
    let target = file_target();
    let spec = spec(&target, Rw::Read, 1, one_arm_per_toggle(Rw::Read), 6);
    let report = round::run(&spec).unwrap();
    let orders: HashSet<Vec<usize>> =
        (0..6).map(|b| report.slices.iter().filter(|s| s.block == b).map(|s| s.arm).collect()).collect();
    assert!(orders.len() == 6 && orders.iter().all(|o| o.iter().collect::<HashSet<_>>().len() == spec.arms.len()));
}

#[test]
fn each_sequential_slice_starts_somewhere_else() {
    let target = file_target();
    let spec = Spec { completions: 40, ..spec(&target, Rw::Read, 1, vec![arm("baseline", eager())], 60) };
    let report = round::run(&spec).unwrap();
    let places: HashSet<u64> = report.slices.iter().map(|s| s.touched).collect();
    assert!(places.len() > 20, "60 slices began in {} places", places.len());
    assert!(report.slices.iter().fold(0, |bits, s| bits | s.touched).count_ones() > 50, "and covered the span");
}

#[test]
fn the_stall_burns_what_it_says_of_the_elapsed_time() {
    let target = file_target();
    let stalled = Arm { control: Control::Stall(1.0), ..arm("stall", eager()) };
    let spec = Spec { completions: 4000, ..spec(&target, Rw::Read, 1, vec![arm("baseline", eager()), stalled], 8) };
    let report = round::run(&spec).unwrap();
    let cpu = |arm| report.slices.iter().filter(|s| s.arm == arm).map(|s| s.thread_cpu_ns).sum::<u64>() as f64;
    // On this target the loop mostly waits; the stalled arm spends as long again on the CPU, short of what other processes take from it.
    assert!(cpu(1) > 1.5 * cpu(0), "{} against {} ns", cpu(1), cpu(0));
    assert_sound_ops(&report);
}

fn assert_sound_ops(report: &Report) {
    assert!(report.slices.iter().all(|s| s.ops >= 4000 && s.ops < 4100));
}

#[test]
fn the_spin_burns_what_it_says_of_its_own_cpu_time() {
    let target = file_target();
    let levels = eager().with(Toggle::Taskrun, 2);
    let spun = Arm { control: Control::Spin(1.0), ..arm("spin", levels) };
    let spec = Spec { completions: 4000, ..spec(&target, Rw::Nop, 1, vec![arm("baseline", levels), spun], 8) };
    let report = round::run(&spec).unwrap();
    let cpu = |arm| report.slices.iter().filter(|s| s.arm == arm).map(|s| s.thread_cpu_ns).sum::<u64>() as f64;
    // Of what the requests themselves cost it burns as much again; what they cost differs a little from slice to slice.
    let ratio = cpu(1) / cpu(0);
    assert!((1.6..2.5).contains(&ratio), "{} against {} ns", cpu(1), cpu(0));
    assert!(report.slices.iter().all(|s| s.ops >= 4000 && s.ops < 4100), "as many completions as without");
}

#[test]
fn copies_of_the_code_take_turns_and_the_placebo_runs_on_the_other() {
    let target = file_target();
    let placebo = Arm { control: Control::Placebo, ..arm("placebo", eager()) };
    let report = round::run(&spec(&target, Rw::Read, 1, vec![arm("full", eager()), placebo], 16)).unwrap();
    let ran = |arm: usize| report.slices.iter().filter(|s| s.arm == arm).map(|s| (s.block, s.variant)).collect::<HashMap<_, _>>();
    let (full, placebo) = (ran(0), ran(1));
    assert!(full.iter().all(|(block, variant)| placebo[block] != *variant), "never on the same copy in a block");
    for arm in [&full, &placebo] {
        let copies: HashSet<u32> = arm.values().copied().collect();
        let first = *copies.iter().min().unwrap();
        assert_eq!((copies.len(), arm.values().filter(|v| **v == first).count()), (2, 8), "each copy in half of the blocks");
    }
    assert_eq!(report.arms[0].effective, report.arms[1].effective);
}

#[test]
fn a_conditioned_slice_is_preceded_by_as_much_that_is_not_measured() {
    if !root() {
        return skip("a_conditioned_slice_is_preceded_by_as_much_that_is_not_measured", "making a loop device needs root");
    }
    let (target, sectors) = loop_target();
    let bytes_of = |conditioning| {
        let before = sectors();
        let plain = spec(&target, Rw::Randread, 1, vec![arm("baseline", eager())], 1);
        let report = round::run(&Spec { completions: 20_000, conditioning, ..plain }).unwrap();
        assert!(report.slices[0].ops < 20_100, "only the second half is measured");
        (sectors() - before) as f64 * 512.0
    };
    let (plain, conditioned) = (bytes_of(false), bytes_of(true));
    assert!((conditioned / plain - 2.0).abs() < 0.05, "{conditioned} against {plain} bytes read");
}

#[test]
fn the_ceiling_moves_nothing_on_a_ring_of_the_same_kind() {
    let target = file_target();
    let ceiling = Arm { control: Control::Ceiling, ..arm("ceiling", eager()) };
    let report = round::run(&spec(&target, Rw::Randread, 1, vec![arm("full", eager()), ceiling], 3)).unwrap();
    for slice in &report.slices {
        let each = if slice.arm == 0 { 4096 } else { 0 };
        assert_eq!((slice.bytes, slice.errors), (slice.ops * each, 0));
        assert!(slice.ops >= COMPLETIONS);
    }
    assert_eq!(report.arms[0].effective, report.arms[1].effective);
}

#[test]
fn latency_is_recorded_for_the_requests_that_were_sampled() {
    let target = file_target();
    let level = |n| eager().with(Toggle::LatencySampling, n);
    let arms = vec![arm("all", level(1)), arm("some", level(100)), arm("none", level(0))];
    let report = round::run(&Spec { completions: 4000, ..spec(&target, Rw::Read, 1, arms, 1) }).unwrap();
    let samples: Vec<u64> = report.arms.iter().map(|a| a.latency.iter().map(|(_, count)| count).sum()).collect();
    assert_eq!(samples[0], report.slices.iter().find(|s| s.arm == 0).unwrap().ops);
    assert!((30..=45).contains(&samples[1]), "{}", samples[1]);
    assert_eq!(samples[2], 0);
}

/// A loop device of the tool's, and the sectors that were read of it.
fn loop_target() -> (Target, impl Fn() -> u64) {
    let target =
        Target::resolve(&Wanted { kind: Kind::Loop, path: None, size_bytes: Some(64 << 20), stamps: None, allowed_bytes: 0 })
            .unwrap();
    let stat = format!("/sys/block/{}/stat", target.members[0].own_device.clone().unwrap());
    let sectors = move || std::fs::read_to_string(&stat).unwrap().split_whitespace().nth(2).unwrap().parse::<u64>().unwrap();
    (target, sectors)
}

#[test]
fn bytes_agree_with_what_the_loop_device_counts() {
    if !root() {
        return skip("bytes_agree_with_what_the_loop_device_counts", "making a loop device needs root");
    }
    let (target, sectors) = loop_target();
    let before = sectors();
    let spec = Spec { completions: 50_000, ..spec(&target, Rw::Randread, 1, vec![arm("baseline", eager())], 1) };
    let report = round::run(&spec).unwrap();
    let (counted, device) = (report.slices[0].bytes as f64, (sectors() - before) as f64 * 512.0);
    assert!((device / counted - 1.0).abs() < 0.01, "engine {counted}, device {device}");
}

#[test]
fn reading_past_the_end_is_an_error_and_no_hang() {
    let target = file_target();
    let spec = Spec { span_bytes: 32 << 20, ..spec(&target, Rw::Randread, 1, vec![arm("baseline", eager())], 2) };
    let report = round::run(&spec).unwrap();
    assert!(report.slices.iter().all(|s| s.errors > 0 && s.first_error == 0 && s.slots_intact), "short reads are counted");
}

/// What the kernel has charged this process and its workers with, in nanoseconds.
fn accounted_ns() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let nanos = |t: nix::sys::time::TimeVal| t.tv_sec() as u64 * 1_000_000_000 + t.tv_usec() as u64 * 1000;
    nanos(usage.user_time()) + nanos(usage.system_time())
}

/// Does `work` while another thread writes down the kernel's accounting, between the times just before and after it, every other
/// millisecond.
fn accounting_of<T>(work: impl FnOnce() -> T) -> (T, Vec<(u64, u64, u64)>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = vec![];
            while !done.load(Relaxed) {
                seen.push((monotonic_ns(), accounted_ns(), monotonic_ns()));
                std::thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Relaxed);
        let seen = watcher.join().unwrap();
        // A watcher that is not stopped would hide the failure behind the test's time.
        (result.unwrap_or_else(|failure| std::panic::resume_unwind(failure)), seen)
    })
}

#[test]
fn cpu_time_agrees_with_the_kernels_accounting_of_the_process() {
    // Requests on such a file go to kernel workers, which are the process's as its SQPOLL thread is.
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    std::fs::write(file.path(), vec![1; 16 << 20]).unwrap();
    let target = file_target();
    for sqpoll in [0, 1] {
        let tested = arm("tested", Levels::all_off().with(Toggle::Sqpoll, sqpoll));
        let long = Spec {
            paths: vec![file.path().to_path_buf()],
            identities: vec![Identity::of(file.as_file()).unwrap()],
            completions: 150_000,
            conditioning: false,
            hang_guard: Duration::from_secs(100),
            ..spec(&target, Rw::Randread, 1, vec![tested], 1)
        };
        let (report, accounting) = accounting_of(|| round::run(&long).unwrap());
        if let Some(why) = &report.arms[0].unsupported {
            return skip("cpu_time_agrees_with_the_kernels_accounting_of_the_process", why);
        }
        let slice = &report.slices[0];
        let until = |ns| accounting.iter().rev().find(|(.., after)| *after <= ns).map_or(0, |a| a.1) as f64;
        let from = |ns| accounting.iter().find(|(before, ..)| *before >= ns).map_or_else(accounted_ns, |a| a.1) as f64;
        let least = until(slice.end_ns) - from(slice.start_ns);
        let most = from(slice.end_ns) - until(slice.start_ns);
        let charged = slice.cpu_total_ns as f64;
        assert!(charged > 0.97 * least && charged < 1.03 * most, "sqpoll {sqpoll}: {charged} ns, accounted {least} to {most}");
    }
}

/// Between the runner's check and the opening by a round lies an exec: what the path leads to then is compared, and nothing is done to another.
#[test]
fn a_round_that_is_handed_another_file_does_nothing_to_it() {
    let home = tempfile::tempdir_in(".").unwrap();
    let [held, other] = ["held", "other"].map(|name| home.path().join(name));
    std::fs::write(&held, vec![1; 1 << 20]).unwrap();
    std::fs::write(&other, vec![2; 1 << 20]).unwrap();
    let checked = small_spec(&held);
    let Spec { workload, .. } = checked;
    for rw in [Rw::Randread, Rw::Randwrite] {
        let workload = Workload { rw, ..workload };
        let same = Spec { workload, ..checked.clone() };
        let misled = Spec { paths: vec![other.clone()], ..same.clone() };
        let error = round::run(&misled).unwrap_err();
        let due = format!("{} does not lead to what the runner checked; nothing was done to it", other.display());
        assert!(matches!(&error, SetupError::OtherTarget(_)) && error.to_string() == due, "{rw:?}: {error}");
        // As the process of a round ends, which the runner hears of.
        let output = crate::support::round_process(&misled);
        let (code, said) = crate::support::ended(&output);
        assert!(code == Some(5) && said.contains(&due) && output.stdout.is_empty(), "{rw:?}: {code:?} {said}");
        assert!(std::fs::read(&other).unwrap() == vec![2; 1 << 20], "{rw:?}: not a byte changed");
        // Of several members each is compared with its own.
        let swapped = Spec {
            paths: vec![held.clone(), other.clone()],
            identities: [&same, &same].map(|s| s.identities[0].clone()).into(),
            ..same.clone()
        };
        assert!(
            matches!(round::run(&swapped), Err(SetupError::OtherTarget(path)) if path == other.display().to_string()),
            "{rw:?}"
        );
        round::run(&same).unwrap();
    }
}
