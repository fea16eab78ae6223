//! Directories of results, histories and searches from somebody else, used by root: nothing outside of them is written, nothing is waited for,
//! and what is refused is named and left as it was.

use crate::bisect::task;
use crate::reports::{CELL, make};
use crate::support::{Bench, ablate, ended, experiment, root, skip};
use crate::support::{ONE_TOGGLE, READS, SMALL_TARGET};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use uring_ablate::bisect::Error;
use uring_ablate::bisect::state::State;
use uring_ablate::nightly::row::{NightRow, SeriesRow};
use uring_ablate::nightly::store::History;
use uring_ablate::report::splice::spliced;

/// Runs the binary with arguments, for at most 20 seconds.
fn bounded(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "20", env!("CARGO_BIN_EXE_uring-ablate")]);
    for arg in args {
        command.arg(arg);
    }
    command.output().unwrap()
}

/// Every file below a directory with what it holds, links and what is no file by their kind.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        match kind.is_dir() {
            true => found.extend(snapshot(&path)),
            false if kind.is_file() => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
            false => drop(found.insert(path, format!("{kind:?}").into_bytes())),
        }
    }
    found
}

/// A run with rows, a manifest and a journal, and another beside it.
fn two_runs(home: &Path) -> [PathBuf; 2] {
    ["a", "b"].map(|name| {
        let dir = home.join(name);
        fs::create_dir(&dir).unwrap();
        make(&dir);
        dir
    })
}

#[test]
fn a_link_among_derived_files_is_replaced_and_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let [run, _] = two_runs(home.path());
    let outside = home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(run.join("plots")).unwrap();
    let chart = format!("plots/{CELL}-ablation.svg");
    let names = ["effects.csv", "report.md", "report.html", &chart];
    for (i, name) in names.iter().enumerate() {
        fs::write(outside.join(i.to_string()), "precious").unwrap();
        symlink(outside.join(i.to_string()), run.join(name)).unwrap();
    }
    let before = snapshot(&outside);
    let output = bounded(&[&"report", &run]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(snapshot(&outside), before, "what the links led to is as it was");
    for name in names {
        assert!(run.join(name).symlink_metadata().unwrap().is_file(), "{name} is a file of its own");
    }
}

#[test]
fn no_chart_goes_where_a_link_or_a_name_leads() {
    let home = tempfile::tempdir().unwrap();
    let [run, _] = two_runs(home.path());
    let outside = home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, run.join("plots")).unwrap();
    let (code, error) = ended(&bounded(&[&"report", &run]));
    assert!(code == Some(2) && error.contains("plots") && error.contains("symbolic link"), "{code:?} {error}");
    let (code, error) = ended(&bounded(&[&"export", &"--format=parquet", &run]));
    assert_eq!(code, Some(0), "parquet/ is another directory: {error}");
    fs::remove_file(run.join("plots")).unwrap();
    let [trials, arms] = ["trials.csv", "arms.csv"].map(|name| fs::read_to_string(run.join(name)).unwrap());
    let absolute = outside.join("x").display().to_string();
    let long = "x".repeat(300);
    for name in ["../outside/x", "..", "a\nb", "a\u{1b}[2J", ".x", &absolute, &long] {
        let renamed = |text: &str| text.replace(CELL, &format!("\"{name}\""));
        fs::write(run.join("trials.csv"), renamed(&trials)).unwrap();
        fs::write(run.join("arms.csv"), renamed(&arms)).unwrap();
        for verb in ["report", "export"] {
            let more = if verb == "export" { "--format=bencher" } else { "--quiet" };
            let (code, error) = ended(&bounded(&[&verb, &more, &run]));
            assert!(
                code == Some(2) && error.contains("arms.csv") && error.contains("row 1: cell: "),
                "{name:?}: {code:?} {error}"
            );
            assert_eq!(error.lines().count(), 1, "{name:?} is shown in one line: {error}");
        }
    }
    assert!(snapshot(&outside).is_empty(), "nothing was written outside");
}

