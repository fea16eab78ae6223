//! Text of others in Markdown: it stays the words that it is. Nothing in it is markup for CommonMark, nor for what GitHub adds to it: tables,
//! bare links, mentions, references to issues, emoji, formulas.

use crate::text;

/// Ends a name before it begins, and shows nothing: what GitHub looks for after it has rendered cannot be escaped with a backslash.
const NOTHING: &str = "&#8203;";

/// Text for a paragraph, an item of a list or a cell of a table.
pub fn text(text: &str) -> String {
    let line = text::line(text);
    let chars: Vec<char> = line.trim().chars().collect();
    let mut escaped = String::with_capacity(chars.len() + 8);
    let begins = begins_block(&chars);
    for (i, c) in chars.iter().enumerate() {
        if *c == '.' && follows(&chars, i, "www") {
            escaped += NOTHING;
        }
        if needs_backslash(&chars, i) || Some(i) == begins {
            escaped.push('\\');
        }
        escaped.push(*c);
        if links(&chars, i) {
            escaped += NOTHING;
        }
    }
    escaped
}

/// A name as code; one that code cannot hold is text.
pub fn code(name: &str) -> String {
    let line = text::line(name);
    let holds = !line.contains(['`', '|']) && line.trim() == line && !line.is_empty();
    if holds { format!("`{line}`") } else { self::text(name) }
}

/// A block of code that its own backticks do not end.
pub fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", text::plain(code.trim()))
}

/// A picture. A bracket of the name would pair with ours, so it has none.
pub fn picture(name: &str, path: &str) -> String {
    let escaped = |c: char| if "\\<>&".contains(c) { vec!['\\', c] } else { vec![c] };
    let destination: String = text::line(path).chars().flat_map(escaped).collect();
    format!("![{}](<{destination}>)", self::text(&name.replace(['[', ']'], " ")))
}

/// Whether this character is or may be markup where it stands. An underscore inside of a word is none.
fn needs_backslash(chars: &[char], i: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
    match chars[i] {
        '_' => !(word(i.checked_sub(1)) && word(Some(i + 1))),
        // An interval is text as it stands: brackets make a link, a footnote or a box only beside these.
        '[' => i == 0 || chars.get(i + 1).is_none_or(|next| "[^! xX".contains(*next)),
        ']' => chars.get(i + 1).is_none_or(|next| "([:{".contains(*next)),
        c => "\\`*<|#~&$^".contains(c),
    }
}

/// The character by which the text would begin a list, a heading or a rule instead of a paragraph.
fn begins_block(chars: &[char]) -> Option<usize> {
    let place = chars.iter().position(|c| !c.is_ascii_digit())?;
    let next = chars.get(place + 1);
    let begins = match (place, chars[place]) {
        (0, '-' | '+') => !next.is_some_and(char::is_ascii_digit),
        (0, c) => "=:>".contains(c),
        (_, c) => ".)".contains(c) && next.is_none_or(|c| c.is_whitespace()),
    };
    begins.then_some(place)
}

/// Whether GitHub makes a link, a reference or a picture of this character and what follows.
fn links(chars: &[char], i: usize) -> bool {
    let rest = &chars[i + 1..];
    let next = rest.first();
    match chars[i] {
        '@' | '#' => next.is_some_and(|c| !c.is_whitespace()),
        ':' => rest.starts_with(&['/', '/']) || emoji(rest),
        '-' => follows(chars, i, "gh") && next.is_some_and(char::is_ascii_digit),
        _ => false,
    }
}

/// Whether this word stands before a place.
fn follows(chars: &[char], place: usize, word: &str) -> bool {
    let start = place.checked_sub(word.len());
    start.is_some_and(|start| chars[start..place].iter().map(char::to_ascii_lowercase).eq(word.chars()))
}

