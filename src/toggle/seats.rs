//! On which CPUs the jobs of a round run: one answer, for the plan that refuses what cannot be had and for the round that confines its threads.
//! Pure; `engine/numa.rs` asks the kernel.

use super::{Levels, Toggle};
use serde::{Deserialize, Serialize};

/// The CPUs of a round. Empty where nobody asked the kernel yet: then nothing is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// Those that this process may run on, in order: sched_getaffinity(2).
    pub allowed: Vec<u32>,
    /// Those that `[engine] cpus` names; empty where it names none.
    pub chosen: Vec<u32>,
    /// Those of `numa_bind`'s node that this process may run on, or that `[engine] cpus` names.
    pub of_node: Vec<u32>,
}

impl Seats {
    /// The CPUs that a job may run on under `levels`. Jobs that are pinned take the CPUs in turn: of the node where they are bound to one, of
    /// `[engine] cpus` where that names some. Never empty where [`Seats::refusal`] has nothing to say.
    pub fn of(&self, job: usize, levels: &Levels) -> Vec<u32> {
        let (bound, pinned) = (levels.is_on(Toggle::NumaBind), levels.is_on(Toggle::CpuAffinity));
        let near = if bound { self.near() } else { self.allowed.clone() };
        if !pinned {
            return near;
        }
        let choice = if self.chosen.is_empty() { near } else { self.chosen_on_node(bound) };
        if choice.is_empty() { choice } else { vec![choice[job % choice.len()]] }
    }

    /// The CPUs of the node that this process may run on without asking for them by name.
    fn near(&self) -> Vec<u32> {
        self.of_node.iter().copied().filter(|cpu| self.allowed.contains(cpu)).collect()
    }

    /// What `[engine] cpus` names, of the node alone where jobs are bound to one.
    fn chosen_on_node(&self, bound: bool) -> Vec<u32> {
        self.chosen.iter().copied().filter(|cpu| !bound || self.of_node.contains(cpu)).collect()
    }

    /// Says why `levels` find no CPU here, and which toggle is at fault.
    pub fn refusal(&self, levels: &Levels, node: Option<u32>) -> Option<(Toggle, String)> {
        let (bound, pinned) = (levels.is_on(Toggle::NumaBind), levels.is_on(Toggle::CpuAffinity));
        if self.allowed.is_empty() {
            return None;
        }
        let allowed = cpu_text(&self.allowed);
        if let ([only], true) = (&self.allowed[..], pinned && self.chosen.iter().all(|cpu| self.allowed.contains(cpu))) {
            return Some((
                Toggle::CpuAffinity,
                format!(
                    "cpu_affinity = on needs two CPUs or more to choose from. This process may run on CPU {only} alone, where a pinned thread \
                     is like any other; allow it more (taskset, the cpuset of its control group)"
                ),
            ));
        }
        let node = node.filter(|_| bound)?;
        let by_name = pinned && !self.chosen.is_empty();
        if !by_name && self.near().is_empty() {
            return Some((
                Toggle::NumaBind,
                format!(
                    "numa_bind = on needs a CPU of NUMA node {node} (/sys/devices/system/node/node{node}/cpulist). This process may run on CPUs \
                     {allowed}, and none of them is one"
                ),
            ));
        }
        (by_name && self.chosen_on_node(true).is_empty()).then(|| {
            let (chosen, near) = (cpu_text(&self.chosen), cpu_text(&self.of_node));
            let reason = format!(
                "numa_bind = on with cpu_affinity = on needs a CPU of NUMA node {node} in [engine] cpus. It names {chosen}; of the node this \
                 process may use {near}"
            );
            (Toggle::NumaBind, reason)
        })
    }
}

/// A CPU that an experiment names and this process cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "[engine] {key} names CPU {cpu}, and this process may use CPUs {} only: name one of these, or allow it more (taskset, the cpuset of its \
     control group)", cpu_text(.allowed)
)]
pub struct Beyond {
    pub key: &'static str,
    pub cpu: u32,
    pub allowed: Vec<u32>,
}

/// CPUs as the kernel lists them: `0-3,8`.
pub fn cpu_text(cpus: &[u32]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let ranges = sorted.chunk_by(|a, b| a + 1 == *b);
    let text = |range: &[u32]| match range {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    ranges.map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(on: &[Toggle]) -> Levels {
        on.iter().fold(Levels::all_off(), |levels, toggle| levels.with(*toggle, 1))
    }

    /// Eight CPUs, of which 2 and 3 are the node's.
    fn seats(chosen: &[u32]) -> Seats {
        Seats { allowed: (0..8).collect(), chosen: chosen.into(), of_node: vec![2, 3] }
    }

    #[test]
    fn jobs_that_are_bound_and_pinned_take_the_cpus_of_the_node_in_turn() {
        let both = levels(&[Toggle::NumaBind, Toggle::CpuAffinity]);
        let pins = |seats: Seats, levels: &Levels| (0..4).map(|job| seats.of(job, levels)).collect::<Vec<_>>();
        assert_eq!(pins(seats(&[]), &both), [[2], [3], [2], [3]], "not three of four on one");
        assert_eq!(pins(seats(&[0, 3, 2]), &both), [[3], [2], [3], [2]], "those of them that lie on the node");
        assert_eq!(pins(seats(&[6, 5]), &levels(&[Toggle::CpuAffinity])), [[6], [5], [6], [5]]);
        assert_eq!(pins(seats(&[6]), &levels(&[Toggle::NumaBind])), vec![vec![2, 3]; 4], "only pinned jobs have a CPU each");
        assert_eq!(seats(&[6]).of(1, &levels(&[])), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn what_finds_no_cpu_is_refused_with_the_cpus_that_there_are() {
        let refusal = |seats: &Seats, on: &[Toggle]| seats.refusal(&levels(on), Some(1)).map(|(_, reason)| reason);
        let both = [Toggle::NumaBind, Toggle::CpuAffinity];
        assert_eq!(refusal(&seats(&[0, 3]), &both), None);
        let elsewhere = refusal(&seats(&[0, 4]), &both).unwrap();
        assert!(elsewhere.contains("[engine] cpus") && elsewhere.contains("0,4") && elsewhere.contains("2-3"), "{elsewhere}");
        assert_eq!(refusal(&seats(&[0, 4]), &both[..1]), None, "each alone can be had");
        // An isolated CPU is had by name alone.
        let isolated = Seats { allowed: vec![0, 1], chosen: vec![3], of_node: vec![3] };
        assert_eq!((refusal(&isolated, &both), isolated.of(1, &levels(&both))), (None, vec![3]));
        assert!(refusal(&isolated, &both[..1]).unwrap().contains("CPUs 0-1"));
        let far = Seats { of_node: vec![], ..seats(&[]) };
        assert!(refusal(&far, &both[..1]).unwrap().contains("CPUs 0-7"));
        let single = Seats { allowed: vec![5], chosen: vec![], of_node: vec![5] };
        assert!(refusal(&single, &both[1..]).unwrap().contains("CPU 5 alone"));
        assert_eq!(refusal(&single, &both[..1]), None);
        assert_eq!(refusal(&Seats::default(), &both), None, "nobody has asked");
    }

    #[test]
    fn cpus_are_listed_as_the_kernel_lists_them() {
        assert_eq!(cpu_text(&[8, 0, 1, 2, 1, 4]), "0-2,4,8");
        assert_eq!(cpu_text(&[]), "");
    }
}
