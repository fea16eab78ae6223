//! Labels are true: each toggle changes its own effective level and no other, and what the process does, seen from outside, agrees.

use crate::support::skip;
use std::process::{Command, Stdio};
use std::time::Duration;
use uring_ablate::engine::Options;
use uring_ablate::plan::{Arm, Control};
use uring_ablate::run::round::{self, ArmReport, Report, Spec};
use uring_ablate::target::{Kind, Target, Wanted};
use uring_ablate::toggle::{Levels, Setting, Toggle, refusal};
use uring_ablate::workload::{Rw, Workload};

/// Toggles that a machine may lack what they need for; their refusal is a label, too.
const ELSEWHERE: [Toggle; 3] = [Toggle::Iopoll, Toggle::HugePages, Toggle::NumaBind];

const WORKLOAD: Workload = Workload { queue_depth: 16, ..Workload::example() };

fn target() -> Target {
    Target::resolve(&Wanted { kind: Kind::Auto, path: None, size_bytes: Some(16 << 20), stamps: None, allowed_bytes: 0 }).unwrap()
}

fn eager() -> Levels {
    Levels::all_off().with(Toggle::QueueRefill, 1)
}

fn spec(target: &Target, workload: Workload, levels: &[Levels]) -> Spec {
    let arm =
        |(i, levels): (usize, &Levels)| Arm { treatment: format!("arm {i}"), levels: *levels, control: Control::None, copies: 1 };
    Spec {
        paths: target.handles(),
        identities: target.identities(),
        span_bytes: target.span_bytes,
        workload,
        options: Options::default(),
        setting: Setting { numa_node: Some(0), ..Setting::default() },
        arms: levels.iter().enumerate().map(arm).collect(),
        seed: 5,
        blocks: 4,
        completions: 400,
        conditioning: false,
        hang_guard: Duration::from_secs(20),
        profile: None,
        counted: None,
        tallied: vec![],
        allow_iowq: false,
    }
}

/// Every level of every toggle on top of `ground`, where the table allows it.
fn each_level(ground: Levels, workload: &Workload) -> Vec<(Toggle, Levels)> {
    let setting = Setting { numa_node: Some(0), ..Setting::default() };
    let levels = Toggle::all().flat_map(|t| t.spec().on_levels().into_iter().map(move |level| (t, ground.with(t, level))));
    let moved = levels.filter(|(t, levels)| levels.get(*t) != ground.get(*t));
    moved.filter(|(_, levels)| refusal(levels, workload, &setting).is_none()).collect()
}

fn toggles_that_differ(a: &Levels, b: &Levels) -> Vec<&'static str> {
    Toggle::all().filter(|t| a.get(*t) != b.get(*t)).map(Toggle::key).collect()
}

#[test]
fn each_toggle_moves_alone() {
    let target = target();
    for rw in [Rw::Read, Rw::Randwrite, Rw::Nop] {
        let workload = Workload { rw, ..WORKLOAD };
        for ground in [Levels::all_off(), eager()] {
            let (toggles, mut levels): (Vec<Toggle>, Vec<Levels>) = each_level(ground, &workload).into_iter().unzip();
            levels.push(ground);
            let report = round::run(&spec(&target, workload, &levels)).unwrap();
            let baseline = report.arms.last().unwrap();
            assert_eq!((&baseline.unsupported, baseline.effective), (&None, ground), "{rw:?}");
            for (toggle, (arm, wanted)) in toggles.iter().zip(report.arms.iter().zip(&levels)) {
                let text = format!("{rw:?} {} = {}", toggle.key(), toggle.spec().level_text(wanted.get(*toggle)));
                match &arm.unsupported {
                    Some(reason) => assert!(ELSEWHERE.contains(toggle), "{text}: {reason}"),
                    None => {
                        assert_eq!(arm.effective, *wanted, "{text}");
                        assert_eq!(toggles_that_differ(&arm.effective, &baseline.effective), [toggle.key()], "{text}");
                    }
                }
            }
        }
    }
}

#[test]
fn numbers_are_read_back_too() {
    let target = target();
    let ground = eager();
    let levels: Vec<Levels> =
        [(Toggle::BatchSubmit, 7), (Toggle::BatchComplete, 5), (Toggle::TimeCheckInterval, 77), (Toggle::LatencySampling, 13)]
            .into_iter()
            .chain([(Toggle::LatencySampling, 0)])
            .map(|(toggle, level)| ground.with(toggle, level))
            .collect();
    let report = round::run(&spec(&target, WORKLOAD, &levels)).unwrap();
    let found: Vec<Levels> = report.arms.iter().map(|arm| arm.effective).collect();
    assert_eq!(found, levels);
}

