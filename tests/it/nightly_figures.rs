//! Which figure of a `[subject]` counts: one that can be read in one way only, or none.

use crate::support::{Bench, PRINTS, ablate, said, script};

/// A night of a reference and a candidate by what they run: its exit code, and all that it said.
fn night(metric: &str, reference: &str, candidate: &str) -> (Option<i32>, String) {
    let usual = r#"text = "tps = ([0-9.]+)""#;
    assert!(PRINTS.contains(usual));
    let bench = Bench::new(&PRINTS.replace(usual, metric));
    let program = |name, body| script(bench.dir.path(), name, body);
    let (reference, candidate) = (program("reference", reference), program("candidate", candidate));
    let mut command = ablate();
    command.arg("nightly").arg(&bench.file).arg("--history").arg(bench.dir.path().join("history"));
    let output = command.arg("--reference").arg(reference).arg("--candidate").arg(candidate).output().unwrap();
    (output.status.code(), said(&output))
}

/// Interval lines as sysbench prints them: the first is warming up, the last tells.
fn intervals(tps: u32) -> String {
    format!(
        "n=$((RANDOM % 10)); echo \"[ 1s ] thds: 4 tps: 31$n.01 qps: 6200.23\"; echo \"[ 2s ] thds: 4 tps: {tps}$n.51 qps: 9\""
    )
}

#[test]
fn of_several_lines_none_is_taken_unasked() {
    let pattern = r#"text = "tps: ([0-9.]+)""#;
    let (code, said) = night(pattern, &intervals(50), &intervals(30));
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(": /tps: ([0-9.]+)/ is found 2 times"), "{said}");
    assert!(said.contains("which = \"last\""), "the remedy: {said}");
    let last = format!("{pattern}, which = \"last\"");
    let (code, said) = night(&last, &intervals(50), &intervals(30));
    assert!(code == Some(1) && said.contains("REGRESSION"), "{said}");
    let (code, said) = night(&format!("{pattern}, which = \"second\""), &intervals(50), &intervals(30));
    assert!(code == Some(2) && said.contains("second"), "{said}");
}

#[test]
fn of_several_json_documents_none_is_taken_unasked() {
    let documents = |iops: u32| {
        format!("echo '{{\"iops\": 1}}'; echo '[ 2s ] half way'; echo \"{{\\\"iops\\\": $(({iops} + RANDOM % 50))}}\"")
    };
    let (code, said) = night(r#"json = "/iops""#, &documents(5000), &documents(3000));
    assert!(code == Some(3) && said.contains("\"/iops\" is found 2 times"), "{said}");
    let (code, said) = night(r#"json = "/iops", which = "last""#, &documents(5000), &documents(3000));
    assert!(code == Some(1) && said.contains("REGRESSION"), "{said}");
}

#[test]
fn what_is_no_whole_finite_number_is_no_figure() {
    let good = "echo \"tps = 100$((RANDOM % 10)).5 (x)\"";
    for (pattern, prints, why) in [
        (r"tps = (\\S+)", "tps = inf (x)", "is no number"),
        (r"tps = (\\S+)", "tps = nan (x)", "is no number"),
        (r"tps = ([0-9.]+)", "tps = 1,234.5 (x)", "is part of"),
        (r"tps = ([0-9.]+)", "tps = 1.00ms (x)", "another one"),
    ] {
        let (code, said) = night(&format!("text = \"{pattern}\""), good, &format!("echo '{prints}'"));
        assert!(code == Some(3) && said.contains(why) && said.contains("the candidate: "), "{prints}: {said}");
    }
}

#[test]
fn a_prefix_is_part_of_the_number() {
    let thousands = "n=$((RANDOM % 10)); echo \"tps = 1.00${n}k\"";
    let plain = "n=$((RANDOM % 10)); echo \"tps = 100${n}\"";
    let (code, said) = night(r#"text = "tps = ([0-9.]+)""#, thousands, plain);
    assert!(code == Some(0) && said.contains("No confirmed regression"), "{said}");
}

#[test]
fn a_figure_that_never_moves_is_remarked_upon() {
    let (code, said) = night(r#"text = "tps = ([0-9.]+)""#, "echo tps = 1234.5", "echo tps = 1234.5");
    assert!(said.contains("it is 1234.5 in every round of both programs"), "{code:?} {said}");
}
