//! What is said of a target before anything is measured on it, and what a refused request is told with.

use crate::support::{Bench, LoopDevice, ONE_TOGGLE, ablate, experiment, root, skip};
use crate::support::{device, must};
use std::path::Path;
use std::process::{Command, Output};
use uring_ablate::target::{Kind, Target, Wanted};

/// `bench` of random requests on a target.
fn bench_of(rw: &str, path: &Path, more: &[&str]) -> Output {
    let args = ["bench", "--rw", rw, "--iodepth", "8", "--runtime", "50ms", "--filename"];
    ablate().args(args).arg(path).args(more).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A scheduler on a disk, gone with the value: the kernel keeps it when a loop device is detached.
struct Scheduler(String);

impl Scheduler {
    fn set(disk: &str, name: &str) -> Option<Scheduler> {
        let path = format!("/sys/block/{disk}/queue/scheduler");
        std::fs::write(&path, name).ok().map(|()| Scheduler(path))
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.0, "none");
    }
}

/// A file system that was mounted, gone with the value.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(args: &[&str], at: &Path) -> Option<Mount> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(args).arg(at).output().unwrap();
        mounted.status.success().then(|| Mount(at.into()))
    }

    /// A file of 4 MiB on it.
    fn file(&self) -> std::path::PathBuf {
        let path = self.0.join("file");
        std::fs::write(&path, vec![1; 4 << 20]).unwrap();
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_partitions_remedy_names_the_queue_of_its_disk() {
    const TEST: &str = "a_partitions_remedy_names_the_queue_of_its_disk";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let disk = device.0.strip_prefix("/dev/").unwrap();
    must("sh", &["-c", &format!("echo 2048,,L | sfdisk --quiet --label dos {} >/dev/null", device.0)]);
    let added = Command::new("partx").args(["--add", &device.0]).output().unwrap();
    let part = format!("{}p1", device.0);
    if !Path::new(&part).exists() {
        return skip(TEST, &format!("no partition of a loop device: {}", String::from_utf8_lossy(&added.stderr)));
    }
    let Some(_scheduler) = Scheduler::set(disk, "mq-deadline") else { return skip(TEST, "this kernel has no mq-deadline") };
    let link = bench.dir.path().join("by-id");
    std::os::unix::fs::symlink(&part, &link).unwrap();
    for name in [Path::new(&part), &link] {
        let output = ablate().arg("doctor").arg(name).arg("--json").output().unwrap();
        let found: Vec<serde_json::Value> =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
        let remedy = found.iter().find(|f| f["what"] == "I/O scheduler").map(|f| f["remedy"].as_str().unwrap().to_string());
        let path = format!("/sys/block/{disk}/queue/scheduler");
        assert_eq!(remedy, Some(format!("echo none > {path}")), "{found:?}");
        assert!(Path::new(&path).exists());
    }
    must("partx", &["--delete", &device.0]);
}

#[test]
fn a_link_leads_to_everything_that_its_device_offers() {
    const TEST: &str = "a_link_leads_to_everything_that_its_device_offers";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let link = bench.dir.path().join("by-path");
    std::os::unix::fs::symlink(&device.0, &link).unwrap();
    let wanted =
        |path: &Path| Wanted { kind: Kind::Device, path: Some(path.into()), size_bytes: None, stamps: None, allowed_bytes: 0 };
    let [by_name, by_link] = [Path::new(&device.0), &link].map(|path| Target::resolve(&wanted(path)).unwrap());
    let device_of = |target: &Target| (target.members[0].device.clone(), target.members[0].own_device.clone());
    assert!(by_name.members[0].device.is_some());
    assert_eq!(device_of(&by_name), device_of(&by_link));
    let options = uring_ablate::engine::Options::default();
    assert_eq!(by_name.setting(&options), by_link.setting(&options));
    let planned = |path: &Path| uring_ablate::target::setting_of([path].into_iter(), &options);
    assert_eq!(planned(Path::new(&device.0)), planned(&link));
}

#[test]
fn more_requests_than_tags_are_told_before_the_run_and_in_its_rows() {
    const TEST: &str = "more_requests_than_tags_are_told_before_the_run_and_in_its_rows";
    let deep = "rw = \"randread\"\nbs = \"4k\"\niodepth = 128\nnumjobs = 2";
    let bench = Bench::new(&experiment("kind = \"loop\"\nsize = \"64MiB\"", deep, ONE_TOGGLE, ""));
    let plan = ablate().arg("plan").arg(&bench.file).output().unwrap();
    let words = "iodepth 128 x 2 jobs keeps 256 requests in flight";
    let planned = String::from_utf8_lossy(&plan.stdout);
    assert!(planned.contains("cell randread-4k-qd128-j2") && planned.contains(words), "{planned}");
    if !root() {
        return skip(TEST, "making a loop device needs root");
    }
    // Whether a round has time for a block of such slices is another matter.
    let told = said(&bench.run(&[]));
    let start = told.find("results:").unwrap_or_else(|| panic!("{told}"));
    let (before, _) = told.split_at(start);
    assert!(before.contains(words) && before.contains("/queue/nr_requests is 128"), "{told}");
    let args =
        ["bench", "--rw", "randread", "--iodepth", "128", "--numjobs", "2", "--runtime", "300ms", "--size", "64m", "--json"];
    let output = ablate().args(args).output().unwrap();
    assert!(said(&output).contains(words), "{}", said(&output));
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
    let reason = row["reason"].as_str().unwrap_or_default();
    if !reason.contains("io-wq") {
        return skip(TEST, &format!("no worker of io-wq was needed: {row}"));
    }
    assert!(reason.contains(words) && !reason.contains("read inline"), "{reason}");
}

#[test]
fn a_read_only_device_is_told_before_it_is_written_to() {
    const TEST: &str = "a_read_only_device_is_told_before_it_is_written_to";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    must("blockdev", &["--setro", &device.0]);
    let output = bench_of("randwrite", Path::new(&device.0), &["--allow-destructive", &device.0]);
    must("blockdev", &["--setrw", &device.0]);
    let (told, name) = (said(&output), device.0.strip_prefix("/dev/").unwrap());
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains(&format!("{name} is read-only (`blockdev --getro` says 1)")), "{told}");
}

