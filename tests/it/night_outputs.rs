//! What a night and a history leave for other programs, read back cell by cell.

use crate::support::rows;
use insta::assert_snapshot;
use polars::prelude::{AnyValue, DataType, ParquetReader, SerReader};
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use regex::Regex;
use serde_json::Value;
use std::fs;
use std::path::Path;
use uring_ablate::durable::Dir;
use uring_ablate::export;
use uring_ablate::export::night::files;
use uring_ablate::nightly::row::{Alarm, Better, Finding, NightRow, SeriesRow};
use uring_ablate::nightly::store::{History, NIGHTS, SERIES};
use uring_ablate::report::hosts;

/// A night whose identifiers look like numbers, with a series that is steady and one that has regressed.
fn night() -> (NightRow, Vec<SeriesRow>) {
    let night = NightRow {
        fingerprint: "12345678".into(),
        reference: "1234e567".into(),
        candidate: "00000001".into(),
        exit: 1,
        ..NightRow::example()
    };
    let regressed = SeriesRow {
        metric: "tps".into(),
        mde80: f64::INFINITY,
        alarm: Some(Alarm::Step),
        since: night.night.clone(),
        confirm_rounds: Some(48),
        confirm_ratio: Some(0.95),
        confirm_lo: Some(0.94),
        confirm_hi: Some(0.96),
        confirm_p: Some(1e-6),
        finding: Finding::Regressed,
        ..SeriesRow::example()
    };
    (night, vec![SeriesRow::example(), regressed])
}

/// A history of that night on disk.
fn history(dir: &Path) {
    let (night, series) = night();
    History::open(dir).unwrap().commit(night, &series).unwrap();
}

#[test]
fn parquet_of_a_history_loses_no_cell() {
    let home = tempfile::tempdir().unwrap();
    history(home.path());
    let out = home.path().join("parquet");
    let written = export::parquet_of(&Dir::open(home.path()).unwrap(), &[NIGHTS, SERIES], &out).unwrap();
    assert_eq!(written, [(out.join("nights.parquet"), 1), (out.join("series.parquet"), 2)]);
    for (name, whole) in [(NIGHTS, 5), (SERIES, 4)] {
        let file = fs::File::open(out.join(name).with_extension("parquet")).unwrap();
        let frame = ParquetReader::new(file).finish().unwrap();
        for (i, row) in rows(&home.path().join(name)).iter().enumerate() {
            for (column, cell) in row {
                let value = frame.column(column).unwrap().get(i).unwrap();
                let same = match &value {
                    AnyValue::Null => cell.is_empty(),
                    AnyValue::Float64(number) => cell.parse() == Ok(*number),
                    AnyValue::Int64(number) => cell.parse() == Ok(*number),
                    text => text.get_str() == Some(cell),
                };
                assert!(same, "{name}, {column}: {cell:?} became {value:?}");
            }
        }
        let counts = frame.columns().iter().filter(|c| *c.dtype() == DataType::Int64).count();
        assert_eq!(counts, whole, "{name}: columns of whole numbers");
    }
}

/// The file of a night by its name.
fn file(name: &str, night: &NightRow, series: &[SeriesRow]) -> String {
    files(night, series).into_iter().find(|f| f.0 == name).unwrap().1
}

