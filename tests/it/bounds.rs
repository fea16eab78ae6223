//! What is too much of anything is refused, with the key, the value and the limit, before it costs memory or time.

use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, ended, experiment, printing, rows, script};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::{Compression, write::ZlibEncoder};
use std::fs;
use std::io::Write;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use uring_ablate::limits;

/// Runs the binary with this much address space, and no longer than a minute.
pub fn confined(gibibytes: u64, args: &[&str]) -> Output {
    let bytes = (gibibytes << 30).to_string();
    let exe = env!("CARGO_BIN_EXE_uring-ablate");
    Command::new("timeout").args(["60", "prlimit", &format!("--as={bytes}"), "--core=0", exe]).args(args).output().unwrap()
}

#[test]
fn plans_that_are_too_long_or_too_large_are_refused_at_once() {
    let peers = "[peers]\nfio = [\"default\"]\n";
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, peers));
    let file = bench.file.to_str().unwrap();
    let many = |n: usize| format!("[{}]", (1..=n).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
    let (lists, items) = (many(300), many(limits::LIST + 1));
    let rounds = format!("4294967295 are too many: {} are the most", limits::ROUNDS);
    let days = limits::TIME.as_secs() / 86_400;
    let long = format!("\"5000000000000000h\" is too long: {days} days is the most");
    let hours = limits::ROUND_TIME.as_secs() / 3600;
    let cases: [(&[&str], &str); 16] = [
        (&["design.rounds=4294967295"], &format!("[design] rounds: {rounds}")),
        (&["profile.rounds=4294967295"], &format!("[profile] rounds: {rounds}")),
        (&["counters.rounds=4294967295"], &format!("[counters] rounds: {rounds}")),
        (&["gate.most_rounds=4294967295"], &format!("[gate] most_rounds: {rounds}")),
        (&["design.round_time=5000000000000000h"], &format!("round_time: {long}")),
        (
            &[&format!("design.round_time={}h", hours + 1)],
            &format!("[design] round_time: \"{}h\" is too long: {hours}h is the most", hours + 1),
        ),
        (&["peers.round_time=5000000000000000h"], "[peers] round_time: \"5000000000000000h\" is too long"),
        (&["peers.whole_time=5000000000000000h"], "[peers] whole_time: \"5000000000000000h\" is too long"),
        (&["design.budget=5000000000000000h"], &format!("budget: {long}")),
        (&["design.trial_time=5000000000000000h"], &format!("trial_time: {long}")),
        (
            &[&format!("workload.iodepth={items}")],
            &format!("iodepth lists {} items; at most {} are taken", limits::LIST + 1, limits::LIST),
        ),
        (
            &[
                &format!("workload.iodepth={lists}"),
                &format!("workload.numjobs={}", many(200)),
                &format!("workload.rate_iops={lists}"),
            ],
            &format!("[workload] lists make more than {} combinations, the limit", limits::CELLS),
        ),
        (&[&format!("workload.numjobs={}", limits::JOBS + 1)], &format!("numjobs: \"{}\"", limits::JOBS + 1)),
        (&[&format!("workload.rate_iops={}", limits::RATE + 1)], &format!("rate_iops: \"{}\"", limits::RATE + 1)),
        (&[&format!("workload.bs={}", limits::BLOCK_BYTES + 512)], "must be a multiple of 512 bytes, at most 1 GiB"),
        (&[&format!("profile.frequency={}", limits::TICKS + 1)], &format!("must be from 1 to {} ticks a second", limits::TICKS)),
    ];
    for (changes, expected) in cases {
        let sets: Vec<&str> = changes.iter().flat_map(|change| ["--set", change]).collect();
        let started = Instant::now();
        let (code, text) = ended(&confined(8, &[&["plan", file], &sets[..]].concat()));
        assert!(code == Some(2) && text.contains(expected) && text.contains("test.toml:"), "{changes:?}: {code:?} {text}");
        assert!(started.elapsed() < Duration::from_secs(20), "{changes:?}");
    }
    let planned = format!("rounds in 20 cells; {} are the most", limits::PLANNED_ROUNDS);
    let depths: Vec<String> = (16..36).map(|depth| depth.to_string()).collect();
    let whole = [
        "plan",
        file,
        "--set",
        &format!("design.rounds={}", limits::ROUNDS),
        "--set",
        &format!("workload.iodepth=[{}]", depths.join(",")),
    ];
    let (code, text) = ended(&confined(8, &whole));
    assert!(code == Some(2) && text.contains(&planned), "{code:?} {text}");
    let (jobs, rate) = ((limits::JOBS + 1).to_string(), (limits::RATE + 1).to_string());
    let bench = [
        ("--runtime", "4294967295", "is too long: 30 days is the most"),
        ("--numjobs", &jobs, "is not in 1..="),
        ("--rate-iops", &rate, "is not in 1..="),
    ];
    for (flag, value, due) in bench {
        let (code, text) = ended(&confined(8, &["bench", flag, value]));
        assert!(code == Some(2) && text.contains(due), "{flag}: {code:?} {text}");
    }
}

