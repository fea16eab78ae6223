//! The arms of a cell: references, controls, and what each design asks for.

use super::{Arm, Control, fraction};
use crate::analysis::fraction::PREFIX;
use crate::experiment::{Design, Experiment, Mode, Treatment};
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
        Design::LeaveOneOut | Design::AddOneIn | Design::Ladder | Design::LadderReverse | Design::Sweep | Design::Explicit => {
            1..=usize::MAX
        }
    }
}

/// All arms of a cell with these toggles at these *on* levels, and `beside` the level to which each of those is moved alone.
pub fn of(experiment: &Experiment, workload: &Workload, toggles: &[(Toggle, u32)], beside: &[(Toggle, u32)]) -> Vec<Arm> {
    let baseline = toggles.iter().fold(experiment.fixed, |l, (t, _)| l.with(*t, t.spec().off));
    let full = toggles.iter().fold(baseline, |l, (t, on)| l.with(*t, *on));
    let arm = |treatment: String, levels, control, copies| Arm { treatment, levels, control, copies };
    let references = if experiment.mode == Mode::Sliced { REFERENCE_COPIES } else { 1 };
    let mut controls = vec![arm("placebo".into(), full, Control::Placebo, 1)];
    if experiment.stall > 0.0 {
        controls.push(arm("stall".into(), full, Control::Stall(experiment.stall), 1));
    }
    // Kernel threads that work for the arm would not burn with it.
    let alone = !experiment.allow_iowq && !full.is_on(Toggle::Sqpoll);
    if experiment.spin > 0.0 && alone && runs_freely(workload) {
        controls.push(arm("spin".into(), full, Control::Spin(experiment.spin), 1));
    }
    // With nothing to compare, the controls alone: as many slices of each tell most.
    let Some(_) = toggles.first() else {
        controls.insert(0, arm("full".into(), full, Control::None, 1));
        return controls;
    };
    let mut arms =
        vec![arm("baseline".into(), baseline, Control::None, references), arm("full".into(), full, Control::None, references)];
    arms.append(&mut controls);
    if runs_freely(workload) && workload.rw != Rw::Nop {
        // NOPs have no device that could be polled or commanded.
        let levels = [Toggle::Iopoll, Toggle::Passthrough].iter().fold(full, |l, t| l.with(*t, t.spec().off));
        arms.push(arm("ceiling".into(), levels, Control::Ceiling, 1));
    }
    for design in &experiment.designs {
        for (treatment, levels) in asked(*design, toggles, experiment, &baseline, &full) {
            // A combination that two designs ask for stands once.
            if arms.iter().all(|a| a.treatment != treatment) {
                arms.push(arm(treatment, levels, Control::None, 1));
            }
        }
    }
    for &(toggle, level) in beside {
        let moved = if full.is_on(toggle) { "without" } else { "with" };
        arms.push(arm(format!("{moved}:{}", toggle.key()), full.with(toggle, level), Control::None, 1));
    }
    arms
}

/// Not where the work comes at a fixed rate, or is verified.
fn runs_freely(workload: &Workload) -> bool {
    workload.rate.is_none() && !workload.verify
}

/// What a design asks for beside the references.
fn asked(
    design: Design,
    toggles: &[(Toggle, u32)],
    experiment: &Experiment,
    baseline: &Levels,
    full: &Levels,
) -> Vec<(String, Levels)> {
    let without = |&(t, _): &(Toggle, u32)| (format!("without:{}", t.key()), full.with(t, t.spec().off));
    let only = |&(t, on): &(Toggle, u32)| (format!("only:{}", t.key()), baseline.with(t, on));
    match design {
        Design::LeaveOneOut => toggles.iter().map(without).collect(),
        Design::AddOneIn => toggles.iter().map(only).collect(),
        Design::Ladder => climb("ladder", toggles.iter(), baseline),
        Design::LadderReverse => climb("reverse", toggles.iter().rev(), baseline),
        Design::Factorial => {
            let all = (1_usize << toggles.len().min(MOST_FACTORS)) - 1;
            let one = |set: usize| (set.count_ones() == 1).then(|| &toggles[set.trailing_zeros() as usize]);
            let arm = |set| match (one(set), one(all & !set)) {
                (Some(toggle), _) => only(toggle),
                (None, Some(toggle)) => without(toggle),
                (None, None) => combination("cell", set, toggles, baseline),
            };
            (1..all).map(arm).collect()
        }
        Design::Fraction => runs(fraction::regular(toggles.len()).unwrap_or_default(), toggles, baseline),
        Design::Screening => runs(fraction::screening(toggles.len()), toggles, baseline),
        // Of toggles that were dropped nothing is swept.
        Design::Sweep => {
            let kept = experiment.sweep.iter().filter(|(toggle, _)| toggles.iter().any(|(t, _)| t == toggle));
            kept.flat_map(|(toggle, levels)| sweep(*toggle, levels, full)).collect()
        }
        Design::Explicit => {
            let treatment = |(name, levels): &Treatment| {
                (format!("explicit:{name}"), levels.iter().fold(*baseline, |all, (t, level)| all.with(*t, *level)))
            };
            experiment.treatments.iter().map(treatment).collect()
        }
    }
}

