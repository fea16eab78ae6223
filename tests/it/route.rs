//! By what route bytes come: what the kernel did not hand to a device is refused, invalid, or said not to be proved. On file systems made here.

use crate::rounds::small_spec;
use crate::support::{Bench, LoopDevice, ONE_TOGGLE, ablate, experiment, root, rows, skip};
use crate::support::{Mounted, must};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use uring_ablate::plan::{Part, Round, RoundKind};
use uring_ablate::row::{ArmRow, Outcome};
use uring_ablate::run::round::{self, Report, Spec};
use uring_ablate::run::rows::{RunFacts, from_report};
use uring_ablate::target::route::Sight;
use uring_ablate::workload::{Cache, Rw, Workload};

const MIB: usize = 1 << 20;

/// Runs the verb `bench` on a file for a moment.
fn bench(path: &Path, args: &[&str]) -> Output {
    let usual = ["--runtime", "300ms", "--iodepth", "16", "--allow-iowq", "--filename"];
    ablate().arg("bench").args(usual).arg(path).args(args).output().unwrap()
}

/// Exit code and everything said.
fn said(output: &Output) -> String {
    let code = output.status.code().map_or("killed".into(), |code| code.to_string());
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("exit {code}\n{out}{err}")
}

fn refused(output: &Output, why: &str) {
    let said = said(output);
    assert!(said.starts_with("exit 5\n") && said.contains(why), "wanted {why:?}: {said}");
}

