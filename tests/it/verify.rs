//! The right bytes land in the right buffer, whatever the toggles.

use std::time::Duration;
use uring_ablate::engine::{Options, stamp};
use uring_ablate::plan::{Arm, Control};
use uring_ablate::run::round::{self, Spec};
use uring_ablate::target::{Access, Kind, Target, Wanted};
use uring_ablate::toggle::{Levels, Setting, Toggle, refusal};
use uring_ablate::workload::{Rw, Workload};

const SPAN_BYTES: u64 = 8 << 20;

fn wanted(stamps: Option<u64>) -> Wanted {
    Wanted { kind: Kind::Auto, path: None, size_bytes: Some(SPAN_BYTES), stamps, allowed_bytes: 0 }
}

fn target(stamped: bool) -> Target {
    Target::resolve(&wanted(stamped.then_some(stamp::SEED))).unwrap()
}

fn workload(rw: Rw) -> Workload {
    Workload { rw, queue_depth: 16, verify: true, ..Workload::example() }
}

fn spec(target: &Target, workload: Workload, arms: Vec<Arm>) -> Spec {
    Spec {
        paths: target.handles(),
        identities: target.identities(),
        span_bytes: target.span_bytes,
        workload,
        options: Options::default(),
        setting: Setting { numa_node: Some(0), ..Setting::default() },
        arms,
        seed: 9,
        blocks: 1,
        completions: 200,
        conditioning: false,
        hang_guard: Duration::from_secs(20),
        profile: None,
        counted: None,
        tallied: vec![],
        allow_iowq: false,
    }
}

fn arm(levels: Levels) -> Arm {
    Arm { treatment: format!("{levels:?}"), levels, control: Control::None, copies: 1 }
}

/// Every level of every toggle, beside the one given.
fn levels_of(toggle: Toggle) -> Vec<u32> {
    let mut levels = toggle.spec().on_levels();
    levels.push(toggle.spec().off);
    levels
}

/// Every pair of levels of every pair of toggles, the rest off, on a queue that is refilled eagerly or by its threshold.
fn pairs(workload: &Workload, setting: &Setting) -> Vec<Levels> {
    let mut all = Vec::new();
    for (i, one) in Toggle::all().enumerate() {
        for other in Toggle::all().skip(i + 1) {
            for a in levels_of(one) {
                all.extend(levels_of(other).into_iter().map(|b| Levels::all_off().with(one, a).with(other, b)));
            }
        }
    }
    all.retain(|levels| refusal(levels, workload, setting).is_none());
    all.sort_by_key(|levels| format!("{levels:?}"));
    all.dedup();
    all
}

/// Every read of every combination finds the stamps that were written; only arms with a toggle that may be lacking may be refused.
fn all_read_what_was_written(target: &Target, setting: &Setting, workload: Workload, levels: &[Levels], may_lack: &[Toggle]) {
    for some in levels.chunks(64) {
        let arms = some.iter().copied().map(arm).collect();
        let spec = Spec { setting: setting.clone(), ..spec(target, workload, arms) };
        let report = round::run(&spec).unwrap();
        for (arm, seen) in spec.arms.iter().zip(&report.arms) {
            let lacks = may_lack.iter().any(|t| arm.levels.is_on(*t));
            assert!(seen.unsupported.is_none() || lacks, "{}: {:?}", arm.treatment, seen.unsupported);
            assert!(seen.unsupported.is_some() || seen.effective == arm.levels, "{}", arm.treatment);
        }
        for slice in &report.slices {
            let name = &spec.arms[slice.arm].treatment;
            assert_eq!((slice.errors, slice.first_error, slice.overran), (0, 0, false), "{:?} {name}", workload.rw);
            assert!(slice.ops >= 200 && slice.slots_intact, "{:?} {name}", workload.rw);
        }
    }
}

#[test]
fn every_pair_of_toggles_reads_what_was_written() {
    let target = target(true);
    let setting = Setting { numa_node: Some(0), ..Setting::default() };
    for rw in [Rw::Read, Rw::Randread, Rw::Randrw] {
        let levels = pairs(&workload(rw), &setting);
        assert!(levels.len() > 200, "{rw:?}: {} combinations", levels.len());
        let may_lack = [Toggle::Iopoll, Toggle::HugePages, Toggle::NumaBind];
        all_read_what_was_written(&target, &setting, workload(rw), &levels, &may_lack);
    }
}

