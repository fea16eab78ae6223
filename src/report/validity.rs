//! The section of `report.md` that says what speaks against the run: controls, time lost, what disturbed it, what was left out.

use super::{escape, route};
use crate::analysis::Model;
use crate::analysis::components::Components;
use crate::analysis::contrast::{FAMILY, Metric};
use crate::analysis::effect::{CellEffects, Effect, TOLD_APART, placebo_failure};
use crate::analysis::load::Arm;
use crate::analysis::signed_rank::median;
use crate::plan::ROUND_START;
use crate::run::facts::{Circumstances, Facts, THROTTLED_US, THROTTLES};
use crate::units;
use statrs::distribution::{Binomial, DiscreteCDF};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The section.
pub fn section(model: &Model) -> String {
    let mut text = String::from("## Can this run be trusted?\n\n");
    for cell in &model.cells {
        text += &controls(model, cell);
    }
    for carry in &model.carry {
        let flag = if carry.residual.abs() > model.settings.delta / 2.0 { " **beyond delta/2**" } else { "" };
        let percent = carry.residual.exp_m1() * 100.0;
        let _ = writeln!(
            text,
            "- {}: largest residual by previous arm: {percent:+.2} % after {} ({} slices){flag}.",
            escape::text(&carry.cell),
            escape::code(&carry.after),
            carry.slices
        );
    }
    text += &redone(model);
    text += &time_lost(model);
    text += &disturbances(model);
    text += &route::cached(model);
    let mut reasons: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for arm in model.data.arms.iter().filter(|a| a.outcome != "completed") {
        *reasons.entry((&arm.treatment, &arm.outcome, &arm.reason)).or_default() += 1;
    }
    for ((treatment, outcome, reason), count) in reasons {
        let _ = writeln!(
            text,
            "- {} was {} in {count} rounds: {}.",
            escape::code(treatment),
            escape::text(outcome),
            escape::text(reason)
        );
    }
    if let Some(manifest) = &model.manifest {
        for d in &manifest.dropped {
            let _ = writeln!(
                text,
                "- {}: {} was left out of the plan: {}.",
                escape::text(&d.cell),
                escape::code(&d.toggle),
                escape::text(&d.reason)
            );
        }
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        manifest.unavailable.iter().for_each(|u| reasons.entry(&u.reason).or_default().push(&u.what));
        for (reason, what) in reasons {
            let _ = writeln!(text, "- Not measured: {}: {}.", escape::text(&what.join(", ")), escape::text(reason));
        }
    }
    for warning in &model.data.warnings {
        let _ = writeln!(text, "- {}.", escape::text(warning));
    }
    model.cells.iter().fold(text, |text, cell| text + &components(model, cell))
}

/// In a sentence or two whether the run can be trusted: its controls, and what broke the rules.
pub fn summary(model: &Model) -> String {
    let cells = || model.cells.iter();
    let placebos: Vec<&Effect> =
        cells().flat_map(|c| Metric::ALL.into_iter().filter_map(|metric| c.find("placebo", "", metric))).collect();
    let passed = placebos.iter().filter(|e| placebo_failure(e, &model.settings).is_none()).count();
    let known: Vec<bool> = cells()
        .flat_map(|cell| model.settings.known().into_iter().filter_map(|k| covers(cell.find(k.control, "", k.metric)?, k.truth)))
        .collect();
    let covered = known.iter().filter(|covered| **covered).count();
    let invalid = model.data.arms.iter().filter(|a| a.outcome == "invalid").count();
    let unfinished =
        model.data.planned_rounds.zip(model.data.rounds.as_ref()).is_some_and(|(planned, done)| done.len() < planned);
    let stopped = model.manifest.as_ref().is_some_and(|m| m.stopped.is_some());
    let missed = by_chance(known.len() - covered, known.len(), model.settings.alpha) < IMPLAUSIBLE;
    let judgement = match placebos_say(model) {
        _ if placebos.is_empty() => "It does not say: it has no placebo that completed.".into(),
        _ if unfinished && !stopped => "**Not yet**: it is unfinished.".into(),
        Some(objection) => objection,
        None if missed => "**With care**: more controls miss their known size than chance explains.".into(),
        None if invalid > 0 => "**Yes**, but for the rows that broke a validity gate and are left out.".into(),
        None => "**Yes.**".into(),
    };
    format!(
        "{judgement} Identical code (placebo) passes {passed} of {} checks; the intervals of {covered} of {} controls of known size cover it (about \
         one in twenty misses by chance); {invalid} rows broke a validity gate. Details are below.",
        placebos.len(),
        known.len()
    )
}

