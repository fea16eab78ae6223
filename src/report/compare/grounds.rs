//! What of several runs may be compared and what not, as far as their files tell; said before any figure.

use super::super::{escape, validity};
use super::Run;
use crate::analysis::Model;
use crate::analysis::compare::{Comparison, level_obstacle, untold_workloads};
use crate::experiment::difference::{Changed, changed};
use crate::run::manifest::Manifest;
use std::fmt::Write;

/// The runs in a table: what each was made of.
pub fn table(runs: &[Run]) -> String {
    let mut text = String::from(
        "| run | directory | experiment | plan | started | host | kernel | CPU | uring-ablate | compiler | target |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (i, run) in runs.iter().enumerate() {
        let told = run.model.manifest.as_ref().map_or(vec!["unknown".into(); 9], |m| {
            let e = &m.environment;
            let cpu = format!("{}, {} CPUs", e.cpu, e.cpus);
            let who = [&m.experiment.name, &m.plan_hash, &m.started_utc, &e.host, &e.kernel, &cpu, &e.version, &e.compiler];
            who.into_iter().chain([&m.target.description]).map(|t| escape::text(t)).collect()
        });
        let reference = if i == 0 { " (reference)" } else { "" };
        let (label, dir) = (escape::text(&run.label), escape::text(&run.dir.display().to_string()));
        let _ = writeln!(text, "| **{label}**{reference} | {dir} | {} |", told.join(" | "));
    }
    text + "\n"
}

/// What may be compared, a sentence or two each: first of each run beside the reference run, then of each run itself.
pub fn sentences(runs: &[Run], comparison: &Comparison<'_>) -> Vec<String> {
    let mut all = vec![
        "**Each run is one of many that could have been made.** Intervals hold what lies between the rounds of a run, not what changes from one run to \
         the next in the same place. Compare two runs of the same in the same place to see how much that is before a small difference is believed."
            .to_string(),
    ];
    for (i, run) in runs.iter().enumerate().skip(1) {
        all.push(format!("**Ratios, {}:** {}", escape::text(&run.label), ratios(&runs[0].model, &run.model, comparison, i)));
        all.push(format!("**Absolute levels, {}:** {}", escape::text(&run.label), levels(&runs[0].model, &run.model)));
        all.extend(others(&runs[0].model, &run.model).map(|what| format!("**Other, {}:** {what}", escape::text(&run.label))));
        all.extend(controls(comparison, i).map(|what| format!("**Check, {}:** {what}", escape::text(&run.label))));
    }
    for run in runs {
        let trust = validity::summary(&run.model).replace("Details are below.", "Its own report has the details.");
        let more = run.model.manifest.as_ref().map_or_else(String::new, reservations);
        all.push(format!("**Can {} be trusted?** {trust}{more}", escape::text(&run.label)));
    }
    all
}

fn ratios(reference: &Model, run: &Model, comparison: &Comparison<'_>, i: usize) -> String {
    let (cells, contrasts) = comparison.common(i);
    let count = format!("{contrasts} of them in {cells} {}", if cells == 1 { "workload" } else { "workloads" });
    let mut text = match (&reference.manifest, &run.manifest) {
        (Some(there), Some(here)) if there.plan_hash == here.plan_hash => {
            format!(
                "may be compared, {count}: the same experiment (plan {}), each ratio taken inside of rounds.",
                escape::text(&here.plan_hash)
            )
        }
        (Some(there), Some(here)) => format!(
            "only where contrasts of the same name stand in workloads of the same name, {count}: not the same experiment (plan {}, of the \
             reference run {}). {}",
            escape::text(&here.plan_hash),
            escape::text(&there.plan_hash),
            keys(&there.experiment.text, &here.experiment.text)
        ),
        _ => format!("by their names alone, {count}: a run without manifest.json does not tell its experiment."),
    };
    if run.settings.delta != reference.settings.delta {
        let (here, there) = (run.settings.delta * 100.0, reference.settings.delta * 100.0);
        let _ = write!(text, " Its margin is {here} %, that of the reference run {there} %, by which differences are judged.");
    }
    let untold = untold_workloads(reference, run);
    if untold > 0 && reference.manifest.is_some() && run.manifest.is_some() {
        let _ = write!(
            text,
            " **In {untold} {} it is not known whether both runs did the same**: the experiment in one manifest.json does not tell. \
             Absolute levels are not compared there.",
            if untold == 1 { "workload" } else { "workloads" }
        );
    }
    let noted = comparison.cells.iter().flat_map(|c| &c.rows).filter(|row| !row.sides[i].notes.is_empty()).count();
    if noted > 0 {
        let _ = write!(
            text,
            " **{noted} of them have a note** below their table: other levels beside the toggle, or rounds that lie much further apart."
        );
    }
    text
}

