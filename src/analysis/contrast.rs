//! Which treatments are compared, and the log ratio of two treatments inside one round.

use super::load::Trial;
use super::signed_rank::{hodges_lehmann, sd};
use std::collections::{BTreeMap, HashSet};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Iops,
    CpuPerOp,
}

impl Metric {
    pub const ALL: [Metric; 2] = [Metric::Iops, Metric::CpuPerOp];

    /// As in `effects.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Iops => "iops",
            Metric::CpuPerOp => "cpu_total_ns_per_op",
        }
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Iops => "IOPS",
            Metric::CpuPerOp => "CPU time per operation",
        }
    }

    /// +1 where more is better, -1 where less is.
    pub fn sign(self) -> f64 {
        if self == Metric::Iops { 1.0 } else { -1.0 }
    }

    /// Of totals over weighted slices; `None` where something was not measured or nothing happened.
    fn of(self, slices: &[Weighted<'_>]) -> Option<f64> {
        let ops: f64 = slices.iter().map(|(w, t)| w * t.ops).sum();
        let value = match self {
            Metric::Iops => ops / slices.iter().map(|(w, t)| w * t.duration_s).sum::<f64>(),
            Metric::CpuPerOp => slices.iter().map(|(w, t)| Some(w * t.cpu_total_ns?)).sum::<Option<f64>>()? / ops,
        };
        (value.is_finite() && value > 0.0).then_some(value)
    }
}

/// A slice and how much it counts.
type Weighted<'a> = (f64, &'a Trial);

/// A comparison: `treatment` over `reference`, always with the toggle over without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contrast {
    pub kind: &'static str,
    pub toggle: String,
    pub treatment: String,
    pub reference: String,
}

impl Contrast {
    /// Name for tables: kind and toggle, or the two treatments.
    pub fn name(&self) -> String {
        if self.toggle.is_empty() {
            format!("{}/{}", self.treatment, self.reference)
        } else {
            format!("{}:{}", self.kind, self.toggle)
        }
    }

    /// Both have the same name and kind, though a toggle may have been compared by other treatments.
    pub fn is_named_as(&self, other: &Contrast) -> bool {
        let treatments = (&self.treatment, &self.reference) == (&other.treatment, &other.reference);
        self.kind == other.kind && self.toggle == other.toggle && (treatments || !self.toggle.is_empty())
    }
}

/// Kinds that are confirmed as one family; the treatments of `without:`, `with:`, `only:` and `explicit:` give them.
pub const FAMILY: [&str; 3] = ["leave-one-out", "add-one-in", "explicit"];
/// What the names of their treatments begin with.
pub const CONFIRMED: [&str; 4] = ["without", "with", "only", "explicit"];

/// Kinds that are only looked at, each adjusted for the share of false ones among those found.
pub const LOOKED_AT: [&str; 7] = ["ladder", "ladder-reverse", "sweep", "main", "shapley", "interaction", "context"];

/// The contrasts that the treatments at hand allow, in the order of `treatments`.
pub fn contrasts(treatments: &[String]) -> Vec<Contrast> {
    let new = |kind, toggle: &str, treatment: &str, reference: &str| Contrast {
        kind,
        toggle: toggle.into(),
        treatment: treatment.into(),
        reference: reference.into(),
    };
    let mut found = vec![new("total", "", "full", "baseline")];
    let mut below =
        [("ladder", "ladder"), ("reverse", "ladder-reverse")].map(|(name, kind)| (name, kind, "baseline".to_string()));
    for name in treatments {
        match name.split_once(':') {
            Some(("without", toggle)) => found.push(new("leave-one-out", toggle, "full", name)),
            // A toggle that full does not have, all others on.
            Some(("with", toggle)) => found.push(new("leave-one-out", toggle, name, "full")),
            Some(("level", level)) => found.push(new("sweep", level, name, "full")),
            Some(("only", toggle)) => found.push(new("add-one-in", toggle, name, "baseline")),
            Some(("fio", _)) => found.push(new("peer", "", "full", name)),
            Some(("explicit", chosen)) => found.push(new("explicit", chosen, name, "baseline")),
            Some((climbs @ ("ladder" | "reverse"), step)) => {
                let (_, kind, below) = below.iter_mut().find(|(name, ..)| *name == climbs).expect("one of the two");
                found.push(new(*kind, step.split_once(':').map_or(step, |(_, t)| t), name, below));
                below.clone_from(name);
            }
            _ if name == "t_io_uring" => found.push(new("peer", "", "full", name)),
            _ if name == "placebo" => found.push(new("placebo", "", name, "full")),
            _ if name == "stall" => found.push(new("stall", "", name, "full")),
            _ if name == "spin" => found.push(new("spin", "", name, "full")),
            _ => {}
        }
    }
    for (_, kind, below) in below.iter().filter(|(.., below)| below != "baseline") {
        found.push(new(*kind, "last step", "full", below));
    }
    let known: HashSet<&String> = treatments.iter().collect();
    found.retain(|c| known.contains(&c.treatment) && known.contains(&c.reference));
    found
}

/// What one round says of one contrast and metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundRatio {
    /// Log ratio of the totals.
    pub log: f64,
    /// Hodges-Lehmann over the blocks of the round: the robust second opinion.
    pub robust: f64,
    pub blocks: usize,
    /// Standard deviation of the blocks' log ratios; `None` of a single block.
    pub block_sd: Option<f64>,
}

