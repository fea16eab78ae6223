//! Claims, judged by what was measured: the verdict is drawn from intervals alone, and what cannot be tested says what is missing.

use super::Model;
use super::contrast::Metric;
use super::effect::{CellEffects, Effect};
use super::overhead;
use super::signed_rank::{hodges_lehmann, interval};
use super::verdict::Verdict;
use crate::experiment::{Claim, Range, Says};
use crate::perf::PROFILES;

/// What a claim comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Supported,
    /// The direction holds and a size does not, or it holds in some of the cells.
    Partly,
    Refuted,
    Inconclusive,
    Untestable,
}

impl Ruling {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Ruling::Supported => "supported",
            Ruling::Partly => "partly",
            Ruling::Refuted => "refuted",
            Ruling::Inconclusive => "inconclusive",
            Ruling::Untestable => "cannot be tested here",
        }
    }
}

/// A point with its interval over rounds; in percent, or a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub point: f64,
    pub lo: f64,
    pub hi: f64,
}

/// A claim in one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct InCell {
    pub cell: String,
    pub ruling: Ruling,
    /// Shares in percent without and with the toggle.
    pub before: Option<Estimate>,
    pub after: Option<Estimate>,
    /// The effect or the comparison with a peer.
    pub ratio: Option<Estimate>,
    /// What `ratio` is of.
    pub metric: Metric,
    /// What is missing for a test, or what has to be known beside the figures.
    pub remark: String,
    /// Of a cause that was named: what the toggle moved most instead, in nanoseconds of a request.
    pub instead: Vec<overhead::Change>,
}

/// A claim with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub claim: Claim,
    pub ruling: Ruling,
    pub cells: Vec<InCell>,
}

/// Judges every claim of a run's experiment.
pub fn judge(model: &Model) -> Vec<Judged> {
    judge_all(model, model.manifest.as_ref().map_or(&[], |m| &m.experiment.claims))
}

/// Judges claims by a run.
pub fn judge_all(model: &Model, claims: &[Claim]) -> Vec<Judged> {
    let judged = claims.iter().map(|claim| {
        let speaks_of = |cell: &&CellEffects| {
            let size = model.data.arms.iter().find(|a| a.cell == cell.cell).and_then(|a| a.block_size_bytes);
            claim.block_size_bytes.is_none_or(|bs| size == Some(f64::from(bs)))
        };
        let cells: Vec<InCell> = model.cells.iter().filter(speaks_of).map(|cell| in_cell(model, cell, claim)).collect();
        let ruling = together(&cells.iter().map(|c| c.ruling).collect::<Vec<_>>());
        Judged { claim: claim.clone(), ruling, cells }
    });
    judged.collect()
}

/// One verdict of those in the cells that could test the claim.
fn together(rulings: &[Ruling]) -> Ruling {
    let tested: Vec<Ruling> = rulings.iter().copied().filter(|r| *r != Ruling::Untestable).collect();
    match tested.first() {
        None => Ruling::Untestable,
        Some(first) if tested.iter().all(|r| r == first) => *first,
        _ if tested.iter().any(|r| matches!(r, Ruling::Supported | Ruling::Partly)) => Ruling::Partly,
        _ => Ruling::Inconclusive,
    }
}

fn in_cell(model: &Model, cell: &CellEffects, claim: &Claim) -> InCell {
    let blank = InCell {
        cell: cell.cell.clone(),
        ruling: Ruling::Untestable,
        before: None,
        after: None,
        ratio: None,
        metric: cell.primary,
        remark: String::new(),
        instead: Vec::new(),
    };
    let toggle = claim.toggle.as_deref().unwrap_or_default();
    match &claim.says {
        Says::Pays => pays(model, cell, toggle, blank),
        Says::Ratio { peer, range } => against(model, cell, peer, *range, blank),
        Says::Share { causes, before, after } => shares(model, cell, toggle, causes, (*before, *after), blank),
    }
}

/// The comparison that a claim on a toggle, or on all of them, is judged by.
fn compared<'a>(cell: &'a CellEffects, toggle: &str) -> Option<&'a Effect> {
    cell.find(if toggle.is_empty() { "total" } else { "leave-one-out" }, toggle, cell.primary)
}

/// Why a toggle has no figures in a cell.
fn absence(model: &Model, cell: &CellEffects, toggle: &str) -> String {
    let manifest = model.manifest.as_ref();
    let dropped = manifest.and_then(|m| m.dropped.iter().find(|d| d.cell == cell.cell && d.toggle == toggle));
    let failed = model.data.arms.iter().find(|a| {
        let name = a.treatment.split_once(':').is_some_and(|(kind, of)| ["with", "without"].contains(&kind) && of == toggle);
        a.cell == cell.cell && name && a.outcome != "completed"
    });
    match (dropped, failed) {
        (Some(dropped), _) => dropped.reason.clone(),
        (None, Some(arm)) => format!("{} was {}: {}", arm.treatment, arm.outcome, arm.reason),
        (None, None) => "no arm with and without it completed".into(),
    }
}

