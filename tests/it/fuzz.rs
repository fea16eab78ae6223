//! A fuzz target for each parser of files from elsewhere: real files as seeds, edits that know the words parsers stumble over.
//!
//! A target holds where nothing panics, nothing takes long, and what can be read and written is read back as it was. Each runs for
//! a second in the suite with the same edits every time; CONTRIBUTING.md says how to run them for an hour. A finding becomes a
//! regression input beside its target.

mod edits;
mod files;
mod kernel;
mod programs;

use edits::Edit;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time for one input: such small files are read in microseconds, by a machine that is busy in milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

/// Cases between two looks at the clock.
const BATCH: u32 = 16;

/// Most address space of the process: what allocates by a number in a file ends here and not the machine.
const MEMORY: u64 = 8 << 30;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// Edits one of `seeds` in every case and hands it to `property`, until the time is up.
fn fuzz(name: &str, seeds: &[&[u8]], property: impl Fn(&[u8])) {
    fuzz_each(name, seeds, |_, input| property(input));
}

/// The same; `property` is told which seed it was.
fn fuzz_each(name: &str, seeds: &[&[u8]], property: impl Fn(usize, &[u8])) {
    // Under nextest a test has its process for itself.
    if std::env::var_os("NEXTEST").is_some() {
        let limit = rustix::process::Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
        rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
    }
    seeds.iter().enumerate().for_each(|(place, seed)| property(place, seed));
    let time = Duration::from_secs(number("URING_ABLATE_FUZZ_SECONDS").unwrap_or(1));
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("URING_ABLATE_FUZZ_SEED").unwrap_or(1).to_le_bytes());
    let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let cases = (0..seeds.len(), prop::collection::vec(any::<Edit>(), 1..6));
    // Kept by an end that no handler sees, such as one by the allocator.
    let under_test = std::env::temp_dir().join(format!("uring-ablate-fuzz-{name}-{}", std::process::id()));
    let (began, tried) = (Instant::now(), Cell::new(0_u64));
    while began.elapsed() < time {
        // One that has run its cases runs no more of them.
        let mut runner = TestRunner::new_with_rng(config.clone(), rng);
        rng = runner.new_rng();
        let outcome = runner.run(&cases, |(place, edits)| {
            tried.set(tried.get() + 1);
            let input = edits::edited(seeds[place], &edits);
            fs::write(&under_test, &input).unwrap();
            let started = Instant::now();
            property(place, &input);
            let took = started.elapsed();
            if took < LONGEST { Ok(()) } else { Err(TestCaseError::fail(format!("took {took:?}"))) }
        });
        if let Err(error) = outcome {
            panic!("{error}\nthe last input is in {}", under_test.display());
        }
    }
    let tried = tried.into_inner();
    assert!(tried > u64::from(BATCH) || time < Duration::from_secs(1), "{tried} inputs in {time:?}");
    let _ = fs::remove_file(under_test);
    crate::support::ran(&format!("fuzz {name}: {tried} inputs"));
}

/// Edits one file of a directory in every case; the others are as they were.
fn fuzz_files(name: &str, kind: &str, files: &[&str], property: impl Fn(&Path)) {
    let contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(corpus().join(kind).join(file)).unwrap()).collect();
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let seeds: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    fuzz_each(name, &seeds, |edited, input| {
        let dir = home.path().join("case");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        for (place, (file, content)) in files.iter().zip(&contents).enumerate() {
            fs::write(dir.join(file), if place == edited { input } else { content }).unwrap();
        }
        property(&dir);
    });
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz")
}

/// The text of an input, as a parser of text gets it.
fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}
