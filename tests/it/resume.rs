//! A run may be killed at any moment; continued, it is the same run.

use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, children_of, experiment, rows};
use insta::assert_snapshot;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn start(bench: &Bench, resume: bool) -> Child {
    let mut command = ablate();
    command.arg("run").arg(&bench.file).arg("--out").arg(bench.out()).stderr(Stdio::null()).stdout(Stdio::null());
    if resume {
        command.arg("--resume");
    }
    command.spawn().unwrap()
}

fn kill(child: &mut Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
}

/// The trials that the plan of a run calls for, each as `round/treatment/replica/block`.
fn planned(out: &Path) -> BTreeSet<String> {
    let arms =
        [("baseline", 3), ("full", 3), ("placebo", 1), ("stall", 1), ("spin", 1), ("ceiling", 1), ("without:batch_submit", 1)];
    let mut keys = BTreeSet::new();
    for row in rows(&out.join("plan.csv")) {
        for block in 0..row["blocks"].parse::<u32>().unwrap() {
            for (treatment, copies) in arms {
                keys.extend((0..copies).map(|replica| format!("{}/{treatment}/{replica}/{block}", row["round"])));
            }
        }
    }
    keys
}

fn measured(out: &Path) -> Vec<String> {
    let key = |r: &std::collections::HashMap<String, String>| {
        format!("{}/{}/{}/{}", r["round"], r["treatment"], r["replica"], r["block"])
    };
    rows(&out.join("trials.csv")).iter().map(key).collect()
}

#[test]
fn twenty_kills_lose_and_double_nothing() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "").replace("rounds = 6", "rounds = 24"));
    let mut random = uring_ablate::random::Decisions::new(20);
    for turn in 0..20 {
        let mut child = start(&bench, turn > 0 && bench.out().join("manifest.json").exists());
        std::thread::sleep(Duration::from_millis(50 + random.seed() % 600));
        kill(&mut child, "-KILL");
    }
    let status = start(&bench, bench.out().join("manifest.json").exists()).wait().unwrap();
    assert!(status.success());
    let measured = measured(&bench.out());
    let unique: BTreeSet<String> = measured.iter().cloned().collect();
    assert_eq!(unique.len(), measured.len(), "no trial twice");
    assert_eq!(unique, planned(&bench.out()), "every planned trial, and no other");
    assert_eq!(rows(&bench.out().join("arms.csv")).len(), 24 * 7);
}

#[test]
fn ctrl_c_leaves_a_resumable_run() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "").replace("rounds = 6", "rounds = 24"));
    let child = start(&bench, false);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !bench.out().join("plan.csv").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let output = bench.run(&["--resume", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    assert_eq!(measured(&bench.out()).len(), planned(&bench.out()).len());
}

#[test]
fn a_killed_run_leaves_no_process_and_no_device() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "").replace("rounds = 6", "rounds = 400"));
    let mut child = start(&bench, false);
    let deadline = Instant::now() + Duration::from_secs(20);
    let rounds = || std::fs::read_to_string(bench.out().join("rounds.csv")).map_or(0, |t| t.lines().count());
    while rounds() < 3 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(rounds() >= 3, "the run came as far as its rounds");
    let pids_of = |pid| children_of(pid).map(|process| process.pid).collect::<Vec<u32>>();
    // Between two rounds there is no child for a moment.
    let mut families = (0..200).map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        pids_of(child.id())
    });
    let mut family = families.find(|f| !f.is_empty()).expect("a run has a round process");
    let fds = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().flatten();
    let held: Vec<_> = fds.filter_map(|f| std::fs::read_link(f.path()).ok()).collect();
    let device = held.iter().find_map(|p| p.to_str()?.strip_prefix("/dev/loop")?.parse::<u32>().ok());
    if device.is_none() {
        crate::support::skip(
            "a_killed_run_leaves_no_process_and_no_device",
            "the target here is no loop device; processes were looked at",
        );
    }
    family.extend(pids_of(child.id()));
    kill(&mut child, "-KILL");
    let alive = |pid: &&u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
    let children = || family.iter().filter(alive).count();
    let bound = || device.is_some_and(|n| Path::new(&format!("/sys/block/loop{n}/loop/backing_file")).exists());
    let deadline = Instant::now() + Duration::from_secs(5);
    while (children() > 0 || bound()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(children(), 0);
    assert!(!bound(), "loop device {device:?} cleared itself");
}

