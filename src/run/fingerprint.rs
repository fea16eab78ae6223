//! Whether two runs were made in the same place. What must agree is one digest, the fingerprint; which facts part two runs is told beside it.
//!
//! A fact that is not told is not equal to another that is not told: where a fact is missing that tells machines apart, the fingerprint is not
//! known; any other is said to be unknown.

use super::facts::{Bearing, Circumstances, DEVICE, Facts, NO_QUOTA, bearings};

/// A digest of what must agree for absolute figures of two runs to be comparable: where and on what they were taken. Empty where the machine or
/// what serves a target is not told: then nothing is known to be the same.
pub fn fingerprint(machine: &Facts, targets: &[Facts]) -> String {
    if !unnamed(machine, targets).is_empty() {
        return String::new();
    }
    let counts = |name: &str, bearing: Bearing| match bearing {
        Bearing::Names | Bearing::Agrees | Bearing::Kept => true,
        Bearing::Later => quota_of_others(machine, name),
        Bearing::Apart => false,
    };
    let names = bearings().filter(|(name, bearing)| counts(name, *bearing)).map(|(name, _)| name);
    let identity: String = names.map(|name| format!("{name}={:?};", machine.get(name))).collect();
    // The number of a loop device and its like is chance.
    let of_target = |facts: &Facts| DEVICE.iter().map(|d| format!("{}={:?};", d.0, facts.get(d.0))).collect::<String>();
    let text = identity + &targets.iter().map(of_target).collect::<String>();
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// True where both fingerprints are known and the same.
pub fn same(one: &str, other: &str) -> bool {
    !one.is_empty() && one == other
}

/// A quota that the own group's `cpu.max` does not tell: fingerprints of old have that file alone.
fn quota_of_others(machine: &Facts, name: &str) -> bool {
    told(machine, name).is_some_and(|quota| quota != NO_QUOTA && told(machine, "cgroup_cpu_max") != Some(quota))
}

/// For readers.
pub fn shown(fingerprint: &str) -> &str {
    if fingerprint.is_empty() { "not known" } else { fingerprint }
}

fn told<'a>(facts: &'a Facts, name: &str) -> Option<&'a str> {
    facts.get(name)?.as_deref()
}

/// What tells a machine or a target apart and is missing.
fn unnamed(machine: &Facts, targets: &[Facts]) -> Vec<String> {
    let missing = |name: &str| told(machine, name).is_none_or(str::is_empty);
    let names = bearings().filter(|(name, bearing)| *bearing == Bearing::Names && missing(name)).map(|(name, _)| name.into());
    let served = |target: &Facts| {
        let in_memory = |kind: &str| ["tmpfs", "ramfs"].iter().any(|memory| kind.starts_with(memory));
        told(target, "device").is_some() || told(target, "file_system").is_some_and(in_memory)
    };
    // Of files on overlay, network and FUSE file systems nothing else tells where they lie.
    names.chain(targets.iter().any(|target| !served(target)).then(|| "target: device".into())).collect()
}

/// One run's circumstances beside another's. All are names of facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Both tell them, and they differ.
    pub differ: Vec<String>,
    /// One of them tells them.
    pub one_sided: Vec<String>,
    /// Neither does.
    pub untold: Vec<String>,
    /// Missing in one of them at least, and without them it is not known which machine or target it was.
    pub unnamed: Vec<String>,
}

impl Beside {
    fn add(&mut self, name: String, pairs: &[(Option<&str>, Option<&str>)]) {
        let any = |of: fn(&(Option<&str>, Option<&str>)) -> bool| pairs.iter().any(of);
        if any(|(a, b)| a.is_some() && b.is_some() && a != b) {
            self.differ.push(name);
        } else if any(|(a, b)| a.is_some() != b.is_some()) {
            self.one_sided.push(name);
        } else if any(|(a, b)| a.is_none() && b.is_none()) {
            self.untold.push(name);
        }
    }

    /// Facts of which it is not known whether they agree.
    pub fn unknown(&self) -> Vec<&str> {
        self.one_sided.iter().chain(&self.untold).map(String::as_str).collect()
    }
}

