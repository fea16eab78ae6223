//! `uring-ablate doctor`: what can and cannot be measured here and on a target, worst first, with a remedy for each. Changes nothing.

use super::Failure;
use super::bench::target_of;
use crate::cli::DoctorArgs;
use crate::console;
use crate::control_group::cpu::{self, Quotas, Throttling};
use crate::engine::{self, numa};
use crate::exit::Exit;
use crate::experiment;
use crate::peer::fio::Fio;
use crate::perf;
use crate::run::checks::{self, Finding, Weight, finding};
use crate::run::cpus::{Cpus, Shares};
use crate::run::facts::{self, Facts};
use crate::run::{self, Obstacle};
use crate::spawn::{Interrupts, Tether};
use crate::target::route::{self, Sight};
use crate::target::{self, Target};
use crate::toggle::{self, Levels, Toggle};
use crate::units;
use crate::workload::{Rw, Workload};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the machine is watched for what else it does.
const WATCH: Duration = Duration::from_secs(1);

/// Size of the target that is made where none is named: enough for a few requests.
const LOOK_BYTES: u64 = 64 << 20;

/// Looks and prints.
pub fn doctor(args: &DoctorArgs) -> Result<Exit, Failure> {
    let mut findings = machine();
    if findings.iter().all(|f| f.weight != Weight::Prevents) {
        let mut target = target_of(args.target.clone(), args.target.is_none().then_some(LOOK_BYTES))?;
        findings.extend(watching(&target.devices()));
        findings.extend(on_target(&mut target)?);
    }
    findings.sort_by_key(|f| f.weight);
    let json = || serde_json::to_string_pretty(&findings).expect("findings are text") + "\n";
    console::product(if args.json { json() } else { text(&findings) })?;
    let works = findings.iter().all(|f| f.weight != Weight::Prevents);
    Ok(if works { Exit::Ok } else { Exit::Environment })
}

fn machine() -> Vec<Finding> {
    let ring = match engine::probe(false) {
        Ok(()) => finding(Weight::Fine, "io_uring", "works", ""),
        Err(error) => finding(Weight::Prevents, "io_uring", error.to_string(), "see the message"),
    };
    let fio = Fio::find(Tether::current(), Path::new("fio")).and_then(|fio| fio.version());
    let fio = fio.map_or_else(
        |error| finding(Weight::Lacks, "fio", error.to_string(), "apt-get install fio"),
        |version| finding(Weight::Fine, "fio", version, ""),
    );
    let told = facts::machine();
    let quota = quota(cpu::quota(), cpu::throttling(), numa::online().len());
    [ring, fio].into_iter().chain([others(), processors(&told), vec![quota]].into_iter().flatten()).collect()
}

/// What cannot be watched, on these devices.
fn watching(devices: &[(u32, u32)]) -> Vec<Finding> {
    let limits = perf::limits(Some(experiment::FREQUENCY), Some(devices));
    let profile = match &limits.no_profile {
        None => finding(Weight::Fine, "profiles", "can be taken", ""),
        Some(reason) => finding(Weight::Lacks, "profiles", reason, "see the message"),
    };
    let rest = perf::Limits { no_profile: None, ..limits };
    let missing = |(reason, what): &(&str, Vec<&str>)| {
        finding(Weight::Lacks, "counts and profiles", format!("without {}: {reason}", what.join(", ")), "")
    };
    [profile].into_iter().chain(rest.by_reason().iter().map(missing)).collect()
}

/// What else uses the machine.
fn others() -> Vec<Finding> {
    let before = Cpus::read();
    std::thread::sleep(WATCH);
    let shares = before.map_or_else(Shares::default, Cpus::since);
    let percent = |share: f64| format!("{:.1} % of the CPUs' time in the last second", share * 100.0);
    let judged = |what, share: Option<f64>, limit: f64, remedy| {
        let share = share?;
        Some(finding(
            if share > limit { Weight::Disturbs } else { Weight::Fine },
            what,
            percent(share),
            if share > limit { remedy } else { "" },
        ))
    };
    let busy = judged("other load", shares.busy, 0.05, "end what else runs (top shows it)");
    let steal = judged("stolen time", shares.steal, 0.005, "use a quieter host, or more rounds");
    busy.into_iter().chain(steal).collect()
}

