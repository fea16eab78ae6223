//! What this machine cannot do, done in the lab: polled devices, NVMe commands, two NUMA nodes, other kernels, writes to drives.

use crate::support::{ONE_TOGGLE, experiment, rows, skip};
use insta::assert_snapshot;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use uring_ablate::toggle::Toggle;

/// The experiments that need what the lab has.
pub const IN_THE_LAB: [&str; 3] = ["iopoll", "passthrough", "kernels"];

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `lab.sh` in a directory, with the program under test and the emulator that every machine has.
fn lab_sh(dir: &Path) -> Command {
    let mut command = Command::new(home().join("scripts/lab.sh"));
    command.args(["--accel", "tcg"]).current_dir(dir).env("URING_ABLATE_LAB_TOOL", env!("CARGO_BIN_EXE_uring-ablate"));
    command
}

/// Skips a test, and is seen to, where there is no QEMU.
fn there_is_qemu(test: &str) -> bool {
    let there = Command::new("qemu-system-x86_64").arg("--version").output().is_ok();
    if !there {
        skip(&format!("lab::{test}"), "QEMU is not installed");
    }
    there
}

/// A guest that ran a script, and the folder that it shared.
pub struct Guest {
    pub dir: tempfile::TempDir,
    pub said: String,
}

/// Runs a shell script in the guest. `None`, and a skip that is seen, where there is no QEMU; where there is one the lab must work.
pub fn lab(test: &str, options: &[&str], files: &[(&str, &[u8])], script: &str) -> Option<Guest> {
    if !there_is_qemu(test) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files.iter().chain(&[("script", script.as_bytes())]) {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let output = lab_sh(dir.path()).args(["--timeout", "170"]).args(options).args(["--", "sh", "script"]).output().unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let left = std::fs::read_to_string(dir.path().join("said")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{said}\n{complaint}\n{left}", output.status);
    Some(Guest { dir, said: format!("{said}{complaint}") })
}

impl Guest {
    /// The rows of a result file in the shared folder.
    pub fn rows(&self, path: &str) -> Vec<HashMap<String, String>> {
        rows(&self.dir.path().join(path))
    }

    /// What the script left in a file of the shared folder.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap_or_else(|e| panic!("{path}: {e}; {}", self.said))
    }
}

/// A device, the levels asked for, and the first kernel that has them all.
type Case = (&'static str, &'static [(&'static str, &'static str)], (u32, u32));

const NULL: &str = "/dev/nullb0";
const NVME: &str = "/dev/nvme0n1";
const CASES: &[Case] = &[
    (NULL, &[], (6, 1)),
    (NULL, &[("iopoll", "on")], (6, 1)),
    (NULL, &[("iopoll", "hybrid")], (6, 13)),
    (NULL, &[("iopoll", "on"), ("sqpoll", "on")], (6, 1)),
    (NULL, &[("iopoll", "on"), ("taskrun", "defer"), ("registered_ring", "on"), ("fixed_buffers", "on")], (6, 1)),
    (NULL, &[("no_sqarray", "on")], (6, 6)),
    (NVME, &[("iopoll", "on")], (6, 1)),
    (NVME, &[("iopoll", "hybrid")], (6, 13)),
    (NVME, &[("iopoll", "on"), ("sqpoll", "on")], (6, 1)),
    (NVME, &[("passthrough", "on")], (6, 1)),
    (NVME, &[("passthrough", "on"), ("fixed_buffers", "on")], (6, 1)),
    (NVME, &[("passthrough", "on"), ("iopoll", "on")], (6, 1)),
    (NVME, &[("passthrough", "on"), ("iopoll", "on"), ("fixed_buffers", "on")], (6, 1)),
    (NVME, &[("numa_bind", "on")], (6, 1)),
    (NVME, &[("numa_bind", "on"), ("cpu_affinity", "on")], (6, 1)),
    (NVME, &[("huge_pages", "thp")], (6, 1)),
    (NVME, &[("huge_pages", "hugetlb")], (6, 1)),
];

/// With 4 CPUs a node has two, so that being bound and being pinned differ; with 2 they are the same there.
///
/// Every case runs with the levels it asked for, or the kernel is too old for it and the tool says what it lacks.
fn cases_run_or_say_why(test: &str, kernel: &str, cpus: &str) {
    let mut script = String::from("echo 64 >/proc/sys/vm/nr_hugepages\nuname -r >release\n");
    for (number, (device, levels, _)) in CASES.iter().enumerate() {
        let flags: Vec<String> = levels.iter().map(|(key, level)| format!("--{} {level}", key.replace('_', "-"))).collect();
        script += &format!(
            "uring-ablate bench --filename {device} --rw randread --bs 4k --iodepth 16 --runtime 100ms {} --json >{number}.json 2>{number}.log\n",
            flags.join(" ")
        );
    }
    let Some(guest) = lab(test, &["--kernel", kernel, "--cpus", cpus], &[], &(script + "true")) else { return };
    let release = guest.read("release");
    let mut parts = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let running = (parts.next().unwrap(), parts.next().unwrap());
    for (number, (device, levels, since)) in CASES.iter().enumerate() {
        let (json, log) = (guest.read(&format!("{number}.json")), guest.read(&format!("{number}.log")));
        let case = format!("{device} {levels:?} on {}: {json} {log}", release.trim());
        if running < *since {
            assert!(json.is_empty() && log.contains("the kernel does not accept these entries or flags"), "{case}");
            continue;
        }
        let row: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {case}"));
        assert_eq!(row["outcome"], "completed", "{case}");
        assert!(row["ops"].as_u64().is_some_and(|ops| ops > 100), "{case}");
        for (key, level) in *levels {
            assert_eq!(row[format!("eff_{key}")], *level, "{case}");
        }
    }
}

#[test]
fn toggles_run_or_say_why_on_6_1() {
    cases_run_or_say_why("toggles_run_or_say_why_on_6_1", "6.1", "4");
}

#[test]
fn toggles_run_or_say_why_on_6_12() {
    cases_run_or_say_why("toggles_run_or_say_why_on_6_12", "6.12", "2");
}

#[test]
fn toggles_run_or_say_why_on_the_newest_kernel() {
    cases_run_or_say_why("toggles_run_or_say_why_on_the_newest_kernel", "newest", "4");
}

/// A set of 1024 CPUs is refused by the kernel then: masks grow.
#[test]
fn a_machine_of_1100_possible_cpus_is_measured_on() {
    let script = "cat /sys/devices/system/cpu/possible >possible\n\
                  uring-ablate bench --filename /dev/nullb0 --rw randread --runtime 100ms --cpu-affinity on --json >json";
    let options = ["--kernel", "6.1", "--possible-cpus", "1100"];
    let Some(guest) = lab("a_machine_of_1100_possible_cpus_is_measured_on", &options, &[], script) else { return };
    assert_eq!(guest.read("possible"), "0-1099\n");
    let row: serde_json::Value = serde_json::from_str(&guest.read("json")).unwrap();
    assert!(row["outcome"] == "completed" && row["eff_cpu_affinity"] == "on", "{row}");
}

/// Letting registered files and buffers go takes 20 ms each on 6.1: done at the edges of slices it made ten seconds of a round of one.
#[test]
fn rounds_on_an_old_kernel_measure_for_most_of_their_time() {
    let design = "toggles = [\"fixed_buffers\", \"fixed_files\"]\nround_time = \"1s\"\nrounds = 7";
    let text =
        experiment("kind = \"null_blk\"\npath = \"/dev/nullb0\"", "rw = \"randread\"\nbs = \"4k\"\niodepth = 8", design, "");
    let text = text.replace("rounds = 6\nround_time = \"250ms\"\n", "");
    let files: [(&str, &[u8]); 1] = [("test.toml", text.as_bytes())];
    let script = "uring-ablate --quiet run test.toml --out out 2>said || true";
    let Some(guest) = lab("rounds_on_an_old_kernel_measure_for_most_of_their_time", &["--kernel", "6.1"], &files, script) else {
        return;
    };
    let rounds = guest.rows("out/rounds.csv");
    let sum = |column: &str| rounds.iter().map(|row| row[column].parse::<f64>().unwrap()).sum::<f64>();
    let share = sum("slices_s") / sum("wall_s");
    assert!(rounds.len() >= 7 && share > 0.25, "{share} of the rounds' time is measured; {}", guest.read("said"));
    let arms = guest.rows("out/arms.csv");
    for (treatment, toggle) in [("without:fixed_buffers", "eff_fixed_buffers"), ("without:fixed_files", "eff_fixed_files")] {
        let off = arms.iter().filter(|row| row["treatment"] == treatment).all(|row| row[toggle] == "off");
        assert!(off && arms.iter().filter(|row| row["treatment"] == "full").all(|row| row[toggle] == "on"), "{arms:?}");
    }
    assert!(arms.iter().filter(|row| row["outcome"] == "completed").count() * 2 > arms.len(), "{arms:?}");
}

/// The test program itself goes along, to check there what it checks here of every pair of toggles.
#[test]
fn every_pair_reads_what_was_written_to_nvme() {
    let tests = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let script = "echo 64 >/proc/sys/vm/nr_hugepages\n\
                  LAB_DEVICE=/dev/nvme0n1 ./it --exact --ignored --nocapture verify::every_pair_on_the_labs_device 2>&1\n";
    let name = "every_pair_reads_what_was_written_to_nvme";
    let Some(guest) = lab(name, &["--kernel", "newest", "--cpus", "4"], &[("it", &tests)], script) else { return };
    assert!(guest.said.contains("1 passed"), "{}", guest.said);
}

/// Writes to a drive that holds nothing work; to one that holds something they are refused, and not a byte of it changes.
#[test]
fn drives_that_hold_something_are_not_written_to() {
    let target = "kind = \"nvme\"\npath = \"/dev/nvme0n1\"";
    let writes = experiment(target, "rw = \"randwrite\"\nbs = \"4k\"\niodepth = 4", ONE_TOGGLE, "").replace("250ms", "2s");
    let script = r#"
        echo '2048,,L' | sfdisk --quiet --label dos /dev/nvme0n2 >/dev/null
        mkfs.ext4 -q /dev/nvme0n3
        mkswap /dev/nvme0n4 >/dev/null
        mkdir /mnt/disk && mount -t ext4 /dev/nvme0n3 /mnt/disk && echo precious >/mnt/disk/file && sync && umount /mnt/disk
        sha256sum /dev/nvme0n2 /dev/nvme0n3 /dev/nvme0n4 >before
        try() {
          path=$1
          shift
          uring-ablate --quiet run writes.toml --out "$out" --set "target.path=$path" "$@" 2>>said
          echo "exit $?" >>said
        }
        out=denied try /dev/nvme0n1
        out=elsewhere try /dev/nvme0n1 --allow-destructive /dev/nvme0n2
        out=partitioned try /dev/nvme0n2 --allow-destructive /dev/nvme0n2
        out=signed try /dev/nvme0n3 --allow-destructive /dev/nvme0n3
        mount -t ext4 -o ro,noload /dev/nvme0n3 /mnt/disk
        out=mounted try /dev/nvme0n3 --allow-destructive /dev/nvme0n3
        umount /mnt/disk
        swapon /dev/nvme0n4
        out=swap try /dev/nvme0n4 --allow-destructive /dev/nvme0n4
        swapoff /dev/nvme0n4
        echo 3 >/proc/sys/vm/drop_caches
        sha256sum /dev/nvme0n2 /dev/nvme0n3 /dev/nvme0n4 >after
        sha256sum </dev/nvme0n1 >empty
        out=plain try /dev/nvme0n1 --allow-destructive /dev/nvme0n1
        out=commands try /dev/nvme0n1 --allow-destructive /dev/nvme0n1 --set 'design.toggles=["passthrough"]'
        sha256sum </dev/nvme0n1 >written
        rm -rf plain/plots commands/plots
    "#;
    let Some(guest) = lab("drives_that_hold_something_are_not_written_to", &[], &[("writes.toml", writes.as_bytes())], script)
    else {
        return;
    };
    assert_snapshot!(guest.read("said").trim(), @r"
    uring-ablate: this experiment writes to /dev/nvme0n1; nothing but targets of the tool's own is written without --allow-destructive /dev/nvme0n1
    exit 5
    uring-ablate: this experiment writes to /dev/nvme0n1; nothing but targets of the tool's own is written without --allow-destructive /dev/nvme0n1
    exit 5
    uring-ablate: /dev/nvme0n2 has partitions (nvme0n2p1); writing would destroy them; name a device without partitions
    exit 5
    uring-ablate: /dev/nvme0n3 carries a signature (TYPE=ext4 USAGE=filesystem), so it holds somebody's data; name a device or file without one
    exit 5
    uring-ablate: /dev/nvme0n3 is mounted at /mnt/disk; name a device or file that nothing uses
    exit 5
    uring-ablate: /dev/nvme0n4 is in use as swap; name a device or file that nothing uses
    exit 5
    exit 0
    exit 0
    ");
    assert_eq!(guest.read("before"), guest.read("after"), "what was there is still there");
    assert_ne!(guest.read("empty"), guest.read("written"), "the drive that may be written to was");
    for (run, toggle) in [("plain", "batch_submit"), ("commands", "passthrough")] {
        let arms = guest.rows(&format!("{run}/arms.csv"));
        assert!(arms.iter().all(|row| row["outcome"] == "completed"), "{arms:?}");
        let spec = Toggle::parse(toggle).unwrap().spec();
        let off = spec.level_text(spec.off);
        assert!(arms.iter().any(|row| row["treatment"] == "full" && row[&format!("eff_{toggle}")] != off), "{run}");
    }
}

/// The experiments that need what the lab has run there; each ends with a chart, and rows that say they were polled, or commands.
#[test]
fn experiments_of_the_lab_run_and_report() {
    let read = |stem: &str| std::fs::read(home().join("experiments").join(stem).with_extension("toml")).unwrap();
    let texts = IN_THE_LAB.map(|stem| (format!("{stem}.toml"), read(stem)));
    let files: Vec<(&str, &[u8])> = texts.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
    let script: String = IN_THE_LAB
        .map(|stem| {
            format!("uring-ablate --quiet run --smoke {stem}.toml --out {stem} >/dev/null 2>{stem}.log; echo $? >{stem}.code\n")
        })
        .concat();
    let Some(guest) = lab("experiments_of_the_lab_run_and_report", &["--kernel", "newest"], &files, &script) else { return };
    for (stem, toggle) in IN_THE_LAB.iter().zip(["iopoll", "passthrough", "iopoll"]) {
        assert_eq!(guest.read(&format!("{stem}.code")).trim(), "0", "{stem}: {}", guest.read(&format!("{stem}.log")));
        let arms = guest.rows(&format!("{stem}/arms.csv"));
        assert!(arms.iter().any(|row| row["outcome"] == "completed" && row[&format!("eff_{toggle}")] == "on"), "{stem}");
        let report = guest.read(&format!("{stem}/report.md"));
        assert!(report.contains("**Emulated.**") && report.contains("## The answer"), "{stem}");
        let charts = std::fs::read_dir(guest.dir.path().join(stem).join("plots")).unwrap().count();
        assert!(charts > 0, "{stem}");
    }
}

/// With a clock of instructions identical programs cost the same, and polling shows as less of them.
#[test]
fn instructions_per_request_repeat() {
    let bench = "uring-ablate bench --filename /dev/nullb0 --rw randread --bs 4k --iodepth 16 --runtime 20ms --json";
    let script = format!("{bench} >one.json && {bench} >other.json && {bench} --iopoll on >polled.json");
    let Some(guest) = lab("instructions_per_request_repeat", &["--icount"], &[], &script) else { return };
    let cost = |file: &str| {
        let row: serde_json::Value = serde_json::from_str(&guest.read(file)).unwrap();
        row["cpu_total_ns_per_op"].as_f64().unwrap()
    };
    let (one, other, polled) = (cost("one.json"), cost("other.json"), cost("polled.json"));
    assert!((one / other - 1.0).abs() < 0.005, "{one} and {other} instructions");
    assert!(polled / one < 0.99, "{polled} of {one} instructions with polling");
}

#[test]
fn nonsense_is_refused_before_anything_is_installed() {
    let refused = |args: &[&str]| {
        let output = Command::new(home().join("scripts/lab.sh")).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).trim().to_string())
    };
    let said = |text: &str| (Some(125), format!("lab: {text}"));
    let head = format!("see the head of {}", home().join("scripts/lab.sh").display());
    assert_eq!(
        refused(&["--kernel", "5.4", "--", "true"]),
        said("--kernel 5.4: kernels are 6.1 (bookworm), 6.12 (trixie) and newest (trixie-backports)")
    );
    assert_eq!(refused(&["--kernel", "6.1"]), said(&format!("no command after --; {head}")));
    assert_eq!(refused(&["--cpus", "many", "--", "true"]), said("--cpus, --memory and --timeout are whole numbers"));
    assert_eq!(refused(&["--accel", "tgc", "--", "true"]), said("--accel tgc: it is auto, kvm or tcg"));
    assert_eq!(refused(&["true"]), said(&format!("unknown argument true; {head}")));
}