impl Circumstances {
    /// Compares what must agree with another run's.
    pub fn beside(&self, other: &Circumstances) -> Beside {
        let mut beside = Beside::default();
        for (name, bearing) in bearings().filter(|(_, bearing)| *bearing != Bearing::Apart) {
            let pair = (told(&self.machine, name), told(&other.machine, name));
            // What a group's own file says is told by the quota that holds.
            if bearing != Bearing::Kept || pair.0 != pair.1 {
                beside.add(name.to_string(), &[pair]);
            }
        }
        if self.targets.len() != other.targets.len() {
            beside.differ.push("number of targets".into());
        }
        for (name, _) in DEVICE {
            let targets = self.targets.iter().zip(&other.targets);
            beside.add(format!("target: {name}"), &targets.map(|(a, b)| (told(a, name), told(b, name))).collect::<Vec<_>>());
        }
        beside.unnamed = [self, other].iter().flat_map(|run| unnamed(&run.machine, &run.targets)).collect();
        beside.unnamed.sort();
        beside.unnamed.dedup();
        beside
    }

    /// Why absolute figures must not be compared with those of another run; `None` where they may.
    pub fn obstacle(&self, other: &Circumstances) -> Option<String> {
        let beside = self.beside(other);
        let list = |names: &[String]| names.join(", ");
        let mut why: Vec<String> = Vec::new();
        let known = !self.fingerprint.is_empty() && !other.fingerprint.is_empty();
        if known && self.fingerprint != other.fingerprint && (!beside.differ.is_empty() || beside.one_sided.is_empty()) {
            let by = if beside.differ.is_empty() { String::new() } else { format!(", for {}", list(&beside.differ)) };
            why.push(format!("the fingerprints of the machines differ{by}"));
        }
        // Runs of old may have a fingerprint though their machine was not told.
        if !beside.unnamed.is_empty() {
            why.push(format!("it is not known whether machine and target are the same: {} is not told", list(&beside.unnamed)));
        } else if !known {
            why.push("a machine's fingerprint is not known".into());
        } else if self.fingerprint != other.fingerprint && !beside.one_sided.is_empty() {
            why.push(format!(
                "it is not known whether they agree in {}, which one of the runs does not tell",
                list(&beside.one_sided)
            ));
        }
        (!why.is_empty()).then(|| why.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(told: &[(&str, &str)]) -> Facts {
        told.iter().map(|(name, value)| (name.to_string(), Some(value.to_string()))).collect()
    }

    fn run(machine: &[(&str, &str)], target: &[(&str, &str)]) -> Circumstances {
        let named = [("kernel_release", "6.1"), ("cpu_model", "a CPU"), ("cpus_online", "0-1"), ("memory", "1 kB")];
        let machine = facts(&[&named[..], machine].concat());
        let targets = vec![facts(&[&[("device", "loop0")], target].concat())];
        let fingerprint = fingerprint(&machine, &targets);
        Circumstances { fingerprint, machine, targets, ..Circumstances::default() }
    }

    fn without(mut run: Circumstances, name: &str) -> Circumstances {
        run.machine.insert(name.into(), None);
        run.fingerprint = fingerprint(&run.machine, &run.targets);
        run
    }

    #[test]
    fn it_is_of_the_place_and_not_of_the_moment() {
        let first = run(&[("governor", "performance")], &[("scheduler", "[none]")]);
        assert_eq!(first.fingerprint.len(), 8);
        let print = |machine: &[(&str, &str)], target: &[(&str, &str)]| run(machine, target).fingerprint;
        assert_eq!(print(&[("governor", "performance"), ("memory_free", "1 kB")], &[("scheduler", "[none]")]), first.fingerprint);
        assert_eq!(print(&[("governor", "performance")], &[("scheduler", "[none]"), ("device", "loop7")]), first.fingerprint);
        assert_ne!(print(&[("governor", "powersave")], &[("scheduler", "[none]")]), first.fingerprint);
        assert_ne!(print(&[("governor", "performance")], &[("scheduler", "[bfq]")]), first.fingerprint);
    }

    #[test]
    fn fingerprints_of_committed_runs_are_what_they_were() {
        let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        let mut seen = 0;
        for experiment in std::fs::read_dir(home).unwrap().flatten() {
            for run in std::fs::read_dir(experiment.path()).into_iter().flatten().flatten() {
                let Ok(text) = std::fs::read_to_string(run.path().join("manifest.json")) else { continue };
                let told: crate::run::manifest::Manifest = serde_json::from_str(&text).unwrap();
                let found = told.circumstances;
                assert_eq!(fingerprint(&found.machine, &found.targets), found.fingerprint, "{}", run.path().display());
                seen += 1;
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn a_quota_of_a_group_above_is_part_of_it_and_none_is_what_it_was() {
        let print = |told: &[(&str, &str)]| run(told, &[]).fingerprint;
        let free = print(&[("cgroup_cpu_max", "max 100000")]);
        assert_eq!(print(&[("cgroup_cpu_max", "max 100000"), ("cpu_quota", "none")]), free);
        assert_ne!(print(&[("cgroup_cpu_max", "max 100000"), ("cpu_quota", "50000 100000")]), free);
        let own = print(&[("cgroup_cpu_max", "50000 100000")]);
        assert_eq!(print(&[("cgroup_cpu_max", "50000 100000"), ("cpu_quota", "50000 100000")]), own);
        assert_ne!(print(&[("cpu_quota", "50000 100000")]), print(&[]));
    }

    #[test]
    fn what_neither_tells_is_unknown_and_not_equal() {
        let (first, second) = (run(&[("governor", "performance")], &[]), run(&[("governor", "performance")], &[]));
        let beside = first.beside(&second);
        assert!(beside.differ.is_empty() && beside.one_sided.is_empty() && beside.unnamed.is_empty(), "{beside:?}");
        assert!(beside.untold.contains(&"microcode".into()) && beside.untold.contains(&"target: model".into()), "{beside:?}");
        assert!(!beside.untold.contains(&"governor".into()), "{beside:?}");
        assert!(!beside.untold.contains(&"cgroup_cpu_max".into()), "the quota is said once: {beside:?}");
        assert_eq!(first.obstacle(&second), None, "beside what is known");
    }

    #[test]
    fn what_one_of_them_tells_is_not_known_to_differ() {
        let (tells, not) = (run(&[("governor", "performance")], &[]), run(&[], &[]));
        assert_eq!(tells.beside(&not).one_sided, ["governor"]);
        let why = tells.obstacle(&not).unwrap();
        assert_eq!(why, "it is not known whether they agree in governor, which one of the runs does not tell");
        let other = run(&[("boost", "1")], &[("scheduler", "[none]")]);
        let differs = run(&[("boost", "0"), ("governor", "performance")], &[("scheduler", "[none]")]);
        let why = differs.obstacle(&other).unwrap();
        assert_eq!(
            why,
            "the fingerprints of the machines differ, for boost; it is not known whether they agree in governor, which one of the runs does not tell"
        );
        assert_eq!(run(&[], &[("scheduler", "a")]).beside(&run(&[], &[("scheduler", "b")])).differ, ["target: scheduler"]);
    }

    #[test]
    fn a_machine_without_a_name_is_no_machine_that_is_known() {
        let nameless = without(run(&[], &[]), "cpu_model");
        assert_eq!((nameless.fingerprint.as_str(), shown(&nameless.fingerprint)), ("", "not known"));
        assert!(!same(&nameless.fingerprint, &nameless.fingerprint) && same("1a", "1a") && !same("1a", "1b"));
        let why = nameless.obstacle(&nameless).unwrap();
        assert_eq!(why, "it is not known whether machine and target are the same: cpu_model is not told");
        // As runs of old have it: one digest for all machines whose processor has no name.
        let of_old = Circumstances { fingerprint: "1a2b3c4d".into(), ..nameless };
        assert!(of_old.obstacle(&of_old).unwrap().contains("cpu_model is not told"));
    }

    #[test]
    fn a_target_that_nothing_is_known_to_serve_is_no_known_target() {
        let machine = run(&[], &[]).machine;
        let print = |target: &[(&str, &str)]| fingerprint(&machine, &[facts(target)]);
        assert_eq!(print(&[("file_system", "overlay (rw; rw)")]), "");
        assert_eq!(print(&[("file_system", "nfs4 (rw; rw)")]), "");
        assert_eq!(print(&[]), "");
        assert_ne!(print(&[("file_system", "tmpfs (rw; rw)")]), "");
        assert_ne!(print(&[("file_system", "ext4 (rw; rw)"), ("device", "vda")]), "");
    }

    /// Two machines of one vendor whose processors have numbers and no name.
    #[test]
    fn two_parts_of_arm_have_two_fingerprints() {
        let print = |part: &str, variant: &str| {
            let cpu = format!(
                "processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: 1\n"
            );
            let name = super::super::processor::named_in(&cpu).unwrap();
            run(&[("cpu_model", &name)], &[]).fingerprint
        };
        let (n1, v1) = (print("0xd0c", "0x3"), print("0xd40", "0x3"));
        assert!(!n1.is_empty() && !v1.is_empty() && n1 != v1);
    }
}
