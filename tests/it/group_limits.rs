//! Limits of a control group above the one that a process is in hold for it, too: in a real hierarchy of this machine, whatever its version.

use crate::support::{Bench, ONE_TOGGLE, experiment, skip};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::{fs, io};
use uring_ablate::control_group::membership::{Controller, Version, View};

/// A pair of groups, one in the other; removed when dropped.
struct Nested(PathBuf);

impl Nested {
    /// The outer one has a limit, by its file in version 1 and in version 2; the inner one has none of its own.
    fn make(controller: Controller, one: [&str; 2], two: [&str; 2]) -> io::Result<Nested> {
        let groups = View::of_this_process().groups(controller);
        let lineage = groups.lineages.first().ok_or_else(|| io::Error::other("no control groups are mounted"))?;
        let made = Nested(lineage.dirs[0].join(format!("ablate-test-{controller:?}-{}", std::process::id())));
        fs::create_dir_all(made.0.join("inner"))?;
        let [file, limit] = if lineage.version == Version::One { one } else { two };
        fs::write(made.0.join(file), limit)?;
        Ok(made)
    }

    /// Runs the binary under test in the inner one.
    fn run(&self, arguments: &[&str]) -> Output {
        let enter = "echo $$ >\"$0\" && exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", enter]).arg(self.0.join("inner/cgroup.procs")).arg(env!("CARGO_BIN_EXE_uring-ablate"));
        command.args(arguments).output().unwrap()
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let _ = (fs::remove_dir(self.0.join("inner")), fs::remove_dir(&self.0));
    }
}

#[test]
fn the_quota_of_a_group_above_is_found() {
    let name = "the_quota_of_a_group_above_is_found";
    let groups = match Nested::make(Controller::Cpu, ["cpu.cfs_quota_us", "50000"], ["cpu.max", "50000 100000"]) {
        Ok(groups) => groups,
        Err(error) => return skip(name, &format!("no group with a CPU quota can be made here: {error}")),
    };
    let output = groups.run(&["doctor", "--json"]);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let quota = found.iter().find(|f| f["what"] == "CPU quota of the control groups").unwrap();
    let said = quota["found"].as_str().unwrap();
    assert!(said.starts_with("0.50 CPUs (50 ms in every 100 ms)"), "{said}");
    assert!(said.contains(&groups.0.display().to_string()), "{said}");
    // Of a machine with one CPU or more half of one can be used up.
    assert_eq!(quota["weight"], "disturbs");
}

#[test]
fn what_fits_into_the_cache_is_judged_by_the_limit_of_a_group_above() {
    const MIB: usize = 1 << 20;
    let name = "what_fits_into_the_cache_is_judged_by_the_limit_of_a_group_above";
    let limit = "134217728";
    let groups = match Nested::make(Controller::Memory, ["memory.limit_in_bytes", limit], ["memory.max", limit]) {
        Ok(groups) => groups,
        Err(error) => return skip(name, &format!("no group with a memory limit can be made here: {error}")),
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("target");
    fs::write(&file, vec![1; 80 * MIB]).unwrap();
    let target = format!("kind = \"file\"\npath = \"{}\"", file.display());
    let reads = "rw = \"read\"\nbs = \"4k\"\niodepth = 16\ndirect = false\ncache = \"hit\"";
    let bench = Bench::new(&experiment(&target, reads, ONE_TOGGLE, ""));
    let (text, out) = (bench.file.display().to_string(), bench.out().display().to_string());
    let output = groups.run(&["run", &text, "--out", &out, "--quiet"]);
    let said = bench.verdict(&output);
    assert!(!output.status.success() && said.contains("134217728 bytes of memory"), "{said}");
    assert!(said.contains("at most half of the memory"), "{said}");
}