/// Whether a control group, of this process or above it, holds its CPU time back; of a machine of so many CPUs.
fn quota(found: Option<Quotas>, held_back: Option<Throttling>, cpus: usize) -> Finding {
    let say = |weight, text: String, remedy| finding(weight, "CPU quota of the control groups", text, remedy);
    let Some(Quotas { least, whole }) = found else {
        return say(Weight::Fine, "not known: no file system of control groups is mounted here".into(), "");
    };
    let Some(least) = least else {
        let unseen = " of those that this process sees; groups above them may have one";
        return say(Weight::Fine, format!("none{}", if whole { "" } else { unseen }), "");
    };
    let ms = |us: u64| us as f64 / 1e3;
    let text = format!(
        "{:.2} CPUs ({} ms in every {} ms), set by {}",
        least.cpus(),
        ms(least.quota_us),
        ms(least.period_us),
        least.group.display()
    );
    let held = held_back.filter(|held_back| held_back.times > 0).map(|Throttling { times, duration_us }| {
        let times = if times == 1 { "once".into() } else { format!("{times} times") };
        format!("; held back {times} so far, {} in all", units::microseconds_words(duration_us))
    });
    let text = text + &held.unwrap_or_default();
    // A quota of all CPUs or more cannot be used up.
    if least.cpus() >= cpus as f64 {
        say(Weight::Fine, text, "")
    } else {
        say(Weight::Disturbs, text, "run outside of the limited group")
    }
}

fn processors(told: &Facts) -> Vec<Finding> {
    let value = |name: &str| told.get(name).cloned().flatten();
    let mut found = Vec::new();
    let mut check = |what: &str, name: &str, sound: &dyn Fn(&str) -> bool, weight, remedy: &str| {
        let Some(value) = value(name) else { return };
        let good = sound(&value);
        found.push(finding(if good { Weight::Fine } else { weight }, what, value, if good { "" } else { remedy }));
    };
    let disturbs = Weight::Disturbs;
    check("frequency governor", "governor", &|v| v == "performance", disturbs, "cpupower frequency-set -g performance");
    check("frequency boost", "boost", &|v| v == "0", disturbs, "echo 0 > /sys/devices/system/cpu/cpufreq/boost");
    let unlimited = |v: &str| {
        v.starts_with("unlimited") || v.split(' ').next().and_then(|n| n.parse().ok()).is_some_and(|n: u64| n >= LOCKED)
    };
    check("locked memory", "locked_memory_limit", &unlimited, Weight::Lacks, "ulimit -l unlimited, or lower iodepth and bs");
    found
}

/// Buffers of the seed's larger size, twice, may be locked.
const LOCKED: u64 = 2 * 128 * (128 << 10);

fn on_target(target: &mut Target) -> Result<Vec<Finding>, Failure> {
    let usual = Workload::example();
    let buffered = Workload { rw: Rw::Randwrite, direct: false, ..usual };
    let mut found = checks::of_target(target, &[usual, buffered], false);
    match target.accepts(&usual).and_then(|()| target.prove(&[usual])) {
        Ok(()) => {
            found.push(witness(&target.sight));
            found.extend(toggles(target)?);
        }
        Err(target::Error::Route(error)) => {
            found.push(finding(Weight::Prevents, "direct I/O", error.to_string(), "see the message"))
        }
        Err(error) => found.push(finding(Weight::Prevents, "requests of 4096 bytes", error.to_string(), TOO_SMALL)),
    }
    Ok(found)
}

/// Whether it can be proved that bytes come from the device.
fn witness(sight: &Sight) -> Finding {
    match sight {
        Sight::Process => {
            finding(Weight::Fine, "route", "a known direct read of 4 KiB blocks was counted in full on block devices", "")
        }
        Sight::Devices(_) => finding(
            Weight::Fine,
            "route",
            "others submit for this process; the devices behind the target counted a known direct read in full",
            "",
        ),
        Sight::Nobody { why } => finding(
            Weight::Disturbs,
            "route",
            format!("{}: {why}", route::NOT_PROVED),
            "use a file on a disk, a block device or a loop device",
        ),
    }
}

const TOO_SMALL: &str = "name a larger file or device";

