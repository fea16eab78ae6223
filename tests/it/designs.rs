//! Designs and stopping rules from the experiment file to the report, on real I/O.

use crate::support::{Bench, READS, SMALL_TARGET, ablate, experiment, rows};
use std::collections::BTreeSet;

/// A short run of a design; `more` belongs to `[design]`.
fn bench(kind: &str, toggles: &str, more: &str) -> Bench {
    let text = experiment(SMALL_TARGET, READS, &format!("toggles = {toggles}\n{more}"), "[fixed]\nqueue_refill = \"eager\"");
    Bench::new(&text.replace("leave-one-out", kind).replace("rounds = 6\n", "rounds = 12\n"))
}

const FIVE: &str = "[\"fixed_buffers\", \"fixed_files\", \"batch_submit\", \"latency_sampling\", \"pow2_mask\"]";

fn report(bench: &Bench) -> String {
    let output = bench.run(&["--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    std::fs::read_to_string(bench.out().join("report.md")).unwrap()
}

fn toggles_of(bench: &Bench, kind: &str) -> BTreeSet<String> {
    let effects = rows(&bench.out().join("effects.csv"));
    effects.into_iter().filter(|e| e["kind"] == kind && e["metric"] == "iops").map(|e| e["toggle"].clone()).collect()
}

#[test]
fn a_fraction_tells_main_effects_and_pairs() {
    let bench = bench("fraction", FIVE, "");
    let text = report(&bench);
    assert_eq!((toggles_of(&bench, "main").len(), toggles_of(&bench, "interaction").len()), (5, 10));
    assert!(text.contains("A fraction of the combinations was measured") && !text.contains("cannot tell these apart"), "{text}");
}

#[test]
fn screening_names_what_it_cannot_tell_apart() {
    let seven = FIVE.replace(']', ", \"stats_batching\", \"time_check_interval\"]");
    let bench = bench("screening", &seven, "");
    let plan = ablate().arg("plan").arg(&bench.file).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("  alias: batch_submit x fixed_buffers = "), "{plan}");
    assert!(plan.contains("time: about ") && plan.contains("detectable effect: not known"), "{plan}");
    let text = report(&bench);
    assert_eq!((toggles_of(&bench, "main").len(), toggles_of(&bench, "interaction").len()), (7, 0));
    assert!(text.contains("- batch_submit x fixed_buffers: shares its estimate with "), "{text}");
}

#[test]
fn a_toggle_beside_full_is_moved_alone_and_sqpoll_in_rounds_of_its_own() {
    let bench = bench("leave-one-out", "[\"batch_submit\"]", "beside = [\"sqpoll\", \"queue_refill\"]");
    report(&bench);
    let expected = ["batch_submit", "queue_refill", "sqpoll"].map(String::from);
    assert_eq!(toggles_of(&bench, "leave-one-out"), BTreeSet::from(expected));
    let arms = rows(&bench.out().join("arms.csv"));
    let level = |treatment: &str, toggle: &str| arms.iter().find(|a| a["treatment"] == treatment).unwrap()[toggle].clone();
    assert_eq!((level("with:sqpoll", "eff_sqpoll"), level("full", "eff_sqpoll")), ("on".into(), "off".into()));
    let refill = "eff_queue_refill";
    assert_eq!((level("without:queue_refill", refill), level("full", refill)), ("threshold".into(), "eager".into()));
    let polled: BTreeSet<&str> = arms.iter().filter(|a| a["treatment"] == "with:sqpoll").map(|a| a["round"].as_str()).collect();
    let beside: BTreeSet<&str> = arms.iter().filter(|a| polled.contains(&*a["round"])).map(|a| &*a["treatment"]).collect();
    assert_eq!(beside, BTreeSet::from(["full", "with:sqpoll"]), "nothing else shares a process with the kernel thread");
}

#[test]
fn a_sweep_compares_levels_with_full() {
    let bench = bench("sweep", "[\"batch_submit\"]", "levels = { batch_submit = [1, 4, 16] }");
    report(&bench);
    let levels = ["batch_submit=1", "batch_submit=16"].map(String::from);
    assert_eq!(toggles_of(&bench, "sweep"), BTreeSet::from(levels), "4 is what full has");
    let arms = rows(&bench.out().join("arms.csv"));
    let of = |level: &str| arms.iter().find(|a| a["treatment"] == format!("level:batch_submit={level}")).unwrap();
    assert_eq!((of("16")["eff_batch_submit"].as_str(), of("1")["eff_batch_submit"].as_str()), ("16", "1"));
}

#[test]
fn a_run_ends_when_its_intervals_are_narrow_enough() {
    // Any interval is this narrow, so the run ends at its first look.
    let bench = bench("add-one-in", "[\"batch_submit\"]", "target_half_width = \"99%\"");
    let text = std::fs::read_to_string(&bench.file).unwrap().replace("rounds = 12", "rounds = 20");
    std::fs::write(&bench.file, text).unwrap();
    let text = report(&bench);
    assert_eq!(rows(&bench.out().join("rounds.csv")).len(), 12);
    assert!(text.contains("Ended early, as [design] target_half_width or budget asks: after 12 rounds"), "{text}");
    let effect = rows(&bench.out().join("effects.csv")).into_iter().find(|e| e["kind"] == "add-one-in").unwrap();
    assert!(effect["confidence"].parse::<f64>().unwrap() >= 0.96, "looking costs coverage, so intervals are wider");
    let again = bench.run(&["--quiet", "--resume"]);
    assert_eq!(again.status.code(), Some(0), "{}", bench.verdict(&again));
    assert_eq!(rows(&bench.out().join("rounds.csv")).len(), 12, "what has ended is not continued");
}

#[test]
fn both_ladders_stand_side_by_side() {
    let bench = bench("ladder\", \"ladder-reverse", "[\"fixed_files\", \"batch_submit\", \"stats_batching\"]", "");
    let text = report(&bench);
    assert_eq!(toggles_of(&bench, "ladder"), ["batch_submit", "fixed_files", "last step"].map(String::from).into());
    assert_eq!(toggles_of(&bench, "ladder-reverse"), ["batch_submit", "last step", "stats_batching"].map(String::from).into());
    let table = text.split("| toggle | in order | in reverse order |").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take(3).collect();
    assert!(
        ["fixed_files", "batch_submit", "stats_batching"]
            .iter()
            .zip(&rows)
            .all(|(toggle, row)| { row.starts_with(&format!("| {toggle} | ")) && row.matches('[').count() == 2 }),
        "{rows:?}"
    );
}

#[test]
fn what_is_spelt_out_is_compared_with_baseline() {
    let levels = "[design.treatments]\nlarge = { batch_submit = 16, fixed_files = \"on\" }";
    let bench = bench("explicit", "[\"batch_submit\"]", levels);
    let text = report(&bench);
    assert!(text.contains("| large | explicit | "), "{text}");
    let arm = rows(&bench.out().join("arms.csv")).into_iter().find(|a| a["treatment"] == "explicit:large").unwrap();
    assert_eq!((arm["eff_batch_submit"].as_str(), arm["eff_fixed_files"].as_str()), ("16", "on"));
    let effect = rows(&bench.out().join("effects.csv")).into_iter().find(|e| e["kind"] == "explicit").unwrap();
    assert!(effect["reference"] == "baseline" && !effect["p_adjusted"].is_empty(), "{effect:?}");
}

#[test]
fn the_controls_can_stand_alone() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, "toggles = []", "").replace("[\"leave-one-out\"]", "[]"));
    report(&bench);
    let treatments: BTreeSet<String> = rows(&bench.out().join("arms.csv")).into_iter().map(|a| a["treatment"].clone()).collect();
    assert_eq!(treatments, ["full", "placebo", "spin", "stall"].map(String::from).into());
}

