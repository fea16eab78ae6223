//! What the machine refuses: locked memory, io_uring itself, a device in use.

use crate::support::{Bench, LoopDevice, ONE_TOGGLE, READS, SMALL_TARGET, ablate, as_nobody, experiment, root, skip};
use insta::assert_snapshot;
use std::process::Command;

#[test]
fn locked_memory_too_small() {
    if !root() {
        return skip("locked_memory_too_small", "changing the user needs root");
    }
    let toggles = "toggles = [\"batch_submit\", \"fixed_buffers\"]";
    let workload = "rw = \"read\"\nbs = \"128k\"\niodepth = 128";
    let bench = Bench::new(&experiment(SMALL_TARGET, workload, toggles, ""));
    let plan = as_nobody(&["plan", bench.file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&plan.stdout);
    let dropped = text.lines().find(|l| l.contains("dropped")).unwrap_or_else(|| panic!("{}", bench.verdict(&plan)));
    assert_snapshot!(dropped, @"  dropped fixed_buffers: registering 128 buffers of 131072 bytes failed: Cannot allocate memory (os error 12); raise the locked-memory limit (ulimit -l unlimited) or lower iodepth or bs");
    let strict = as_nobody(&["plan", bench.file.to_str().unwrap(), "--set", "design.strict=true"]);
    assert_snapshot!(bench.verdict(&strict), @"
    exit 2
    uring-ablate: cell read-128k-qd128-j1: registering 128 buffers of 131072 bytes failed: Cannot allocate memory (os error 12); raise the locked-memory limit (ulimit -l unlimited) or lower iodepth or bs; strict = true refuses it
    ");
}

#[test]
fn io_uring_denied_by_seccomp() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let rules = [(libc::SYS_io_uring_setup, vec![])].into();
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into().unwrap());
    apply_filter(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
    let bench = Bench::small();
    assert_snapshot!(bench.verdict(&bench.run(&[])), @"
    exit 5
    uring-ablate: io_uring_setup with 1 entries failed: Operation not permitted (os error 1); io_uring is switched off here: see /proc/sys/kernel/io_uring_disabled (0 allows it), or the container's seccomp profile (docker run --security-opt seccomp=unconfined)
    ");
}

#[test]
fn devices_that_hold_something_are_not_written_to() {
    let bench = Bench::new("");
    let dir = bench.dir.path();
    let Some(device) = LoopDevice::new(dir, 32 << 20, "512") else {
        return skip("devices_that_hold_something_are_not_written_to", "losetup is not permitted");
    };
    let target = format!("kind = \"device\"\npath = \"{}\"", device.0);
    let shallow = "rw = \"randwrite\"\nbs = \"4k\"\niodepth = 4";
    std::fs::write(&bench.file, experiment(&target, shallow, ONE_TOGGLE, "").replace("250ms", "1s")).unwrap();
    let verdict = |allowed: &[&str]| bench.verdict(&bench.run(&[&["--quiet"], allowed].concat())).replace(&device.0, "DEVICE");
    let allow = ["--allow-destructive", device.0.as_str()];
    assert_snapshot!(verdict(&[]), @"
    exit 5
    uring-ablate: this experiment writes to DEVICE; nothing but targets of the tool's own is written without --allow-destructive DEVICE
    ");

    assert!(Command::new("mkfs.ext4").args(["-q", &device.0]).status().unwrap().success());
    assert_snapshot!(verdict(&allow), @"
    exit 5
    uring-ablate: DEVICE carries a signature (TYPE=ext4 USAGE=filesystem), so it holds somebody's data; name a device or file without one
    ");

    let mountpoint = dir.join("mnt");
    std::fs::create_dir(&mountpoint).unwrap();
    assert!(Command::new("mount").args([&device.0]).arg(&mountpoint).status().unwrap().success());
    let mounted = verdict(&allow);
    assert!(Command::new("umount").arg(&mountpoint).status().unwrap().success());
    assert_snapshot!(mounted, @"
    exit 5
    uring-ablate: DEVICE is mounted at DIR/mnt; name a device or file that nothing uses
    ");

    assert!(Command::new("wipefs").args(["--all", "--quiet", &device.0]).status().unwrap().success());
    assert_snapshot!(verdict(&allow), @"exit 0");
}

#[test]
fn a_target_that_punts_to_workers_is_invalid_not_wrong() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return skip("a_target_that_punts_to_workers_is_invalid_not_wrong", "/dev/shm is not writable");
    };
    let file = dir.path().join("data");
    std::fs::write(&file, vec![1; 16 << 20]).unwrap();
    let target = format!("kind = \"file\"\npath = \"{}\"", file.display());
    let bench = Bench::new(&experiment(&target, READS, ONE_TOGGLE, ""));
    let output = bench.run(&["--quiet"]);
    let arms = bench.out().join("arms.csv");
    if !arms.exists() {
        return skip("a_target_that_punts_to_workers_is_invalid_not_wrong", &bench.verdict(&output));
    }
    for row in crate::support::rows(&arms) {
        let punted = row["outcome"] == "invalid" && row["reason"].contains("io-wq");
        assert_eq!(punted, row["treatment"] != "ceiling", "the ceiling reads nothing: {row:?}");
    }
}

#[test]
fn help_and_version_need_nothing() {
    for args in [["--help"], ["--version"], ["toggles"]] {
        assert!(ablate().args(args).status().unwrap().success());
    }
}
