//! Faults that nobody wants on a machine of their own, in the lab: every one has its documented outcome, nothing hangs, no row is lost.

use crate::lab::{Guest, lab};
use crate::support::{ONE_TOGGLE, experiment};
use std::collections::{BTreeMap, BTreeSet};

const NULL: &str = "kind = \"device\"\npath = \"/dev/nullb0\"";
const READS: &str = "rw = \"randread\"\nbs = \"4k\"\niodepth = 8";

/// What all scripts begin with: `run NAME ARGUMENTS` runs the experiment, into the folder NAME; `underway NAME` waits for its second round, and
/// does not go on where the run has ended before.
const PRELUDE: &str = r#"
    export DM_DISABLE_UDEV=1
    run() {
      name=$1
      shift
      uring-ablate --quiet run test.toml --out "$name" "$@" 2>>said
      echo "exit $?" >>said
    }
    underway() {
      until [ "$(wc -l 2>/dev/null <"$1/rounds.csv")" -gt 2 ] 2>/dev/null; do
        ! grep -q '^exit' said 2>/dev/null || exit
        sleep 0.05
      done
    }
"#;

/// Runs a script with the experiment beside it.
fn fault(test: &str, workload: &str, script: &str) -> Option<Guest> {
    let text = experiment(NULL, workload, ONE_TOGGLE, "");
    lab(test, &[], &[("test.toml", text.as_bytes())], &format!("{PRELUDE}{script}"))
}

/// Rounds of the design that the journal holds, those that a busy machine had measured again counted once; each has one row of every arm, and
/// slices only of those, each once.
fn whole_rounds(guest: &Guest, run: &str) -> usize {
    let arms = guest.rows(&format!("{run}/arms.csv"));
    let journal: BTreeSet<String> = guest.rows(&format!("{run}/rounds.csv")).iter().map(|row| row["round"].clone()).collect();
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &arms {
        assert!(seen.entry(&row["round"]).or_default().insert(&row["treatment"]), "{row:?} is there twice");
    }
    assert_eq!(
        journal,
        seen.keys().map(|round| round.to_string()).collect(),
        "every round of the journal has rows, and no other"
    );
    let all: BTreeSet<&str> = arms.iter().map(|row| row["treatment"].as_str()).collect();
    assert!(seen.values().all(|of_round| *of_round == all), "every round has every arm: {seen:?}");
    let trials = guest.rows(&format!("{run}/trials.csv"));
    let mut slices: BTreeMap<(&str, &str), BTreeSet<[&str; 3]>> = BTreeMap::new();
    for row in &trials {
        assert!(journal.contains(&row["round"]) && all.contains(row["treatment"].as_str()), "{row:?}");
        let slice = ["block", "replica", "position"].map(|column| row[column].as_str());
        assert!(slices.entry((&row["round"], &row["treatment"])).or_default().insert(slice), "{row:?} is there twice");
    }
    // Arms of one kind of a round have as many slices each, whatever went wrong in some.
    for row in arms.iter().filter(|row| row["outcome"] == "completed" && row["treatment"].contains(':')) {
        let of = |treatment: &str| slices.get(&(row["round"].as_str(), treatment)).map(BTreeSet::len);
        assert_eq!(of(&row["treatment"]), of("placebo"), "{row:?}");
    }
    journal.len() - measured_again(guest, run, &journal)
}

/// Rounds of the journal that stand in for one that was not valid.
fn measured_again(guest: &Guest, run: &str, journal: &BTreeSet<String>) -> usize {
    let plan = guest.rows(&format!("{run}/plan.csv"));
    plan.iter().filter(|row| !row["redoes"].is_empty() && journal.contains(&row["round"])).count()
}

/// Rounds in which every arm completed.
fn completed_rounds(guest: &Guest, run: &str) -> usize {
    let mut rounds: BTreeMap<String, bool> = BTreeMap::new();
    for row in guest.rows(&format!("{run}/arms.csv")) {
        *rounds.entry(row["round"].clone()).or_insert(true) &= row["outcome"] == "completed";
    }
    rounds.into_values().filter(|all| *all).count()
}

/// The reasons of rows with this outcome.
fn reasons(guest: &Guest, run: &str, outcome: &str) -> Vec<String> {
    let arms = guest.rows(&format!("{run}/arms.csv"));
    arms.into_iter().filter(|row| row["outcome"] == outcome).map(|mut row| row.remove("reason").unwrap()).collect()
}