/// The context of each thing that cannot be polled, not the advice to load a driver.
#[test]
fn what_cannot_be_polled_is_told_by_its_kind() {
    const TEST: &str = "what_cannot_be_polled_is_told_by_its_kind";
    let bench = Bench::new("");
    let Some(device) = device(TEST, &bench) else { return };
    let dir = bench.dir.path();
    let mut cases = vec![(device.0.clone().into(), "its driver offers none")];
    let other = tempfile::tempdir().unwrap();
    let second = LoopDevice::new(other.path(), 128 << 20, "512").unwrap();
    let btrfs = Command::new("mkfs.btrfs").args(["-q", &second.0]).output().is_ok_and(|made| made.status.success());
    let btrfs = if btrfs { Mount::new(&["-t", "btrfs", &second.0], &dir.join("btrfs")) } else { None };
    let tmpfs = Mount::new(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"], &dir.join("tmpfs"));
    let layers = ["lower", "upper", "work"].map(|name| dir.join(name));
    layers.iter().for_each(|layer| std::fs::create_dir(layer).unwrap());
    let [lower, upper, work] = layers.map(|layer| layer.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let overlay = Mount::new(&["-t", "overlay", "-o", &options, "overlay"], &dir.join("overlay"));
    for (mount, kind) in [(&btrfs, "lies on btrfs"), (&tmpfs, "lies on tmpfs"), (&overlay, "lies on overlay")] {
        match mount {
            Some(mount) => cases.push((mount.file(), kind)),
            None => skip(TEST, &format!("{kind}: cannot be mounted here")),
        }
    }
    for (path, words) in cases {
        let output = bench_of("randread", &path, &["--iopoll", "on"]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(5), "{}: {told}", path.display());
        let errno =
            ["Operation not supported", "Invalid argument", "O_DIRECT is EINVAL"].iter().any(|error| told.contains(error));
        assert!(errno && told.contains(words) && !told.contains("load its driver"), "{}: {told}", path.display());
    }
}

#[test]
fn more_buffers_than_a_ring_takes_are_refused_with_the_limit() {
    let args = ["bench", "--rw", "nop", "--iodepth", "20000", "--runtime", "50ms", "--size", "16m"];
    let output = ablate().args(args).args(["--fixed-buffers", "on"]).output().unwrap();
    let told = said(&output);
    assert!(output.status.code() == Some(2) && told.contains("an iodepth of at most 16384, not 20000"), "{told}");
}

#[test]
fn a_disk_is_chosen_where_tmpdir_is_memory() {
    const TEST: &str = "a_disk_is_chosen_where_tmpdir_is_memory";
    if !root() {
        return skip(TEST, "changing the user needs root");
    }
    let memory = |dir: &str| Command::new("stat").args(["-fc", "%T", dir]).output().is_ok_and(|o| o.stdout.starts_with(b"tmpfs"));
    if !memory("/dev/shm") || memory("/var/tmp") {
        return skip(TEST, "needs /dev/shm in memory and /var/tmp on a disk");
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_uring-ablate")];
    let args = ["bench", "--rw", "randread", "--iodepth", "4", "--runtime", "50ms", "--size", "4m", "--allow-iowq"];
    let output = Command::new("setpriv").args(nobody).args(args).env("TMPDIR", "/dev/shm").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let due = "in /var/tmp on ";
    assert!(
        shown.contains(due) && shown.contains("(chosen since TMPDIR, /dev/shm, lies in memory)"),
        "{shown} {}",
        said(&output)
    );
}