#[test]
fn polling_a_device_without_poll_queues_is_refused_with_the_remedy() {
    let target = target();
    let levels = [eager(), eager().with(Toggle::Iopoll, 1)];
    let report = round::run(&spec(&target, WORKLOAD, &levels)).unwrap();
    let ArmReport { unsupported, .. } = &report.arms[1];
    let Some(reason) = unsupported else {
        return skip("polling_a_device_without_poll_queues_is_refused_with_the_remedy", "this machine's target can be polled");
    };
    assert!(reason.contains("queue/io_poll is 0") || reason.contains("does not accept"), "{reason}");
    assert!(report.slices.iter().all(|s| s.arm == 0), "nothing is measured of it");
}

/// The system calls of one arm alone, as strace sees them.
fn traced(target: &Target, block_size_bytes: u32, levels: Levels) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=io_uring_setup,io_uring_register,io_uring_enter,sched_setaffinity,mbind,madvise", "-o"])
        .arg(&log);
    command.arg(env!("CARGO_BIN_EXE_uring-ablate")).arg("round").stdin(Stdio::piped()).stdout(Stdio::null());
    let _lent = target.lend().unwrap();
    let mut child = command.spawn().ok()?;
    let workload = Workload { block_size_bytes, ..WORKLOAD };
    let told = Spec { blocks: 1, completions: 200, ..spec(target, workload, &[levels]) };
    serde_json::to_writer(child.stdin.take().unwrap(), &told).unwrap();
    assert!(child.wait().unwrap().success());
    Some(std::fs::read_to_string(log).unwrap())
}

/// The numbers submitted by the enters of a trace.
fn submitted(trace: &str) -> Vec<u32> {
    let enters = trace.lines().filter(|l| l.contains("io_uring_enter("));
    enters.filter_map(|l| l.split_once("io_uring_enter(")?.1.split(", ").nth(1)?.parse().ok()).collect()
}

#[test]
fn strace_sees_what_the_labels_say() {
    let target = target();
    let Some(plain) = traced(&target, 4096, eager()) else {
        return skip("strace_sees_what_the_labels_say", "strace is not installed");
    };
    // What each toggle must show in its own trace, and what the trace without it must not; an strace older than a flag prints its number.
    let cases: [(Toggle, u32, &[&str]); 9] = [
        (Toggle::FixedBuffers, 1, &["IORING_REGISTER_BUFFERS"]),
        (Toggle::Taskrun, 1, &["IORING_SETUP_COOP_TASKRUN", "flags=0x100 "]),
        (Toggle::Taskrun, 2, &["IORING_SETUP_DEFER_TASKRUN", "IORING_SETUP_SINGLE_ISSUER|0x2000", "flags=0x3000"]),
        (Toggle::Sqpoll, 1, &["IORING_SETUP_SQPOLL"]),
        (Toggle::RegisteredRing, 1, &["IORING_ENTER_REGISTERED_RING", "IORING_ENTER_GETEVENTS|0x10"]),
        (Toggle::HugePages, 1, &["MADV_HUGEPAGE"]),
        (Toggle::CpuAffinity, 1, &["sched_setaffinity(0, 128, [0]"]),
        (Toggle::NoSqarray, 1, &["IORING_SETUP_NO_SQARRAY", "flags=0x10000"]),
        (Toggle::BatchComplete, 9, &[", 9, IORING_ENTER_GETEVENTS"]),
    ];
    for (toggle, level, signs) in cases {
        if toggle == Toggle::CpuAffinity && std::thread::available_parallelism().unwrap().get() == 1 {
            continue;
        }
        // Blocks so large, in batches as large as the queue, that even a traced loop outruns the target and waits.
        let (block, batch) = if toggle == Toggle::BatchComplete { (512 << 10, 16) } else { (4096, 1) };
        let trace = traced(&target, block, eager().with(Toggle::BatchSubmit, batch).with(toggle, level)).unwrap();
        let sees = |trace: &str| signs.iter().any(|sign| trace.contains(sign));
        assert!(sees(&trace), "{} = {level} shows one of {signs:?}: {}", toggle.key(), &trace[..trace.len().min(3000)]);
        assert!(!sees(&plain), "none of {signs:?} is there without {}", toggle.key());
    }
    let batch = |level| submitted(&traced(&target, 4096, eager().with(Toggle::BatchSubmit, level)).unwrap()).into_iter().max();
    assert_eq!((batch(1), batch(5), batch(16)), (Some(1), Some(5), Some(16)), "most that one enter submits");
    let kept = |trace: &str, sign: &str| {
        trace.matches(&format!("IORING_REGISTER_{sign}")).count() - trace.matches(&format!("IORING_UNREGISTER_{sign}")).count()
    };
    let files = traced(&target, 4096, eager().with(Toggle::FixedFiles, 1)).unwrap();
    assert!(kept(&files, "FILES") == kept(&plain, "FILES"), "what is registered is let go either way");
}