/// The keys that two experiments differ in.
fn keys(before: &str, after: &str) -> String {
    const SHORT: usize = 60;
    let Some(all) = changed(before, after) else { return "Which keys differ is not known.".into() };
    let value = |value: &Option<String>| value.clone().unwrap_or("left open".into());
    let shown = |c: &Changed| {
        let (before, after) = (value(&c.before), value(&c.after));
        let short = before.len() + after.len() <= SHORT;
        let values = if short { format!(" ({}, was {})", escape::text(&after), escape::text(&before)) } else { String::new() };
        format!("{}{values}", escape::code(&c.key))
    };
    let (matter, words): (Vec<_>, Vec<_>) = all.iter().partition(|c| c.matters());
    let list = |keys: &[&Changed]| keys.iter().map(|c| shown(c)).collect::<Vec<_>>().join(", ");
    match (matter.as_slice(), words.as_slice()) {
        ([], []) => "Only their comments or layout differ.".into(),
        ([], words) => format!("They differ in {} alone, which changes nothing of what is measured.", list(words)),
        (matter, _) => format!("They differ in {}.", list(matter)),
    }
}

fn levels(reference: &Model, run: &Model) -> String {
    match level_obstacle(reference, run) {
        Some(why) => format!("may not be compared: {}.", escape::text(&why)),
        None => format!(
            "may be looked at side by side, the same machine and target{}, but they are **not paired in time: drift of the machine is in it**.",
            unknown(reference, run)
        ),
    }
}

/// The facts of which it is not known whether the two agree in them.
fn unknown(reference: &Model, run: &Model) -> String {
    let Some((there, here)) = reference.manifest.as_ref().zip(run.manifest.as_ref()) else { return String::new() };
    let beside = here.circumstances.beside(&there.circumstances);
    let facts: Vec<String> = beside.unknown().into_iter().map(escape::code).collect();
    if facts.is_empty() { String::new() } else { format!(" as far as both tell (not known of both: {})", facts.join(", ")) }
}

/// Something that a manifest tells; empty where it does not.
type Fact = fn(&Manifest) -> String;

/// What else differs between two runs, or cannot be compared.
fn others(reference: &Model, run: &Model) -> Option<String> {
    let (there, here) = (reference.manifest.as_ref()?, run.manifest.as_ref()?);
    let facts: [(&str, Fact); 7] = [
        ("kernel", |m| m.environment.kernel.clone()),
        ("CPU", |m| m.environment.cpu.split_whitespace().collect::<Vec<_>>().join(" ")),
        ("number of CPUs", |m| m.environment.cpus.to_string()),
        ("version of uring-ablate", |m| m.environment.version.clone()),
        ("compiler", |m| m.environment.compiler.clone()),
        ("target", |m| m.target.description.clone()),
        ("fio", |m| m.fio.as_ref().map_or("none".into(), |f| f.version.clone())),
    ];
    let said = facts.into_iter().filter_map(|(what, of)| {
        let shown = |text: String| if text.is_empty() { "not known".into() } else { escape::text(&text) };
        match (of(here), of(there)) {
            (here, there) if here.is_empty() && there.is_empty() => Some(format!("{what} not known of either")),
            (here, there) => (here != there).then(|| format!("{what} {}, was {}", shown(here), shown(there))),
        }
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| format!("{}.", said.join("; ")))
}

/// What the controls say of comparing these runs: their truth is the same in all.
fn controls(comparison: &Comparison<'_>, i: usize) -> Option<String> {
    let (covered, all) = comparison.controls(i);
    (all > 0).then(|| {
        format!(
            "placebo, stall and spin are the same in both by construction; the intervals of {covered} of {all} of their differences hold 1 (about one \
             in twenty does not, by chance)."
        )
    })
}

/// What a manifest says against its own machine, repeated wherever its figures are.
fn reservations(manifest: &Manifest) -> String {
    let mut text = String::new();
    if manifest.environment.debug_build {
        text += " **It was made by a debug build.**";
    }
    if let Some(what) = &manifest.environment.emulated {
        let _ = write!(text, " **Emulated.** {}.", escape::text(what));
    }
    text
}
