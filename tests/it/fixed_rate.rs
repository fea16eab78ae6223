//! Peers at a fixed rate: whole runs in turn, and no night.

use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, executable, experiment, rows, said, skip};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::process::Command;

const PACED: &str = "rw = \"randread\"\nbs = \"4k\"\niodepth = 4\nrate_iops = 1000";

/// fio, and beside it somebody who writes down when it is found stopped.
fn watched_fio(bench: &Bench) -> PathBuf {
    let (path, log) = (bench.dir.path().join("watchedfio"), bench.dir.path().join("stops"));
    let watch = format!(
        "while read -r state </proc/$$/stat; do case \"$state\" in *') T '*) echo stopped >>{};; esac; sleep 0.005; done",
        log.display()
    );
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*--version*|*--parse-only*) ;;\n*) ({watch}) >/dev/null 2>&1 </dev/null & ;;\nesac\nexec fio \"$@\"\n"
    );
    executable(&path, &script);
    path
}

type Row = HashMap<String, String>;

fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

#[test]
fn at_a_fixed_rate_peers_are_whole_runs_that_nobody_stops() {
    if !Command::new("fio").arg("--version").output().is_ok_and(|o| o.status.success()) {
        return skip("at_a_fixed_rate_peers_are_whole_runs_that_nobody_stops", "fio is not installed");
    }
    let peers =
        "[fixed]\nqueue_refill = \"eager\"\n[peers]\nfio = [\"registered\"]\nround_time = \"200ms\"\nwhole_time = \"1s\"\n";
    let bench = Bench::new(&experiment(SMALL_TARGET, PACED, ONE_TOGGLE, peers));
    let fio = format!("peers.fio_path={}", watched_fio(&bench).display());
    let set = [&fio, "peers.t_io_uring=/bin/true", "design.round_time=1s", "design.kind=[]", "design.toggles=[]"];
    let output = bench.run(&["--quiet"].into_iter().chain(set.into_iter().flat_map(|set| ["--set", set])).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", bench.verdict(&output));
    assert!(!bench.dir.path().join("stops").exists(), "fio was stopped");

    let arms = rows(&bench.out().join("arms.csv"));
    let of = |name: &str| -> Vec<&Row> { arms.iter().filter(|r| r["kind"] == "peers" && r["treatment"] == name).collect() };
    for row in of("full").into_iter().chain(of("fio:registered")) {
        assert_eq!((row["outcome"].as_str(), row["errors"].as_str()), ("completed", "0"), "{row:?}");
        assert!(number(row, "iops") < 1_000.0 * 1.03, "nobody catches up: {row:?}");
        assert!(number(row, "duration_s") > 0.7 && number(row, "cpu_total_ns_per_op") > 0.0, "{row:?}");
        assert!(number(row, "lat_ns_max") >= number(row, "lat_ns_p999") && number(row, "lat_ns_p50") > 0.0, "{row:?}");
    }
    assert_eq!((of("full").len(), of("fio:registered").len()), (6, 6));
    // Who gets no CPU is late: on a busy machine that says nothing of how peers take turns.
    let load: f64 = std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap().parse().unwrap();
    let apart = |(ours, theirs): (&&Row, &&Row)| (number(ours, "iops") / number(theirs, "iops") - 1.0).abs();
    let mut all: Vec<f64> = of("full").iter().zip(&of("fio:registered")).map(apart).collect();
    all.sort_by(f64::total_cmp);
    let half = all[all.len() / 2];
    if load > 2.0 {
        skip("at_a_fixed_rate_peers_are_whole_runs_that_nobody_stops", "the machine is too busy to compare rates");
    } else {
        assert!(half < 0.03, "both keep the rate, half of the pairs are {half} apart or more");
    }
    let peak = of("t_io_uring");
    assert!(peak.len() == 6 && peak.iter().all(|r| r["outcome"] == "unsupported"), "{peak:?}");
    assert!(peak.iter().all(|r| r["reason"] == "t_io_uring cannot do fixed rates"), "{peak:?}");
    let rounds = rows(&bench.out().join("rounds.csv"));
    let orders: BTreeSet<&str> = rounds.iter().filter(|r| r["kind"] == "peers").map(|r| r["setup_order"].as_str()).collect();
    assert_eq!(orders, BTreeSet::from(["fio:registered full", "full fio:registered"]), "in random order");
    let manifest = std::fs::read_to_string(bench.out().join("manifest.json")).unwrap();
    assert!(manifest.contains("runtime=1\\n") && !manifest.contains("runtime=86400"), "the job that was run is recorded");
    let report = std::fs::read_to_string(bench.out().join("report.md")).unwrap();
    assert!(report.contains("each in a run of its own, never stopped") && !report.contains("stopped and continued"), "{report}");
    assert!(report.contains("so it flatters fio"), "{report}");
}

#[test]
fn the_plan_counts_whole_runs() {
    let plan = |workload: &str| {
        let peers = "[fixed]\nqueue_refill = \"eager\"\n[peers]\nfio = [\"registered\", \"tuned\"]\nround_time = \"1500ms\"\nwhole_time = \"1s\"\n";
        let bench = Bench::new(&experiment(SMALL_TARGET, workload, ONE_TOGGLE, peers));
        said(&ablate().arg("plan").arg(&bench.file).output().unwrap())
    };
    let line = |text: &str, start: &str| text.lines().find(|l| l.trim_start().starts_with(start)).map(|l| l.trim().to_string());
    let (paced, usual) = (plan(PACED), plan(READS));
    // Six rounds of slices (0.6 s), six of peers, two whole runs (2 s).
    assert_eq!(line(&usual, "time:").unwrap(), "time: about 22 s", "{usual}");
    assert_eq!(line(&paced, "time:").unwrap(), "time: about 49 s", "{paced}");
    assert_eq!(line(&usual, "peers:"), None);
    let words = "peers: at a fixed rate full and each peer run whole, in random order, 2s each";
    assert_eq!(line(&paced, "peers:").as_deref(), Some(words), "{paced}");
}

#[test]
fn a_night_or_a_search_at_a_fixed_rate_is_refused_before_anything_starts() {
    let refused = |text: &str, place: &str| {
        let bench = Bench::new(text);
        let (history, state) = (bench.dir.path().join("history"), bench.dir.path().join("state"));
        let mut night = ablate();
        night.arg("nightly").arg(&bench.file).arg("--history").arg(&history);
        let mut search = ablate();
        search.arg("bisect").arg(&bench.file).args(["--good", "HEAD~1", "--bad", "HEAD", "--program", "out", "--build", "true"]);
        search.arg("--state").arg(&state);
        for mut verb in [night, search] {
            let output = verb.arg("--trust").arg(&bench.file).current_dir(bench.dir.path()).output().unwrap();
            let told = said(&output);
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains(place) && told.contains("catches up after each stop"), "{told}");
            assert!(told.contains("compare at a fixed rate with `uring-ablate run`"), "{told}");
        }
        assert!(!history.exists() && !state.exists(), "nothing was begun");
    };
    refused(&experiment(SMALL_TARGET, PACED, ONE_TOGGLE, ""), "[workload] rate_iops = 1000");
    let subject = |option: &str| {
        format!("[subject]\ncommand = [\"{{program}}\", \"--filename={{target}}\", {option:?}]\nmetric = \"counters\"\n")
    };
    refused(&experiment(SMALL_TARGET, PACED, ONE_TOGGLE, &subject("--rw=read")), "[workload] rate_iops = 1000");
    refused(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, &subject("--rate_iops=9")), "[subject] command: \"--rate_iops=9\"");
}
