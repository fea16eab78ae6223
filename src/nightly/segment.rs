//! What each series was before tonight, told from the lines of earlier nights: its segment, the nights in it, and what is still open.

use super::row::{Alarm, Finding, Key, NightRow, SeriesRow};
use super::store::History;
use crate::analysis::signed_rank::hodges_lehmann;
use std::collections::HashMap;

/// Drifts in a row that no second run confirmed, before the watch for them begins anew.
const TRIES: u32 = 3;

/// What must agree for the ratios of two nights to be comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub platform: String,
    pub subject: String,
    pub reference: String,
}

impl Identity {
    /// Of a night.
    pub fn of(night: &NightRow) -> Identity {
        let NightRow { platform, subject, reference, .. } = night.clone();
        Identity { platform, subject, reference }
    }

    /// True where every part is known to agree: what one of two nights does not tell is not the same in both.
    fn is_known_as(&self, before: &Identity) -> bool {
        let Identity { platform, subject, reference } = self;
        self == before && ![platform, subject, reference].into_iter().any(String::is_empty)
    }

    /// What became different, or cannot be compared, for a reader.
    fn difference(&self, before: &Identity) -> String {
        let named = [
            ("platform", &before.platform, &self.platform),
            ("what is measured", &before.subject, &self.subject),
            ("reference", &before.reference, &self.reference),
        ];
        let shown = |text: &'_ str| if text.is_empty() { "not known".to_string() } else { text.to_string() };
        let changed = named.iter().filter(|(_, old, new)| old != new || new.is_empty());
        changed.map(|(name, old, new)| format!("{name}: {} -> {}", shown(old), shown(new))).collect::<Vec<_>>().join("; ")
    }
}

/// A regression that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The first night of it.
    pub since: String,
    /// The sign of changes for the worse.
    pub worse: f64,
}

/// A series so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// From 1; 0 before the first night.
    pub number: u32,
    /// Why it begins tonight; empty where it goes on.
    pub began: String,
    /// The nights in it that tell its level, with their log ratios, oldest first.
    nights: Vec<(String, f64)>,
    /// The watch for drifts begins with this one of them.
    watch_from: usize,
    /// A confirmed regression that was not seen gone.
    pub open: Option<Open>,
    tries: u32,
}

impl Segment {
    /// What the series was, as a log ratio: 0 before its first night, where the reference itself is the measure.
    pub fn level(&self) -> f64 {
        hodges_lehmann(&self.values()).unwrap_or(0.0)
    }

    /// The log ratios that the level rests on.
    pub fn values(&self) -> Vec<f64> {
        self.nights.iter().map(|n| n.1).collect()
    }

    /// Those in which a drift is looked for.
    pub fn watched(&self) -> Vec<f64> {
        self.nights[self.watch_from..].iter().map(|n| n.1).collect()
    }

    /// The name of one of them; `None` beyond the last, which is tonight.
    pub fn watched_night(&self, index: usize) -> Option<&str> {
        self.nights.get(self.watch_from + index).map(|n| n.0.as_str())
    }

    /// The same without what came since a night: what was measured of a change does not tell what the series was before it.
    pub fn before(&self, since: &str) -> Segment {
        let mut earlier = self.clone();
        earlier.forget(since);
        earlier
    }

    fn forget(&mut self, since: &str) {
        if let Some(at) = self.nights.iter().rposition(|n| n.0 == *since) {
            self.nights.truncate(at);
            self.watch_from = self.watch_from.min(at);
        }
    }

    fn begin(&mut self, why: String) {
        *self = Segment { number: self.number + 1, began: why, ..Segment::default() };
    }

