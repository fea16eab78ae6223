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

#[test]
fn no_function_is_longer_than_seventy_lines() {
    for (path, text) in sources() {
        let mut open: Option<(usize, String, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = &line[..line.len() - line.trim_start().len()];
            let head = line.trim_start();
            if open.is_none() && (head.starts_with("fn ") || head.starts_with("pub fn ")) && line.ends_with('{') {
                open = Some((number, format!("{indent}}}"), head.to_string()));
            } else if let Some((start, close, name)) = open.take_if(|(_, close, _)| line == *close) {
                assert_eq!(close, line);
                assert!(number - start <= 70, "{}: {name} has {} lines", path.display(), number - start);
            }
        }
    }
}

#[test]
fn each_crate_has_one_door() {
    let doors = [
        ("io_uring::", "src/engine/"),
        ("polars::", "src/analysis/"),
        ("plotters::", "src/plot/"),
        ("clap::", "src/cli.rs"),
        ("toml::", "src/experiment"),
        ("indicatif::", "src/command/"),
    ];
    for (path, text) in sources() {
        let shown = path.display().to_string();
        for (name, door) in doors {
            let main = shown.ends_with("src/main.rs") && name == "clap::";
            let inside = product(&text).lines().any(|l| !l.trim_start().starts_with("//") && l.contains(name));
            assert!(!inside || shown.contains(door) || main, "{shown} uses {name} outside {door}");
        }
    }
}

#[test]
fn unsafe_code_stands_in_its_rooms_with_its_reasons() {
    let rooms = ["src/engine/drive.rs", "src/engine/lane.rs", "src/target/ioctl.rs"];
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
fn every_experiment_can_be_planned() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut seen = 0;
    for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        let experiment = uring_ablate::experiment::load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
        uring_ablate::plan::make(&experiment, &|_, _, _| None).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        seen += 1;
    }
    assert!(seen > 0);
}