/// Kills the process of one round.
fn kill_a_round(run: &Child, out: &Path) {
    let rounds = || std::fs::read_to_string(out.join("rounds.csv")).map_or(0, |t| t.lines().count());
    let deadline = Instant::now() + Duration::from_secs(20);
    while rounds() < 4 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut looks = (0..2000).map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        children_of(run.id()).find(|process| process.line.contains("round"))
    });
    let round = looks.find_map(|found| found).expect("a run has a round process");
    assert!(Command::new("kill").args(["-KILL", &round.pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_round_that_was_disturbed_is_measured_again_whole_and_logged() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "").replace("rounds = 6", "rounds = 12"));
    let mut run = start(&bench, false);
    kill_a_round(&run, &bench.out());
    assert!(run.wait().unwrap().success());
    let plan = rows(&bench.out().join("plan.csv"));
    let again: Vec<_> = plan.iter().filter(|r| !r["redoes"].is_empty()).collect();
    assert_eq!((plan.len(), again.len(), again[0]["round"].as_str()), (13, 1, "13"));
    let lost = again[0]["redoes"].as_str();
    let journal = rows(&bench.out().join("rounds.csv"));
    let of = |round: &str| journal.iter().find(|r| r["round"] == round).unwrap();
    assert!(of(lost)["flagged"].contains("full") && of("13")["flagged"].is_empty(), "{journal:?}");
    let effects = rows(&bench.out().join("effects.csv"));
    assert!(effects.iter().all(|e| e["n_rounds"] == "12"), "every contrast has its twelve rounds");
    let report = std::fs::read_to_string(bench.out().join("report.md")).unwrap();
    assert!(report.contains(&format!("- Round {lost} was measured again as round 13: ")), "{report}");
    let resumed = bench.run(&["--quiet", "--resume"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", bench.verdict(&resumed));
    assert_eq!(rows(&bench.out().join("rounds.csv")).len(), 13, "nothing is left to do");
}

#[test]
fn what_changed_is_not_resumed() {
    let bench = Bench::small();
    let first = bench.run(&["--quiet"]);
    assert!(first.status.success(), "{}", bench.verdict(&first));
    let again = bench.run(&["--quiet"]);
    assert_snapshot!(bench.verdict(&again), @"
    exit 2
    uring-ablate: DIR/out holds a run already; continue it with --resume or choose another --out
    ");
    std::fs::write(&bench.file, std::fs::read_to_string(&bench.file).unwrap().replace("rounds = 6", "rounds = 7")).unwrap();
    let changed = bench.run(&["--quiet", "--resume"]);
    assert_snapshot!(bench.verdict(&changed), @"
    exit 2
    uring-ablate: DIR/out: the experiment changed since this run began; a run is continued with what it began with: start a new one with another --out
    ");
    let elsewhere = bench.dir.path().join("empty");
    let nothing = ablate().arg("run").arg(&bench.file).args(["--quiet", "--resume", "--out"]).arg(&elsewhere).output().unwrap();
    assert_snapshot!(bench.verdict(&nothing), @"
    exit 2
    uring-ablate: DIR/empty holds no run to resume (no manifest.json)
    ");
}

#[test]
fn the_latency_log_tells_when_each_round_began() {
    let bench = Bench::small();
    assert!(bench.run(&["--quiet"]).status.success());
    let log = std::fs::read_to_string(bench.out().join("latency.hlog")).unwrap();
    let lines = log.lines().filter_map(|line| line.strip_prefix("Tag=")?.split_once('/'));
    let begins: Vec<(u32, f64)> =
        lines.map(|(round, rest)| (round.parse().unwrap(), rest.split(',').nth(1).unwrap().parse().unwrap())).collect();
    assert!(begins.iter().all(|(round, begin)| *round == 1 || *begin > 0.0), "{begins:?}");
    assert!(begins.windows(2).all(|w| (w[0].0 == w[1].0) == (w[0].1 == w[1].1) && w[0].1 <= w[1].1), "{begins:?}");
}

#[test]
fn other_processors_are_refused_and_unknown_ones_are_said_to_be() {
    let bench = Bench::small();
    assert!(bench.run(&["--quiet"]).status.success());
    let manifest = bench.out().join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let resumed = |cpu: &str| {
        let mut told: serde_json::Value = serde_json::from_str(&text).unwrap();
        told["environment"]["cpu"] = cpu.into();
        std::fs::write(&manifest, told.to_string()).unwrap();
        let output = bench.run(&["--resume", "--quiet"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = resumed("a processor of another machine");
    assert!(code == Some(2) && said.contains("the machine (its processors)"), "{code:?}: {said}");
    let (code, said) = resumed("");
    assert!(code == Some(0) && said.contains("it is not known whether they are the same"), "{code:?}: {said}");
}
