//! The validity gates: what must hold of an arm's round before its figures are believed.

use super::regime::Regime;
use super::round::{ArmReport, Slice};
use crate::engine::charge;
use crate::engine::hooks::Kept;
use crate::engine::slice::least_coverage;
use crate::perf::profile::Profile;
use crate::plan::Control;
use crate::row::Outcome;
use crate::target::route::Route;
use crate::target::tags::Shortage;
use crate::toggle::{Levels, Toggle};
use crate::workload::{Distribution, Rw, Workload};
use std::time::Duration;

/// CPU time of kernel workers above this share of an arm's CPU time means that they did its I/O. Below it lies what idle workers of other arms
/// do in between.
const WORKER_SHARE: f64 = 0.05;

/// What the gates look at besides the slices.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub workload: &'a Workload,
    pub span_bytes: u64,
    pub requested: &'a Levels,
    pub allow_iowq: bool,
    /// What the arm does besides the work, or in its place.
    pub control: Control,
    /// Where one was asked for.
    pub profile: Option<&'a Result<Profile, String>>,
    /// The workload keeps more in flight than its device takes.
    pub shortage: Option<&'a Shortage>,
    /// It keeps just as many in flight.
    pub none_to_spare: bool,
    /// What a failed request's result means on this target.
    pub failure: &'a dyn Fn(i32) -> String,
    /// By what route the bytes of the whole round went; `None` where it moved none.
    pub route: Option<&'a Route>,
    /// What became of the page cache's state, where the workload goes through it.
    pub regime: Option<&'a Regime>,
    /// How far the CPU time of the kernel's threads jumps, where the round looked.
    pub charge_step_ns: Option<u64>,
    /// A debug build may plan and test, not record.
    pub debug_build: bool,
}

