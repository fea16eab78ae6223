//! What a verb does when nobody takes what it has to say: full devices, pipes without a reader, closed descriptors.

use crate::support::{Bench, ablate, experiment};
use crate::support::{ONE_TOGGLE, READS, SMALL_TARGET};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What becomes of the two streams.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Standard output goes to a full device.
    Full,
    /// ... to a pipe that nobody reads.
    Unread,
    /// ... nowhere: the descriptor is closed.
    Closed,
    /// Standard error goes to a full device.
    ErrorsFull,
    /// ... to a pipe that nobody reads.
    ErrorsUnread,
    /// ... nowhere.
    ErrorsClosed,
    /// Both go to a full device.
    BothFull,
    /// All three descriptors are closed.
    AllClosed,
}

const FATES: [Fate; 8] = [
    Fate::Full,
    Fate::Unread,
    Fate::Closed,
    Fate::ErrorsFull,
    Fate::ErrorsUnread,
    Fate::ErrorsClosed,
    Fate::BothFull,
    Fate::AllClosed,
];

/// Runs a command under such a fate; what could still be said is in the output.
fn under(fate: Fate, command: &Command) -> Output {
    let redirections = match fate {
        Fate::Full => ">/dev/full",
        Fate::Closed => ">&-",
        Fate::ErrorsFull => "2>/dev/full",
        Fate::ErrorsClosed => "2>&-",
        Fate::BothFull => ">/dev/full 2>&1",
        Fate::AllClosed => "<&- >&- 2>&-",
        Fate::Unread | Fate::ErrorsUnread => "",
    };
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$@\" {redirections}")).arg("sh");
    shell.arg(command.get_program()).args(command.get_args()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    let unread = || std::io::pipe().unwrap().1;
    match fate {
        Fate::Unread => drop(shell.stdout(unread())),
        Fate::ErrorsUnread => drop(shell.stderr(unread())),
        _ => {}
    }
    shell.stdin(Stdio::null()).spawn().unwrap().wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs it under every fate. A verdict keeps its code; a product that is lost is none. What is lost is said where that can be heard.
fn under_all(what: &str, product: bool, code: i32, command: impl Fn() -> Command, check: impl Fn(Fate)) {
    for fate in FATES {
        let output = under(fate, &command());
        let lost = matches!(fate, Fate::Full | Fate::BothFull);
        let due = if lost && product && code == 0 { 5 } else { code };
        assert_eq!(output.status.code(), Some(due), "{what}, {fate:?}: {}", said(&output));
        let complaint =
            String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output: No space left on device");
        assert_eq!(complaint, fate == Fate::Full, "{what}, {fate:?}: {}", said(&output));
        check(fate);
    }
}

/// A command that prints a figure.
const COMMAND: &str = r#"
name = "test"
question = "Is it as fast as it was?"
[workload]
rw = "read"
bs = "4k"
iodepth = 1
[design]
kind = []
toggles = []
rounds = 24
[subject]
command = ["{program}"]
metric = { text = "tps = ([0-9.]+)", name = "tps", unit = "1/s", better = "higher" }
"#;

/// A program that prints about so many transactions a second.
fn program(dir: &Path, name: &str, tps: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/bash\necho \"tps = $(({tps} + RANDOM % ({tps} / 100)))\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn nothing(_: Fate) {}

#[test]
fn a_confirmed_regression_exits_1_with_all_its_files_whoever_listens() {
    let bench = Bench::new(COMMAND);
    let dir = bench.dir.path();
    let (good, bad) = (program(dir, "good", 100_000), program(dir, "bad", 80_000));
    for json in [false, true] {
        let out = |fate: Fate| dir.join(format!("{fate:?}{json}"));
        for fate in FATES {
            let mut command = ablate();
            command.arg("nightly").arg(&bench.file).arg("--pull-request").arg("--out").arg(out(fate));
            command.arg("--reference").arg(&good).arg("--candidate").arg(&bad).args(json.then_some("--json"));
            let output = under(fate, &command);
            assert_eq!(output.status.code(), Some(1), "{fate:?}: {}", said(&output));
            let files = fs::read_dir(out(fate)).unwrap().map(|e| e.unwrap()).filter(|e| e.metadata().unwrap().len() > 0).count();
            assert_eq!(files, 7, "{fate:?}: {}", said(&output));
        }
    }
}

#[test]
fn a_night_counts_and_is_drawn_whoever_listens() {
    let bench = Bench::new(COMMAND);
    let good = program(bench.dir.path(), "good", 100_000);
    let history = bench.dir.path().join("history");
    let command = || {
        let mut command = ablate();
        command.arg("nightly").arg(&bench.file).arg("--history").arg(&history);
        command.arg("--reference").arg(&good).arg("--candidate").arg(&good);
        command
    };
    under_all("nightly", false, 0, command, |_| {
        assert!(history.join("plots").read_dir().unwrap().count() >= 2);
        fs::remove_dir_all(history.join("plots")).unwrap();
    });
    let verb = |words: &[&str], more: &[&Path]| {
        let mut command = ablate();
        command.arg("history").args(words).arg(&history).args(more);
        command
    };
    under_all("history show", true, 0, || verb(&["show"], &[]), nothing);
    under_all("history show --json", true, 0, || verb(&["show", "--json"], &[]), nothing);
    under_all("history verify", false, 0, || verb(&["verify"], &[]), nothing);
    let plots = history.join("plots");
    under_all("history plot", false, 0, || verb(&["plot"], &[]), |_| fs::remove_dir_all(&plots).unwrap());
    let tables = history.join("parquet/nights.parquet");
    under_all("history export", false, 0, || verb(&["export"], &[]), |_| fs::remove_file(&tables).unwrap());
    let into = bench.dir.path().join("all");
    let merge = || {
        let mut command = ablate();
        command.args(["history", "merge", "--into"]).arg(&into).arg(&history);
        command
    };
    under_all("history merge", false, 0, merge, |_| fs::remove_dir_all(&into).unwrap());
}

#[test]
fn a_product_that_is_lost_is_no_success() {
    let bench = Bench::small();
    let file = bench.file.display().to_string();
    let job = ["plan", &file, "--fio-job", "read-4k-qd16-j1"];
    let small = ["bench", "--size=16M", "--runtime=100ms", "--json"];
    let nights = ["simulate-nights", "--histories=1", "--cells=1", "--nights=2"];
    let verbs: [&[&str]; 12] = [
        &["toggles"],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["plan", &file],
        &job,
        &small,
        &small[..3],
        &["doctor", "--json"],
        &["--help"],
        &["help", "nightly"],
        &["--version"],
        &nights,
    ];
    for words in verbs {
        let command = || {
            let mut command = ablate();
            command.args(words).current_dir(bench.dir.path());
            command
        };
        under_all(&words.join(" "), true, 0, command, nothing);
    }
}

#[test]
fn what_fails_keeps_its_code() {
    let verbs: [(&[&str], i32); 4] =
        [(&["plan", "/nonexistent.toml"], 2), (&["nightly"], 2), (&["frobnicate"], 2), (&["doctor", "/nonexistent/file"], 2)];
    for (words, code) in verbs {
        for fate in FATES {
            let mut command = ablate();
            command.args(words);
            let output = under(fate, &command);
            assert_eq!(output.status.code(), Some(code), "{words:?}, {fate:?}: {}", said(&output));
        }
    }
}

#[test]
fn a_run_is_measured_and_reported_whoever_listens() {
    for fate in [Fate::BothFull, Fate::ErrorsUnread, Fate::AllClosed] {
        let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "").replace("250ms", "1s"));
        let mut command = ablate();
        command.arg("run").arg(&bench.file).arg("--out").arg(bench.out());
        let output = under(fate, &command);
        assert_eq!(output.status.code(), Some(0), "{fate:?}: {}", said(&output));
        for file in ["report.md", "report.html", "effects.csv", "rounds.csv"] {
            assert!(fs::metadata(bench.out().join(file)).unwrap().len() > 0, "{fate:?}: {file}");
        }
    }
}

