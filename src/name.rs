//! Names that may become part of a path, whoever wrote them.

use crate::limits;

/// Checks a name that may become that of a file, by the rule for names in an experiment.
pub fn check(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(format!("{name:?} is no name; names are of letters, digits, -, _ and ., and begin with no ."));
    }
    if name.len() > limits::NAME {
        let (begin, length) = (&name[..32], name.len());
        return Err(format!("the name {begin}... has {length} characters; at most {} are allowed", limits::NAME));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in ["read-4k-qd128-j1", "randread-4k-qd1-j1-zipf1.2", "20260101T030000Z-host.example_2", "a..b"] {
            assert_eq!(check(name), Ok(()));
        }
        let long = "x".repeat(limits::NAME + 1);
        for name in ["", ".", "..", ".hidden", "/tmp/x", "../x", "a/b", "a\nb", "a\0b", "a b", "\u{202e}a", &long] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }
}