#[test]
fn a_name_in_a_manifest_is_checked_as_those_in_experiments_are() {
    let bench = finished();
    let path = bench.out().join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"name\": \"test\"", "\"name\": \"a\\nssh-rsa AAAA\"", 1)).unwrap();
    let (code, error) = ended(&bounded(&[&"report", &bench.out()]));
    assert!(code == Some(2) && error.contains("manifest.json") && error.contains(r"a\nssh-rsa"), "{code:?} {error}");
    fs::write(&path, text.replacen("\"description\": \"", "\"description\": \"x\\nssh-rsa AAAA\\n", 1)).unwrap();
    assert_eq!(bounded(&[&"report", &bench.out()]).status.code(), Some(0));
    let report = fs::read_to_string(bench.out().join("report.md")).unwrap();
    assert!(report.contains("ssh-rsa AAAA") && !report.lines().any(|line| line.starts_with("ssh-rsa")), "{report}");
}

/// What may stand in place of a file, that is moved away.
const IN_PLACE: [&str; 5] = ["link", "FIFO", "device", "directory", "sparse"];

/// Puts it there; false where that takes more rights than there are.
fn put(kind: &str, path: &Path, outside: &Path) -> bool {
    fs::rename(path, outside).unwrap();
    let node = |kind, device| mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device);
    match kind {
        "link" => symlink(outside, path).unwrap(),
        "FIFO" => node(FileType::Fifo, 0).unwrap(),
        // Zeros without end.
        "device" => return root() && node(FileType::CharacterDevice, rustix::fs::makedev(1, 5)).is_ok(),
        "directory" => fs::create_dir(path).unwrap(),
        _ => fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
    }
    true
}

/// The file itself again.
fn put_back(path: &Path, outside: &Path) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
    fs::rename(outside, path).unwrap();
}

/// Has each of `names` in `dir` in turn stand for something else, and `use_it` refuse it by its name, with all else as it was.
fn each_in_turn(dir: &Path, names: &[&str], use_it: &dyn Fn() -> Output) {
    let outside = dir.with_extension("outside");
    for name in names {
        for kind in IN_PLACE {
            let path = dir.join(name);
            if !put(kind, &path, &outside) {
                skip("each_in_turn", "device nodes need root");
                put_back(&path, &outside);
                continue;
            }
            let before = (snapshot_but(dir, &path), fs::read(&outside).unwrap());
            let (code, error) = ended(&use_it());
            assert!(code == Some(2) && error.contains(name), "{name} as {kind}: {code:?} {error}");
            assert!((snapshot_but(dir, &path), fs::read(&outside).unwrap()) == before, "{name} as {kind}: something was written");
            put_back(&path, &outside);
        }
    }
}

/// All that a directory holds but for one file.
fn snapshot_but(dir: &Path, one: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let hidden = dir.with_extension("hidden");
    fs::rename(one, &hidden).unwrap();
    let found = snapshot(dir);
    fs::rename(&hidden, one).unwrap();
    found
}

/// A run that was measured.
fn finished() -> Bench {
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, ""));
    let output = bench.run(&["--quiet"]);
    assert!(output.status.success(), "{}", bench.verdict(&output));
    bench
}

const TABLES: [&str; 6] = ["trials.csv", "arms.csv", "rounds.csv", "plan.csv", "overhead.csv", "manifest.json"];

#[test]
fn what_is_no_file_is_neither_read_nor_waited_for() {
    let bench = finished();
    let run = bench.out();
    let other = bench.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    for name in TABLES {
        fs::copy(run.join(name), other.join(name)).unwrap();
    }
    each_in_turn(&run, &TABLES, &|| bounded(&[&"report", &"--quiet", &run]));
    each_in_turn(&run, &TABLES, &|| bounded(&[&"compare", &"--quiet", &other, &run]));
    each_in_turn(&run, &TABLES, &|| bounded(&[&"export", &"--format=bencher", &run]));
    each_in_turn(&run, &["latency.hlog"], &|| bounded(&[&"export", &"--format=hlog", &run]));
}