/// Requests that fail are counted and named by their errno, and their rows are invalid; what reads nothing is not.
fn failed_reads_are_invalid(test: &str, device: &str, errno: &str, script: &str) {
    let script = format!("{script}\nrun out --set target.path={device} --set design.round_time=4s");
    let Some(guest) = fault(test, READS, &script) else { return };
    assert!(whole_rounds(&guest, "out") >= 6, "{}", guest.read("said"));
    let invalid = reasons(&guest, "out", "invalid");
    let named = |reason: &&String| reason.contains("requests failed or fell short") && reason.contains(errno);
    assert!(invalid.iter().filter(named).count() >= 3, "{invalid:?}");
    for row in guest.rows("out/arms.csv") {
        let errors = row["errors"].parse::<u64>().unwrap();
        assert!(row["outcome"] != "completed" || errors == 0, "a row with errors counts: {row:?}");
        assert!(row["treatment"] != "ceiling" || row["outcome"] == "completed", "{row:?}");
    }
}

#[test]
fn bad_blocks_of_null_blk() {
    let script = "rmmod null_blk; modprobe null_blk nr_devices=0; cd /sys/kernel/config/nullb; mkdir nullb0; cd nullb0\n\
                  echo 1 >memory_backed; echo 64 >size; echo +20000-20255 >badblocks; echo 1 >power\n\
                  cd \"$(cat /lab/directory)\"";
    failed_reads_are_invalid("bad_blocks_of_null_blk", "/dev/nullb0", "Input/output error", script);
}

#[test]
fn medium_errors_of_a_disk() {
    let script = "modprobe scsi_debug dev_size_mb=64 opts=2 delay=0 medium_error_start=20000 medium_error_count=2048\n\
                  until [ -b /dev/sda ]; do sleep 0.1; done";
    failed_reads_are_invalid("medium_errors_of_a_disk", "/dev/sda", "No data available", script);
}

#[test]
fn a_hole_in_a_mapped_device() {
    let script = "printf '0 20000 linear /dev/nullb0 0\\n20000 256 error\\n20256 100000 linear /dev/nullb0 20256\\n' | dmsetup create hole";
    failed_reads_are_invalid("a_hole_in_a_mapped_device", "/dev/mapper/hole", "Input/output error", script);
}

#[test]
fn a_device_that_comes_and_goes() {
    let script = "echo '0 120000 flakey /dev/nullb0 0 4 1' | dmsetup create flakey";
    failed_reads_are_invalid("a_device_that_comes_and_goes", "/dev/mapper/flakey", "Input/output error", script);
}

/// The kernel gives up on a command after a second and sends it again: slices are long, none is dropped for that, and the run ends.
#[test]
fn commands_that_time_out() {
    let script = "modprobe scsi_debug dev_size_mb=64 delay=0 statistics=1\n\
                  until [ -b /dev/sda ]; do sleep 0.1; done\n\
                  echo 1 >/sys/block/sda/device/timeout\n\
                  (underway out; cd /sys/bus/pseudo/drivers/scsi_debug; echo 4 >opts; echo -3000 >every_nth; sleep 1; echo 0 >every_nth) &\n\
                  run out --set target.path=/dev/sda --set design.round_time=4s";
    let Some(guest) = fault("commands_that_time_out", READS, script) else { return };
    assert_eq!(whole_rounds(&guest, "out"), 6, "{}", guest.read("said"));
    let slices = guest.rows("out/trials.csv");
    let longest = slices.iter().map(|row| row["duration_s"].parse::<f64>().unwrap()).fold(0.0, f64::max);
    assert!(longest > 0.5, "{longest} s: no command timed out; {}", guest.read("said"));
}

/// What was measured before is kept, the run says what is gone, and ends.
#[test]
fn a_drive_that_is_pulled_out() {
    let script = "(underway out; echo 1 >/sys/block/nvme0n1/device/device/remove) &\n\
                  run out --set target.path=/dev/nvme0n1 --set design.round_time=4s\n\
                  wait";
    let Some(guest) = fault("a_drive_that_is_pulled_out", READS, script) else { return };
    let said = guest.read("said");
    assert!(
        said.contains("exit 5") && said.contains("/dev/nvme0n1 is not what it was when this run began: it is gone ("),
        "{said}"
    );
    assert!(said.contains("what was measured before is kept"), "{said}");
    whole_rounds(&guest, "out");
    assert!(completed_rounds(&guest, "out") >= 2, "{said}");
    assert!(!reasons(&guest, "out", "failed").is_empty());
}

/// A device that answers nothing for longer than a slice may take: its row says so, and the round is measured again once it answers.
#[test]
fn a_device_that_hangs() {
    let script = "echo '0 120000 linear /dev/nullb0 0' | dmsetup create slow\n\
                  (underway out; sleep 1; dmsetup suspend --nolockfs --noflush slow; sleep 45; dmsetup resume slow) &\n\
                  run out --set target.path=/dev/mapper/slow --set design.round_time=4s";
    let Some(guest) = fault("a_device_that_hangs", READS, script) else { return };
    assert_eq!(guest.read("said"), "exit 0\n");
    assert_eq!(whole_rounds(&guest, "out"), 6);
    let hung = reasons(&guest, "out", "timed_out");
    assert!(hung == ["a slice ran into the hang guard"], "{hung:?}");
    assert!(guest.rows("out/plan.csv").iter().any(|row| !row["redoes"].is_empty()), "it was measured again");
}