fn pays(model: &Model, cell: &CellEffects, toggle: &str, blank: InCell) -> InCell {
    let Some(effect) = compared(cell, toggle) else {
        return InCell { remark: absence(model, cell, toggle), ..blank };
    };
    let alone = cell.find("add-one-in", toggle, cell.primary).filter(|e| e.verdict == Verdict::Improved);
    let (ruling, remark) = match (effect.verdict, alone) {
        (Verdict::Improved, _) => (Ruling::Supported, String::new()),
        (Verdict::Inconclusive, Some(alone)) => (Ruling::Partly, format!("shown where the others are off: {alone}")),
        (_, Some(alone)) => (Ruling::Partly, format!("only where the others are off: {alone}")),
        (Verdict::Inconclusive, None) => (Ruling::Inconclusive, String::new()),
        (Verdict::Regressed, None) => (Ruling::Refuted, "it costs".into()),
        (Verdict::Equivalent | Verdict::DifferentButNegligible, None) => {
            (Ruling::Refuted, format!("within the margin of {} %", model.settings.delta * 100.0))
        }
    };
    InCell { ruling, ratio: estimate(effect), remark, ..blank }
}

fn against(model: &Model, cell: &CellEffects, peer: &str, range: Range, blank: InCell) -> InCell {
    let of_peer = |e: &&Effect| e.contrast.kind == "peer" && e.contrast.reference == peer && e.metric == Metric::Iops;
    let blank = InCell { metric: Metric::Iops, ..blank };
    let Some(effect) = cell.effects.iter().find(of_peer) else {
        let arm = model.data.arms.iter().find(|a| a.cell == cell.cell && a.treatment == peer && a.outcome != "completed");
        return InCell { remark: arm.map_or_else(|| format!("{peer} did not run"), |a| a.reason.clone()), ..blank };
    };
    let ratio = estimate(effect);
    InCell { ruling: ratio.map_or(Ruling::Inconclusive, |ratio| ratio.against(range).ruling()), ratio, ..blank }
}

fn estimate(effect: &Effect) -> Option<Estimate> {
    effect.bounds.map(|b| Estimate { point: effect.ratio, lo: b.lo, hi: b.hi })
}

/// Where an interval lies beside the range that is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Inside,
    Outside,
    /// Neither: the interval reaches over an end of the range.
    Across,
}

impl Place {
    fn ruling(self) -> Ruling {
        match self {
            Place::Inside => Ruling::Supported,
            Place::Outside => Ruling::Refuted,
            Place::Across => Ruling::Inconclusive,
        }
    }
}

impl Estimate {
    fn against(&self, (from, to): Range) -> Place {
        match (from <= self.lo && self.hi <= to, self.hi < from || to < self.lo) {
            (true, _) => Place::Inside,
            (_, true) => Place::Outside,
            _ => Place::Across,
        }
    }
}

fn shares(
    model: &Model,
    cell: &CellEffects,
    toggle: &str,
    causes: &[String],
    claimed: (Option<Range>, Option<Range>),
    blank: InCell,
) -> InCell {
    // The comparison of effects: what has the toggle, and what has it not.
    let Some(effect) = compared(cell, toggle) else {
        return InCell { remark: absence(model, cell, toggle), ..blank };
    };
    let figures = |treatment: &str| overhead::of_causes(&model.data, &cell.cell, treatment, causes);
    let (mut without, mut with) = (figures(&effect.contrast.reference), figures(&effect.contrast.treatment));
    without.retain(|round, _| with.contains_key(round));
    with.retain(|round, _| without.contains_key(round));
    let confidence = model.settings.confidence();
    let share = |rounds: &overhead::Rounds| over_rounds(rounds.values().map(|(_, share)| share * 100.0), confidence);
    let (before, after) = (share(&without), share(&with));
    if before.is_none() || after.is_none() {
        return InCell { remark: unprofiled(model), ..blank };
    }
    let saved = over_rounds(without.iter().filter_map(|(round, before)| Some(before.0 - with.get(round)?.0)), confidence);
    let now_alone = claimed.1.is_some() && claimed.0.is_none() && toggle.is_empty();
    let change = match saved {
        _ if now_alone => Change::NotClaimed,
        Some(saved) if saved.lo > 0.0 => Change::Shrinks,
        Some(saved) if saved.hi <= 0.0 => Change::DoesNot,
        _ => Change::Unknown,
    };
    // What never happens on this target cannot be taken away from it.
    let never = !now_alone && without.values().chain(with.values()).all(|(ns, _)| *ns == 0.0);
    let place = |measured: Option<Estimate>, claimed: Option<Range>| Some(measured?.against(claimed?));
    let places: Vec<Place> = [place(before, claimed.0), place(after, claimed.1)].into_iter().flatten().collect();
    let ruling = if never { Ruling::Untestable } else { size_of(&places, change) };
    let remark = match change {
        _ if never => {
            "no such time was seen on this target, with or without the toggle: a target or device that takes some is needed"
        }
        Change::NotClaimed => "",
        Change::Shrinks => "the toggle does take this time away",
        Change::DoesNot => "the toggle does not take this time away",
        Change::Unknown => "the toggle is not shown to take this time away",
    };
    let instead = match change {
        Change::Shrinks | Change::NotClaimed => Vec::new(),
        Change::DoesNot | Change::Unknown => came_out_of(model, cell, effect, causes),
    };
    InCell { ruling, before: before.filter(|_| !now_alone), after, remark: remark.into(), instead, ..blank }
}

