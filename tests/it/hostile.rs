//! Text of others in everything that we print and leave: experiments, programs, results and histories from somebody else.

use crate::support::{Bench, QUICK, QUICK_AGAIN, ablate, committed, experiment, prints_for, program, script};
use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use uring_ablate::export::night::files;
use uring_ablate::nightly::row::{Alarm, Finding, NightRow, SeriesRow};
use uring_ablate::nightly::store::History;
use uring_ablate::report::hosts;

/// Drives terminals, forges lines, Markdown, HTML, XML, metrics and workflow commands.
const HOSTILE: &str = "x** \u{1b}[2J\u{1b}]0;t\u{7}\r\u{9b}31m\u{202e}\u{2028}\n\n# Forged\n\n<img src=x onerror=alert(1)> \
    ![i](https://evil.example/t.png) [l](javascript:alert(2)) <https://evil.example> https://evil.example www.evil.example @org/everyone \
    a@evil.example | a | b |\n|---|\n- Forged\n```\n<!-- c\n::set-output name=code::0\n  ::error::x ##[error]y\n]]> </testcase>\u{1}\n\
    # HELP x\nuring_ablate_regression{a=\"b\"} 0\n\" ";

/// The same without control characters: what an experiment may say.
const LINE: &str = "x** <img src=x onerror=alert(1)> ![i](https://evil.example/t.png) [l](javascript:alert(2)) <https://evil.example> \
    https://evil.example www.evil.example @org/everyone a@evil.example | a | b | ::set-output name=code::0 ##[error]y ]]> </testcase> <!-- ```";

/// As [`HOSTILE`], short enough for the name of a file.
const SHORT: &str = "x** \u{1b}[2J\n\n# Forged\n::error::x\n<img src=x onerror=alert(1)> [l](javascript:alert(2)) @org :b| | `";

/// Nothing drives a terminal.
fn assert_quiet(what: &str, text: &str) {
    let drives = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || ('\u{2028}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    assert_eq!(text.chars().find(|c| drives(*c)), None, "{what}: {text:?}");
}

/// Nor is anything that is printed a command to the runner of a workflow.
fn assert_quiet_output(what: &str, output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    let forged = |line: &&str| line.trim_start().starts_with("::") || line.contains("##[");
    for text in [&out, &err] {
        assert_quiet(what, text);
        assert_eq!(text.lines().find(forged), None, "{what}");
    }
    out + &err
}

/// Markdown whose only markup is ours.
fn assert_own_markup(what: &str, markdown: &str) {
    assert_quiet(what, markdown);
    let (mut words, mut code) = (String::new(), false);
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH) {
        match &event {
            Event::InlineHtml(tag) => assert_eq!(&**tag, "<br>", "{what}"),
            Event::Html(_) | Event::FootnoteReference(_) | Event::Rule | Event::TaskListMarker(_) => panic!("{what}: {event:?}"),
            Event::Start(Tag::Link { .. } | Tag::BlockQuote(_) | Tag::Strikethrough) => panic!("{what}: {event:?}"),
            Event::Start(Tag::Image { dest_url, .. }) => assert!(dest_url.starts_with("plots/"), "{what}: {event:?}"),
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => code = false,
            Event::Text(text) if !code => words += text,
            Event::Text(_) | Event::Code(_) => {}
            _ => words.push('\n'),
        }
    }
    assert!(words.lines().all(|l| l.trim() != "Forged"), "{what}: {words}");
    for linked in ["@org", "://", "www.", "@evil"] {
        assert!(!words.contains(linked), "{what}: {linked} in {words}");
    }
}

fn assert_own_page(what: &str, page: &str) {
    assert_quiet(what, page);
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for forged in ["<img", "<script>alert", "href=\"javascript", "href=\"http", "<!-- c", ">Forged<"] {
        assert!(!page.contains(forged), "{what}: {forged}");
    }
}