#[test]
fn a_run_is_resumed_from_its_own_files_alone() {
    let bench = finished();
    let names = [&TABLES[..], &["latency.hlog"]].concat();
    each_in_turn(&bench.out(), &names, &|| bounded(&[&"run", &bench.file, &"--quiet", &"--resume", &"--out", &bench.out()]));
    let trials = bench.out().join("trials.csv");
    fs::hard_link(&trials, bench.dir.path().join("another-name")).unwrap();
    let (code, error) = ended(&bench.run(&["--quiet", "--resume"]));
    assert!(code == Some(2) && error.contains("trials.csv") && error.contains("hard links"), "{code:?} {error}");
}

#[test]
fn nothing_is_cut_before_everything_was_checked() {
    let bench = finished();
    let out = bench.out();
    // What a kill leaves, which a resumed run cuts off.
    for name in ["rounds.csv", "trials.csv", "arms.csv", "latency.hlog"] {
        let mut text = fs::read_to_string(out.join(name)).unwrap();
        text += "99,torn";
        fs::write(out.join(name), text).unwrap();
    }
    let unchanged = |what: &str, file: &str| {
        let before = snapshot(&out);
        let (code, error) = ended(&bench.run(&["--quiet", "--resume"]));
        assert!(code == Some(2) && error.contains(file), "{what}: {code:?} {error}");
        assert!(snapshot(&out) == before, "{what}: not a byte is changed");
    };
    let damaged = |what: &str, file: &str, change: &dyn Fn(&str) -> String| {
        let text = fs::read_to_string(out.join(file)).unwrap();
        fs::write(out.join(file), change(&text)).unwrap();
        unchanged(what, file);
        fs::write(out.join(file), text).unwrap();
    };
    damaged("half a manifest", "manifest.json", &|text| text[..text.len() / 2].into());
    damaged("a plan that is none", "plan.csv", &|text| text.replacen("1,", "one,", 1));
    damaged("histograms that are gone", "latency.hlog", &|text| text[..text.len() / 2].into());
    damaged("overhead that is gone", "overhead.csv", &|_| String::new());
    let text = fs::read_to_string(&bench.file).unwrap();
    fs::write(&bench.file, text.replace("Does it work?", "Does it?")).unwrap();
    unchanged("another experiment", "out");
    fs::write(&bench.file, text).unwrap();
    let output = bench.run(&["--quiet", "--resume"]);
    assert!(output.status.success(), "{}", bench.verdict(&output));
    assert!(!fs::read_to_string(out.join("trials.csv")).unwrap().contains("torn"), "now it is cut");
}

/// A history of one night.
fn history(dir: &Path, experiment: &str, machine: &str) {
    let night = NightRow { experiment: experiment.into(), machine: machine.into(), ..NightRow::example() };
    History::open(dir).unwrap().commit(night, &[SeriesRow::example()]).unwrap();
}

