//! `[[claim]]`: what somebody says of a toggle or of a peer, in figures that a run can judge.

use super::wire::{Wire, WireClaim};
use super::{Error, FioConfig, Source};
use crate::limits;
use crate::perf::category;
use crate::text;
use crate::toggle::Toggle;
use crate::workload;
use serde::{Deserialize, Serialize};
use toml::Spanned;

/// A claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// In the words of whoever makes it.
    pub text: String,
    /// The key of the toggle it is about; `None` for all listed ones together.
    pub toggle: Option<String>,
    /// The block size it speaks of; `None` for every cell.
    pub block_size_bytes: Option<u32>,
    pub says: Says,
}

/// From and to, both included.
pub type Range = (f64, f64);

/// What a claim says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// These causes together take such a share of the CPU time, in percent: without the toggle, and with it. Of neither: the toggle shrinks
    /// what they take.
    Share { causes: Vec<String>, before: Option<Range>, after: Option<Range> },
    /// The toggle improves what counts, and not just within the margin.
    Pays,
    /// Our throughput over that of this peer.
    Ratio { peer: String, range: Range },
}

/// Validates a claim of an experiment.
pub fn read(source: &Source<'_>, claim: &WireClaim, wire: &Wire) -> Result<Claim, Error> {
    let says = match (&claim.category, claim.pays, &claim.peer) {
        (Some(causes), false, None) => Says::Share {
            causes: source.list("[[claim]] category", causes, cause)?,
            before: percent(source, "[[claim]] before_percent", claim.before_percent.as_ref())?,
            after: percent(source, "[[claim]] after_percent", claim.after_percent.as_ref())?,
        },
        (None, true, None) => Says::Pays,
        (None, false, Some(peer)) => Says::Ratio {
            peer: source.read("[[claim]] peer", peer, |name| known_peer(name, wire))?,
            range: range(source, "[[claim]] ratio", claim.ratio.as_ref(), f64::MAX)?
                .ok_or_else(|| source.fail(peer.span(), "[[claim]] peer needs ratio = [from, to], ours over the peer's"))?,
        },
        _ => return Err(source.fail(claim.text.span(), "[[claim]] says one thing: category, pays = true, or peer")),
    };
    let idle = [
        ("before_percent", "category", claim.before_percent.as_ref(), claim.category.is_some()),
        ("after_percent", "category", claim.after_percent.as_ref(), claim.category.is_some()),
        ("ratio", "peer", claim.ratio.as_ref(), claim.peer.is_some()),
    ];
    if let Some((key, wants, value, _)) = idle.into_iter().find(|(_, _, value, used)| value.is_some() && !used) {
        let place = value.map_or(claim.text.span(), Spanned::span);
        return Err(source.fail(place, format!("[[claim]] {key} says something of {wants} alone, and there is none")));
    }
    if let (Some(toggle), Says::Ratio { .. }) = (&claim.toggle, &says) {
        return Err(source.fail(toggle.span(), "[[claim]] peer is compared with full: leave toggle out"));
    }
    let toggle = claim.toggle.as_ref().map(|t| source.read("[[claim]] toggle", t, |key| listed(key, wire))).transpose()?;
    let block_size_bytes =
        claim.bs.as_ref().map(|bs| source.read("[[claim]] bs", bs, |t| workload::block_size(&t.0))).transpose()?;
    let text = source.read("[[claim]] text", &claim.text, |t| text::words(t, limits::SENTENCE))?;
    Ok(Claim { text, toggle, block_size_bytes, says })
}

fn cause(name: &str) -> Result<String, String> {
    let known = category::names();
    if known.contains(&name) {
        Ok(name.into())
    } else {
        Err(format!("{name:?} is no cause; causes are: {}", known.into_iter().collect::<Vec<_>>().join(", ")))
    }
}

fn known_peer(name: &str, wire: &Wire) -> Result<String, String> {
    let fio = FioConfig::ALL.into_iter().filter(|c| wire.peers.fio.contains(c)).map(FioConfig::treatment);
    let known: Vec<&str> = fio.chain(wire.peers.t_io_uring.iter().map(|_| "t_io_uring")).collect();
    match known.as_slice() {
        known if known.contains(&name) => Ok(name.into()),
        [] => Err(format!("{name:?} is not among [peers], which lists none")),
        known => Err(format!("{name:?} is not among [peers]: {}", known.join(", "))),
    }
}

fn listed(key: &str, wire: &Wire) -> Result<String, String> {
    let toggle = Toggle::parse(key).map_err(|e| e.to_string())?;
    let listed = wire.design.toggles.iter().chain(&wire.design.beside).any(|t| t.get_ref() == key);
    if listed { Ok(toggle.key().into()) } else { Err(format!("{key} is neither among [design] toggles nor beside")) }
}

fn percent(source: &Source<'_>, key: &str, value: Option<&Spanned<[f64; 2]>>) -> Result<Option<Range>, Error> {
    range(source, key, value, 100.0)
}

fn range(source: &Source<'_>, key: &str, value: Option<&Spanned<[f64; 2]>>, most: f64) -> Result<Option<Range>, Error> {
    let read = |&[from, to]: &[f64; 2]| {
        if 0.0 <= from && from <= to && to <= most {
            Ok((from, to))
        } else {
            Err(format!(
                "[{from}, {to}] must go from a number to one that is no smaller, from 0{}",
                if most > 100.0 { "" } else { " to 100" }
            ))
        }
    };
    value.map(|v| source.read(key, v, read)).transpose()
}