#[test]
fn an_experiment_is_a_regular_file_of_a_sensible_size() {
    let bench = Bench::small();
    let pipe = bench.dir.path().join("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (code, text) = ended(
        &Command::new("timeout").arg("20").arg(env!("CARGO_BIN_EXE_uring-ablate")).arg("plan").arg(&pipe).output().unwrap(),
    );
    assert!(code == Some(2) && text.contains("a regular file is needed"), "{code:?} {text}");
    let (code, text) = ended(&confined(4, &["plan", "/dev/zero"]));
    assert!(code == Some(2) && text.contains("a regular file is needed"), "{code:?} {text}");
    fs::File::options().write(true).open(&bench.file).unwrap().set_len(3 << 30).unwrap();
    let (code, text) = ended(&confined(2, &["plan", bench.file.to_str().unwrap()]));
    assert!(code == Some(2) && text.contains("larger than 1 MiB"), "{code:?} {text}");
    let long = |bytes: u64| {
        let small = experiment(SMALL_TARGET, READS, ONE_TOGGLE, "");
        fs::write(&bench.file, small.clone() + &"#".repeat(bytes as usize - small.len())).unwrap();
        ended(&confined(2, &["plan", bench.file.to_str().unwrap()])).0
    };
    assert_eq!(
        (long(limits::EXPERIMENT_BYTES), long(limits::EXPERIMENT_BYTES + 1)),
        (Some(0), Some(2)),
        "the limit itself is taken"
    );
}

#[test]
fn what_would_fill_memory_or_disk_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let run = |kind: &str, size: &str, more: &[&str]| {
        let bench = Bench::new(&experiment(&format!("kind = \"{kind}\"\nsize = \"{size}\""), READS, ONE_TOGGLE, ""));
        let mut command = ablate();
        command.arg("run").arg(&bench.file).args(["--quiet", "--out"]).arg(bench.out()).args(more).env("TMPDIR", dir.path());
        ended(&command.output().unwrap())
    };
    for (kind, size, words) in [("auto", "90000TiB", "90000 TiB"), ("loop", "100TiB", "100 TiB"), ("file", "900TiB", "900 TiB")] {
        let (code, text) = run(kind, size, &[]);
        assert!(
            code == Some(2) && text.contains("[target] size") && text.contains(&format!("takes {words}")),
            "{kind}: {code:?} {text}"
        );
        assert!(text.contains("are free") && text.contains("--allow-size"), "{kind}: {text}");
        let (code, text) = run(kind, size, &["--allow-size", size]);
        assert!(code == Some(2) && text.contains("are free"), "{kind}: more than there is is not to be had: {text}");
    }
    let (code, text) = ended(&ablate().args(["bench", "--size", "100TiB"]).output().unwrap());
    assert!(code == Some(2) && text.contains("100 TiB"), "{text}");
    let greedy = ["bench", "--bs", "1g", "--iodepth", "32768", "--numjobs", "256", "--filename", "/bin/sh"];
    let (code, text) = ended(&ablate().args(greedy).output().unwrap());
    assert!(code == Some(2) && text.contains("bs x iodepth x numjobs takes 8192 TiB"), "{text}");
}

#[test]
fn the_kernel_is_asked_to_take_us_first() {
    let bench = Bench::new(&printing(SMALL_TARGET, "[\"{program}\"]"));
    let program = script(bench.dir.path(), "program", "echo v=$(cat /proc/self/oom_score_adj)");
    let history = bench.dir.path().join("history");
    let mut night = ablate();
    night
        .arg("nightly")
        .arg(&bench.file)
        .arg("--history")
        .arg(&history)
        .arg("--reference")
        .arg(&program)
        .arg("--candidate")
        .arg(&program);
    let output = night.output().unwrap();
    let nights = fs::read_dir(&history).into_iter().flatten().flatten().map(|e| e.path().join("rounds.csv"));
    let rounds: Vec<_> = nights.filter(|path| path.exists()).flat_map(|path| rows(&path)).collect();
    assert!(
        !rounds.is_empty() && rounds.iter().all(|r| r["reference"].parse::<f64>() == Ok(800.0)),
        "{rounds:?} {:?}",
        ended(&output)
    );
}

/// What becomes of a fio whose whole run prints this.
pub fn whole_run_of(prints: &str) -> (Option<i32>, String) {
    let peers = "[peers]\nfio = [\"default\"]\nround_time = \"100ms\"\nwhole_time = \"1s\"\n";
    // Room for a busy machine: what is asked for here is the row of the whole run.
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, peers).replace("250ms", "1s"));
    let body = format!(
        "case \"$*\" in\n*--version*) echo fio-3.33;;\n*--parse-only*) cat >/dev/null;;\n*output-format=json*) cat >/dev/null; {prints};;\n*) exit 1;;\nesac"
    );
    let fio = script(bench.dir.path(), "fakefio", &body);
    let output = bench.run(&["--quiet", "--set", &format!("peers.fio_path={}", fio.display())]);
    let arms = rows(&bench.out().join("arms.csv"));
    let row = arms.iter().find(|r| r["kind"] == "whole").map(|r| format!("{}: {}", r["outcome"], r["reason"]));
    (output.status.code(), row.unwrap_or_default())
}