/// What identical code says against the verdicts: it was told apart, or is not known to within the margin; `None` where nothing.
fn placebos_say(model: &Model) -> Option<String> {
    let decides = |cell: &CellEffects| Some((cell.cell.clone(), cell.find("placebo", "", cell.primary)?.clone()));
    let failed: Vec<(String, Effect)> =
        model.cells.iter().filter_map(decides).filter(|(_, e)| placebo_failure(e, &model.settings).is_some()).collect();
    let names = |failed: &[&(String, Effect)]| failed.iter().map(|(cell, _)| escape::text(cell)).collect::<Vec<_>>().join(", ");
    let (apart, noisy): (Vec<_>, Vec<_>) = failed.iter().partition(|(_, e)| e.p < TOLD_APART);
    match (apart.as_slice(), noisy.as_slice()) {
        ([], []) => None,
        ([], noisy) => Some(format!(
            "**With care** in {} of {} workloads: there identical code is not known to be equal to within \u{b1}{} %, so such differences mean \
             nothing ({}).",
            noisy.len(),
            model.cells.len(),
            model.settings.delta * 100.0,
            names(noisy)
        )),
        (apart, _) => Some(format!(
            "**No**, not in {} of {} workloads: identical code was told apart ({}).",
            apart.len(),
            model.cells.len(),
            names(apart)
        )),
    }
}

/// Controls that miss their truth as often as this or less often by chance speak against the run.
const IMPLAUSIBLE: f64 = 0.01;

/// The probability that so many or more of `n` intervals miss, when each does with probability `alpha`.
fn by_chance(missed: usize, n: usize, alpha: f64) -> f64 {
    match (missed, Binomial::new(alpha, n as u64)) {
        (1.., Ok(misses)) => misses.sf(missed as u64 - 1),
        _ => 1.0,
    }
}

/// Whether an interval holds the truth; `None` where there is none.
fn covers(effect: &Effect, truth: f64) -> Option<bool> {
    effect.bounds.map(|b| (b.lo..=b.hi).contains(&truth))
}

/// Placebo, stall and spin: what they should show, what they show.
fn controls(model: &Model, cell: &CellEffects) -> String {
    let mut text = String::new();
    for metric in Metric::ALL {
        if let Some(effect) = cell.find("placebo", "", metric) {
            let verdict = placebo_failure(effect, &model.settings).map_or("passes".into(), |why| format!("**fails**: {why}"));
            let _ = writeln!(
                text,
                "- {}: placebo (identical code), {}: {} {verdict}.",
                escape::text(&cell.cell),
                metric.name(),
                effect
            );
        }
    }
    for known in model.settings.known() {
        if let Some(effect) = cell.find(known.control, "", known.metric) {
            let found = match covers(effect, known.truth) {
                Some(true) => "covers it",
                Some(false) => "**misses it**",
                None => "does not tell",
            };
            let (name, control, metric) = (escape::text(&cell.cell), known.control, known.metric.name());
            let _ = writeln!(text, "- {name}: {control} of true size {:.4} in {metric}: {effect} {found}.", known.truth);
        }
    }
    text
}

