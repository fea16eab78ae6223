//! Text of others (files, programs, arguments) made harmless: no control character reaches a terminal, no line break a field of one line.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character drives a terminal or reorders what stands around it: controls but line feed and tab, marks and overrides of
/// direction, and the separators of lines and paragraphs.
fn drives(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reorders || (c.is_control() && c != '\n' && c != '\t')
}

/// The text with such characters spelt out. From DEL on they are spelt as JSON does, so that a JSON text stays one and keeps its meaning.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(drives) {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        let _ = match u32::from(c) {
            _ if !drives(c) => plain.write_char(c),
            code @ ..0x20 => write!(plain, "\\x{code:02x}"),
            code => write!(plain, "\\u{code:04x}"),
        };
    }
    plain.into()
}

/// The text as one line: a line break or a tab is a space.
pub fn line(text: &str) -> String {
    plain(&text.replace(['\n', '\r', '\t'], " ")).into_owned()
}

/// The text as it goes to a terminal or to a log: no control characters, and no line that a workflow of GitHub takes for a command.
/// Commands begin a line (`::set-output`) or stand anywhere in one (`##[error]`).
pub fn shown(text: &str) -> String {
    let text = plain(text).replace("##[", "#\\u0023[");
    let quiet = |line: &str| {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        if words.starts_with("::") { format!("{indent}\\{words}") } else { line.into() }
    };
    text.split_inclusive('\n').map(quiet).collect()
}

/// What was wrong with a text that must be one line without control characters, of at most `most` characters.
pub fn words(text: &str, most: usize) -> Result<String, String> {
    const SHOWN: usize = 60;
    let beginning: String = text.chars().take(SHOWN).collect();
    let more = if text.chars().nth(SHOWN).is_some() { " and more" } else { "" };
    if text.contains(|c: char| c == '\n' || c == '\t' || drives(c)) {
        return Err(format!("{beginning:?}{more} has a control character; write one line of plain text"));
    }
    match text.chars().count() {
        count if count > most => Err(format!("{beginning:?}{more} has {count} characters; write at most {most}")),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_are_spelt_out_and_text_is_left_alone() {
        let text = "µs — 日本 é\u{301}\tx\n";
        assert_eq!(plain(text), text);
        assert_eq!(plain("\u{1b}]0;t\u{7}\r\u{7f}\u{9b}2J\u{202e}\u{2028}"), "\\x1b]0;t\\x07\\x0d\\u007f\\u009b2J\\u202e\\u2028");
        assert_eq!(line("a\r\nb\tc\u{1b}"), "a  b c\\x1b");
        let json = serde_json::json!({ "name": "\u{9b}\u{202e}\u{1b}\u{7f}é\n" });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&plain(&json.to_string())).unwrap(), json);
    }

    #[test]
    fn no_line_is_a_workflow_command() {
        assert_eq!(shown("a ::x\n  ::error::x\n::\n##[group]y\n"), "a ::x\n  \\::error::x\n\\::\n#\\u0023[group]y\n");
    }

    #[test]
    fn words_say_what_is_wrong_and_spell_it() {
        assert_eq!(words("p99 latency", 20), Ok("p99 latency".into()));
        assert!(words("a\u{1b}[2J", 20).unwrap_err().starts_with("\"a\\u{1b}[2J\" has a control character"));
        assert!(words(&"x".repeat(1000), 20).unwrap_err().contains("and more has 1000 characters; write at most 20"));
    }

    proptest! {
        #[test]
        fn nothing_that_drives_is_left(text in "\\PC*|[\\x00-\\x1f\\x7f-\\x9f\u{200e}\u{2028}-\u{202e}\u{2066}-\u{2069}:#\\[ab]{0,40}") {
            prop_assert!(!shown(&text).contains(drives));
            prop_assert!(!line(&text).contains(|c: char| drives(c) || c == '\n' || c == '\t'));
            prop_assert!(!shown(&text).lines().any(|l| l.trim_start().starts_with("::") || l.contains("##[")));
        }
    }
}