/// The row of a bench that measured.
fn row(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The bench was proved, byte for byte.
fn proved(path: &Path, args: &[&str]) {
    let row = row(&bench(path, &[args, &["--json"]].concat()));
    let share = row["device_share"].as_f64().unwrap();
    assert!(row["route"] == "proved" && (0.98..1.02).contains(&share), "{}: {row}", path.display());
}

/// A file that is written in full.
fn written(path: &Path, mib: usize) -> PathBuf {
    let noise: Vec<u8> = (0..mib * MIB).map(|i| ((i * i) >> 7) as u8 ^ (i >> 3) as u8).collect();
    fs::write(path, noise).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
    path.into()
}

/// A file that is allocated and not written, where the file system makes such.
fn fallocated(bench: &Bench) -> Option<PathBuf> {
    let file = bench.dir.path().join("unwritten");
    let made = Command::new("fallocate").args(["-l", "16M"]).arg(&file).status().is_ok_and(|s| s.success());
    let flags = Command::new("filefrag").arg("-v").arg(&file).output().ok()?;
    (made && String::from_utf8_lossy(&flags.stdout).contains("unwritten")).then_some(file)
}

/// A file system on a loop device of a test's own, unmounted and detached with the value.
struct FileSystem {
    mounted: Mounted,
    _device: LoopDevice,
}

impl FileSystem {
    /// Made by `mkfs` with its arguments and mounted with `options`; `None`, seen as a skip, where that cannot be had here.
    fn new(test: &str, bench: &Bench, mkfs: &[&str], options: &str) -> Option<FileSystem> {
        let lacking = |what: &str| {
            skip(test, what);
            None
        };
        let Some(device) = root().then(|| LoopDevice::new(bench.dir.path(), 512 << 20, "512")).flatten() else {
            return lacking("loop devices need root and losetup");
        };
        let made = Command::new(mkfs[0]).args(&mkfs[1..]).arg(&device.0).output();
        if !made.is_ok_and(|output| output.status.success()) {
            return lacking(&format!("{} does not work here", mkfs[0]));
        }
        let dir = bench.dir.path().join("mnt");
        fs::create_dir_all(&dir).unwrap();
        let mounted = Command::new("mount").args(["-o", options, &device.0]).arg(&dir).output().unwrap();
        if !mounted.status.success() {
            return lacking(&format!("this kernel mounts no file system of {}", mkfs[0]));
        }
        Some(FileSystem { mounted: Mounted(dir), _device: device })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.mounted.0.join(name)
    }
}

#[test]
fn a_fallocated_file_is_refused_for_reads_and_said_for_writes() {
    let home = Bench::new("");
    let Some(file) = fallocated(&home) else {
        return skip("a_fallocated_file_is_refused_for_reads_and_said_for_writes", "no unwritten extents here");
    };
    let why = "16 MiB of its first 16 MiB are allocated but were never written (fallocate)";
    for rw in ["read", "randread", "randrw"] {
        refused(&bench(&file, &["--rw", rw, "--allow-destructive", file.to_str().unwrap()]), why);
    }
    refused(&ablate().arg("doctor").arg(&file).output().unwrap(), why);
    let target = format!("kind = \"file\"\npath = \"{}\"", file.display());
    fs::write(&home.file, experiment(&target, "rw = \"randread\"\nbs = \"4k\"\niodepth = 4", ONE_TOGGLE, "")).unwrap();
    refused(&home.run(&[]), why);
    refused(&ablate().arg("plan").arg(&home.file).output().unwrap(), why);
    let writes = bench(&file, &["--rw", "randwrite", "--allow-destructive", file.to_str().unwrap()]);
    let said = said(&writes);
    assert!(said.starts_with("exit 0\n") && said.contains("16 MiB of its first 16 MiB were never written (fallocate)"), "{said}");
    // The remedy works, and takes nothing away.
    let copy = home.dir.path().join("copy");
    must("cp", &["--sparse=never", file.to_str().unwrap(), copy.to_str().unwrap()]);
    let remedied = row(&bench(&copy, &["--rw", "randread", "--json"]));
    assert_ne!(remedied["route"], "contradicted");
}

#[test]
fn a_written_file_is_proved_and_a_hole_in_it_refused() {
    const TEST: &str = "a_written_file_is_proved_and_a_hole_in_it_refused";
    let home = Bench::new("");
    let file = written(&home.dir.path().join("written"), 16);
    if row(&bench(&file, &["--rw", "randread", "--json"]))["route"] != "proved" {
        return skip(TEST, "the temporary directory lies on no device that counts");
    }
    for args in [["--rw", "randread", "--bs", "4k"], ["--rw", "read", "--bs", "128k"]] {
        proved(&file, &args);
    }
    proved(&file, &["--rw", "randwrite", "--allow-destructive", file.to_str().unwrap()]);
    proved(&file, &["--rw", "randrw", "--numjobs", "2", "--allow-destructive", file.to_str().unwrap()]);
    let found = said(&ablate().arg("doctor").arg(&file).output().unwrap());
    assert!(found.contains("route: a known direct read of 4 KiB blocks was counted in full"), "{found}");
    // Space beyond the end hides the hole from a look at the blocks alone.
    must("fallocate", &["--keep-size", "-o", "16M", "-l", "8M", file.to_str().unwrap()]);
    must("fallocate", &["--punch-hole", "-o", "4M", "-l", "4M", file.to_str().unwrap()]);
    let said = said(&bench(&file, &["--rw", "randread"]));
    assert!(said.starts_with("exit 2\n") && said.contains("is sparse (12582912 of its first 16777216"), "{said}");
}

/// The row of the only arm of a round.
fn judged(spec: &Spec, report: &Report, sight: Sight) -> ArmRow {
    let facts = RunFacts {
        tags: None,
        experiment: "test".into(),
        run_id: String::new(),
        target: "file".into(),
        span_bytes: spec.span_bytes,
        allow_iowq: true,
        sight,
        promised: true,
        since_start: Duration::ZERO,
    };
    let (cell, kind) = (spec.workload.cell_name(), RoundKind::Slices);
    let round = Round { round: 1, repetition: 0, cell, kind, part: Part::All, seed: 1 };
    from_report(&facts, &round, spec, report).arms.remove(0)
}

#[test]
fn a_round_whose_bytes_nobody_counted_is_invalid() {
    let home = Bench::new("");
    let Some(file) = fallocated(&home) else {
        return skip("a_round_whose_bytes_nobody_counted_is_invalid", "no unwritten extents here");
    };
    // Past all checks before a run: the round itself has to notice.
    let spec = small_spec(&file);
    let report = round::run(&spec).unwrap();
    let arm = judged(&spec, &report, Sight::Process);
    assert_eq!(arm.outcome, Outcome::Invalid);
    assert!(arm.reason.starts_with("100 % of the bytes did not come from or go to the device"), "{}", arm.reason);
    assert_eq!((arm.route.unwrap().to_string().as_str(), arm.device_share), ("contradicted", Some(0.0)));
    let arm = judged(&spec, &report, Sight::Nobody { why: "nobody looks".into() });
    assert_eq!((arm.outcome, arm.route.unwrap().to_string()), (Outcome::Completed, "not proved: nobody looks".into()));
}

#[test]
fn a_loop_device_over_memory_is_what_it_says() {
    if !root() {
        return skip("a_loop_device_over_memory_is_what_it_says", "loop devices need root");
    }
    for args in [["--rw", "randread", "--bs", "4k"], ["--rw", "randwrite", "--bs", "16k"]] {
        let usual = ["--runtime", "300ms", "--size", "16m", "--json"];
        let row = row(&ablate().arg("bench").args(usual).args(args).output().unwrap());
        assert_eq!(row["route"], "proved", "{row}");
    }
}

#[test]
fn a_loop_device_of_others_says_what_it_reads_from() {
    const TEST: &str = "a_loop_device_of_others_says_what_it_reads_from";
    let home = Bench::new("");
    let Some(device) = root().then(|| LoopDevice::new(home.dir.path(), 32 << 20, "512")).flatten() else {
        return skip(TEST, "loop devices need root and losetup");
    };
    proved(Path::new(&device.0), &["--rw", "randread"]);
    let said = said(&bench(Path::new(&device.0), &["--rw", "randread"]));
    assert!(said.contains("a loop device, which reads and writes the file behind it through the page cache"), "{said}");
}

#[test]
fn btrfs_is_proved_in_sectors_and_refused_below_and_when_compressed() {
    const TEST: &str = "btrfs_is_proved_in_sectors_and_refused_below_and_when_compressed";
    let home = Bench::new("");
    let Some(btrfs) = FileSystem::new(TEST, &home, &["mkfs.btrfs", "-q", "-f"], "defaults") else { return };
    let file = written(&btrfs.at("f"), 32);
    proved(&file, &["--rw", "randread", "--bs", "4k"]);
    // Warm or cold: of the second reading nothing is counted.
    for _ in 0..2 {
        refused(
            &bench(&file, &["--rw", "randread", "--bs", "512"]),
            "direct reads of 512 bytes come from the page cache of btrfs",
        );
    }
    must("mount", &["-o", "remount,compress-force=zstd", btrfs.mounted.0.to_str().unwrap()]);
    fs::write(btrfs.at("z"), "squeeze me ".repeat(3 * MIB)).unwrap();
    refused(&bench(&btrfs.at("z"), &["--rw", "randread"]), "are compressed; direct reads of them go through the page cache");
    // Since Linux 6.15 writes with checksums go through the page cache; before, nobody can tell. The machine's dirty pages may clear them.
    let output = bench(&file, &["--rw", "randwrite", "--allow-destructive", file.to_str().unwrap(), "--json"]);
    let row = row(&output);
    assert!(row["route"].as_str().unwrap().starts_with("not proved: the kernel counts writes through the page cache"), "{row}");
}

#[test]
fn ext4_with_its_data_in_the_journal_has_no_direct_io() {
    const TEST: &str = "ext4_with_its_data_in_the_journal_has_no_direct_io";
    let home = Bench::new("");
    let Some(ext4) = FileSystem::new(TEST, &home, &["mkfs.ext4", "-q", "-F"], "data=journal") else { return };
    let file = written(&ext4.at("f"), 16);
    let output = bench(&file, &["--rw", "randread"]);
    // Before Linux 6.1 nothing says so, and the known read finds out.
    let why = if said(&output).contains("known read") { "come from the page cache" } else { "does no direct I/O on this file" };
    refused(&output, why);
    refused(&bench(&file, &["--rw", "randwrite", "--allow-destructive", file.to_str().unwrap()]), "ext4");
    refused(&ablate().arg("doctor").arg(&file).output().unwrap(), "ext4");
}

#[test]
fn xfs_is_proved() {
    let home = Bench::new("");
    let Some(xfs) = FileSystem::new("xfs_is_proved", &home, &["mkfs.xfs", "-q", "-f"], "defaults") else { return };
    let file = written(&xfs.at("f"), 16);
    proved(&file, &["--rw", "randread"]);
    proved(&file, &["--rw", "randwrite", "--allow-destructive", file.to_str().unwrap()]);
}

#[test]
fn an_overlay_is_as_good_as_what_it_lies_on() {
    const TEST: &str = "an_overlay_is_as_good_as_what_it_lies_on";
    let home = Bench::new("");
    let Some(btrfs) = FileSystem::new(TEST, &home, &["mkfs.btrfs", "-q", "-f"], "defaults") else { return };
    for dir in ["lower", "upper", "work"] {
        fs::create_dir(btrfs.at(dir)).unwrap();
    }
    written(&btrfs.at("lower/f"), 16);
    let over = home.dir.path().join("over");
    fs::create_dir(&over).unwrap();
    let [lower, upper, work] = ["lower", "upper", "work"].map(|dir| btrfs.at(dir).display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    if !Command::new("mount").args(["-t", "overlay", "-o", &options, "none"]).arg(&over).status().unwrap().success() {
        return skip(TEST, "this kernel mounts no overlay");
    }
    let over = Mounted(over);
    proved(&over.0.join("f"), &["--rw", "randread", "--bs", "4k"]);
    refused(&bench(&over.0.join("f"), &["--rw", "randread", "--bs", "512"]), "come from the page cache of overlay");
}

#[test]
fn what_nobody_counts_is_said_first_and_beside_the_figure() {
    const TEST: &str = "what_nobody_counts_is_said_first_and_beside_the_figure";
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return skip(TEST, "/dev/shm is not writable") };
    let file = written(&memory.path().join("f"), 16);
    let output = bench(&file, &["--rw", "randread"]);
    let text = said(&output);
    if text.contains("Invalid argument") {
        return skip(TEST, "this tmpfs has no direct I/O (Linux 6.6 has)");
    }
    assert!(text.starts_with("exit 0\nROUTE NOT PROVED: ") && text.contains("tmpfs keeps its files in memory"), "{text}");
    let figure = text.lines().find(|line| line.trim_start().starts_with("iops ")).unwrap();
    assert!(figure.ends_with(" (route not proved)"), "{figure}");
    let json = row(&bench(&file, &["--rw", "randread", "--json"]));
    assert!(json["route"].as_str().unwrap().starts_with("not proved: tmpfs") && json["device_share"].is_null(), "{json}");
    let target = format!("kind = \"file\"\npath = \"{}\"\nallow_iowq = true", file.display());
    let home = Bench::new(&experiment(&target, "rw = \"read\"\nbs = \"4k\"\niodepth = 4", ONE_TOGGLE, ""));
    let run = home.run(&["--quiet"]);
    assert!(run.status.success(), "{}", said(&run));
    let report = fs::read_to_string(home.out().join("report.md")).unwrap();
    let (first, rest) = report.split_once("## The answer").unwrap();
    assert!(first.contains("**Route not proved.** Nobody could check that the bytes of"), "{first}");
    assert!(rest.contains("(route not proved)"), "{rest}");
    assert!(
        rows(&home.out().join("arms.csv"))
            .iter()
            .all(|arm| arm["route"].starts_with("not proved") || arm["treatment"] == "ceiling")
    );
    let shown = ablate().arg("report").arg(home.out()).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).starts_with("ROUTE NOT PROVED. "), "{}", said(&shown));
}

