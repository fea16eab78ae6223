//! The right bytes land in the right buffer, whatever the toggles.

use std::time::Duration;
use uring_ablate::engine::{Options, stamp};
use uring_ablate::plan::{Arm, Control};
use uring_ablate::run::round::{self, Spec};
use uring_ablate::target::{Kind, Target, Wanted};
use uring_ablate::toggle::{Levels, Setting, Toggle, refusal};
use uring_ablate::workload::{Rw, Workload};

const SPAN_BYTES: u64 = 8 << 20;

fn target(stamped: bool) -> Target {
    Target::resolve(&Wanted { kind: Kind::Auto, path: None, size_bytes: Some(SPAN_BYTES), stamped }).unwrap()
}

fn workload(rw: Rw) -> Workload {
    Workload { rw, queue_depth: 16, verify: true, ..Workload::example() }
}

fn spec(target: &Target, workload: Workload, arms: Vec<Arm>) -> Spec {
    Spec {
        path: target.path.clone(),
        span_bytes: target.span_bytes,
        workload,
        options: Options::default(),
        setting: Setting { numa_node: Some(0), ..Setting::default() },
        arms,
        seed: 9,
        blocks: 1,
        completions: 200,
        hang_guard: Duration::from_secs(20),
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
fn pairs(workload: &Workload) -> Vec<Levels> {
    let setting = Setting { numa_node: Some(0), ..Setting::default() };
    let mut all = Vec::new();
    for (i, one) in Toggle::all().enumerate() {
        for other in Toggle::all().skip(i + 1) {
            for a in levels_of(one) {
                all.extend(levels_of(other).into_iter().map(|b| Levels::all_off().with(one, a).with(other, b)));
            }
        }
    }
    all.retain(|levels| refusal(levels, workload, &setting).is_none());
    all.sort_by_key(|levels| format!("{levels:?}"));
    all.dedup();
    all
}

#[test]
fn every_pair_of_toggles_reads_what_was_written() {
    let target = target(true);
    for rw in [Rw::Read, Rw::Randread, Rw::Randrw] {
        let workload = workload(rw);
        let levels = pairs(&workload);
        assert!(levels.len() > 200, "{rw:?}: {} combinations", levels.len());
        for some in levels.chunks(64) {
            let spec = spec(&target, workload, some.iter().copied().map(arm).collect());
            let report = round::run(&spec).unwrap();
            for (arm, seen) in spec.arms.iter().zip(&report.arms) {
                let lacks = [Toggle::Iopoll, Toggle::HugePages, Toggle::NumaBind].iter().any(|t| arm.levels.is_on(*t));
                assert!(seen.unsupported.is_none() || lacks, "{}: {:?}", arm.treatment, seen.unsupported);
                assert!(seen.unsupported.is_some() || seen.effective == arm.levels, "{}", arm.treatment);
            }
            for slice in &report.slices {
                let name = &spec.arms[slice.arm].treatment;
                assert_eq!((slice.errors, slice.first_error, slice.overran), (0, 0, false), "{rw:?} {name}");
                assert!(slice.ops >= 200 && slice.slots_intact, "{rw:?} {name}");
            }
        }
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
    let bytes = std::fs::read(&target.path).unwrap();
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
