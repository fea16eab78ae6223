//! Files that this program wrote, on a good day: experiments, runs, histories, searches.

use super::{fuzz, fuzz_files};
use serde::{Serialize, de::DeserializeOwned};
use std::fs;
use std::path::Path;
use uring_ablate::analysis::Model;
use uring_ablate::bisect::state::{State, StepRow, Task};
use uring_ablate::nightly::row::{NightRow, SeriesRow};
use uring_ablate::nightly::store::History;
use uring_ablate::perf::Limits;
use uring_ablate::plan::{self, Place};
use uring_ablate::row::{JournalRow, TrialRow};
use uring_ablate::run::manifest::Manifest;
use uring_ablate::run::store::{self, PlannedRound, Store};
use uring_ablate::toggle::Setting;
use uring_ablate::{durable, experiment, report};

const RUN: [&str; 7] = ["arms.csv", "trials.csv", "rounds.csv", "plan.csv", "overhead.csv", "manifest.json", "latency.hlog"];

#[test]
fn experiments() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let setting = Setting::default();
    let place = Place { setting: &setting, obstacle: &|_, _, _| None, limits: Limits::default(), learnt: None };
    fuzz("experiment", &texts.iter().map(Vec::as_slice).collect::<Vec<_>>(), |input| {
        let text = super::text(input);
        let file = Path::new("test.toml");
        let changed = experiment::overridden(file, &text, &["design.rounds=12".into()]);
        if let Err(error) = &changed {
            assert!(!error.to_string().is_empty());
        }
        for experiment in [experiment::parse(file, &text), changed].into_iter().flatten() {
            let _ = plan::make(&experiment, &place);
        }
    });
}

#[test]
fn results_as_a_report_reads_them() {
    fuzz_files("results", "run", &RUN, |dir| {
        let Ok(model) = Model::load(dir) else { return };
        for recorded in &model.latency {
            let _ = recorded.histogram();
        }
    });
}

#[test]
fn results_as_a_report_draws_them() {
    fuzz_files("report", "run", &["arms.csv", "trials.csv", "manifest.json"], |dir| {
        if report::write(dir, &dir.join("plots")).is_ok() {
            assert!(dir.join("report.md").exists() && dir.join("effects.csv").exists());
        }
    });
}

#[test]
fn results_as_a_run_goes_on_with_them() {
    fuzz_files("resume", "run", &RUN, |dir| {
        let journal = fs::read(dir.join("rounds.csv")).unwrap();
        match Store::resume(dir, |_: &Manifest| Ok::<(), store::Error>(())) {
            Ok((store, _)) => {
                let _ = (store.read_plan(), store.read_manifest::<Manifest>());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        let left = fs::read(dir.join("rounds.csv")).unwrap();
        let whole = journal.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        assert!(left.starts_with(&journal[..whole]), "no whole line of the journal is lost");
    });
}

#[test]
fn histories() {
    fuzz_files("history", "history", &["nights.csv", "series.csv"], |dir| {
        let read = History::read(dir);
        if let Ok(history) = &read {
            assert!(history.nights().count() <= 3, "no night more than there were");
        }
        let nights = fs::read(dir.join("nights.csv")).unwrap();
        let opened = History::open(dir);
        assert!(opened.is_err() || read.is_ok(), "what is damaged is not added to: {read:?}");
        if opened.is_err() {
            assert!(fs::read(dir.join("nights.csv")).unwrap() == nights, "what is refused stays as it is");
        }
    });
}

#[test]
fn states_of_a_search() {
    let text = fs::read_to_string(super::corpus().join("bisect/task.json")).unwrap();
    let task: Task = serde_json::from_value(serde_json::from_str::<serde_json::Value>(&text).unwrap()["task"].clone()).unwrap();
    fuzz_files("bisect", "bisect", &["task.json", "steps.csv"], |dir| {
        if let Ok(state) = State::open(dir, &task) {
            assert!(state.verdicts().count() <= 9, "no verdict more than there were lines");
        }
    });
}

/// What can be read and written is read back as it was.
fn comes_back<T: Serialize + DeserializeOwned>(kind: &str, file: &str) {
    let seed = fs::read(super::corpus().join(kind).join(file)).unwrap();
    fuzz(&format!("back-{file}"), &[&seed], |input| {
        let Ok(rows) = durable::parse::<T>(&super::text(input)) else { return };
        // As text, for a number may be none.
        let written = durable::with_header(&rows);
        let again = durable::parse::<T>(&written).unwrap_or_else(|e| panic!("{e}: {written}"));
        assert_eq!(durable::with_header(&again), written);
    });
}

#[test]
fn trials_come_back() {
    comes_back::<TrialRow>("run", "trials.csv");
}

#[test]
fn rounds_come_back() {
    comes_back::<JournalRow>("run", "rounds.csv");
}

#[test]
fn plans_come_back() {
    comes_back::<PlannedRound>("run", "plan.csv");
}

#[test]
fn nights_come_back() {
    comes_back::<NightRow>("history", "nights.csv");
}

#[test]
fn series_come_back() {
    comes_back::<SeriesRow>("history", "series.csv");
}

#[test]
fn steps_come_back() {
    comes_back::<StepRow>("bisect", "steps.csv");
}

fn manifest_comes_back(input: &[u8]) {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(input) else { return };
    let written = serde_json::to_string(&manifest).unwrap();
    let again: Manifest = serde_json::from_str(&written).unwrap_or_else(|e| panic!("{e}: {written}"));
    assert_eq!(serde_json::to_string(&again).unwrap(), written);
}

#[test]
fn manifests_come_back() {
    let seed = fs::read(super::corpus().join("run/manifest.json")).unwrap();
    fuzz("back-manifest", &[&seed], manifest_comes_back);
}

/// Found by fuzzing: read by a short cut it was another number.
#[test]
fn a_number_of_sixteen_digits_comes_back() {
    let seed = fs::read_to_string(super::corpus().join("run/manifest.json")).unwrap();
    let (before, rest) = seed.split_once("\"spin\":").unwrap();
    let after = &rest[rest.find(',').unwrap()..];
    let input = format!("{before}\"spin\":0.09223372036854777{after}");
    assert!(serde_json::from_str::<Manifest>(&input).is_ok());
    manifest_comes_back(input.as_bytes());
}
