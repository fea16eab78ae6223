//! What this machine is, as far as a reader of results needs to know.

use serde::{Deserialize, Serialize};
use std::{fmt, fs};

/// Facts of the machine and of this build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub host: String,
    pub kernel: String,
    pub cpu: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    pub version: String,
    /// That made this program.
    #[serde(default)]
    pub compiler: String,
    pub debug_build: bool,
}

impl fmt::Display for Environment {
    /// For the foot of charts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Environment { cpu, cpus, kernel, version, .. } = self;
        write!(f, "{cpu} ({cpus} CPUs), {kernel}, uring-ablate {version}")
    }
}

impl Environment {
    /// Reads them.
    pub fn read() -> Environment {
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy();
        Environment {
            host: system.nodename().to_string_lossy().into_owned(),
            kernel: format!("{} {release} {}", system.sysname().to_string_lossy(), system.machine().to_string_lossy()),
            cpu: value("/proc/cpuinfo", "model name").unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: value("/proc/meminfo", "MemTotal").and_then(|v| v.strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
                * 1024,
            version: env!("CARGO_PKG_VERSION").into(),
            compiler: env!("COMPILER_VERSION").into(),
            debug_build: cfg!(debug_assertions),
        }
    }
}

/// The command line as a reader would type it: the program without the place where it lay.
pub fn command() -> String {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(program) = words.first_mut() {
        *program = program.rsplit('/').next().unwrap_or_default().into();
    }
    words.join(" ")
}

/// The value of the first `key : value` line of a file under /proc.
fn value(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|l| Some(l.strip_prefix(key)?.trim_start().strip_prefix(':')?.trim().to_string()))
}
