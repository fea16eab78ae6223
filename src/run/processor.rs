//! What the processors of a machine are called, in words that differ where the processors do.
//!
//! x86 tells a name. Elsewhere `/proc/cpuinfo` tells numbers (ARM: implementer, part, variant and revision of `MIDR_EL1`, as in the kernel's
//! arch/arm64/kernel/cpuinfo.c), and one machine may have several kinds of processors (big.LITTLE).

use super::environment::named;
use super::facts::words_behind;
use std::collections::BTreeMap;

/// The processors of this machine; `None` where it does not tell.
pub fn name() -> Option<String> {
    named_in(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

/// The processors of which a text of `/proc/cpuinfo` tells. Several kinds are all named, each with the number of its processors.
pub fn named_in(cpuinfo: &str) -> Option<String> {
    kinds(&arm(cpuinfo))
        .or_else(|| words_behind(cpuinfo, "model name"))
        .or_else(|| kinds(&every(cpuinfo, &[("cpu", ""), ("revision", "revision ")]))) // POWER
        .or_else(|| kinds(&every(cpuinfo, &[("cpu model", "")]))) // MIPS
        .or_else(|| kinds(&every(cpuinfo, &[("Model Name", "")]))) // LoongArch
        .or_else(|| kinds(&every(cpuinfo, RISCV)))
        .or_else(|| kinds(&mainframe(cpuinfo)))
}

/// Kinds of processors in one order, whichever of them comes first at boot.
fn kinds(processors: &[String]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    processors.iter().for_each(|name| *counts.entry(name).or_default() += 1);
    match counts.len() {
        0 => None,
        1 => counts.into_keys().next().map(String::from),
        _ => Some(counts.iter().map(|(name, count)| format!("{count} x {name}")).collect::<Vec<_>>().join(" + ")),
    }
}

/// Of each processor what stands behind these keys, with a word before each; nothing of those that have none of them.
fn every(cpuinfo: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let mut all: Vec<Vec<String>> = Vec::new();
    for line in cpuinfo.lines() {
        if named(line, "processor").is_some() {
            all.push(Vec::new());
        }
        let told = keys.iter().find_map(|(key, word)| Some((word, named(line, key)?)));
        if let (Some(processor), Some((word, value))) = (all.last_mut(), told) {
            processor.push(format!("{word}{}", value.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    all.into_iter().filter(|told| !told.is_empty()).map(|told| told.join(", ")).collect()
}

/// The microarchitecture, where the device tree names it, and the registers that identify it (arch/riscv/kernel/cpu.c).
const RISCV: &[(&str, &str)] = &[("uarch", ""), ("mvendorid", "mvendorid "), ("marchid", "marchid "), ("mimpid", "mimpid ")];

/// `processor 0: version = 00,  identification = 1D3E58,  machine = 8561`.
fn mainframe(cpuinfo: &str) -> Vec<String> {
    let machine = |line: &str| Some(format!("machine {}", line.strip_prefix("processor ")?.split_once("machine = ")?.1.trim()));
    cpuinfo.lines().filter_map(machine).collect()
}

/// What ARM tells of one processor, as it is written there.
#[derive(Default)]
struct Midr {
    implementer: String,
    part: Option<String>,
    variant: Option<String>,
    revision: Option<String>,
}

fn arm(cpuinfo: &str) -> Vec<String> {
    let mut all: Vec<Midr> = Vec::new();
    for line in cpuinfo.lines() {
        if let Some(implementer) = named(line, "CPU implementer") {
            all.push(Midr { implementer, ..Midr::default() });
        }
        let Some(midr) = all.last_mut() else { continue };
        midr.part = midr.part.take().or_else(|| named(line, "CPU part"));
        midr.variant = midr.variant.take().or_else(|| named(line, "CPU variant"));
        midr.revision = midr.revision.take().or_else(|| named(line, "CPU revision"));
    }
    all.iter().map(Midr::shown).collect()
}

impl Midr {
    fn shown(&self) -> String {
        let number = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        let implementer = number(&self.implementer).and_then(|id| IMPLEMENTERS.iter().find(|implementer| implementer.0 == id));
        let id = self.part.as_deref().and_then(number);
        let known = implementer.and_then(|(_, maker, parts)| {
            let (_, name) = parts.iter().find(|part| Some(part.0) == id)?;
            Some(format!("{maker} {name}"))
        });
        let part = self.part.as_deref().unwrap_or("not told");
        let revision = |letter: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            // The variant is hexadecimal, the revision decimal.
            let number = text.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
            Some(format!("{letter}{}", number.map_or(text.into(), |n| n.to_string())))
        };
        let revision: String = [revision("r", &self.variant), revision("p", &self.revision)].into_iter().flatten().collect();
        let revision = if revision.is_empty() { revision } else { format!(" {revision}") };
        match (known, implementer) {
            (Some(known), _) => format!("{known}{revision} (part {part})"),
            (None, Some((_, maker, _))) => format!("{maker} processor{revision} (part {part})"),
            (None, None) => format!("ARM processor{revision} (implementer {}, part {part})", self.implementer),
        }
    }
}

/// Who makes processors, and what theirs are called, by the numbers that `MIDR_EL1` has for them.
type Implementer = (u32, &'static str, &'static [(u32, &'static str)]);

/// As util-linux has them (sys-utils/lscpu-arm.c): those of servers, clouds, and boards that run a kernel with io_uring.
const IMPLEMENTERS: &[Implementer] = &[
    (0x41, "Arm", ARM_LTD),
    (0x42, "Broadcom", &[(0x516, "ThunderX2")]),
    (0x43, "Cavium", &[(0x0a1, "ThunderX 88XX"), (0x0a2, "ThunderX 81XX"), (0x0a3, "ThunderX 83XX"), (0x0af, "ThunderX2 99xx")]),
    (0x46, "Fujitsu", &[(0x001, "A64FX")]),
    (0x48, "HiSilicon", &[(0xd01, "TaiShan v110"), (0xd02, "TaiShan v120")]),
    (0x4e, "NVIDIA", &[(0x003, "Denver 2"), (0x004, "Carmel")]),
    (0x50, "APM", &[(0x000, "X-Gene")]),
    (0x51, "Qualcomm", &[(0x001, "Oryon"), (0xc00, "Falkor"), (0xc01, "Saphira")]),
    (0x61, "Apple", &[(0x022, "Icestorm M1"), (0x023, "Firestorm M1"), (0x032, "Blizzard M2"), (0x033, "Avalanche M2")]),
    (0x6d, "Microsoft", &[(0xd49, "Azure Cobalt 100")]),
    (0xc0, "Ampere", &[(0xac3, "Ampere-1"), (0xac4, "Ampere-1a")]),
];

const ARM_LTD: &[(u32, &str)] = &[
    (0xc07, "Cortex-A7"),
    (0xc08, "Cortex-A8"),
    (0xc09, "Cortex-A9"),
    (0xc0d, "Cortex-A17"),
    (0xc0f, "Cortex-A15"),
    (0xd03, "Cortex-A53"),
    (0xd04, "Cortex-A35"),
    (0xd05, "Cortex-A55"),
    (0xd06, "Cortex-A65"),
    (0xd07, "Cortex-A57"),
    (0xd08, "Cortex-A72"),
    (0xd09, "Cortex-A73"),
    (0xd0a, "Cortex-A75"),
    (0xd0b, "Cortex-A76"),
    (0xd0c, "Neoverse-N1"),
    (0xd0d, "Cortex-A77"),
    (0xd0e, "Cortex-A76AE"),
    (0xd40, "Neoverse-V1"),
    (0xd41, "Cortex-A78"),
    (0xd42, "Cortex-A78AE"),
    (0xd43, "Cortex-A65AE"),
    (0xd44, "Cortex-X1"),
    (0xd46, "Cortex-A510"),
    (0xd47, "Cortex-A710"),
    (0xd48, "Cortex-X2"),
    (0xd49, "Neoverse-N2"),
    (0xd4a, "Neoverse-E1"),
    (0xd4b, "Cortex-A78C"),
    (0xd4c, "Cortex-X1C"),
    (0xd4d, "Cortex-A715"),
    (0xd4e, "Cortex-X3"),
    (0xd4f, "Neoverse-V2"),
    (0xd80, "Cortex-A520"),
    (0xd81, "Cortex-A720"),
    (0xd82, "Cortex-X4"),
    (0xd84, "Neoverse-V3"),
    (0xd8e, "Neoverse-N3"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Processors of a machine as arm64 lists them.
    fn arm(parts: &[(&str, &str, &str, &str)]) -> String {
        let one = |(number, (implementer, part, variant, revision)): (usize, &(&str, &str, &str, &str))| {
            format!(
                "processor\t: {number}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: {implementer}\nCPU architecture: 8\n\
                 CPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: {revision}\n\n"
            )
        };
        parts.iter().enumerate().map(one).collect()
    }

    fn name(parts: &[(&str, &str, &str, &str)]) -> String {
        named_in(&arm(parts)).unwrap()
    }

    #[test]
    fn x86_is_called_what_it_was_always_called() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD  EPYC 7B13\n\
                    processor\t: 1\nmodel name\t: another\n";
        assert_eq!(named_in(text).as_deref(), Some("AMD EPYC 7B13"));
        assert_eq!(named_in("processor\t: 0\ncpu family\t: 6\nmodel\t\t: 1\nmicrocode\t: 0x1\n"), None);
        assert_eq!(named_in(""), None);
    }

    #[test]
    fn parts_of_arm_have_names_and_differ() {
        let (n1, v1) = (("0x41", "0xd0c", "0x3", "1"), ("0x41", "0xd40", "0x1", "1"));
        assert_eq!(name(&[n1, n1]), "Arm Neoverse-N1 r3p1 (part 0xd0c)");
        assert_eq!(name(&[v1]), "Arm Neoverse-V1 r1p1 (part 0xd40)");
        assert_ne!(name(&[n1]), name(&[("0x41", "0xd0c", "0x3", "2")]), "a revision, too");
        assert_eq!(name(&[("0x41", "0xfff", "0xa", "0")]), "Arm processor r10p0 (part 0xfff)");
        assert_eq!(name(&[("0x99", "0x001", "0x0", "0")]), "ARM processor r0p0 (implementer 0x99, part 0x001)");
        assert_eq!(named_in("CPU implementer\t: 0x41\n").as_deref(), Some("Arm processor (part not told)"));
        // 32 bits: the name is that of the architecture, and the parts stand below it.
        let old = format!("model name\t: ARMv7 Processor rev 5 (v7l)\n{}", arm(&[("0x41", "0xc07", "0x0", "5")]));
        assert_eq!(named_in(&old).as_deref(), Some("Arm Cortex-A7 r0p5 (part 0xc07)"));
    }

    #[test]
    fn several_parts_all_count_in_whatever_order() {
        let (little, big, other) = (("0x41", "0xd05", "0x1", "0"), ("0x41", "0xd0b", "0x1", "0"), ("0x41", "0xd0d", "0x1", "0"));
        let both = "2 x Arm Cortex-A55 r1p0 (part 0xd05) + 1 x Arm Cortex-A76 r1p0 (part 0xd0b)";
        assert_eq!(name(&[little, big, little]), both);
        assert_eq!(name(&[big, little, little]), both);
        assert_ne!(name(&[little, little, other]), both);
        assert_ne!(name(&[little, big, big]), both);
    }

    #[test]
    fn every_part_has_a_name_of_its_own() {
        let mut names: Vec<String> = IMPLEMENTERS
            .iter()
            .flat_map(|(_, maker, parts)| parts.iter().map(move |part| format!("{maker} {}", part.1)))
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn other_architectures_are_told_apart() {
        let power = |rev| format!("processor\t: 0\ncpu\t\t: POWER9, altivec supported\nclock\t\t: 2300MHz\nrevision\t: {rev}\n");
        assert_eq!(named_in(&power("2.3")).as_deref(), Some("POWER9, altivec supported, revision 2.3"));
        assert_ne!(named_in(&power("2.3")), named_in(&power("2.2")));
        let riscv =
            |mimpid| format!("processor\t: 0\nhart\t\t: 1\nuarch\t\t: sifive,u74-mc\nmvendorid\t: 0x489\nmimpid\t\t: {mimpid}\n");
        assert!(named_in(&riscv("0x1")).is_some());
        assert_ne!(named_in(&riscv("0x1")), named_in(&riscv("0x2")));
        let s390 = "vendor_id       : IBM/S390\nprocessor 0: version = 00,  identification = 1D3E58,  machine = 8561\n";
        assert_eq!(named_in(s390).as_deref(), Some("machine 8561"));
    }
}
