//! What this machine is, as far as a reader of results needs to know.

use super::processor;
use serde::{Deserialize, Serialize};
use std::{fmt, fs};

/// Facts of the machine and of this build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    pub host: String,
    pub kernel: String,
    /// What its processors are called; empty where the machine does not tell.
    pub cpu: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    pub version: String,
    /// That made this program.
    #[serde(default)]
    pub compiler: String,
    pub debug_build: bool,
    /// What figures of this machine cannot tell, where it exists in software alone; `None` elsewhere.
    #[serde(default)]
    pub emulated: Option<String>,
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
        let cpu = processor::name().unwrap_or_default();
        Environment {
            host: system.nodename().to_string_lossy().into_owned(),
            kernel: format!("{} {release} {}", system.sysname().to_string_lossy(), system.machine().to_string_lossy()),
            emulated: emulated(&cpu, &fs::read_to_string("/proc/cmdline").unwrap_or_default()),
            cpu,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: value("/proc/meminfo", "MemTotal").and_then(|v| v.strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
                * 1024,
            version: env!("CARGO_PKG_VERSION").into(),
            compiler: env!("COMPILER_VERSION").into(),
            debug_build: cfg!(debug_assertions),
        }
    }
}

/// QEMU's software emulation names itself as the processor; scripts/lab.sh says on the kernel's command line that its devices are emulated, and
/// what the clock counts.
fn emulated(cpu: &str, command_line: &str) -> Option<String> {
    let clock = command_line.split_whitespace().find_map(|word| word.strip_prefix("uring_ablate.clock="));
    let what = match (cpu.starts_with("QEMU TCG"), clock) {
        (_, Some("instructions")) => {
            "Processor and devices are emulated in software; the clock counts instructions, one a nanosecond: CPU time per operation is \
             instructions per operation, and IOPS follow from them"
        }
        (true, _) => "Processor and devices are emulated in software; times are those of an emulator",
        (false, Some(_)) => "Devices are emulated in software; their times are those of an emulator",
        (false, None) => return None,
    };
    Some(format!("{what}. Effects are those of what the program and the kernel do, not of hardware"))
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
    named(&fs::read_to_string(path).ok()?, key)
}

/// The value of the first `key : value` line of a text.
pub fn named(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|l| Some(l.strip_prefix(key)?.trim_start().strip_prefix(':')?.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_processor_is_known_and_so_is_its_clock() {
        assert_eq!(emulated("AMD EPYC", "quiet"), None);
        assert!(emulated("AMD EPYC", "quiet uring_ablate.clock=host").unwrap().starts_with("Devices are emulated"));
        assert!(emulated("QEMU TCG CPU version 2.5+", "quiet").unwrap().contains("times are those of an emulator"));
        let counting = emulated("QEMU TCG CPU version 2.5+", "quiet uring_ablate.clock=instructions").unwrap();
        assert!(counting.contains("instructions per operation"));
    }
}
