//! Nights of several histories in one. Each machine keeps its own series; what tells machines of one name apart is that they share neither a night nor
//! a fingerprint.

use super::row::{NightRow, SeriesRow};
use super::store::{Error, History};
use std::collections::{BTreeMap, BTreeSet};

/// What a night is known by.
type Identity = (String, String, String, String);

fn identity(night: &NightRow) -> Identity {
    let NightRow { night, fingerprint, experiment, machine, .. } = night.clone();
    (night, fingerprint, experiment, machine)
}

/// Adds the nights that a history lacks; says how many. Each source's nights keep their order, whatever its clock said.
pub fn merge(into: &mut History, sources: &[History]) -> Result<usize, Error> {
    distinct(into, sources)?;
    let mut known: BTreeSet<Identity> = into.tables().0.iter().map(identity).collect();
    let mut missing: Vec<(String, NightRow, Vec<SeriesRow>)> = Vec::new();
    for source in sources {
        let mut latest = String::new();
        for (night, series) in source.nights() {
            latest = latest.max(night.started_utc.clone());
            if known.insert(identity(night)) {
                missing.push((latest.clone(), night.clone(), series.to_vec()));
            }
        }
    }
    // Stable: where times are equal, as behind a clock that was set back, the lines decide.
    missing.sort_by(|a, b| a.0.cmp(&b.0));
    let added = missing.len();
    for (_, night, series) in missing {
        into.commit(night, &series)?;
    }
    Ok(added)
}

/// A night's fingerprint, where it says which machine it was: those of machines whose processors had no name are all alike.
fn known_fingerprint(night: &NightRow) -> Option<String> {
    (!night.fingerprint.is_empty() && !night.cpu.is_empty()).then(|| night.fingerprint.clone())
}

/// What a history knows of a machine.
#[derive(Default)]
struct Known {
    nights: BTreeSet<Identity>,
    fingerprints: BTreeSet<String>,
}

fn machines(history: &History) -> BTreeMap<String, Known> {
    let mut machines: BTreeMap<String, Known> = BTreeMap::new();
    for night in history.tables().0 {
        let known = machines.entry(night.machine.clone()).or_default();
        known.nights.insert(identity(night));
        known.fingerprints.extend(known_fingerprint(night));
    }
    machines
}

/// Two machines of one name would be one series: refused where nothing says that they are the same machine.
fn distinct(into: &History, sources: &[History]) -> Result<(), Error> {
    let mut merged = machines(into);
    for source in sources {
        for (machine, mut there) in machines(source) {
            let here = merged.entry(machine.clone()).or_default();
            let same = !here.nights.is_disjoint(&there.nights) || !here.fingerprints.is_disjoint(&there.fingerprints);
            if !here.nights.is_empty() && !same {
                return Err(Error::Namesakes { machine, dir: source.dir.path().into() });
            }
            here.nights.append(&mut there.nights);
            here.fingerprints.append(&mut there.fingerprints);
        }
    }
    Ok(())
}