/// Rounds that were measured again.
fn redone(model: &Model) -> String {
    let mut text = String::new();
    for (round, again) in &model.data.redone {
        let broke = |a: &&Arm| a.round == *round && !["completed", "unsupported"].contains(&a.outcome.as_str());
        let reasons: Vec<String> = model
            .data
            .arms
            .iter()
            .filter(broke)
            .map(|a| format!("{} was {} ({})", escape::code(&a.treatment), escape::text(&a.outcome), escape::text(&a.reason)))
            .collect();
        let _ = writeln!(text, "- Round {round} was measured again as round {again}: {}.", reasons.join(", "));
    }
    let planned = model.data.planned_rounds.unwrap_or(0).saturating_sub(model.data.redone.len());
    if planned > 0 && model.data.redone.len() * 5 >= planned {
        text += "- **A fifth of the rounds had to be measured again: do not trust this run.**\n";
    }
    text
}

/// How far blocks and rounds lie apart, and what that says of the length of rounds.
fn components(model: &Model, cell: &CellEffects) -> String {
    let shown = |e: &&Effect| {
        e.metric == cell.primary && (FAMILY.contains(&e.contrast.kind) || ["total", "placebo"].contains(&e.contrast.kind))
    };
    let found: Vec<(&Effect, Components)> = cell.effects.iter().filter(shown).filter_map(|e| Some((e, e.components?))).collect();
    if found.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\nHow far the ratios of {} in {} lie apart (standard deviations): of a block, of a round as its blocks alone would make it, of a round \
         as seen, and the share of the last variance that lies between rounds.\n\n\
         | contrast | block | round, expected | round, seen | between rounds |\n|---|---|---|---|---|\n",
        escape::text(&cell.cell),
        cell.primary.name()
    );
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    for (effect, c) in &found {
        let (name, between) = (escape::text(&effect.contrast.name()), c.between() * 100.0);
        let _ =
            writeln!(text, "| {name} | {} | {} | {} | {between:.0} % |", percent(c.block), percent(c.expected), percent(c.seen));
    }
    text + &best_round(model, cell, &found) + "\n"
}

/// The length of rounds that makes most of the time, from the median contrast.
fn best_round(model: &Model, cell: &CellEffects, found: &[(&Effect, Components)]) -> String {
    let rounds = model.data.rounds.iter().flatten().filter(|r| r.cell == cell.cell && r.kind == "slices");
    let (count, slices) = rounds.fold((0.0, 0.0), |(n, s), r| (n + 1.0, s + r.slices_s));
    let blocks: f64 = found.iter().map(|(e, _)| e.n_blocks as f64 / e.n_rounds as f64).fold(0.0, f64::max);
    if count == 0.0 || blocks == 0.0 {
        return String::new();
    }
    let block = slices / count / blocks;
    let best: Vec<f64> = found.iter().filter_map(|(_, c)| c.best_blocks(ROUND_START.as_secs_f64() / block)).collect();
    match median(&best).filter(|_| 2 * best.len() > found.len()) {
        Some(best) => format!(
            "\nA round has {blocks:.0} blocks; with about {best:.0} ({:.1} s of slices) the same time would tell most.\n",
            best * block
        ),
        None => "\nMost rounds lie no further apart than their blocks make them: their number does not matter, only the time.\n"
            .into(),
    }
}

fn time_lost(model: &Model) -> String {
    let Some(rounds) = &model.data.rounds else {
        return "- Time lost outside slices is not known: there is no rounds.csv.\n".into();
    };
    let sliced = rounds.iter().filter(|r| r.kind == "slices" || r.kind == "isolated");
    let (slices, wall) = sliced.fold((0.0, 0.0), |(s, w), r| (s + r.slices_s, w + r.wall_s));
    let violations = rounds.iter().map(|r| r.violations).sum::<f64>() as u64;
    let mut text = String::new();
    if wall > 0.0 {
        let _ = writeln!(
            text,
            "- {:.1} % of the time of rounds of slices was lost outside slices ({slices:.1} s of {wall:.1} s measured).",
            (1.0 - slices / wall) * 100.0
        );
    }
    let _ = writeln!(text, "- Rules of the process arms were broken {violations} times.");
    if let Some(why) = model.manifest.as_ref().and_then(|m| m.stopped.as_ref()) {
        let _ = writeln!(text, "- Ended early, as [design] target_half_width or budget asks: {}.", escape::text(why));
    } else if let Some(planned) = model.data.planned_rounds.filter(|p| *p > rounds.len()) {
        let _ = writeln!(text, "- **Unfinished**: {} of {planned} rounds; continue with --resume.", rounds.len());
    }
    text
}

