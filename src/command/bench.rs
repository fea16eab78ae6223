//! `uring-ablate bench`: one cell, once, with the flags of a fio user.

use super::Failure;
use crate::cli::BenchArgs;
use crate::console;
use crate::engine::{self, Options};
use crate::exit::Exit;
use crate::perf::{self, counters};
use crate::plan::{Arm, Control, Part, Round, RoundKind};
use crate::row::{ArmRow, Outcome};
use crate::run::round::{Report, Spec};
use crate::run::rows::{self, RunFacts};
use crate::run::{self, checks, child, pilot};
use crate::spawn::{Interrupts, Tether};
use crate::target::route::Route;
use crate::target::tags::Tags;
use crate::target::{self, Access, Kind, Target, Wanted};
use crate::toggle::{self, Levels, Toggle};
use crate::workload::{Cache, Workload};
use std::path::PathBuf;
use std::time::Duration;

/// Measures the cell and prints its row.
pub fn bench(args: &BenchArgs) -> Result<Exit, Failure> {
    engine::probe(args.allow_iowq)?;
    let process = |e: std::io::Error| run::Error::Process(e);
    let (tether, interrupts) = (Tether::current(), Interrupts::install().map_err(process)?);
    let workload = workload(args);
    target::room::buffers(&workload, 1, args.allow_size.unwrap_or(0)).map_err(target::Error::from)?;
    let mut target = target(args, Access::of(workload.rw.writes(), &args.allow_destructive))?;
    target.accepts(&workload)?;
    target.prove(&[workload])?;
    let levels = levels(args, &workload, &target)?;
    let found = checks::of_target(&target, &[workload], args.allow_iowq);
    checks::warnings(&found).into_iter().for_each(console::note);
    let spec = Spec {
        paths: target.handles(),
        identities: target.identities(),
        span_bytes: target.span_bytes,
        workload,
        options: Options::default(),
        setting: target.setting(&Options::default()),
        arms: vec![Arm { treatment: "bench".into(), levels, control: Control::None, copies: 1 }],
        seed: args.randseed,
        blocks: 1,
        completions: 0,
        conditioning: false,
        hang_guard: run::HANG_GUARD + args.runtime * 2,
        profile: None,
        counted: args.counters.then(|| target.devices()),
        tallied: target.sight.devices(),
        allow_iowq: args.allow_iowq,
    };
    let run = |time: Duration| -> Result<Report, run::Error> {
        let _lent = target.lend()?;
        let completions = pilot::completions(&tether, &spec, time, &interrupts)?;
        let timeout = spec.hang_guard * 2 + time;
        child::run(&tether, &Spec { completions, ..spec.clone() }, timeout, &interrupts)
            .map_err(|source| pilot::Error::Round { cell: workload.cell_name(), source }.into())
    };
    if !args.ramp_time.is_zero() {
        run(args.ramp_time)?;
    }
    let report = run(args.runtime)?;
    let facts = RunFacts {
        experiment: "bench".into(),
        run_id: String::new(),
        target: target.label.clone(),
        span_bytes: target.span_bytes,
        allow_iowq: args.allow_iowq,
        tags: Tags::of_target(&target),
        sight: target.sight.clone(),
        promised: target.promises_direct_io(),
        since_start: Duration::ZERO,
    };
    let (cell, kind, part) = (workload.cell_name(), RoundKind::Isolated, Part::All);
    let round = Round { round: 1, repetition: 0, cell, kind, part, seed: args.randseed };
    let rows = rows::from_report(&facts, &round, &spec, &report);
    let Some(row) = rows.arms.first() else { return Ok(Exit::Environment) };
    if let Some(devices) = &spec.counted {
        console::note(perf::limits(None, Some(devices)));
    }
    let told = if args.json { json(row).to_string() } else { text(row, &target) };
    console::product(told + "\n")?;
    Ok(if row.outcome == Outcome::Completed { Exit::Ok } else { Exit::Environment })
}

fn workload(args: &BenchArgs) -> Workload {
    Workload {
        rw: args.rw,
        read_percent: args.rwmixread,
        block_size_bytes: args.bs,
        queue_depth: args.iodepth,
        jobs: args.numjobs,
        distribution: args.random_distribution,
        direct: args.direct == 1,
        cache: Cache::Hit,
        rate: args.rate_iops,
        ..Workload::example()
    }
}

/// The target by its names alone: a block device is one, everything else is a file.
fn target(args: &BenchArgs, access: Access<'_>) -> Result<Target, Failure> {
    let wanted = |path| Wanted { allowed_bytes: args.allow_size.unwrap_or(0), ..wanted(path, args.size) };
    let all = args.filename.as_ref().map_or(vec![wanted(None)], |names| file_names(names).map(Some).map(wanted).collect());
    Ok(Target::resolve_all(&all, access)?)
}

