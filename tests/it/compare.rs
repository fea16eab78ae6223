//! `compare` as a user runs it, on committed runs and on copies of one that were changed in a known way.

use crate::support::{QUICK, QUICK_AGAIN, QUICK_DISK, ablate, committed, committed_run, edit_manifest, rows};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use uring_ablate::row::JournalRow;

type Line = HashMap<String, String>;

/// A copy of a run whose rows may become shorter, which is not to look like a copy that was cut.
fn copy(name: &str, to: &Path) -> PathBuf {
    let run = committed_run(name, to);
    rewrite(&run.join("rounds.csv"), |cells, column| {
        JournalRow::LENGTHS.iter().for_each(|(_, length)| cells[column(length)] = "0".into());
    });
    run
}

/// Changes the lines of a CSV file of a copy, cell by cell.
fn rewrite(file: &Path, change: impl Fn(&mut Vec<String>, &dyn Fn(&str) -> usize)) {
    let text = fs::read_to_string(file).unwrap();
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|c| c == name).unwrap();
    let mut writer = csv::Writer::from_path(file).unwrap();
    writer.write_record(&header).unwrap();
    for line in reader.records() {
        let mut cells: Vec<String> = line.unwrap().iter().map(String::from).collect();
        change(&mut cells, &column);
        writer.write_record(&cells).unwrap();
    }
    writer.flush().unwrap();
}

fn compare(runs: &[&Path], out: Option<&Path>) -> Output {
    let mut command = ablate();
    command.arg("compare").args(runs);
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    command.output().unwrap()
}

/// What a comparison that succeeds says on the terminal, in its Markdown and in its table.
fn compared(runs: &[&Path], out: &Path) -> (String, String, Vec<Line>) {
    let output = compare(runs, Some(out));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let markdown = fs::read_to_string(out.join("compare.md")).unwrap();
    (String::from_utf8(output.stdout).unwrap(), markdown, rows(&out.join("compare.csv")))
}

/// Lines with a difference of a toggle.
fn toggles(lines: &[Line]) -> Vec<&Line> {
    let of = |l: &&Line| ["leave-one-out", "add-one-in"].contains(&l["kind"].as_str()) && !l["difference"].is_empty();
    lines.iter().filter(of).collect()
}

fn number(line: &Line, column: &str) -> f64 {
    line[column].parse().unwrap_or_else(|e| panic!("{column} {:?}: {e}", line[column]))
}

#[test]
fn a_run_beside_itself_is_never_different() {
    let out = tempfile::tempdir().unwrap();
    let run = committed(QUICK);
    let (_, markdown, lines) = compared(&[&run, &run], out.path());
    let toggles = toggles(&lines);
    assert_eq!(toggles.len(), 32, "eight toggles, two companies, two metrics");
    for line in &toggles {
        assert!(["same", "inconclusive"].contains(&line["difference_verdict"].as_str()), "{line:?}");
        assert!(number(line, "difference") == 1.0 && number(line, "p") == 1.0 && number(line, "p_adjusted") == 1.0, "{line:?}");
        assert!(number(line, "difference_lo") <= 1.0 && number(line, "difference_hi") >= 1.0, "{line:?}");
    }
    assert!(toggles.iter().filter(|l| l["difference_verdict"] == "same").count() > 10, "some are known to be the same");
    let reference = lines.iter().filter(|l| l["run"] == l["reference_run"]);
    assert!(reference.clone().count() > 0 && reference.into_iter().all(|l| l["difference"].is_empty() && !l["ratio"].is_empty()));
    assert!(markdown.contains("20261125T045913Z-vm (2)"), "{markdown}");
    assert!(markdown.contains("may be compared") && markdown.contains("the same experiment (plan 02232883)"), "{markdown}");
}

