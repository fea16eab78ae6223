//! What the tests share: the binary, small experiments, skips that are seen, programs and devices of the system, and finished runs.

mod commands;
mod runs;
mod system;

pub use commands::*;
pub use runs::*;
pub use system::*;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary under test.
pub fn ablate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_uring-ablate"))
}

/// Runs the binary as an ordinary user whose locked memory is limited to 8 MiB.
pub fn as_nobody(args: &[&str]) -> Output {
    let exe = env!("CARGO_BIN_EXE_uring-ablate");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", "--memlock=8388608:8388608", exe]);
    command.args(args).output().unwrap()
}

/// A small experiment: one toggle, six short rounds, no peers. `extra` is appended.
pub fn experiment(target: &str, workload: &str, design: &str, extra: &str) -> String {
    format!(
        "name = \"test\"\nquestion = \"Does it work?\"\n[target]\n{target}\n[workload]\n{workload}\n[design]\nkind = [\"leave-one-out\"]\n\
         rounds = 6\nround_time = \"250ms\"\n{design}\n{extra}\n"
    )
}

pub const SMALL_TARGET: &str = "kind = \"auto\"\nsize = \"16MiB\"";
pub const READS: &str = "rw = \"read\"\nbs = \"4k\"\niodepth = 16";
pub const WRITES: &str = "rw = \"randwrite\"\nbs = \"4k\"\niodepth = 4";
pub const ONE_TOGGLE: &str = "toggles = [\"batch_submit\"]";

/// A directory with an experiment file in it, readable by everyone.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub file: PathBuf,
}

impl Bench {
    pub fn new(text: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let file = dir.path().join("test.toml");
        fs::write(&file, text).unwrap();
        Bench { dir, file }
    }

    pub fn small() -> Bench {
        Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, ""))
    }

    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// `uring-ablate run FILE --out DIR/out` with more arguments.
    pub fn run(&self, more: &[&str]) -> Output {
        ablate().arg("run").arg(&self.file).arg("--out").arg(self.out()).args(more).output().unwrap()
    }

    /// Exit code and standard error, with this test's directory replaced.
    pub fn verdict(&self, output: &Output) -> String {
        let text = String::from_utf8_lossy(&output.stderr).replace(self.dir.path().to_str().unwrap(), "DIR");
        let code = output.status.code().map_or("killed".into(), |c| c.to_string());
        format!("exit {code}\n{}", text.trim())
    }
}

/// Says that a test could not run here, in a file that the test script prints.
pub fn skip(test: &str, reason: &str) {
    let line = format!("{test}: {reason}");
    println!("SKIPPED {line}");
    log("URING_ABLATE_SKIPS", &line);
}

/// Says what a long test did, in a file that the test script prints.
pub fn ran(text: &str) {
    println!("{text}");
    log("URING_ABLATE_RAN", text);
}

fn log(variable: &str, text: &str) {
    if let Some(log) = std::env::var_os(variable) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        // One call, for tests write at once.
        file.write_all(format!("{text}\n").as_bytes()).unwrap();
    }
}

/// True for root, without which some tests cannot run.
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True where the long versions of tests are asked for (`./scripts/test.sh --full`).
pub fn full() -> bool {
    std::env::var_os("URING_ABLATE_FULL").is_some_and(|value| value == "1")
}

/// Rows of a CSV file as maps from column to cell.
pub fn rows(path: &Path) -> Vec<std::collections::HashMap<String, String>> {
    csv::Reader::from_path(path).unwrap().into_deserialize().map(Result::unwrap).collect()
}