#[test]
fn a_history_is_read_from_its_own_files_and_draws_into_its_own_directory() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("history");
    history(&dir, "nightly", "host");
    each_in_turn(&dir, &["nights.csv", "series.csv"], &|| bounded(&[&"history", &"show", &dir]));
    each_in_turn(&dir, &["nights.csv", "series.csv"], &|| bounded(&[&"history", &"merge", &"--into", &dir, &dir]));
    let outside = home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, dir.join("plots")).unwrap();
    let (code, error) = ended(&bounded(&[&"history", &"plot", &dir]));
    assert!(code == Some(2) && error.contains("plots") && error.contains("symbolic link"), "{code:?} {error}");
    for name in ["../outside/x", "a\nb"] {
        let dir = home.path().join("named");
        history(&dir, name, "host");
        let (code, error) = ended(&bounded(&[&"history", &"plot", &dir]));
        assert!(code == Some(2) && error.contains("nights.csv") && error.contains("line 2: experiment: "), "{code:?} {error}");
        fs::remove_dir_all(dir).unwrap();
    }
    assert!(snapshot(&outside).is_empty(), "nothing was written outside");
    let labelled = home.path().join("labelled");
    history(&labelled, "nightly", "a\nb\u{1b}[2J");
    let output = bounded(&[&"history", &"show", &labelled]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("x1b") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn the_reference_of_a_history_is_no_link() {
    let home = tempfile::tempdir().unwrap();
    let (dir, file) = (home.path().join("history"), home.path().join("nightly.toml"));
    history(&dir, "nightly", "host");
    fs::create_dir(dir.join("reference")).unwrap();
    symlink("/bin/true", dir.join("reference/uring-ablate")).unwrap();
    fs::write(&file, experiment(SMALL_TARGET, READS, ONE_TOGGLE, "")).unwrap();
    let (code, error) = ended(&bounded(&[&"nightly", &file, &"--history", &dir]));
    assert!(code == Some(2) && error.contains("reference/uring-ablate") && error.contains("symbolic link"), "{code:?} {error}");
}

#[test]
fn a_document_names_runs_below_it_alone() {
    let home = tempfile::tempdir().unwrap();
    let [run, _] = two_runs(home.path());
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    symlink(&run, docs.join("link")).unwrap();
    for named in ["../a".into(), run.display().to_string(), "link".into()] {
        let document = format!("<!-- begin toggles {CELL} of {named} -->\n<!-- end -->\n");
        assert!(spliced(&document, &docs).is_err(), "{named}");
        assert!(spliced(&document.replace(&named, "a"), home.path()).is_ok());
    }
}

#[test]
fn a_report_goes_where_it_is_told_and_leaves_the_run_alone() {
    let home = tempfile::tempdir().unwrap();
    let [run, _] = two_runs(home.path());
    let (before, out) = (snapshot(&run), home.path().join("elsewhere"));
    let output = ablate().arg("report").arg(&run).arg("--out").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(snapshot(&run) == before, "the run is as it was");
    let chart = format!("plots/{CELL}-ablation.svg");
    for name in ["effects.csv", "report.md", "report.html", &chart] {
        assert!(out.join(name).is_file(), "{name}");
    }
    assert!(fs::read_to_string(out.join("report.md")).unwrap().contains(&format!("(<{chart}>)")), "charts are linked from there");
    let beside = bounded(&[&"report", &run]);
    assert!(String::from_utf8_lossy(&beside.stdout).contains("lie beside those of the run; --out DIR"), "{beside:?}");
}

#[test]
fn a_search_goes_on_from_its_own_files_alone() {
    let home = tempfile::tempdir().unwrap();
    let (dir, outside) = (home.path().join("state"), home.path().join("outside"));
    drop(State::open(&dir, &task()).unwrap());
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("steps.csv"), fs::read_to_string(dir.join("steps.csv")).unwrap() + "torn").unwrap();
    let before = snapshot(&outside);
    for name in ["steps.csv", "task.json", "programs", "logs", "worktree"] {
        let (path, kept) = (dir.join(name), home.path().join("kept"));
        let there = path.exists();
        if there {
            fs::rename(&path, &kept).unwrap();
        }
        symlink(if name == "steps.csv" { outside.join(name) } else { outside.clone() }, &path).unwrap();
        let error = State::open(&dir, &task()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("symbolic link"), "{name}: {error}");
        fs::remove_file(&path).unwrap();
        if there {
            fs::rename(&kept, &path).unwrap();
        }
    }
    assert!(snapshot(&outside) == before, "nothing was written outside");
    fs::write(dir.join("steps.csv"), "commit,step,rounds,figures,time_utc\na,what,0,,\ntorn").unwrap();
    let before = snapshot(&dir);
    assert!(matches!(State::open(&dir, &task()), Err(Error::Damaged { .. })));
    assert!(snapshot(&dir) == before, "nothing is cut before everything was checked");
}