/// Whether a name of an emoji and its colon follow. Numbers alone are steps of a ladder.
fn emoji(rest: &[char]) -> bool {
    let length = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || "_+-".contains(**c)).count();
    rest.get(length) == Some(&':') && rest[..length].iter().any(|c| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    #[test]
    fn a_picture_shows_its_own_file_whatever_it_is_called() {
        for foreign in ["a", "x [l](javascript:1) [", "](y) ![z", "a\n\nb", "`", "<b>", "\\"] {
            let markdown = picture(&format!("chart of {foreign}"), &format!("plots/{foreign}.svg"));
            let pictures = events(&markdown).into_iter().filter_map(|event| match event {
                Event::Start(Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
                Event::Start(Tag::Link { .. }) => panic!("{markdown} has a link"),
                _ => None,
            });
            assert_eq!(pictures.collect::<Vec<_>>(), [format!("plots/{}.svg", text::line(foreign))], "{markdown}");
        }
    }

    /// Everything that CommonMark and its usual extensions can make of a text.
    fn events(markdown: &str) -> Vec<Event<'_>> {
        Parser::new_ext(markdown, Options::all() - Options::ENABLE_SMART_PUNCTUATION).collect()
    }

    fn words(events: &[Event<'_>]) -> String {
        let word = |event: &Event<'_>| match event {
            Event::Text(text) => text.to_string(),
            other => panic!("{other:?} is no text in {events:?}"),
        };
        events.iter().map(word).collect()
    }

    /// What a reader sees of it: what shows nothing is not looked at.
    fn visible(text: &str) -> String {
        text.replace('\u{200b}', "")
    }

    fn is_one_paragraph(foreign: &str) {
        let markdown = text(foreign);
        let events = events(&markdown);
        let expected = visible(text::line(foreign).trim());
        if visible(&markdown).is_empty() {
            return assert_eq!(expected, "");
        }
        let [Event::Start(Tag::Paragraph), inside @ .., Event::End(TagEnd::Paragraph)] = &events[..] else {
            panic!("{markdown:?} is no paragraph: {events:?}")
        };
        assert_eq!(visible(&words(inside)), expected, "{markdown:?}");
    }

    /// The first row of a table has it as one of its cells.
    fn is_one_cell(foreign: &str) {
        let markdown = format!("| a | b |\n|---|---|\n| {} | last |\n", text(foreign));
        let events = events(&markdown);
        let cells: Vec<String> = events
            .split(|e| *e == Event::Start(Tag::TableCell))
            .skip(1)
            .map(|cell| words(&cell[..cell.iter().position(|e| *e == Event::End(TagEnd::TableCell)).unwrap()]))
            .collect();
        let expected = visible(text::line(foreign).trim());
        assert_eq!(cells.iter().map(|c| visible(c)).collect::<Vec<_>>(), ["a", "b", &expected, "last"], "{markdown:?}");
    }

    #[test]
    fn what_looks_like_markup_is_words() {
        let all = [
            "# h",
            "- a",
            "+ a",
            "* a",
            "1. a",
            "12) a",
            "===",
            "---",
            "***",
            "___",
            "> q",
            "    code",
            "\tcode",
            "```x",
            "~~~",
            "a\n\n# b",
            "[l](https://evil.example)",
            "![i](x)",
            "[x]: y",
            "[^1]: y",
            "<b>",
            "<!-- x",
            "&amp;",
            "a | b",
            "\\",
            "a\\",
            "_a_",
            "__a__",
            "a_b_",
            "**a**",
            "~~a~~",
            "`a`",
            "$a$",
            ":---",
            "a  ",
            "<https://x>",
            "[ ] x",
            "{#id}",
            "^a^",
            "~a~",
            "[[wiki]]",
            "---\na: b\n---",
            ": d",
            "https://evil.example",
            "www.evil.example",
            "a@b.example",
            "@org/everyone",
            "#1",
            "org/x#1",
            "GH-1",
            ":tada:",
            "||a||",
            "> [!NOTE]",
        ];
        for foreign in all {
            is_one_paragraph(foreign);
            is_one_cell(foreign);
        }
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in [
            "read-4k-qd128-j1",
            "cpu_total_ns_per_op",
            "fio:matched",
            "without:fixed_buffers",
            "ladder:01:fast_path",
            "p99 in µs: 1.5 %",
            "6.18.44",
            "-5.1 %",
        ] {
            assert_eq!(text(name), name);
        }
        assert_eq!(
            text("see @org and x://c, #12, gh-7, :x:"),
            "see @&#8203;org and x:&#8203;//c, \\#&#8203;12, gh-&#8203;7, :&#8203;x:"
        );
        assert_eq!(text("a\nb\u{1b}[2J"), "a b\\\\x1b[2J");
        assert_eq!(text("lower by 5.0 % [-5.5, -4.5] (worse)"), "lower by 5.0 % [-5.5, -4.5] (worse)");
        assert_eq!((code("a_b"), code("a`b|c"), code("")), ("`a_b`".into(), "a\\`b\\|c".into(), String::new()));
        assert_eq!(fenced("ini", "```\n\u{1b}"), "````ini\n```\n\\x1b\n````");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn any_text_is_one_paragraph_with_the_same_words(foreign in "\\PC{0,12}|[-+*_=:.()#@|~`<>!&$^\\[\\]{}\\\\/ \t\na1w]{0,16}|.{0,12}") {
            is_one_paragraph(&foreign);
            is_one_cell(&foreign);
        }
    }
}
