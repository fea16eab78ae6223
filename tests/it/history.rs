//! Runs of one experiment beside each other: which are found, what they tell, and that a chart comes of them.

use std::fs;
use std::path::Path;
use uring_ablate::analysis::contrast::Metric;
use uring_ablate::analysis::{Model, history};
use uring_ablate::report;

/// A copy of `tests/data/planted` as a run of `experiment`, started on a day of January, with its report.
fn run(home: &Path, name: &str, experiment: &str, day: u32, fingerprint: &str) {
    let dir = home.join(name);
    fs::create_dir(&dir).unwrap();
    for file in ["trials.csv", "arms.csv"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/planted").join(file), dir.join(file)).unwrap();
    }
    let manifest = serde_json::json!({
        "schema_version": 1,
        "run_id": format!("202601{day:02}T000000Z-vm"),
        "started_utc": format!("2026-01-{day:02}T00:00:00Z"),
        "command": "uring-ablate run test.toml",
        "environment": {
            "host": "vm", "kernel": "Linux", "cpu": "CPU", "cpus": 2, "memory_bytes": 1, "version": "0.1.0", "compiler": "rustc",
            "debug_build": false,
        },
        "target": { "description": "none", "span_bytes": 1, "logical_block_bytes": 512 },
        "experiment": { "name": experiment, "question": "?", "delta": 0.02, "alpha": 0.05, "stall": 0.02, "text": "" },
        "plan_hash": "00000000",
        "dropped": [],
        "unavailable": [],
        "fio": null,
        "circumstances": {
            "machine": {}, "targets": [], "load_before": {}, "load_after": {}, "fingerprint": fingerprint,
        },
    });
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    report::write(&dir, &dir.join("plots")).unwrap();
}

#[test]
fn runs_of_the_same_experiment_stand_in_order_of_their_time() {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), "a", "mine", 9, "first");
    run(home.path(), "b", "mine", 3, "second");
    run(home.path(), "c", "other", 5, "first");
    fs::create_dir(home.path().join("empty")).unwrap();
    let this = home.path().join("a");
    let model = Model::load(&this).unwrap();
    let found = history::load(&model, home.path());
    let told: Vec<_> = found.iter().map(|p| (p.run_id.as_str(), p.fingerprint.as_str())).collect();
    assert_eq!(told, [("20260103T000000Z-vm", "second"), ("20260109T000000Z-vm", "first")]);
    let totals: Vec<f64> = found.iter().map(|p| p.cells[0].total(Metric::Iops).unwrap().value).collect();
    assert!((totals[0] / totals[1] - 1.0).abs() < 1e-5, "the same rows give the same ratio, from its file or anew: {totals:?}");
    let alone = report::write(&this, &this.join("plots")).unwrap();
    assert!(
        alone.gallery.absent.iter().any(|(cell, kind, why)| cell.is_none() && *kind == "history" && why.contains("--history"))
    );
    let places = report::Places { results: &this, out: &this, plots: &this.join("plots"), history: Some(home.path()) };
    let beside = report::write_to(&places).unwrap();
    assert!(beside.gallery.pictures.iter().any(|p| p.kind == "history" && p.png.exists()));
}
