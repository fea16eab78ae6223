//! What nights leave that were killed or gave up: looked for and cleared away by the next one, which has the history to itself.

use super::store::{History, ROUNDS};
use crate::durable::{Dir, is_temporary};
use std::io;

/// A file of every night that has counted.
const COUNTED: &str = "night.json";

/// What became of the directory of a night that was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    Removed(String),
    /// It holds something that is not ours.
    Kept {
        night: String,
        holds: String,
    },
}

/// Removes the directories of nights that were not finished, where they hold nothing but what a night writes before it counts, and what the newest
/// one that counts left of its replacements.
pub fn clear(history: &History) -> Vec<Leftover> {
    if let Some(newest) = history.tables().0.last().and_then(|night| history.dir.dir(&night.night).ok()) {
        newest.sweep();
    }
    let names = history.dir.names().into_iter().flatten().filter_map(|name| name.into_string().ok());
    names.filter(|name| is_night(name) && !counted(history, name)).filter_map(|name| cleared(&history.dir, name)).collect()
}

/// Whether a name is one that `nightly` gives: a time, and a host.
fn is_night(name: &str) -> bool {
    let time = name.split_once('-').map_or("", |(time, _)| time);
    let form = |(i, b): (usize, u8)| {
        if i == 8 {
            b == b'T'
        } else if i == 15 {
            b == b'Z'
        } else {
            b.is_ascii_digit()
        }
    };
    time.len() == 16 && time.bytes().enumerate().all(form)
}

fn counted(history: &History, name: &str) -> bool {
    history.tables().0.iter().any(|night| night.night == name)
}

/// `None` where it is no such night, or is gone.
fn cleared(history: &Dir, night: String) -> Option<Leftover> {
    let dir = history.dir(&night).ok()?;
    let names = dir.names().ok()?;
    // As where its line was moved away with an older history.
    if names.iter().any(|name| name == COUNTED) {
        return None;
    }
    if let Some(other) = names.iter().find(|name| *name != ROUNDS && !is_temporary(name)) {
        return Some(Leftover::Kept { holds: format!("{other:?}"), night });
    }
    let removed = names.iter().try_for_each(|name| dir.remove(name)).and_then(|()| history.remove_dir(&night));
    Some(match removed {
        Ok(()) => Leftover::Removed(night),
        Err(error) => Leftover::Kept { holds: kept(&error), night },
    })
}

fn kept(error: &io::Error) -> String {
    format!("what cannot be removed ({error})")
}