/// Says why an arm's round is not to be believed.
type Gate = fn(&Context<'_>, &ArmReport, &[&Slice]) -> Option<String>;

/// Judges one arm of a round: its outcome, and the reason where it is not `completed`.
pub fn judge(context: &Context<'_>, report: &ArmReport, slices: &[&Slice]) -> (Outcome, String) {
    if let Some(reason) = &report.unsupported {
        return (Outcome::Unsupported, reason.clone());
    }
    if slices.iter().any(|s| s.overran) {
        return (Outcome::TimedOut, "a slice ran into the hang guard".into());
    }
    let gates: [Gate; 13] = [
        release_build,
        no_errors,
        all_bytes,
        kept_up,
        labels,
        buffers_unshared,
        coverage,
        charged,
        no_workers,
        resolved,
        reached_the_device,
        cached,
        whole_profile,
    ];
    match gates.iter().find_map(|gate| gate(context, report, slices)) {
        Some(reason) => (Outcome::Invalid, reason),
        None => (Outcome::Completed, String::new()),
    }
}

fn release_build(context: &Context<'_>, _: &ArmReport, _: &[&Slice]) -> Option<String> {
    context.debug_build.then(|| "measured by a debug build".into())
}

fn no_errors(context: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    let errors: u64 = slices.iter().map(|s| s.errors).sum();
    if errors == 0 {
        return None;
    }
    let first = slices.iter().map(|s| s.first_error).find(|e| *e != 0).unwrap_or(0);
    Some(format!("{errors} requests failed or fell short, the first with: {}", (context.failure)(first)))
}

fn all_bytes(context: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    let (ops, bytes) = slices.iter().fold((0, 0), |(o, b), s| (o + s.ops, b + s.bytes));
    let each =
        if context.workload.rw == Rw::Nop || context.control == Control::Ceiling { 0 } else { context.workload.block_size_bytes };
    let due = ops * u64::from(each);
    if ops == 0 {
        return Some("no request completed".into());
    }
    (bytes != due).then(|| format!("{ops} requests moved {bytes} bytes instead of {due}"))
}

/// Of the requests that were due, this share may still wait where several slices end: the backlog of each is small because it is short.
const WAITING_SHARE: f64 = 0.01;

/// A request that is due is started as soon as one of those in flight makes room for it. When more of them wait than can be in flight at all, less
/// is done than was asked: the queue and every latency grow for as long as that lasts.
fn kept_up(context: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    let Workload { rate, jobs, queue_depth, .. } = *context.workload;
    let Kept { due, started } = slices.iter().map(|s| s.kept).sum();
    let in_flight = u64::from(queue_depth) * u64::from(jobs);
    let may_wait = in_flight.max((due as f64 * WAITING_SHARE) as u64).min(in_flight * slices.len() as u64);
    (started + may_wait < due).then(|| {
        format!(
            "rate_iops = {} was not kept up with (requests_due, requests_started), and latency grows for as long as that lasts; lower rate_iops, or \
             free the CPUs",
            rate.unwrap_or_default()
        )
    })
}

fn labels(context: &Context<'_>, report: &ArmReport, _: &[&Slice]) -> Option<String> {
    let wrong = Toggle::all().find(|t| context.requested.get(*t) != report.effective.get(*t))?;
    let text = |levels: &Levels| wrong.spec().level_text(levels.get(wrong));
    Some(format!("{} = {} was asked for, {} was in effect", wrong.key(), text(context.requested), text(&report.effective)))
}

fn buffers_unshared(_: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    slices.iter().any(|s| !s.slots_intact).then(|| "a buffer was given to two requests at once, or lost".into())
}

fn coverage(context: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    let touched = slices.iter().fold(0, |bits, s| bits | s.touched).count_ones();
    // A sequential slice starts in one random place; every random request is a place of its own.
    let draws = if context.workload.rw.is_random() { slices.iter().map(|s| s.ops).sum() } else { slices.len() as u64 };
    let range = context.workload.job_range(0, context.span_bytes);
    let blocks = (range.end - range.start) / u64::from(context.workload.block_size_bytes);
    // Zipf's law may prefer few places, yet never one alone.
    let draws = if context.workload.distribution == Distribution::Uniform { draws } else { draws.min(4) };
    let least = least_coverage(draws).min(u32::try_from(blocks).unwrap_or(u32::MAX).div_ceil(2));
    (touched < least).then(|| format!("offsets touched {touched} of 64 pieces of the span, at least {least} were due"))
}

/// The kernel counts for the process and the devices, not for an arm, so the arms of a round that move bytes stand or fall together.
fn reached_the_device(context: &Context<'_>, _: &ArmReport, _: &[&Slice]) -> Option<String> {
    match context.route? {
        Route::Contradicted { cause } if counts(context.workload, context.control, context.requested) => Some(cause.clone()),
        _ => None,
    }
}

fn cached(context: &Context<'_>, _: &ArmReport, _: &[&Slice]) -> Option<String> {
    match context.regime? {
        Regime::Broken(cause) if counts(context.workload, context.control, context.requested) => Some(cause.clone()),
        _ => None,
    }
}

/// True for an arm whose requests move bytes through the block layer, where they are counted. NVMe commands bypass it, straight to the device.
pub fn counts(workload: &Workload, control: Control, levels: &Levels) -> bool {
    workload.rw != Rw::Nop && control != Control::Ceiling && !levels.is_on(Toggle::Passthrough)
}

/// What the kernel's threads used of an arm's CPU time.
fn helpers_share(slices: &[&Slice]) -> f64 {
    let total: u64 = slices.iter().map(|s| s.cpu_total_ns).sum();
    let own: u64 = slices.iter().map(|s| s.thread_cpu_ns).sum();
    total.saturating_sub(own) as f64 / total.max(1) as f64
}

fn charged(_: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    let all = slices.iter().all(|s| s.charged);
    (!all).then(|| "the threads of the round (/proc/self/task) could not be listed, so its CPU time is not known".into())
}

/// The CPU time of the kernel's threads moves in steps that are small beside a slice.
fn resolved(context: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    let step = context.charge_step_ns?;
    let slice = slices.iter().map(|s| s.duration_ns).sum::<u64>() / slices.len().max(1) as u64;
    // The pilot aims at the number of steps; a slice may turn out shorter.
    let least = step.saturating_mul(charge::STEPS_PER_SLICE) / 2;
    let share = helpers_share(slices);
    (share > WORKER_SHARE && slice < least).then(|| {
        format!(
            "the kernel's threads (SQPOLL, io-wq) used {:.0} % of the CPU time, which moves in steps of {:.1?} here, and a slice took {:.1?}: \
             set [design] slice_time to {:.0?} or more (trial_time in isolated mode)",
            share * 100.0,
            Duration::from_nanos(step),
            Duration::from_nanos(slice),
            Duration::from_nanos(least * 2),
        )
    })
}

fn no_workers(context: &Context<'_>, _: &ArmReport, slices: &[&Slice]) -> Option<String> {
    let share = helpers_share(slices);
    // A submitting kernel thread is a worker that was asked for.
    let asked = context.allow_iowq || context.requested.is_on(Toggle::Sqpoll);
    (!asked && share > WORKER_SHARE).then(|| {
        let cause = match context.shortage {
            Some(shortage) => shortage.to_string(),
            None if context.none_to_spare => {
                "it keeps as many random requests in flight as the device has tags (/sys/block/X/queue/nr_requests), and a tag is free only \
                 after its request was seen to complete; lower iodepth"
                    .into()
            }
            None => "this target cannot be read inline".into(),
        };
        format!(
            "io-wq workers used more than {:.0} % of the CPU time: {cause} ([target] allow_iowq = true accepts it)",
            WORKER_SHARE * 100.0
        )
    })
}

fn whole_profile(context: &Context<'_>, _: &ArmReport, _: &[&Slice]) -> Option<String> {
    match context.profile? {
        Ok(profile) if profile.causes.iter().all(|cause| !cause.own) => Some("no tick of the profile fell into a slice".into()),
        Ok(profile) if profile.lost == 0 => None,
        Ok(profile) => Some(format!("{} ticks of the profile were lost; lower [profile] frequency", profile.lost)),
        Err(reason) => Some(format!("the clocks of the profile could not be started: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::profile::Cause;

    fn slice(i: u32) -> Slice {
        Slice {
            arm: 0,
            copy: 0,
            block: i,
            position: 0,
            start_ns: 0,
            end_ns: 1000,
            duration_ns: 1000,
            cpu_total_ns: 1000,
            thread_cpu_ns: 990,
            ops: 10,
            bytes: 40_960,
            errors: 0,
            first_error: 0,
            enters: 10,
            kept: Kept { due: 10, started: 10 },
            variant: 0,
            slots_intact: true,
            overran: false,
            charged: true,
            touched: 1 << (i % 64),
            issued: 10,
        }
    }

    fn errno(result: i32) -> String {
        if result < 0 { std::io::Error::from_raw_os_error(-result).to_string() } else { format!("{result} bytes moved") }
    }

    fn verdict(change: impl Fn(&mut Slice), effective: Levels, debug_build: bool) -> (Outcome, String) {
        let mut slices: Vec<Slice> = (0..64).map(slice).collect();
        slices.iter_mut().for_each(change);
        let report = ArmReport { unsupported: None, effective, latency: vec![], job_ops: vec![], counts: None };
        let requested = Levels::all_off();
        let context = Context {
            workload: &Workload::example(),
            span_bytes: 1 << 30,
            requested: &requested,
            allow_iowq: false,
            control: Control::None,
            profile: None,
            shortage: None,
            none_to_spare: false,
            failure: &errno,
            route: None,
            regime: None,
            charge_step_ns: Some(20),
            debug_build,
        };
        judge(&context, &report, &slices.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_sound_round_passes() {
        assert_eq!(verdict(|_| {}, Levels::all_off(), false), (Outcome::Completed, String::new()));
    }

    #[test]
    fn each_gate_closes() {
        let off = Levels::all_off();
        type Change = fn(&mut Slice);
        let cases: [(&str, Change); 9] = [
            ("was not kept up with", |s| s.kept = Kept { due: 5000, started: 900 }),
            ("Input/output error", |s| (s.errors, s.first_error) = (1, -libc::EIO)),
            ("the first with: 0 bytes moved", |s| s.errors = 1),
            ("512 bytes moved", |s| (s.errors, s.first_error) = (1, 512)),
            ("instead of", |s| s.bytes -= 1),
            ("two requests", |s| s.slots_intact = false),
            ("of the span", |s| s.touched = 1),
            ("io-wq", |s| s.thread_cpu_ns = 500),
            ("/proc/self/task", |s| s.charged = false),
        ];
        for (words, change) in cases {
            let (outcome, reason) = verdict(change, off, false);
            assert_eq!(outcome, Outcome::Invalid, "{words}");
            assert!(reason.contains(words), "{reason:?} says {words:?}");
        }
        assert_eq!(verdict(|s| s.overran = true, off, false).0, Outcome::TimedOut);
    }

    #[test]
    fn slices_too_short_for_the_steps_of_the_charge_are_invalid() {
        let polled = Levels::all_off().with(Toggle::Sqpoll, 1);
        let judged = |step, thread_cpu_ns| {
            let slices: Vec<Slice> = (0..64).map(|i| Slice { duration_ns: 2_000_000, thread_cpu_ns, ..slice(i) }).collect();
            let report = ArmReport { unsupported: None, effective: polled, latency: vec![], job_ops: vec![], counts: None };
            let context = Context {
                workload: &Workload::example(),
                span_bytes: 1 << 30,
                requested: &polled,
                allow_iowq: false,
                control: Control::None,
                profile: None,
                shortage: None,
                none_to_spare: false,
                failure: &errno,
                route: None,
                regime: None,
                charge_step_ns: step,
                debug_build: false,
            };
            judge(&context, &report, &slices.iter().collect::<Vec<_>>())
        };
        let (outcome, reason) = judged(Some(4_000_000), 500);
        assert_eq!(outcome, Outcome::Invalid);
        for part in ["50 % of the CPU time", "steps of 4.0ms", "a slice took 2.0ms", "slice_time to 200ms"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
        assert_eq!(judged(Some(4_000_000), 990).0, Outcome::Completed, "the kernel's threads did nothing");
        assert_eq!(judged(Some(40_000), 500).0, Outcome::Completed);
        assert_eq!(judged(None, 500).0, Outcome::Completed);
    }

    #[test]
    fn a_profile_with_holes_is_invalid() {
        let cause = Cause {
            arm: 0,
            own: true,
            context: "user".into(),
            category: "engine".into(),
            symbol: String::new(),
            ticks: 1,
            weight: 1,
        };
        let profile = |lost| Profile { event: "cpu-clock".into(), lost, causes: vec![cause.clone()] };
        let (workload, requested) = (Workload::example(), Levels::all_off());
        let report = ArmReport { unsupported: None, effective: requested, latency: vec![], job_ops: vec![], counts: None };
        let judged = |profile: &Result<Profile, String>| {
            let context = Context {
                workload: &workload,
                span_bytes: 1 << 30,
                requested: &requested,
                allow_iowq: false,
                control: Control::None,
                profile: Some(profile),
                shortage: None,
                none_to_spare: false,
                failure: &errno,
                route: None,
                regime: None,
                charge_step_ns: None,
                debug_build: false,
            };
            let slices: Vec<Slice> = (0..64).map(slice).collect();
            judge(&context, &report, &slices.iter().collect::<Vec<_>>()).1
        };
        assert_eq!(judged(&Ok(profile(0))), "");
        assert!(judged(&Ok(profile(3))).contains("3 ticks"));
        assert!(judged(&Ok(Profile { causes: vec![], ..profile(0) })).contains("no tick"));
        assert!(judged(&Err("forbidden".into())).contains("forbidden"));
    }

    #[test]
    fn a_wrong_label_of_any_toggle_or_a_debug_build_is_invalid() {
        for toggle in Toggle::all() {
            let spec = toggle.spec();
            let (outcome, reason) = verdict(|_| {}, Levels::all_off().with(toggle, spec.on), false);
            let [off, on] = [spec.off, spec.on].map(|level| spec.level_text(level));
            let due = format!("{} = {off} was asked for, {on} was in effect", toggle.key());
            assert_eq!((outcome, reason), (Outcome::Invalid, due));
        }
        assert_eq!(verdict(|_| {}, Levels::all_off(), true).0, Outcome::Invalid);
    }
}
