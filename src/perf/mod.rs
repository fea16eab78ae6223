//! Where CPU time goes: samples of what runs, charged to the slice they fall in and named by cause.
//!
//! The only door to `perf_event_open(2)` and to symbols. Knows nothing of arms or rounds: it is given stretches of time with numbers and
//! returns counts.

pub mod category;
pub mod profile;
mod sampler;
mod symbols;

/// Why nothing can be profiled here, with what would help; `None` where it can.
pub fn obstacle() -> Option<String> {
    let error = profile::Recorder::start(1).err()?;
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    let level = level.trim();
    Some(match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => format!(
            "perf_event_open is not permitted ({error}; kernel.perf_event_paranoid = {level}): run as root, or sysctl -w kernel.perf_event_paranoid=1"
        ),
        Some(libc::ENOSYS) => format!("this kernel or container has no perf_event_open ({error})"),
        _ => format!("perf_event_open failed: {error}"),
    })
}