fn toml(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// An experiment on a command, with the metric so called.
fn nightly(name: &str, unit: &str) -> String {
    let named = prints_for(12).replace("name = \"tps\"", &format!("name = {}", toml(name)));
    named.replace("unit = \"1/s\"", &format!("unit = {}", toml(unit)))
}

#[test]
fn an_experiment_with_control_characters_is_refused_with_its_line_and_the_value_spelt_out() {
    let small = |question: &str, claim: &str| {
        experiment("kind = \"auto\"", "rw = \"read\"\nbs = \"4k\"\niodepth = 1", "toggles = [\"fixed_files\"]", claim)
            .replace("\"Does it work?\"", &toml(question))
    };
    let claim = |text: &str| format!("[[claim]]\npays = true\ntext = {}", toml(text));
    let cases = [
        (small("\u{1b}]0;title\u{7}", ""), "test.toml:2: question: \"\\u{1b}]0;title\\u{7}\" has a control character"),
        (small("a\u{202e}b", ""), "test.toml:2: question: \"a\\u{202e}b\" has"),
        (small("?", &claim("a\nb")), "[[claim]] text: \"a\\nb\" has a control character"),
        (small("?", &claim("\u{9b}2J")), "[[claim]] text: \"\\u{9b}2J\" has"),
        (small(&"x".repeat(5000), ""), "and more has 5000 characters; write at most 1000"),
        (nightly("a\n::set-output name=code::0", "u"), "name: \"a\\n::set-output name=code::0\" has a control character"),
        (nightly(&"x".repeat(200), "u"), "has 200 characters; write at most"),
        (nightly("a", "u\n# HELP x"), "unit: \"u\\n# HELP x\" has a control character"),
        (nightly("a", &"u".repeat(100)), "unit: "),
        (small("?", "\u{1b}[2J"), "test.toml:"),
        (small("?", "[\"\\u001b[2J\\n::error::x\"]\na = 1"), "unknown field"),
    ];
    for (text, due) in cases {
        let bench = Bench::new(&text);
        let output = ablate().arg("plan").arg(&bench.file).output().unwrap();
        let said = assert_quiet_output(due, &output);
        assert!(output.status.code() == Some(2) && said.contains(due), "{due}: {said}");
    }
}

#[test]
fn arguments_and_names_of_files_reach_no_terminal_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("a\u{1b}[2J\n::error::x\u{9b}.toml");
    fs::write(&name, "nonsense").unwrap();
    let file = name.to_str().unwrap();
    let set = format!("--set={HOSTILE}");
    let cases: [&[&str]; 7] = [
        &["plan", file],
        &["plan", "/nonexistent\u{1b}[2J\n::error::x"],
        &["plan", file, &set],
        &[HOSTILE.trim_end_matches('\0')],
        &["plan", "--nonsense=\u{1b}[2J\n::error::x", file],
        &["report", file],
        &["history", "show", file],
    ];
    for words in cases {
        let output = ablate().args(words).output().unwrap();
        assert_quiet_output(&format!("{words:?}"), &output);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn what_a_subject_says_and_is_called_forges_nothing() {
    let unit = "u|\"<b>@org/x";
    for part in LINE.as_bytes().chunks(70).map(|part| std::str::from_utf8(part).unwrap().trim()) {
        let bench = Bench::new(&nightly(part, unit));
        let dir = bench.dir.path();
        let (good, bad) = (program(dir, "good", 100_000), program(dir, "bad", 80_000));
        let out = dir.join("night");
        let mut command = ablate();
        command.arg("nightly").arg(&bench.file).arg("--pull-request").arg("--out").arg(&out);
        let output = command.arg("--reference").arg(&good).arg("--candidate").arg(&bad).output().unwrap();
        assert_quiet_output(part, &output);
        assert_eq!(output.status.code(), Some(1), "{part}");
        let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        assert_own_markup(part, &read("summary.md"));
        let night: Value = serde_json::from_str(&read("night.json")).unwrap();
        assert_eq!(night["series"][0]["metric"], part);
    }
    let bench = Bench::new(&nightly("tps", "1/s"));
    let good = script(bench.dir.path(), "good", "echo tps = 1");
    let bad = script(bench.dir.path(), "bad", "printf 'a\\033[2J\\r\\n::error::x\\n\\302\\233\\007' >&2; exit 3");
    let mut command = ablate();
    command.arg("nightly").arg(&bench.file).arg("--pull-request").arg("--out").arg(bench.out());
    let output = command.arg("--reference").arg(&good).arg("--candidate").arg(&bad).output().unwrap();
    let said = assert_quiet_output("a subject that fails", &output);
    assert!(output.status.code() == Some(3) && said.contains("a\\x1b[2J; ::error::x; \\u009b\\x07"), "{said}");
}

#[test]
fn what_fio_says_reaches_no_terminal_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let path = format!("{}:{}", home.path().display(), std::env::var("PATH").unwrap());
    for body in [
        "printf 'fio-3.33\\n\\033[2J<img src=x>\\n::error::x\\n```\\n'",
        "printf '\\033[2J\\033]0;x\\007<img src=x>|a|b\\r\\n::error::x\\n' >&2; exit 2",
    ] {
        script(home.path(), "fio", body);
        let doctor = ablate().arg("doctor").env("PATH", &path).output().unwrap();
        let said = assert_quiet_output(body, &doctor);
        assert!(said.contains("\\x1b[2J"), "{said}");
    }
    let peers = "[peers]\nfio = [\"default\"]\nround_time = \"100ms\"\nwhole_time = \"1s\"";
    let bench = Bench::new(&experiment(
        "kind = \"auto\"\nsize = \"16MiB\"",
        "rw = \"read\"\nbs = \"4k\"\niodepth = 4",
        "toggles = [\"fixed_files\"]",
        peers,
    ));
    // Its version and its options are in order; then it complains.
    script(
        home.path(),
        "fio",
        "case \"$*\" in *--version*) printf 'fio-3.33 \\033[2J<img src=x>\\n\\n# Forged\\n```\\n';; *--parse-only*) ;; \
         *) printf '\\033[2J<img src=x>|a|\\n# Forged\\n' >&2; exit 2;; esac",
    );
    let output = ablate().arg("run").arg(&bench.file).arg("--out").arg(bench.out()).env("PATH", &path).output().unwrap();
    assert_quiet_output("run", &output);
    let read = |name: &str| fs::read_to_string(bench.out().join(name)).unwrap();
    assert!(read("arms.csv").contains("\\x1b[2J<img src=x>|a|; # Forged"), "the reason is one line: {}", read("arms.csv"));
    assert_quiet("arms.csv", &read("arms.csv"));
    assert_own_markup("report.md", &read("report.md"));
    assert_own_page("report.html", &read("report.html"));
}

/// A night from somebody else, in which every text is hostile.
fn night() -> (NightRow, Vec<SeriesRow>) {
    let text = || HOSTILE.to_string();
    let night = NightRow {
        experiment: text(),
        machine: text(),
        host: text(),
        fingerprint: text(),
        platform: text(),
        reference: text(),
        candidate: text(),
        version: text(),
        kernel: text(),
        cpu: text(),
        summary: text(),
        exit: 1,
        ..NightRow::example()
    };
    let row = SeriesRow {
        cell: text(),
        metric: text(),
        unit: text(),
        since: text(),
        alarm: Some(Alarm::Step),
        confirm_rounds: Some(48),
        confirm_ratio: Some(0.95),
        confirm_lo: Some(0.94),
        confirm_hi: Some(0.96),
        confirm_p: Some(1e-6),
        finding: Finding::Regressed,
        ..SeriesRow::example()
    };
    (night, vec![row])
}

#[test]
fn a_night_from_somebody_else_forges_nothing() {
    let (night, series) = night();
    let gauge = regex::Regex::new(r#"^uring_ablate_[a-z_]+\{([a-z]+="([^"\\]|\\["\\])*",?)+\} [-+0-9.eInf]+$"#).unwrap();
    for (name, text) in files(&night, &series) {
        assert_quiet(name, &text);
        match name {
            "summary.md" => assert_own_markup(name, &text),
            "junit.xml" => {
                let report = quick_junit::Report::deserialize_from_str(&text).unwrap();
                assert_eq!((report.tests, report.failures, report.test_suites.len()), (1, 1, 1), "{text}");
            }
            "metrics.prom" => {
                let own = |l: &str| {
                    l == "# EOF" || l.starts_with("# HELP uring_") || l.starts_with("# TYPE uring_") || gauge.is_match(l)
                };
                assert_eq!(text.lines().find(|l| !own(l)), None, "{text}");
                assert!(text.contains("uring_ablate_regression{experiment=\"x** \\\\x1b[2J"), "{text}");
            }
            _ => {
                let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}: {text}"));
                let keys = value.as_object().into_iter().flat_map(|o| o.keys()).map(String::as_str);
                let names = value.as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str());
                keys.chain(names).for_each(|key| assert!(!key.contains('\n'), "{name}: {key:?}"));
            }
        }
    }
    assert_own_markup("history show", &hosts::markdown(&[NightRow { series_rows: 1, ..night }], &series));
}

