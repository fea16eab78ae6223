//! A level for every toggle, and how it is written and read.

use super::{SPECS, Toggle};
use std::fmt;

/// A level for every toggle: what one arm runs with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Levels([u32; SPECS.len()]);

impl Levels {
    /// Every toggle off: the state the seed calls "was".
    pub fn all_off() -> Levels {
        Levels(std::array::from_fn(|i| SPECS[i].off))
    }

    pub fn get(&self, toggle: Toggle) -> u32 {
        self.0[toggle as usize]
    }

    /// True when a toggle stands at any level but *off*.
    pub fn is_on(&self, toggle: Toggle) -> bool {
        self.get(toggle) != toggle.spec().off
    }

    #[must_use]
    pub fn with(mut self, toggle: Toggle, level: u32) -> Levels {
        self.0[toggle as usize] = level;
        self
    }

    /// `key=level` of each toggle.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        Toggle::all().map(|t| (t.key(), t.spec().level_text(self.get(t))))
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

impl serde::Serialize for Levels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.pairs())
    }
}

impl<'de> serde::Deserialize<'de> for Levels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Levels, D::Error> {
        use serde::de::Error as _;
        let pairs = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        pairs.iter().try_fold(Levels::all_off(), |levels, (key, value)| {
            let toggle = Toggle::parse(key).map_err(D::Error::custom)?;
            let level = toggle.spec().parse_level(value).map_err(D::Error::custom)?;
            Ok(levels.with(toggle, level))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_round_trip_through_json() {
        let levels = Levels::all_off().with(Toggle::BatchSubmit, 32).with(Toggle::FixedFiles, 1);
        let text = serde_json::to_string(&levels).unwrap();
        assert_eq!(serde_json::from_str::<Levels>(&text).unwrap(), levels);
    }
}
