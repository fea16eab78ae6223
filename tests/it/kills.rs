//! Kills at random moments while a device is written to: no row is lost, nothing else is written, and nothing is left behind.
//!
//! A few in the suite, 200 with URING_ABLATE_FULL=1 (`./scripts/test.sh --full`). The seed is fixed; the moments are fractions of what
//! a whole run takes here.

mod scenarios;

use crate::support::{LoopDevice, Process, full, processes, ran, root, skip};
use scenarios::SCENARIOS;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use uring_ablate::mounts::Mount;
use uring_ablate::random::Decisions;

const DEVICE_BYTES: u64 = 16 << 20;

/// Carried by everything that a scenario starts.
const MARK: &str = "URING_ABLATE_KILLS_MARK";

/// Something to kill.
pub struct Scenario {
    name: &'static str,
    /// Kills of it in the full version; a share of them in the suite.
    kills: u32,
    prepare: fn(&Place),
    command: fn(&Place) -> Command,
    /// What counts as done so far: whole lines that must never go away.
    kept: fn(&Place) -> Vec<String>,
    /// Ends what was killed, and says what is wrong with it.
    finish: fn(&Place) -> Result<(), String>,
}

/// A directory with a device to be written to, and with victims beside it.
pub struct Place {
    home: tempfile::TempDir,
    pub target: LoopDevice,
    victims: Vec<LoopDevice>,
}

impl Place {
    fn new() -> Option<Place> {
        let home = tempfile::tempdir().unwrap();
        let device = |name: &str| {
            let dir = home.path().join(name);
            fs::create_dir(&dir).unwrap();
            LoopDevice::new(&dir, DEVICE_BYTES, "512")
        };
        let (target, victims) = (device("target")?, vec![device("victim-a")?, device("victim-b")?]);
        for name in ["victim-a", "victim-b"] {
            let bytes: Vec<u8> = (0..DEVICE_BYTES).map(|n| ((n * 31) >> 3) as u8).collect();
            fs::write(home.path().join(name).join("backing"), bytes).unwrap();
        }
        fs::write(home.path().join("target/beside"), "somebody's\n".repeat(1000)).unwrap();
        fs::create_dir(home.path().join("work")).unwrap();
        Some(Place { home, target, victims })
    }

    /// Where the scenario works.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// A digest of everything that nobody may write to, through the devices and in the files.
    fn victims(&self) -> BTreeMap<PathBuf, u32> {
        let files = ["victim-a/backing", "victim-b/backing", "target/beside"].map(|name| self.home.path().join(name));
        let devices = self.victims.iter().map(|device| PathBuf::from(&device.0));
        let digest = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap();
            (path, crc32fast::hash(&bytes))
        };
        files.into_iter().chain(devices).map(digest).collect()
    }
}

/// Processes that carry this mark, dead ones apart.
fn marked(mark: &str) -> Vec<String> {
    let own = format!("{MARK}={mark}");
    let carries = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|b| *b == 0).any(|entry| entry == own.as_bytes())
    };
    processes().filter(carries).map(|process| format!("{process:?}")).collect()
}

/// Loop devices that a process holds, each with its number in the sequence of disks.
fn held(pid: u32) -> Vec<(String, String)> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let names = links.filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_str()?.strip_prefix("/dev/")?.to_string()));
    names.filter(|name| name.starts_with("loop")).map(|name| (sequence(&name), name)).map(|(n, name)| (name, n)).collect()
}

fn sequence(device: &str) -> String {
    fs::read_to_string(format!("/sys/block/{device}/diskseq")).unwrap_or_default()
}

/// Devices that are still bound to what they were bound to.
fn bound<'a>(devices: &'a [(String, String)], own: &'a str) -> impl Iterator<Item = &'a String> {
    let bound = |name: &str| Path::new(&format!("/sys/block/{name}/loop/backing_file")).exists();
    let still =
        move |(name, before): &&(String, String)| format!("/dev/{name}") != own && bound(name) && sequence(name) == *before;
    devices.iter().filter(still).map(|(name, _)| name)
}

/// Mounts in or on the scenario's directory.
fn mounts(home: &Path) -> Vec<String> {
    let ours = |mount: &Mount| [&mount.root, &mount.point, &mount.source].iter().any(|path| path.starts_with(home));
    uring_ablate::mounts::all().iter().filter(|mount| ours(mount)).map(|mount| format!("{mount:?}")).collect()
}

