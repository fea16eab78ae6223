//! The section of `report.md` that says what to do: the settings that the verdicts recommend, and how to get them in a program of one's own.

use super::escape;
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::Effect;
use crate::analysis::verdict::Verdict;
use crate::toggle::Toggle;
use std::fmt::Write;

/// The section; empty where no toggle was compared beside all others.
pub fn section(model: &Model) -> String {
    let table = table(model);
    if table.is_empty() {
        return String::new();
    }
    format!(
        "## Advice\n\nWhat the verdicts recommend for this device and machine, with all others on; worth is the toggle's own ratio, with it / \
         without it (of several workloads the least and the most). The same thing in the io-uring crate, in liburing and as an option of fio; \
         what has no name there is a matter of the program's own loop.\n\n{table}\n"
    )
}

/// Its table; empty where no toggle was compared beside all others.
pub fn table(model: &Model) -> String {
    let mut rows: Vec<(Advice, Toggle, Vec<&Effect>)> = Vec::new();
    for toggle in Toggle::all() {
        let effects: Vec<&Effect> =
            model.cells.iter().filter_map(|cell| cell.find("leave-one-out", toggle.key(), cell.primary)).collect();
        if !effects.is_empty() {
            rows.push((Advice::of(&effects), toggle, effects));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|a, b| (a.0, worth(&a.2)).partial_cmp(&(b.0, worth(&b.2))).unwrap_or(std::cmp::Ordering::Equal));
    let mut text = String::from("| setting | advice | worth | io-uring crate | liburing | fio |\n|---|---|---|---|---|---|\n");
    for (advice, toggle, effects) in &rows {
        let (calls, level) = (toggle.spec().calls, level(model, *toggle, effects[0]));
        let code = |name: &str| {
            let name = name.replace("{level}", &level).replace("{LEVEL}", &level.to_uppercase());
            escape::code(&name)
        };
        let own = if calls.rust.is_empty() && calls.liburing.is_empty() { "own loop or thread".into() } else { code(calls.rust) };
        let _ = writeln!(
            text,
            "| {} = {} | {}{} | {} | {own} | {} | {} |",
            toggle.key(),
            escape::text(&level),
            advice.name(),
            of_how_many(*advice, effects),
            range(effects),
            code(calls.liburing),
            code(calls.fio)
        );
    }
    text
}

/// What to do with a toggle, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Advice {
    Use,
    Depends,
    Indifferent,
    Unknown,
    Avoid,
}

impl Advice {
    fn of(effects: &[&Effect]) -> Advice {
        let any = |verdict| effects.iter().any(|e| e.verdict == verdict);
        match (any(Verdict::Improved), any(Verdict::Regressed), any(Verdict::Inconclusive)) {
            (true, true, _) => Advice::Depends,
            (true, false, _) => Advice::Use,
            (false, true, _) => Advice::Avoid,
            (false, false, true) => Advice::Unknown,
            (false, false, false) => Advice::Indifferent,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Advice::Use => "**use it**",
            Advice::Depends => "depends on the workload",
            Advice::Indifferent => "not worth the trouble: no difference beyond the margin",
            Advice::Unknown => "not known: too uncertain",
            Advice::Avoid => "**leave it off**",
        }
    }
}

/// The level that was compared with *off*, as it took effect.
fn level(model: &Model, toggle: Toggle, effect: &Effect) -> String {
    let arm = model.data.arms.iter().find(|a| a.treatment == effect.contrast.treatment && a.levels.contains_key(toggle.key()));
    arm.map_or_else(|| toggle.spec().level_text(toggle.spec().on), |a| a.levels[toggle.key()].clone())
}

/// In how many of several workloads that was shown.
fn of_how_many(advice: Advice, effects: &[&Effect]) -> String {
    let verdict = match advice {
        Advice::Use => Verdict::Improved,
        Advice::Avoid => Verdict::Regressed,
        Advice::Depends | Advice::Indifferent | Advice::Unknown => return String::new(),
    };
    let shown = effects.iter().filter(|e| e.verdict == verdict).count();
    if effects.len() == 1 { String::new() } else { format!(", shown in {shown} of {} workloads", effects.len()) }
}

/// The size of the largest effect, largest first when sorted.
fn worth(effects: &[&Effect]) -> f64 {
    -effects.iter().map(|e| e.ratio.ln().abs()).fold(0.0, f64::max)
}

fn range(effects: &[&Effect]) -> String {
    let metrics = [(Metric::Iops, "IOPS"), (Metric::CpuPerOp, "CPU per op")].into_iter().filter_map(|(metric, unit)| {
        let ratios = || effects.iter().filter(|e| e.metric == metric).map(|e| e.ratio);
        let (lo, hi) = (ratios().reduce(f64::min)?, ratios().reduce(f64::max)?);
        Some(if effects.len() == 1 { format!("{unit} {}", effects[0]) } else { format!("{unit} {lo:.3} to {hi:.3}") })
    });
    metrics.collect::<Vec<_>>().join(", ")
}
