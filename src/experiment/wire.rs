//! The file as written: serde types that mirror it and refuse unknown keys. What they mean is decided elsewhere.

use super::subject::{WireGate, WireSubject};
use super::{Design, FioConfig, Mode};
use crate::target::Kind;
use crate::workload::Cache;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    pub name: Spanned<String>,
    pub question: Spanned<String>,
    /// What `run --smoke` sets: KEY=VALUE of a run that only shows that everything works.
    #[serde(default)]
    pub smoke: Vec<String>,
    #[serde(default)]
    pub target: WireTargets,
    pub workload: WireWorkload,
    pub design: WireDesign,
    #[serde(default)]
    pub engine: WireEngine,
    #[serde(default)]
    pub fixed: BTreeMap<Spanned<String>, Spanned<Scalar>>,
    #[serde(default)]
    pub analysis: WireAnalysis,
    #[serde(default)]
    pub peers: WirePeers,
    #[serde(default)]
    pub profile: WireProfile,
    #[serde(default)]
    pub counters: WireCounters,
    #[serde(default)]
    pub claim: Vec<WireClaim>,
    pub subject: Option<WireSubject>,
    #[serde(default)]
    pub gate: WireGate,
}

/// `[[claim]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireClaim {
    pub text: Spanned<String>,
    pub toggle: Option<Spanned<String>>,
    /// The block size it speaks of; every one unless said.
    pub bs: Option<Spanned<Scalar>>,
    pub category: Option<Spanned<List>>,
    pub before_percent: Option<Spanned<[f64; 2]>>,
    pub after_percent: Option<Spanned<[f64; 2]>>,
    #[serde(default)]
    pub pays: bool,
    pub peer: Option<Spanned<String>>,
    pub ratio: Option<Spanned<[f64; 2]>>,
}

/// `[target]`, or several `[[target]]`.
pub struct WireTargets(pub Vec<WireTarget>);

impl Default for WireTargets {
    fn default() -> WireTargets {
        WireTargets(vec![WireTarget::default()])
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WireTarget {
    pub kind: Option<Kind>,
    pub path: Option<Spanned<PathBuf>>,
    pub size: Option<Spanned<Scalar>>,
    #[serde(default)]
    pub allow_iowq: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireWorkload {
    pub rw: Spanned<List>,
    pub bs: Spanned<List>,
    pub iodepth: Spanned<List>,
    pub numjobs: Option<Spanned<List>>,
    pub rwmixread: Option<Spanned<List>>,
    /// `uniform` or `zipf:THETA`.
    pub random_distribution: Option<Spanned<List>>,
    pub direct: Option<bool>,
    pub cache: Option<Cache>,
    /// Requests per second and job; 0 keeps the queue full.
    pub rate_iops: Option<Spanned<List>>,
    pub offset: Option<Spanned<Scalar>>,
    pub offset_increment: Option<Spanned<Scalar>>,
    /// Bytes of each job.
    pub size: Option<Spanned<Scalar>>,
    #[serde(default)]
    pub verify: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WireEngine {
    pub sqpoll_idle: Option<Spanned<Scalar>>,
    pub sqpoll_cpu: Option<u32>,
    #[serde(default)]
    pub cpus: Vec<u32>,
    pub numa_node: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireDesign {
    pub kind: Vec<Design>,
    pub toggles: Vec<Spanned<String>>,
    /// Toggles that are moved alone, one at a time, beside a full that does not have them.
    #[serde(default)]
    pub beside: Vec<Spanned<String>>,
    #[serde(default)]
    pub on: BTreeMap<Spanned<String>, Spanned<Scalar>>,
    /// What kind = "sweep" takes of each toggle.
    #[serde(default)]
    pub levels: BTreeMap<Spanned<String>, Spanned<List>>,
    /// What kind = "explicit" compares: levels by toggle, by name.
    #[serde(default)]
    pub treatments: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<Scalar>>>,
    pub mode: Option<Mode>,
    pub slice_time: Option<Spanned<Scalar>>,
    pub conditioning: Option<bool>,
    pub rounds: Option<Spanned<u32>>,
    pub round_time: Option<Spanned<Scalar>>,
    pub budget: Option<Spanned<Scalar>>,
    pub trial_time: Option<Spanned<Scalar>>,
    pub target_half_width: Option<Spanned<Scalar>>,
    pub seed: Option<u64>,
    #[serde(default)]
    pub strict: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WireAnalysis {
    pub delta: Option<Spanned<Scalar>>,
    pub alpha: Option<Spanned<f64>>,
    pub stall: Option<Spanned<Scalar>>,
    pub spin: Option<Spanned<Scalar>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WirePeers {
    #[serde(default)]
    pub fio: Vec<FioConfig>,
    pub fio_path: Option<PathBuf>,
    /// Path of fio's t/io_uring.
    pub t_io_uring: Option<PathBuf>,
    pub round_time: Option<Spanned<Scalar>>,
    pub whole_time: Option<Spanned<Scalar>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WireProfile {
    pub rounds: Option<Spanned<u32>>,
    pub frequency: Option<Spanned<u32>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WireCounters {
    pub rounds: Option<Spanned<u32>>,
}

/// A TOML string or integer, as text.
pub struct Scalar(pub String);

/// One scalar or a list of them.
pub struct List(pub Vec<String>);

impl<'de> Deserialize<'de> for WireTargets {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<WireTargets, D::Error> {
        d.deserialize_any(OneOrMany)
    }
}

/// Takes a table or an array of them as they come, so that each keeps its place in the file.
struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = WireTargets;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table [target] or several [[target]]")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WireTargets, A::Error> {
        WireTarget::deserialize(MapAccessDeserializer::new(map)).map(|one| WireTargets(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<WireTargets, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(WireTargets)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Scalar, D::Error> {
        scalar_text(toml::Value::deserialize(d)?).map(Scalar)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<List, D::Error> {
        match toml::Value::deserialize(d)? {
            toml::Value::Array(items) => items.into_iter().map(scalar_text).collect::<Result<_, _>>().map(List),
            value => scalar_text(value).map(|text| List(vec![text])),
        }
    }
}

fn scalar_text<E: serde::de::Error>(value: toml::Value) -> Result<String, E> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(n) => Ok(n.to_string()),
        other => Err(E::custom(format!("expected a string or an integer, found {}", other.type_str()))),
    }
}
