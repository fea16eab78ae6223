//! `report.md`: the answer first, then the tables it rests on, then what speaks against it.

use super::{counts, factorial, overhead, toggles, validity};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::load::{Arm, WATCHED};
use crate::analysis::signed_rank::median;
use crate::analysis::verdict::Verdict;
use crate::plot::Gallery;
use crate::run::manifest::Circumstances;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The whole report.
pub fn report(model: &Model, gallery: &Gallery) -> String {
    let mut text = String::new();
    let name = model.manifest.as_ref().map_or("Results", |m| m.experiment.name.as_str());
    let _ = writeln!(text, "# {name}\n");
    if let Some(manifest) = &model.manifest {
        let _ = writeln!(text, "{}\n", manifest.experiment.question);
        let _ = writeln!(text, "Target: {}.\n", manifest.target.description);
    }
    for cell in &model.cells {
        let _ = writeln!(text, "- {}", answer(cell));
    }
    for cell in &model.cells {
        let _ = writeln!(text, "\n## {}\n", cell.cell);
        text += &pictures(cell, gallery);
        text += &toggles::section(cell);
        text += &factorial::section(cell);
        text += &overhead::section(model, cell);
        text += &counts::section(model, cell);
        text += &peers(cell);
        text += &medians(model, cell);
    }
    text + &validity::section(model) + &reproduce(model)
}

/// One sentence or three: what pays here, and where fio stands.
fn answer(cell: &CellEffects) -> String {
    let primary = |kind: &'static str| cell.effects.iter().filter(move |e| e.contrast.kind == kind && e.metric == cell.primary);
    let unit = if cell.primary == Metric::Iops { "IOPS" } else { "CPU per operation" };
    let mut text = format!("**{}**", cell.cell);
    text += &saturated(cell);
    if let Some(total) = primary("total").next() {
        let _ = write!(text, ": all toggles together change {unit} by a factor of {}", total);
    }
    if primary("leave-one-out").next().is_none() {
        return text + ".";
    }
    let mut pays: Vec<&Effect> = primary("leave-one-out").filter(|e| e.verdict == Verdict::Improved).collect();
    pays.sort_by(|a, b| b.ratio.ln().abs().total_cmp(&a.ratio.ln().abs()));
    let list = |effects: &[&Effect]| {
        effects.iter().map(|e| format!("`{}` ({:.3})", e.contrast.toggle, e.ratio)).collect::<Vec<_>>().join(", ")
    };
    let _ = match pays.as_slice() {
        [] => write!(text, ". No toggle alone is shown to pay when the others are on"),
        pays => write!(text, ". With the others on, these pay: {}", list(pays)),
    };
    let costs: Vec<&Effect> = primary("leave-one-out").filter(|e| e.verdict == Verdict::Regressed).collect();
    if !costs.is_empty() {
        let _ = write!(text, "; these cost: {}", list(&costs));
    }
    for metric in Metric::ALL {
        let found = cell.effects.iter().find(|e| e.contrast.reference == "fio:registered" && e.metric == metric);
        if let Some(effect) = found {
            let _ = write!(text, ". Ours / fio `registered`, {}: {}", metric.name(), effect);
        }
    }
    text + "."
}

/// The side that could do no more, with the figures that say so.
fn saturated(cell: &CellEffects) -> String {
    let Some(side) = cell.saturated() else { return String::new() };
    let percent = |share: Option<f64>| share.map_or("unknown".into(), |s| format!("{:.0} %", s * 100.0));
    let (own, all) = (percent(cell.thread_cpu_share), percent(cell.machine_busy_share));
    let verdicts = if cell.bound_by_target() { ", so verdicts come from CPU per operation" } else { "" };
    format!(
        " is bound by {} (a loop's thread was on a CPU {own} of the time, the machine's CPUs were {all} busy){verdicts}",
        side.name()
    )
}

fn pictures(cell: &CellEffects, gallery: &Gallery) -> String {
    let of_cell = gallery.pictures.iter().filter(|p| p.cell.as_deref() == Some(cell.cell.as_str()));
    let names: Vec<String> = of_cell.filter_map(|p| Some(format!("`{}`", p.svg.file_name()?.to_str()?))).collect();
    if names.is_empty() { String::new() } else { format!("Charts: {}.\n\n", names.join(", ")) }
}