#[test]
fn tracepoints_see_every_request_with_its_opcode_and_file() {
    let Some(tracing) = Tracing::arm() else {
        return skip(
            "tracepoints_see_every_request_with_its_opcode_and_file",
            "the tracepoint io_uring_submit_req cannot be read (root and tracefs are needed)",
        );
    };
    let target = target();
    // IOSQE_FIXED_FILE is bit 0 of the flags.
    let cases = [
        (eager(), "READ", false),
        (eager().with(Toggle::FixedBuffers, 1), "READ_FIXED", false),
        (eager().with(Toggle::FixedFiles, 1), "READ", true),
    ];
    for (levels, opcode, fixed) in cases {
        let (lines, _) = tracing.of(&Spec { blocks: 1, ..spec(&target, WORKLOAD, &[levels]) });
        assert!(lines.len() > 400, "{} requests were seen", lines.len());
        let wrong =
            lines.iter().find(|l| !l.contains(&format!("opcode {opcode},")) || flags(l).is_none_or(|f| (f & 1 == 1) != fixed));
        assert_eq!(wrong, None, "{levels:?}");
    }
    // The kernel also sees what sets the rings up, fills their queues and drains them: as much in a short run as in a long one.
    let count = |completions| {
        let nops = spec(&target, Workload { rw: Rw::Nop, ..WORKLOAD }, &[eager()]);
        let (lines, report) = tracing.of(&Spec { blocks: 1, completions, ..nops });
        (report.slices[0].ops, lines.iter().filter(|l| l.contains("opcode NOP,")).count() as u64)
    };
    let (short, long) = (count(400), count(4000));
    let (counted, submitted) = (long.0 - short.0, long.1 - short.1);
    assert!(counted.abs_diff(submitted) <= u64::from(WORKLOAD.queue_depth), "{counted} counted, {submitted} submitted");
}

/// The number behind `flags` of a line of `io_uring_submit_req`.
fn flags(line: &str) -> Option<u64> {
    let text = line.split_once("flags ")?.1.split([',', ' ']).next()?;
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// A trace instance of this test's own, gone with the value.
struct Tracing(std::path::PathBuf);

impl Tracing {
    fn arm() -> Option<Tracing> {
        let root = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .into_iter()
            .find(|r| std::path::Path::new(r).join("instances").exists())?;
        let instance = std::path::Path::new(root).join(format!("instances/uring-ablate-{}", std::process::id()));
        std::fs::create_dir(&instance).ok()?;
        let tracing = Tracing(instance);
        std::fs::write(tracing.0.join("buffer_size_kb"), "8192").ok()?;
        std::fs::write(tracing.0.join("events/io_uring/io_uring_submit_req/enable"), "1").ok()?;
        Some(tracing)
    }

    /// The lines that a round process left, and its report.
    fn of(&self, spec: &Spec) -> (Vec<String>, Report) {
        std::fs::write(self.0.join("trace"), "").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_uring-ablate"));
        let mut child = command.arg("round").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), spec).unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = std::fs::read_to_string(self.0.join("trace")).unwrap();
        let mine = |l: &&str| l.contains(&format!("-{pid} ")) && l.contains("io_uring_submit_req:");
        (text.lines().filter(mine).map(String::from).collect(), serde_json::from_slice(&output.stdout).unwrap())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("events/io_uring/io_uring_submit_req/enable"), "0");
        let _ = std::fs::remove_dir(&self.0);
    }
}
