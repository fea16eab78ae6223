//! Reads figures from what other programs print: the JSON documents among other lines, and whole numbers with their units.
//!
//! What could be read in two ways is refused: half a number, a number whose unit is another one than was said, and one of several documents.

use serde_json::Value;
use std::ops::Range;

/// The JSON objects and arrays in a text, past any lines around them.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let (mut found, mut at) = (Vec::new(), 0);
    let bracket = |at: usize| text.as_bytes()[at..].iter().position(|byte| b"{[".contains(byte));
    while let Some(start) = bracket(at).map(|n| at + n) {
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at = start + values.byte_offset();
                found.push(value);
            }
            // Nothing behind it can be told from its parts.
            Some(Err(error)) if error.is_eof() && begins_a_line(text, start) => return Err(format!("its JSON is torn: {error}")),
            // Neither can anything inside of it: the pointer would be found at another level.
            Some(Err(error)) if begins_a_line(text, start) && names_a_key(&text[start..]) => {
                return Err(format!("its JSON is broken: {error}"));
            }
            // An ordinary line. On behind what was read of it, so that a text is read once.
            Some(Err(error)) => {
                at = (start + position(&text[start..], error.line(), error.column())).clamp(start + 1, text.len())
            }
            None => at = start + 1,
        }
    }
    Ok(found)
}

/// True for what begins as an object does.
fn names_a_key(text: &str) -> bool {
    text.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'))
}

/// The byte at a line and column, which are counted from 1.
fn position(text: &str, line: usize, column: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>() + column.saturating_sub(1)
}

fn begins_a_line(text: &str, at: usize) -> bool {
    text[..at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty())
}

/// Where a pattern matched, and its group in that.
#[derive(Clone, Debug)]
pub struct Match {
    pub whole: Range<usize>,
    pub group: Range<usize>,
}

/// The number in the group, in `unit`. A prefix or another unit of the same quantity converts it: `1.00k` is 1000, and `2ms` is 2000 where the unit
/// is `us`. Where nothing of the pattern stands beside the group, the number must not go on there.
pub fn number(text: &str, found: &Match, unit: &str) -> Result<f64, String> {
    let said = &text[found.group.clone()];
    if let Some(whole) = cut(text, found) {
        return Err(format!("{said:?} is part of {whole:?}: match the whole number"));
    }
    let end = said.find(|c: char| !(c.is_ascii_digit() || "+-.,eE".contains(c))).unwrap_or(said.len());
    let plain = said[..end].trim_end_matches(['e', 'E']);
    let value = if plain.is_empty() { Err(format!("{said:?} is no number")) } else { value(plain) }?;
    let inside = said[plain.len()..].trim();
    let (suffix, attached) = if inside.is_empty() { word(&text[found.group.end..]) } else { (inside, true) };
    let scale = match scale(suffix, unit) {
        Some(scale) => scale,
        None if !attached || (inside.is_empty() && found.whole.end > found.group.end) => 1.0,
        None if unit.is_empty() => {
            return Err(format!("{plain:?} goes on with {suffix:?}: say what it is with unit = {suffix:?}"));
        }
        None => return Err(format!("{plain:?} goes on with {suffix:?}, and unit = {unit:?} is another one")),
    };
    let figure = value * scale;
    if figure.is_finite() { Ok(figure) } else { Err(format!("{said:?} is no finite number")) }
}

/// The number of which the group holds a part only.
fn cut<'a>(text: &'a str, Match { whole, group }: &Match) -> Option<&'a str> {
    let (before, said, after) = (&text[..group.start], &text[group.clone()], &text[group.end..]);
    let in_number = |c: char| c.is_ascii_digit() || ".,".contains(c);
    if !(said.trim_start_matches(['+', '-']).starts_with(in_number) && said.ends_with(in_number)) {
        return None;
    }
    let head = if whole.start == group.start { head(before, in_number) } else { 0 };
    let tail = if whole.end == group.end { tail(after, in_number) } else { 0 };
    (head + tail > 0).then(|| &text[group.start - head..group.end + tail])
}