/// A file of so many MiB that no page cache holds; `None`, seen as a skip, where the kernel does not count what is read of it.
fn cold(test: &str, home: &Bench, mib: usize) -> Option<PathBuf> {
    let file = written(&home.dir.path().join("cold"), mib);
    if row(&bench(&file, &["--rw", "randread", "--json"]))["route"] != "proved" {
        skip(test, "the temporary directory lies on no device that counts");
        return None;
    }
    let open = fs::File::open(&file).unwrap();
    rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    Some(file)
}

#[test]
fn a_cold_file_is_read_once_before_each_round_of_hits() {
    let home = Bench::new("");
    let Some(file) = cold("a_cold_file_is_read_once_before_each_round_of_hits", &home, 64) else { return };
    let hit = row(&bench(&file, &["--rw", "randread", "--direct", "0", "--json"]));
    assert!(hit["device_share"].as_f64().unwrap() < 0.02 && hit["route"].is_null(), "{hit}");
    let target = format!("kind = \"file\"\npath = \"{}\"\nallow_iowq = true", file.display());
    let workload = "rw = \"randread\"\nbs = \"4k\"\niodepth = 4\ndirect = false\ncache = \"hit\"";
    fs::write(&home.file, experiment(&target, workload, ONE_TOGGLE, "")).unwrap();
    let open = fs::File::open(&file).unwrap();
    rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let run = home.run(&["--quiet"]);
    assert!(run.status.success(), "{}", said(&run));
    for arm in rows(&home.out().join("arms.csv")).iter().filter(|arm| arm["treatment"] != "ceiling") {
        let share: f64 = arm["device_share"].parse().unwrap();
        assert!(arm["outcome"] == "completed" && share < 0.02, "{arm:?}");
    }
    let report = fs::read_to_string(home.out().join("report.md")).unwrap();
    assert!(report.contains("through the page cache; 0.0 to"), "{report}");
}

