//! fio: how it is configured as a peer, which version it is, and whether it knows the options we use.
//!
//! One place says what each configuration means; `plan --fio-job` prints exactly what is run. Does not measure.

use super::Error;
use super::duet::Start;
use crate::experiment::FioConfig;
use crate::process::{Process, Wait};
use crate::program;
use crate::spawn::{Interrupts, Tether};
use crate::text;
use crate::toggle::{Levels, Toggle};
use crate::workload::{Distribution, Rw, Workload};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time for what fio answers at once.
const ANSWER: Duration = Duration::from_secs(10);

/// What a job does, apart from how fio is configured.
#[derive(Clone, Debug)]
pub struct Work<'a> {
    pub workload: &'a Workload,
    pub paths: Vec<PathBuf>,
    /// Bytes from offset 0 that are used of each.
    pub span_bytes: u64,
    /// Our own arm, which `matched` and `tuned` follow.
    pub full: &'a Levels,
    pub time: Duration,
}

/// fio keeps a rate of its own for each direction: reads, then writes.
fn rates(workload: &Workload, rate: u32) -> String {
    if workload.rw != Rw::Randrw {
        return rate.to_string();
    }
    let reads = (u64::from(rate) * u64::from(workload.read_percent) / 100) as u32;
    // None of a direction would be no limit to it.
    format!("{},{}", reads.max(1), (rate - reads).max(1))
}

/// The job file: `default` differs from plain fio only in what the workload asks for; `registered` adds registration; `matched` has the
/// registration and the batches of our `full`; `tuned` also leaves out every measurement and bookkeeping of fio's own.
pub fn job(config: FioConfig, work: &Work<'_>) -> Result<String, Error> {
    let Work { workload, full, .. } = work;
    if workload.rw == Rw::Nop {
        return Err(Error::NoNop);
    }
    let bs = u64::from(workload.block_size_bytes);
    // Whole blocks only, as our engine covers them.
    let range = workload.job_range(0, work.span_bytes);
    let span = (range.end - range.start) / bs * bs;
    let mut text = format!("[{}]\n", config.treatment().trim_start_matches("fio:"));
    let mut set = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{key}={value}").expect("writing to a string cannot fail");
    };
    set("ioengine", &"io_uring");
    set("direct", &u8::from(workload.direct));
    set("thread", &1);
    set("filename", &work.paths.iter().map(|path| file_name(path)).collect::<Result<Vec<_>, _>>()?.join(":"));
    set("rw", &workload.rw.name());
    if workload.rw == Rw::Randrw {
        set("rwmixread", &workload.read_percent);
        set("unified_rw_reporting", &1);
    }
    set("bs", &bs);
    // fio divides it among the files.
    set("size", &(span * work.paths.len() as u64));
    if workload.offset_bytes + workload.offset_increment_bytes > 0 {
        set("offset", &workload.offset_bytes);
        set("offset_increment", &workload.offset_increment_bytes);
    }
    if let Some(rate) = workload.rate {
        set("rate_iops", &rates(workload, rate));
    }
    set("iodepth", &workload.queue_depth);
    set("numjobs", &workload.jobs);
    set("group_reporting", &1);
    set("time_based", &1);
    set("runtime", &work.time.as_millis().div_ceil(1000).max(1));
    // Direct I/O has no cache to drop; dropping it needs root and would be done again at every pass over the span.
    set("invalidate", &0);
    if workload.rw.is_random() {
        // Rounds are replicates: each draws its own places.
        set("randrepeat", &0);
        if let Distribution::Zipf(hundredths) = workload.distribution {
            set("random_distribution", &format!("zipf:{}", f64::from(hundredths) / 100.0));
        }
    }
    configure(config, workload, full, &mut set);
    Ok(text)
}

/// What one configuration adds to the work.
fn configure(config: FioConfig, workload: &Workload, full: &Levels, set: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
    let (buffers, files) = match config {
        FioConfig::Default => (false, false),
        FioConfig::Registered => (true, true),
        FioConfig::Matched | FioConfig::Tuned => (full.is_on(Toggle::FixedBuffers), full.is_on(Toggle::FixedFiles)),
    };
    if config != FioConfig::Default {
        set("fixedbufs", &u8::from(buffers));
        set("registerfiles", &u8::from(files));
    }
    if matches!(config, FioConfig::Matched | FioConfig::Tuned) {
        set("iodepth_batch_submit", &full.get(Toggle::BatchSubmit));
        set("iodepth_batch_complete_min", &full.get(Toggle::BatchComplete));
        set("iodepth_batch_complete_max", &workload.queue_depth);
    }
    if config == FioConfig::Tuned {
        set("gtod_reduce", &1);
        set("disk_util", &0);
        if workload.rw.is_random() {
            set("norandommap", &1);
        }
        if workload.rw.writes() {
            // Our engine, too, writes the same bytes again.
            set("scramble_buffers", &0);
        }
    }
}