/// The target at a path: a block device is one, everything else is a file. Without a path the automatic one.
pub fn wanted(path: Option<PathBuf>, size_bytes: Option<u64>) -> Wanted {
    let kind = match &path {
        None => Kind::Auto,
        Some(path) if target::is_block_device(path) => Kind::Device,
        Some(_) => Kind::File,
    };
    Wanted { kind, path, size_bytes, stamps: None, allowed_bytes: 0 }
}

/// One target by its name, or `auto`, to be read.
pub fn target_of(path: Option<PathBuf>, size_bytes: Option<u64>) -> Result<Target, Failure> {
    Ok(Target::resolve(&wanted(path, size_bytes))?)
}

/// The names in fio's list: colons separate them, and `\\:` is a colon of a name.
fn file_names(list: &str) -> impl Iterator<Item = PathBuf> {
    let hidden = list.replace("\\:", "\0");
    hidden.split(':').map(|name| name.replace('\0', ":").into()).collect::<Vec<_>>().into_iter()
}

/// The toggles that quick.toml switches or fixes on.
const USUAL: [Toggle; 10] = [
    Toggle::FixedBuffers,
    Toggle::FixedFiles,
    Toggle::BatchSubmit,
    Toggle::TimeCheckInterval,
    Toggle::FastPath,
    Toggle::StatsBatching,
    Toggle::LatencySampling,
    Toggle::Pow2Mask,
    Toggle::QueueRefill,
    Toggle::Taskrun,
];

/// What was asked for; for the rest the usual levels, where they go with it.
fn levels(args: &BenchArgs, workload: &Workload, target: &Target) -> Result<Levels, Failure> {
    let setting = target.setting(&Options::default());
    let given = &args.toggles.0;
    let asked = given.iter().fold(Levels::all_off().with(Toggle::QueueRefill, 1), |levels, (t, level)| levels.with(*t, *level));
    if let Some((_, reason)) = toggle::refusal(&asked, workload, &setting) {
        return Err(Failure { exit: Exit::Usage, message: reason });
    }
    let unsaid = USUAL.iter().filter(|toggle| given.iter().all(|(t, _)| t != *toggle));
    Ok(unsaid.fold(asked, |levels, toggle| {
        let with = levels.with(*toggle, toggle.spec().on);
        if toggle::refusal(&with, workload, &setting).is_none() { with } else { levels }
    }))
}

/// One object with the columns of `arms.csv`; what was not measured is null.
fn json(row: &ArmRow) -> serde_json::Value {
    let value = |text: String| match serde_json::from_str::<serde_json::Number>(&text) {
        Ok(number) => number.into(),
        Err(_) if text.is_empty() => serde_json::Value::Null,
        Err(_) => text.into(),
    };
    ArmRow::header().into_iter().zip(row.record()).map(|(key, text)| (key, value(text))).collect()
}

/// The row for people.
fn text(row: &ArmRow, target: &Target) -> String {
    let mut lines = Vec::new();
    let mut beside = String::new();
    if let Some(Route::Unobservable { why }) = &row.route {
        lines.push(format!("ROUTE NOT PROVED: nobody could check that the bytes came from or went to a device: {why}"));
        beside = format!(" ({})", crate::report::route::MARK);
    }
    lines.push(format!("{} on {}", row.cell, target.description));
    if row.outcome != Outcome::Completed {
        lines.push(format!("{}: {}", row.outcome.name(), row.reason));
    }
    if let Some(levels) = &row.effective {
        let pairs: Vec<String> = levels.pairs().map(|(key, level)| format!("{key} = {level}")).collect();
        lines.push(format!("in effect: {}", pairs.join(", ")));
    }
    let fields = ArmRow::header().into_iter().zip(row.record());
    let wanted = [
        "requests_due",
        "requests_started",
        "iops",
        "bandwidth_bytes_per_s",
        "cpu_total_ns_per_op",
        "thread_cpu_share",
        "job_fairness",
        "enters_per_op",
        "device_share",
    ];
    let rates = ["iops", "bandwidth_bytes_per_s"];
    let note = |key: &str| if rates.contains(&key) { beside.as_str() } else { "" };
    let shown = |key: &str| wanted.contains(&key) || key.starts_with("lat_");
    let counted = |key: &str| counters::columns().any(|column| column == key);
    let measured = fields.filter(|(key, value)| (shown(key) || counted(key)) && !value.is_empty());
    lines.extend(measured.map(|(key, value)| match value.parse::<f64>() {
        Ok(number) if number >= 100.0 => format!("{key:>22} {number:.0}{}", note(&key)),
        Ok(number) => format!("{key:>22} {number:.3}{}", note(&key)),
        Err(_) => format!("{key:>22} {value}"),
    }));
    lines.join("\n")
}
