//! `uring-ablate bisect`: which commit made it worse.

mod judge;

use super::nightly::preflight::{self, Means};
use super::{Failure, trust};
use crate::bisect::repository::Repository;
use crate::bisect::search::Verdict;
use crate::bisect::state::{State, StepRow, Task};
use crate::bisect::workshop::{self, Workshop};
use crate::bisect::{self, Answer, Commit, Effort, Error, Job, Told};
use crate::cli::BisectArgs;
use crate::console;
use crate::control_group;
use crate::exit::Exit;
use crate::experiment::programs::Starts;
use crate::experiment::{self, Experiment};
use crate::spawn::{Interrupts, Tether};
use judge::Pairs;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Rounds before the first look, unless the experiment says.
const FIRST_ROUNDS: u32 = 12;

/// Characters of a commit in the name of a state.
const ABBREVIATION: usize = 12;

/// Searches, or continues a search.
pub fn bisect(args: &BisectArgs, quiet: bool) -> Result<Exit, Failure> {
    let mut experiment = experiment::load(&args.experiment, &args.overrides)?;
    trust::check(&args.experiment, &experiment, Starts::Subject, &args.overrides, &args.allow)?;
    preflight::check(&experiment)?;
    experiment.allow_size(args.allow.allow_size);
    workshop::inside(&args.program)?;
    control_group::clear();
    let (tether, interrupts) = (Tether::current(), Interrupts::install().map_err(Error::Start)?);
    let repository = Repository::open(&args.repository, &tether, &interrupts)?;
    let commits = repository.line(&args.good, &args.bad)?;
    let task = task(args, &experiment, &commits, repository.common_dir()?);
    let dir = args.state.clone().unwrap_or_else(|| place(&task));
    let mut state = State::open(&dir, &task)?;
    let effort = effort(&experiment);
    let mut workshop = Workshop::new((repository, &tether, &interrupts), (&args.build, &args.program), &state)?;
    let target = preflight::target(&experiment, &args.allow_destructive)?;
    let means = Means { experiment: &experiment, target: target.as_ref(), tether: &tether, interrupts: &interrupts };
    let mut judge = Pairs::new(means, (args.cell.as_deref(), args.metric.as_deref()), effort, state.dir())?;
    let progress = |told: &Told<'_>| {
        if !quiet {
            console::note(step(told));
        }
    };
    if !quiet {
        let (good, bad) = (&commits[0], &commits[commits.len() - 1]);
        console::note(format!("{} commits from {good} to {bad}; state: {}", commits.len() - 1, dir.display()));
    }
    let (state, builder) = (&mut state, &mut workshop);
    let answer = bisect::run(&mut Job { commits: &commits, effort, state, builder, judge: &mut judge, progress: &progress })?;
    if let Err(error) = workshop.clear() {
        console::note(format!("uring-ablate: the work tree below {} stays: {error}", dir.display()));
    }
    if !quiet {
        console::print(text(&answer, &commits, state));
    }
    let found = matches!(&answer, Answer::First(range) if range.start() == range.end());
    Ok(if found { Exit::Ok } else { Exit::Inconclusive })
}

/// Rounds that may be spent on a commit.
fn effort(experiment: &Experiment) -> Effort {
    let most = experiment.gate.most_rounds;
    Effort { first: experiment.rounds.unwrap_or(FIRST_ROUNDS).min(most), most }
}

fn task(args: &BisectArgs, experiment: &Experiment, commits: &[Commit], repository: PathBuf) -> Task {
    Task {
        repository,
        good: commits[0].id.clone(),
        bad: commits[commits.len() - 1].id.clone(),
        build: args.build.clone(),
        program: args.program.clone(),
        experiment: experiment.text.clone(),
        metric: args.metric.clone(),
        cell: args.cell.clone(),
    }
}

/// Where the state lies unless said. Not by git's abbreviations, which grow with the repository.
fn place(task: &Task) -> PathBuf {
    let short = |id: &str| id.chars().take(ABBREVIATION).collect::<String>();
    Path::new("bisect").join(format!("{}..{}", short(&task.good), short(&task.bad)))
}

/// A step in one line.
fn step(told: &Told<'_>) -> String {
    let Told { done, total, commit, verdict, figures } = told;
    let behind = if figures.is_empty() { String::new() } else { format!(" ({figures})") };
    format!("{done} of ~{total} steps: {commit} -> {}{behind}", verdict.words())
}

/// The answer in words.
fn text(answer: &Answer, commits: &[Commit], state: &State) -> String {
    let (good, bad) = (&commits[0], &commits[commits.len() - 1]);
    let (rounds, figures) = (state.last(bad).map_or(0, |row| row.rounds), figures(state.last(bad)));
    match answer {
        Answer::First(range) if range.start() == range.end() => found(*range.start(), commits, state),
        Answer::First(range) => several(&commits[range.clone()], good, state),
        Answer::Alike if rounds == 0 => format!("{good} and {bad} do not differ{figures}\n"),
        Answer::Alike => format!(
            "{good} and {bad} do not differ by what {rounds} rounds can find{figures}; lower [gate] find to look for less\n"
        ),
        Answer::Open => format!(
            "whether {good} and {bad} differ, {rounds} rounds do not tell{figures}; raise [gate] most_rounds, with another --state\n"
        ),
    }
}

