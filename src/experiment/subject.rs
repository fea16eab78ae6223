//! `[subject]` and `[gate]`: what `nightly` compares where it is not this program's engine, and what a night is to find.

use super::wire::Scalar;
use super::{Error, Source, not_too_many};
use crate::limits;
use crate::nightly::gate::LEAST_ROUNDS;
use crate::nightly::row::Better;
use crate::printed::{self, Match};
use crate::text;
use crate::units;
use regex::Regex;
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

/// `[subject]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireSubject {
    pub command: Spanned<Vec<String>>,
    /// `"counters"`, or a table.
    pub metric: Option<Spanned<toml::Value>>,
    /// Longest time of a run of its own.
    pub limit: Option<Spanned<Scalar>>,
}

/// `metric = { ... }`: where to find a figure in what the command prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePrinted {
    json: Option<String>,
    text: Option<String>,
    which: Option<Which>,
    /// How it is called in tables; what it is found by, unless said.
    name: Option<String>,
    #[serde(default)]
    unit: String,
    better: Better,
}

/// `[gate]` as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WireGate {
    pub find: Option<Spanned<Scalar>>,
    pub most_rounds: Option<Spanned<u32>>,
}

/// `[gate]`: what a night must be able to find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// A night that finds a change of this size, a fraction, less often than with probability .8 is inconclusive where it raises no alarm.
    pub find: f64,
    /// Rounds of a second run at most.
    pub most_rounds: u32,
}

/// Any command, in place of this program's engine.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its words. `{program}` stands for the reference or the candidate, `{target}` for the target's path.
    pub command: Vec<String>,
    pub metric: SubjectMetric,
    pub limit: Duration,
}

/// Where a figure of a command comes from.
#[derive(Clone, Debug)]
pub enum SubjectMetric {
    /// The command runs for ever and is measured in slices: operations by the device's counter, CPU time by its control group.
    Counters,
    /// It ends, and prints the figure.
    Printed { find: Find, name: String, unit: String, better: Better },
}

/// How a figure is found in what was printed.
#[derive(Clone, Debug)]
pub struct Find {
    pub by: By,
    /// Of several; without it there must be one.
    pub which: Option<Which>,
}

/// What a figure is found by.
#[derive(Clone, Debug)]
pub enum By {
    /// JSON pointer (RFC 6901) into an object or array.
    Json(String),
    /// Regular expression with one group.
    Text(Regex),
}

/// `which` of several matches counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    First,
    Last,
}

impl Find {
    /// The figure in `unit`, or what was found in its place.
    pub fn figure(&self, printed: &str, unit: &str) -> Result<f64, String> {
        match &self.by {
            By::Json(pointer) => {
                let documents = printed::documents(printed)?;
                if documents.is_empty() {
                    return Err("it printed no JSON".into());
                }
                let found: Vec<_> = documents.iter().filter_map(|document| document.pointer(pointer)).collect();
                let found =
                    self.one(&found, &format!("{pointer:?}"))?.ok_or_else(|| format!("its JSON has nothing at {pointer:?}"))?;
                found.as_f64().ok_or_else(|| format!("its JSON has {found} at {pointer:?}, which is no number"))
            }
            By::Text(pattern) => {
                let found: Vec<Match> = pattern.captures_iter(printed).filter_map(|found| matched(&found)).collect();
                let found = self.one(&found, &format!("/{pattern}/"))?.ok_or_else(|| format!("nothing matches /{pattern}/"))?;
                printed::number(printed, found, unit).map_err(|reason| format!("/{pattern}/: {reason}"))
            }
        }
    }

    /// The match that counts.
    fn one<'a, T>(&self, found: &'a [T], by: &str) -> Result<Option<&'a T>, String> {
        match (self.which, found) {
            (None, [_, _, ..]) => Err(format!(
                "{by} is found {} times: have it match the one that counts, or say which = \"first\" or which = \"last\" in [subject] metric",
                found.len()
            )),
            (Some(Which::Last), _) => Ok(found.last()),
            _ => Ok(found.first()),
        }
    }
}

fn matched(found: &regex::Captures<'_>) -> Option<Match> {
    Some(Match { whole: found.get_match().range(), group: found.get(1)?.range() })
}

/// Longest time of a run unless said.
const USUAL_LIMIT: Duration = Duration::from_secs(60);
/// More rounds of a second run are not taken unasked.
const USUAL_MOST: u32 = 96;

pub(super) fn gate(source: &Source<'_>, wire: &WireGate, delta: f64) -> Result<Gate, Error> {
    let find = wire.find.as_ref().map(|v| source.read("[gate] find", v, |t| units::percent(&t.0))).transpose()?;
    let most = wire.most_rounds.as_ref().map(|v| source.read("[gate] most_rounds", v, |n| enough(*n))).transpose()?;
    Ok(Gate { find: find.unwrap_or(2.0 * delta), most_rounds: most.unwrap_or(USUAL_MOST) })
}

