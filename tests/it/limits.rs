//! Each number of `src/limits.rs` is one that a test runs into: here, in `bounds.rs`, or in the file that keeps it.

use crate::bounds::{confined, whole_run_of};
use crate::faults::search;
use crate::support::{Bench, ONE_TOGGLE, READS, SMALL_TARGET, ablate, ended, experiment, home, prints_for, rows, skip};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use uring_ablate::limits;

/// As many treatments as a cell may have arms, and more.
#[test]
fn a_workload_with_too_many_arms_or_a_round_with_too_many_slices_is_refused() {
    let treatments: String = (0..300).map(|i| format!("t{i} = {{ batch_submit = {} }}\n", i + 2)).collect();
    let text = experiment(SMALL_TARGET, READS, ONE_TOGGLE, &format!("[design.treatments]\n{treatments}"));
    let bench = Bench::new(&text.replace("leave-one-out", "explicit"));
    let (code, text) = ended(&confined(8, &["plan", bench.file.to_str().unwrap()]));
    let due = format!(" arms; {} are the most", limits::ARMS);
    assert!(code == Some(2) && text.contains("[design] makes 3") && text.contains(&due), "{code:?} {text}");
    let design = "toggles = [\"fixed_files\"]\nslice_time = \"1us\"";
    let text = experiment(SMALL_TARGET, &READS.replace("16", "1"), design, "");
    let bench = Bench::new(&text.replace("250ms", "1h"));
    let started = Instant::now();
    let output = bench.run(&["--quiet"]);
    let said = bench.verdict(&output);
    let due = format!("{} are the most: lower [design] round_time", limits::SLICES);
    assert!(said.starts_with("exit 2\n") && said.contains("slices; ") && said.contains(&due), "{said}");
    assert!(started.elapsed() < Duration::from_secs(60) && rows(&bench.out().join("rounds.csv")).is_empty(), "before any round");
}

#[test]
fn shares_beyond_the_limit_are_refused_with_key_and_line() {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, ""));
    let file = bench.file.to_str().unwrap();
    let most = limits::PERCENT;
    for key in ["analysis.delta", "analysis.stall", "analysis.spin", "design.target_half_width", "gate.find"] {
        let plan = |percent: f64| ended(&confined(8, &["plan", file, "--set", &format!("{key}={percent}%")]));
        let (code, text) = plan(most + 1.0);
        let due = format!("\"{}%\" is not a percentage from 0% to {most}%", most + 1.0);
        assert!(code == Some(2) && text.contains(&due) && text.contains("test.toml:"), "{key}: {code:?} {text}");
        let (_, text) = plan(most);
        assert!(!text.contains("is not a percentage"), "{key}: the limit itself is taken: {text}");
    }
}

#[test]
fn a_document_and_a_history_that_are_too_large_are_not_read() {
    let home = tempfile::tempdir().unwrap();
    let document = home.path().join("README.md");
    let grow = |path: &Path| fs::File::create(path).unwrap().set_len(limits::FILE_BYTES + 1).unwrap();
    grow(&document);
    let (code, text) = ended(&confined(2, &["report", "--splice", document.to_str().unwrap()]));
    assert!(code == Some(2) && text.contains("README.md") && text.contains("larger than 1 GiB"), "{code:?} {text}");
    let history = home.path().join("history");
    fs::create_dir(&history).unwrap();
    grow(&history.join("nights.csv"));
    let (code, text) = ended(&confined(2, &["history", "show", history.to_str().unwrap()]));
    assert!(code == Some(2) && text.contains("nights.csv") && text.contains("larger than 1 GiB"), "{code:?} {text}");
}

