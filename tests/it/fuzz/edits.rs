//! Edits of a file: bytes, pieces, and words that parsers stumble over.

use proptest::prelude::*;
use proptest::sample::Index;

/// Words in place of others: bounds of integers, floats that are no numbers, marks of the formats, paths, what drives a terminal.
const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "0.5",
    "-0.0",
    "1e308",
    "1e-320",
    "-1e19",
    "1e400",
    "NaN",
    "inf",
    "-inf",
    "null",
    "true",
    "[]",
    "{}",
    "[",
    "{",
    "\"",
    "'",
    ",",
    ",,,",
    ":",
    "=",
    "-",
    "/",
    "\\",
    "\n",
    "\r\n",
    "\n\n",
    "\0",
    " ",
    "\t",
    "#",
    "%",
    "é",
    "\u{1b}[2J",
    "\u{202e}",
    "../../etc/passwd",
    "/abs/x",
    "0-4294967295",
    "99999999h",
    "999999999999999999999",
    "1000%",
    "2026-02-30T25:61:61Z",
    "sqpoll",
    "full",
    "baseline",
    "completed",
];

/// One change of a file.
#[derive(Clone, Debug)]
pub enum Edit {
    Put(Index, u8),
    Insert(Index, usize),
    /// The word that begins here gives way to another.
    Replace(Index, usize),
    Cut(Index, usize),
    Double(Index, usize),
    End(Index),
}

impl Arbitrary for Edit {
    type Parameters = ();
    type Strategy = BoxedStrategy<Edit>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let (place, word, length) = (any::<Index>, 0..WORDS.len(), 1..200_usize);
        prop_oneof![
            1 => (place(), any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
            2 => (place(), word.clone()).prop_map(|(at, word)| Edit::Insert(at, word)),
            6 => (place(), word).prop_map(|(at, word)| Edit::Replace(at, word)),
            1 => (place(), length.clone()).prop_map(|(at, length)| Edit::Cut(at, length)),
            1 => (place(), length).prop_map(|(at, length)| Edit::Double(at, length)),
            1 => place().prop_map(Edit::End),
        ]
        .boxed()
    }
}

/// `seed` after `edits`.
pub fn edited(seed: &[u8], edits: &[Edit]) -> Vec<u8> {
    edits.iter().fold(seed.to_vec(), |mut bytes, edit| {
        apply(edit, &mut bytes);
        bytes
    })
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>) {
    let at = |place: &Index| place.index(bytes.len() + 1);
    match edit {
        Edit::Put(place, byte) => {
            let at = at(place);
            if at < bytes.len() { bytes[at] = *byte } else { bytes.push(*byte) }
        }
        Edit::Insert(place, word) => drop(bytes.splice(at(place)..at(place), WORDS[*word].bytes())),
        Edit::Replace(place, word) => {
            let parts = |byte: &u8| b",:;=/ \t\n\"[]{}()".contains(byte);
            let begin = bytes[..at(place)].iter().rposition(parts).map_or(0, |end| end + 1);
            let end = bytes[begin..].iter().position(parts).map_or(bytes.len(), |length| begin + length);
            drop(bytes.splice(begin..end, WORDS[*word].bytes()));
        }
        Edit::Cut(place, length) => drop(bytes.drain(at(place)..(at(place) + length).min(bytes.len()))),
        Edit::Double(place, length) => {
            let begin = at(place);
            let piece = bytes[begin..(begin + length).min(bytes.len())].to_vec();
            drop(bytes.splice(begin..begin, piece));
        }
        Edit::End(place) => bytes.truncate(at(place)),
    }
}
