//! Which side sets the throughput of a cell, and what a reader of CPU time must know where threads spin.

use super::contrast::Metric;
use super::effect::{CellEffects, Effect};
use super::spinning::Spinning;

/// The side that sets the throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saturated {
    /// The submitting threads: more throughput needs a cheaper loop or more jobs.
    Loop,
    /// All CPUs, shared by the loop and the kernel workers that serve the target.
    Cpus,
    /// The device, or the kernel workers that serve it.
    Target,
    /// The machine is not all busy, and a thread spins: it looks the same while it waits for the target and while it works.
    TargetOrThread,
    /// The machine is all busy, at least in part with spinning.
    CpusOrSpinning,
    /// Nobody: requests start when they are due.
    Rate,
}

impl Saturated {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Saturated::Loop => "the loop's threads",
            Saturated::Cpus => "the CPUs, shared by the loop and the kernel workers of the target",
            Saturated::Target => "the target",
            Saturated::TargetOrThread => "the target, or a thread that spins: it looks busy whether it waits or works",
            Saturated::Rate => "the rate that was asked for",
            Saturated::CpusOrSpinning => "the CPUs, unless they are busy with spinning: a thread that waits keeps one busy",
        }
    }
}

/// Stands beside verdicts on the CPU time of arms that spin.
pub const SPINS: &str = "spins";

/// At this share of its time a CPU is as busy as it gets: slices begin and end with waiting.
pub const SATURATED: f64 = 0.95;

impl CellEffects {
    /// True when throughput says little about the loop.
    pub fn bound_by_target(&self) -> bool {
        self.primary == Metric::CpuPerOp
    }

    /// What could do no more while `full` ran.
    pub fn saturated(&self) -> Option<Saturated> {
        if self.paced {
            return Some(Saturated::Rate);
        }
        let full = self.spinning.get("full");
        // A loop that spins is on a CPU whoever is the bottleneck.
        if self.thread_cpu_share? >= SATURATED && !full.is_some_and(|f| f.is_of_the_loop()) {
            return Some(Saturated::Loop);
        }
        // The machine's share is of the whole round, so of every arm.
        Some(match self.machine_busy_share? >= SATURATED {
            true if self.spinning.is_empty() => Saturated::Cpus,
            true => Saturated::CpusOrSpinning,
            false if full.is_none() => Saturated::Target,
            false => Saturated::TargetOrThread,
        })
    }

    /// True of a comparison of CPU time in which an arm spins: it is not what its work takes.
    pub fn spins(&self, effect: &Effect) -> bool {
        effect.metric == Metric::CpuPerOp && self.either_spins(effect)
    }

    /// True where an arm of this comparison spins, whatever is compared.
    pub fn either_spins(&self, effect: &Effect) -> bool {
        [&effect.contrast.treatment, &effect.contrast.reference].iter().any(|t| self.spinning.contains_key(*t))
    }

    /// What a reader of CPU time must know where some arm spins: one clause. Empty where none does.
    pub fn spinning_clause(&self) -> String {
        let all = self.spinning.values().copied().reduce(Spinning::or);
        all.map_or_else(String::new, |all| format!("{SPINS}: an arm keeps a CPU busy whatever it does, by {}", all.clause()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashMap};

    #[test]
    fn the_side_that_is_as_busy_as_it_gets_is_the_bound() {
        let cell = |spinning: BTreeMap<String, Spinning>, own, machine| CellEffects {
            cell: "read".into(),
            thread_cpu_share: own,
            machine_busy_share: machine,
            primary: Metric::Iops,
            effects: Vec::new(),
            variation: None,
            aliases: Vec::new(),
            spinning,
            paced: false,
            whole_turns: false,
        };
        let side_of = |spinning, own, machine| cell(spinning, own, machine).saturated();
        let side = |own, machine| side_of(BTreeMap::new(), own, machine);
        assert_eq!(side(Some(0.97), Some(0.5)), Some(Saturated::Loop));
        assert_eq!(side(Some(0.97), Some(0.99)), Some(Saturated::Loop));
        assert_eq!(side(Some(0.6), Some(0.99)), Some(Saturated::Cpus));
        assert_eq!(side(Some(0.6), Some(0.8)), Some(Saturated::Target));
        assert_eq!(side(Some(0.6), None), None);
        assert_eq!(side(None, Some(0.8)), None);

        let spins = |key: &'static str, level: &str| {
            let levels = HashMap::from([(key, level.to_string())]);
            BTreeMap::from([("full".to_string(), Spinning::of(&levels))])
        };
        let refills = || spins("queue_refill", "threshold");
        assert_eq!(side_of(refills(), Some(0.99), Some(0.5)), Some(Saturated::TargetOrThread), "it is busy while it waits");
        assert_eq!(side_of(refills(), Some(0.99), Some(0.99)), Some(Saturated::CpusOrSpinning));
        assert_eq!(side_of(refills(), Some(0.99), None), None);
        let submits = || spins("sqpoll", "on");
        assert_eq!(side_of(submits(), Some(0.97), Some(0.99)), Some(Saturated::Loop), "the loop itself does not spin");
        assert_eq!(side_of(submits(), Some(0.6), Some(0.99)), Some(Saturated::CpusOrSpinning));
        let other = BTreeMap::from([("without:queue_refill".to_string(), refills()["full"])]);
        assert_eq!(side_of(other.clone(), Some(0.99), Some(0.5)), Some(Saturated::Loop), "another arm spins");
        assert_eq!(side_of(other, Some(0.6), Some(0.99)), Some(Saturated::CpusOrSpinning));
        let paced = CellEffects { paced: true, ..cell(BTreeMap::new(), Some(0.2), Some(0.4)) };
        assert_eq!(paced.saturated(), Some(Saturated::Rate));
    }
}
