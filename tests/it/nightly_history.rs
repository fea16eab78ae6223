//! What a history tells of its series, and what it refuses: by lines that are written, without measuring.

use std::fs;
use std::path::Path;
use uring_ablate::exit::Exit;
use uring_ablate::nightly::merge::merge;
use uring_ablate::nightly::row::{Alarm, Finding, Key, NightRow, SeriesRow};
use uring_ablate::nightly::segment::{Identity, Segments};
use uring_ablate::nightly::store::{Error, History};

/// A night of one series.
fn night(history: &mut History, name: &str, reference: &str, row: SeriesRow) {
    night_of(history, NightRow { reference: reference.into(), ..named(name) }, row);
}

fn named(name: &str) -> NightRow {
    NightRow { night: name.into(), ..NightRow::example() }
}

fn night_of(history: &mut History, night: NightRow, row: SeriesRow) {
    let row = SeriesRow { night: night.night.clone(), ..row };
    history.commit(night, &[row]).unwrap();
}

fn steady(ratio: f64) -> SeriesRow {
    SeriesRow { ratio, ..SeriesRow::example() }
}

fn regressed(since: &str, alarm: Alarm) -> SeriesRow {
    let confirm = Some(0.95);
    SeriesRow {
        ratio: 0.95,
        alarm: Some(alarm),
        since: since.into(),
        confirm_rounds: Some(24),
        confirm_ratio: confirm,
        confirm_lo: confirm,
        confirm_hi: confirm,
        finding: Finding::Regressed,
        ..SeriesRow::example()
    }
}

fn segment(history: &History, reference: &str) -> uring_ablate::nightly::segment::Segment {
    let example = NightRow::example();
    let identity = Identity { reference: reference.into(), ..Identity::of(&example) };
    let key = Key { cell: SeriesRow::example().cell, metric: "iops".into() };
    Segments::before(history, &example.experiment, &example.machine, &identity).of(&key)
}

#[test]
fn a_regression_stays_open_until_it_is_seen_gone_and_leaves_the_level_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    for (n, ratio) in [1.0, 1.002, 0.998, 0.97].iter().enumerate() {
        night(&mut history, &format!("n{n}"), "a", steady(*ratio));
    }
    // The change-point model says that it began in n3, which so tells nothing of what was before.
    night(&mut history, "n4", "a", regressed("n3", Alarm::Drift));
    night(&mut history, "n5", "a", regressed("n3", Alarm::Open));
    let open = segment(&history, "a");
    assert_eq!(open.open.as_ref().map(|o| o.since.as_str()), Some("n3"));
    assert_eq!((open.values().len(), (open.level().exp() * 1e4).round()), (3, 1e4));
    let gone = SeriesRow { finding: Finding::Unconfirmed, ratio: 1.001, ..regressed("n3", Alarm::Open) };
    night(&mut history, "n6", "a", gone);
    let closed = segment(&history, "a");
    assert!(closed.open.is_none() && closed.values().len() == 4, "{closed:?}");
}

#[test]
fn a_night_whose_control_failed_tells_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    night(&mut history, "n0", "a", steady(1.0));
    let failed = NightRow { exit: Exit::SelfCheck as u8, reference: "a".into(), ..named("n1") };
    night_of(&mut history, failed, steady(0.5));
    assert_eq!(segment(&history, "a").values().len(), 1);
}

#[test]
fn an_identity_that_comes_back_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    (0..3).for_each(|n| night(&mut history, &format!("n{n}"), "a", steady(1.05)));
    night(&mut history, "n3", "a", regressed("n3", Alarm::Step));
    night(&mut history, "n4", "b", steady(1.0));
    let other = segment(&history, "b");
    assert_eq!((other.number, other.values().len(), other.open.is_some()), (2, 1, false));
    let back = segment(&history, "a");
    assert_eq!((back.number, back.values().len()), (1, 3));
    assert!(back.open.is_some() && back.began.starts_with("again: reference: b -> a"), "{back:?}");
    let third = segment(&history, "c");
    assert!(third.number == 3 && third.began.starts_with("reference: b -> c"), "{third:?}");
}

