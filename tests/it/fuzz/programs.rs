//! What other programs print: fio, t/io_uring, and commands of a `[subject]`.

use super::{corpus, fuzz, text};
use regex::Regex;
use std::fs;
use uring_ablate::experiment::subject::{By, Find, Which};
use uring_ablate::peer::{t_io_uring, whole};

#[test]
fn the_report_of_fio() {
    let report = fs::read(corpus().join("fio.json")).unwrap();
    let warned = [b"fio: a warning {about} something\n", &report[..]].concat();
    fuzz("fio", &[&report, &warned], |input| {
        if let Ok(whole) = whole::parse(&text(input)) {
            assert!(whole.ops > 0, "a run without I/O is an error");
        }
    });
}

#[test]
fn the_lines_of_t_io_uring() {
    let seed =
        b"polled=0, fixedbufs=1\nIOPS=5.00M, BW=19.5GiB/s, IOS/call=32/31\nIOPS=900.50K, IOS/call=32/31\nIOPS=10, IOS/call=1\n\
        Exiting on timeout\nMaximum IOPS=10.00M\n";
    fuzz("t-io-uring", &[seed], |input| {
        assert!(t_io_uring::mean_rate(&text(input)).is_none_or(|rate| rate.is_finite() && rate >= 0.0));
    });
}

#[test]
fn a_rate_beyond_any_number_is_none() {
    let line = format!("IOPS={}\n", "9".repeat(400));
    assert_eq!(t_io_uring::mean_rate(&line.repeat(3)), None);
}

#[test]
fn what_a_subject_prints() {
    let seeds: [&[u8]; 2] =
        [b"starting\n{\"a\": {\"b\": [1, 2.5e3]}, \"t~/x\": 1}\n", b"run 1\ntps = 1234.5 (including connections)\n"];
    let pointers =
        ["/a/b/1", "", "/t~0~1x", "/a/b/99999999999999999999"].map(|pointer| Find { by: By::Json(pointer.into()), which: None });
    let patterns = ["tps = ([0-9.]+)", "(.*)", "([^ ]+)$"]
        .map(|pattern| Find { by: By::Text(Regex::new(pattern).unwrap()), which: Some(Which::Last) });
    fuzz("subject", &seeds, |input| {
        for find in pointers.iter().chain(&patterns) {
            if let Err(reason) = find.figure(&text(input), "ms") {
                assert!(!reason.is_empty());
            }
        }
    });
}

#[test]
fn json_that_is_nested_without_end_is_refused() {
    let json = Find { by: By::Json("/a".into()), which: None };
    for bracket in ["[", "{\"a\":"] {
        assert!(json.figure(&bracket.repeat(1 << 20), "").is_err());
        assert!(whole::parse(&format!("{{\"jobs\": {}", bracket.repeat(1 << 20))).is_err());
    }
}