/// What others took of the machine while it ran.
fn disturbances(model: &Model) -> String {
    let mut text = String::new();
    let stolen: Vec<f64> = model.data.rounds.iter().flatten().filter_map(|r| r.machine_steal_share).collect();
    if let Some(typical) = median(&stolen) {
        let most = stolen.iter().copied().fold(0.0, f64::max);
        let flag = if most > STEAL_LIMIT { " **The worst round is in doubt.**" } else { "" };
        let _ = writeln!(
            text,
            "- The hypervisor took {:.2} % of the CPUs' time (median over rounds), at most {:.2} %.{flag}",
            typical * 100.0,
            most * 100.0
        );
    }
    let Some(manifest) = &model.manifest else { return text };
    let throttled = THROTTLES.into_iter().filter_map(|what| throttled(&manifest.circumstances, what));
    text + &throttled.map(|line| line + "\n").collect::<String>()
}

/// What is to be said of a kind of throttling; `None` where there was none.
fn throttled(found: &Circumstances, what: &str) -> Option<String> {
    let shown = what.replace('_', " ");
    match counted(found, what) {
        Counted::More(times) => Some(format!("- **{shown}** {times} times{} during the run.", held_back(found, what))),
        Counted::None => None,
        Counted::Anew => Some(format!("- Whether this was {shown} is not known: the count began anew during the run.")),
        Counted::Untold => Some(format!("- Whether this was {shown} is not known: the machine does not say.")),
    }
}

/// What a count of the kernel's did during a run.
enum Counted {
    More(u64),
    None,
    /// It is lower than before: the machine was restarted, or the run went on in other control groups.
    Anew,
    Untold,
}

fn counted(found: &Circumstances, what: &str) -> Counted {
    let count = |facts: &Facts| facts.get(what)?.as_ref()?.parse::<u64>().ok();
    match (count(&found.load_before), count(&found.load_after)) {
        (Some(before), Some(after)) if after < before => Counted::Anew,
        (Some(before), Some(after)) if after > before => Counted::More(after - before),
        (Some(_), Some(_)) => Counted::None,
        _ => Counted::Untold,
    }
}

/// For how long control groups were held back, all CPUs added up; nothing for any other reason, and in runs that do not tell.
fn held_back(found: &Circumstances, what: &str) -> String {
    match counted(found, THROTTLED_US) {
        Counted::More(us) if what == THROTTLES[1] => {
            format!(", {} in all,", units::microseconds_words(us))
        }
        _ => String::new(),
    }
}

/// Stolen time of a round above which its figures are doubtful.
const STEAL_LIMIT: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_back_not_held_back_and_not_known_are_three_things() {
        let load = |times: Option<&str>, us: &str| -> Facts {
            [(THROTTLES[1].to_string(), times.map(String::from)), (THROTTLED_US.to_string(), Some(us.into()))].into()
        };
        let said = |before: Option<&str>, after: Option<&str>| {
            let found =
                Circumstances { load_before: load(before, "1000"), load_after: load(after, "3500"), ..Default::default() };
            throttled(&found, THROTTLES[1])
        };
        assert_eq!(said(Some("1"), Some("4")).unwrap(), "- **throttled by cgroup** 3 times, 2.5 ms in all, during the run.");
        assert_eq!(said(Some("4"), Some("4")), None);
        assert!(said(Some("4"), Some("1")).unwrap().contains("not known: the count began anew"));
        assert!(said(None, Some("1")).unwrap().contains("not known"));
        assert!(said(None, None).unwrap().contains("not known"));
    }
}
