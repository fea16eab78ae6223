//! Nights of several histories in one. Each machine keeps its own series; what tells machines apart is their fingerprints.

use super::row::{NightRow, SeriesRow};
use super::store::{Error, History};
use std::collections::BTreeSet;

/// Adds the nights that a history lacks, in order of their time; says how many.
pub fn merge(into: &mut History, sources: &[History]) -> Result<usize, Error> {
    let mut missing: Vec<(NightRow, Vec<SeriesRow>)> = Vec::new();
    let known = |into: &History, missing: &[(NightRow, Vec<SeriesRow>)], night: &NightRow| {
        let same = |other: &NightRow| same_night(other, night);
        into.tables().0.iter().any(same) || missing.iter().any(|(other, _)| same(other))
    };
    for (night, series) in sources.iter().flat_map(History::nights) {
        if !known(into, &missing, night) {
            missing.push((night.clone(), series.to_vec()));
        }
    }
    distinct(into, &missing)?;
    missing.sort_by(|a, b| a.0.started_utc.cmp(&b.0.started_utc));
    let added = missing.len();
    for (night, series) in missing {
        into.commit(night, &series)?;
    }
    Ok(added)
}

fn same_night(a: &NightRow, b: &NightRow) -> bool {
    (&a.night, &a.fingerprint, &a.experiment, &a.machine) == (&b.night, &b.fingerprint, &b.experiment, &b.machine)
}

/// Two machines of one name would be one series: refused where nothing says that they are the same machine.
fn distinct(into: &History, missing: &[(NightRow, Vec<SeriesRow>)]) -> Result<(), Error> {
    let present = into.tables().0;
    for (night, _) in missing {
        let of = |rows: &[&NightRow]| -> BTreeSet<String> {
            rows.iter().filter(|n| n.machine == night.machine).map(|n| n.fingerprint.clone()).collect()
        };
        let (here, there) = (of(&present.iter().collect::<Vec<_>>()), of(&missing.iter().map(|m| &m.0).collect::<Vec<_>>()));
        if !here.is_empty() && here.is_disjoint(&there) {
            return Err(Error::Namesakes { machine: night.machine.clone(), dir: into.dir.clone() });
        }
    }
    Ok(())
}