    fn add(&mut self, row: &SeriesRow) {
        self.began.clear();
        let tonight = (row.night.clone(), row.ratio.ln());
        match row.finding {
            Finding::Steady | Finding::Inconclusive => {
                self.nights.push(tonight);
                self.tries = 0;
            }
            Finding::Unconfirmed => {
                self.nights.push(tonight);
                self.open = None;
                self.tries = if row.alarm == Some(Alarm::Drift) { self.tries + 1 } else { 0 };
                if self.tries >= TRIES {
                    (self.watch_from, self.tries) = (self.nights.len(), 0);
                }
            }
            Finding::Regressed => {
                // Of one that is open already, everything since is gone.
                if self.open.is_none() {
                    self.forget(&row.since);
                }
                self.open = Some(Open { since: row.since.clone(), worse: -row.better.sign() });
                self.tries = 0;
            }
            Finding::Improved => {
                let better = self.nights.iter().position(|n| n.0 == row.since).map_or(vec![], |at| self.nights.split_off(at));
                let percent = row.confirmed_change().map_or(0.0, |c| 100.0 * c.0);
                self.begin(format!("improved by {:.1} % in {}", percent.abs(), row.night));
                self.nights = better;
                self.nights.push((row.night.clone(), row.confirm_ratio.unwrap_or(row.ratio).ln()));
            }
        }
    }
}

/// The series of one machine and experiment so far.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    known: HashMap<Key, Segment>,
    identity: Option<Identity>,
    /// Those of identities that may come back: a target that could not be made for a night, a reference that is taken back.
    shelved: Vec<(Identity, HashMap<Key, Segment>)>,
    /// How many segments any series began with, and why the newest did.
    number: u32,
    began: String,
}

impl Segments {
    /// Those before a night of this identity.
    pub fn before(history: &History, experiment: &str, machine: &str, tonight: &Identity) -> Segments {
        let mut segments = Segments::default();
        for (night, rows) in history.nights().filter(|(n, _)| n.experiment == experiment && n.machine == machine) {
            segments.meet(&Identity::of(night));
            // A night whose control failed tells nothing.
            if night.exit != crate::exit::Exit::SelfCheck as u8 {
                rows.iter().for_each(|row| segments.of_mut(&row.key()).add(row));
            }
        }
        segments.meet(tonight);
        segments
    }

    /// A night of another identity begins a segment of every series, or goes on with the one that this identity had.
    fn meet(&mut self, identity: &Identity) {
        let Some(before) = self.identity.replace(identity.clone()) else {
            (self.number, self.began) = (1, "first night".into());
            return;
        };
        if identity.is_known_as(&before) {
            return;
        }
        let mut why = identity.difference(&before);
        let open: Vec<&str> = self.known.values().filter_map(|s| s.open.as_ref()).map(|o| o.since.as_str()).collect();
        if let Some(since) = open.iter().min() {
            why += &format!("; {} open since {since} are left behind", open.len());
        }
        self.shelved.push((before, std::mem::take(&mut self.known)));
        match self.shelved.iter().position(|(shelved, _)| identity.is_known_as(shelved)) {
            Some(place) => {
                self.known = self.shelved.swap_remove(place).1;
                self.known.values_mut().for_each(|segment| segment.began = format!("again: {why}"));
            }
            None => self.number = self.highest() + 1,
        }
        self.began = why;
    }

    /// Numbers are not used twice.
    fn highest(&self) -> u32 {
        let shelved = self.shelved.iter().flat_map(|(_, known)| known.values());
        shelved.map(|segment| segment.number).max().unwrap_or(self.number).max(self.number)
    }

    fn of_mut(&mut self, key: &Key) -> &mut Segment {
        let (number, began) = (self.number, self.began.clone());
        self.known.entry(key.clone()).or_insert_with(|| Segment { number, began, ..Segment::default() })
    }

    /// Every series that any night had.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Segment)> {
        self.known.iter()
    }

    /// One series before tonight.
    pub fn of(&self, key: &Key) -> Segment {
        let fresh = || Segment { number: self.number, began: self.began.clone(), ..Segment::default() };
        self.known.get(key).cloned().unwrap_or_else(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_night_does_not_tell_is_not_the_same_in_the_next() {
        let of = |platform: &str| Identity { platform: platform.into(), subject: "s".into(), reference: "r".into() };
        let mut segments = Segments::default();
        let mut meet = |platform: &str| {
            segments.meet(&of(platform));
            (segments.number, segments.began.clone())
        };
        assert_eq!(meet("p"), (1, "first night".into()));
        assert_eq!(meet("p"), (1, "first night".into()));
        assert_eq!(meet(""), (2, "platform: p -> not known".into()));
        assert_eq!(meet(""), (3, "platform: not known -> not known".into()));
    }
}