/// A file system that fills up costs no row: with room again the run goes on where it was.
#[test]
fn no_space_left_for_results() {
    let script = "mkdir /tmp/small; mount -t tmpfs -o size=40k small /tmp/small\n\
                  run /tmp/small/out; cp -r /tmp/small/out full\n\
                  mount -o remount,size=64M /tmp/small; run /tmp/small/out --resume; cp -r /tmp/small/out out";
    let Some(guest) = fault("no_space_left_for_results", READS, script) else { return };
    let said = guest.read("said");
    let before = guest.rows("full/rounds.csv").len();
    assert!((1..6).contains(&before), "{before} rounds had room; {said}");
    assert!(said.contains("No space left on device") && said.contains("then continue with --resume"), "{said}");
    assert!(said.contains("exit 2") && said.trim_end().ends_with("exit 0"), "{said}");
    assert_eq!(whole_rounds(&guest, "out"), 6);
    let (full, out) = (guest.read("full/arms.csv"), guest.read("out/arms.csv"));
    let kept = full.lines().take(1 + before * (out.lines().count() - 1) / guest.rows("out/rounds.csv").len());
    assert!(kept.zip(out.lines()).all(|(before, after)| before == after), "what was measured before is what it was");
}

#[test]
fn io_uring_switched_off_by_sysctl() {
    let script = "echo 2 >/proc/sys/kernel/io_uring_disabled; run out; ls out >>said 2>&1 || true";
    let Some(guest) = fault("io_uring_switched_off_by_sysctl", READS, script) else { return };
    let said = guest.read("said");
    assert!(said.contains("see /proc/sys/kernel/io_uring_disabled (0 allows it)") && said.contains("exit 5"), "{said}");
    assert!(said.contains("No such file"), "nothing was written: {said}");
}

/// Who may lock little memory loses registered buffers, not the run.
#[test]
fn little_memory_may_be_locked() {
    let script = "chmod 666 /dev/nullb0 test.toml; cp test.toml /tmp; cd /tmp\n\
                  setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'ulimit -l 64; cd /tmp; uring-ablate --quiet run test.toml --out out \
                  --set design.toggles=[\\\"batch_submit\\\",\\\"fixed_buffers\\\"] --set workload.bs=64k' 2>said; echo \"exit $?\" >>said\n\
                  cp -r said out \"$(cat /lab/directory)\"";
    let Some(guest) = fault("little_memory_may_be_locked", READS, script) else { return };
    let said = guest.read("said");
    assert!(said.ends_with("exit 0\n"), "{said}");
    assert_eq!(whole_rounds(&guest, "out"), 6);
    let dropped = &serde_json::from_str::<serde_json::Value>(&guest.read("out/manifest.json")).unwrap()["dropped"][0];
    assert_eq!(dropped["toggle"], "fixed_buffers");
    let reason = dropped["reason"].as_str().unwrap();
    assert!(reason.contains("Cannot allocate memory") && reason.contains("ulimit -l unlimited"), "{reason}");
}

/// The kernel kills a round: it is said as failed, the run ends after three of them, and goes on once there is memory.
#[test]
fn rounds_killed_for_want_of_memory() {
    let script = "mount -t cgroup2 cgroup /sys/fs/cgroup; echo +memory >/sys/fs/cgroup/cgroup.subtree_control\n\
                  mkdir /sys/fs/cgroup/small; echo $$ >/sys/fs/cgroup/small/cgroup.procs\n\
                  big='--set workload.bs=1m --set workload.iodepth=16 --set design.round_time=3s --set design.rounds=9 --set target.allow_iowq=true'\n\
                  (underway out; echo 16M >/sys/fs/cgroup/small/memory.max) 2>/dev/null &\n\
                  run out $big; cp -r out killed; kill $! 2>/dev/null\n\
                  echo max >/sys/fs/cgroup/small/memory.max; run out $big --resume";
    let Some(guest) = fault("rounds_killed_for_want_of_memory", READS, script) else { return };
    let said = guest.read("said");
    assert!(said.contains("exit 5") && said.contains("3 rounds in a row failed"), "{said}");
    assert!(said.contains("SIGKILL") && said.contains("dmesg names it"), "{said}");
    whole_rounds(&guest, "killed");
    assert!(completed_rounds(&guest, "killed") >= 2, "{said}");
    assert!(reasons(&guest, "killed", "failed").iter().any(|reason| reason.contains("SIGKILL")), "{said}");
    assert!(said.trim_end().ends_with("exit 0"), "{said}");
    whole_rounds(&guest, "out");
    assert!(completed_rounds(&guest, "out") > completed_rounds(&guest, "killed"), "{said}");
    assert!(guest.read("out/arms.csv").starts_with(&guest.read("killed/arms.csv")), "what was measured before is what it was");
}
