//! The arms of a cell: references, controls, and what each design asks for.

use super::{Arm, Control, fraction};
use crate::analysis::fraction::PREFIX;
use crate::experiment::{Design, Experiment, Mode};
use crate::toggle::{Levels, Toggle};
use crate::workload::{Rw, Workload};
use std::ops::RangeInclusive;

/// How often the references stand in each block of slices. A trial in a process of its own has no neighbour to be compared with.
const REFERENCE_COPIES: u32 = 3;

/// Toggles of a full factorial: 64 arms.
const MOST_FACTORS: usize = 6;

/// How many toggles a design takes.
pub fn takes(design: Design) -> RangeInclusive<usize> {
    match design {
        Design::Factorial => 1..=MOST_FACTORS,
        Design::Fraction => fraction::OF_FRACTION,
        Design::Screening => fraction::OF_SCREENING,
        Design::LeaveOneOut | Design::AddOneIn | Design::Ladder | Design::Sweep => 1..=usize::MAX,
    }
}

/// All arms of a cell with these toggles at these *on* levels.
pub fn of(experiment: &Experiment, workload: &Workload, toggles: &[(Toggle, u32)]) -> Vec<Arm> {
    let baseline = toggles.iter().fold(experiment.fixed, |l, (t, _)| l.with(*t, t.spec().off));
    let full = toggles.iter().fold(baseline, |l, (t, on)| l.with(*t, *on));
    let arm = |treatment: String, levels, control, copies| Arm { treatment, levels, control, copies };
    let references = if experiment.mode == Mode::Sliced { REFERENCE_COPIES } else { 1 };
    let mut arms = vec![
        arm("baseline".into(), baseline, Control::None, references),
        arm("full".into(), full, Control::None, references),
        arm("placebo".into(), full, Control::Placebo, 1),
        arm("stall".into(), full, Control::Stall(experiment.stall), 1),
    ];
    if ceiling_has_meaning(workload) {
        // NOPs have no device that could be polled or commanded.
        let levels = [Toggle::Iopoll, Toggle::Passthrough].iter().fold(full, |l, t| l.with(*t, t.spec().off));
        arms.push(arm("ceiling".into(), levels, Control::Ceiling, 1));
    }
    for design in &experiment.designs {
        for (treatment, levels) in asked(*design, toggles, &experiment.sweep, &baseline, &full) {
            // A combination that two designs ask for stands once.
            if arms.iter().all(|a| a.treatment != treatment) {
                arms.push(arm(treatment, levels, Control::None, 1));
            }
        }
    }
    arms
}

/// Not where the work is NOPs already, comes at a fixed rate, or is verified.
fn ceiling_has_meaning(workload: &Workload) -> bool {
    workload.rw != Rw::Nop && workload.rate.is_none() && !workload.verify
}

/// What a design asks for beside the references.
fn asked(
    design: Design,
    toggles: &[(Toggle, u32)],
    levels: &[(Toggle, Vec<u32>)],
    baseline: &Levels,
    full: &Levels,
) -> Vec<(String, Levels)> {
    let without = |&(t, _): &(Toggle, u32)| (format!("without:{}", t.key()), full.with(t, t.spec().off));
    let only = |&(t, on): &(Toggle, u32)| (format!("only:{}", t.key()), baseline.with(t, on));
    match design {
        Design::LeaveOneOut => toggles.iter().map(without).collect(),
        Design::AddOneIn => toggles.iter().map(only).collect(),
        Design::Ladder => {
            let mut climbed = *baseline;
            let step = |(number, &(t, on)): (u32, &(Toggle, u32))| {
                climbed = climbed.with(t, on);
                (format!("ladder:{number}:{}", t.key()), climbed)
            };
            // The last step is `full` itself.
            (1..).zip(&toggles[..toggles.len() - 1]).map(step).collect()
        }
        Design::Factorial => (1..(1_u64 << toggles.len().min(MOST_FACTORS)) - 1)
            .map(|set| {
                let chosen: Vec<&(Toggle, u32)> = (0..).zip(toggles).filter(|(i, _)| set >> i & 1 == 1).map(|(_, t)| t).collect();
                let missing = (0..).zip(toggles).find(|(i, _)| set >> i & 1 == 0).map(|(_, t)| t);
                match (chosen.as_slice(), missing) {
                    ([one], _) => only(one),
                    (most, Some(missing)) if most.len() + 1 == toggles.len() => without(missing),
                    _ => {
                        let keys: Vec<&str> = chosen.iter().map(|(t, _)| t.key()).collect();
                        (format!("cell:{}", keys.join("+")), chosen.iter().fold(*baseline, |l, (t, on)| l.with(*t, *on)))
                    }
                }
            })
            .collect(),
        Design::Fraction => runs(fraction::regular(toggles.len()).unwrap_or_default(), toggles, baseline),
        Design::Screening => runs(fraction::screening(toggles.len()), toggles, baseline),
        // Of toggles that were dropped nothing is swept.
        Design::Sweep => {
            let kept = levels.iter().filter(|(toggle, _)| toggles.iter().any(|(t, _)| t == toggle));
            kept.flat_map(|(toggle, levels)| sweep(*toggle, levels, full)).collect()
        }
    }
}

/// The arms of a fraction.
fn runs(sets: Vec<usize>, toggles: &[(Toggle, u32)], baseline: &Levels) -> Vec<(String, Levels)> {
    let run = |set: usize| {
        let on = || (0..).zip(toggles).filter(move |(i, _)| set >> i & 1 == 1).map(|(_, t)| t);
        let keys: Vec<&str> = on().map(|(t, _)| t.key()).collect();
        (format!("{PREFIX}:{}", keys.join("+")), on().fold(*baseline, |l, (t, level)| l.with(*t, *level)))
    };
    sets.into_iter().map(run).collect()
}

/// Levels of a toggle with all others on; what `full` has is the reference already.
fn sweep(toggle: Toggle, levels: &[u32], full: &Levels) -> Vec<(String, Levels)> {
    let spec = toggle.spec();
    let levels = levels.iter().copied().filter(|level| *level != full.get(toggle));
    levels.map(|level| (format!("level:{}={}", toggle.key(), spec.level_text(level)), full.with(toggle, level))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factorial_has_every_combination_once() {
        let toggles = [(Toggle::FixedBuffers, 1), (Toggle::FixedFiles, 1), (Toggle::BatchSubmit, 4), (Toggle::Pow2Mask, 1)];
        let baseline = Levels::all_off();
        let full = toggles.iter().fold(baseline, |l, (t, on)| l.with(*t, *on));
        let found = asked(Design::Factorial, &toggles, &[], &baseline, &full);
        assert_eq!(found.len(), 14, "16 combinations, two of them the references");
        let mut levels: Vec<String> = found.iter().map(|(_, l)| format!("{l:?}")).collect();
        levels.extend([format!("{baseline:?}"), format!("{full:?}")]);
        levels.sort();
        levels.dedup();
        assert_eq!(levels.len(), 16);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["only:fixed_buffers", "without:pow2_mask", "cell:fixed_files+batch_submit"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert_eq!(asked(Design::Factorial, &toggles[..1], &[], &baseline, &full), []);
    }
}
