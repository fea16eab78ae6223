//! The latency log of a run: histograms of what was timed, each with the round, cell and treatment that its tag names.

use super::load::{Data, Error};
use crate::durable::Dir;
use crate::name::visible;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry};
use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// What one arm's timed requests took in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub round: u32,
    /// Of the round, as in `arms.csv`.
    pub kind: String,
    pub cell: String,
    pub treatment: String,
    /// From the start of the run to the start of the round.
    pub start: Duration,
    /// Sum of the arm's slices.
    pub length: Duration,
    /// The histogram in the log's own text form: decoded, each takes a thousand times as much.
    pub encoded: String,
}

impl Recorded {
    /// What the requests took, in nanoseconds.
    pub fn histogram(&self) -> Result<Histogram<u64>, String> {
        let damaged = |e: &dyn std::fmt::Display| format!("the histogram {}/{} is damaged: {e}", self.round, self.treatment);
        let bytes = BASE64_STANDARD.decode(&self.encoded).map_err(|e| damaged(&e))?;
        Deserializer::new().deserialize(&mut io::Cursor::new(bytes)).map_err(|e| damaged(&e))
    }
}

/// Reads `latency.hlog`: the arms that completed, in the order of the file; none where a run has no such file.
pub fn load(dir: &Dir, data: &Data) -> Result<Vec<Recorded>, Error> {
    let path = dir.join("latency.hlog");
    let mut bytes = match dir.read("latency.hlog") {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Read { path, source }),
    };
    // What follows the last line belongs to a round that was not finished.
    bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
    let completed = data.arms.iter().filter(|a| a.outcome == "completed");
    let kinds: HashMap<(u32, &str), &str> = completed.map(|a| ((a.round, a.treatment.as_str()), a.kind.as_str())).collect();
    let fail = |reason: String| Error::Table { path: path.clone(), reason };
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(entry) = entry.map_err(|e| fail(format!("not a histogram log: {e:?}")))? else { continue };
        let Some((round, cell, treatment)) = name(&entry) else { continue };
        let Some(kind) = kinds.get(&(round, treatment)) else { continue };
        found.push(Recorded {
            round,
            kind: (*kind).into(),
            cell: visible(cell).into_owned(),
            treatment: visible(treatment).into_owned(),
            start: entry.start_timestamp(),
            length: entry.duration(),
            encoded: entry.encoded_histogram().into(),
        });
    }
    Ok(found)
}

/// Round, cell and treatment of a tag as the runner writes it.
fn name<'a>(entry: &IntervalLogHistogram<'a>) -> Option<(u32, &'a str, &'a str)> {
    let (round, rest) = entry.tag()?.as_str().split_once('/')?;
    let (cell, treatment) = rest.split_once('/')?;
    Some((round.parse().ok()?, cell, treatment))
}

/// Histograms of rounds as one; `None` of none, or where nothing was timed.
pub fn merged<'a>(rounds: impl IntoIterator<Item = &'a Histogram<u64>>) -> Option<Histogram<u64>> {
    let mut rounds = rounds.into_iter();
    let mut all = rounds.next()?.clone();
    all.auto(true);
    for one in rounds {
        all.add(one).ok()?;
    }
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::load::Arm;
    use hdrhistogram::serialization::V2DeflateSerializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        values.iter().for_each(|v| histogram.record(*v).unwrap());
        histogram
    }

    #[test]
    fn what_completed_comes_back_and_a_torn_line_does_not() {
        let home = tempfile::tempdir().unwrap();
        let (mut text, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
        let mut log = IntervalLogWriterBuilder::new().begin_log_with(&mut text, &mut serializer).unwrap();
        for tag in ["1/c/full", "2/c/full", "2/c/ladder:1:a", "2/c/full"] {
            let tag = Tag::new(tag);
            log.write_histogram(&histogram(&[1000, 2000]), Duration::from_secs(1), Duration::from_secs(2), tag).unwrap();
        }
        drop(log);
        text.truncate(text.len() - 9);
        std::fs::write(home.path().join("latency.hlog"), text).unwrap();
        let arm = |round, treatment: &str, outcome: &str| Arm {
            round,
            kind: "slices".into(),
            cell: "c".into(),
            treatment: treatment.into(),
            outcome: outcome.into(),
            ..Arm::default()
        };
        let arms = vec![arm(1, "full", "invalid"), arm(2, "full", "completed"), arm(2, "ladder:1:a", "completed")];
        let found = load(&Dir::open(home.path()).unwrap(), &Data { arms, ..Data::default() }).unwrap();
        let names: Vec<_> = found.iter().map(|r| (r.round, r.treatment.as_str(), r.histogram().unwrap().len())).collect();
        assert_eq!(names, [(2, "full", 2), (2, "ladder:1:a", 2)]);
    }

    #[test]
    fn merging_adds_counts_beyond_the_first_ones_range() {
        let mut narrow = Histogram::new_with_bounds(1, 1000, 3).unwrap();
        narrow.record(10).unwrap();
        let all = merged([&narrow, &histogram(&[1_000_000])]).unwrap();
        assert_eq!((all.len(), all.max() >= 1_000_000), (2, true));
        assert_eq!(merged([&histogram(&[])]), None);
    }
}
