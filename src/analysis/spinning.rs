//! Threads that spin while they wait: they use a CPU whatever they do, so neither CPU time nor a share of a CPU says how much work they had.

use super::load::Arm;
use crate::toggle::Toggle;
use std::collections::{BTreeMap, HashMap};

/// Which threads of an arm spin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spinning {
    /// The loop looks for completions without sleeping (`queue_refill = threshold`).
    refills: bool,
    /// The loop polls the device inside of the kernel (`iopoll` without `sqpoll`, whose thread polls in its place).
    polls: bool,
    /// The kernel thread that submits looks for requests until its idle time is over (`sqpoll`).
    submits: bool,
}

impl Spinning {
    /// Of an arm with these levels, written as in `arms.csv`.
    pub fn of(levels: &HashMap<&'static str, String>) -> Spinning {
        let is = |toggle: Toggle, level: u32| levels.get(toggle.key()).is_some_and(|l| *l == toggle.spec().level_text(level));
        let off = |toggle: Toggle| !levels.contains_key(toggle.key()) || is(toggle, toggle.spec().off);
        Spinning {
            refills: is(Toggle::QueueRefill, Toggle::QueueRefill.spec().off),
            polls: !off(Toggle::Iopoll) && off(Toggle::Sqpoll),
            submits: !off(Toggle::Sqpoll),
        }
    }

    /// Of every treatment of these arms of which some thread spins.
    pub fn of_arms<'a>(arms: impl Iterator<Item = &'a Arm>) -> BTreeMap<String, Spinning> {
        let each = arms.map(|arm| (arm.treatment.clone(), Spinning::of(&arm.levels)));
        each.filter(|(_, spinning)| *spinning != Spinning::default()).collect()
    }

    /// True where the loop's own thread does.
    pub fn is_of_the_loop(self) -> bool {
        self.refills || self.polls
    }

    /// Who spins, and which level makes it: one clause.
    pub fn clause(self) -> String {
        let parts = [
            (self.refills, "a loop that refills its queue by a threshold (queue_refill)"),
            (self.polls, "a loop that polls the device (iopoll)"),
            (self.submits, "a kernel thread that looks for requests until its idle time (sqpoll)"),
        ];
        let told: Vec<&str> = parts.into_iter().filter(|(spins, _)| *spins).map(|(_, words)| words).collect();
        told.join(" and ")
    }

    /// What spins in either.
    pub fn or(self, other: Spinning) -> Spinning {
        let Spinning { refills, polls, submits } = other;
        Spinning { refills: self.refills || refills, polls: self.polls || polls, submits: self.submits || submits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_say_who_spins() {
        let of = |levels: &[(Toggle, &str)]| Spinning::of(&levels.iter().map(|(t, l)| (t.key(), l.to_string())).collect());
        let eager = (Toggle::QueueRefill, "eager");
        assert_eq!(of(&[]), Spinning::default(), "a peer says nothing of its levels");
        assert_eq!(of(&[eager, (Toggle::Iopoll, "off"), (Toggle::Sqpoll, "off")]), Spinning::default());
        assert!(of(&[(Toggle::QueueRefill, "threshold")]).clause().contains("(queue_refill)"));
        let polls = of(&[eager, (Toggle::Iopoll, "hybrid"), (Toggle::Sqpoll, "off")]);
        assert!(polls.is_of_the_loop() && polls.clause().contains("(iopoll)"));
        let submits = of(&[eager, (Toggle::Iopoll, "on"), (Toggle::Sqpoll, "on")]);
        assert!(!submits.is_of_the_loop() && submits.clause().ends_with("(sqpoll)"), "its thread polls, too");
    }
}