/// `lab.sh` in a place whose name wants quoting, with a directory for temporary files that nothing may be left in.
struct Place(tempfile::TempDir);

impl Place {
    fn new(test: &str) -> Option<Place> {
        there_is_qemu(test).then(|| Place(tempfile::Builder::new().prefix("a b,c'd").tempdir().unwrap()))
    }

    fn lab(&self, args: &[&str]) -> Command {
        let mut command = lab_sh(self.0.path());
        command.args(args).env("TMPDIR", self.0.path());
        command
    }

    fn left_behind(&self) -> Vec<std::ffi::OsString> {
        std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }
}

/// The command's words, output and exit code pass as they are, on a terminal too; the shared folder is the working directory.
#[test]
fn words_streams_and_exit_codes_pass() {
    let Some(place) = Place::new("words_streams_and_exit_codes_pass") else { return };
    let output =
        place.lab(&["--", "sh", "-c", "pwd; echo \"$1\" >file; echo err >&2; exit 7", "x", "it's  \"$HOME\""]).output().unwrap();
    let pwd = format!("{}\n", place.0.path().display());
    assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(7), pwd.as_bytes(), &b"err\n"[..]));
    assert_eq!(std::fs::read_to_string(place.0.path().join("file")).unwrap(), "it's  \"$HOME\"\n");
    assert_eq!(place.left_behind(), ["file"]);
    let lab = format!("{} --accel tcg -- echo on a terminal", home().join("scripts/lab.sh").display());
    let mut script = Command::new("script");
    script.args(["-qec", &lab, "/dev/null"]).env("URING_ABLATE_LAB_TOOL", env!("CARGO_BIN_EXE_uring-ablate"));
    let output = script.current_dir(place.0.path()).stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("on a terminal"), "{output:?}");
}