#[test]
fn what_is_not_ours_or_not_whole_is_never_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    (0..3).for_each(|n| night(&mut history, &format!("n{n}"), "a", steady(1.0)));
    drop(history);
    let paths = ["nights.csv", "series.csv"].map(|name| dir.path().join(name));
    let [nights, series] = paths.each_ref().map(|p| fs::read(p).unwrap());
    let refused = |what: &str| {
        let before: Vec<Option<Vec<u8>>> = paths.iter().map(|p| fs::read(p).ok()).collect();
        assert!(History::open(dir.path()).is_err(), "{what}");
        assert_eq!(paths.iter().map(|p| fs::read(p).ok()).collect::<Vec<_>>(), before, "{what}: left as it was");
        fs::write(&paths[0], &nights).unwrap();
        fs::write(&paths[1], &series).unwrap();
    };
    for path in &paths {
        fs::remove_file(path).unwrap();
        refused("a table that is gone");
        fs::write(path, "user,data\n1,2\n").unwrap();
        refused("somebody else's table");
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2 + 40;
        bytes[middle] ^= 0x80;
        fs::write(path, bytes).unwrap();
        refused("a flipped bit");
    }
    let text = String::from_utf8(nights.clone()).unwrap();
    fs::write(&paths[0], text.replacen(",0,steady", ",4,steady", 1)).unwrap();
    assert!(matches!(History::read(dir.path()), Err(Error::Damaged { .. })), "an exit code that was changed");
    refused("an exit code that was changed");
    assert_eq!(History::read(dir.path()).unwrap().tables().0.len(), 3);
}

#[test]
fn a_history_cut_anywhere_keeps_its_finished_nights() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    night(&mut history, "n0", "a", steady(1.0));
    let paths = ["series.csv", "nights.csv"].map(|name| dir.path().join(name));
    let before = paths.each_ref().map(|p| fs::read(p).unwrap());
    night(&mut history, "n1", "a", steady(1.0));
    drop(history);
    let after = paths.each_ref().map(|p| fs::read(p).unwrap());
    for file in 0..2 {
        for length in before[file].len()..after[file].len() {
            fs::write(&paths[0], if file == 0 { &after[0][..length] } else { &after[0] }).unwrap();
            fs::write(&paths[1], if file == 1 { &after[1][..length] } else { &before[1] }).unwrap();
            assert_eq!(History::read(dir.path()).unwrap().tables().0.len(), 1, "file {file} cut at {length}");
            drop(History::open(dir.path()).unwrap());
            assert_eq!(paths.each_ref().map(|p| fs::read(p).unwrap()), before, "file {file} cut at {length}");
        }
    }
}

/// A history of nights with these starts.
fn of(dir: &Path, machine: &str, fingerprint: &str, nights: &[(&str, &str)]) -> History {
    let mut history = History::open(dir).unwrap();
    for (name, started) in nights {
        let night = NightRow {
            machine: machine.into(),
            fingerprint: fingerprint.into(),
            started_utc: started.to_string(),
            ..named(name)
        };
        night_of(&mut history, night, steady(1.0));
    }
    history
}

#[test]
fn machines_of_one_name_are_told_apart_and_a_history_that_grew_is_merged_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = |name: &str| home.path().join(name);
    let times = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"];
    let a = of(&dir("a"), "host", "1", &[("a1", times[0]), ("a2", times[2])]);
    let b = of(&dir("b"), "host", "2", &[("b1", times[1])]);
    let mut all = History::open(&dir("all")).unwrap();
    assert!(matches!(merge(&mut all, &[a, b]), Err(Error::Namesakes { .. })), "two sources, and nothing in common");
    assert!(all.tables().0.is_empty());
    let a = of(&dir("a2"), "host", "1", &[("a1", times[0]), ("a2", times[2])]);
    assert_eq!(merge(&mut all, &[a]).unwrap(), 2);
    // A new kernel is another fingerprint; the nights of before say that it is the same machine. Its clock was set back for a night.
    let mut grown = of(&dir("a3"), "host", "1", &[("a1", times[0]), ("a2", times[2])]);
    let later = NightRow { machine: "host".into(), fingerprint: "3".into(), started_utc: times[1].into(), ..named("a3") };
    night_of(&mut grown, later, steady(1.0));
    let other = of(&dir("c"), "other", "9", &[("c1", times[1])]);
    assert_eq!(merge(&mut all, &[grown, other]).unwrap(), 2);
    let names: Vec<&str> = all.tables().0.iter().map(|n| n.night.as_str()).collect();
    assert_eq!(names, ["a1", "a2", "c1", "a3"], "the lines of a source keep their order");
    // What says nothing of a machine is not in common: neither an unknown fingerprint, nor one of nights that knew no processor.
    let unknown = of(&dir("d"), "nameless", "", &[("d1", times[0])]);
    assert_eq!(merge(&mut all, &[unknown]).unwrap(), 1);
    let unknown = of(&dir("e"), "nameless", "", &[("e1", times[1])]);
    assert!(matches!(merge(&mut all, &[unknown]), Err(Error::Namesakes { .. })));
    for name in ["f", "g"] {
        let mut history = History::open(&dir(name)).unwrap();
        let night = NightRow { machine: "arm".into(), fingerprint: "4".into(), cpu: String::new(), ..named(name) };
        night_of(&mut history, night, steady(1.0));
        assert_eq!(merge(&mut all, &[history]).is_ok(), name == "f", "{name}");
    }
}