/// A copy of a committed run.
fn copy(name: &str, to: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/quick").join(name);
    fs::create_dir_all(to).unwrap();
    for file in ["trials.csv", "arms.csv", "rounds.csv", "plan.csv", "manifest.json", "latency.hlog", "overhead.csv"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    to.into()
}

#[test]
fn reports_and_comparisons_are_written_whoever_listens() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = ["20261125T045913Z-vm", "20261125T050059Z-vm"].map(|name| copy(name, &home.path().join(name)));
    let verb = |words: &[&str], paths: &[&Path]| {
        let mut command = ablate();
        command.args(words).args(paths);
        command
    };
    let page = a.join("report.html");
    under_all("report", false, 0, || verb(&["report"], &[&a]), |_| fs::remove_file(&page).unwrap());
    let out = home.path().join("out");
    let compare = || verb(&["compare"], &[&a, &b, Path::new("--out"), &out]);
    under_all("compare --out", false, 0, compare, |_| {
        assert!(out.join("compare.html").exists());
        fs::remove_dir_all(&out).unwrap();
    });
    under_all("compare", true, 0, || verb(&["compare"], &[&a, &b]), nothing);
    for format in ["bencher", "hlog", "go-benchfmt", "github-action-benchmark"] {
        under_all(format, true, 0, || verb(&["export", "--format", format], &[&a]), nothing);
    }
    under_all(
        "export to a file",
        false,
        0,
        || verb(&["export", "--format=bencher", "--out"], &[&out, &a]),
        |_| {
            fs::remove_file(&out).unwrap();
        },
    );
}

#[test]
fn a_round_that_cannot_hand_over_its_report_says_so() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("target");
    fs::write(&file, vec![1; 1 << 20]).unwrap();
    let spec = crate::rounds::small_spec(&file);
    let input = home.path().join("spec");
    fs::write(&input, serde_json::to_vec(&spec).unwrap()).unwrap();
    let good = ablate().arg("round").stdin(fs::File::open(&input).unwrap()).output().unwrap();
    assert!(good.status.success() && !good.stdout.is_empty(), "{}", said(&good));
    let unread = || Stdio::from(std::io::pipe().unwrap().1);
    for (what, stdout) in [
        ("a full device", Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())),
        ("a pipe that nobody reads", unread()),
        ("a descriptor that cannot be written", Stdio::from(fs::File::open("/dev/null").unwrap())),
    ] {
        let mut command = ablate();
        let output = command.arg("round").stdin(fs::File::open(&input).unwrap()).stdout(stdout).stderr(Stdio::piped());
        let output = output.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{what}: {}", said(&output));
        assert!(said(&output).contains("cannot hand over the report of the round: "), "{what}: {}", said(&output));
    }
}

#[test]
fn programs_of_others_end_by_sigpipe_as_everywhere() {
    let bench = Bench::new(COMMAND);
    let dir = bench.dir.path();
    // `yes` ends by the signal when `head` has had enough; where it is ignored, it complains instead.
    let path = dir.join("piped");
    fs::write(
        &path,
        "#!/bin/bash\nset -o pipefail\nyes | head -n1 >/dev/null\n[ $? = 141 ] && echo \"tps = $((1000 + RANDOM % 10))\"\n",
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = ablate();
    command.arg("nightly").arg(&bench.file).arg("--pull-request").arg("--out").arg(dir.join("night"));
    let output = command.arg("--reference").arg(&path).arg("--candidate").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
