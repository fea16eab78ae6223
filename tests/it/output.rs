//! What a verb does when nobody takes what it has to say: full devices, pipes without a reader, closed descriptors.

use crate::faults::search;
use crate::support::{
    Bench, ONE_TOGGLE, PRINTS, QUICK, QUICK_AGAIN, READS, SMALL_TARGET, ablate, committed_run, experiment, said, script, skip,
};
use std::fs;
use std::path::Path;
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

/// What a verb writes to standard output.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// What it was asked for.
    Product,
    /// Words beside files, or beside a verdict.
    Words,
    Nothing,
}

/// Runs it under every fate. A verdict keeps its code; a product that is lost is none. What is lost is said where that can be heard.
fn under_all(what: &str, says: Says, code: i32, command: impl Fn() -> Command, check: impl Fn(Fate)) {
    for fate in FATES {
        let output = under(fate, &command());
        let lost = matches!(fate, Fate::Full | Fate::BothFull);
        let due = if lost && says == Says::Product && code == 0 { 5 } else { code };
        assert_eq!(output.status.code(), Some(due), "{what}, {fate:?}: {}", said(&output));
        let complaint =
            String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output: No space left on device");
        assert_eq!(complaint, fate == Fate::Full && says != Says::Nothing, "{what}, {fate:?}: {}", said(&output));
        check(fate);
    }
}

fn nothing(_: Fate) {}

#[test]
fn a_confirmed_regression_exits_1_with_all_its_files_whoever_listens() {
    let bench = Bench::new(PRINTS);
    let dir = bench.dir.path();
    // Always the same, so that no control fails by chance in any of so many nights.
    let [good, bad] = [("good", 100_000), ("bad", 80_000)].map(|(name, tps)| script(dir, name, &format!("echo tps = {tps}")));
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
    let bench = Bench::new(PRINTS);
    let good = script(bench.dir.path(), "good", "echo tps = 100000");
    let history = bench.dir.path().join("history");
    let command = || {
        let mut command = ablate();
        command.arg("nightly").arg(&bench.file).arg("--history").arg(&history);
        command.arg("--reference").arg(&good).arg("--candidate").arg(&good);
        command
    };
    under_all("nightly", Says::Words, 0, command, |_| {
        assert!(history.join("plots").read_dir().unwrap().count() >= 2);
        fs::remove_dir_all(history.join("plots")).unwrap();
    });
    let verb = |words: &[&str], more: &[&Path]| {
        let mut command = ablate();
        command.arg("history").args(words).arg(&history).args(more);
        command
    };
    under_all("history show", Says::Product, 0, || verb(&["show"], &[]), nothing);
    under_all("history show --json", Says::Product, 0, || verb(&["show", "--json"], &[]), nothing);
    under_all("history verify", Says::Words, 0, || verb(&["verify"], &[]), nothing);
    let plots = history.join("plots");
    under_all("history plot", Says::Words, 0, || verb(&["plot"], &[]), |_| fs::remove_dir_all(&plots).unwrap());
    let tables = history.join("parquet/nights.parquet");
    under_all("history export", Says::Words, 0, || verb(&["export"], &[]), |_| fs::remove_file(&tables).unwrap());
    let into = bench.dir.path().join("all");
    let merge = || {
        let mut command = ablate();
        command.args(["history", "merge", "--into"]).arg(&into).arg(&history);
        command
    };
    under_all("history merge", Says::Words, 0, merge, |_| fs::remove_dir_all(&into).unwrap());
}

