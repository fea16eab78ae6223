//! Latency as HdrHistogram's log, version 1.3: a tag for each cell, kind of round and treatment, an interval for each round, so that its tools
//! merge rounds and nothing else.

use super::Error;
use crate::analysis::{Model, latency, load};
use crate::durable::Dir;
use crate::text::line;
use std::fmt::Write;

/// The largest value of an interval stands in its line in this unit, by convention of the format.
const MAX_UNIT_NS: f64 = 1e6;

/// The log of every arm that completed.
pub fn text(results: &Dir, model: &Model) -> Result<String, Error> {
    let path = results.join("latency.hlog");
    let recorded = latency::load(results, &model.data)?;
    if recorded.is_empty() {
        return Err(Error::Nothing {
            path,
            what: "histogram of a completed arm",
            remedy: "arms.csv says what became of each arm",
        });
    }
    let mut text = String::from("#[Histogram log format version 1.3]\n");
    let started = model.manifest.as_ref().and_then(|m| m.started_utc.parse::<jiff::Timestamp>().ok());
    if let Some(started) = started {
        let _ = writeln!(text, "#[StartTime: {}.000 (seconds since epoch), {started}]", started.as_second());
    }
    text += "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";
    for r in &recorded {
        let tag = line(&format!("{}/{}/{}", r.cell, r.kind, r.treatment)).replace([',', ' '], "_");
        let (start, length) = (r.start.as_secs_f64(), r.length.as_secs_f64());
        let histogram = r.histogram().map_err(|reason| load::Error::Table { path: path.clone(), reason })?;
        let max = histogram.max() as f64 / MAX_UNIT_NS;
        let _ = writeln!(text, "Tag={tag},{start:.3},{length:.3},{max:.3},{}", r.encoded);
    }
    Ok(text)
}