#[test]
fn a_budget_is_spent_where_intervals_are_widest() {
    let text = experiment(SMALL_TARGET, READS, "toggles = [\"batch_submit\"]", "").replace("rounds = 6\n", "");
    let bench = Bench::new(&text.replace("bs = \"4k\"", "bs = [\"4k\", \"16k\"]"));
    let short = bench.run(&["--quiet", "--budget", "2s"]);
    let error = String::from_utf8_lossy(&short.stderr);
    assert_eq!(short.status.code(), Some(2), "{error}");
    assert!(
        error.contains("[design] budget = 2s is too short: the first 12 rounds of each cell take about 14s together"),
        "{error}"
    );
    let output = bench.run(&["--quiet", "--budget", "16s"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    let rounds = rows(&bench.out().join("rounds.csv"));
    let of = |cell: &str| rounds.iter().filter(|r| r["cell"] == cell).count();
    let (small, large) = (of("read-4k-qd16-j1"), of("read-16k-qd16-j1"));
    assert!(small >= 12 && large >= 12 && (small - 12) % 4 == 0 && (large - 12) % 4 == 0, "{small} and {large} rounds");
    let spent: f64 = rounds.iter().map(|r| r["wall_s"].parse::<f64>().unwrap()).sum();
    assert!(small + large > 24, "the first rounds took {spent} s of 16 s");
    let report = std::fs::read_to_string(bench.out().join("report.md")).unwrap();
    assert!(report.contains("would overrun the budget of 16 s"), "{report}");
    let effect = rows(&bench.out().join("effects.csv")).into_iter().find(|e| e["kind"] == "leave-one-out").unwrap();
    assert!(effect["confidence"].parse::<f64>().unwrap() >= 0.96, "looking costs coverage, so intervals are wider");
}

#[test]
fn earlier_rounds_in_the_same_place_choose_how_many_there_are() {
    let text = experiment(SMALL_TARGET, READS, "toggles = [\"batch_submit\"]", "").replace("rounds = 6\n", "");
    let bench = Bench::new(&text);
    let at_home = |verb: &str| ablate().current_dir(bench.dir.path()).arg(verb).arg(&bench.file).output().unwrap();
    let plan = || String::from_utf8(at_home("plan").stdout).unwrap();
    assert!(plan().contains("detectable effect: not known until runs of this plan with 12 rounds"), "{}", plan());
    let run = at_home("run");
    assert_eq!(run.status.code(), Some(0), "{}", bench.verdict(&run));
    let text = plan();
    assert!(text.contains("rounds: ") && text.contains(" from the spread of earlier ones, for effects of 2 %"), "{text}");
    assert!(text.contains("(12 earlier rounds in 1 runs)"), "{text}");
    let other = std::fs::read_to_string(&bench.file).unwrap().replace("250ms", "300ms");
    std::fs::write(&bench.file, other).unwrap();
    assert!(plan().contains("detectable effect: not known"), "rounds of another length tell nothing");
}

#[test]
fn schemes_are_compared_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = ablate();
    command.args(["selftest", "--schemes", "1200ms", "--quiet", "--set", "target.size=16MiB", "--out"]).arg(dir.path());
    let output = command.output().unwrap();
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}{error}");
    let found = rows(&dir.path().join("schemes.csv"));
    for scheme in ["a process per trial of 100ms", "slices of 20ms in one process", "slices of 5ms in one process"] {
        let row = found.iter().find(|r| r["scheme"] == scheme).unwrap_or_else(|| panic!("{scheme} is missing: {text}{error}"));
        let number = |column: &str| row[column].parse::<f64>().unwrap();
        assert!(number("lo") < number("hi") && number("half_width") > 0.0 && text.contains(scheme), "{row:?}");
    }
    assert!(error.contains("fio, then fio: runs of 5s: left out: "), "what a time is too short for is said: {error}");
    assert!(dir.path().join("schemes.png").exists() && dir.path().join("schemes.svg").exists());
}