pub(super) fn subject(source: &Source<'_>, wire: &WireSubject) -> Result<Subject, Error> {
    let command = source.read("[subject] command", &wire.command, |words| words_of(words))?;
    let metric = wire.metric.as_ref().map_or(Ok(SubjectMetric::Counters), |m| source.read("[subject] metric", m, metric))?;
    if matches!(metric, SubjectMetric::Counters) && !command.iter().any(|w| w.contains("{target}")) {
        let message =
            "[subject] metric = \"counters\" counts what is moved on the target: put {target} where its path belongs in command";
        return Err(source.fail(wire.command.span(), message));
    }
    Ok(Subject { command, metric, limit: source.duration("[subject] limit", wire.limit.as_ref(), USUAL_LIMIT)? })
}

fn enough(rounds: u32) -> Result<u32, String> {
    if rounds >= LEAST_ROUNDS {
        not_too_many(rounds)
    } else {
        Err(format!("{rounds} must be at least {LEAST_ROUNDS}: fewer tell nothing"))
    }
}

fn words_of(words: &[String]) -> Result<Vec<String>, &'static str> {
    match words {
        [first, ..] if !first.is_empty() && words.iter().any(|w| w.contains("{program}")) => Ok(words.to_vec()),
        [first, ..] if !first.is_empty() => Err("put {program} where --reference and --candidate belong"),
        _ => Err("lists nothing; write its words, for example [\"{program}\", \"--runtime=5\"]"),
    }
}

fn metric(wire: &toml::Value) -> Result<SubjectMetric, String> {
    const NEITHER: &str = "is neither \"counters\" nor a table such as { json = \"/iops\", better = \"higher\" }";
    let printed = match wire {
        toml::Value::String(name) if name == "counters" => return Ok(SubjectMetric::Counters),
        toml::Value::Table(_) => WirePrinted::deserialize(wire.clone()).map_err(|e| e.message().to_string())?,
        other => return Err(format!("{other} {NEITHER}")),
    };
    let (by, found_by) = match (printed.json, printed.text) {
        (Some(pointer), None) => (By::Json(pointer.clone()), pointer),
        (None, Some(pattern)) => (By::Text(expression(&pattern)?), pattern),
        _ => return Err("name one of json and text".into()),
    };
    let name = text::words(&printed.name.unwrap_or(found_by), limits::LABEL).map_err(|e| format!("name: {e}"))?;
    let unit = text::words(&printed.unit, limits::UNIT).map_err(|e| format!("unit: {e}"))?;
    Ok(SubjectMetric::Printed { find: Find { by, which: printed.which }, name, unit, better: printed.better })
}

fn expression(pattern: &str) -> Result<Regex, String> {
    let compiled = Regex::new(pattern).map_err(|e| e.to_string())?;
    if compiled.captures_len() == 2 { Ok(compiled) } else { Err(format!("{pattern} needs one group: the number in parentheses")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(pointer: &str, which: Option<Which>) -> Find {
        Find { by: By::Json(pointer.into()), which }
    }

    #[test]
    fn figures_are_found_where_they_are_said_to_be() {
        let iops = json("/jobs/0/read/iops", None);
        assert_eq!(iops.figure("fio: note\n{\"jobs\":[{\"read\":{\"iops\":12.5}}]}\ntrailing", ""), Ok(12.5));
        assert!(iops.figure("{\"jobs\":[]}", "").unwrap_err().contains("nothing at"));
        assert!(iops.figure("nothing", "").unwrap_err().contains("no JSON"));
        let text = Find { by: By::Text(expression(r"tps = ([0-9.]+)").unwrap()), which: None };
        assert_eq!(text.figure("latency 3 ms\ntps = 1234.5 (without)", ""), Ok(1234.5));
        assert!(text.figure("tps: none", "").unwrap_err().contains("nothing matches"));
        assert!(expression("tps").unwrap_err().contains("one group"));
    }

    #[test]
    fn of_several_figures_the_user_says_which() {
        let lines = "[ 1s ] tps: 310.01\n[ 2s ] tps: 505.51\n";
        let text = |which| Find { by: By::Text(expression("tps: ([0-9.]+)").unwrap()), which }.figure(lines, "1/s");
        let said = text(None).unwrap_err();
        assert!(said.contains("2 times") && said.contains("which = \"last\""), "{said}");
        assert_eq!((text(Some(Which::First)), text(Some(Which::Last))), (Ok(310.01), Ok(505.51)));
        let documents = "{\"iops\": 1}\n[ 2s ] half way\n{\"iops\": 2}\n{\"other\": 3}\n";
        assert!(json("/iops", None).figure(documents, "").unwrap_err().contains("2 times"));
        assert_eq!(json("/iops", Some(Which::Last)).figure(documents, ""), Ok(2.0));
        assert_eq!(json("/other", None).figure(documents, ""), Ok(3.0));
    }
}
