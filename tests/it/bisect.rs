//! The search for the first bad commit, with a judge of known truth on made lines of commits.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use uring_ablate::bisect::state::{State, Task};
use uring_ablate::bisect::{self, Answer, Builder, Built, Commit, Effort, Error, Job, Judge, Likeness, Told};

pub const EFFORT: Effort = Effort { first: 12, most: 96 };

/// Knows programs by what is in them: `slow` is worse, `NUMBER rounds` tells only after so many.
#[derive(Default)]
pub struct Reader {
    /// Rounds of each candidate so far.
    pub spent: BTreeMap<PathBuf, u32>,
    pub calls: u32,
    /// Is interrupted at this call.
    pub ends_at: Option<u32>,
}

impl Judge for Reader {
    fn rounds(&mut self, good: &Path, candidate: &Path, rounds: u32) -> Result<Likeness, Error> {
        self.calls += 1;
        if self.ends_at == Some(self.calls) {
            return Err(Error::Interrupted);
        }
        assert!(rounds > 0);
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        assert!(!text(good).contains("slow"), "{}", text(good));
        let spent = self.spent.entry(candidate.into()).or_default();
        *spent += rounds;
        let needed = text(candidate).lines().find_map(|l| l.strip_suffix(" rounds")?.parse::<u32>().ok()).unwrap_or(0);
        Ok(match text(candidate).contains("slow") {
            _ if *spent < needed => Likeness::More,
            true => Likeness::Different,
            false => Likeness::Same,
        })
    }

    fn figures(&self) -> String {
        "0.95 [0.94, 0.96]".into()
    }
}

/// A commit's program on a made line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Unbuildable,
    /// Tells after 40 rounds, so after a third look.
    Noisy,
    Undecidable,
}

/// Writes programs of a made line whose commits are named by their place.
struct Scribe<'a> {
    kinds: &'a [Kind],
    first_bad: usize,
    builds: usize,
}

impl Builder for Scribe<'_> {
    fn build(&mut self, commit: &Commit, to: &Path) -> Result<Built, Error> {
        self.builds += 1;
        let place: usize = commit.id.parse().unwrap();
        let speed = if place >= self.first_bad { "slow" } else { "fast" };
        let rounds = match self.kinds[place] {
            Kind::Unbuildable => return Ok(Built::Failed("no compiler".into())),
            Kind::Plain => 1,
            Kind::Noisy => 40,
            Kind::Undecidable => 1000,
        };
        fs::write(to, format!("{speed}\nof {place}\n{rounds} rounds\n")).unwrap();
        Ok(Built::Program)
    }
}

fn commit(place: usize) -> Commit {
    Commit { id: place.to_string(), short: place.to_string(), subject: "change".into(), ..Commit::default() }
}

pub fn task() -> Task {
    Task {
        repository: "/".into(),
        good: "a".into(),
        bad: "b".into(),
        build: "make".into(),
        program: "program".into(),
        experiment: String::new(),
        metric: None,
        cell: None,
    }
}

fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Searches a made line on from what `state` holds; the answer, comparisons and builds.
fn search(state: &Path, kinds: &[Kind], first_bad: usize) -> (Answer, u32, usize) {
    let commits: Vec<Commit> = (0..kinds.len()).map(commit).collect();
    let mut state = State::open(state, &task()).unwrap();
    // A judge keeps what it measured.
    let spent = commits.iter().map(|c| (state.program(c), state.last(c).map_or(0, |row| row.rounds))).collect();
    let (mut judge, mut builder) = (Reader { spent, ..Reader::default() }, Scribe { kinds, first_bad, builds: 0 });
    let (state, progress) = (&mut state, &|_: &Told<'_>| ());
    let mut job = Job { commits: &commits, effort: EFFORT, state, builder: &mut builder, judge: &mut judge, progress };
    let answer = bisect::run(&mut job).unwrap();
    (answer, judge.calls, builder.builds)
}

/// The answer that nothing better than can be had: from behind the last good commit that tells to the first bad one.
fn narrowest(kinds: &[Kind], first_bad: usize) -> Answer {
    let tells = |place: &usize| matches!(kinds[*place], Kind::Plain | Kind::Noisy);
    let good = (0..first_bad).rfind(tells).unwrap();
    Answer::First(good + 1..=(first_bad..kinds.len()).find(tells).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_answer_is_right_and_the_same_from_wherever_a_search_is_continued(
        between in proptest::collection::vec(0..8_usize, 0..19), at in any::<proptest::sample::Index>()
    ) {
        let kind = |n: usize| [Kind::Unbuildable, Kind::Noisy, Kind::Undecidable].get(n).copied().unwrap_or(Kind::Plain);
        let ends = [Kind::Plain].into_iter();
        let kinds: Vec<Kind> = ends.clone().chain(between.into_iter().map(kind)).chain(ends).collect();
        let first_bad = at.index(kinds.len() - 1) + 1;
        let home = memory();
        let whole = home.path().join("whole");
        let (answer, _, _) = search(&whole, &kinds, first_bad);
        prop_assert_eq!(&answer, &narrowest(&kinds, first_bad));
        let steps = fs::read_to_string(whole.join("steps.csv")).unwrap();
        let facts = |text: &str| text.lines().map(|l| l.rsplit_once(',').unwrap().0.to_string()).collect::<Vec<_>>();
        for lines in 1..=steps.lines().count() {
            let part = home.path().join(lines.to_string());
            drop(State::open(&part, &task()).unwrap());
            let begun: String = steps.split_inclusive('\n').take(lines).collect();
            fs::write(part.join("steps.csv"), &begun).unwrap();
            for program in fs::read_dir(whole.join("programs")).unwrap().flatten() {
                let built = format!("\n{},built", program.file_name().to_string_lossy());
                if begun.contains(&built) {
                    fs::copy(program.path(), part.join("programs").join(program.file_name())).unwrap();
                }
            }
            prop_assert_eq!(&search(&part, &kinds, first_bad).0, &answer, "after {} lines", lines);
            prop_assert_eq!(facts(&fs::read_to_string(part.join("steps.csv")).unwrap()), facts(&steps));
        }
    }
}

#[test]
fn rounds_are_doubled_up_to_the_limit_and_then_the_commit_is_skipped() {
    let home = memory();
    let kinds = [Kind::Plain, Kind::Plain, Kind::Undecidable, Kind::Plain, Kind::Noisy];
    let (answer, calls, builds) = search(home.path(), &kinds, 2);
    assert_eq!((answer, builds), (Answer::First(2..=3), 5));
    // The bad end tells at the third look, 2 never does in four, 1 and 3 at once.
    assert_eq!((calls, EFFORT.looks()), (3 + 4 + 2, 4));
    let steps = fs::read_to_string(home.path().join("steps.csv")).unwrap();
    for row in ["4,more,12,", "4,more,24,", "4,different,48,", "2,more,48,", "2,undecided,96,"] {
        assert!(steps.contains(row), "{row} in {steps}");
    }
    assert_eq!(search(home.path(), &kinds, 2), (Answer::First(2..=3), 0, 0), "continued, it has nothing to do");
    assert_eq!(Effort { first: 5, most: 18 }.looks(), 3, "5, 10, 18");
}

#[test]
fn ends_that_do_not_differ_end_the_search() {
    for (kind, expected) in [(Kind::Plain, Answer::Alike), (Kind::Undecidable, Answer::Open)] {
        let home = memory();
        assert_eq!(search(home.path(), &[Kind::Plain, Kind::Plain, kind], 9).0, expected);
    }
}