/// One toggle after another, up to the last step, which is `full` itself.
fn climb<'a>(kind: &str, toggles: impl ExactSizeIterator<Item = &'a (Toggle, u32)>, baseline: &Levels) -> Vec<(String, Levels)> {
    let (steps, mut climbed) = (toggles.len() - 1, *baseline);
    let step = |(number, &(t, on)): (u32, &(Toggle, u32))| {
        climbed = climbed.with(t, on);
        (format!("{kind}:{number}:{}", t.key()), climbed)
    };
    (1..).zip(toggles.take(steps)).map(step).collect()
}

/// The arms of a fraction.
fn runs(sets: Vec<usize>, toggles: &[(Toggle, u32)], baseline: &Levels) -> Vec<(String, Levels)> {
    sets.into_iter().map(|set| combination(PREFIX, set, toggles, baseline)).collect()
}

/// The treatment with the toggles of a bit-set on, called by their keys.
fn combination(kind: &str, set: usize, toggles: &[(Toggle, u32)], baseline: &Levels) -> (String, Levels) {
    let on = || (0..).zip(toggles).filter(|(i, _)| set >> i & 1 == 1).map(|(_, t)| t);
    let keys: Vec<&str> = on().map(|(t, _)| t.key()).collect();
    (format!("{kind}:{}", keys.join("+")), on().fold(*baseline, |l, (t, level)| l.with(*t, *level)))
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
        let experiment = any_experiment();
        let found = asked(Design::Factorial, &toggles, &experiment, &baseline, &full);
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
        assert_eq!(asked(Design::Factorial, &toggles[..1], &experiment, &baseline, &full), []);
    }

    fn any_experiment() -> Experiment {
        let text = "name = \"any\"\nquestion = \"\"\n[workload]\nrw = \"read\"\nbs = \"4k\"\niodepth = 8\n\
                    [design]\nkind = [\"explicit\"]\ntoggles = [\"fixed_files\"]\n[design.treatments]\nsmall = { batch_submit = 8 }\n";
        crate::experiment::parse(std::path::Path::new("any.toml"), text).unwrap()
    }

    #[test]
    fn a_ladder_goes_up_in_either_order_and_what_is_spelt_out_starts_from_baseline() {
        let toggles = [(Toggle::FixedBuffers, 1), (Toggle::FixedFiles, 1), (Toggle::BatchSubmit, 4)];
        let baseline = Levels::all_off();
        let of = |design| asked(design, &toggles, &any_experiment(), &baseline, &baseline);
        let on = |toggles: &[(Toggle, u32)]| toggles.iter().fold(baseline, |l, (t, level)| l.with(*t, *level));
        let expected = [("ladder:1:fixed_buffers".into(), on(&toggles[..1])), ("ladder:2:fixed_files".into(), on(&toggles[..2]))];
        assert_eq!(of(Design::Ladder), expected);
        let expected =
            [("reverse:1:batch_submit".into(), on(&toggles[2..])), ("reverse:2:fixed_files".into(), on(&toggles[1..]))];
        assert_eq!(of(Design::LadderReverse), expected);
        assert_eq!(of(Design::Explicit), [("explicit:small".into(), on(&[(Toggle::BatchSubmit, 8)]))]);
    }
}
