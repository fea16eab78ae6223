//! What is too much of anything is refused, with the key, the value and the limit, before it costs memory or time.

use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, experiment, rows};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::{Compression, write::ZlibEncoder};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Runs the binary with this much address space, and no longer than a minute.
fn confined(gibibytes: u64, args: &[&str]) -> Output {
    let bytes = (gibibytes << 30).to_string();
    let exe = env!("CARGO_BIN_EXE_uring-ablate");
    Command::new("timeout").args(["60", "prlimit", &format!("--as={bytes}"), "--core=0", exe]).args(args).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn plans_that_are_too_long_or_too_large_are_refused_at_once() {
    let peers = "[peers]\nfio = [\"default\"]\n";
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, peers));
    let file = bench.file.to_str().unwrap();
    let many = |n: u32| format!("[{}]", (1..=n).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
    let (lists, items) = (many(300), many(1001));
    let cases: [(&[&str], &str); 12] = [
        (&["design.rounds=4294967295"], "[design] rounds: 4294967295 are too many: 10000 are the most"),
        (&["profile.rounds=4294967295"], "[profile] rounds: 4294967295 are too many"),
        (&["counters.rounds=4294967295"], "[counters] rounds: 4294967295 are too many"),
        (&["gate.most_rounds=4294967295"], "[gate] most_rounds: 4294967295 are too many"),
        (&["design.round_time=5000000000000000h"], "round_time: \"5000000000000000h\" is too long: 30 days is the most"),
        (&["design.round_time=2h"], "[design] round_time: \"2h\" is too long: 1h is the most"),
        (&["peers.round_time=5000000000000000h"], "[peers] round_time: \"5000000000000000h\" is too long"),
        (&["peers.whole_time=5000000000000000h"], "[peers] whole_time: \"5000000000000000h\" is too long"),
        (&["design.budget=5000000000000000h"], "budget: \"5000000000000000h\" is too long"),
        (&["design.trial_time=5000000000000000h"], "trial_time: \"5000000000000000h\" is too long"),
        (&[&format!("workload.iodepth={items}")], "iodepth lists 1001 items; at most 1000 are taken"),
        (
            &[
                &format!("workload.iodepth={lists}"),
                &format!("workload.numjobs={}", many(200)),
                &format!("workload.rate_iops={lists}"),
            ],
            "[workload] lists make more than 1000 combinations, the limit",
        ),
    ];
    for (changes, expected) in cases {
        let sets: Vec<&str> = changes.iter().flat_map(|change| ["--set", change]).collect();
        let started = Instant::now();
        let (code, text) = said(&confined(8, &[&["plan", file], &sets[..]].concat()));
        assert!(code == Some(2) && text.contains(expected) && text.contains("test.toml:"), "{changes:?}: {code:?} {text}");
        assert!(started.elapsed() < Duration::from_secs(20), "{changes:?}");
    }
    let depths: Vec<String> = (16..36).map(|depth| depth.to_string()).collect();
    let whole = ["plan", file, "--set", "design.rounds=10000", "--set", &format!("workload.iodepth=[{}]", depths.join(","))];
    let (code, text) = said(&confined(8, &whole));
    assert!(code == Some(2) && text.contains("rounds in 20 cells; 100000 are the most"), "{code:?} {text}");
    let bench = ["bench", "--runtime", "4294967295"];
    let (code, text) = said(&confined(8, &bench));
    assert!(code == Some(2) && text.contains("is too long: 30 days is the most"), "{code:?} {text}");
}