/// Bytes at the end of a text that belong to a number which goes on behind it.
fn head(before: &str, in_number: impl Fn(char) -> bool) -> usize {
    let rest = before.trim_end_matches(in_number);
    let part = &before[rest.len()..];
    // A minus behind a letter or digit is a dash.
    let negative = rest.strip_suffix('-').is_some_and(|rest| !rest.ends_with(char::is_alphanumeric));
    let belongs = part.ends_with('.') || part.contains(|c: char| c.is_ascii_digit());
    if negative {
        before.len() - rest.len() + 1
    } else if belongs {
        part.len()
    } else {
        0
    }
}

/// The same at the beginning of what follows. A comma or a full stop alone ends a sentence.
fn tail(after: &str, in_number: impl Fn(char) -> bool) -> usize {
    let part = &after[..after.len() - after.trim_start_matches(in_number).len()];
    let exponent = exponent(&after[part.len()..]);
    if exponent > 0 || part.contains(|c: char| c.is_ascii_digit()) { part.len() + exponent } else { 0 }
}

/// Length of the exponent that a text begins with.
fn exponent(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 { 0 } else { text.len() - rest.len() + end }
}

/// A decimal number. Commas are read where they can only group thousands.
fn value(said: &str) -> Result<f64, String> {
    let fail = || format!("{said:?} is no number");
    let whole = said.split(['.', 'e', 'E']).next().unwrap_or_default();
    let plain = if whole.contains(',') { grouped(said, whole)? } else { said.to_string() };
    // Rust also reads "inf" and "nan", of which no letter but e comes this far.
    plain.parse::<f64>().map_err(|_| fail())
}

fn grouped(said: &str, whole: &str) -> Result<String, String> {
    let groups: Vec<&str> = whole.trim_start_matches(['+', '-']).split(',').collect();
    let thousands = groups[1..].iter().all(|g| g.len() == 3) && (1..=3).contains(&groups[0].len());
    match (thousands, groups.len() > 2 || said.len() > whole.len()) {
        (true, true) => Ok(said.replace(',', "")),
        (true, false) => Err(format!("{said:?} may be a fraction or thousands: have it printed without the comma (LC_ALL=C)")),
        _ => Err(format!("{said:?} is no number")),
    }
}

/// The word behind a number, and whether it follows without a space.
fn word(after: &str) -> (&str, bool) {
    let attached = !after.starts_with([' ', '\t']);
    let rest = after.trim_start_matches([' ', '\t']);
    let end = rest.find(|c: char| !(c.is_alphanumeric() || "/%".contains(c))).unwrap_or(rest.len());
    (&rest[..end], attached)
}

/// By what a number with this suffix is multiplied to be in `unit`; `None` where the two do not measure the same.
fn scale(suffix: &str, unit: &str) -> Option<f64> {
    if suffix.is_empty() || suffix == unit {
        return Some(1.0);
    }
    let bare = PREFIXES.iter().find(|(prefix, _)| *prefix == suffix);
    if let Some((_, factor)) = bare.filter(|(_, factor)| *factor > 1.0) {
        return Some(*factor);
    }
    let ((from, base), (to, other)) = (factor(suffix), factor(unit));
    (base == other && !unit.is_empty()).then_some(from / to)
}

/// Binary ones first, of which the decimal ones are beginnings.
const PREFIXES: [(&str, f64); 14] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("k", 1e3),
    ("K", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("n", 1e-9),
    ("u", 1e-6),
    ("µ", 1e-6),
    ("μ", 1e-6),
    ("m", 1e-3),
];

