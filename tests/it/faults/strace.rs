//! strace: which system calls a program makes on what, and the same program with one of them failing.

use super::calls;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A system call of the program.
pub struct Call {
    pub name: String,
    /// Of its first thread.
    pub first: bool,
    /// What it is called on, without what changes from run to run.
    site: String,
    /// Which call of this name it is in its thread, from 1.
    nth: usize,
}

/// A system call that is to fail.
#[derive(Clone)]
pub struct Case {
    pub call: String,
    site: String,
    nth: usize,
    error: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {} ({}) fails with {}", self.call, self.nth, self.site, self.error)
    }
}

/// How a program with a fault ended.
pub struct End {
    /// `None` for a signal.
    pub code: Option<i32>,
    /// Both streams.
    pub said: String,
    /// False where it ended before it came to the call.
    pub injected: bool,
}

fn strace(options: &[String], log: &Path, command: &Command) -> Command {
    let mut traced = Command::new("strace");
    traced.args(options).arg("-o").arg(log).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.stdin(Stdio::null());
    traced
}

/// How strace looks at `command`: at its first thread, or at every thread and process with the system calls of an expression. Others are not
/// slowed down, so that what goes by time goes on (`--seccomp-bpf`).
fn followed(follow: Option<&str>) -> Vec<String> {
    follow.map_or(vec![], |_| ["-f", "--seccomp-bpf"].map(String::from).into())
}

/// The system calls of `command` from where its own code begins, in order; with `follow` those of all threads and processes.
pub fn traced(command: &Command, log: &Path, dir: &Path, follow: Option<&str>) -> Vec<Call> {
    let which = format!("-etrace={}", follow.unwrap_or("all"));
    let output = strace(&[followed(follow), vec!["-y".into(), which]].concat(), log, command).output().unwrap();
    let text = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    assert!(text.lines().count() > 50, "strace works here: {}", String::from_utf8_lossy(&output.stderr));
    let mut tracees: BTreeMap<&str, (BTreeMap<String, usize>, i32)> = BTreeMap::new();
    let (mut first, mut calls, mut loading) = (None, Vec::new(), BTreeMap::new());
    for line in text.lines() {
        // With `follow` each line begins with its thread.
        let (tracee, line) = if follow.is_some() { line.split_once(' ').unwrap_or_default() } else { ("", line) };
        let line = line.trim_start();
        let first = tracee == *first.get_or_insert(tracee);
        let (counts, begun) = tracees.entry(tracee).or_default();
        // Another program begins in the process.
        if line.contains("execve") && line.ends_with("= 0") {
            *begun = 0;
        }
        let Some((name, rest)) = line.split_once('(').filter(|(name, _)| is_name(name)) else { continue };
        let nth = counts.entry(name.to_string()).or_insert(0);
        *nth += 1;
        // The loader's calls and those of the language's start come first; these set up its alternate stack last.
        if *begun < 2 {
            *begun += i32::from(name == "sigaltstack");
            if first {
                loading.insert(name.to_string(), *nth);
            }
            continue;
        }
        calls.push(Call { name: name.into(), first, site: site(name, rest, dir), nth: *nth });
    }
    // As many calls fail in the first thread, too: while it is loaded that would be all.
    calls.retain(|call| call.first || loading.get(&call.name).is_none_or(|loaded| call.nth > *loaded));
    calls
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// What a call is made on: the path that it names, or what its descriptor is of, and below that the path; without what changes
/// from run to run.
fn site(name: &str, arguments: &str, dir: &Path) -> String {
    let quoted = arguments.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map_or("", |(text, _)| text);
    let descriptor = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    let path = match arguments.as_bytes().first() {
        Some(b'0'..=b'9') if name.contains("at") => format!("{descriptor}/{quoted}"),
        Some(b'0'..=b'9') => descriptor.to_string(),
        _ => quoted.to_string(),
    };
    let mut plain = String::new();
    for character in path.replace(&dir.display().to_string(), "DIR").chars() {
        // Numbers are of processes, times and commits.
        match character {
            '0'..='9' if plain.ends_with('N') => {}
            '0'..='9' => plain.push('N'),
            other => plain.push(other),
        }
    }
    match plain.split_once(".tmp") {
        Some((before, _)) => format!("{before}.tmp"),
        None => plain,
    }
}

/// Each error of each system call at the first, the middle and the last hit of each site.
pub fn cases<'a>(calls: impl Iterator<Item = &'a Call> + Clone) -> Vec<Case> {
    let mut sites: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    // Closing a directory cannot fail, which the standard library relies on.
    let listed: BTreeSet<&str> = calls.clone().filter(|c| c.name == "getdents64").map(|c| c.site.as_str()).collect();
    for call in calls.filter(|c| c.name != "close" || !listed.contains(c.site.as_str())) {
        sites.entry((&call.name, &call.site)).or_default().push(call.nth);
    }
    let mut cases = Vec::new();
    for ((name, site), mut hits) in sites {
        hits.sort_unstable();
        let mut chosen = vec![hits[0], hits[hits.len() / 2], hits[hits.len() - 1]];
        chosen.dedup();
        for nth in chosen {
            let case = |error: &&'static str| Case { call: name.into(), site: site.into(), nth, error };
            cases.extend(calls::errors(name).iter().map(case));
        }
    }
    cases
}

/// Runs `command` with the fault, for at most `limit`; with `follow` in every thread and process that makes so many of these calls.
pub fn injected(command: &Command, log: &Path, case: &Case, follow: Option<&str>, limit: Duration) -> End {
    let Case { call, nth, error, .. } = case;
    let options = [format!("-etrace={call}"), format!("-einject={call}:error={error}:when={nth}")];
    let options = [followed(follow), options.into()].concat();
    let said = log.with_extension("said");
    let file = fs::File::create(&said).unwrap();
    let mut traced = strace(&options, log, command);
    let mut child = traced.process_group(0).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                break child.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = read(&said).unwrap();
    // Without a log nothing was tried, whatever strace's own exit code.
    let injected = read(log).unwrap_or_else(|error| panic!("strace left no log ({error}): {text}")).contains("(INJECTED)");
    End { code: status.code(), said: text, injected }
}
