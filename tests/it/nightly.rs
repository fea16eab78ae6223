//! Nights from the command line: what a reader and a scheduler are told, and what a history survives.

use crate::support::{self, Bench, ONE_TOGGLE, PRINTS as COMMAND, SMALL_TARGET, ablate, experiment, root, rows, said, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

struct Nights {
    bench: Bench,
}

impl Nights {
    fn new(experiment: &str) -> Nights {
        Nights { bench: Bench::new(experiment) }
    }

    fn history(&self) -> PathBuf {
        self.bench.dir.path().join("history")
    }

    /// A program that prints about so many transactions a second.
    fn program(&self, name: &str, tps: u32) -> PathBuf {
        support::program(self.bench.dir.path(), name, tps)
    }

    fn script(&self, name: &str, body: &str) -> PathBuf {
        support::script(self.bench.dir.path(), name, body)
    }

    fn command(&self, reference: &Path, candidate: &Path) -> Command {
        let mut command = ablate();
        command.arg("nightly").arg(&self.bench.file).arg("--history").arg(self.history());
        command.arg("--reference").arg(reference).arg("--candidate").arg(candidate);
        command
    }

    fn night(&self, reference: &Path, candidate: &Path) -> Output {
        self.command(reference, candidate).output().unwrap()
    }

    fn verify(&self) -> Output {
        ablate().args(["history", "verify"]).arg(self.history()).output().unwrap()
    }

    fn series(&self) -> Vec<std::collections::HashMap<String, String>> {
        rows(&self.history().join("series.csv"))
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {output:?}"))
}

#[test]
fn a_slower_candidate_exits_1_and_names_metric_size_interval_and_since_when() {
    let nights = Nights::new(COMMAND);
    let (good, bad) = (nights.program("good", 100_000), nights.program("bad", 94_500));
    assert_eq!(code(&nights.night(&good, &good)), 0);
    let output = nights.night(&good, &bad);
    assert_eq!(code(&output), 1, "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let first = nights.series()[1]["night"].clone();
    assert!(
        text.contains("REGRESSION") && text.contains("tps lower by 5.") && text.contains(&format!("since {first}")),
        "{text}"
    );
    // It goes on until it is mended, and still says since when.
    let again = nights.night(&good, &bad);
    assert!(code(&again) == 1 && said(&again).contains(&format!("since {first}")), "{}", said(&again));
    assert_eq!(code(&nights.night(&good, &good)), 0, "mended");
    let findings: Vec<String> = nights.series().iter().map(|row| row["finding"].clone()).collect();
    assert_eq!(findings, ["steady", "regressed", "regressed", "unconfirmed"]);
    let dir = nights.history().join(&first);
    for file in
        ["summary.md", "night.json", "junit.xml", "bencher.json", "github-action-benchmark.json", "metrics.prom", "rounds.csv"]
    {
        assert!(fs::metadata(dir.join(file)).unwrap().len() > 0, "{file}");
    }
    assert!(fs::read_to_string(dir.join("junit.xml")).unwrap().contains("<failure"));
    assert!(nights.history().join("plots").read_dir().unwrap().count() >= 2, "a chart as SVG and PNG");
}

#[test]
fn an_improvement_begins_a_segment_whose_loss_is_a_regression() {
    let nights = Nights::new(COMMAND);
    let (old, new) = (nights.program("old", 100_000), nights.program("new", 110_000));
    let codes = [(&old, &old), (&old, &new), (&old, &new), (&old, &old)].map(|(a, b)| code(&nights.night(a, b)));
    assert_eq!(codes, [0, 0, 0, 1], "{:?}", nights.series());
    let series = nights.series();
    assert_eq!(series[1]["finding"], "improved");
    assert!(series[2]["segment_began"].starts_with("improved by "), "{:?}", series[2]);
    assert_eq!((series[1]["segment"].as_str(), series[2]["segment"].as_str()), ("1", "2"));
}

#[test]
fn another_reference_begins_a_segment_and_says_so() {
    let nights = Nights::new(COMMAND);
    let (old, new) = (nights.program("old", 100_000), nights.program("new", 90_000));
    assert_eq!(code(&nights.night(&old, &old)), 0);
    assert_eq!(code(&nights.night(&new, &new)), 0, "slower, and so is what it is measured by");
    assert!(nights.series()[1]["segment_began"].starts_with("reference: "));
}

#[test]
fn a_night_that_is_killed_at_any_moment_leaves_a_history_that_verifies() {
    let nights = Nights::new(COMMAND);
    let good = nights.program("good", 100_000);
    assert_eq!(code(&nights.night(&good, &good)), 0);
    let whole = std::time::Instant::now();
    assert_eq!(code(&nights.night(&good, &good)), 0);
    let whole = whole.elapsed();
    for part in 1..=24 {
        let mut child =
            nights.command(&good, &good).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * part / 20);
        let _ = child.kill();
        child.wait().unwrap();
        let verdict = nights.verify();
        assert_eq!(code(&verdict), 0, "killed after {part}/20 of a night: {}", said(&verdict));
    }
    assert_eq!(code(&nights.night(&good, &good)), 0, "and the next night goes on");
    assert!(rows(&nights.history().join("nights.csv")).len() >= 3);
}

#[test]
fn one_night_at_a_time() {
    let nights = Nights::new(COMMAND);
    let slow = nights.script("slow", "sleep 0.2; echo tps = 1");
    let mut first = nights.command(&slow, &slow).stderr(std::process::Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !nights.history().join("nights.csv").exists() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = nights.night(&slow, &slow);
    let _ = first.kill();
    first.wait().unwrap();
    assert!(code(&second) == 2 && said(&second).contains("in use by another night"), "{}", said(&second));
}

#[test]
fn a_full_disk_loses_no_earlier_night() {
    if !root() {
        return skip("a_full_disk_loses_no_earlier_night", "mounting a small file system needs root");
    }
    let nights = Nights::new(COMMAND);
    let good = nights.program("good", 100_000);
    fs::create_dir(nights.history()).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(nights.history()).status().unwrap();
    if !mounted.success() {
        return skip("a_full_disk_loses_no_earlier_night", "mount refused");
    }
    let first = nights.night(&good, &good);
    let filler = nights.history().join("filler");
    let filled = Command::new("dd").args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", filler.display())).output().unwrap();
    let full = nights.night(&good, &good);
    let verdict = nights.verify();
    fs::remove_file(&filler).unwrap();
    let last = nights.night(&good, &good);
    let told = rows(&nights.history().join("nights.csv")).len();
    Command::new("umount").arg(nights.history()).status().unwrap();
    assert!(!filled.status.success() && code(&first) == 0, "{}", said(&first));
    assert!(code(&full) == 2 && said(&full).contains("No space left") && said(&full).contains("make room"), "{}", said(&full));
    assert_eq!((code(&verdict), code(&last), told), (0, 0, 2), "{}", said(&verdict));
}

#[test]
fn damage_is_found_and_named() {
    let nights = Nights::new(COMMAND);
    let good = nights.program("good", 100_000);
    assert_eq!(code(&nights.night(&good, &good)), 0);
    let path = nights.history().join("series.csv");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("steady", "Steady", 1)).unwrap();
    let verdict = nights.verify();
    assert!(code(&verdict) == 2 && said(&verdict).contains("series.csv is damaged"), "{}", said(&verdict));
    assert_eq!(code(&nights.night(&good, &good)), 2, "nothing is added to it");
}

#[test]
fn what_cannot_be_measured_says_why() {
    let nights = Nights::new(COMMAND);
    let good = nights.program("good", 100_000);
    let cases = [
        (nights.script("dumb", "echo no figure"), 3, "nothing matches"),
        (nights.script("dead", "echo it broke >&2; exit 7"), 3, "it broke"),
        (nights.script("null", "echo tps = 0"), 3, "of which no ratio can be taken"),
    ];
    for (candidate, exit, reason) in cases {
        let output = nights.night(&good, &candidate);
        assert!(
            code(&output) == exit && said(&output).contains(reason) && said(&output).contains("candidate"),
            "{}",
            said(&output)
        );
    }
    let missing = nights.night(&good, Path::new("/nonexistent"));
    assert!(code(&missing) == 2 && said(&missing).contains("--candidate /nonexistent"), "{}", said(&missing));
    assert_eq!(code(&nights.verify()), 0, "none of them counts");
}

#[test]
fn histories_of_two_machines_merge_and_stand_side_by_side() {
    let (a, b) = (Nights::new(COMMAND), Nights::new(COMMAND));
    let good = a.program("good", 100_000);
    for (nights, machine) in [(&a, "alpha"), (&b, "beta")] {
        let output = nights.command(&good, &good).args(["--machine", machine]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", said(&output));
    }
    let into = a.bench.dir.path().join("all");
    for added in ["2 nights added", "0 nights added"] {
        let output = ablate().args(["history", "merge", "--into"]).arg(&into).args([a.history(), b.history()]).output().unwrap();
        assert!(code(&output) == 0 && said(&output).contains(added), "{}", said(&output));
    }
    let shown = ablate().args(["history", "show"]).arg(&into).output().unwrap();
    assert!(said(&shown).contains("| cell | metric | alpha | beta |"), "{}", said(&shown));
    let exported = ablate().args(["history", "export"]).arg(&into).output().unwrap();
    assert!(code(&exported) == 0 && into.join("parquet/series.parquet").exists(), "{}", said(&exported));
}

#[test]
fn a_pull_request_needs_no_history() {
    let nights = Nights::new(COMMAND);
    let (base, head) = (nights.program("base", 100_000), nights.program("head", 95_000));
    let out = nights.bench.dir.path().join("pull-request");
    let mut command = ablate();
    command.arg("nightly").arg(&nights.bench.file).args(["--pull-request", "--json", "--out"]).arg(&out);
    let output = command.arg("--reference").arg(&base).arg("--candidate").arg(&head).output().unwrap();
    let night: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), night["series"][0]["finding"].as_str()), (1, Some("regressed")), "{}", said(&output));
    assert!(out.join("summary.md").exists() && !nights.history().exists());
}