#[test]
fn a_history_from_somebody_else_forges_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (night, series) = night();
    // Charts are named after it, so another is refused.
    let night = NightRow { experiment: "test".into(), ..night };
    History::open(home.path()).unwrap().commit(night, &series).unwrap();
    let verb = |words: &[&str]| ablate().args(["history", words[0]]).arg(home.path()).args(&words[1..]).output().unwrap();
    let shown = verb(&["show"]);
    assert!(shown.status.success());
    assert_quiet_output("show", &shown);
    assert_own_markup("show", &String::from_utf8(shown.stdout).unwrap());
    let json = verb(&["show", "--json"]);
    assert_quiet_output("show --json", &json);
    let told: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["series"][0]["metric"], HOSTILE, "JSON keeps its meaning");
    let verified = verb(&["verify"]);
    assert!(verified.status.success());
    assert_quiet_output("verify", &verified);
    // Such names may be refused as those of charts.
    assert_quiet_output("plot", &verb(&["plot"]));
}

/// A copy of a committed run with other texts in its manifest, or in its rows.
fn run(name: &str, to: &Path, manifest: impl Fn(&mut Value), rows: impl Fn(&str, &str) -> Option<String>) -> PathBuf {
    let from = committed(name);
    fs::create_dir_all(to).unwrap();
    let mut told: Value = serde_json::from_str(&fs::read_to_string(from.join("manifest.json")).unwrap()).unwrap();
    manifest(&mut told);
    fs::write(to.join("manifest.json"), told.to_string()).unwrap();
    for file in ["trials.csv", "arms.csv", "rounds.csv", "plan.csv", "overhead.csv"] {
        let mut reader = csv::Reader::from_path(from.join(file)).unwrap();
        let mut writer = csv::Writer::from_path(to.join(file)).unwrap();
        let header = reader.headers().unwrap().clone();
        writer.write_record(&header).unwrap();
        for record in reader.records().map(Result::unwrap) {
            let cells = header.iter().zip(&record).map(|(column, cell)| rows(column, cell).unwrap_or_else(|| cell.into()));
            writer.write_record(cells).unwrap();
        }
    }
    to.into()
}

