//! Which round comes next, and when a run has enough. Pure decisions over what is planned and what is on disk, so that a run that was
//! interrupted decides as if it had never stopped.
//!
//! The rules look at how wide intervals are and never at where they lie: a run cannot end at a lucky moment.

use super::store::PlannedRound;
use crate::analysis::stopping::{EVERY, FIRST, looks_after};
use crate::plan::RoundKind;
use crate::units;
use std::collections::BTreeMap;
use std::time::Duration;

/// Of a finished round what decisions rest on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    pub wall: Duration,
    /// Treatments that could run and whose rows are not to be believed.
    pub flagged: Vec<String>,
}

/// Finished rounds by their number.
pub type Journal = BTreeMap<u32, Finished>;

/// How far from its middle the widest interval of a toggle lies in each cell, as a fraction.
pub type Widths = BTreeMap<String, f64>;

/// When a run ends before its last round, and where its time goes.
#[derive(Clone, Copy)]
pub struct Pace<'a> {
    /// For all rounds, those of the peers included.
    pub budget: Option<Duration>,
    /// Stop when no cell has a wider interval.
    pub target_half_width: Option<f64>,
    /// From what is on disk, or why it cannot be read; asked only where a rule looks.
    pub widths: &'a dyn Fn() -> Result<Widths, String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Run the round at this place of the plan.
    Round(usize),
    /// Enough, and why: only whole runs of peers are left.
    Enough(String),
    /// Nothing is left.
    Nothing,
}

/// A cell that is not finished.
struct Open<'a> {
    cell: &'a str,
    /// Place of its next round in the plan.
    place: usize,
    /// The repetition to which that belongs: so many lie behind.
    repetition: u32,
    /// Nothing of that repetition has been measured.
    begins: bool,
    spent: Duration,
}

impl Pace<'_> {
    /// Decides over a plan of which some rounds are finished.
    pub fn next(&self, plan: &[PlannedRound], journal: &Journal) -> Result<Next, String> {
        let open = open(plan, journal);
        let Some(first) = open.iter().min_by_key(|o| (o.repetition, o.place)) else { return Ok(rest(plan, journal)) };
        // With a budget each cell has rounds of its own number: it is looked at after the first ones and then after each grant.
        let under_way = |o: &&Open<'_>| !o.begins || !looks_after(o.repetition);
        let in_step = |o: &Open<'_>| o.begins && o.repetition == first.repetition;
        let place = match (self.budget, self.target_half_width) {
            (None, None) => Some(first.place),
            (None, Some(_)) => (!looks_after(first.repetition) || !open.iter().all(in_step)).then_some(first.place),
            (Some(_), _) if first.repetition < FIRST => Some(first.place),
            (Some(_), _) => open.iter().find(under_way).map(|o| o.place),
        };
        if let Some(place) = place {
            return Ok(Next::Round(place));
        }
        let widths = (self.widths)()?;
        if let Some(half_width) = self.target_half_width.filter(|w| !widths.is_empty() && widths.values().all(|found| found <= w))
        {
            let percent = half_width * 100.0;
            return Ok(Next::Enough(format!(
                "after {} rounds no interval of a toggle is further than {percent} % from its middle",
                first.repetition
            )));
        }
        Ok(self.budget.map_or(Next::Round(first.place), |budget| grant(budget, &open, &widths, journal)))
    }
}

/// A few more rounds for the cell whose interval is widest, of those for which there is time; of equals for the one with fewest rounds.
fn grant(budget: Duration, open: &[Open<'_>], widths: &Widths, journal: &Journal) -> Next {
    let spent: Duration = journal.values().map(|f| f.wall).sum();
    let in_time = |o: &&Open<'_>| spent + o.spent * EVERY / o.repetition.max(1) <= budget;
    let width = |o: &Open<'_>| widths.get(o.cell).copied().unwrap_or(0.0);
    match open.iter().filter(in_time).max_by(|a, b| width(a).total_cmp(&width(b)).then(b.repetition.cmp(&a.repetition))) {
        Some(widest) => Next::Round(widest.place),
        None => {
            Next::Enough(format!("{EVERY} more rounds of any cell would overrun the budget of {}", units::duration_text(budget)))
        }
    }
}

/// The cells with rounds left to measure, in order of the plan.
fn open<'a>(plan: &'a [PlannedRound], journal: &Journal) -> Vec<Open<'a>> {
    let mut cells: Vec<&str> = Vec::new();
    for round in plan {
        if !cells.contains(&round.cell.as_str()) {
            cells.push(&round.cell);
        }
    }
    let of_cell = |cell: &'a str| {
        let rounds = || plan.iter().enumerate().filter(move |(_, r)| r.cell == cell && r.kind != RoundKind::Whole);
        let finished = |r: &PlannedRound| journal.get(&r.round);
        let (place, next) = rounds().filter(|(_, r)| finished(r).is_none()).min_by_key(|(place, r)| (r.repetition, *place))?;
        let begins = rounds().all(|(_, r)| r.repetition != next.repetition || finished(r).is_none());
        let spent = rounds().filter_map(|(_, r)| finished(r)).map(|f| f.wall).sum();
        Some(Open { cell, place, repetition: next.repetition, begins, spent })
    };
    cells.into_iter().filter_map(of_cell).collect()
}