/// Every level of every toggle, each for itself: what a run would find `unsupported`.
fn toggles(target: &Target) -> Result<Vec<Finding>, Failure> {
    let keys = Toggle::all().map(|t| format!("{:?}", t.key())).collect::<Vec<_>>().join(", ");
    let text = format!(
        "name = \"doctor\"\nquestion = \"What runs here?\"\n[workload]\nrw = \"read\"\nbs = \"4k\"\niodepth = 64\n\
         [design]\nkind = [\"add-one-in\"]\ntoggles = [{keys}]\n"
    );
    let all = experiment::parse(&PathBuf::from("doctor"), &text)?;
    let process = |e: std::io::Error| run::Error::Process(e);
    let interrupts = Interrupts::install().map_err(process)?;
    let obstacles = run::obstacles(&all, target, &Tether::current(), &interrupts)?;
    let setting = target.setting(&all.options);
    let judge = |(toggle, level): &(Toggle, u32)| {
        let alone = Levels::all_off().with(*toggle, *level);
        let refused = toggle::refusal(&alone, &all.cells[0], &setting).map(|(_, reason)| reason);
        let of_toggle = |o: &&Obstacle| (o.toggle, o.level) == (*toggle, *level);
        let reason = refused.or_else(|| obstacles.iter().find(of_toggle).map(|o| o.reason.clone()));
        reason.map(|reason| finding(Weight::Lacks, &format!("toggle {}", toggle.key()), "unsupported here", &reason))
    };
    let lacking: Vec<Finding> = all.toggles.iter().filter_map(judge).collect();
    let rest = all.toggles.len() - lacking.len();
    Ok(lacking
        .into_iter()
        .chain([finding(Weight::Fine, "toggles", format!("{rest} of {} run here", all.toggles.len()), "")])
        .collect())
}

fn text(findings: &[Finding]) -> String {
    let heading = |weight| match weight {
        Weight::Prevents => "prevents every measurement",
        Weight::Disturbs => "disturbs the result",
        Weight::Lacks => "leaves something out",
        Weight::Fine => "fine",
    };
    let mut text = String::new();
    let mut last = None;
    for finding in findings {
        if last != Some(finding.weight) {
            text += &format!("{}:\n", heading(finding.weight));
            last = Some(finding.weight);
        }
        text += &format!("  {}: {}\n", finding.what, finding.found);
        if !finding.remedy.is_empty() {
            text += &format!("      -> {}\n", finding.remedy);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_group::cpu::Quota;

    #[test]
    fn the_worst_comes_first_and_names_its_remedy() {
        let told: Facts = [("governor", "powersave"), ("boost", "0"), ("locked_memory_limit", "8388608 8388608 bytes")]
            .map(|(name, value)| (name.to_string(), Some(value.to_string())))
            .into();
        let mut found = processors(&told);
        found.sort_by_key(|f| f.weight);
        let shown: Vec<(Weight, &str)> = found.iter().map(|f| (f.weight, f.what.as_str())).collect();
        let due = [(Weight::Disturbs, "frequency governor"), (Weight::Lacks, "locked memory"), (Weight::Fine, "frequency boost")];
        assert_eq!(shown, due);
        let text = text(&found);
        assert!(text.starts_with("disturbs the result:\n  frequency governor: powersave\n      -> cpupower"), "{text}");
    }

    #[test]
    fn a_quota_disturbs_where_it_can_be_used_up_and_none_is_not_unknown() {
        let least = Quota { quota_us: 50_000, period_us: 100_000, group: "/sys/fs/cgroup/slice".into() };
        let limited = || Some(Quotas { least: Some(least.clone()), whole: true });
        let found = quota(limited(), Some(Throttling { times: 3, duration_us: 1_500_000 }), 2);
        let said = "0.50 CPUs (50 ms in every 100 ms), set by /sys/fs/cgroup/slice; held back 3 times so far, 1.5 s in all";
        assert_eq!((found.weight, found.found.as_str()), (Weight::Disturbs, said));
        assert!(!found.remedy.is_empty());
        let wide = Quota { quota_us: 200_000, ..least.clone() };
        assert_eq!(quota(Some(Quotas { least: Some(wide), whole: true }), None, 2).weight, Weight::Fine);
        let none = |whole| quota(Some(Quotas { least: None, whole }), None, 2).found;
        assert_eq!(none(true), "none");
        assert!(none(false).contains("groups above them may have one"));
        assert!(quota(None, None, 2).found.starts_with("not known"));
    }
}