/// Puts the hostile text wherever a manifest has text that nothing is read from.
fn spoil(manifest: &mut Value) {
    let text = || Value::from(HOSTILE);
    let all: [&[&str]; 11] = [
        &["command"],
        &["environment", "host"],
        &["environment", "kernel"],
        &["environment", "cpu"],
        &["environment", "version"],
        &["environment", "compiler"],
        &["target", "description"],
        &["experiment", "question"],
        &["fio", "version"],
        &["circumstances", "fingerprint"],
        &["environment", "emulated"],
    ];
    for path in all {
        path.iter().fold(&mut *manifest, |value, key| &mut value[*key]).clone_from(&text());
    }
    manifest["circumstances"]["machine"] = serde_json::json!({ HOSTILE: HOSTILE, "boost": HOSTILE });
    manifest["unavailable"] = serde_json::json!([{ "what": HOSTILE, "reason": HOSTILE }]);
    manifest["dropped"] = serde_json::json!([{ "cell": HOSTILE, "toggle": HOSTILE, "level": 1, "reason": HOSTILE }]);
    manifest["stopped"] = text();
    for job in manifest["fio"]["jobs"].as_array_mut().unwrap() {
        *job = serde_json::json!({ "cell": HOSTILE, "treatment": HOSTILE, "job": HOSTILE });
    }
    manifest["experiment"]["claims"] =
        serde_json::json!([{ "text": HOSTILE, "toggle": "fixed_files", "block_size_bytes": null, "says": "pays" }]);
}