#[test]
fn the_engine_beside_itself_is_measured_for_real() {
    let experiment = "name = \"test\"\nquestion = \"?\"\n[target]\nkind = \"auto\"\nsize = \"64MiB\"\n[workload]\nrw = \"read\"\nbs = \"4k\"\n\
                      iodepth = 32\n[design]\nkind = []\ntoggles = []\nrounds = 12\n[fixed]\nbatch_submit = 4\nqueue_refill = \"eager\"\n\
                      [peers]\nround_time = \"100ms\"\n";
    let nights = Nights::new(experiment);
    for _ in 0..2 {
        let output = ablate().arg("nightly").arg(&nights.bench.file).arg("--history").arg(nights.history()).output().unwrap();
        // Such short rounds are inconclusive; a finding between copies of one program would be none.
        assert!([0, 3].contains(&code(&output)), "{}", said(&output));
    }
    let series = nights.series();
    assert_eq!(series.len(), 4, "two metrics in two nights");
    let figure = |row: &std::collections::HashMap<String, String>, key: &str| row[key].parse::<f64>().unwrap();
    for row in &series {
        assert!((0.3..3.0).contains(&figure(row, "ratio")) && figure(row, "reference_value") > 0.0, "{row:?}");
        assert_eq!(row["rounds"], "12");
    }
    assert!(nights.history().join("reference/uring-ablate").exists(), "the first night pins its reference");
    assert_eq!(code(&nights.verify()), 0);
}

#[test]
fn a_night_through_the_page_cache_is_refused() {
    let engine =
        experiment(SMALL_TARGET, "rw = \"read\"\nbs = \"4k\"\niodepth = 8\ndirect = false\ncache = \"hit\"", ONE_TOGGLE, "");
    let nights = Nights::new(&engine);
    let output = ablate().arg("nightly").arg(&nights.bench.file).arg("--history").arg(nights.history()).output().unwrap();
    assert!(
        code(&output) == 2 && said(&output).contains("direct = false. A night counts what devices move"),
        "{}",
        said(&output)
    );
}