#[test]
fn a_fio_that_writes_without_end_is_ended() {
    let (code, row) = whole_run_of("exec yes");
    assert!(code == Some(0) && row.contains("failed") && row.contains("it wrote more than 16 MiB, the limit"), "{code:?} {row}");
    let (code, row) = whole_run_of(&format!("head -c {} /dev/zero", limits::OUTPUT_BYTES + 1));
    assert!(code == Some(0) && row.contains("failed") && row.contains("it wrote more than 16 MiB, the limit"), "{code:?} {row}");
}

#[test]
fn a_fio_whose_figures_no_run_has_fails_alone() {
    let most = u64::MAX;
    let report = |io: &str, ios: &str, runtime: &str, cpu: &str| {
        let clat = "\"clat_ns\":{\"N\":1,\"mean\":1.0,\"max\":1}";
        let read = format!("{{\"io_bytes\":{io},\"total_ios\":{ios},\"runtime\":{runtime},{clat}}}");
        format!("echo '{{\"jobs\":[{{\"read\":{read},\"job_runtime\":1000,\"usr_cpu\":{cpu},\"sys_cpu\":1.0}}]}}'")
    };
    let most = most.to_string();
    let cases = [
        // It can be read, and is then compared with what the kernel counted.
        (report("4096", "1", "1000", "1.0"), "invalid: 100 % of the bytes"),
        (report("4096", "1", "0", "1.0"), "its runtime is 0"),
        (report(&most, &most, &most, "1.0"), "which no run has"),
        (report("4096", "1", "1000", "1e308"), "its usr_cpu is 1e308"),
        (report("4096", "-5", "1000", "1.0"), "is not its JSON report"),
        ("printf '{\"jobs\":'; head -c 200000 /dev/zero | tr '\\0' '['".into(), "is not its JSON report"),
    ];
    for (prints, expected) in cases {
        let (code, row) = whole_run_of(&prints);
        assert!(code == Some(0) && row.contains(expected), "{expected}: {code:?} {row}");
    }
}

/// A line of a latency log whose histogram inflates to a header of these figures and so many zeros.
fn line(tag: &str, length: u32, digits: u32, zeros: usize) -> String {
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
    [0x1c84_9313, length, 0, digits].iter().for_each(|n: &u32| deflate.write_all(&n.to_be_bytes()).unwrap());
    [1, u64::MAX, 1.0_f64.to_bits()].iter().for_each(|n| deflate.write_all(&n.to_be_bytes()).unwrap());
    deflate.write_all(&vec![0; zeros]).unwrap();
    let deflated = deflate.finish().unwrap();
    let bytes = [&0x1c84_9314_u32.to_be_bytes()[..], &(deflated.len() as u32).to_be_bytes(), &deflated].concat();
    format!("Tag={tag},0.000,1.000,0.000,{}\n", BASE64_STANDARD.encode(bytes))
}

#[test]
fn a_latency_log_that_inflates_without_bounds_is_damaged_and_takes_no_memory() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "").replace("250ms", "1s"));
    let run = bench.run(&["--quiet"]);
    assert_eq!(run.status.code(), Some(0), "{}", bench.verdict(&run));
    let arms = rows(&bench.out().join("arms.csv"));
    let arm = arms.iter().find(|r| r["outcome"] == "completed" && r["treatment"] == "full").unwrap();
    let tag = format!("{}/{}/{}", arm["round"], arm["cell"], arm["treatment"]);
    let head = "#[Histogram log format version 1.3]\n\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";
    let out = bench.out();
    // It says how long the log was, and would show that another stands in its place.
    fs::remove_file(out.join("rounds.csv")).unwrap();
    let (most, digits) = (limits::HISTOGRAM_BYTES as usize, limits::HISTOGRAM_DIGITS);
    for (bad, reason) in [
        (line(&tag, most as u32, digits, most), "inflates to more than 1 MiB"),
        (line(&tag, u32::MAX, 3, 8), "4294967295 bytes of counts"),
        (line(&tag, 8, digits + 1, 8), "4 significant digits"),
    ] {
        fs::write(out.join("latency.hlog"), format!("{head}{bad}")).unwrap();
        let (code, text) = ended(&confined(4, &["export", out.to_str().unwrap(), "--format", "hlog"]));
        assert!(code == Some(2) && text.contains(reason), "{reason}: {code:?} {text}");
        let (code, text) = ended(&confined(4, &["report", out.to_str().unwrap(), "--quiet"]));
        assert!(code.is_some_and(|c| c < 100), "{reason}: {code:?} {text}");
    }
    // Thousands of small ones, each of which takes half a megabyte when it is read.
    fs::write(out.join("latency.hlog"), format!("{head}{}", line(&tag, 8, 3, 8).repeat(8000))).unwrap();
    let (code, text) = ended(&confined(3, &["report", out.to_str().unwrap(), "--quiet"]));
    assert!(code.is_some_and(|c| c < 100), "{code:?} {text}");
}