#[test]
fn ratios_are_those_of_effects_and_the_run_is_left_as_it_was() {
    let (out, runs) = (tempfile::tempdir().unwrap(), [QUICK, QUICK_AGAIN].map(committed));
    let state = |run: &PathBuf| {
        let mut files: Vec<_> =
            fs::read_dir(run).unwrap().map(|e| e.unwrap().path()).map(|p| (p.clone(), fs::read(p).unwrap())).collect();
        files.sort();
        files
    };
    let before = runs.each_ref().map(state);
    let (terminal, markdown, lines) = compared(&[&runs[0], &runs[1]], out.path());
    assert!(runs.each_ref().map(state) == before, "nothing was written into a run");
    for (run, label) in runs.iter().zip(["2026-11-25 04:59:13", "2026-11-25 05:00:59"]) {
        for effect in rows(&run.join("effects.csv")) {
            let same = |l: &&Line| l["run"] == label && ["contrast", "kind", "metric"].iter().all(|c| l[*c] == effect[*c]);
            let line = lines.iter().find(same).unwrap_or_else(|| panic!("{effect:?}"));
            assert!(["ratio", "lo", "hi", "verdict"].iter().all(|c| line[*c] == effect[*c]), "{line:?} {effect:?}");
        }
    }
    for (name, text) in [("terminal", &terminal), ("compare.md", &markdown)] {
        assert!(text.contains("not paired in time: drift of the machine is in it"), "{name}: {text}");
        assert!(text.contains("2026-11-25 05:00:59 / 2026-11-25 04:59:13") || name == "terminal", "{text}");
        assert!(
            text.find("may not be compared").unwrap() < text.find("fixed_buffers").unwrap(),
            "first what may be compared: {text}"
        );
    }
    assert!(markdown.contains("### Levels") && markdown.contains("| baseline | IOPS |"), "{markdown}");
    let page = fs::read_to_string(out.path().join("compare.html")).unwrap();
    assert!(page.contains("chart: compare of read-4k-qd128-j1") && page.contains("<span class=\"verdict same\">same</span>"));
    for suffix in ["svg", "png"] {
        assert!(out.path().join("plots").join(format!("read-4k-qd128-j1-compare.{suffix}")).exists());
    }
    let again = tempfile::tempdir().unwrap();
    compared(&[&runs[0], &runs[1]], again.path());
    for file in ["compare.csv", "compare.html", "plots/read-4k-qd128-j1-compare.png"] {
        assert!(
            fs::read(out.path().join(file)).unwrap() == fs::read(again.path().join(file)).unwrap(),
            "{file}: same files, same bytes"
        );
    }
}

#[test]
fn facts_that_are_not_told_are_not_equal() {
    let home = tempfile::tempdir().unwrap();
    let out = |name: &str| home.path().join(name);
    let levels = |markdown: &str| markdown.lines().find(|l| l.contains("**Absolute levels")).unwrap().to_string();
    let (_, markdown, _) = compared(&[&committed(QUICK), &committed(QUICK_AGAIN)], &out("as-they-are"));
    let said = levels(&markdown);
    let unknown = &said[said.find("not known of both: ").unwrap()..];
    assert!(unknown.contains("`governor`") && unknown.contains("`target: model`"), "{said}");
    assert!(!unknown.contains("`clock_source`") && !unknown.contains("`memory_free`"), "{said}");

    let runs = [QUICK, QUICK_AGAIN].map(|name| copy(name, &home.path().join(name)));
    for run in &runs {
        edit_manifest(run, |manifest| {
            manifest["circumstances"]["machine"]["cpu_model"] = serde_json::Value::Null;
            manifest["environment"]["cpu"] = "".into();
        });
    }
    let (_, markdown, _) = compared(&[&runs[0], &runs[1]], &out("nameless"));
    let said = levels(&markdown);
    assert!(said.contains("may not be compared: it is not known whether machine and target are the same"), "{said}");
    assert!(!markdown.contains("### Levels"), "{markdown}");
    assert!(markdown.contains("CPU not known of either"), "{markdown}");

    let run = copy(QUICK_AGAIN, &home.path().join("one-sided"));
    edit_manifest(&run, |manifest| {
        manifest["circumstances"]["machine"]["clock_source"] = serde_json::Value::Null;
        manifest["circumstances"]["fingerprint"] = "00000001".into();
    });
    let (_, markdown, _) = compared(&[&committed(QUICK), &run], &out("one-sided-out"));
    let said = levels(&markdown);
    assert!(
        said.contains("it is not known whether they agree in") && !said.contains("fingerprints of the machines differ"),
        "{said}"
    );
}

#[test]
fn a_workload_and_a_level_that_are_not_told_are_said_to_be_unknown() {
    let home = tempfile::tempdir().unwrap();
    let run = copy(QUICK_AGAIN, &home.path().join("run"));
    edit_manifest(&run, |manifest| manifest["experiment"]["text"] = "of another version = {".into());
    rewrite(&run.join("arms.csv"), |cells, column| cells[column("eff_fixed_files")].clear());
    let (_, markdown, _) = compared(&[&committed(QUICK), &run], &home.path().join("out"));
    assert!(markdown.contains("it is not known whether both runs did the same"), "{markdown}");
    assert!(markdown.contains("does not tell its level: fixed"), "{markdown}");
}