/// What a build says goes to a file; one that says too much is ended, and its commit is one that does not build.
#[test]
fn a_build_that_says_too_much_is_ended() {
    if Command::new("git").arg("--version").output().is_err() {
        return skip("a_build_that_says_too_much_is_ended", "git is not installed");
    }
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    search::prepared(dir, 2);
    let bisect = |build: &str, state: &str| {
        let started = Instant::now();
        let ended = ended(&search::building(dir, 2, build, state).output().unwrap());
        assert!(started.elapsed() < Duration::from_secs(60), "{build}");
        ended
    };
    // A hole takes no disk, and no time.
    let say = |bytes: u64| format!("cp source out && chmod +x out && truncate -s {bytes} /dev/stdout");
    let (code, text) = bisect(&format!("{} && sleep 30", say(limits::LOG_BYTES + 1)), "too-much");
    assert!(code != Some(3) && text.contains("it wrote more than 1 GiB, the limit"), "{code:?} {text}");
    let (code, text) = bisect(&say(limits::LOG_BYTES), "much");
    assert!(code == Some(3), "so much is taken, and the two commits do not differ: {code:?} {text}");
}

/// Only the end of what somebody said is looked at, where its last lines are quoted.
#[test]
fn of_much_that_a_peer_says_the_end_is_quoted() {
    let much = 2 * limits::QUOTED_BYTES;
    let (code, row) =
        whole_run_of(&format!("head -c {much} /dev/zero | tr '\\0' x >&2; echo >&2; echo the last words >&2; exit 1"));
    assert!(code == Some(0) && row.contains("failed") && row.contains("the last words"), "{code:?} {row}");
    assert!(row.len() < 2 * limits::QUOTED_BYTES as usize, "{} bytes of it", row.len());
}

/// Characters of what stands in tables and on axes, and of names that become names of files.
#[test]
fn words_that_are_too_long_are_refused_with_key_and_limit() {
    let x = |n: usize| "x".repeat(n);
    let plan = |text: &str| {
        let bench = Bench::new(text);
        ended(&ablate().arg("plan").arg(&bench.file).output().unwrap())
    };
    let named = |from: &str, n: usize| prints_for(12).replace(from, &format!("\"{}\"", x(n)));
    let cases = [
        ("\"Is it as fast as it was?\"", "question: ", limits::SENTENCE),
        ("\"tps\"", "name: ", limits::LABEL),
        ("\"1/s\"", "unit: ", limits::UNIT),
        ("\"test\"", "name: ", limits::NAME),
    ];
    for (from, key, most) in cases {
        let (code, text) = plan(&named(from, most));
        assert_eq!(code, Some(0), "{key}{most}: {text}");
        let (code, text) = plan(&named(from, most + 1));
        let told =
            text.contains(key) && text.contains(&format!("has {} characters", most + 1)) && text.contains(&most.to_string());
        assert!(code == Some(2) && told, "{key}{most}: {code:?} {text}");
    }
    let bench = Bench::new(&prints_for(12));
    let machine = x(limits::LABEL + 1);
    let night = ablate()
        .arg("nightly")
        .arg(&bench.file)
        .args(["--machine", &machine, "--history", "h", "--reference", "/bin/true"])
        .output()
        .unwrap();
    let (code, text) = ended(&night);
    assert!(code == Some(2) && text.contains("--machine: "), "{code:?} {text}");
}

#[test]
fn every_limit_has_a_test() {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let declared = read(&home().join("src/limits.rs"));
    let names: Vec<&str> = declared.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    let mut tests = ["bounds.rs", "limits.rs"].map(|file| read(&home().join("tests/it").join(file))).concat();
    let mut dirs = vec![home().join("src")];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => dirs.push(path),
                false if path.extension().is_none_or(|extension| extension != "rs") => {}
                false => tests.extend(read(&path).split("#[cfg(test)]\nmod tests").skip(1).map(String::from)),
            }
        }
    }
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let named = format!("limits::{name}");
        let tested = tests
            .match_indices(&named)
            .any(|(at, _)| tests[at + named.len()..].starts_with(|next: char| !next.is_alphanumeric() && next != '_'));
        assert!(tested, "no test names {named}");
    }
}