/// Reports on runs and compares them; of files that are refused nothing is asked but quiet.
fn report(what: &str, runs: &[PathBuf; 2]) -> bool {
    let made = ablate().arg("report").arg(&runs[0]).output().unwrap();
    let said = assert_quiet_output(what, &made);
    if made.status.code() == Some(2) {
        return false;
    }
    assert!(made.status.success(), "{what}: {said}");
    assert!(!said.lines().any(|l| l.trim() == "# Forged" || l.trim() == "- Forged"), "{what}: {said}");
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    assert_own_markup(what, &read(runs[0].join("report.md")));
    let one_line =
        |name: &Path| csv::Reader::from_path(name).unwrap().records().all(|r| r.unwrap().iter().all(|cell| !cell.contains('\n')));
    assert!(one_line(&runs[0].join("effects.csv")), "{what}");
    assert_quiet(what, &read(runs[0].join("effects.csv")));
    assert_own_page(what, &read(runs[0].join("report.html")));
    for chart in fs::read_dir(runs[0].join("plots"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "svg"))
    {
        assert_own_page(what, &read(chart));
    }
    let out = runs[0].parent().unwrap().join(format!("{what}-compared"));
    let compared =
        Command::new(env!("CARGO_BIN_EXE_uring-ablate")).arg("compare").args(runs).arg("--out").arg(&out).output().unwrap();
    let said = assert_quiet_output(what, &compared);
    assert!(compared.status.success(), "{what}: {said}");
    assert_own_markup(what, &read(out.join("compare.md")));
    assert!(one_line(&out.join("compare.csv")), "{what}");
    assert_quiet(what, &read(out.join("compare.csv")));
    assert_own_page(what, &read(out.join("compare.html")));
    for format in ["bencher", "go-benchfmt", "github-action-benchmark"] {
        let exported = ablate().args(["export", "--format", format]).arg(&runs[0]).output().unwrap();
        assert_quiet_output(format, &exported);
    }
    true
}

#[test]
fn a_run_from_somebody_else_forges_nothing() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = [QUICK, QUICK_AGAIN];
    let same = |_: &str, _: &str| None;
    let plain = |_: &mut Value| {};
    let spoilt = run(a, &home.path().join("spoilt"), spoil, same);
    let other = run(b, &home.path().join("other"), plain, same);
    assert!(report("manifest", &[spoilt.clone(), other.clone()]), "free text is no reason to refuse a run");
    assert!(report("beside", &[other.clone(), spoilt]));
    // One arm never completes, and says why.
    let broken = |column: &str, cell: &str| match (column, cell) {
        ("outcome", _) => None,
        ("reason", _) => Some(HOSTILE.into()),
        _ => None,
    };
    let reasons = run(a, &home.path().join("reasons"), plain, broken);
    let arms = fs::read_to_string(reasons.join("arms.csv")).unwrap().replacen(",completed,", ",failed,", 3);
    fs::write(reasons.join("arms.csv"), arms).unwrap();
    assert!(report("reasons", &[reasons, other.clone()]));
    for (what, from) in [("cells", "read-4k-qd128-j1"), ("treatments", "without:fixed_files"), ("peers", "fio:matched")] {
        let renamed = |_: &str, cell: &str| {
            let stem = from.split_once(':').map_or(String::new(), |(kind, _)| format!("{kind}:"));
            (cell == from).then(|| stem + SHORT)
        };
        let runs = ["one", "two"].map(|n| home.path().join(format!("{what}-{n}")));
        let runs = [run(a, &runs[0], plain, renamed), run(b, &runs[1], plain, renamed)];
        report(what, &runs);
    }
}