#[test]
fn a_design_says_how_many_toggles_it_takes() {
    for (kind, toggles, said) in [
        ("fraction", "[\"fixed_buffers\", \"fixed_files\"]", "kind = \"fraction\" takes 5 to 8 toggles; 2 are listed"),
        ("screening", FIVE, "kind = \"screening\" takes 6 to 11 toggles; 5 are listed"),
        ("sweep", "[\"batch_submit\"]", "kind = \"sweep\" and levels go together"),
        ("explicit", "[\"batch_submit\"]", "kind = \"explicit\" and treatments go together"),
        ("factorial\", \"screening", FIVE, "\"factorial\" and \"screening\" are each analysed as a whole; keep one"),
        ("add-one-in", "[]", "must each name at least one, or both none for the controls alone"),
    ] {
        let output = bench(kind, toggles, "").run(&["--quiet"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn the_selftest_shows_its_checks_and_fails_with_its_own_exit_code() {
    let synthetic = ablate().args(["selftest", "--synthetic"]).output().unwrap();
    let text = String::from_utf8(synthetic.stdout).unwrap();
    assert_eq!(synthetic.status.code(), Some(0), "{text}");
    assert!(text.contains("identical arms called different") && text.contains("selftest passed"), "{text}");
    // No interval lies within a margin of a millionth.
    let overrides =
        ["design.rounds=6", "design.round_time=100ms", "analysis.delta=0.0001%", "target.kind=auto", "target.size=16MiB"];
    let mut command = ablate();
    command.args(["selftest", "--quiet"]);
    overrides.iter().for_each(|o| _ = command.args(["--set", o]));
    let failed = command.output().unwrap();
    let (text, error) = (String::from_utf8_lossy(&failed.stdout), String::from_utf8_lossy(&failed.stderr));
    assert_eq!(failed.status.code(), Some(4), "{text}{error}");
    assert!(text.contains("FAILS") && error.contains("do not trust figures from here"), "{text}{error}");
}
