//! House rules that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => dirs.push(path),
                Some("rs") => found.push((path.clone(), fs::read_to_string(&path).unwrap())),
                _ => {}
            }
        }
    }
    found
}

/// Lines that are not test code, which stands at the end of its file.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

#[test]
fn every_file_says_what_it_owns_and_stays_small() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} begins with what it owns", path.display());
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

/// The name of the function that a line begins.
fn begins(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.trim_start().split(' ').collect();
    let place = words.iter().position(|w| *w == "fn")?;
    let qualifies = |w: &&str| ["pub", "pub(super)", "pub(crate)", "const", "unsafe", "async"].contains(w);
    words[..place].iter().all(qualifies).then(|| words[place + 1])
}

#[test]
fn no_function_is_longer_than_seventy_lines() {
    let mut seen = 0;
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(name) = begins(line) else { continue };
            let indent = &line[..line.len() - line.trim_start().len()];
            let closes = |l: &&str| {
                *l == format!("{indent}}}") || (l.starts_with(indent) && l.ends_with(';') && !l[indent.len()..].starts_with(' '))
            };
            let length = if line.ends_with('}') { 1 } else { lines[start..].iter().position(closes).unwrap() + 1 };
            assert!(length <= 70, "{}: {name} has {length} lines", path.display());
            seen += 1;
        }
    }
    assert!(seen > 300, "{seen} functions were looked at");
}

/// True when a line names the crate, not a longer name that ends alike.
fn uses(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn each_crate_has_one_door() {
    let doors = [
        ("io_uring::", "src/engine/"),
        ("polars::", "src/analysis/"),
        ("plotters::", "src/plot/"),
        ("plotters_backend::", "src/plot/"),
        ("skrifa::", "src/plot/"),
        ("clap::", "src/cli"),
        ("toml::", "src/experiment"),
        ("indicatif::", "src/command/"),
        ("perf_event::", "src/perf/"),
        ("blazesym::", "src/perf/"),
        ("io::stdout", "src/console.rs"),
        ("io::stderr", "src/console.rs"),
        ("print!(", "src/console.rs"),
        ("println!(", "src/console.rs"),
        ("eprint!(", "src/console.rs"),
        ("eprintln!(", "src/console.rs"),
        ("dbg!(", "src/console.rs"),
    ];
    for (path, text) in sources() {
        let shown = path.display().to_string();
        for (name, door) in doors {
            let main = shown.ends_with("src/main.rs") && name == "clap::";
            let inside = product(&text).lines().any(|l| !l.trim_start().starts_with("//") && uses(l, name));
            assert!(!inside || shown.contains(door) || main, "{shown} uses {name} outside {door}");
        }
    }
}

#[test]
fn files_of_results_are_read_and_written_through_their_door_alone() {
    let rooms = [
        "src/analysis/",
        "src/bisect/state.rs",
        "src/command/",
        "src/export/",
        "src/nightly/",
        "src/plot/",
        "src/report/",
        "src/run/manifest.rs",
        "src/run/store.rs",
    ];
    // `.holds(` of an opened directory follows no link; these do.
    let follow =
        ["fs::", "File::", "OpenOptions", "csv::Reader::from_path", ".exists()", ".is_file()", ".is_dir()", ".read_dir()"];
    let mut seen = 0;
    for (path, text) in sources() {
        let shown = path.display().to_string();
        if rooms.iter().any(|room| shown.contains(room)) {
            seen += 1;
            // Neither the type of what is open nor its mode follows anything.
            let harmless = |l: &str| {
                l.trim_start().starts_with("//") || l == "use std::fs::File;" || l.starts_with("use std::os::unix::fs::")
            };
            for (number, line) in product(&text).lines().enumerate().filter(|(_, l)| !harmless(l)) {
                let word = follow.iter().find(|word| uses(line, word));
                assert!(word.is_none(), "{shown}:{}: {line}: src/durable is the door", number + 1);
            }
        }
    }
    assert!(seen > 100, "{seen} files were looked at");
}

#[test]
fn unsafe_code_stands_in_its_rooms_with_its_reasons() {
    let rooms = [
        "src/engine/drive.rs",
        "src/engine/hooks.rs",
        "src/engine/lane.rs",
        "src/engine/numa.rs",
        "src/engine/registration.rs",
        "src/engine/ring.rs",
        "src/perf/counters.rs",
        "src/target/ioctl.rs",
    ];
    for (path, text) in sources() {
        let shown = path.display().to_string();
        for (number, line) in text.lines().enumerate().filter(|(_, l)| l.contains("unsafe {")) {
            assert!(rooms.iter().any(|r| shown.ends_with(r)), "{shown}:{} has unsafe code", number + 1);
            let before: Vec<&str> = text.lines().take(number + 1).collect();
            let reason = before.iter().rev().take(4).any(|l| l.contains("SAFETY:"));
            assert!(reason, "{shown}:{}: {line} has no SAFETY argument", number + 1);
        }
    }
}

#[test]
fn the_readme_lists_every_toggle_as_declared() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for spec in &uring_ablate::toggle::SPECS {
        let (off, on) = (spec.level_text(spec.off), spec.level_text(spec.on));
        let row = format!("| `{}` | {off} -> {on} | {} | {} |", spec.key, spec.since, spec.doc);
        assert!(readme.contains(&row), "README has the row {row}");
    }
}

#[test]
fn the_readme_shows_what_the_committed_runs_say() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(home.join("README.md")).unwrap();
    let spliced = uring_ablate::report::splice::spliced(&readme, home).unwrap_or_else(|e| panic!("README.md: {e}"));
    assert!(readme.contains("<!-- begin "), "README shows tables of runs");
    assert!(spliced == readme, "README.md is stale: uring-ablate report --splice README.md");
}

#[test]
fn every_experiment_can_be_planned() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let setting = uring_ablate::toggle::Setting::default();
    let place = uring_ablate::plan::Place {
        setting: &setting,
        obstacle: &|_, _, _| None,
        limits: uring_ablate::perf::Limits::default(),
        learnt: None,
    };
    let mut seen = 0;
    for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        let experiment = uring_ablate::experiment::load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
        uring_ablate::plan::make(&experiment, &place).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn no_remedy_erases_or_unmounts_anything() {
    let destroys = ["wipefs", "mkfs", "umount", "swapoff", "--rw=write", "dd of=", "blkdiscard", "sgdisk", "unmount it"];
    for (path, text) in sources() {
        for line in product(&text).lines().filter(|l| !l.trim_start().starts_with("//")) {
            let found = destroys.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{}: {line}", path.display());
        }
    }
}
