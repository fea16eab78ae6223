//! Which keys of two experiments differ, as their texts have them.

use std::collections::BTreeMap;

/// A key with its values in either; absent where the text does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As in `--set`: `design.rounds`.
    pub key: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Keys that change nothing of what is measured.
const WORDS: [&str; 4] = ["name", "question", "smoke", "claim"];

impl Changed {
    /// The key has a say in what is measured.
    pub fn matters(&self) -> bool {
        !WORDS.contains(&self.key.as_str())
    }
}

/// The keys that differ, in their order; `None` where a text is no experiment's. What a text leaves to its default differs from that default
/// spelt out.
pub fn changed(before: &str, after: &str) -> Option<Vec<Changed>> {
    let (before, after) = (keys(before)?, keys(after)?);
    let all: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |key: &String| Changed { key: key.clone(), before: before.get(key).cloned(), after: after.get(key).cloned() };
    Some(all.into_iter().map(of).filter(|c| c.before != c.after).collect())
}

fn keys(text: &str) -> Option<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    flatten("", &toml::from_str(text).ok()?, &mut keys);
    Some(keys)
}

fn flatten(prefix: &str, table: &toml::Table, keys: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => flatten(&format!("{prefix}{key}."), inner, keys),
            value => {
                keys.insert(format!("{prefix}{key}"), value.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_are_named_as_set_names_them() {
        let before = "name = \"a\" # with a comment\n[design]\nrounds = 12\nseed = 1\n[fixed]\ntaskrun = \"defer\"\n";
        let after = "name = \"b\"\n[design]\nseed = 1\nrounds = 24\n";
        let found = changed(before, after).unwrap();
        let told: Vec<_> = found.iter().map(|c| (c.key.as_str(), c.before.as_deref(), c.after.as_deref(), c.matters())).collect();
        let expected = [
            ("design.rounds", Some("12"), Some("24"), true),
            ("fixed.taskrun", Some("\"defer\""), None, true),
            ("name", Some("\"a\""), Some("\"b\""), false),
        ];
        assert_eq!(told, expected);
        assert_eq!(changed(before, "name = \"a\"\n[fixed]\ntaskrun=\"defer\"\n[design]\nseed=1\nrounds=12"), Some(vec![]));
        assert_eq!(changed(before, "no = "), None);
    }
}
