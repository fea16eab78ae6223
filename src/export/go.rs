//! The benchmark format of Go (<https://go.dev/design/14313-benchmark-format>): a line for each round, so that benchstat has its samples.

use crate::analysis::Model;
use crate::analysis::level::{Sample, Series};
use crate::text::line;
use std::fmt::Write;

/// Configuration, then every round of every treatment.
pub fn text(all: &[Series<'_>], model: &Model) -> String {
    let mut text = String::new();
    for (key, value) in configuration(model) {
        let _ = writeln!(text, "{key}: {}", line(&value).split_whitespace().collect::<Vec<_>>().join(" "));
    }
    // Without this benchstat knows no direction for a unit that it has not seen.
    text += "Unit ops/s better=higher\n\n";
    for series in all {
        let name = name(series);
        series.rounds.iter().for_each(|sample| text += &self::sample(&name, sample));
    }
    text
}

fn configuration(model: &Model) -> Vec<(&'static str, String)> {
    let Some(manifest) = &model.manifest else { return vec![("target", model.target().into())] };
    vec![
        ("experiment", manifest.experiment.name.clone()),
        ("run-id", manifest.run_id.clone()),
        ("target", model.target().into()),
        ("cpu", manifest.environment.cpu.clone()),
        ("kernel", manifest.environment.kernel.clone()),
    ]
}

/// Cell, kind of round and treatment as parts that benchstat can compare by (`-col /treatment`), then the number of threads, which Go writes
/// last.
fn name(series: &Series<'_>) -> String {
    let word = |text: &str| line(text).split(|c: char| c.is_whitespace() || c == '/').collect::<Vec<_>>().join("_");
    let mut cell = word(series.cell);
    // A lower-case letter behind `Benchmark` would make it another word.
    if let Some(first) = cell.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let jobs = series.jobs.filter(|jobs| *jobs >= 1.0).map_or(1, |jobs| jobs as u64);
    format!("Benchmark{cell}/kind={}/treatment={}-{jobs}", word(series.kind), word(series.treatment))
}

fn sample(name: &str, sample: &Sample) -> String {
    let iterations = (sample.ops as u64).max(1);
    let cpu = sample.cpu_ns_per_op.map_or_else(String::new, |ns| format!(" {ns:.3} cpu-ns/op"));
    format!("{name} {iterations} {:.3} ns/op{cpu} {:.3} ops/s\n", 1e9 / sample.iops, sample.iops)
}