/// Control groups that processes of these numbers made.
fn groups(runners: &[u32]) -> Vec<PathBuf> {
    // Those of children are made below the group that they share with this process.
    let (mut found, mut dirs): (Vec<PathBuf>, Vec<PathBuf>) = (vec![], uring_ablate::control_group::home().into_iter().collect());
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let maker = name.strip_prefix("uring-ablate-").and_then(|rest| rest.split('-').next()?.parse().ok());
            if maker.is_some_and(|pid| runners.contains(&pid)) {
                found.push(path.clone());
            }
            dirs.push(path);
        }
    }
    found
}

/// Files that a replacement which was not finished leaves.
fn torn(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (vec![], vec![dir.to_path_buf()]);
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if uring_ablate::durable::is_temporary(path.file_name().unwrap()) {
                found.push(path);
            }
        }
    }
    found
}

/// Kills a child after a while, where it still runs; false where it had ended.
fn kill(mut child: Child, after: Duration) -> bool {
    let deadline = Instant::now() + after;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().unwrap();
    true
}

/// What a scenario came to: a line of the table in docs/robustness.md.
#[derive(Default)]
struct Tally {
    kills: u32,
    lost: usize,
    written: usize,
    left: Vec<String>,
    wrong: Vec<String>,
}

impl Scenario {
    fn start(&self, place: &Place, mark: &str) -> Child {
        let mut command = (self.command)(place);
        command.env(MARK, mark).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Kills it `kills` times, each time as far as it got.
    fn suffer(&self, place: &Place, kills: u32) -> Tally {
        let mark = place.dir().display().to_string();
        (self.prepare)(place);
        let victims = place.victims();
        let (mut tally, mut runners, mut random) = (Tally::default(), vec![], Decisions::new(u64::from(self.kills)));
        let whole = Instant::now();
        self.start(place, &mark).wait().unwrap();
        let whole = whole.elapsed();
        (self.prepare)(place);
        // Some come too late; those are no kills.
        while tally.kills < kills && runners.len() < 4 * kills as usize + 4 {
            let before = (self.kept)(place);
            let child = self.start(place, &mark);
            let pid = child.id();
            let after = whole.mul_f64((random.seed() % 1000) as f64 / 1000.0);
            std::thread::sleep(after / 2);
            let devices = held(pid);
            let killed = kill(child, after / 2);
            let now = (self.kept)(place);
            tally.lost += before.iter().filter(|row| !now.contains(row)).count();
            runners.push(pid);
            let deadline = Instant::now() + Duration::from_secs(10);
            let left = || marked(&mark).into_iter().chain(bound(&devices, &place.target.0).cloned()).collect::<Vec<_>>();
            // A process that is just becoming another one cannot be read for a moment.
            let mut nothing = 0;
            while nothing < 5 && Instant::now() < deadline {
                nothing = if left().is_empty() { nothing + 1 } else { 0 };
                std::thread::sleep(Duration::from_millis(10));
            }
            tally.left.extend(left().into_iter().chain(mounts(place.home.path())));
            tally.written += victims.iter().zip(&place.victims()).filter(|(a, b)| a != b).count();
            if killed {
                tally.kills += 1;
            } else {
                tally.wrong.extend((self.finish)(place).err());
                (self.prepare)(place);
            }
        }
        tally.wrong.extend((self.finish)(place).err());
        let groups = groups(&runners).into_iter().chain(torn(&place.dir()));
        tally.left.extend(groups.map(|path| path.display().to_string()).chain(marked(&mark)));
        tally.written += victims.iter().zip(&place.victims()).filter(|(a, b)| a != b).count();
        tally
    }
}

fn suffer(name: &str) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    if !root() {
        return skip(&format!("kills::{name}"), "a device to write to needs root");
    }
    let Some(place) = Place::new() else { return skip(&format!("kills::{name}"), "no loop device can be had here") };
    let kills = if full() { scenario.kills } else { scenario.kills / 15 };
    let tally = scenario.suffer(&place, kills);
    let Tally { kills: done, lost, written, .. } = tally;
    ran(&format!(
        "kills | {name} | {done} | {lost} rows lost | {written} others written to | {} left behind |",
        tally.left.len()
    ));
    assert_eq!(tally.kills, kills, "it could be killed as often");
    assert_eq!((tally.lost, tally.written), (0, 0), "rows lost, other files written");
    assert!(tally.left.is_empty(), "left behind: {:#?}", tally.left);
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
}

#[test]
fn of_runs() {
    suffer("run");
}

#[test]
fn of_nights() {
    suffer("nightly");
}

#[test]
fn of_searches() {
    suffer("bisect");
}
