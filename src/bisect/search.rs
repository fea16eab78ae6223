//! Which commit is tried next: bisection of a line of commits, around those of which nothing could be learnt. Knows neither git nor programs.

use std::ops::RangeInclusive;

/// What is known of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// For the worse.
    Different,
    /// All rounds that may be spent do not tell.
    Undecided,
    /// There is no program to measure.
    Unbuildable,
}

impl Verdict {
    /// As users read it.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Different => "different",
            Verdict::Undecided => "undecided, skipped",
            Verdict::Unbuildable => "does not build, skipped",
        }
    }
}

/// How a search goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Try(usize),
    /// The first bad commit is among these; of more than one nothing more could be learnt.
    First(RangeInclusive<usize>),
    /// The last commit is like the first: nothing to be found.
    Alike,
    /// Whether the last commit is like the first was not to be learnt.
    Open,
}

/// A search over places 0, which is good, to `last`, of which each follows from the one before.
#[derive(Clone, Debug)]
pub struct Search {
    known: Vec<Option<Verdict>>,
    learnt: usize,
    /// Commits of which nothing was learnt since the last of which something was.
    skipped: u32,
}

impl Search {
    /// A search among the `last` commits behind the good one.
    pub fn new(last: usize) -> Search {
        let mut known = vec![None; last + 1];
        known[0] = Some(Verdict::Same);
        Search { known, learnt: 0, skipped: 0 }
    }

    /// Takes note of a verdict. The same verdicts in the same order lead to the same next place.
    pub fn learn(&mut self, place: usize, verdict: Verdict) {
        self.known[place] = Some(verdict);
        self.learnt += 1;
        let told = matches!(verdict, Verdict::Same | Verdict::Different);
        self.skipped = if told { 0 } else { self.skipped + 1 };
    }

    /// The last place first: without a difference there is nothing to search.
    pub fn next(&self) -> Next {
        let last = self.known.len() - 1;
        match self.known[last] {
            None => return Next::Try(last),
            Some(Verdict::Same) => return Next::Alike,
            Some(Verdict::Undecided | Verdict::Unbuildable) => return Next::Open,
            Some(Verdict::Different) => {}
        }
        let (good, bad) = self.bounds();
        let untried = self.untried();
        if untried.is_empty() { Next::First(good + 1..=bad) } else { Next::Try(untried[aside(untried.len(), self.skipped)]) }
    }

    /// Verdicts so far.
    pub fn learnt(&self) -> usize {
        self.learnt
    }

    /// Verdicts still to come if all of them tell.
    pub fn left(&self) -> usize {
        let confirm = usize::from(self.known.last() == Some(&None));
        let candidates = self.untried().len() + 1 - confirm;
        confirm + candidates.next_power_of_two().ilog2() as usize
    }

    /// The last place known to be good and the first behind it known to be bad, or the end.
    fn bounds(&self) -> (usize, usize) {
        let is = |verdict: Verdict| move |known: &Option<Verdict>| *known == Some(verdict);
        let bad = self.known.iter().position(is(Verdict::Different)).unwrap_or(self.known.len());
        (self.known[..bad].iter().rposition(is(Verdict::Same)).unwrap_or(0), bad)
    }

    fn untried(&self) -> Vec<usize> {
        let (good, bad) = self.bounds();
        (good + 1..bad).filter(|place| self.known[*place].is_none()).collect()
    }
}

/// Which of `untried` places: the middle, and after each skip twice as far from it, on both sides in turn. What does not build seldom stands
/// alone.
fn aside(untried: usize, skipped: u32) -> usize {
    let (middle, far) = (untried / 2, (1_usize << skipped.min(30)) - 1);
    if skipped % 2 == 1 { (middle + far).min(untried - 1) } else { middle.saturating_sub(far) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Searches where `first` is the first bad place and `silent` says of which nothing is learnt; the answer and every place tried.
    fn search(last: usize, first: usize, silent: &dyn Fn(usize) -> Option<Verdict>) -> (Next, Vec<usize>) {
        let (mut search, mut tried) = (Search::new(last), vec![]);
        loop {
            let Next::Try(place) = search.next() else { return (search.next(), tried) };
            assert!(!tried.contains(&place), "no place twice: {place} after {tried:?}");
            let told = if place < first { Verdict::Same } else { Verdict::Different };
            let verdict = silent(place).filter(|_| place < last).unwrap_or(told);
            tried.push(place);
            search.learn(place, verdict);
        }
    }

    #[test]
    fn every_first_bad_commit_is_found_in_as_many_steps_as_bisection_needs() {
        for last in 1..=200_usize {
            let bound = last.next_power_of_two().ilog2() as usize + 1;
            assert_eq!(Search::new(last).left(), bound, "{last} commits");
            for first in 1..=last {
                let (answer, tried) = search(last, first, &|_| None);
                assert_eq!(answer, Next::First(first..=first), "{last} commits");
                assert!(tried.len() <= bound, "{} steps for {last} commits: {tried:?}", tried.len());
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_skipped_the_answer_holds_the_first_bad_commit(
            last in 1..=20_usize, builds in proptest::collection::vec(0..3_u8, 21)
        ) {
            let silent = |place: usize| [None, Some(Verdict::Unbuildable), Some(Verdict::Undecided)][builds[place] as usize];
            let told = |place: usize| place == last || silent(place).is_none();
            for first in 1..=last {
                let (answer, _) = search(last, first, &silent);
                // As narrow as what tells allows: from behind the last good one to the first bad one.
                let bad = (first..=last).find(|p| told(*p)).unwrap();
                let good = (1..first).rev().find(|p| told(*p)).unwrap_or(0);
                prop_assert_eq!(answer, Next::First(good + 1..=bad));
            }
        }
    }

    #[test]
    fn a_stretch_that_does_not_build_is_left_in_few_steps() {
        for first in [1, 300, 460, 540, 700, 1000] {
            let silent = |place: usize| (450..550).contains(&place).then_some(Verdict::Unbuildable);
            let (answer, tried) = search(1000, first, &silent);
            assert!(matches!(answer, Next::First(range) if range.contains(&first)));
            let broken = tried.iter().filter(|p| silent(**p).is_some()).count();
            let inside = (450..=550).contains(&first);
            assert!(tried.len() <= 30 || inside, "{first}: {} steps, {broken} of them in vain", tried.len());
        }
    }

    #[test]
    fn nothing_is_searched_where_the_ends_are_alike_or_not_told_apart() {
        for (verdict, next) in [(Verdict::Same, Next::Alike), (Verdict::Undecided, Next::Open)] {
            let mut search = Search::new(9);
            assert_eq!(search.next(), Next::Try(9));
            search.learn(9, verdict);
            assert_eq!(search.next(), next);
        }
    }
}
