//! Gauges for node_exporter's textfile collector, in the text format of Prometheus; OpenMetrics besides, whose last line is a comment there.

use crate::exit::Exit;
use crate::nightly::row::{Finding, NightRow, SeriesRow};
use crate::text;
use std::fmt::Write;

/// A gauge of series: name, help, and its value for one.
type Gauge = (&'static str, &'static str, fn(&NightRow, &SeriesRow) -> f64);

const OF_SERIES: [Gauge; 8] = [
    ("ratio", "Candidate over reference, Hodges-Lehmann over the rounds.", |_, s| s.ratio),
    ("ratio_lower", "Lower bound of its interval.", |_, s| s.lo),
    ("ratio_upper", "Upper bound of its interval.", |_, s| s.hi),
    ("level_ratio", "What the segment was before this night.", |_, s| s.level),
    ("round_spread", "Standard deviation of the rounds' log ratios.", |_, s| s.spread),
    ("detectable_change", "Smallest change found with probability .8, as a fraction.", |_, s| s.mde80),
    ("placebo_ratio", "Second copy of the reference over the first.", |_, s| s.placebo_ratio),
    ("regression", "1 where a regression is confirmed.", |n, s| f64::from(u8::from(regressed(n, s)))),
];

/// The whole file.
pub fn text(night: &NightRow, series: &[SeriesRow]) -> String {
    let mut text = String::new();
    let common = format!("experiment=\"{}\",machine=\"{}\"", escaped(&night.experiment), escaped(&night.machine));
    for (name, help, value) in OF_SERIES {
        head(&mut text, name, help);
        for row in series {
            let labels = format!("{common},cell=\"{}\",metric=\"{}\"", escaped(&row.cell), escaped(&row.metric));
            let _ = writeln!(text, "uring_ablate_{name}{{{labels}}} {}", number(value(night, row)));
        }
    }
    let started = night.started_utc.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
    head(&mut text, "night_started_seconds", "When the night began, since the epoch.");
    let _ = writeln!(text, "uring_ablate_night_started_seconds{{{common}}} {started}");
    head(&mut text, "night_exit_code", "Code with which it ended: 0 ok, 1 regression, 3 inconclusive, 4 control failed.");
    let _ = writeln!(text, "uring_ablate_night_exit_code{{{common}}} {}\n# EOF", night.exit);
    text
}

/// Of a night whose control failed nothing is believed: no alert of it.
fn regressed(night: &NightRow, row: &SeriesRow) -> bool {
    night.exit != Exit::SelfCheck as u8 && row.finding == Finding::Regressed
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP uring_ablate_{name} {help}\n# TYPE uring_ablate_{name} gauge");
}

/// Both formats spell infinity, which no other figure of a night needs, with its sign.
fn number(value: f64) -> String {
    if value.is_infinite() { format!("{}Inf", if value > 0.0 { '+' } else { '-' }) } else { value.to_string() }
}

fn escaped(label: &str) -> String {
    text::line(label).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::super::tests::two;
    use super::*;

    #[test]
    fn each_line_is_a_comment_or_a_gauge_with_its_labels() {
        let mut rows = two();
        rows[0].cell = "a \"quoted\" cell".into();
        let text = text(&NightRow::example(), &rows);
        let body = text.strip_suffix("# EOF\n").unwrap();
        let gauge = regex::Regex::new(r#"^uring_ablate_[a-z_]+\{([a-z]+="([^"\\]|\\.)*",?)+\} -?[0-9.e-]+$"#).unwrap();
        assert!(body.lines().all(|l| l.starts_with("# HELP ") || l.starts_with("# TYPE ") || gauge.is_match(l)), "{text}");
        assert!(text.contains(
            r#"regression{experiment="nightly",machine="host",cell="read-4k-qd128-j1",metric="cpu_total_ns_per_op"} 1"#
        ));
    }
}
