//! scripts/host-tune.sh: what it sets it puts back, whatever happens in between. On a made tree of settings, and on the queue of a real loop device.

use crate::support::{LoopDevice, home, root, said, skip, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A kernel file that reads as a word and refuses to be written.
const REFUSING: &str = "/proc/sys/kernel/ostype";

/// A kernel file that takes what is written and keeps fifteen characters of it: the name of the process.
const SHORTENING: &str = "/proc/self/comm";

/// The settings of a made machine, below `sys` and `proc`: place, value, and value for measuring.
const MADE: &[(&str, &str, &str)] = &[
    ("sys/devices/system/cpu/intel_pstate/no_turbo", "0", "1"),
    ("sys/devices/system/cpu/cpufreq/policy0/energy_performance_preference", "balance_power", "performance"),
    ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave", "performance"),
    ("sys/devices/system/cpu/cpufreq/policy1/scaling_governor", "powersave", "performance"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state1/disable", "0", "0"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "0", "1"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always", "madvise"),
    ("proc/sys/kernel/numa_balancing", "1", "0"),
    ("proc/sys/vm/nr_hugepages", "7", "7"),
    ("proc/irq/40/smp_affinity_list", "0-1", "0-1"),
    ("sys/block/nvme9n1/queue/scheduler", "mq-deadline", "none"),
    ("sys/block/nvme9n1/queue/nomerges", "0", "2"),
    ("sys/block/nvme9n1/queue/rq_affinity", "1", "2"),
    ("sys/block/nvme9n1/queue/wbt_lat_usec", "75000", "0"),
    ("sys/block/nvme9n1/queue/iostats", "0", "1"),
    ("sys/devices/system/cpu/smt/control", "on", "on"),
];

const NO_MERGES: &str = "sys/block/nvme9n1/queue/nomerges";

/// A directory in place of `/`.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn empty() -> Machine {
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        machine.write("proc/sys/kernel/random/boot_id", "a boot\n");
        fs::create_dir(machine.at("run")).unwrap();
        fs::create_dir_all(machine.at("sys/class/block")).unwrap();
        machine
    }

    fn made() -> Machine {
        let machine = Machine::empty();
        for (place, value, _) in MADE {
            machine.write(place, &format!("{value}\n"));
        }
        machine.write("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
        machine.write("sys/block/nvme9n1/queue/scheduler", "[mq-deadline] none\n");
        machine.write("sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "2\n");
        machine.write("sys/devices/system/cpu/cpu0/cpuidle/state2/latency", "170\n");
        machine.write("sys/devices/pci/msi_irqs/40", "msix\n");
        symlink("../../devices/pci", machine.at("sys/block/nvme9n1/device")).unwrap();
        symlink("../../block/nvme9n1", machine.at("sys/class/block/nvme9n1")).unwrap();
        machine
    }

    fn at(&self, place: &str) -> PathBuf {
        self.dir.path().join(place)
    }

    fn write(&self, place: &str, text: &str) {
        let path = self.at(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a link to a kernel file in the place of a setting.
    fn replace(&self, place: &str, target: &str) {
        fs::remove_file(self.at(place)).unwrap();
        symlink(target, self.at(place)).unwrap();
    }

    fn read(&self, place: &str) -> String {
        fs::read_to_string(self.at(place)).unwrap().trim().to_string()
    }

    /// The made settings, as a kernel would name the chosen one.
    fn values(&self) -> BTreeMap<&'static str, String> {
        let chosen = |text: String| text.split(['[', ']']).nth(1).map_or(text.clone(), str::to_string);
        MADE.iter().map(|(place, _, _)| (*place, chosen(self.read(place)))).collect()
    }

    fn script(&self, args: &[&str]) -> Command {
        let mut command = Command::new(home().join("scripts/host-tune.sh"));
        command.args(args).env("HOST_TUNE_ROOT", self.dir.path());
        command
    }

    fn tune(&self, args: &[&str]) -> Output {
        self.script(args).output().unwrap()
    }

    /// In the background, silent.
    fn start(&self, args: &[&str]) -> std::process::Child {
        self.script(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn in_force(&self) -> bool {
        self.at("run/host-tune.state").exists()
    }
}

fn before() -> BTreeMap<&'static str, String> {
    MADE.iter().map(|(place, value, _)| (*place, value.to_string())).collect()
}

fn tuned() -> BTreeMap<&'static str, String> {
    MADE.iter().map(|(place, _, value)| (*place, value.to_string())).collect()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

const ON_NVME: [&str; 3] = ["apply", "--device", "/dev/nvme9n1"];

#[test]
fn what_was_set_is_put_back() {
    let machine = Machine::made();
    let applied = machine.tune(&ON_NVME);
    assert_eq!(code(&applied), Some(0), "{}", said(&applied));
    assert!(said(&applied).contains("governor: powersave -> performance (2 places)"), "{}", said(&applied));
    assert_eq!(machine.values(), tuned());

    let again = machine.tune(&ON_NVME);
    assert_eq!(code(&again), Some(2), "{}", said(&again));
    assert!(said(&again).contains("put everything back first"), "{}", said(&again));
    assert_eq!(machine.values(), tuned());

    let restored = machine.tune(&["restore"]);
    assert_eq!(code(&restored), Some(0), "{}", said(&restored));
    assert_eq!(machine.values(), before());
    assert!(!machine.in_force());
    assert_eq!(code(&machine.tune(&["restore"])), Some(0), "once more does no harm");
}

#[test]
fn looking_and_rehearsing_change_nothing() {
    let machine = Machine::made();
    for args in [&["show", "nvme9n1"][..], &["apply", "--dry-run", "--device", "nvme9n1"]] {
        let output = machine.tune(args);
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        assert!(said(&output).contains("scheduler: mq-deadline"), "{}", said(&output));
        assert!(!machine.in_force());
        assert_eq!(machine.values(), before());
    }
}

#[test]
fn what_is_asked_for_is_set_and_what_is_left_is_not() {
    let machine = Machine::made();
    let sets =
        ["--set", "huge_pages_reserved=512", "--set", "irq_affinity=1,0", "--set", "hyper_threading=off", "--leave", "governor"];
    let applied = machine.tune(&[&ON_NVME[..], &sets].concat());
    assert_eq!(code(&applied), Some(0), "{}", said(&applied));
    assert_eq!(machine.read("proc/sys/vm/nr_hugepages"), "512");
    assert_eq!(machine.read("sys/devices/system/cpu/smt/control"), "off");
    assert_eq!(machine.read("sys/devices/system/cpu/cpufreq/policy0/scaling_governor"), "powersave");
    assert!(said(&applied).contains("irq_affinity: 0-1 already"), "the same CPUs, written differently: {}", said(&applied));
    assert_eq!(code(&machine.tune(&["restore"])), Some(0));
    assert_eq!(machine.values(), before());
}

#[test]
fn nonsense_and_what_cannot_be_undone_are_refused() {
    let machine = Machine::made();
    for (args, reason) in [
        (&["apply", "--set", "nvme_poll_queues=4"][..], "nvme.poll_queues=N"),
        (&["apply", "--set", "format=1"], "destroys all data"),
        (&["apply", "--set", "colour=red"], "there is no setting 'colour'"),
        (&["apply", "--device", "/dev/nothing"], "/dev/nothing is no block device"),
        (&["apply", "--set", "governor"], "a value is missing"),
        (&["apply", "--set", "idle_states=deep"], "in microseconds"),
        (&["run"], "which command?"),
        (&["polish"], "what to do"),
    ] {
        let output = machine.tune(args);
        assert_eq!(code(&output), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(reason), "{args:?}: {}", said(&output));
    }
    assert_eq!(machine.values(), before());
    assert!(!machine.in_force());
}

#[test]
fn a_refused_value_is_named_and_not_counted() {
    let machine = Machine::made();
    machine.replace("proc/irq/40/smp_affinity_list", REFUSING);
    let applied = machine.tune(&[&ON_NVME[..], &["--set", "irq_affinity=1"]].concat());
    assert_eq!(code(&applied), Some(0), "{}", said(&applied));
    assert!(said(&applied).contains("irq_affinity: Linux, REFUSED 1: Permission denied"), "{}", said(&applied));
    assert!(said(&applied).contains(", 1 refused"), "{}", said(&applied));
    assert_eq!(machine.read(NO_MERGES), "2");
    assert_eq!(code(&machine.tune(&["restore"])), Some(0));
    assert_eq!(machine.read(NO_MERGES), "0");
}

#[test]
fn a_value_that_does_not_take_ends_the_attempt() {
    let machine = Machine::made();
    machine.replace("sys/block/nvme9n1/queue/rq_affinity", SHORTENING);
    let applied = machine.tune(&[&ON_NVME[..], &["--set", "completion_affinity=longer-than-is-kept"]].concat());
    assert_eq!(code(&applied), Some(1), "{}", said(&applied));
    assert!(
        said(&applied).contains("DID NOT TAKE: longer-than-is-kept was written, longer-than-is- is there"),
        "{}",
        said(&applied)
    );
    assert_eq!(machine.read(NO_MERGES), "0", "what had been set is as it was");
    assert!(!machine.in_force());
}

#[test]
fn what_cannot_be_put_back_is_named_and_can_be_tried_again() {
    let machine = Machine::made();
    assert_eq!(code(&machine.tune(&ON_NVME)), Some(0));
    machine.replace(NO_MERGES, REFUSING);
    let restored = machine.tune(&["restore"]);
    assert_eq!(code(&restored), Some(1), "{}", said(&restored));
    assert!(said(&restored).contains("NOT PUT BACK: no_merges."), "{}", said(&restored));
    assert_eq!(machine.read("sys/block/nvme9n1/queue/iostats"), "0", "the others are");
    fs::remove_file(machine.at(NO_MERGES)).unwrap();
    machine.write(NO_MERGES, "2\n");
    assert_eq!(code(&machine.tune(&["restore"])), Some(0));
    assert_eq!(machine.values(), before());
}

#[test]
fn killed_while_setting_everything_can_be_put_back() {
    let machine = Machine::made();
    // A pipe in the place of a setting: it is read once when the state is saved, and blocks when its turn to be set comes.
    fs::remove_file(machine.at(NO_MERGES)).unwrap();
    assert!(Command::new("mkfifo").arg(machine.at(NO_MERGES)).status().unwrap().success());
    let mut apply = machine.start(&ON_NVME);
    fs::write(machine.at(NO_MERGES), "0\n").unwrap();
    wait_until("the setting before it", || machine.read("sys/block/nvme9n1/queue/scheduler") == "none");
    apply.kill().unwrap();
    apply.wait().unwrap();
    fs::remove_file(machine.at(NO_MERGES)).unwrap();
    machine.write(NO_MERGES, "0\n");
    assert!(machine.in_force() && machine.values() != before());
    let restored = machine.tune(&["restore"]);
    assert_eq!(code(&restored), Some(0), "{}", said(&restored));
    assert_eq!(machine.values(), before());
}

#[test]
fn a_state_of_an_earlier_boot_is_not_replayed() {
    let machine = Machine::made();
    assert_eq!(code(&machine.tune(&ON_NVME)), Some(0));
    machine.write("proc/sys/kernel/random/boot_id", "another boot\n");
    assert_eq!(code(&machine.tune(&["restore"])), Some(0));
    assert_eq!(machine.values(), tuned());
    assert!(!machine.in_force());
}

#[test]
fn a_command_runs_on_what_was_set() {
    let machine = Machine::made();
    let merges = machine.at(NO_MERGES).display().to_string();
    let command = format!("cat {merges}; exit 7");
    let output = machine.tune(&["run", "--device", "nvme9n1", "--", "sh", "-c", &command]);
    assert_eq!(code(&output), Some(7), "{}", said(&output));
    assert_eq!(output.stdout, b"2\n", "nothing but the command writes there");
    assert_eq!(machine.values(), before());

    let command = format!("{}/scripts/host-tune.sh restore", env!("CARGO_MANIFEST_DIR"));
    let output = machine.tune(&["run", "--device", "nvme9n1", "--", "sh", "-c", &command]);
    assert_eq!(code(&output), Some(2), "{}", said(&output));
    assert!(said(&output).contains("is at work on them") && !said(&output).contains("CHANGED"), "{}", said(&output));
    assert_eq!(machine.values(), before());

    let command = format!("echo 1 >{merges}");
    let output = machine.tune(&["run", "--device", "nvme9n1", "--", "sh", "-c", &command]);
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    assert!(said(&output).contains("no_merges: CHANGED meanwhile by something else"), "{}", said(&output));
    assert_eq!(machine.values(), before());
}

#[test]
fn a_signal_ends_the_command_and_puts_everything_back() {
    for (signal, number) in [("-TERM", 15), ("-INT", 2)] {
        let machine = Machine::made();
        let mut run = machine.start(&["run", "--device", "nvme9n1", "--", "sleep", "100"]);
        wait_until("the last setting", || machine.values() == tuned());
        // The command follows at once; early or late, the signal must do the same.
        assert!(Command::new("kill").args([signal, &run.id().to_string()]).status().unwrap().success());
        assert_eq!(run.wait().unwrap().code(), Some(128 + number));
        assert_eq!(machine.values(), before());
        assert!(!machine.in_force());
    }
}

#[test]
fn irqbalance_is_stopped_and_continued() {
    let machine = Machine::empty();
    let mut balancer = Command::new("sh");
    balancer.args(["-c", "printf irqbalance >/proc/$$/comm; read line"]).stdin(Stdio::piped());
    let mut balancer = balancer.spawn().unwrap();
    let process = format!("/proc/{}", balancer.id());
    symlink(&process, machine.at(&format!("proc/{}", balancer.id()))).unwrap();
    wait_until("its name", || fs::read_to_string(format!("{process}/comm")).unwrap().trim() == "irqbalance");
    let stopped = || fs::read_to_string(format!("{process}/stat")).unwrap().contains("(irqbalance) T ");
    let applied = machine.tune(&["apply"]);
    let was_stopped = stopped();
    let restored = machine.tune(&["restore"]);
    let is_stopped = stopped();
    balancer.kill().unwrap();
    balancer.wait().unwrap();
    assert!(was_stopped, "{}", said(&applied));
    assert!(!is_stopped && code(&restored) == Some(0), "{}", said(&restored));
}

/// A real queue in an otherwise empty machine: nothing but the loop device is touched.
fn with_a_real_queue(test: &str, check: impl Fn(&Machine, &str, &dyn Fn() -> Vec<Option<String>>)) {
    if !root() {
        return skip(test, "making a loop device needs root");
    }
    let machine = Machine::empty();
    let Some(device) = LoopDevice::new(machine.dir.path(), 16 << 20, "512") else {
        return skip(test, "losetup is not permitted");
    };
    let name = device.0.trim_start_matches("/dev/");
    let real = Path::new("/sys/block").join(name);
    fs::create_dir_all(machine.at("sys/block")).unwrap();
    symlink(&real, machine.at("sys/block").join(name)).unwrap();
    symlink(&real, machine.at("sys/class/block").join(name)).unwrap();
    let files = ["scheduler", "nomerges", "rq_affinity", "wbt_lat_usec", "read_ahead_kb", "iostats"];
    let queue = || files.iter().map(|file| fs::read_to_string(real.join("queue").join(file)).ok()).collect::<Vec<_>>();
    check(&machine, &device.0, &queue);
}

#[test]
fn a_real_queue_is_set_and_put_back() {
    with_a_real_queue("a_real_queue_is_set_and_put_back", |machine, device, queue| {
        let before = queue();
        let apply = ["apply", "--device", device];
        let applied = machine.tune(&apply);
        assert_eq!(code(&applied), Some(0), "{}", said(&applied));
        assert_eq!(queue()[1].as_deref(), Some("2\n"), "{}", said(&applied));
        assert_eq!(code(&machine.tune(&apply)), Some(2), "twice");
        let restored = machine.tune(&["restore"]);
        assert_eq!(code(&restored), Some(0), "{}", said(&restored));
        assert_eq!(queue(), before);
    });
}

#[test]
fn a_real_queue_that_rounds_is_found_out() {
    with_a_real_queue("a_real_queue_that_rounds_is_found_out", |machine, device, queue| {
        let before = queue();
        let applied = machine.tune(&["apply", "--device", device, "--set", "read_ahead_kib=5"]);
        assert_eq!(code(&applied), Some(1), "{}", said(&applied));
        assert!(said(&applied).contains("read_ahead_kib: DID NOT TAKE: 5 was written, 4 is there"), "{}", said(&applied));
        assert_eq!(queue(), before);
        let refused = machine.tune(&["apply", "--device", device, "--set", "scheduler=nonsense"]);
        assert_eq!(code(&refused), Some(0), "{}", said(&refused));
        assert!(said(&refused).contains("REFUSED nonsense"), "{}", said(&refused));
        assert_eq!(code(&machine.tune(&["restore"])), Some(0));
        assert_eq!(queue(), before);
    });
}

#[test]
fn a_real_queue_survives_kills_and_signals() {
    with_a_real_queue("a_real_queue_survives_kills_and_signals", |machine, device, queue| {
        let before = queue();
        let run = ["run", "--device", device, "--", "sleep", "1"];
        let mut killed = machine.start(&run);
        wait_until("a setting", || queue() != before);
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert_ne!(queue(), before, "kill -9 leaves it as it is");
        let restored = machine.tune(&["restore"]);
        assert_eq!(code(&restored), Some(0), "{}", said(&restored));
        assert_eq!(queue(), before);

        let mut ended = machine.start(&run);
        wait_until("a setting", || queue() != before);
        assert!(Command::new("kill").args(["-TERM", &ended.id().to_string()]).status().unwrap().success());
        assert_eq!(ended.wait().unwrap().code(), Some(143));
        assert_eq!(queue(), before);
        assert!(!machine.in_force());
    });
}
