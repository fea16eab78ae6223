//! Runs that are finished: those that come with the repository, and what tests change of them.

use super::{ablate, must};
use serde_json::Value;
use std::fs;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::process::Output;
use uring_ablate::run::round::Spec;

/// The repository.
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Two runs of one experiment and one of another, by their names below `results/`.
pub const QUICK: &str = "quick/20261125T045913Z-vm";
pub const QUICK_AGAIN: &str = "quick/20261125T050059Z-vm";
pub const QUICK_DISK: &str = "quick-disk/20261125T051314Z-vm";

/// A committed run by its name below `results/`.
pub fn committed(name: &str) -> PathBuf {
    home().join("results").join(name)
}

/// A copy of what was measured in a committed run, without the files that a report makes of it.
pub fn committed_run(name: &str, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(committed(name)).unwrap().map(Result::unwrap) {
        let made = ["effects.csv", "report.md", "report.html"].iter().any(|made| entry.file_name() == *made);
        if entry.path().is_file() && !made {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    to.to_path_buf()
}

/// Changes the manifest of a run.
pub fn edit_manifest(run: &Path, change: impl FnOnce(&mut Value)) {
    let file = run.join("manifest.json");
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_string()).unwrap();
}

/// A copy of a directory with all that is in it, under a name that nothing has.
pub fn copy_tree(from: &Path, to: &Path) {
    must("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

/// The process of one round, as the runner starts it.
pub fn round_process(spec: &Spec) -> Output {
    let mut input = tempfile::tempfile().unwrap();
    serde_json::to_writer(&input, spec).unwrap();
    input.rewind().unwrap();
    ablate().arg("round").stdin(input).output().unwrap()
}