/// Compares two treatments inside a round, block by block.
///
/// Where one of them stands more often in a block than the other, its slices count by nearness: noise is the less alike the further apart
/// two slices lie, yet each further slice of the reference takes noise out of the comparison. Against the nearest alone this narrows the
/// intervals by about a seventh.
pub fn in_round(treatment: &[&Trial], reference: &[&Trial], metric: Metric) -> Option<RoundRatio> {
    let (x, r) = (by_block(treatment), by_block(reference));
    let both = x.iter().filter_map(|(block, xs)| Some((xs, r.get(block)?)));
    let (xs, rs): (Vec<_>, Vec<_>) = both.map(|(xs, rs)| (by_nearness(xs, rs), by_nearness(rs, xs))).unzip();
    let ratio = |xs: &[Weighted<'_>], rs: &[Weighted<'_>]| Some((metric.of(xs)? / metric.of(rs)?).ln());
    let blocks: Vec<f64> = xs.iter().zip(&rs).filter_map(|(x, r)| ratio(x, r)).collect();
    Some(RoundRatio {
        log: ratio(&xs.concat(), &rs.concat())?,
        robust: hodges_lehmann(&blocks)?,
        blocks: blocks.len(),
        block_sd: sd(&blocks),
    })
}

/// The metric over all these slices; `None` where something was not measured or nothing happened.
pub fn totals(trials: &[&Trial], metric: Metric) -> Option<f64> {
    metric.of(&trials.iter().map(|t| (1.0, *t)).collect::<Vec<_>>())
}

fn by_block<'a>(trials: &[&'a Trial]) -> BTreeMap<u32, Vec<&'a Trial>> {
    let mut blocks: BTreeMap<u32, Vec<&Trial>> = BTreeMap::new();
    trials.iter().for_each(|t| blocks.entry(t.block).or_default().push(t));
    blocks
}

/// The slices of one side with their weights: 1 each, unless there are more of them than on the `other` side. Then each of the others
/// shares out a weight of 1, in proportion to the inverse of the distance in the block.
fn by_nearness<'a>(side: &[&'a Trial], other: &[&Trial]) -> Vec<Weighted<'a>> {
    if side.len() <= other.len() {
        return side.iter().map(|t| (1.0, *t)).collect();
    }
    let nearness = |a: &Trial, b: &Trial| 1.0 / f64::from(a.position.abs_diff(b.position).max(1));
    let sums: Vec<f64> = other.iter().map(|x| side.iter().map(|t| nearness(t, x)).sum()).collect();
    let weight = |t: &Trial| other.iter().zip(&sums).map(|(x, sum)| nearness(t, x) / sum).sum();
    side.iter().map(|t| (weight(t), *t)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(block: u32, position: u32, duration_s: f64) -> Trial {
        Trial { round: 1, treatment: 0, block, position, duration_s, ops: 100.0, cpu_total_ns: Some(duration_s * 1e9) }
    }

    #[test]
    fn references_count_by_nearness() {
        let references = [trial(0, 4, 2.0), trial(0, 6, 5.0), trial(0, 9, 8.0)];
        let arm = [trial(0, 5, 1.0)];
        let (arm, references): (Vec<&Trial>, Vec<&Trial>) = (arm.iter().collect(), references.iter().collect());
        // Distances 1, 1 and 4: weights 4/9, 4/9 and 1/9, so 36/9 s in all; the arm took 1 s.
        let ratio = in_round(&arm, &references, Metric::Iops).unwrap();
        assert!((ratio.log - 4_f64.ln()).abs() < 1e-12 && ratio.blocks == 1, "{ratio:?}");
        let turned = in_round(&references, &arm, Metric::Iops).unwrap();
        assert!((turned.log + 4_f64.ln()).abs() < 1e-12, "the same the other way round");
        let cpu = in_round(&arm, &references, Metric::CpuPerOp).unwrap();
        assert!((cpu.log + 4_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_block_that_one_side_missed_does_not_count() {
        let (arm, references) = ([trial(0, 0, 1.0), trial(1, 0, 1.0)], [trial(1, 1, 3.0), trial(2, 0, 9.0)]);
        let ratio = in_round(&arm.iter().collect::<Vec<_>>(), &references.iter().collect::<Vec<_>>(), Metric::Iops).unwrap();
        assert!((ratio.log - 3_f64.ln()).abs() < 1e-12 && ratio.blocks == 1, "{ratio:?}");
    }

    #[test]
    fn the_headline_is_the_ratio_of_totals() {
        let (a, b) = ([trial(0, 0, 1.0), trial(1, 0, 9.0)], [trial(0, 1, 2.0), trial(1, 1, 3.0)]);
        let ratio = in_round(&a.iter().collect::<Vec<_>>(), &b.iter().collect::<Vec<_>>(), Metric::Iops).unwrap();
        assert!((ratio.log - 0.5_f64.ln()).abs() < 1e-12, "10 s against 5 s");
    }

    #[test]
    fn contrasts_follow_from_the_names() {
        let names: Vec<String> = ["baseline", "full", "placebo", "without:a", "only:a", "ladder:1:a", "ladder:2:b", "fio:tuned"]
            .map(String::from)
            .to_vec();
        let text: Vec<String> = contrasts(&names).iter().map(|c| format!("{} {}/{}", c.kind, c.treatment, c.reference)).collect();
        let expected = [
            "total full/baseline",
            "placebo placebo/full",
            "leave-one-out full/without:a",
            "add-one-in only:a/baseline",
            "ladder ladder:1:a/baseline",
            "ladder ladder:2:b/ladder:1:a",
            "peer full/fio:tuned",
            "ladder full/ladder:2:b",
        ];
        assert_eq!(text, expected);
    }
}