/// The one first bad commit.
fn found(place: usize, commits: &[Commit], state: &State) -> String {
    let (commit, before) = (&commits[place], &commits[place - 1]);
    let row = state.last(commit);
    let rounds = row.map_or(0, |r| r.rounds);
    let mut text = format!("first bad commit: {commit}\nauthor date: {}\n", commit.date);
    let _ = writeln!(text, "beside {}: different, {rounds} rounds{}", commits[0], figures(row));
    if let Some(other) = commit.parents.iter().find(|id| **id != before.id) {
        let short = &other[..other.len().min(ABBREVIATION)];
        let base = format!("$(git merge-base {} {short})", before.short);
        let _ = writeln!(text, "it is a merge; to search in what it brought: --good {base} --bad {short}");
    }
    text
}

/// The commits among which the first bad one is.
fn several(range: &[Commit], good: &Commit, state: &State) -> String {
    let mut text = format!("the first bad commit is one of {}; each beside {good}:\n", range.len());
    for commit in range {
        let row = state.last(commit);
        let means = row.and_then(|r| r.step.verdict()).map_or("not tried", Verdict::words);
        let rounds = row.filter(|r| r.rounds > 0).map_or(String::new(), |r| format!(", {} rounds", r.rounds));
        let _ = writeln!(text, "  {} {commit}: {means}{rounds}{}", commit.date, figures(row));
    }
    text
}

/// What was noted of a step, in parentheses.
fn figures(row: Option<&StepRow>) -> String {
    row.filter(|r| !r.figures.is_empty()).map_or(String::new(), |r| format!(" ({})", r.figures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::state::Step;

    /// Commits 0 to 4 of one parent each, the last of two.
    fn line() -> Vec<Commit> {
        let commit = |place: usize| Commit {
            id: format!("{place}").repeat(40),
            parents: (0..place).last().map(|p| format!("{p}").repeat(40)).into_iter().collect(),
            short: format!("{place}").repeat(7),
            date: format!("2026-01-0{}", place + 1),
            subject: format!("change {place}"),
        };
        let mut line: Vec<Commit> = (0..5).map(commit).collect();
        line[4].parents.push("f".repeat(40));
        line
    }

    fn told(answer: &Answer, steps: &[(usize, Step, u32, &str)]) -> String {
        let (home, line) = (tempfile::tempdir().unwrap(), line());
        let task = Task {
            repository: "/".into(),
            good: line[0].id.clone(),
            bad: line[4].id.clone(),
            build: "make".into(),
            program: "program".into(),
            experiment: String::new(),
            metric: None,
            cell: None,
        };
        assert_eq!(place(&task), Path::new("bisect/000000000000..444444444444"));
        let mut state = State::open(home.path(), &task).unwrap();
        for (place, step, rounds, figures) in steps {
            state.note(&line[*place], *step, *rounds, figures).unwrap();
        }
        text(answer, &line, &state)
    }

    #[test]
    fn answers_say_what_they_rest_on_and_what_to_do_next() {
        let slow = "iops 0.95 [0.94, 0.96]";
        insta::assert_snapshot!(told(&Answer::First(2..=2), &[(2, Step::Different, 24, slow)]), @"
        first bad commit: 2222222 change 2
        author date: 2026-01-03
        beside 0000000 change 0: different, 24 rounds (iops 0.95 [0.94, 0.96])
        ");
        insta::assert_snapshot!(told(&Answer::First(4..=4), &[(4, Step::Different, 12, slow)]), @"
        first bad commit: 4444444 change 4
        author date: 2026-01-05
        beside 0000000 change 0: different, 12 rounds (iops 0.95 [0.94, 0.96])
        it is a merge; to search in what it brought: --good $(git merge-base 3333333 ffffffffffff) --bad ffffffffffff
        ");
        let skipped =
            [(2, Step::BuildFailed, 0, "exit status: 1: no compiler"), (3, Step::Undecided, 96, "iops 0.99 [0.97, 1.01]")];
        let bad = [(4, Step::Different, 12, slow)];
        insta::assert_snapshot!(told(&Answer::First(2..=4), &[&skipped[..], &bad].concat()), @"
        the first bad commit is one of 3; each beside 0000000 change 0:
          2026-01-03 2222222 change 2: does not build, skipped (exit status: 1: no compiler)
          2026-01-04 3333333 change 3: undecided, skipped, 96 rounds (iops 0.99 [0.97, 1.01])
          2026-01-05 4444444 change 4: different, 12 rounds (iops 0.95 [0.94, 0.96])
        ");
        insta::assert_snapshot!(told(&Answer::Alike, &[(4, Step::Same, 48, "iops 1.00 [0.99, 1.01]")]), @"0000000 change 0 and 4444444 change 4 do not differ by what 48 rounds can find (iops 1.00 [0.99, 1.01]); lower [gate] find to look for less");
        insta::assert_snapshot!(told(&Answer::Alike, &[(4, Step::Same, 0, "the same program as 0000000, byte for byte")]), @"0000000 change 0 and 4444444 change 4 do not differ (the same program as 0000000, byte for byte)");
        insta::assert_snapshot!(told(&Answer::Open, &[(4, Step::Undecided, 96, "iops 0.99 [0.97, 1.01]")]), @"whether 0000000 change 0 and 4444444 change 4 differ, 96 rounds do not tell (iops 0.99 [0.97, 1.01]); raise [gate] most_rounds, with another --state");
    }
}