#[test]
fn an_experiment_is_a_regular_file_of_a_sensible_size() {
    let bench = Bench::small();
    let pipe = bench.dir.path().join("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (code, text) =
        said(&Command::new("timeout").arg("20").arg(env!("CARGO_BIN_EXE_uring-ablate")).arg("plan").arg(&pipe).output().unwrap());
    assert!(code == Some(2) && text.contains("a regular file is needed"), "{code:?} {text}");
    let (code, text) = said(&confined(4, &["plan", "/dev/zero"]));
    assert!(code == Some(2) && text.contains("a regular file is needed"), "{code:?} {text}");
    fs::File::options().write(true).open(&bench.file).unwrap().set_len(3 << 30).unwrap();
    let (code, text) = said(&confined(2, &["plan", bench.file.to_str().unwrap()]));
    assert!(code == Some(2) && text.contains("larger than 1 MiB"), "{code:?} {text}");
}

#[test]
fn what_would_fill_memory_or_disk_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let run = |kind: &str, size: &str, more: &[&str]| {
        let bench = Bench::new(&experiment(&format!("kind = \"{kind}\"\nsize = \"{size}\""), READS, ONE_TOGGLE, ""));
        let mut command = ablate();
        command.arg("run").arg(&bench.file).args(["--quiet", "--out"]).arg(bench.out()).args(more).env("TMPDIR", dir.path());
        said(&command.output().unwrap())
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
    let (code, text) = said(&ablate().args(["bench", "--size", "100TiB"]).output().unwrap());
    assert!(code == Some(2) && text.contains("100 TiB"), "{text}");
    let greedy = ["bench", "--bs", "1g", "--iodepth", "32768", "--numjobs", "256", "--filename", "/bin/sh"];
    let (code, text) = said(&ablate().args(greedy).output().unwrap());
    assert!(code == Some(2) && text.contains("bs x iodepth x numjobs takes 8192 TiB"), "{text}");
}

#[test]
fn the_kernel_is_asked_to_take_us_first() {
    let bench = Bench::new(
        "name = \"test\"\nquestion = \"?\"\n[workload]\nrw = \"read\"\nbs = \"4k\"\niodepth = 1\n[design]\nkind = []\ntoggles = []\nrounds = 12\n\
         [subject]\ncommand = [\"{program}\"]\nmetric = { text = \"v=([0-9]+)\", name = \"v\", better = \"higher\" }\n",
    );
    let program = fake(bench.dir.path(), "program", "echo v=$(cat /proc/self/oom_score_adj)");
    let (history, program) = (bench.dir.path().join("history"), Path::new(&program));
    let mut night = ablate();
    night
        .arg("nightly")
        .arg(&bench.file)
        .arg("--history")
        .arg(&history)
        .arg("--reference")
        .arg(program)
        .arg("--candidate")
        .arg(program);
    let output = night.output().unwrap();
    let nights = fs::read_dir(&history).into_iter().flatten().flatten().map(|e| e.path().join("rounds.csv"));
    let rounds: Vec<_> = nights.filter(|path| path.exists()).flat_map(|path| rows(&path)).collect();
    assert!(
        !rounds.is_empty() && rounds.iter().all(|r| r["reference"].parse::<f64>() == Ok(800.0)),
        "{rounds:?} {:?}",
        said(&output)
    );
}

fn fake(dir: &Path, name: &str, body: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// What becomes of a fio whose whole run prints this.
fn whole_run_of(prints: &str) -> (Option<i32>, String) {
    let peers = "[peers]\nfio = [\"default\"]\nround_time = \"100ms\"\nwhole_time = \"1s\"\n";
    // Room for a busy machine: what is asked for here is the row of the whole run.
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, peers).replace("250ms", "1s"));
    let body = format!(
        "case \"$*\" in\n*--version*) echo fio-3.33;;\n*--parse-only*) cat >/dev/null;;\n*output-format=json*) cat >/dev/null; {prints};;\n*) exit 1;;\nesac"
    );
    let fio = fake(bench.dir.path(), "fakefio", &body);
    let output = bench.run(&["--quiet", "--set", &format!("peers.fio_path={fio}")]);
    let arms = rows(&bench.out().join("arms.csv"));
    let row = arms.iter().find(|r| r["kind"] == "whole").map(|r| format!("{}: {}", r["outcome"], r["reason"]));
    (output.status.code(), row.unwrap_or_default())
}

#[test]
fn a_fio_that_writes_without_end_is_ended() {
    let (code, row) = whole_run_of("exec yes");
    assert!(code == Some(0) && row.contains("failed") && row.contains("it wrote more than 16 MiB, the limit"), "{code:?} {row}");
    let (code, row) = whole_run_of("head -c 20000000 /dev/zero");
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
        (report("4096", "1", "1000", "1.0"), "completed: "),
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
    for (bad, reason) in [
        (line(&tag, 64 << 20, 3, 64 << 20), "inflates to more than 1 MiB"),
        (line(&tag, u32::MAX, 3, 8), "4294967295 bytes of counts"),
        (line(&tag, 8, 5, 8), "5 significant digits"),
    ] {
        fs::write(out.join("latency.hlog"), format!("{head}{bad}")).unwrap();
        let (code, text) = said(&confined(4, &["export", out.to_str().unwrap(), "--format", "hlog"]));
        assert!(code == Some(2) && text.contains(reason), "{reason}: {code:?} {text}");
        let (code, text) = said(&confined(4, &["report", out.to_str().unwrap(), "--quiet"]));
        assert!(code.is_some_and(|c| c < 100), "{reason}: {code:?} {text}");
    }
    // Thousands of small ones, each of which takes half a megabyte when it is read.
    fs::write(out.join("latency.hlog"), format!("{head}{}", line(&tag, 8, 3, 8).repeat(8000))).unwrap();
    let (code, text) = said(&confined(3, &["report", out.to_str().unwrap(), "--quiet"]));
    assert!(code.is_some_and(|c| c < 100), "{code:?} {text}");
}