#[test]
fn a_product_that_is_lost_is_no_success() {
    // Room for a busy machine.
    let bench = Bench::new(&experiment(SMALL_TARGET, READS, ONE_TOGGLE, "").replace("250ms", "2s"));
    let file = bench.file.display().to_string();
    let job = ["plan", &file, "--fio-job", "read-4k-qd16-j1"];
    let small = ["bench", "--size=16M", "--runtime=100ms", "--json"];
    let nights = ["simulate-nights", "--histories=1", "--cells=1", "--nights=2"];
    let verbs: [&[&str]; 15] = [
        &["toggles"],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["plan", &file],
        &job,
        &small,
        &small[..3],
        &["plan", &file, "--pilot"],
        &["doctor"],
        &["doctor", "--json"],
        &["simulate", "--requests=1000"],
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
        under_all(&words.join(" "), Says::Product, 0, command, nothing);
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

#[test]
fn reports_and_comparisons_are_written_whoever_listens() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = [(QUICK, "a"), (QUICK_AGAIN, "b")].map(|(run, name)| committed_run(run, &home.path().join(name)));
    let verb = |words: &[&str], paths: &[&Path]| {
        let mut command = ablate();
        command.args(words).args(paths);
        command
    };
    let page = a.join("report.html");
    under_all("report", Says::Words, 0, || verb(&["report"], &[&a]), |_| fs::remove_file(&page).unwrap());
    let out = home.path().join("out");
    let compare = || verb(&["compare"], &[&a, &b, Path::new("--out"), &out]);
    under_all("compare --out", Says::Words, 0, compare, |_| {
        assert!(out.join("compare.html").exists());
        fs::remove_dir_all(&out).unwrap();
    });
    under_all("compare", Says::Product, 0, || verb(&["compare"], &[&a, &b]), nothing);
    for format in ["bencher", "hlog", "go-benchfmt", "github-action-benchmark"] {
        under_all(format, Says::Product, 0, || verb(&["export", "--format", format], &[&a]), nothing);
    }
    under_all(
        "export to a file",
        Says::Words,
        0,
        || verb(&["export", "--format=bencher", "--out"], &[&out, &a]),
        |_| {
            fs::remove_file(&out).unwrap();
        },
    );
}

#[test]
fn files_are_written_where_they_were_wanted_whoever_listens() {
    let home = tempfile::tempdir().unwrap();
    let run = committed_run(QUICK, &home.path().join("run"));
    let out = home.path().join("out");
    let verb = |words: &[&str], paths: &[&Path]| {
        let mut command = ablate();
        command.args(words).args(paths);
        command
    };
    let to = Path::new("--out");
    // Every file that the verb makes is there and holds something; then they go.
    let made = |files: &[&str]| {
        for file in files {
            assert!(fs::metadata(out.join(file)).is_ok_and(|meta| meta.len() > 0), "{file}");
        }
        fs::remove_dir_all(&out).unwrap();
    };
    let report = ["report.md", "report.html", "effects.csv", "plots/read-4k-qd128-j1-ablation.svg"];
    under_all("report --out", Says::Words, 0, || verb(&["report"], &[&run, to, &out]), |_| made(&report));
    under_all("report --quiet --out", Says::Nothing, 0, || verb(&["report", "--quiet"], &[&run, to, &out]), |_| made(&report));
    let parquet = || verb(&["export", "--format=parquet"], &[&run, to, &out]);
    under_all("export --format parquet", Says::Words, 0, parquet, |_| made(&["trials.parquet", "arms.parquet"]));
    let pages = ["uring-ablate.1", "uring-ablate-run.1", "uring-ablate-bisect.1"];
    under_all("man", Says::Nothing, 0, || verb(&["man"], &[&out]), |_| made(&pages));
    let document = home.path().join("README.md");
    let splice = || {
        fs::write(&document, "<!-- begin toggles read-4k-qd128-j1 of run -->\n<!-- end -->\n").unwrap();
        verb(&["report", "--splice"], &[&document])
    };
    under_all("report --splice", Says::Nothing, 0, splice, |_| assert!(fs::read_to_string(&document).unwrap().contains("| ")));
}

#[test]
fn the_selftest_keeps_its_verdict_whoever_listens() {
    let command = || {
        let mut command = ablate();
        command.args(["selftest", "--synthetic"]);
        command
    };
    under_all("selftest --synthetic", Says::Words, 0, command, nothing);
}

#[test]
fn a_search_has_its_answer_whoever_listens() {
    const TEST: &str = "a_search_has_its_answer_whoever_listens";
    if Command::new("git").arg("--version").output().is_err() {
        return skip(TEST, "git is not installed");
    }
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    search::prepared(dir, 4);
    for fate in [Fate::BothFull, Fate::Unread, Fate::AllClosed] {
        let _ = fs::remove_dir_all(dir.join("state"));
        let output = under(fate, &search::command(dir, 4));
        assert_eq!(output.status.code(), Some(0), "{fate:?}: {}", said(&output));
        assert!(search::steps(dir).contains(",different,"), "{fate:?}: {}", search::steps(dir));
    }
    // Asked again it answers from its files.
    let steps = search::steps(dir);
    under_all("bisect", Says::Words, 0, || search::command(dir, 4), |fate| assert_eq!(search::steps(dir), steps, "{fate:?}"));
}

/// A verb that is added is asked, too: for its help, and for what no verb knows.
#[test]
fn no_verb_of_any_name_panics_at_a_stream() {
    let help = ablate().arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).map_while(|line| line.split_whitespace().next());
    let mut seen = 0;
    for verb in listed.filter(|verb| *verb != "help") {
        let command = |flag: &str| {
            let mut command = ablate();
            command.args([verb, flag]);
            command
        };
        under_all(verb, Says::Product, 0, || command("--help"), nothing);
        under_all(verb, Says::Nothing, 2, || command("--nonsense"), nothing);
        seen += 1;
    }
    assert!(seen > 10, "{seen} verbs");
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
    let bench = Bench::new(PRINTS);
    let dir = bench.dir.path();
    // `yes` ends by the signal when `head` has had enough; where it is ignored, it complains instead.
    let body = "set -o pipefail\nyes | head -n1 >/dev/null\n[ $? = 141 ] && echo \"tps = $((1000 + RANDOM % 10))\"";
    let path = script(dir, "piped", body);
    let mut command = ablate();
    command.arg("nightly").arg(&bench.file).arg("--pull-request").arg("--out").arg(dir.join("night"));
    let output = command.arg("--reference").arg(&path).arg("--candidate").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