fn peers(cell: &CellEffects) -> String {
    let of_peer = |metric| cell.effects.iter().filter(move |e| e.contrast.kind == "peer" && e.metric == metric);
    if of_peer(Metric::Iops).next().is_none() {
        return "No comparison with fio: this run has no peers that ran.\n\n".into();
    }
    let mut text = String::from(
        "Ours (`full`) against fio, both as processes that are stopped and continued in turn and counted by the kernel: ours / fio.\n\n\
         | fio | IOPS | CPU per op |\n|---|---|---|\n",
    );
    for (iops, cpu) in of_peer(Metric::Iops).zip(of_peer(Metric::CpuPerOp)) {
        let _ = writeln!(text, "| {} | {} | {} |", iops.contrast.reference, iops, cpu);
    }
    text + "\n"
}

/// A column of the medians: its title, the figure, what it is divided by, decimals.
const MEDIANS: [(&str, &str, f64, usize); 8] = [
    ("IOPS", "iops", 1.0, 0),
    ("MB/s", "bandwidth_bytes_per_s", 1e6, 0),
    ("CPU ns/op", "cpu_total_ns_per_op", 1.0, 0),
    ("enters/op", "enters_per_op", 1.0, 3),
    ("thread CPU", "thread_cpu_share", 1.0, 3),
    ("p50 us", "lat_ns_p50", 1e3, 1),
    ("p99 us", "lat_ns_p99", 1e3, 1),
    ("p99.9 us", "lat_ns_p999", 1e3, 1),
];

fn medians(model: &Model, cell: &CellEffects) -> String {
    let titles: Vec<&str> = MEDIANS.iter().map(|m| m.0).collect();
    let mut text = format!(
        "Medians over rounds. `slices`: arms in turn in one process; `peers`: processes in turn; `whole`: fio alone, uninterrupted.\n\n\
         | treatment | measured in | {} |\n|---|---|{}\n",
        titles.join(" | "),
        "---|".repeat(titles.len())
    );
    let mut groups: BTreeMap<(usize, &str, &str), Vec<&Arm>> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    let measured = |a: &&Arm| a.cell == cell.cell && a.outcome == "completed" && !WATCHED.contains(&a.kind.as_str());
    for arm in model.data.arms.iter().filter(measured) {
        if !order.contains(&arm.treatment.as_str()) {
            order.push(&arm.treatment);
        }
        let place = order.iter().position(|t| *t == arm.treatment).unwrap_or_default();
        groups.entry((place, &arm.treatment, &arm.kind)).or_default().push(arm);
    }
    for ((_, treatment, kind), arms) in groups {
        let figure = |(_, name, unit, decimals): &(&str, &str, f64, usize)| {
            let values: Vec<f64> = arms.iter().filter_map(|a| a.figures.get(name).copied()).collect();
            median(&values).map_or_else(String::new, |v| format!("{:.*}", *decimals, v / unit))
        };
        let _ = writeln!(text, "| {treatment} | {kind} | {} |", MEDIANS.iter().map(figure).collect::<Vec<_>>().join(" | "));
    }
    text + "\n"
}

/// What the kernel said of machine and targets; what it did not say is left out.
fn circumstances(found: &Circumstances) -> String {
    if found.machine.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\nFingerprint {}: absolute figures of runs that share it may be compared.\n\n| fact | value |\n|---|---|\n",
        found.fingerprint
    );
    let loads = [("before: ", &found.load_before), ("after: ", &found.load_after)];
    let groups = [("", &found.machine)].into_iter().chain(found.targets.iter().map(|t| ("target: ", t))).chain(loads);
    for (prefix, facts) in groups {
        let told = facts.iter().filter_map(|(name, value)| Some((name, value.as_deref().filter(|v| !v.is_empty())?)));
        for (name, value) in told {
            let _ = writeln!(text, "| {prefix}{name} | {} |", value.replace('|', "\\|"));
        }
    }
    text
}

fn reproduce(model: &Model) -> String {
    let Some(manifest) = &model.manifest else {
        return "\nHow to reproduce this is not known: there is no manifest.json.\n".into();
    };
    let mut text = format!("\n## How to reproduce\n\n```\n{}\n```\n\n", manifest.command);
    let e = &manifest.environment;
    let _ = writeln!(
        text,
        "{}, {} CPUs, {}, uring-ablate {} ({}), plan {}.\n",
        e.cpu, e.cpus, e.kernel, e.version, e.compiler, manifest.plan_hash
    );
    let _ = writeln!(text, "```toml\n{}\n```", manifest.experiment.text.trim());
    text += &circumstances(&manifest.circumstances);
    if let Some(fio) = &manifest.fio {
        let _ = writeln!(text, "\nfio is {}.", fio.version);
        for job in &fio.jobs {
            let _ = writeln!(text, "\n{} on {}:\n\n```ini\n{}\n```", job.treatment, job.cell, job.job.trim());
        }
    }
    text
}