/// In the second run `full` without fixed files takes a quarter more time and CPU time than it did: the toggle is worth 1.25 times as much.
#[test]
fn an_arm_that_was_slowed_by_a_known_factor_is_found_with_its_size() {
    let home = tempfile::tempdir().unwrap();
    let slowed = copy(QUICK, &home.path().join("slowed"));
    rewrite(&slowed.join("trials.csv"), |cells, column| {
        if cells[column("treatment")] == "without:fixed_files" {
            for (name, decimals) in [("duration_s", 9), ("cpu_total_ns", 0)] {
                let place = column(name);
                cells[place] = format!("{:.decimals$}", cells[place].parse::<f64>().unwrap() * 1.25);
            }
        }
    });
    let (terminal, markdown, lines) = compared(&[&committed(QUICK), &slowed], &home.path().join("out"));
    for (metric, truth) in [("iops", 1.25), ("cpu_total_ns_per_op", 1.0 / 1.25)] {
        let found: Vec<_> = toggles(&lines).into_iter().filter(|l| l["metric"] == metric).collect();
        for line in found {
            if line["contrast"] == "leave-one-out:fixed_files" {
                let size = number(line, "difference");
                assert!((size / truth - 1.0).abs() < 1e-3, "{metric}: {size} of {truth}");
                assert!(number(line, "difference_lo") < truth && truth < number(line, "difference_hi"), "{line:?}");
                assert_eq!(line["difference_verdict"], "different beyond the margin");
                assert!(number(line, "p_adjusted") >= number(line, "p") && number(line, "p_adjusted") < 0.001, "{line:?}");
            } else {
                assert!(["same", "inconclusive"].contains(&line["difference_verdict"].as_str()), "{line:?}");
            }
        }
    }
    assert!(markdown.contains("different beyond the margin: `leave-one-out:fixed_files` (1.2"), "{markdown}");
    assert!(terminal.contains("different beyond the margin"), "{terminal}");
}

#[test]
fn another_experiment_is_stated_with_the_keys_that_differ() {
    let out = tempfile::tempdir().unwrap();
    let (terminal, markdown, lines) = compared(&[&committed(QUICK), &committed(QUICK_DISK)], out.path());
    let expected =
        ["not the same experiment (plan bfc7eb63, of the reference run 02232883)", "`target.kind` (\"file\", was \"auto\")"];
    assert!(expected.iter().all(|e| markdown.contains(e)), "{markdown}");
    let sentence = markdown.lines().find(|l| l.contains("not the same experiment")).unwrap();
    assert!(sentence.contains("`target.path`") && !sentence.contains("`name`"), "what changes nothing is not listed: {sentence}");
    assert!(markdown.contains("may not be compared: the fingerprints of the machines differ"), "{markdown}");
    assert!(!markdown.contains("### Levels"), "{markdown}");
    assert!(
        markdown.contains("**Other, 2026-11-25 05:13:14:** target file testfile on ext4, was loop device over"),
        "{markdown}"
    );
    assert!(terminal.contains("not the same experiment"), "{terminal}");
    assert_eq!(toggles(&lines).len(), 32);
}

#[test]
fn claims_alone_do_not_make_another_experiment_of_it() {
    let out = tempfile::tempdir().unwrap();
    let runs = ["seed-table/20261125T045018Z-vm", "seed-table/20261125T055109Z-vm"].map(committed);
    let (_, markdown, _) = compared(&[&runs[0], &runs[1]], out.path());
    assert!(markdown.contains("They differ in `claim` alone, which changes nothing of what is measured."), "{markdown}");
    assert!(markdown.contains("## read-4k-qd128-j1") && markdown.contains("## read-128k-qd128-j1"), "{markdown}");
    assert!(markdown.contains("| ladder:fixed_buffers |") && markdown.contains("| full/fio:matched |"), "{markdown}");
}

