//! The section of `report.md` on where and how this was measured.

use super::markdown::escaped;
use crate::analysis::Model;
use crate::run::manifest::Circumstances;
use std::fmt::Write;

/// A block of code that its own backticks do not end.
fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", code.trim())
}

/// What the kernel said of machine and targets; what it did not say is left out.
fn circumstances(found: &Circumstances) -> String {
    if found.machine.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\nFingerprint {}: absolute figures of runs that share it may be compared.\n\n| fact | value |\n|---|---|\n",
        found.fingerprint
    );
    let loads = [("before: ", &found.load_before), ("after: ", &found.load_after)];
    let groups = [("", &found.machine)].into_iter().chain(found.targets.iter().map(|t| ("target: ", t))).chain(loads);
    for (prefix, facts) in groups {
        let told = facts.iter().filter_map(|(name, value)| Some((name, value.as_deref().filter(|v| !v.is_empty())?)));
        for (name, value) in told {
            let _ = writeln!(text, "| {prefix}{name} | {} |", escaped(value));
        }
    }
    text
}

/// The section.
pub fn section(model: &Model) -> String {
    let Some(manifest) = &model.manifest else {
        return "\nHow to reproduce this is not known: there is no manifest.json.\n".into();
    };
    let mut text = format!("\n## How to reproduce\n\n```\n{}\n```\n\n", manifest.command);
    let e = &manifest.environment;
    let _ = writeln!(
        text,
        "{}, {} CPUs, {}, uring-ablate {} ({}), plan {}.\n",
        e.cpu, e.cpus, e.kernel, e.version, e.compiler, manifest.plan_hash
    );
    let _ = writeln!(text, "{}", fenced("toml", &manifest.experiment.text));
    text += &circumstances(&manifest.circumstances);
    if let Some(fio) = &manifest.fio {
        let _ = writeln!(text, "\nfio is {}.", fio.version);
        for job in &fio.jobs {
            let _ = writeln!(text, "\n{} on {}:\n\n{}", job.treatment, job.cell, fenced("ini", &job.job));
        }
    }
    text
}
