//! What the tool makes in a control group with a memory limit: it is refused before any of it is made, so that the kernel has nobody to kill.

use crate::support::{Bench, ONE_TOGGLE, READS, ablate, ended, experiment, root, skip};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// A control group of a test's own with a memory limit; it goes with the value.
struct Group {
    dir: PathBuf,
    version: u32,
}

impl Group {
    /// Below this process's own group (version 1), or below the top of what is mounted (version 2, where no group between may hold processes).
    fn new(name: &str, limit_bytes: u64) -> Result<Group, String> {
        let (parent, version) = parent().ok_or("no control groups for memory are mounted")?;
        if version == 2 {
            // Where it is enabled already nothing changes.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let dir = parent.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let group = Group { dir, version };
        let limit = group.file(["memory.limit_in_bytes", "memory.max"]);
        fs::write(&limit, limit_bytes.to_string()).map_err(|e| format!("{}: {e}", limit.display()))?;
        Ok(group)
    }

    fn file(&self, names: [&str; 2]) -> PathBuf {
        self.dir.join(names[self.version as usize - 1])
    }

    /// The same command, in the group.
    fn inside(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.dir.join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        shell
    }

    /// Processes of the group that the kernel killed for want of memory.
    fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.file(["memory.oom_control", "memory.events"])).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).expect("kernel 4.13 counts them")
    }

    /// The most that the group has held since it was asked to forget; `None` where the kernel does not say (version 2 before 5.19).
    fn peak(&self) -> Option<u64> {
        fs::read_to_string(self.file(["memory.max_usage_in_bytes", "memory.peak"])).ok()?.trim().parse().ok()
    }

    fn forget(&self) {
        // Version 2 keeps it in kernels before 6.12.
        let _ = fs::write(self.file(["memory.max_usage_in_bytes", "memory.peak"]), "0");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process may not be gone yet.
        let patience = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.dir).is_err() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where a group can be made, and the version of such groups.
fn parent() -> Option<(PathBuf, u32)> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounted = |kind: &str, option: &str| {
        let line = table.lines().find(|l| l.contains(&format!(" - {kind} ")) && l.split([' ', ',']).any(|o| o == option))?;
        Some(PathBuf::from(line.split(' ').nth(4)?))
    };
    if let Some(top) = mounted("cgroup", "memory") {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.split_once(":memory:"))?.1;
        let own = top.join(path.trim_start_matches('/'));
        return Some((if own.exists() { own } else { top }, 1));
    }
    let top = mounted("cgroup2", "cgroup2")?;
    fs::read_to_string(top.join("cgroup.controllers")).ok()?.contains("memory").then_some((top, 2))
}

/// The database next door: it holds `mebibytes` in the same group until the value goes.
struct Neighbour(Child);

impl Neighbour {
    fn new(group: &Group, mebibytes: u64) -> Neighbour {
        let mut command = Command::new("dd");
        command.args(["if=/dev/zero", &format!("bs={mebibytes}M"), "count=1", "iflag=fullblock", "status=none"]);
        let mut child = group.inside(&command).stdout(Stdio::piped()).spawn().unwrap();
        // It has filled its buffer when it begins to write; nobody reads the rest.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Neighbour(child)
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run of so large a target, in shared memory.
fn run(bench: &Bench, size: &str, more: &[&str]) -> Command {
    let target = format!("kind = \"loop\"\nsize = \"{size}\"");
    let text = experiment(&target, READS, ONE_TOGGLE, "[analysis]\ndelta = \"50%\"").replace("250ms", "500ms");
    fs::write(&bench.file, text).unwrap();
    let mut command = ablate();
    command.arg("run").arg(&bench.file).args(["--quiet", "--out"]).arg(bench.out()).args(more);
    command
}

fn refused(output: &std::process::Output, out: &Path) -> String {
    let (code, said) = ended(output);
    assert!(code == Some(2) && said.contains("[target] size (--size) takes "), "{code:?} {said}");
    assert!(said.contains("below the memory limit of the control group") && said.contains("--allow-size"), "{said}");
    assert!(!out.exists(), "nothing was begun");
    said
}

#[test]
fn a_group_with_a_limit_is_not_filled_and_nobody_in_it_is_killed() {
    const TEST: &str = "a_group_with_a_limit_is_not_filled_and_nobody_in_it_is_killed";
    if !root() {
        return skip(TEST, "control groups and loop devices need root");
    }
    let group = match Group::new("test-memory", 256 * MIB) {
        Ok(group) => group,
        Err(reason) => return skip(TEST, &reason),
    };
    let mut neighbour = Neighbour::new(&group, 24);
    let bench = Bench::new("");
    group.forget();
    let before = group.peak();
    // Less than the group's limit, more than half of what is left of it.
    let size = "144MiB";
    let said = refused(&group.inside(&run(&bench, size, &[])).output().unwrap(), &bench.out());
    assert!(said.contains(&group.dir.display().to_string()) && said.contains("144 MiB"), "{said}");
    if let (Some(before), Some(after)) = (before, group.peak()) {
        assert!(after - before < 100 * MIB, "refused before it was made, not after: {before} bytes, then {after}");
    }
    // What cannot fit is not to be had by a flag.
    let said = refused(&group.inside(&run(&bench, "1GiB", &["--allow-size", "2GiB"])).output().unwrap(), &bench.out());
    assert!(said.contains("1 GiB"), "{said}");
    assert!(neighbour.lives() && group.kills() == 0);
    // What the neighbour takes is no longer free.
    let smaller = ["bench", "--size", "80M", "--runtime", "100ms"];
    let bench_of = |group: &Group| group.inside(ablate().args(smaller)).output().unwrap();
    let output = bench_of(&group);
    assert_eq!(output.status.code(), Some(0), "80 MiB fit: {output:?}");
    let second = Neighbour::new(&group, 96);
    let (code, said) = ended(&bench_of(&group));
    assert!(code == Some(2) && said.contains("below the memory limit of the control group"), "{code:?} {said}");
    drop(second);
    let output = group.inside(&run(&bench, size, &["--allow-size", size])).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    assert!(bench.out().join("report.md").exists());
    assert!(neighbour.lives() && group.kills() == 0, "it was allowed, it fitted, and nobody had to go");
}