/// Copies of one run as if of three kernels: one cannot do a toggle, one refused an arm and ran in other company.
#[test]
fn kernels_name_their_runs_and_what_one_lacks_is_empty_with_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let runs = ["6.12.0", "6.1.0", "7.3.0"].map(|kernel| {
        let run = copy(QUICK, &home.path().join(kernel));
        edit_manifest(&run, |m| m["environment"]["kernel"] = format!("Linux {kernel} x86_64").into());
        run
    });
    let without = |run: &Path, treatments: [&str; 2]| {
        for file in ["trials.csv", "arms.csv"] {
            let text = fs::read_to_string(run.join(file)).unwrap();
            let kept = text.lines().filter(|l| !treatments.iter().any(|t| l.contains(&format!(",{t},"))));
            fs::write(run.join(file), kept.map(|l| l.to_string() + "\n").collect::<String>()).unwrap();
        }
    };
    without(&runs[1], ["without:pow2_mask", "only:pow2_mask"]);
    edit_manifest(&runs[1], |m| {
        let dropped =
            serde_json::json!({ "cell": "read-4k-qd128-j1", "toggle": "pow2_mask", "reason": "this kernel has no such thing" });
        m["dropped"].as_array_mut().unwrap().push(dropped);
    });
    rewrite(&runs[2].join("arms.csv"), |cells, column| {
        if cells[column("treatment")] == "without:fixed_files" {
            (cells[column("outcome")], cells[column("reason")]) = ("unsupported".into(), "Invalid argument (os error 22)".into());
        }
        if cells[column("engine")] == "uring" {
            cells[column("eff_taskrun")] = "coop".into();
        }
    });
    let (terminal, markdown, lines) = compared(&runs.each_ref().map(PathBuf::as_path), &home.path().join("out"));
    let line = |run: &str, contrast: &str| {
        let is = |l: &&Line| l["run"] == run && l["contrast"] == contrast && l["metric"] == "cpu_total_ns_per_op";
        lines.iter().find(is).unwrap_or_else(|| panic!("{run} {contrast}"))
    };
    let empty = |l: &Line| ["ratio", "lo", "verdict", "difference", "p", "difference_verdict"].iter().all(|c| l[*c].is_empty());
    for contrast in ["leave-one-out:pow2_mask", "add-one-in:pow2_mask"] {
        let dropped = line("Linux 6.1.0", contrast);
        assert!(empty(dropped) && dropped["reason"] == "left out of the plan: this kernel has no such thing", "{dropped:?}");
    }
    let refused = line("Linux 7.3.0", "leave-one-out:fixed_files");
    assert!(
        empty(refused) && refused["reason"] == "without:fixed_files was unsupported: Invalid argument (os error 22)",
        "{refused:?}"
    );
    let company = line("Linux 7.3.0", "leave-one-out:pow2_mask");
    assert!(company["difference_verdict"] == "same", "{company:?}");
    assert!(company["reason"].contains("taskrun = coop, there defer"), "{company:?}");
    let reasons = "- Linux 6.1.0: leave-one-out:pow2_mask, add-one-in:pow2_mask: left out of the plan";
    assert!(terminal.contains(reasons), "{terminal}");
    assert!(
        markdown.contains("- **Linux 6.1.0:** `leave-one-out:pow2_mask`, `add-one-in:pow2_mask`: left out of the plan"),
        "{markdown}"
    );
    assert!(markdown.contains("have a note** below their table"), "{markdown}");
    assert!(markdown.contains("**Other, Linux 7.3.0:** kernel Linux 7.3.0 x86_64, was Linux 6.12.0 x86_64."), "{markdown}");
}

#[test]
fn another_workload_of_the_same_name_is_not_compared() {
    let home = tempfile::tempdir().unwrap();
    let other = copy(QUICK, &home.path().join("other"));
    edit_manifest(&other, |m| {
        let text = m["experiment"]["text"].as_str().unwrap().replace("iodepth = 128", "iodepth = 128\noffset = \"1MiB\"");
        m["experiment"]["text"] = text.into();
    });
    let output = compare(&[&committed(QUICK), &other], None);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_cannot_be_compared_is_an_error_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    let fails = |runs: &[&Path], out: Option<&Path>| {
        let output = compare(runs, out);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (quick, disk) = (committed(QUICK), committed("passthrough/20261125T104417Z-lab"));
    let (code, text) = fails(&[&quick, &disk], None);
    assert!(code == Some(2) && text.contains("nothing in common"), "{text}");
    assert!(text.contains(quick.to_str().unwrap()) && text.contains(disk.to_str().unwrap()), "{text}");
    let (code, text) = fails(&[&quick, &home.path().join("nowhere")], None);
    assert!(code == Some(2) && text.contains("nowhere: No such file"), "{text}");
    let (code, text) = fails(&[&quick], None);
    assert!(code == Some(2) && text.contains("<RUN>"), "{text}");
    let run = copy(QUICK, &home.path().join("run"));
    let (code, text) = fails(&[&quick, &run], Some(&run.join("beside/out")));
    assert!(code == Some(2) && text.contains("lies in the directory of a run") && !run.join("beside").exists(), "{text}");
}

#[test]
fn without_out_nothing_is_written_and_without_manifests_names_are_all_there_is() {
    let home = tempfile::tempdir().unwrap();
    let runs = ["a", "b"].map(|name| {
        let run = copy(QUICK, &home.path().join(name));
        fs::remove_file(run.join("manifest.json")).unwrap();
        run
    });
    let files = || fs::read_dir(&runs[0]).unwrap().count();
    let before = files();
    let output = compare(&[&runs[0], &runs[1]], None);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("does not tell its experiment") && text.contains("does not tell its machine"),
        "{text}"
    );
    assert_eq!(files(), before);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
}
