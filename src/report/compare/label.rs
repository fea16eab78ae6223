//! Short names of runs: of what their manifests tell, what tells them apart.

use crate::run::manifest::Manifest;
use std::collections::BTreeSet;
use std::path::Path;

/// Something that runs may differ in.
type Trait = fn(&Path, Option<&Manifest>) -> Option<String>;

/// What a name is made of, the most telling first; more than one only where that is needed.
const TRAITS: [Trait; 6] = [
    |_, m| Some(m?.environment.kernel.split(' ').take(2).collect::<Vec<_>>().join(" ")),
    |_, m| Some(m?.environment.host.clone()),
    |_, m| Some(format!("uring-ablate {}", m?.environment.version)),
    |_, m| Some(m?.started_utc.replace('T', " ").replace('Z', "")),
    |dir, _| Some(dir.file_name()?.to_string_lossy().into_owned()),
    |dir, _| Some(dir.display().to_string()),
];

/// Names of runs, no two alike.
pub fn labels(runs: &[(&Path, Option<&Manifest>)]) -> Vec<String> {
    let different = |labels: &[Vec<String>]| labels.iter().collect::<BTreeSet<_>>().len();
    let mut labels: Vec<Vec<String>> = vec![Vec::new(); runs.len()];
    for of in TRAITS {
        let values = runs.iter().map(|(dir, manifest)| of(dir, *manifest).unwrap_or("unknown".into()));
        let longer: Vec<Vec<String>> =
            labels.iter().cloned().zip(values).map(|(label, value)| [label, vec![value]].concat()).collect();
        if different(&longer) > different(&labels) {
            labels = longer;
        }
    }
    let mut named: Vec<String> = Vec::new();
    for (label, (dir, _)) in labels.into_iter().zip(runs) {
        // Nothing tells a run from itself.
        let name = if label.is_empty() { TRAITS[4](dir, None).unwrap_or_default() } else { label.join(", ") };
        let numbered = (2..).map(|n| format!("{name} ({n})"));
        named.push([name.clone()].into_iter().chain(numbered).find(|name| !named.contains(name)).unwrap_or(name.clone()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kernel: &str, host: &str, started: &str) -> Manifest {
        let text = include_str!("../../../results/quick/20261125T050059Z-vm/manifest.json");
        let mut manifest: Manifest = serde_json::from_str(text).unwrap();
        (manifest.environment.kernel, manifest.environment.host) = (format!("Linux {kernel} x86_64"), host.into());
        manifest.started_utc = started.into();
        manifest
    }

    fn names(runs: &[(&str, Option<&Manifest>)]) -> Vec<String> {
        labels(&runs.iter().map(|(dir, m)| (Path::new(*dir), *m)).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_thing_that_differs_names_them() {
        let [a, b, c] = [
            ("6.1.0", "vm", "2026-01-01T00:00:00Z"),
            ("6.12.0", "vm", "2026-01-02T00:00:00Z"),
            ("6.1.0", "other", "2026-01-03T00:00:00Z"),
        ]
        .map(|(kernel, host, started)| manifest(kernel, host, started));
        let (a, b, c) = (Some(&a), Some(&b), Some(&c));
        assert_eq!(names(&[("x", a), ("y", b)]), ["Linux 6.1.0", "Linux 6.12.0"]);
        assert_eq!(names(&[("x", a), ("y", c)]), ["vm", "other"]);
        assert_eq!(names(&[("x", a), ("y", b), ("z", c)]), ["Linux 6.1.0, vm", "Linux 6.12.0, vm", "Linux 6.1.0, other"]);
    }

    #[test]
    fn what_is_alike_is_named_by_its_time_its_directory_or_a_number() {
        let [a, b] = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"].map(|started| manifest("6.1.0", "vm", started));
        assert_eq!(names(&[("x", Some(&a)), ("y", Some(&b))]), ["2026-01-01 00:00:00", "2026-01-02 00:00:00"]);
        assert_eq!(names(&[("runs/x", Some(&a)), ("runs/y", Some(&a))]), ["x", "y"]);
        assert_eq!(names(&[("a/out", Some(&a)), ("b/out", Some(&a))]), ["a/out", "b/out"]);
        assert_eq!(names(&[("a/out", Some(&a)), ("a/out", Some(&a))]), ["out", "out (2)"]);
        assert_eq!(names(&[("x", None), ("y", None)]), ["x", "y"]);
    }
}