/// The causes that a comparison takes most time from, beside those that were named.
fn came_out_of(model: &Model, cell: &CellEffects, effect: &Effect, named: &[String]) -> Vec<overhead::Change> {
    let other = |c: &overhead::Change| {
        let same = (c.kind, &c.toggle) == (effect.contrast.kind, &effect.contrast.toggle);
        same && c.moved() && !c.category.is_empty() && !named.contains(&c.category) && c.difference.is_some_and(|d| d < 0.0)
    };
    let changes = overhead::changes(&model.data, &cell.cell, model.settings.alpha);
    let mut found: Vec<overhead::Change> = changes.into_iter().filter(other).collect();
    found.sort_by(|a, b| a.difference.partial_cmp(&b.difference).unwrap_or(std::cmp::Ordering::Equal));
    found.truncate(2);
    found
}

/// What a toggle does to the time that its causes take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Shrinks,
    DoesNot,
    Unknown,
    /// The claim is of the share as it is, not of what changed it.
    NotClaimed,
}

/// A claim on sizes holds where every size does and the time shrinks. A wrong size alone is half of it, unless nothing but a size was claimed.
fn size_of(places: &[Place], change: Change) -> Ruling {
    let (right, wrong) = (places.iter().all(|p| *p == Place::Inside), places.contains(&Place::Outside));
    match change {
        Change::DoesNot => Ruling::Refuted,
        Change::Shrinks | Change::NotClaimed if right => Ruling::Supported,
        Change::Shrinks if wrong => Ruling::Partly,
        Change::Unknown | Change::NotClaimed if wrong => Ruling::Refuted,
        _ => Ruling::Inconclusive,
    }
}

fn over_rounds(values: impl Iterator<Item = f64>, confidence: f64) -> Option<Estimate> {
    let values: Vec<f64> = values.collect();
    let bounds = interval(&values, confidence)?;
    Some(Estimate { point: hodges_lehmann(&values)?, lo: bounds.lo, hi: bounds.hi })
}

/// Why there is no profile.
fn unprofiled(model: &Model) -> String {
    let manifest = model.manifest.as_ref();
    let told = manifest.and_then(|m| m.unavailable.iter().find(|u| u.what == PROFILES));
    told.map_or_else(
        || "too few rounds with a profile: [profile] rounds = 8 gives them".into(),
        |u| format!("no profile: {}", u.reason),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_in_all_cells_in_some_or_in_none() {
        use Ruling::{Inconclusive, Partly, Refuted, Supported, Untestable};
        assert_eq!(together(&[Supported, Untestable]), Supported);
        assert_eq!(together(&[Supported, Refuted]), Partly);
        assert_eq!(together(&[Refuted, Refuted]), Refuted);
        assert_eq!(together(&[Refuted, Inconclusive]), Inconclusive);
        assert_eq!(together(&[Untestable]), Untestable);
        assert_eq!(together(&[]), Untestable);
    }

    #[test]
    fn an_interval_decides_only_where_it_lies_on_one_side_of_what_is_claimed() {
        let at = |lo, hi| Estimate { point: (lo + hi) / 2.0, lo, hi }.against((4.0, 8.0));
        assert_eq!((at(5.0, 6.0), at(1.0, 3.9), at(8.1, 9.0)), (Place::Inside, Place::Outside, Place::Outside));
        assert_eq!((at(3.0, 5.0), at(3.0, 9.0)), (Place::Across, Place::Across));
    }

    #[test]
    fn the_right_cause_of_the_wrong_size_is_half_a_claim() {
        use Place::{Across, Inside, Outside};
        assert_eq!(size_of(&[Inside, Inside], Change::Shrinks), Ruling::Supported);
        assert_eq!(size_of(&[Inside, Outside], Change::Shrinks), Ruling::Partly);
        assert_eq!(size_of(&[Inside, Across], Change::Shrinks), Ruling::Inconclusive);
        assert_eq!(size_of(&[], Change::Shrinks), Ruling::Supported, "no size was claimed");
        assert_eq!(size_of(&[Inside, Inside], Change::DoesNot), Ruling::Refuted);
        assert_eq!(size_of(&[Outside, Inside], Change::Unknown), Ruling::Refuted);
        assert_eq!(size_of(&[Inside, Inside], Change::Unknown), Ruling::Inconclusive);
        assert_eq!(size_of(&[Outside], Change::NotClaimed), Ruling::Refuted);
    }
}
