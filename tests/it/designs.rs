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
fn a_design_says_how_many_toggles_it_takes() {
    for (kind, toggles, said) in [
        ("fraction", "[\"fixed_buffers\", \"fixed_files\"]", "kind = \"fraction\" takes 5 to 8 toggles; 2 are listed"),
        ("screening", FIVE, "kind = \"screening\" takes 6 to 11 toggles; 5 are listed"),
        ("sweep", "[\"batch_submit\"]", "kind = \"sweep\" and levels go together"),
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
