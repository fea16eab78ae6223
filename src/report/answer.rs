//! What a reader came for, in a few sentences: what pays, how sure that is, and where fio stands.

use super::{escape, route, validity};
use crate::analysis::Model;
use crate::analysis::contrast::Metric;
use crate::analysis::effect::{CellEffects, Effect};
use crate::analysis::saturated::SPINS;
use crate::analysis::share::{Share, shares};
use crate::analysis::verdict::Verdict;
use std::fmt::Write;

/// With more cells than this a table says it.
const MOST_IN_WORDS: usize = 4;

/// A few toggles are said to bring this much of the gain, if they do.
const MOST_OF_IT: f64 = 0.9;

/// The section.
pub fn section(model: &Model) -> String {
    format!("## The answer\n\n{}\n", body(model))
}

/// A bullet or a line of a table for each workload, and whether to believe it.
pub fn body(model: &Model) -> String {
    let answer: String = if model.cells.len() <= MOST_IN_WORDS {
        model.cells.iter().map(|cell| lines(model, cell)).collect()
    } else {
        table(model)
    };
    let emulated = model.manifest.as_ref().and_then(|m| m.environment.emulated.as_ref());
    let caution = emulated.map_or_else(String::new, |what| format!("\n**Emulated.** {}.\n", escape::text(what)));
    format!("{answer}{caution}\n**Can this run be trusted?** {}\n", validity::summary(model))
}

/// A workload with a line for each question.
fn lines(model: &Model, cell: &CellEffects) -> String {
    let route = route::mark(model, &cell.cell);
    let mut text = format!("- **{}**{route}{}\n", escape::text(&cell.cell), saturated(cell));
    let mut line = |title: &str, words: String| {
        if !words.is_empty() {
            let _ = writeln!(text, "  - **{title}:** {words}.");
        }
    };
    line("Pays", listed(cell, Verdict::Improved));
    line("Costs, so leave it off", listed(cell, Verdict::Regressed));
    line("Together", together(cell, &shares(cell)));
    line("Against others", standing(cell));
    line("CPU time", cell.spinning_clause());
    text
}

/// Toggles with this verdict beside all others, the largest effect first.
fn listed(cell: &CellEffects, verdict: Verdict) -> String {
    let single = cell.effects.iter().filter(|e| e.contrast.kind == "leave-one-out" && e.metric == cell.primary);
    let mut found: Vec<&Effect> = single.filter(|e| e.verdict == verdict).collect();
    found.sort_by(|a, b| b.ratio.ln().abs().total_cmp(&a.ratio.ln().abs()));
    let spins = |e: &Effect| if cell.spins(e) { format!("; {SPINS}") } else { String::new() };
    let each: Vec<String> =
        found.iter().map(|e| format!("{} ({}{})", escape::code(&e.contrast.toggle), short(e), spins(e))).collect();
    if each.is_empty() {
        String::new()
    } else {
        format!("{}; {} with it / without it, all others on", each.join(", "), cell.primary.title())
    }
}

/// The ratio with its interval, as precise as prose needs.
fn short(effect: &Effect) -> String {
    match effect.bounds {
        Some(b) => format!("{:.3} [{:.3}, {:.3}]", effect.ratio, b.lo, b.hi),
        None => format!("{:.3} [too few rounds]", effect.ratio),
    }
}

/// What all toggles do, and the fewest that do most of it.
fn together(cell: &CellEffects, shares: &[Share]) -> String {
    let Some(total) = cell.find("total", "", cell.primary) else { return String::new() };
    let text = format!(
        "the toggles that full has and baseline has not take {} to {} of what it is without them",
        cell.primary.title(),
        short(total)
    );
    let mut sum = 0.0;
    let needed = |s: &&Share| {
        let more = sum < MOST_OF_IT && s.share > 0.0;
        sum += if more { s.share } else { 0.0 };
        more
    };
    let few: Vec<String> =
        shares.iter().take_while(needed).map(|s| format!("{} ({:.0} %)", escape::code(&s.toggle), s.share * 100.0)).collect();
    if few.is_empty() || few.len() == shares.len() {
        return text;
    }
    let most = if sum < 0.995 { format!("by estimate {:.0} % of that", sum * 100.0) } else { "all of that".into() };
    format!("{text}; {most} comes from {} of {}: {}", few.len(), shares.len(), few.join(", "))
}

/// The side that could do no more, with the figures that say so.
fn saturated(cell: &CellEffects) -> String {
    let Some(side) = cell.saturated() else { return String::new() };
    let percent = |share: Option<f64>| share.map_or("unknown".into(), |s| format!("{:.0} %", s * 100.0));
    let (own, all) = (percent(cell.thread_cpu_share), percent(cell.machine_busy_share));
    let verdicts =
        if cell.bound_by_target() { ", so verdicts come from CPU time per operation, where less is better" } else { "" };
    format!(
        ": bound by {} (a loop's thread was on a CPU {own} of the time, the machine's CPUs were {all} busy){verdicts}",
        side.name()
    )
}

/// Whether we are ahead of each peer.
fn standing(cell: &CellEffects) -> String {
    let peers = cell.peers().map(|(iops, cpu)| {
        let name = escape::text(&iops.contrast.reference.replace("fio:", "fio "));
        let cpu_words =
            cpu.map_or_else(|| "CPU time not known".into(), |cpu| format!("{} x its CPU time per operation", short(cpu)));
        format!("{} {name} ({} x its IOPS, {cpu_words})", place(cell.paced, iops, cpu), short(iops))
    });
    peers.collect::<Vec<_>>().join("; ")
}

/// Throughput decides, then the CPU time. At a fixed rate both do what was asked of them, or one of them was disturbed.
fn place(paced: bool, iops: &Effect, cpu: Option<&Effect>) -> &'static str {
    use Verdict::{Equivalent, Improved, Inconclusive, Regressed};
    let iops = if paced { Equivalent } else { iops.verdict };
    match (iops, cpu.map_or(if paced { Inconclusive } else { iops }, |cpu| cpu.verdict)) {
        (Improved, _) => "**ahead** of",
        (Regressed, _) => "**behind**",
        (_, Improved) => "**ahead** (in CPU time) of",
        (_, Regressed) => "**behind** (in CPU time)",
        (Inconclusive, _) | (_, Inconclusive) => "**not told apart** from",
        _ => "**level** with",
    }
}

/// Many cells: a line each.
fn table(model: &Model) -> String {
    let mut text = String::from(
        "| workload | bound by | all toggles, IOPS | all toggles, CPU per op | against | IOPS, ours / theirs | CPU per op, ours / theirs |\n|---|---|---|---|---|---|---|\n",
    );
    for cell in &model.cells {
        let total = |metric| cell.find("total", "", metric).map_or_else(String::new, short);
        let side = cell.saturated().map_or("", |s| s.name());
        let (peer, iops, cpu) = cell.peers().next().map_or_else(Default::default, |(iops, cpu)| {
            (escape::text(&iops.contrast.reference), short(iops), cpu.map_or_else(String::new, short))
        });
        let (all, all_cpu) = (total(Metric::Iops), total(Metric::CpuPerOp));
        let route = route::mark(model, &cell.cell);
        let _ = writeln!(text, "| {}{route} | {side} | {all} | {all_cpu} | {peer} | {iops} | {cpu} |", escape::text(&cell.cell));
    }
    text
}
