//! What others could slip into the program or its verdicts: workflows, scripts and dependencies name what they use so that nobody else can change it,
//! and no job that runs foreign code may write.

use crate::support::{home, said, skip};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The files of a directory of the repository.
fn files(dir: &str) -> Vec<(PathBuf, String)> {
    let found = fs::read_dir(home().join(dir)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file());
    found.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

fn workflows() -> Vec<(PathBuf, String)> {
    let found = files(".github/workflows");
    assert!(found.len() >= 3, "{} workflows", found.len());
    found
}

/// The jobs of a workflow by name: the keys under `jobs:`, two spaces deep.
fn jobs(workflow: &str) -> Vec<(&str, String)> {
    let (_, under) = workflow.split_once("\njobs:\n").unwrap();
    let mut jobs: Vec<(&str, String)> = Vec::new();
    for line in under.lines() {
        match line.strip_prefix("  ").and_then(|l| l.strip_suffix(':')) {
            Some(name) if !name.starts_with([' ', '#']) => jobs.push((name, String::new())),
            _ => jobs.last_mut().map(|(_, text)| *text += &format!("{line}\n")).unwrap_or_default(),
        }
    }
    jobs
}

/// The steps of a job.
fn steps(job: &str) -> impl Iterator<Item = &str> {
    job.split_once("    steps:\n").unwrap().1.split("\n      - ")
}

fn hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The values of a key, wherever it stands.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": "))
}