/// The same of what most machines cannot do, where everything must be had: run in the lab by `lab.rs`.
#[test]
#[ignore = "writes to the drive that LAB_DEVICE names"]
fn every_pair_on_the_labs_device() {
    let path = std::path::PathBuf::from(std::env::var_os("LAB_DEVICE").unwrap());
    let drive = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    uring_ablate::target::fill::fill(&drive, SPAN_BYTES, Some(stamp::SEED)).unwrap();
    drop(drive);
    let target = Target::resolve(&Wanted { kind: Kind::Nvme, path: Some(path), ..wanted(None) }).unwrap();
    let setting = target.setting(&Options::default());
    let rare = [Toggle::Iopoll, Toggle::Passthrough, Toggle::NumaBind, Toggle::HugePages];
    for rw in [Rw::Read, Rw::Randrw] {
        let mut levels = pairs(&workload(rw), &setting);
        levels.retain(|levels| rare.iter().any(|t| levels.is_on(*t)));
        assert!(levels.len() > 100, "{rw:?}: {} combinations", levels.len());
        all_read_what_was_written(&target, &setting, workload(rw), &levels, &[]);
    }
}

#[test]
fn what_was_written_is_on_the_target() {
    let target = target(false);
    // Once through the span and a little more, wherever it begins.
    let spec = Spec {
        completions: SPAN_BYTES / 4096 + 64,
        ..spec(&target, workload(Rw::Write), vec![arm(Levels::all_off().with(Toggle::QueueRefill, 1))])
    };
    let report = round::run(&spec).unwrap();
    assert!(report.slices.iter().all(|s| s.errors == 0));
    let bytes = std::fs::read(target.members[0].handle()).unwrap();
    for (block, offset) in bytes.chunks(4096).take(SPAN_BYTES as usize / 4096).zip((0..).step_by(4096)) {
        assert!(stamp::holds(block, offset, stamp::SEED), "block at {offset}");
    }
}

#[test]
fn wrong_bytes_are_an_error() {
    let target = target(false);
    let spec = spec(&target, workload(Rw::Randread), vec![arm(Levels::all_off())]);
    let report = round::run(&spec).unwrap();
    assert!(report.slices[0].errors >= 200, "nothing on this target is stamped: {:?}", report.slices[0]);
}

/// Reads that a block device has completed.
fn reads(target: &Target) -> Vec<Option<u64>> {
    let count = |device: &String| {
        let stat = std::fs::read_to_string(format!("/sys/block/{device}/stat")).unwrap();
        stat.split_ascii_whitespace().nth(2).unwrap().parse::<u64>().unwrap() / 8
    };
    target.members.iter().map(|m| m.own_device.as_ref().map(count)).collect()
}

#[test]
fn several_targets_serve_a_job_in_turn_and_are_told_apart() {
    let all = |seeds: [u64; 3]| Target::resolve_all(&seeds.map(|seed| wanted(Some(seed))), Access::Read).unwrap();
    let target = all([stamp::SEED, stamp::SEED + 1, stamp::SEED + 2]);
    let full = Toggle::all()
        .filter(|t| !matches!(t.key(), "fast_path" | "sqpoll" | "iopoll" | "passthrough" | "huge_pages" | "numa_bind"))
        .fold(Levels::all_off(), |levels, t| levels.with(t, t.spec().on));
    for (rw, fast_path) in [(Rw::Read, 1), (Rw::Read, 0), (Rw::Randread, 0), (Rw::Randrw, 0)] {
        let arms = vec![arm(Levels::all_off()), arm(full.with(Toggle::FastPath, fast_path))];
        let spec = Spec { completions: 3000, blocks: 2, ..spec(&target, workload(rw), arms) };
        let before = reads(&target);
        let report = round::run(&spec).unwrap();
        for slice in &report.slices {
            assert_eq!(
                (slice.errors, slice.first_error, slice.overran),
                (0, 0, false),
                "{rw:?} {}",
                spec.arms[slice.arm].treatment
            );
            assert!(slice.slots_intact && slice.touched.count_ones() > 8, "{rw:?} {slice:?}");
        }
        for (before, after) in before.into_iter().zip(reads(&target)).filter_map(|(b, a)| b.zip(a)) {
            let share = (after - before) as f64 / 12_000.0;
            let due = if rw == Rw::Randrw { 1.0 / 6.0 } else { 1.0 / 3.0 };
            assert!((due * 0.5..due * 1.8).contains(&share), "{rw:?}: {share} of the reads on one of three");
        }
    }
    let swapped = all([stamp::SEED + 1, stamp::SEED, stamp::SEED + 2]);
    let report = round::run(&spec(&swapped, workload(Rw::Randread), vec![arm(Levels::all_off())])).unwrap();
    assert!(report.slices[0].errors > 50, "blocks of another target do not pass: {:?}", report.slices[0]);
}