#[test]
fn a_summary_begins_with_what_must_be_read() {
    let (mut night, series) = night();
    night.summary = "read-4k-qd128-j1: tps lower by 5.0 %".into();
    let text = file("summary.md", &night, &series).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert_snapshot!(text, @r"
    **REGRESSION: read-4k-qd128-j1: tps lower by 5.0 %**

    | cell | metric | against the reference | before | change | rounds | spread | found with .8 | placebo | found |
    |---|---|---|---|---|--:|--:|--:|---|---|
    | read-4k-qd128-j1 | tps | +0.00 % [-1.00, +1.00] | the reference | +0.00 % [-1.00, +1.00], not told apart | 24 | 1.00 % | nothing | +0.00 % [-1.00, +1.00] | **regressed** (step since 20260101T030000Z-host; 48 rounds again: -5.00 % [-6.00, -4.00]) |
    | read-4k-qd128-j1 | iops | +0.00 % [-1.00, +1.00] | the reference | +0.00 % [-1.00, +1.00], not told apart | 24 | 1.00 % | 1.00 % | +0.00 % [-1.00, +1.00] | steady |

    Changes are of the metric, candidate over reference, with their intervals. How far rounds lie apart (spread) decides what a night finds: a smaller change than under *found with .8* is missed more often than in one night of five. The placebo is a second copy of the reference.

    - read-4k-qd128-j1: tps lower by 5.0 % [-6.0, -4.0] (worse) than before, since 20260101T030000Z-host, confirmed by 48 rounds
      - tonight's 24 rounds lie apart from before (adjusted p = 1.0e0); a second run of 48 rounds: adjusted p = 1.0e-6

    | cell | metric | reference | candidate |
    |---|---|--:|--:|
    | read-4k-qd128-j1 | tps | 500000 IOPS | 500000 IOPS |
    | read-4k-qd128-j1 | iops | 500000 IOPS | 500000 IOPS |

    Medians over the rounds; those of other nights may be compared where the fingerprint agrees.

    20260101T030000Z-host on host (a processor, Linux 6.1.0 x86_64; x86_64, Linux 6, loop; fingerprint 12345678): candidate 00000001, reference 1234e567, uring-ablate VERSION, 60 s.
    ");
}

#[test]
fn headlines_tell_nights_apart() {
    let of = |exit: u8, finding: Finding| {
        let night = NightRow { exit, ..NightRow::example() };
        let text = file("summary.md", &night, &[SeriesRow { finding, ..SeriesRow::example() }]);
        text.split(':').next().unwrap().to_string()
    };
    let told = [
        (0, Finding::Steady),
        (0, Finding::Improved),
        (1, Finding::Regressed),
        (3, Finding::Inconclusive),
        (4, Finding::Regressed),
    ];
    let expected = ["**No confirmed regression", "**IMPROVED", "**REGRESSION", "**INCONCLUSIVE", "**CONTROL FAILED"];
    assert_eq!(told.map(|(exit, finding)| of(exit, finding)), expected);
}

#[test]
fn a_word_says_whether_a_change_is_good() {
    let of = |better: Better, [lo, ratio, hi]: [f64; 3]| {
        let row = SeriesRow { better, lo, ratio, hi, ..SeriesRow::example() };
        let text = file("summary.md", &NightRow::example(), &[row]);
        text.lines().nth(4).unwrap().split(" | ").nth(4).unwrap().to_string()
    };
    let (less, more) = ([0.94, 0.95, 0.96], [1.04, 1.05, 1.06]);
    assert_eq!(of(Better::Higher, less), "-5.00 % [-6.00, -4.00], worse");
    assert_eq!(of(Better::Lower, less), "-5.00 % [-6.00, -4.00], better");
    assert_eq!(of(Better::Higher, more), "+5.00 % [+4.00, +6.00], better");
    assert_eq!(of(Better::Lower, more), "+5.00 % [+4.00, +6.00], worse");
    assert_eq!(of(Better::Lower, [0.99, 1.01, 1.02]), "+1.00 % [-1.00, +2.00], not told apart");
    assert_eq!(of(Better::Lower, [f64::NAN, 1.01, f64::NAN]), "+1.00 % [too few rounds], not told apart");
}

/// Columns of each line of a text's tables; a bar behind a backslash divides nothing.
fn columns(text: &str) -> Vec<usize> {
    let tables = text.lines().filter(|l| l.starts_with('|'));
    tables.map(|l| l.replace("\\|", "").matches('|').count()).collect()
}

#[test]
fn no_text_of_others_breaks_a_table() {
    let (night, series) = night();
    let odd = |text: &str| format!("{text}|a\nb");
    let odd_series: Vec<SeriesRow> = series
        .iter()
        .map(|s| SeriesRow { cell: odd(&s.cell), metric: odd(&s.metric), unit: odd(&s.unit), ..s.clone() })
        .collect();
    let odd_night = NightRow { machine: odd("m"), cpu: odd("c"), summary: odd("s"), series_rows: 2, ..night.clone() };
    let plain = NightRow { series_rows: 2, ..night };
    let pairs = [
        (file("summary.md", &plain, &series), file("summary.md", &odd_night, &odd_series)),
        (hosts::markdown(std::slice::from_ref(&plain), &series), hosts::markdown(std::slice::from_ref(&odd_night), &odd_series)),
    ];
    for (plain, odd) in pairs {
        assert_eq!(columns(&plain), columns(&odd), "{odd}");
    }
}

#[test]
fn metrics_are_text_for_prometheus_and_for_openmetrics() {
    let (night, mut series) = night();
    series[0].cell = "a \"quoted\" \\ cell\nof two lines".into();
    let text = file("metrics.prom", &night, &series);
    let lines: Vec<&str> = text.lines().collect();
    assert!(text.ends_with("\n# EOF\n") && lines.iter().filter(|l| **l == "# EOF").count() == 1, "{text}");
    let label = r#"[a-z_]+="(?:[^"\\\n]|\\["\\n])*""#;
    let number = r"(?:[+-]Inf|NaN|-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)";
    let sample = Regex::new(&format!(r"^(uring_ablate_[a-z_]+)\{{{label}(?:,{label})*\}} {number}$")).unwrap();
    let head = Regex::new(r"^# (HELP|TYPE) (uring_ablate_[a-z_]+) ([^\\]+)$").unwrap();
    let (mut family, mut seen, mut samples) = (String::new(), Vec::new(), Vec::new());
    for line in &lines[..lines.len() - 1] {
        if let Some(found) = head.captures(line) {
            if &found[1] == "HELP" {
                family = found[2].into();
                assert!(!seen.contains(&family), "{family} stands in one place");
                seen.push(family.clone());
            }
            assert!(found[2] == family && (&found[1] == "HELP" || &found[3] == "gauge"), "{line}");
        } else {
            let found = sample.captures(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(&found[1], family, "behind the head of its family");
            samples.push(line.rsplit_once(' ').unwrap().0);
        }
    }
    let all = samples.len();
    samples.sort_unstable();
    samples.dedup();
    assert_eq!((all, samples.len(), seen.len()), (18, 18, 10), "each sample once");
    let labels = r#"{experiment="nightly",machine="host",cell="read-4k-qd128-j1",metric="tps"}"#;
    for told in [format!("detectable_change{labels} +Inf"), format!("regression{labels} 1"), format!("ratio{labels} 1\n")] {
        assert!(text.contains(&told), "{told}: {text}");
    }
    assert!(text.contains("_night_started_seconds{experiment=\"nightly\",machine=\"host\"} 1767236400\n"), "{text}");
    let failed = file("metrics.prom", &NightRow { exit: 4, ..night }, &series);
    assert!(failed.contains(&format!("regression{labels} 0")), "no alert of what is not believed");
}

#[test]
fn junit_adds_up_and_fails_by_confirmed_regressions_alone() {
    let (night, mut series) = night();
    for (cell, finding) in [("b", Finding::Inconclusive), ("read-4k-qd128-j1", Finding::Unconfirmed), ("b", Finding::Improved)] {
        series.push(SeriesRow { cell: cell.into(), finding, ..SeriesRow::example() });
    }
    let report = Report::deserialize_from_str(&file("junit.xml", &night, &series)).unwrap();
    assert_eq!((report.tests, report.failures, report.errors, report.skipped), (5, 1, 0, 1));
    let suites: Vec<_> = report.test_suites.iter().map(|s| (s.name.as_str(), s.tests, s.failures, s.skipped)).collect();
    assert_eq!(suites, [("read-4k-qd128-j1", 3, 1, 0), ("b", 2, 0, 1)], "a suite for each cell");
    let case = &report.test_suites[0].test_cases[1];
    let TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, message: Some(message), .. } = &case.status else {
        panic!("{case:?}");
    };
    assert_eq!(
        message.as_str(),
        "read-4k-qd128-j1: tps lower by 5.0 % [-6.0, -4.0] (worse) than before, since 20260101T030000Z-host, confirmed by 48 rounds"
    );
    assert!(case.system_out.as_ref().unwrap().as_str().contains("48 rounds"));
    let TestCaseStatus::Skipped { message: Some(reason), .. } = &report.test_suites[1].test_cases[0].status else { panic!() };
    assert!(reason.as_str().contains("rounds lie so far apart"), "{}", reason.as_str());
}

#[test]
fn every_json_of_a_night_is_one_even_where_bounds_are_missing() {
    let (night, mut series) = night();
    (series[0].lo, series[0].hi) = (f64::NAN, f64::NAN);
    let read = |name: &str| serde_json::from_str::<Value>(&file(name, &night, &series)).unwrap();
    assert_eq!(read("night.json")["series"].as_array().unwrap().len(), 2);
    let bencher = read("bencher.json");
    for (name, measure) in bencher["read-4k-qd128-j1"].as_object().unwrap() {
        assert!(measure.as_object().unwrap().values().all(Value::is_number), "{name}: {measure}");
    }
    let github = read("github-action-benchmark.json");
    assert!(github[0].get("range").is_none() && github[1]["range"] == "99.01 to 101.01", "{github}");
}

#[test]
fn hosts_stand_side_by_side_with_what_is_open_old_and_not_believed() {
    let night = |machine: &str, day: u32, exit: u8, series_rows: u32| NightRow {
        night: format!("2026010{day}T030000Z-{machine}"),
        started_utc: format!("2026-01-0{day}T03:00:00Z"),
        machine: machine.into(),
        exit,
        series_rows,
        ..NightRow::example()
    };
    let row = |metric: &str, ratio: f64| SeriesRow {
        metric: metric.into(),
        ratio,
        lo: ratio - 0.01,
        hi: ratio + 0.01,
        ..SeriesRow::example()
    };
    let nights = [night("b", 1, 0, 2), night("a", 2, 1, 1), night("b", 3, 4, 1)];
    let regressed = SeriesRow { finding: Finding::Regressed, since: "20260102T030000Z-a".into(), ..row("iops", 0.95) };
    let series = [row("iops", 1.0), row("tps", 1.0), regressed, row("iops", 0.97)];
    assert_snapshot!(hosts::markdown(&nights, &series), @r"
    ## nightly

    | machine | nights | first | last | platform | processor | kernel | fingerprint | last night |
    |---|--:|---|---|---|---|---|---|---|
    | a | 1 | 2026-01-02T03:00:00Z | 2026-01-02T03:00:00Z | x86_64, Linux 6, loop | a processor | Linux 6.1.0 x86_64 | 00000000 | steady |
    | b | 2 | 2026-01-01T03:00:00Z | 2026-01-03T03:00:00Z | x86_64, Linux 6, loop | a processor | Linux 6.1.0 x86_64 | 00000000 | steady |

    | cell | metric | a | b |
    |---|---|---|---|
    | read-4k-qd128-j1 | iops | -5.00 % [-6.00, -4.00], 1 night **regressed since 20260102T030000Z-a** | -3.00 % [-4.00, -2.00], 2 nights, control failed: not believed |
    | read-4k-qd128-j1 | tps |  | +0.00 % [-1.00, +1.00], 1 night (not measured since 2026-01-01T03:00:00Z) |

    Candidate over reference in the newest night, with its interval; ratios may be compared between machines, absolute figures not.
    ");
}