/// Of what is still to do when enough was measured: rounds that are measured again, then whole runs of peers.
pub fn rest(plan: &[PlannedRound], journal: &Journal) -> Next {
    let first = |wanted: fn(&PlannedRound) -> bool| plan.iter().position(|r| wanted(r) && !journal.contains_key(&r.round));
    let redone = first(|r| r.redoes.is_some());
    redone.or_else(|| first(|r| r.kind == RoundKind::Whole)).map_or(Next::Nothing, Next::Round)
}

/// At most this part of a plan is measured again.
const REDONE_SHARE: usize = 5;

/// The rounds that are to be measured again, whole and with fresh randomisation: those in which an arm broke a gate that it kept in more
/// than half of its cell's other rounds of the kind. What breaks always is no accident, and measuring it again would not help.
pub fn flagged(plan: &[PlannedRound], journal: &Journal) -> Vec<PlannedRound> {
    let redone = |round: u32| plan.iter().any(|r| r.redoes == Some(round));
    let in_slices = |r: &&PlannedRound| !matches!(r.kind, RoundKind::Peers | RoundKind::Whole);
    let accident = |r: &PlannedRound, treatment: &String| {
        let alike = plan.iter().filter(|other| (&other.cell, other.kind, other.part) == (&r.cell, r.kind, r.part));
        let (broken, all) = alike
            .filter_map(|other| journal.get(&other.round))
            .fold((0, 0), |(broken, all), f| (broken + usize::from(f.flagged.contains(treatment)), all + 1));
        2 * broken <= all
    };
    let broken = plan
        .iter()
        .filter(in_slices)
        .filter(|r| r.redoes.is_none() && !redone(r.round))
        .filter(|r| journal.get(&r.round).is_some_and(|f| f.flagged.iter().any(|treatment| accident(r, treatment))));
    let planned = plan.iter().filter(|r| r.redoes.is_none()).count();
    let (already, last) = (plan.len() - planned, plan.iter().map(|r| r.round).max().unwrap_or(0));
    let again = |(round, r): (u32, &PlannedRound)| PlannedRound {
        round,
        seed: crate::random::Decisions::new(r.seed).seed(),
        redoes: Some(r.round),
        ..r.clone()
    };
    (last + 1..).zip(broken.take((planned / REDONE_SHARE).saturating_sub(already))).map(again).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Part;

    /// `repetitions` rounds of slices of each cell, in turn, and a whole run of each.
    fn plan(cells: &[&str], repetitions: u32) -> Vec<PlannedRound> {
        let measured = (0..repetitions).flat_map(|r| cells.iter().map(move |cell| (*cell, RoundKind::Slices, r)));
        let whole = cells.iter().map(|cell| (*cell, RoundKind::Whole, repetitions));
        let round = |((cell, kind, repetition), round): ((&str, RoundKind, u32), u32)| PlannedRound {
            round,
            repetition,
            cell: cell.into(),
            kind,
            part: Part::All,
            seed: u64::from(round),
            blocks: 1,
            completions: 1,
            slice_us: 0,
            redoes: None,
        };
        measured.chain(whole).zip(1..).map(round).collect()
    }

    /// Follows a pace to its end, each round taking a second; returns the rounds of each cell, and why it ended.
    fn follow(pace: &Pace<'_>, plan: &[PlannedRound]) -> (BTreeMap<String, u32>, String) {
        let (mut journal, mut counts) = (Journal::new(), BTreeMap::new());
        loop {
            match pace.next(plan, &journal).unwrap() {
                Next::Round(place) => {
                    let round = &plan[place];
                    assert!(!journal.contains_key(&round.round), "no round is measured twice");
                    journal.insert(round.round, Finished { wall: Duration::from_secs(1), flagged: vec![] });
                    *counts.entry(round.cell.clone()).or_default() += u32::from(round.kind == RoundKind::Slices);
                }
                Next::Enough(why) => return (counts, why),
                Next::Nothing => return (counts, String::new()),
            }
        }
    }

    fn counts(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
        of.iter().map(|(cell, n)| (cell.to_string(), *n)).collect()
    }

    #[test]
    fn without_a_rule_the_plan_is_run_to_its_end_in_its_order() {
        let pace = Pace { budget: None, target_half_width: None, widths: &|| unreachable!("no rule looks") };
        let plan = plan(&["a", "b"], 20);
        let mut journal = Journal::new();
        for place in 0..plan.len() {
            assert_eq!(pace.next(&plan, &journal), Ok(Next::Round(place)));
            journal.insert(plan[place].round, Finished::default());
        }
        assert_eq!(pace.next(&plan, &journal), Ok(Next::Nothing));
    }

    #[test]
    fn narrow_intervals_end_a_run_at_a_look() {
        let looks = std::cell::Cell::new(0);
        let widths = || {
            looks.set(looks.get() + 1);
            // Narrow from the third look on.
            Ok([("a".into(), if looks.get() < 3 { 0.02 } else { 0.005 })].into())
        };
        let pace = Pace { budget: None, target_half_width: Some(0.01), widths: &widths };
        let (found, why) = follow(&pace, &plan(&["a"], 60));
        assert_eq!(found, counts(&[("a", FIRST + 2 * EVERY)]));
        assert!(why.starts_with("after 20 rounds no interval"), "{why}");
    }

    #[test]
    fn a_budget_goes_where_intervals_are_widest() {
        let widths = || Ok([("wide".into(), 0.03), ("narrow".into(), 0.01)].into());
        let pace = Pace { budget: Some(Duration::from_secs(41)), target_half_width: None, widths: &widths };
        let (found, why) = follow(&pace, &plan(&["narrow", "wide"], 60));
        // Twelve of each take 24 of 41 s; four grants of 4 s are left.
        assert_eq!(found, counts(&[("narrow", FIRST), ("wide", FIRST + 4 * EVERY)]));
        assert!(why.contains("would overrun the budget of 41 s"), "{why}");
    }

    #[test]
    fn of_equals_the_one_with_fewest_rounds_is_next() {
        let pace = Pace { budget: Some(Duration::from_secs(41)), target_half_width: None, widths: &|| Ok(Widths::new()) };
        assert_eq!(follow(&pace, &plan(&["a", "b"], 60)).0, counts(&[("a", FIRST + 2 * EVERY), ("b", FIRST + 2 * EVERY)]));
    }

    #[test]
    fn an_accident_is_measured_again_and_a_habit_is_not() {
        let plan = plan(&["a"], 12);
        let mut journal: Journal = plan.iter().map(|r| (r.round, Finished::default())).collect();
        journal.get_mut(&5).unwrap().flagged = vec!["full".into()];
        let again = flagged(&plan, &journal);
        assert_eq!(again.iter().map(|r| (r.round, r.redoes)).collect::<Vec<_>>(), [(14, Some(5))]);
        assert_ne!(again[0].seed, plan[4].seed, "a fresh order");
        let whole = [plan.clone(), again].concat();
        assert_eq!(flagged(&whole, &journal), [], "once");
        (1..=12).for_each(|round| journal.get_mut(&round).unwrap().flagged.push("only:x".into()));
        assert_eq!(flagged(&plan, &journal).len(), 1, "beside a habit, too");
        (1..=12).for_each(|round| journal.get_mut(&round).unwrap().flagged = vec!["full".into()]);
        assert_eq!(flagged(&plan, &journal), [], "an arm that always breaks is reported, not repeated");
    }

    #[test]
    fn a_redone_round_comes_before_whole_runs() {
        let mut plan = plan(&["a"], 6);
        let mut journal: Journal = plan[..6].iter().map(|r| (r.round, Finished::default())).collect();
        journal.get_mut(&2).unwrap().flagged = vec!["full".into()];
        plan.extend(flagged(&plan, &journal));
        let pace = Pace { budget: None, target_half_width: None, widths: &|| unreachable!("no rule looks") };
        assert_eq!(pace.next(&plan, &journal), Ok(Next::Round(7)));
    }
}