/// One that hangs is ended after its time, and one whose script is killed with it; nothing stays.
#[test]
fn a_hanging_guest_ends_and_leaves_nothing() {
    let Some(place) = Place::new("a_hanging_guest_ends_and_leaves_nothing") else { return };
    let started = std::time::Instant::now();
    let output = place.lab(&["--timeout", "8", "--", "sleep", "1000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--timeout is 8 s"), "{output:?}");
    assert!(started.elapsed().as_secs() < 60);
    let ours = |path: &Path| {
        let text = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&text).starts_with("qemu") && String::from_utf8_lossy(&text).contains("c'd")
    };
    let guests = || std::fs::read_dir("/proc").unwrap().filter(|entry| ours(&entry.as_ref().unwrap().path())).count();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let mut lab = place.lab(&["--", "sleep", "1000"]).spawn().unwrap();
        let wait_for = |count: usize| {
            let patience = std::time::Instant::now();
            while guests() != count {
                assert!(patience.elapsed().as_secs() < 30, "{} guests, not {count}, {signal:?}", guests());
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        };
        wait_for(1);
        rustix::process::kill_process(rustix::process::Pid::from_child(&lab), signal).unwrap();
        wait_for(0);
        lab.wait().unwrap();
        // What cannot be caught leaves files, but no guest.
        let nothing = signal == rustix::process::Signal::KILL || place.left_behind().is_empty();
        assert!(nothing, "{:?}", place.left_behind());
    }
}
