//! Every experiment that comes with the tool runs, on real I/O, with what it calls its smoke values.

use crate::support::{ablate, skip};
use std::fs;
use std::path::{Path, PathBuf};

fn all() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_experiment_runs_and_reports() {
    if std::process::Command::new("fio").arg("--version").output().is_err() {
        skip("every_experiment_runs_and_reports", "fio is not installed");
        return;
    }
    for file in all() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let output = ablate().args(["--quiet", "run", "--smoke"]).arg(&file).arg("--out").arg(&out).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", file.display());
        let text = fs::read_to_string(out.join("report.md")).unwrap();
        let claims = fs::read_to_string(&file).unwrap().matches("\n[[claim]]").count();
        assert!(claims == 0 || text.contains(&format!("\n{claims} claims: ")), "{}: every claim is judged", file.display());
        for part in ["## The answer", "## Can this run be trusted?", "## How to reproduce"] {
            assert!(text.contains(part), "{}: {part}", file.display());
        }
        assert!(out.join("report.html").exists(), "{}", file.display());
    }
}
