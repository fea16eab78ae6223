//! Where CPU time goes and what the kernel was made to do: samples of what runs, charged to the slice they fall in and named by cause; and
//! counts of events.
//!
//! The only door to `perf_event_open(2)` and to symbols. Knows nothing of arms or rounds: it is given stretches of time with numbers and
//! returns counts.

pub mod category;
#[expect(unsafe_code, reason = "a group is read without allocation, and its filter is set, by calls without a safe door")]
pub mod counters;
pub mod profile;
mod sampler;
mod symbols;

use std::{fmt, io};

/// What cannot be watched here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Why nothing can be profiled.
    pub no_profile: Option<String>,
    /// What else of the result files stays empty, each with its reason.
    pub missing: Vec<(String, String)>,
}

impl fmt::Display for Limits {
    /// A line for each reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_reason().iter().try_for_each(|(reason, what)| writeln!(f, "not measured: {}: {reason}", what.join(", ")))
    }
}

impl Limits {
    /// True where at least one event can be counted.
    pub fn counts_anything(&self) -> bool {
        counters::columns().any(|column| self.missing.iter().all(|(what, _)| what != column))
    }

    /// What stays empty, by the reason for it.
    pub fn by_reason(&self) -> Vec<(&str, Vec<&str>)> {
        let mut reasons: Vec<(&str, Vec<&str>)> = self.no_profile.iter().map(|r| (r.as_str(), vec![PROFILES])).collect();
        for (what, reason) in &self.missing {
            match reasons.iter_mut().find(|(r, _)| r == reason) {
                Some((_, all)) => all.push(what),
                None => reasons.push((reason, vec![what])),
            }
        }
        reasons
    }
}

/// The file of a run that profiles fill.
pub const PROFILES: &str = "overhead.csv";

/// Finds out what cannot be watched, of a profile with so many ticks a second and of the counters on devices, where they are asked for.
pub fn limits(profile: Option<u32>, counted: Option<&[(u32, u32)]>) -> Limits {
    let mut limits = Limits::default();
    match profile.map(profile::Recorder::start) {
        Some(Err(error)) => limits.no_profile = Some(refused(&error, Watched::Own)),
        Some(Ok(_)) if hidden_symbols() => {
            limits.no_profile = Some("the kernel hides its symbols: run as root, or sysctl -w kernel.kptr_restrict=0".into());
        }
        Some(Ok(recorder)) if !recorder.machine() => limits.missing.push((
            "overhead.csv, side = target".into(),
            "only this process may be watched: run as root, or sysctl -w kernel.perf_event_paranoid=0".into(),
        )),
        _ => {}
    }
    if let Some(devices) = counted {
        let column = |m: counters::Missing| (m.column.to_string(), m.reason);
        limits.missing.extend(counters::Counters::open(devices).missing.into_iter().map(column));
    }
    limits
}

/// True where `/proc/kallsyms` shows this user no addresses.
fn hidden_symbols() -> bool {
    let file = std::fs::File::open("/proc/kallsyms").map(io::BufReader::new);
    file.map_or(true, no_addresses)
}

/// True where the first hundred lines of a table in the form of `/proc/kallsyms` have no address but 0.
pub fn no_addresses(table: impl io::BufRead) -> bool {
    let mut lines = table.lines().map_while(Result::ok).take(100);
    lines.all(|line| line.split(' ').next().is_none_or(|address| address.trim_start_matches('0').is_empty()))
}

/// Who is to be watched, which decides what must be permitted.
#[derive(Clone, Copy, Debug)]
enum Watched {
    /// This process, in the kernel too.
    Own,
    /// Whoever runs on a CPU.
    Machine,
}

/// Why `perf_event_open` refused, with what would help.
fn refused(error: &io::Error, watched: Watched) -> String {
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    let level = level.trim();
    let needed = if let Watched::Own = watched { 1 } else { 0 };
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => format!(
            "perf_event_open is not permitted ({error}; kernel.perf_event_paranoid = {level}): run as root, or sysctl -w \
             kernel.perf_event_paranoid={needed}"
        ),
        Some(libc::ENOSYS) => format!("this kernel or container has no perf_event_open ({error})"),
        Some(libc::EMFILE | libc::ENFILE) => {
            format!("too few file descriptors for the events of every CPU ({error}): ulimit -n 65536")
        }
        _ => format!("perf_event_open failed: {error}"),
    }
}