#[test]
fn actions_are_named_by_commit_and_images_by_digest() {
    let mut seen = 0;
    for (path, text) in workflows() {
        for used in values(&text, "uses") {
            let (action, version) = used.split_once(" # ").unwrap_or((used, ""));
            let commit = action.split_once('@').map_or("", |(_, at)| at);
            assert!(
                hex(commit, 40) && version.starts_with('v'),
                "{}: {used}: a commit, and its version in a comment",
                path.display()
            );
            seen += 1;
        }
        for image in values(&text, "image") {
            let digest = image.split_once("@sha256:").map_or("", |(_, digest)| digest);
            assert!(hex(digest, 64), "{}: {image} has no digest", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

/// What a job runs that is not ours alone: the program, or what is compiled into it.
const FOREIGN: [&str; 6] = ["test.sh", "cargo", "build-commit.sh", "uring-ablate nightly", ".ci/run", "advisories.sh"];

#[test]
fn no_job_that_builds_or_runs_foreign_code_may_write() {
    let mut writers = Vec::new();
    for (path, text) in workflows() {
        let (above, _) = text.split_once("jobs:\n").unwrap();
        let shown = path.file_name().unwrap().to_str().unwrap();
        assert!(above.contains("\npermissions: {}\n") || above.contains("\npermissions:\n  contents: read\n"), "{shown}");
        for (name, job) in jobs(&text) {
            let foreign = FOREIGN.iter().any(|f| job.contains(f));
            let writes = job.contains(": write") || job.contains("write-all");
            assert!(!(foreign && writes), "{shown}: {name} runs foreign code and may write");
            if writes {
                writers.push(format!("{shown}: {name}"));
            }
            for step in steps(&job).filter(|step| step.contains("actions/checkout@")) {
                let kept = !step.contains("persist-credentials: false");
                assert!(!(foreign && kept), "{shown}: {name} runs foreign code beside a token that git keeps");
            }
        }
    }
    assert_eq!(writers, ["nightly.yml: save"], "who may write");
}

#[test]
fn a_pull_request_is_judged_by_its_base() {
    let text = fs::read_to_string(home().join(".github/workflows/pull-request.yml")).unwrap();
    assert!(!text.contains("pull_request_target"), "which would give the request's code a token that writes");
    let jobs = jobs(&text);
    let job = |name: &str| jobs.iter().find(|(n, _)| *n == name).map_or("", |(_, text)| text);
    let lines = |text: &str| {
        text.lines().map(|l| l.trim().to_string()).filter(|l| l.contains("uring-ablate nightly")).collect::<Vec<_>>()
    };
    let judges = lines(&text);
    assert_eq!(judges.len(), 1, "{judges:?}");
    assert!(judges[0].starts_with("./target/base/uring-ablate nightly "), "the judge: {}", judges[0]);
    // Scripts and experiment are the base's before anything of the work tree runs.
    for name in ["base", "head", "compare"] {
        let script = job(name).find("./scripts/").expect(name);
        let taken = job(name).find("git checkout --quiet --detach HEAD^1").expect(name);
        assert!(taken < script, "{name} runs a script of the request");
    }
    // The judge's job runs nothing of the request's and takes nothing that an earlier run for it may have left.
    assert!(!job("base").contains("actions/cache") && !job("base").contains("head"), "{}", job("base"));
    assert!(job("compare").contains("sha256sum --check"), "the judge is the program that was built there");
}

/// Commands of cargo that look at a lock file, and how they are kept to it.
#[test]
fn cargo_is_kept_to_the_lock_file() {
    let mut seen = 0;
    for dir in ["scripts", "scripts/lab", "scripts/schedule", ".ci", ".github/workflows"] {
        for (path, text) in files(dir) {
            let joined = text.replace("\\\n", " ");
            for line in joined.lines().filter(|l| !l.trim_start().starts_with('#')) {
                let runs = ["build", "install", "test", "nextest run", "clippy", "doc ", "run ", "check", "deny"];
                if runs.iter().any(|verb| line.contains(&format!("cargo {verb}"))) {
                    assert!(line.contains("--locked"), "{}: {line}", path.display());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 10, "{seen}");
}

/// Packages of other registries come by version and hash; nothing is piped from the network into a shell.
#[test]
fn tools_come_by_version_and_hash() {
    for dir in ["scripts", "scripts/lab", "scripts/schedule", ".ci", ".github/workflows"] {
        for (path, text) in files(dir) {
            let shown = path.display();
            for line in text.lines().filter(|l| !l.trim_start().starts_with('#')) {
                let fetches = ["curl ", "wget ", "npm ", "npx "].iter().any(|f| line.contains(f));
                assert!(!fetches, "{shown}: {line}");
                assert!(!line.contains("pip install") || line.contains("--require-hashes"), "{shown}: {line}");
                assert!(!line.contains("cargo install") || line.contains("--version \"="), "{shown}: {line}");
            }
        }
    }
    for name in ["requirements.txt", "actionlint.txt"] {
        let text = fs::read_to_string(home().join("scripts/python").join(name)).unwrap();
        let packages = text.replace("\\\n", " ");
        for line in packages.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{name}: {line}");
        }
    }
}

#[test]
fn zizmor_accepts_the_workflows() {
    let Ok(output) = Command::new(home().join("target/python/bin/zizmor"))
        .current_dir(home())
        .args(["--offline", "--no-progress", "--quiet", "--persona", "pedantic", ".github/workflows"])
        .output()
    else {
        return skip("supply::zizmor_accepts_the_workflows", "zizmor is not installed");
    };
    let said = said(&output);
    assert!(output.status.success(), "{said}");
}

/// No crate of the lock file comes from elsewhere than the registry, or without a checksum; what was thrown out stays out.
#[test]
fn the_lock_file_names_the_registry_alone() {
    let lock = fs::read_to_string(home().join("Cargo.lock")).unwrap();
    let mut seen = 0;
    for package in lock.split("[[package]]").skip(1) {
        let own = package.contains("\nname = \"uring-ablate\"\n");
        let kept = package.contains("\nsource = \"registry+") && package.contains("\nchecksum = \"");
        assert!(own || kept, "{package}");
        assert!(!package.contains("\nname = \"ttf-parser\"\n"), "RUSTSEC-2026-0192: unmaintained");
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}