/// The path as fio reads it: a colon separates files unless it is escaped; what starts a comment or a variable cannot be escaped.
fn file_name(path: &Path) -> Result<String, Error> {
    let text = path.to_string_lossy();
    let unspeakable = |c: &char| c.is_control() || c.is_whitespace() || ";#$\\\u{FFFD}".contains(*c);
    match text.chars().find(unspeakable) {
        Some(character) => Err(Error::Path { path: path.into(), character }),
        None => Ok(text.replace(':', "\\:")),
    }
}

/// An installed fio and the way it is started.
#[derive(Clone, Debug)]
pub struct Fio {
    tether: Tether,
    program: PathBuf,
}

impl Fio {
    /// Finds `program` as [`program::find`] does.
    pub fn find(tether: Tether, program: &Path) -> Result<Fio, Error> {
        let found = program::find(program).filter(|found| program::is_program(found));
        Ok(Fio { tether, program: found.ok_or_else(|| Error::Missing(program.into()))? })
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// As a process arm: fio on this job, until it is killed.
    pub fn start(&self, job: String) -> Start {
        Start::Program { program: self.program.clone(), arguments: vec!["--eta=never".into(), "-".into()], input: job }
    }

    /// A command that dies with us and reads its job from standard input.
    fn command(&self, options: &[&str]) -> Command {
        let mut command = self.tether.command(&self.program);
        command.args(options);
        command
    }

    /// Runs fio to its end; it has succeeded when this returns.
    fn finish(&self, options: &[&str], job: &str, limit: Duration, interrupts: Option<&Interrupts>) -> Result<Process, Error> {
        self.finish_watched(options, job, limit, interrupts, (limit, &mut |_| ()))
    }

    /// The same, looked at again and again meanwhile: with the pause between two looks.
    pub(super) fn finish_watched(
        &self,
        options: &[&str],
        job: &str,
        limit: Duration,
        interrupts: Option<&Interrupts>,
        (pause, look): (Duration, &mut dyn FnMut(&Process)),
    ) -> Result<Process, Error> {
        let program = || self.program.clone();
        let fail = |source| Error::Start { program: program(), source };
        let mut process = Process::start(&mut self.command(options), job.as_bytes()).map_err(fail)?;
        let deadline = Instant::now() + limit;
        loop {
            look(&process);
            let left = deadline.saturating_duration_since(Instant::now());
            match process.wait(pause.min(left), interrupts) {
                Wait::Interrupted => return Err(Error::Interrupted),
                Wait::TimedOut if left <= pause => {
                    return Err(Error::Hung { program: program(), limit, said: process.last_words() });
                }
                Wait::TimedOut => {}
                Wait::Ended => break,
            }
        }
        let status = process.finish().map_err(fail)?;
        if status.success() {
            Ok(process)
        } else {
            Err(Error::Died { program: program(), status: status.to_string(), said: process.last_words() })
        }
    }

    /// What it calls itself: `fio-3.33`.
    pub fn version(&self) -> Result<String, Error> {
        let output = self.finish(&["--version"], "", ANSWER, None)?.output();
        let text = output.map_err(|source| Error::Start { program: self.program.clone(), source })?;
        Ok(text::line(text.trim()))
    }

    /// Has fio read the job without running it, so that an option it does not know is found out before anything is measured.
    pub fn check(&self, job: &str) -> Result<(), Error> {
        match self.finish(&["--parse-only", "-"], job, ANSWER, None) {
            Ok(_) => Ok(()),
            Err(Error::Died { program, said, .. }) => Err(self.refusal(program, said)),
            Err(other) => Err(other),
        }
    }

    fn refusal(&self, program: PathBuf, said: String) -> Error {
        // Without the engine its options are unknown, too: the cause comes first.
        if said.contains("not loadable") || said.contains("failed to load engine") {
            return Error::Engine { program, said };
        }
        match bad_option(&said) {
            Some(option) => {
                Error::Option { version: self.version().unwrap_or_else(|_| "unknown version".into()), program, option }
            }
            None => Error::Job { program, said },
        }
    }
}

/// The key inside `Bad option <key=value>`.
fn bad_option(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("Bad option <")?;
    let (option, _) = rest.split_once('>')?;
    Some(option.split('=').next().unwrap_or(option).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn text(config: FioConfig, rw: Rw, path: &str) -> Result<String, Error> {
        let workload = Workload { rw, read_percent: 70, jobs: 2, ..Workload::example() };
        let full = Levels::all_off().with(Toggle::FixedBuffers, 1).with(Toggle::BatchSubmit, 4);
        let span_bytes = (1 << 30) + 512;
        job(
            config,
            &Work { workload: &workload, paths: vec![path.into()], span_bytes, full: &full, time: Duration::from_secs(5) },
        )
    }

    #[test]
    fn plain_fio_is_asked_for_the_workload_alone() {
        assert_snapshot!(text(FioConfig::Default, Rw::Read, "/dev/loop0").unwrap(), @"
        [default]
        ioengine=io_uring
        direct=1
        thread=1
        filename=/dev/loop0
        rw=read
        bs=4096
        size=1073741824
        iodepth=128
        numjobs=2
        group_reporting=1
        time_based=1
        runtime=5
        invalidate=0
        ");
    }

    #[test]
    fn a_rate_is_that_of_both_directions_together() {
        let mix = Workload { rw: Rw::Randrw, read_percent: 70, ..Workload::example() };
        assert_eq!(rates(&mix, 20_000), "14000,6000");
        assert_eq!(rates(&Workload { read_percent: 100, ..mix }, 20_000), "20000,1");
        assert_eq!(rates(&Workload { rw: Rw::Randread, ..mix }, 20_000), "20000");
    }

    #[test]
    fn registered_adds_registration() {
        assert_snapshot!(text(FioConfig::Registered, Rw::Read, "/dev/loop0").unwrap(), @"
        [registered]
        ioengine=io_uring
        direct=1
        thread=1
        filename=/dev/loop0
        rw=read
        bs=4096
        size=1073741824
        iodepth=128
        numjobs=2
        group_reporting=1
        time_based=1
        runtime=5
        invalidate=0
        fixedbufs=1
        registerfiles=1
        ");
    }

    #[test]
    fn matched_follows_our_full() {
        assert_snapshot!(text(FioConfig::Matched, Rw::Randread, "/dev/loop0").unwrap(), @"
        [matched]
        ioengine=io_uring
        direct=1
        thread=1
        filename=/dev/loop0
        rw=randread
        bs=4096
        size=1073741824
        iodepth=128
        numjobs=2
        group_reporting=1
        time_based=1
        runtime=5
        invalidate=0
        randrepeat=0
        fixedbufs=1
        registerfiles=0
        iodepth_batch_submit=4
        iodepth_batch_complete_min=1
        iodepth_batch_complete_max=128
        ");
    }

    #[test]
    fn tuned_leaves_out_what_fio_does_for_itself() {
        assert_snapshot!(text(FioConfig::Tuned, Rw::Randrw, "/dev/disk/by-path/pci-0000:00:04.0").unwrap(), @r"
        [tuned]
        ioengine=io_uring
        direct=1
        thread=1
        filename=/dev/disk/by-path/pci-0000\:00\:04.0
        rw=randrw
        rwmixread=70
        unified_rw_reporting=1
        bs=4096
        size=1073741824
        iodepth=128
        numjobs=2
        group_reporting=1
        time_based=1
        runtime=5
        invalidate=0
        randrepeat=0
        fixedbufs=1
        registerfiles=0
        iodepth_batch_submit=4
        iodepth_batch_complete_min=1
        iodepth_batch_complete_max=128
        gtod_reduce=1
        disk_util=0
        norandommap=1
        scramble_buffers=0
        ");
    }

    #[test]
    fn paths_that_a_job_file_cannot_say_are_refused() {
        for (path, character) in [("/tmp/a;b", ";"), ("/tmp/a b", " "), ("/tmp/#1", "#"), ("/tmp/$HOME", "$")] {
            let error = text(FioConfig::Default, Rw::Read, path).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(character) && error.contains("symbolic link"), "{error}");
        }
    }

    #[test]
    fn a_bad_option_is_named_without_its_value() {
        assert_eq!(bad_option("x; Bad option <fixedbufs=1>; fio: job a dropped").as_deref(), Some("fixedbufs"));
        assert_eq!(bad_option("Bad option <thread>").as_deref(), Some("thread"));
        assert_eq!(bad_option("fio: job a dropped"), None);
    }
}
