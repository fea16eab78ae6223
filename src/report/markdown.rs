//! `report.md`: the answer first, then the tables it rests on, then what speaks against it.

use super::{advice, answer, claims, counts, escape, factorial, overhead, reproduce, route, toggles, validity};
use crate::analysis::Model;
use crate::analysis::claim::Judged;
use crate::analysis::effect::CellEffects;
use crate::analysis::load::{Arm, WATCHED};
use crate::analysis::signed_rank::median;
use crate::plot::{Gallery, Picture};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// The whole report; charts are linked as seen from `dir`, where it lies.
pub fn report(model: &Model, judged: &[Judged], gallery: &Gallery, dir: &Path) -> String {
    let mut text = String::new();
    let name = model.manifest.as_ref().map_or("Results", |m| m.experiment.name.as_str());
    let _ = writeln!(text, "# {}\n", escape::text(name));
    if let Some(manifest) = &model.manifest {
        let _ = writeln!(text, "{}\n", escape::text(&manifest.experiment.question));
        let _ = writeln!(text, "Target: {}.\n", escape::text(&manifest.target.description));
    }
    text += &route::first(model);
    text += &answer::section(model);
    text += &advice::section(model);
    text += &claims::section(judged);
    let charts = Charts { gallery, dir };
    text += &charts.of(None, &WHOLE_RUN);
    for cell in &model.cells {
        text += &in_detail(model, cell, &charts);
    }
    text += &validity::section(model);
    text += &charts.absent();
    text + &reproduce::section(model)
}

/// Kinds of charts that show the whole run.
const WHOLE_RUN: [&str; 3] = ["matrix", "depth", "history"];

/// Everything on one workload.
fn in_detail(model: &Model, cell: &CellEffects, charts: &Charts<'_>) -> String {
    let mut text = format!("\n## {}{}\n\n", escape::text(&cell.cell), route::mark(model, &cell.cell));
    let mut part = |title: &str, kinds: &[&str], words: String| {
        let pictures = charts.of(Some(&cell.cell), kinds);
        if !words.is_empty() || !pictures.is_empty() {
            let _ = write!(text, "### {title}\n\n{pictures}{words}");
        }
    };
    part("What each toggle is worth", &["ablation", "ladder"], toggles::section(cell));
    part("Which toggles belong together", &["shapley", "interactions"], factorial::section(cell));
    part("Where the time goes", &["overhead"], overhead::section(model, cell));
    part("What a request makes the kernel do", &[], counts::section(model, cell));
    part("Against fio", &[], peers(cell));
    part("Levels", &["latency", "timeline", "drift"], medians(model, cell));
    text
}

/// The charts as a report links them.
pub struct Charts<'a> {
    pub gallery: &'a Gallery,
    pub dir: &'a Path,
}

impl Charts<'_> {
    /// Pictures of these kinds, in their order.
    pub fn of(&self, cell: Option<&str>, kinds: &[&str]) -> String {
        let found = kinds
            .iter()
            .flat_map(|kind| self.gallery.pictures.iter().filter(move |p| p.cell.as_deref() == cell && p.kind == *kind));
        found.map(|p| self.link(p)).collect()
    }

    fn link(&self, picture: &Picture) -> String {
        let path = pathdiff::diff_paths(&picture.svg, self.dir).unwrap_or_else(|| picture.svg.clone());
        let of = picture.cell.as_ref().map_or_else(String::new, |cell| format!(" of {cell}"));
        format!("{}\n\n", escape::picture(&format!("{}{of}", picture.kind), &path.to_string_lossy()))
    }

    /// Charts that would be empty, and why.
    pub fn absent(&self) -> String {
        let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (cell, kind, reason) in &self.gallery.absent {
            reasons.entry((kind, reason)).or_default().extend(cell.as_deref());
        }
        let mut text = String::from(if reasons.is_empty() { "" } else { "\n## Charts that would be empty\n\n" });
        for ((kind, reason), cells) in reasons {
            let of = if cells.is_empty() || cells.len() > 3 {
                String::new()
            } else {
                format!(" of {}", escape::text(&cells.join(", ")))
            };
            let _ = writeln!(text, "- No {kind} chart{of}: {}.", escape::text(reason));
        }
        text
    }
}

/// The comparison with peers; empty where none ran.
pub fn peers(cell: &CellEffects) -> String {
    if cell.peers().next().is_none() {
        return String::new();
    }
    let how = if cell.whole_turns {
        "each in a run of its own, never stopped, one after the other in random order; each by its own count, CPU time by the clock of its process"
    } else {
        "both as processes that are stopped and continued in turn and counted by the kernel"
    };
    let mut text = format!(
        "Ours (`full`) against fio, {how}: ours / fio.\n\n\
         | fio | IOPS | CPU per op |\n|---|---|---|\n",
    );
    for (iops, cpu) in cell.peers() {
        let cpu = cpu.map_or_else(|| "not known".into(), ToString::to_string);
        let _ = writeln!(text, "| {} | {} | {} |", escape::text(&iops.contrast.reference), iops, cpu);
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

/// What is to be known of latencies at a fixed rate where fio's stand beside ours.
const DUE: &str = "At a fixed rate latencies of fio are no measure for ours. Ours counts from when a request was due, fio's from its submission: it leaves \
                   out how long a request that was due waited for its turn, so it flatters fio.\n\n";

fn medians(model: &Model, cell: &CellEffects) -> String {
    let titles: Vec<&str> = MEDIANS.iter().map(|m| m.0).collect();
    let told = |a: &Arm| a.cell == cell.cell && a.engine == "fio" && a.figures.contains_key("lat_ns_p99");
    let due = if cell.paced && model.data.arms.iter().any(told) { DUE } else { "" };
    let mut text = format!(
        "Medians over rounds. `slices`: arms in turn in one process; `peers`: processes in turn; `whole`: fio alone, uninterrupted.\n\n{due}\
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
        let (treatment, kind) = (escape::text(treatment), escape::text(kind));
        let _ = writeln!(text, "| {treatment} | {kind} | {} |", MEDIANS.iter().map(figure).collect::<Vec<_>>().join(" | "));
    }
    text + "\n"
}
