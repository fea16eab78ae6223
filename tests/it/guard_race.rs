//! What happens to a target while a run writes to it: another disk or file takes its place, or somebody begins to use it.

use crate::guard::written;
use crate::support::{
    Bench, ONE_TOGGLE, Process, READS, WRITES, ablate, device, edit_manifest, ended, experiment, must, processes, rows, skip,
    wait_until,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Rounds that are on disk.
fn finished(bench: &Bench) -> usize {
    fs::read_to_string(bench.out().join("rounds.csv")).unwrap_or_default().lines().skip(1).count()
}

/// Starts a run of many short rounds that write to a target, and waits for the first three.
fn begin(bench: &Bench, kind: &str, path: &str, rounds: u32) -> Child {
    let target = format!("kind = \"{kind}\"\npath = \"{path}\"");
    let text = experiment(&target, WRITES, ONE_TOGGLE, "").replace("250ms", "300ms");
    fs::write(&bench.file, text.replace("rounds = 6", &format!("rounds = {rounds}"))).unwrap();
    let mut command = ablate();
    command.args(["run", "--quiet"]).arg(&bench.file).arg("--out").arg(bench.out()).args(["--allow-destructive", path]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    after_three_rounds(bench, child)
}

/// Waits for the first three rounds of a run.
fn after_three_rounds(bench: &Bench, mut child: Child) -> Child {
    let patience = Instant::now() + Duration::from_secs(60);
    while finished(bench) < 3 {
        if child.try_wait().unwrap().is_some() {
            panic!("ended before its third round: {}", end(bench, child));
        }
        assert!(Instant::now() < patience, "three rounds within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// How the run ended.
fn end(bench: &Bench, child: Child) -> String {
    bench.verdict(&child.wait_with_output().unwrap())
}

/// Somebody pulls a drive and another takes its name: the kernel lets nobody do that while the device is held.
#[test]
fn another_disk_that_would_take_the_name_is_not_overwritten() {
    const TEST: &str = "another_disk_that_would_take_the_name_is_not_overwritten";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let victim = bench.dir.path().join("victim");
    fs::write(&victim, vec![7; 32 << 20]).unwrap();
    must("mkfs.ext4", &["-q", "-F", victim.to_str().unwrap()]);
    let before = fs::read(&victim).unwrap();
    let run = begin(&bench, "device", &device.0, 12);
    must("losetup", &["--detach", &device.0]);
    let took = || Command::new("losetup").args([device.0.as_str(), victim.to_str().unwrap()]).output().unwrap().status.success();
    let mut taken_after = None;
    while finished(&bench) < 11 && taken_after.is_none() {
        taken_after = took().then(|| finished(&bench));
        std::thread::sleep(Duration::from_millis(2));
    }
    let said = end(&bench, run);
    assert_eq!(taken_after, None, "the name is free for others only when the run has ended");
    written(&said);
    let arms = rows(&bench.out().join("arms.csv"));
    assert!(arms.iter().any(|row| row["outcome"] == "completed"), "{arms:?}");
    assert!(took(), "and then it is");
    must("sync", &[]);
    assert!(before == fs::read(&victim).unwrap(), "not a byte of the other disk changed");
}

/// A claimed device is no place for a file system of those that ask; whoever does not ask is found out before the next round.
#[test]
fn a_file_system_that_appears_on_the_device_ends_the_run() {
    const TEST: &str = "a_file_system_that_appears_on_the_device_ends_the_run";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let image = bench.dir.path().join("image");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    must("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
    let mut run = begin(&bench, "device", &device.0, 40);
    let asks = Command::new("mkfs.ext4").args(["-q", &device.0]).stdin(Stdio::null()).output().unwrap();
    assert!(!asks.status.success(), "the device is in use");
    let mount = Command::new("mount").args([device.0.as_str(), "/mnt"]).output().unwrap();
    assert!(!mount.status.success());
    // Arms write where they like, so a signature may be overwritten before it is looked for: it is put there until it is seen.
    while run.try_wait().unwrap().is_none() {
        must(
            "dd",
            &[
                &format!("if={}", image.display()),
                &format!("of={}", device.0),
                "bs=4k",
                "count=2",
                "conv=notrunc,fsync",
                "status=none",
            ],
        );
    }
    let said = end(&bench, run).replace(&device.0, "DEVICE");
    assert!(said.starts_with("exit 5\n") && said.contains("DEVICE carries a signature (TYPE=ext4"), "{said}");
    assert!(finished(&bench) >= 3, "what was measured is kept");
}

#[test]
fn a_file_of_the_same_name_is_another_file() {
    let bench = Bench::new("");
    let (file, moved) = (bench.dir.path().join("scratch"), bench.dir.path().join("moved"));
    fs::write(&file, vec![1; 8 << 20]).unwrap();
    let run = begin(&bench, "file", file.to_str().unwrap(), 8);
    fs::rename(&file, &moved).unwrap();
    fs::write(&file, vec![2; 8 << 20]).unwrap();
    let said = end(&bench, run);
    written(&said);
    assert!(fs::read(&file).unwrap() == vec![2; 8 << 20], "the file that took the name is untouched");
}

#[test]
fn a_file_that_somebody_begins_to_use_ends_the_run() {
    const TEST: &str = "a_file_that_somebody_begins_to_use_ends_the_run";
    if !crate::support::root() {
        return skip(TEST, "loop devices need root");
    }
    let bench = Bench::new("");
    let file = bench.dir.path().join("scratch");
    fs::write(&file, vec![1; 8 << 20]).unwrap();
    let run = begin(&bench, "file", file.to_str().unwrap(), 40);
    let device = must("losetup", &["--find", "--show", file.to_str().unwrap()]);
    let said = end(&bench, run);
    must("losetup", &["--detach", &device]);
    assert!(said.starts_with("exit 5\n") && said.contains("DIR/scratch is the data of /dev/loop"), "{said}");
}

/// The target of an interrupted run is looked at again.
#[test]
fn a_run_is_not_continued_on_another_target() {
    const TEST: &str = "a_run_is_not_continued_on_another_target";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let other = bench.dir.path().join("other");
    fs::write(&other, vec![0; 32 << 20]).unwrap();
    let mut run = begin(&bench, "device", &device.0, 12);
    run.kill().unwrap();
    run.wait().unwrap();
    let before = fs::read(bench.out().join("rounds.csv")).unwrap();
    must("losetup", &["--detach", &device.0]);
    let patience = Instant::now() + Duration::from_secs(5);
    while !Command::new("losetup").args([device.0.as_str(), other.to_str().unwrap()]).output().unwrap().status.success() {
        assert!(Instant::now() < patience, "nothing of the killed run keeps the device");
    }
    let resume = bench.run(&["--quiet", "--resume", "--allow-destructive", &device.0]);
    let said = bench.verdict(&resume);
    assert!(said.starts_with("exit 2\n") && said.contains("another disk has taken its place"), "{said}");
    assert!(fs::read(&other).unwrap() == vec![0; 32 << 20], "and nothing is written to it");
    assert_eq!(fs::read(bench.out().join("rounds.csv")).unwrap(), before);
}

/// By the path of the experiment, or by any other: it is one device.
#[test]
fn one_device_under_two_names_is_one_target() {
    const TEST: &str = "one_device_under_two_names_is_one_target";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let link = bench.dir.path().join("link");
    symlink(&device.0, &link).unwrap();
    let names = format!("{}:{}", device.0, link.display());
    let output = ablate().args(["bench", "--runtime", "1", "--filename", &names]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("are the same target"), "{output:?}");
}

#[test]
fn a_file_that_loses_its_blocks_ends_the_run() {
    let bench = Bench::new("");
    let file = bench.dir.path().join("scratch");
    fs::write(&file, vec![1; 64 << 20]).unwrap();
    let run = begin(&bench, "file", file.to_str().unwrap(), 40);
    must("truncate", &["--size", "1M", file.to_str().unwrap()]);
    let said = end(&bench, run);
    assert!(said.starts_with("exit 5\n") && said.contains("DIR/scratch is not what it was"), "{said}");
}

/// Two directories, each with a file `scratch`: the one that is named, and one that nobody named.
fn two_directories(bench: &Bench) -> [PathBuf; 2] {
    ["named", "other"].map(|name| {
        let dir = bench.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("scratch"), vec![if name == "named" { 1 } else { 2 }; 8 << 20]).unwrap();
        dir
    })
}

/// Exchanges what two names lead to, in one step.
fn exchange(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn a_directory_that_another_takes_the_place_of_does_not_lead_a_run_astray() {
    let bench = Bench::new("");
    let [named, other] = two_directories(&bench);
    let path = named.join("scratch");
    let mut run = begin(&bench, "file", path.to_str().unwrap(), 12);
    exchange(&named, &other);
    let rounds = finished(&bench);
    while finished(&bench) < rounds + 3 {
        assert!(run.try_wait().unwrap().is_none(), "{}", end(&bench, run));
        std::thread::sleep(Duration::from_millis(5));
    }
    // Now a link stands there, too.
    fs::rename(&named, bench.dir.path().join("moved")).unwrap();
    symlink(bench.dir.path().join("moved"), &named).unwrap();
    written(&end(&bench, run));
    assert!(fs::read(&path).unwrap() == vec![2; 8 << 20], "what the path leads to by now is as it was");
    assert!(fs::read(other.join("scratch")).unwrap() != vec![1; 8 << 20], "what it led to was written to");
    // A run that begins, or goes on, goes by the path.
    let allowed = ["--quiet", "--resume", "--allow-destructive", path.to_str().unwrap()];
    let said = bench.verdict(&bench.run(&allowed));
    assert!(said.starts_with("exit 5\n") && said.contains("a write must name the file itself"), "{said}");
    fs::remove_file(&named).unwrap();
    fs::rename(bench.dir.path().join("moved"), &named).unwrap();
    let said = bench.verdict(&bench.run(&allowed));
    assert!(said.starts_with("exit 2\n") && said.contains("is inode") && said.contains("bring that one back"), "{said}");
    assert!(fs::read(&path).unwrap() == vec![2; 8 << 20]);
}

/// Somebody swaps a directory for a link as fast as he can, to be there between the check and the opening.
#[test]
fn a_directory_that_is_a_link_every_other_moment_leads_nowhere_else() {
    let bench = Bench::new("");
    let [named, other] = two_directories(&bench);
    let link = bench.dir.path().join("link");
    symlink(&other, &link).unwrap();
    let path = named.join("scratch").display().to_string();
    let over = AtomicBool::new(false);
    let (mut wrote, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                exchange(&named, &link);
            }
        });
        for _ in 0..24 {
            let args = ["bench", "--rw=randwrite", "--runtime=20ms", "--filename", &path, "--allow-destructive", &path];
            match ended(&ablate().args(args).output().unwrap()) {
                (Some(0), _) => wrote += 1,
                (Some(5), said) if said.contains("must name the file itself") => refused += 1,
                other => {
                    over.store(true, Relaxed);
                    panic!("{other:?}");
                }
            }
        }
        over.store(true, Relaxed);
    });
    assert!(fs::read(other.join("scratch")).unwrap() == vec![2; 8 << 20], "{wrote} wrote, {refused} were refused");
    assert!(wrote + refused == 24 && refused > 0, "{wrote} wrote, {refused} were refused");
}

/// What is read may be named through links; what they lead to later is another matter.
#[test]
fn a_link_to_what_is_read_may_go_away() {
    let bench = Bench::new("");
    let [named, _] = two_directories(&bench);
    let link = bench.dir.path().join("link");
    symlink(&named, &link).unwrap();
    let target = format!("kind = \"file\"\npath = \"{}\"", link.join("scratch").display());
    let text = experiment(&target, READS, ONE_TOGGLE, "").replace("250ms", "300ms");
    fs::write(&bench.file, text).unwrap();
    let mut command = ablate();
    command.args(["run", "--quiet"]).arg(&bench.file).arg("--out").arg(bench.out());
    let run = command.stderr(Stdio::piped()).spawn().unwrap();
    let run = after_three_rounds(&bench, run);
    fs::remove_file(&link).unwrap();
    symlink("nowhere", &link).unwrap();
    written(&end(&bench, run));
    assert_eq!(finished(&bench), 6);
}

/// Numbers are of one boot: after another a device is known by a lasting name alone, which a loop device has not, and a file by its inode.
#[test]
fn after_a_restart_of_the_machine_numbers_tell_nothing() {
    const TEST: &str = "after_a_restart_of_the_machine_numbers_tell_nothing";
    let killed = |bench: &Bench, kind: &str, path: &str| {
        let mut run = begin(bench, kind, path, 6);
        run.kill().unwrap();
        run.wait().unwrap();
        // Its round goes with it, in a moment.
        let opened = |process: Process| fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten();
        let links = || processes().flat_map(opened).filter_map(|fd| fs::read_link(fd.path()).ok());
        wait_until("the killed run lets go of its target", || !links().any(|link| link == Path::new(path)));
    };
    let change = |bench: &Bench, pointer: &str, to: serde_json::Value| {
        edit_manifest(&bench.out(), |manifest| *manifest.pointer_mut(pointer).unwrap() = to);
    };
    let resumed = |bench: &Bench, path: &str| {
        let rounds = finished(bench);
        let said = bench.verdict(&bench.run(&["--quiet", "--resume", "--allow-destructive", path]));
        (said, finished(bench) > rounds)
    };
    let bench = Bench::new("");
    let file = bench.dir.path().join("scratch");
    fs::write(&file, vec![1; 8 << 20]).unwrap();
    let path = file.to_str().unwrap();
    killed(&bench, "file", path);
    change(&bench, "/identities/0/boot", "another".into());
    let inode = fs::metadata(&file).unwrap().ino();
    change(&bench, "/identities/0/file/inode", (inode + 1).into());
    let (said, went_on) = resumed(&bench, path);
    assert!(said.starts_with("exit 2\n") && said.contains(&format!("is inode {inode}")) && !went_on, "{said}");
    change(&bench, "/identities/0/file/inode", inode.into());
    // Its device may have got another number.
    change(&bench, "/identities/0/file/device/0", 4095.into());
    let (said, went_on) = resumed(&bench, path);
    written(&said);
    assert!(went_on, "the inode decides");
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    killed(&bench, "device", &device.0);
    change(&bench, "/identities/0/boot", "another".into());
    let (said, went_on) = resumed(&bench, &device.0);
    assert!(said.starts_with("exit 2\n") && said.contains("no WWID or serial number") && !went_on, "{said}");
}