/// A unit as a factor and what it is a multiple of. Small prefixes are of seconds only: `min` and `nvme` have none.
fn factor(unit: &str) -> (f64, &str) {
    let seconds = |base: &str| matches!(base, "s" | "sec" | "secs" | "second" | "seconds");
    for (prefix, factor) in PREFIXES {
        if let Some(base) = unit.strip_prefix(prefix).filter(|base| !base.is_empty() && (factor > 1.0 || seconds(base))) {
            return (factor, if seconds(base) { "s" } else { base });
        }
    }
    (1.0, if seconds(unit) { "s" } else { unit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    /// What the group of a pattern finds.
    fn found(pattern: &str, text: &str, unit: &str) -> Result<f64, String> {
        let found = Regex::new(pattern).unwrap().captures(text).unwrap();
        number(text, &Match { whole: found.get_match().range(), group: found.get(1).unwrap().range() }, unit)
    }

    #[test]
    fn documents_are_found_among_other_lines() {
        let many = |text: &str| documents(text).unwrap().len();
        assert_eq!(many("[ 1s ] thds: 4 {x}\n{\"a\": [1]}\n[info] done {\n"), 1);
        assert_eq!(many("{\"a\":1}\n{\"a\":2}\n"), 2);
        assert_eq!(many("2026 INFO {\"a\":1} took 3 s"), 1);
        assert_eq!(many("nothing"), 0);
        assert!(documents("log\n{\"a\": {\"b\": 1}, \"c\": ").unwrap_err().contains("torn"));
        assert!(
            documents("{\"sd\": NaN, \"read\": {\"iops\": 50}, \"iops\": 100}").unwrap_err().contains("broken"),
            "50 is not the one"
        );
    }

    #[test]
    fn a_number_is_read_whole_or_not_at_all() {
        assert_eq!(found("tps = ([0-9.]+)", "tps = 1234.5 (x)", ""), Ok(1234.5));
        assert_eq!(found(r"tps = (\S+)", "tps = 1,234.5", ""), Ok(1234.5));
        assert_eq!(found(r"tps = (\S+)", "tps = 1,234,567", ""), Ok(1_234_567.0));
        assert_eq!(found("x=([0-9.eE+-]+)", "x=1.5e+3 y", ""), Ok(1500.0));
        assert_eq!(found("x: ([0-9.]+)", "x: 7.\n", ""), Ok(7.0));
        for (pattern, text, why) in [
            ("tps = ([0-9.]+)", "tps = 1,234.5", "\"1\" is part of \"1,234.5\""),
            ("tps = ([0-9.]+)", "tps = 1e5", "\"1\" is part of \"1e5\""),
            ("([0-9]+) tps", "12.5 tps", "\"5\" is part of \"12.5\""),
            ("([0-9.]+) tps", "x -12.5 tps", "\"12.5\" is part of \"-12.5\""),
            ("tps = ([0-9]+)", "tps = 12.5", "\"12\" is part of \"12.5\""),
            (r"tps = (\S+)", "tps = 1,234", "may be a fraction or thousands"),
            (r"tps = (\S+)", "tps = inf", "is no number"),
            (r"tps = (\S+)", "tps = NaN", "is no number"),
            (r"tps = (\S+)", "tps = 1e999", "no finite number"),
            (r"tps = (\S*)", "tps = ", "is no number"),
        ] {
            let said = found(pattern, text, "").unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn prefixes_and_units_convert_what_they_belong_to() {
        for (text, unit, right) in [
            ("IOPS=1.00k,", "IOPS", 1000.0),
            ("IOPS=1.5MIOPS", "IOPS", 1.5e6),
            ("bw=4MiB/s (4194kB/s)", "KiB/s", 4096.0),
            ("bw=4MiB/s", "MiB/s", 4.0),
            ("lat=250us", "ms", 0.25),
            ("lat=250 usec avg", "ms", 0.25),
            ("lat=2 ms", "ms", 2.0),
            ("tps=12 (excluding connections)", "1/s", 12.0),
            ("tps=12 transactions", "1/s", 12.0),
            ("load=12%", "%", 12.0),
            ("x=12ms", "s", 0.012),
        ] {
            let read = found("=([0-9.]+)", text, unit).unwrap();
            assert!((read / right - 1.0).abs() < 1e-12, "{text} in {unit}: {read}");
        }
        assert_eq!(found("=([0-9.]+)ms", "x=12ms", ""), Ok(12.0), "the pattern says what follows");
        assert_eq!(found("12,([0-9]+),", "12,345,678", ""), Ok(345.0), "and what separates columns");
        assert!(found(r"took (\S+) total", "took 1m30s total", "s").unwrap_err().contains("another one"));
        assert!(found("=([-+]?[0-9]+)", "x=+12.5", "").unwrap_err().contains("part of \"+12.5\""));
        assert!(found("=([0-9.]+)", "x=12ms", "").unwrap_err().contains("unit = \"ms\""));
        assert!(found("=([0-9.]+)", "x=12min", "s").unwrap_err().contains("another one"));
        assert!(found("=([0-9.]+)", "x=12%", "ms").unwrap_err().contains("another one"));
    }
}
