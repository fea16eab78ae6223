//! Runs that come from elsewhere: a copy that was cut short is told from a whole one, and what is larger than a run can be takes neither memory
//! nor time.

use crate::support::{ablate, rows};
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use uring_ablate::row::{ArmRow, TrialRow};

const QUICK: &str = "results/quick/20261125T045913Z-vm";
const FILES: [&str; 7] = ["manifest.json", "plan.csv", "rounds.csv", "trials.csv", "arms.csv", "latency.hlog", "overhead.csv"];

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(QUICK)
}

/// A copy of a committed run.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let run = home.path().join("run");
    fs::create_dir(&run).unwrap();
    for file in FILES {
        fs::copy(committed().join(file), run.join(file)).unwrap();
    }
    (home, run)
}

/// Every way to read a run, with what comes of it put elsewhere; with this much address space and for no longer than a minute.
fn read_by_all(run: &Path, out: &Path, gibibytes: u64) -> Vec<(&'static str, Output)> {
    let bytes = format!("--as={}", gibibytes << 30);
    let (run, out, committed) = (run.to_str().unwrap(), out.to_str().unwrap(), committed());
    let committed = committed.to_str().unwrap();
    let verbs: [(&str, &[&str]); 6] = [
        ("report", &["report", run, "--quiet", "--out", out]),
        ("compare", &["compare", committed, run, "--quiet", "--out", out]),
        ("parquet", &["export", run, "--format", "parquet", "--out", out]),
        ("hlog", &["export", run, "--format", "hlog"]),
        ("bencher", &["export", run, "--format", "bencher"]),
        ("go-benchfmt", &["export", run, "--format", "go-benchfmt"]),
    ];
    let exe = env!("CARGO_BIN_EXE_uring-ablate");
    let run =
        |args: &[&str]| Command::new("timeout").args(["60", "prlimit", &bytes, "--core=0", exe]).args(args).output().unwrap();
    verbs.into_iter().map(|(verb, args)| (verb, run(args))).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_copy_whose_tables_were_cut_is_refused_by_every_verb() {
    let (home, run) = copy();
    for name in ["trials.csv", "arms.csv", "latency.hlog", "overhead.csv"] {
        let whole = fs::read(run.join(name)).unwrap();
        let line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for left in [line, whole.len() / 2] {
            fs::write(run.join(name), &whole[..left]).unwrap();
            let out = home.path().join("out");
            for (verb, output) in read_by_all(&run, &out, 8) {
                let told = said(&output);
                let figures = format!("it has {left} bytes, and rounds.csv says that {} were written", whole.len());
                assert_eq!(output.status.code(), Some(2), "{verb}, {name} cut to {left}: {told}");
                assert!(told.contains(name) && told.contains(&figures) && told.contains("copy the run again"), "{verb}: {told}");
            }
            assert!(!out.exists(), "nothing is made of it");
        }
        fs::write(run.join(name), &whole).unwrap();
    }
    let (verb, output) = &read_by_all(&run, &home.path().join("out"), 8)[0];
    assert!(output.status.success(), "whole again, {verb}: {}", said(output));
}

#[test]
fn rows_behind_the_journal_do_not_count() {
    let (home, run) = copy();
    let effects = |out: &str| {
        let out = home.path().join(out);
        let output = ablate().arg("report").arg(&run).arg("--out").arg(&out).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        (fs::read_to_string(out.join("effects.csv")).unwrap(), fs::read_to_string(out.join("report.md")).unwrap())
    };
    let exported = || {
        let output =
            ablate().args(["export", "--format=parquet"]).arg(&run).arg("--out").arg(home.path().join("p")).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let (before, rows_before) = (effects("before").0, exported());
    // A round that a kill cut: whole rows of it, and half of one.
    for name in ["trials.csv", "arms.csv", "latency.hlog"] {
        let text = fs::read_to_string(run.join(name)).unwrap();
        let of_one =
            text.lines().filter(|line| line.starts_with("1,read") || line.contains(",1,slices,") || line.starts_with("Tag=1/"));
        let more: String = of_one
            .map(|line| {
                line.replacen("1,read", "99,read", 1).replacen(",1,slices", ",99,slices", 1).replacen("Tag=1/", "Tag=99/", 1)
                    + "\n"
            })
            .collect();
        assert!(more.contains("99"), "{name}");
        fs::write(run.join(name), text + &more + &more[..more.len() / 2]).unwrap();
    }
    let (after, report) = effects("after");
    assert!(before == after && exported() == rows_before, "the same figures of the same rounds");
    assert!(report.contains("the last line of trials.csv was torn"), "and what is torn is said");
}

#[test]
fn a_table_that_is_missing_is_said() {
    let (home, run) = copy();
    fs::remove_file(run.join("latency.hlog")).unwrap();
    let (_, output) = &read_by_all(&run, &home.path().join("out"), 8)[0];
    assert!(output.status.success(), "{}", said(output));
    let report = fs::read_to_string(home.path().join("out/report.md")).unwrap();
    assert!(report.contains("latency.hlog is missing, of which rounds.csv says that 480023 bytes were written"));
}

#[test]
fn what_is_larger_than_a_run_can_be_is_not_read() {
    let cases = [("trials.csv", 600 << 20, "600 MiB", "512 MiB"), ("arms.csv", 1 << 30, "1 GiB", "256 MiB")];
    for (name, length, has, most) in cases {
        let (home, run) = copy();
        fs::File::options().write(true).open(run.join(name)).unwrap().set_len(length).unwrap();
        for (verb, output) in read_by_all(&run, &home.path().join("out"), 3) {
            let figures = format!("it has {has} and is larger than {most}");
            let told = said(&output);
            assert_eq!(output.status.code(), Some(2), "{verb}, {name}: {told}");
            assert!(told.contains(name) && told.contains(&figures) && told.contains("copy the run again"), "{verb}: {told}");
        }
    }
}

/// The most rounds of a workload that a plan has, of so few slices that what is done for each round tells.
const MANY_ROUNDS: u32 = 10_000;
const TOGGLES: u32 = 16;

#[test]
fn very_many_rounds_take_no_more_than_their_share_of_time() {
    let home = tempfile::tempdir().unwrap();
    let mut trials = TrialRow::HEADER.join(",") + "\n";
    let mut arms = String::from("round,kind,cell,treatment,outcome\n");
    assert!(arms.trim().split(',').all(|column| ArmRow::header().iter().any(|known| known == column)));
    let toggled = (0..TOGGLES).flat_map(|i| [format!("without:t{i}"), format!("only:t{i}")]);
    let treatments: Vec<String> = ["baseline", "full", "placebo"].map(String::from).into_iter().chain(toggled).collect();
    for round in 1..=MANY_ROUNDS {
        for (position, treatment) in treatments.iter().enumerate() {
            let duration = 1.0 + f64::from((round * 7919 + position as u32 * 104_729) % 1009) / 1e4;
            writeln!(trials, "{round},c,{treatment},0,0,{position},{duration},100,4096,0,1000,").unwrap();
            writeln!(arms, "{round},slices,c,{treatment},completed").unwrap();
        }
    }
    fs::write(home.path().join("trials.csv"), trials).unwrap();
    fs::write(home.path().join("arms.csv"), arms).unwrap();
    let out = home.path().join("out");
    // Seconds of CPU time, which a busy machine makes no longer.
    let mut command = Command::new("prlimit");
    command.args(["--cpu=15", "--core=0", env!("CARGO_BIN_EXE_uring-ablate"), "report", "--quiet"]);
    let output = command.arg(home.path()).arg("--out").arg(&out).output().unwrap();
    assert!(output.status.success(), "not within 15 s of CPU time: {:?} {}", output.status, said(&output));
    let effects = rows(&out.join("effects.csv"));
    assert!(effects.iter().any(|row| row["kind"] == "leave-one-out" && row["n_rounds"] == MANY_ROUNDS.to_string()));
}

/// The score of a process that is about to say more than a pipe holds, once it has read what it was to read.
fn score_of(args: &[&str]) -> String {
    let mut child = ablate().args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    rustix::pipe::fcntl_setpipe_size(&pipe, 4096).unwrap();
    // It speaks when its work is done, and then waits for who listens.
    let mut first = [0; 1];
    let deadline = Instant::now() + Duration::from_secs(60);
    let read = pipe.read(&mut first).unwrap();
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", child.id())).unwrap();
    assert!(read == 1 && Instant::now() < deadline, "{args:?} said nothing");
    drop(pipe);
    child.wait().unwrap();
    score.trim().into()
}

#[test]
fn who_reads_the_files_of_others_is_taken_first_when_memory_runs_out() {
    let (home, run) = copy();
    let run = run.to_str().unwrap();
    let (out, committed) = (home.path().join("out"), committed());
    let cases: [&[&str]; 3] = [
        &["report", run, "--out", out.to_str().unwrap()],
        &["compare", committed.to_str().unwrap(), run],
        &["export", run, "--format", "go-benchfmt"],
    ];
    for args in cases {
        assert_eq!(score_of(args), "800", "{args:?}");
    }
}
