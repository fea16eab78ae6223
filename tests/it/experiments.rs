//! Every experiment that comes with the tool runs, on real I/O, with what it calls its smoke values; some in the lab (lab.rs).

use crate::lab::IN_THE_LAB;
use crate::support::{self, ablate, skip};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn directory() -> PathBuf {
    support::home().join("experiments")
}

fn runs_and_reports(stem: &str) {
    if std::process::Command::new("fio").arg("--version").output().is_err() {
        skip(&format!("experiments::{stem}"), "fio is not installed");
        return;
    }
    let file = directory().join(stem).with_extension("toml");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = ablate().args(["--quiet", "run", "--smoke"]).arg(&file).arg("--out").arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(out.join("report.md")).unwrap();
    let claims = fs::read_to_string(&file).unwrap().matches("\n[[claim]]").count();
    assert!(claims == 0 || text.contains(&format!("\n{claims} claims: ")), "every claim is judged");
    for part in ["## The answer", "**Can this run be trusted?**", "## How to reproduce"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(out.join("report.html").exists());
}

/// A test for each experiment that any machine can do, and one that none is missing.
macro_rules! experiments {
    ($($name:ident: $stem:literal,)*) => {
        $(#[test]
        fn $name() {
            runs_and_reports($stem);
        })*

        #[test]
        fn none_is_missing() {
            let names = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
            let found: BTreeSet<String> = fs::read_dir(directory()).unwrap().map(|e| names(e.unwrap().path())).collect();
            assert_eq!(found, [$($stem),*].into_iter().chain(IN_THE_LAB).map(String::from).collect());
        }
    };
}

experiments! {
    aa: "aa",
    engine: "engine",
    factorial: "factorial",
    future_work: "future-work",
    large_blocks: "large-blocks",
    latency: "latency",
    matrix: "matrix",
    modern_ring: "modern-ring",
    nightly: "nightly",
    quick: "quick",
    registered_buffers: "registered-buffers",
    seed_engine: "seed-engine",
    seed_table: "seed-table",
}