#[test]
fn a_round_of_misses_that_hits_is_invalid_with_the_share() {
    let home = Bench::new("");
    let Some(file) = cold("a_round_of_misses_that_hits_is_invalid_with_the_share", &home, 64) else { return };
    let round = |file: &Path| {
        let usual = small_spec(file);
        let workload = Workload { rw: Rw::Randread, direct: false, cache: Cache::Miss, ..usual.workload };
        let spec = Spec { workload, ..usual };
        let report = round::run(&spec).unwrap();
        judged(&spec, &report, Sight::Process)
    };
    let missed = round(&file);
    assert_eq!(missed.outcome, Outcome::Completed, "{}", missed.reason);
    assert!(missed.device_share.unwrap() > 0.9, "{missed:?}");
    // Of 256 blocks hundreds of requests find most where others brought them.
    let hit = round(&written(&home.dir.path().join("small"), 1));
    assert_eq!(hit.outcome, Outcome::Invalid);
    assert!(
        hit.reason.starts_with("cache = \"miss\": ") && hit.reason.contains("% of the bytes read came from the page cache"),
        "{}",
        hit.reason
    );
}

#[test]
fn a_file_that_a_program_serves_is_not_proved() {
    const TEST: &str = "a_file_that_a_program_serves_is_not_proved";
    let home = Bench::new("");
    let (image, dir) = (home.dir.path().join("image"), home.dir.path().join("mnt"));
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    fs::create_dir(&dir).unwrap();
    let works = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = works(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
    if !made || !works(Command::new("fuse2fs").arg(&image).arg(&dir).args(["-o", "fakeroot"])) {
        return skip(TEST, "fuse2fs does not work here");
    }
    let served = Mounted(dir);
    let file = written(&served.0.join("f"), 16);
    let said = said(&bench(&file, &["--rw", "randread"]));
    assert!(said.starts_with("exit 0\nROUTE NOT PROVED: ") && said.contains("fuse.ext4: a program serves its files"), "{said}");
}
