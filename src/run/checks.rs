//! What disturbs or prevents measurements on a target, with a remedy for each: told by `doctor`, and by whatever measures before it begins.
//! Changes nothing.

use super::facts;
use crate::engine::capabilities;
use crate::target::block_device::{self, BlockDevice};
use crate::target::refused;
use crate::target::tags::Tags;
use crate::target::{Target, Wanted};
use crate::workload::Workload;
use serde::Serialize;
use std::fs::File;

/// How much a finding matters, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Nothing can be measured.
    Prevents,
    /// Figures will be worse than they could be.
    Disturbs,
    /// Something will be missing.
    Lacks,
    Fine,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub weight: Weight,
    pub what: String,
    pub found: String,
    /// A command to run, or what else would help; empty where nothing needs to.
    pub remedy: String,
}

/// Puts one together.
pub fn finding(weight: Weight, what: &str, found: impl Into<String>, remedy: &str) -> Finding {
    Finding { weight, what: what.into(), found: found.into(), remedy: remedy.into() }
}

/// What is found of an open target and of these workloads on it. `allow_iowq`: requests that workers do are wanted.
pub fn of_target(target: &Target, workloads: &[Workload], allow_iowq: bool) -> Vec<Finding> {
    let mut found = vec![finding(Weight::Fine, "target", target.description.clone(), "")];
    let buffers = workloads.iter().any(|workload| workload.rw.writes() && !workload.direct);
    found.extend(target.files().into_iter().flat_map(|file| of_file(file, buffers, allow_iowq)));
    let tags = Tags::of_target(target).filter(|_| !allow_iowq);
    found.extend(short(tags.as_ref(), workloads));
    found.extend(capabilities::uncharged().map(unseen_workers));
    found
}

/// Workers outside of the process: whether they did the I/O is not found out.
fn unseen_workers(reason: &str) -> Finding {
    let (found, remedy) = reason.rsplit_once("; ").unwrap_or((reason, ""));
    let found =
        format!("{found}, and rows for which io-wq workers did the I/O are not told from others; sqpoll cannot be measured");
    finding(Weight::Disturbs, "kernel threads", found, remedy)
}

/// What can be told of workloads before their target is opened or made.
pub fn of_wanted(wanted: &[Wanted], workloads: &[Workload], allow_iowq: bool) -> Vec<Finding> {
    let tags = Tags::of_wanted(wanted).filter(|_| !allow_iowq);
    short(tags.as_ref(), workloads).collect()
}

/// The workloads that keep more in flight than a device takes.
fn short(tags: Option<&Tags>, workloads: &[Workload]) -> impl Iterator<Item = Finding> {
    workloads.iter().filter_map(move |workload| {
        let shortage = tags?.shortage(workload)?;
        let what = format!("cell {}", workload.cell_name());
        Some(finding(Weight::Disturbs, &what, shortage.cause(), &shortage.remedy()))
    })
}

/// Of one file or device. `buffers`: some workload writes through the page cache.
fn of_file(file: &File, buffers: bool, allow_iowq: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let told = facts::target(file);
    let value = |name: &str| told.get(name).cloned().flatten();
    let device = block_device::behind(file).into_iter().next();
    let queue = device.as_ref().map_or_else(String::new, |device| device.queue().display().to_string());
    if let Some(scheduler) = value("scheduler").filter(|s| s != "none" && !s.contains("[none]")) {
        found.push(finding(Weight::Disturbs, "I/O scheduler", scheduler, &format!("echo none > {queue}/scheduler")));
    }
    if let Some(throttling) = value("write_throttling_us").filter(|us| buffers && us != "0") {
        let what = "writeback throttling, of buffered writes";
        let remedy = format!("echo 0 > {queue}/wbt_lat_usec");
        found.push(finding(Weight::Disturbs, what, format!("{throttling} us"), &remedy));
    }
    if value("statistics").as_deref() == Some("1") {
        let counts = "on: two clock reads a request; comparisons with fio count by them";
        found.push(finding(Weight::Fine, "I/O statistics", counts, ""));
    }
    let punts = value("file_system").is_some_and(|kind| kind.starts_with("tmpfs"))
        || value("device").is_some_and(|device| device.starts_with("zram"));
    if punts && !allow_iowq {
        found.push(finding(
            Weight::Disturbs,
            "inline requests",
            "tmpfs and zram cannot issue a request without waiting: io-wq workers do all of them, and such rows are invalid",
            "use another target, or [target] allow_iowq = true to measure the workers",
        ));
    }
    found.extend(device.iter().filter(|_| BlockDevice::of(file).is_some()).filter_map(unwritable));
    found.extend(value("file_system").map(|kind| finding(Weight::Fine, "file system", kind, "")));
    found
}

/// A device that can only be read: whoever wants to write to it is refused when it is opened.
fn unwritable(device: &BlockDevice) -> Option<Finding> {
    let zoned = || device.zones().map(|model| refused::zoned(device, &model));
    let told = device.is_read_only().then(|| refused::read_only(device)).or_else(zoned)?;
    let (found, remedy) = told.split_once(": ").map_or((told.as_str(), ""), |parts| parts);
    Some(finding(Weight::Lacks, "writes", found, remedy))
}

/// What a run should know before its first round: what disturbs or prevents it, one line each with its remedy.
pub fn warnings(findings: &[Finding]) -> Vec<String> {
    let matters = findings.iter().filter(|f| f.weight <= Weight::Disturbs);
    matters.map(|f| format!("note: {}: {}\n  -> {}", f.what, f.found, f.remedy)).collect()
}
