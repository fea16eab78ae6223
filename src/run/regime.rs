//! The page cache before and during a round that goes through it: brought into the state that the workload declares, and looked at.

use super::round::Spec;
use crate::target;
use crate::target::route::{Evidence, SLACK_BYTES, Sight, TOLERANCE};
use crate::workload::{Cache, Rw};
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// What one read of the warming takes.
const CHUNK_BYTES: usize = 1 << 20;
/// A disk that reads less in a second is not waited for.
const SLOWEST_BYTES_PER_S: u64 = 20 << 20;
/// Where little of the span is cached at most this share of what is read may come from the page cache.
const MOST_HITS: f64 = 0.1;

/// Makes the page cache hold all of the span or none of it, as declared. What a direct workload finds there does not matter.
pub fn prepare(spec: &Spec) -> io::Result<()> {
    // Who watches a process arm from outside would take the warming for its work.
    let endless = spec.completions == u64::MAX;
    if spec.workload.direct || spec.workload.rw == Rw::Nop || endless {
        return Ok(());
    }
    for path in &spec.paths {
        let file = File::open(path)?;
        match spec.workload.cache {
            Cache::Hit => warm(&file, spec.span_bytes)?,
            // Dirty pages would stay.
            Cache::Miss => rustix::fs::fdatasync(&file).and_then(|()| fadvise(&file, 0, None, Advice::DontNeed))?,
        }
    }
    Ok(())
}

fn warm(file: &File, span_bytes: u64) -> io::Result<()> {
    fadvise(file, 0, None, Advice::Sequential)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < span_bytes {
        let length = (span_bytes - at).min(CHUNK_BYTES as u64) as usize;
        file.read_exact_at(&mut chunk[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

/// How much longer a round may take because of [`prepare`].
pub fn allowance(spec: &Spec) -> Duration {
    let warms = !spec.workload.direct && spec.workload.cache == Cache::Hit && spec.workload.rw != Rw::Nop;
    let bytes = if warms { spec.span_bytes * spec.paths.len() as u64 } else { 0 };
    Duration::from_secs(bytes / SLOWEST_BYTES_PER_S)
}

/// Share of the span that the page cache holds; `None` where the kernel does not tell (cachestat(2), Linux 6.5; files that are neither this user's
/// nor open to his writes).
pub fn resident(spec: &Spec) -> Option<f64> {
    if spec.workload.direct || spec.workload.rw == Rw::Nop {
        return None;
    }
    let shares = spec.paths.iter().map(|path| target::resident(&File::open(path).ok()?, spec.span_bytes));
    shares.reduce(|a, b| Some(a?.min(b?)))?
}

/// What became of the regime in a round.
#[derive(Clone, Debug, PartialEq)]
pub enum Regime {
    Held,
    /// The rows are of something else than they say.
    Broken(String),
    Untold(&'static str),
}

/// Compares a round through the page cache, which moved so many bytes, with what its workload declares. By what was resident before it, and by what
/// the kernel read from devices for it: asking for a page without waiting (`RWF_NOWAIT`) would start to read it.
pub fn judge(evidence: &Evidence<'_>, resident: Option<f64>) -> Regime {
    let &Evidence { workload, moved, counted, sight, .. } = evidence;
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let reads = match workload.rw {
        Rw::Read | Rw::Randread => moved,
        Rw::Randrw => moved / 100 * u64::from(workload.read_percent),
        Rw::Write | Rw::Randwrite | Rw::Nop => 0,
    };
    // Without a known read that was counted, 0 bytes mean nothing.
    let read = counted.read.filter(|_| *sight == Sight::Process);
    match (workload.cache, read, resident) {
        (Cache::Hit, _, Some(share)) if share < 1.0 - TOLERANCE => Regime::Broken(format!(
            "cache = \"hit\": {} of the span was in the page cache when the round began, though all of it had been read: lower [target] size",
            percent(share)
        )),
        (Cache::Hit, Some(read), _) if read as f64 > moved as f64 * TOLERANCE + SLACK_BYTES as f64 => Regime::Broken(format!(
            "cache = \"hit\": {} of the bytes moved were read from a device: lower [target] size",
            percent(read as f64 / moved.max(1) as f64)
        )),
        (Cache::Hit, None, None) => {
            Regime::Untold("neither cachestat(2) nor the counts of this process tell what the page cache held")
        }
        (Cache::Miss, Some(read), _) if reads > 0 && (read as f64) < reads as f64 * (1.0 - MOST_HITS) => Regime::Broken(format!(
            "cache = \"miss\": {} of the bytes read came from the page cache: raise [target] size, or lower [design] round_time",
            percent(1.0 - read as f64 / reads as f64)
        )),
        (Cache::Miss, None, _) if reads > 0 => {
            Regime::Untold("the kernel does not count what this process reads from the target")
        }
        _ => Regime::Held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::route::tally::Tally;
    use crate::workload::Workload;

    const MIB: u64 = 1 << 20;

    fn judged(cache: Cache, rw: Rw, read: Option<u64>, resident: Option<f64>) -> Regime {
        let workload = Workload { rw, direct: false, cache, read_percent: 50, ..Workload::example() };
        let counted = Tally { read: read.map(|mib| mib * MIB), ..Tally::default() };
        judge(
            &Evidence { workload: &workload, moved: 100 * MIB, counted: &counted, sight: &Sight::Process, promised: false },
            resident,
        )
    }

    fn broken(regime: Regime) -> String {
        if let Regime::Broken(cause) = regime { cause } else { panic!("{regime:?}") }
    }

    #[test]
    fn a_hit_reads_nothing_from_a_device() {
        for (read, resident) in [(Some(0), Some(1.0)), (Some(2), None), (None, Some(1.0))] {
            assert_eq!(judged(Cache::Hit, Rw::Randread, read, resident), Regime::Held, "{read:?} {resident:?}");
        }
        let cause = broken(judged(Cache::Hit, Rw::Randread, Some(30), Some(1.0)));
        assert!(cause.contains("30.0 % of the bytes moved were read from a device"), "{cause}");
        let cause = broken(judged(Cache::Hit, Rw::Randread, Some(0), Some(0.5)));
        assert!(cause.contains("50.0 % of the span was in the page cache"), "{cause}");
        assert!(matches!(judged(Cache::Hit, Rw::Randread, None, None), Regime::Untold(_)));
    }

    #[test]
    fn a_miss_reads_nearly_everything_from_one() {
        assert_eq!(judged(Cache::Miss, Rw::Randread, Some(95), None), Regime::Held);
        let cause = broken(judged(Cache::Miss, Rw::Randread, Some(60), None));
        assert!(cause.contains("40.0 % of the bytes read came from the page cache"), "{cause}");
        assert_eq!(judged(Cache::Miss, Rw::Randrw, Some(48), None), Regime::Held, "half of the requests read");
        assert_eq!(judged(Cache::Miss, Rw::Randwrite, Some(0), None), Regime::Held, "whole pages are written without being read");
        assert!(matches!(judged(Cache::Miss, Rw::Read, None, None), Regime::Untold(_)));
    }
}
