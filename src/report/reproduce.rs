//! The section of `report.md` on where and how this was measured.

use super::escape::{self, fenced};
use crate::analysis::Model;
use crate::run::manifest::Circumstances;
use std::fmt::Write;

/// What the kernel said of machine and targets; what it did not say is left out.
fn circumstances(found: &Circumstances) -> String {
    if found.machine.is_empty() {
        return String::new();
    }
    let print = if found.fingerprint.is_empty() {
        "The fingerprint is not known, since machine and target do not tell which they are: absolute figures may not be compared with other runs'".into()
    } else {
        format!("Fingerprint {}: absolute figures of runs that share it may be compared", escape::text(&found.fingerprint))
    };
    let mut text = format!("\n{print}.\n\n| fact | value |\n|---|---|\n");
    let loads = [("before: ", &found.load_before), ("after: ", &found.load_after)];
    let groups = [("", &found.machine)].into_iter().chain(found.targets.iter().map(|t| ("target: ", t))).chain(loads);
    for (prefix, facts) in groups {
        let told = facts.iter().filter_map(|(name, value)| Some((name, value.as_deref().filter(|v| !v.is_empty())?)));
        for (name, value) in told {
            let _ = writeln!(text, "| {prefix}{} | {} |", escape::text(name), escape::text(value));
        }
    }
    text
}

/// The section.
pub fn section(model: &Model) -> String {
    let Some(manifest) = &model.manifest else {
        return "\nHow to reproduce this is not known: there is no manifest.json.\n".into();
    };
    let mut text = format!("\n## How to reproduce\n\n{}\n\n", fenced("", &manifest.command));
    let e = &manifest.environment;
    let [cpu, kernel, version, compiler, plan] =
        [&e.cpu, &e.kernel, &e.version, &e.compiler, &manifest.plan_hash].map(|fact| escape::text(fact));
    let _ = writeln!(text, "{cpu}, {} CPUs, {kernel}, uring-ablate {version} ({compiler}), plan {plan}.\n", e.cpus);
    let _ = writeln!(text, "{}", fenced("toml", &manifest.experiment.text));
    text += &circumstances(&manifest.circumstances);
    if let Some(fio) = &manifest.fio {
        let _ = writeln!(text, "\nfio is {}.", escape::text(&fio.version));
        for job in &fio.jobs {
            let _ = writeln!(
                text,
                "\n{} on {}:\n\n{}",
                escape::text(&job.treatment),
                escape::text(&job.cell),
                fenced("ini", &job.job)
            );
        }
    }
    text
}
