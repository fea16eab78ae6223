//! The latency log of a run: histograms of what was timed, each with the round, cell and treatment that its tag names.

use super::intact;
use super::load::{Data, Error};
use crate::durable::Dir;
use crate::{limits, units};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry};
use std::collections::HashMap;
use std::io::{self, Read};
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
        let inflated = inflate(&bytes).map_err(|e| damaged(&e))?;
        Deserializer::new().deserialize(&mut io::Cursor::new(inflated)).map_err(|e| damaged(&e))
    }
}

/// Where the compressed bytes begin: behind their cookie and their length.
const COMPRESSED: usize = 8;
/// Where the significant digits stand in what is inflated: behind its cookie, its length and an offset.
const DIGITS: std::ops::Range<usize> = 12..16;
/// What comes before the counts.
const HEADER: usize = 40;

/// The histogram without its compression, once it is known to be small: the format's own reader takes as much memory as the log says.
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::new();
    let compressed = bytes.get(COMPRESSED..).ok_or("it is cut off")?;
    let mut limited = ZlibDecoder::new(compressed).take(limits::HISTOGRAM_BYTES + 1);
    limited.read_to_end(&mut inflated).map_err(|e| e.to_string())?;
    if inflated.len() as u64 > limits::HISTOGRAM_BYTES {
        return Err(format!("it inflates to more than {}, the limit", units::size_words(limits::HISTOGRAM_BYTES)));
    }
    let number = |range| Some(u32::from_be_bytes(<[u8; 4]>::try_from(inflated.get::<std::ops::Range<usize>>(range)?).ok()?));
    let (length, digits) = number(4..8).zip(number(DIGITS)).ok_or("it is cut off")?;
    match inflated.len().checked_sub(HEADER) {
        _ if digits > limits::HISTOGRAM_DIGITS => {
            Err(format!("it has {digits} significant digits; {} are the limit", limits::HISTOGRAM_DIGITS))
        }
        Some(there) if length as usize <= there => Ok(inflated),
        _ => Err(format!("it says that it has {length} bytes of counts, and has not")),
    }
}

/// Reads `latency.hlog`: the arms that completed, in the order of the file; none where a run has no such file.
pub fn load(dir: &Dir, data: &Data) -> Result<Vec<Recorded>, Error> {
    let path = dir.join("latency.hlog");
    let mut bytes = match intact::read(dir, "latency.hlog") {
        Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
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
            cell: cell.into(),
            treatment: treatment.into(),
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

/// Histograms of rounds as one, added one after another so that only one is held besides.
#[derive(Default)]
pub struct Merged(Option<Histogram<u64>>);

impl Merged {
    /// Adds a round.
    pub fn add(&mut self, round: &Histogram<u64>) -> Result<(), String> {
        match &mut self.0 {
            Some(all) => all.add(round).map_err(|e| e.to_string()),
            None => {
                let all = self.0.insert(round.clone());
                all.auto(true);
                Ok(())
            }
        }
    }

    /// All of them; `None` of none, or where nothing was timed.
    pub fn all(self) -> Option<Histogram<u64>> {
        self.0.filter(|all| !all.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::load::Arm;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use hdrhistogram::serialization::V2DeflateSerializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
    use std::io::Write;

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
        let merged = |rounds: &[&Histogram<u64>]| {
            let mut merged = Merged::default();
            rounds.iter().for_each(|one| merged.add(one).unwrap());
            merged.all()
        };
        let all = merged(&[&narrow, &histogram(&[1_000_000])]).unwrap();
        assert_eq!((all.len(), all.max() >= 1_000_000), (2, true));
        assert_eq!(merged(&[&histogram(&[])]), None);
    }

    /// A histogram of a log whose inflated form is a header of these figures and so many zeros.
    fn hostile(length: u32, digits: u32, zeros: usize) -> Recorded {
        let mut inflated = Vec::new();
        [0x1c84_9313, length, 0, digits].iter().for_each(|n: &u32| inflated.extend(n.to_be_bytes()));
        [1, u64::MAX, 1.0_f64.to_bits()].iter().for_each(|n| inflated.extend(n.to_be_bytes()));
        inflated.resize(inflated.len() + zeros, 0);
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(&inflated).unwrap();
        let deflated = deflate.finish().unwrap();
        let bytes = [&0x1c84_9314_u32.to_be_bytes()[..], &(deflated.len() as u32).to_be_bytes(), &deflated].concat();
        let (name, time) = (String::from("x"), Duration::ZERO);
        let encoded = BASE64_STANDARD.encode(bytes);
        Recorded { round: 1, kind: name.clone(), cell: name.clone(), treatment: name, start: time, length: time, encoded }
    }

    #[test]
    fn a_histogram_takes_no_more_memory_than_one_of_ours() {
        assert_eq!(hostile(8, 3, 8).histogram().unwrap().len(), 0);
        let refused = |length, digits, zeros| hostile(length, digits, zeros).histogram().unwrap_err();
        assert!(refused(64 << 20, 3, 64 << 20).contains("inflates to more than 1 MiB"));
        assert!(refused(u32::MAX, 3, 8).contains("4294967295 bytes of counts"));
        assert!(refused(8, 5, 8).contains("5 significant digits"));
        assert!(refused(8, 3, 0).contains("8 bytes of counts"));
        assert!(Recorded { encoded: "AAAA".into(), ..hostile(8, 3, 8) }.histogram().unwrap_err().contains("cut off"));
    }
}
