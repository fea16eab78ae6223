//! fio's `t/io_uring`, the peak-rate tool beside fio: configured like our `full`, where a path to it is given.
//!
//! It reads only, keeps one queue a thread, always defers completion work and leaves out the index array. What it says of itself is the
//! mean of its lines, one a second, after the first; its "Maximum" is the best of them and is not used.

use super::Error;
use super::fio::Work;
use crate::limits;
use crate::process::{Process, Wait};
use crate::program;
use crate::spawn::{Interrupts, Tether};
use crate::toggle::Toggle;
use crate::workload::{Distribution, Rw};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The treatment's name in result files.
pub const TREATMENT: &str = "t_io_uring";

/// Beyond its running time, for set-up and its end.
const GRACE: Duration = Duration::from_secs(10);

/// An installed `t/io_uring`.
#[derive(Clone, Debug)]
pub struct TIoUring {
    program: PathBuf,
}

impl TIoUring {
    /// Takes the program at `path`.
    pub fn at(path: &Path) -> Result<TIoUring, Error> {
        match program::find(path).filter(|found| program::is_program(found)) {
            Some(program) => Ok(TIoUring { program }),
            None => Err(Error::NoTIoUring(path.into())),
        }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs NOPs for `time` and returns how many a second it says it did.
    pub fn nops(&self, tether: &Tether, work: &Work<'_>, interrupts: &Interrupts) -> Result<f64, Error> {
        let fail = |source| Error::Start { program: self.program.clone(), source };
        let mut command = tether.command(&self.program);
        command.args(arguments(work)?);
        let process = Process::start(&mut command, b"").map_err(fail)?;
        match process.wait(work.time + GRACE, Some(interrupts)) {
            Wait::Interrupted => return Err(Error::Interrupted),
            Wait::TimedOut => {
                return Err(Error::Hung { program: self.program.clone(), limit: work.time + GRACE, said: process.last_words() });
            }
            Wait::Ended => {}
        }
        let text = process.output().map_err(fail)?;
        let reason = || format!("fewer than two lines with IOPS=: {}", text.trim());
        mean_rate(&text).ok_or_else(|| Error::Report { program: self.program.clone(), reason: reason() })
    }
}

/// The command line of the same work as our `full`; `work.time` outlasts a round of process arms.
pub fn arguments(work: &Work<'_>) -> Result<Vec<String>, Error> {
    let Work { workload, full, .. } = work;
    let unable = |what: &'static str| Err(Error::Unable { peer: TREATMENT, what });
    if workload.rw.writes() {
        return unable("writes");
    }
    if workload.jobs > 1 {
        return unable("several jobs on one target");
    }
    if workload.rate.is_some() {
        return unable("fixed rates");
    }
    if workload.distribution != Distribution::Uniform {
        return unable("skewed offsets");
    }
    let flag = |toggle: Toggle| u8::from(full.is_on(toggle));
    let mut arguments = vec![
        format!("-d{}", workload.queue_depth),
        format!("-s{}", full.get(Toggle::BatchSubmit)),
        format!("-c{}", full.get(Toggle::BatchComplete)),
        format!("-b{}", workload.block_size_bytes),
        format!("-p{}", flag(Toggle::Iopoll)),
        format!("-B{}", flag(Toggle::FixedBuffers)),
        format!("-F{}", flag(Toggle::FixedFiles)),
        format!("-X{}", flag(Toggle::RegisteredRing)),
        format!("-O{}", u8::from(workload.direct)),
        format!("-R{}", u8::from(workload.rw.is_random())),
        format!("-N{}", u8::from(workload.rw == Rw::Nop)),
        format!("-r{}", work.time.as_millis().div_ceil(1000).max(1)),
    ];
    arguments.extend(work.paths.iter().map(|path| path.display().to_string()));
    Ok(arguments)
}

/// Mean of the per-second rates after the first.
pub fn mean_rate(text: &str) -> Option<f64> {
    let rates: Vec<f64> = text.lines().filter(|l| !l.starts_with("Maximum")).filter_map(rate).skip(1).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64).filter(|mean| mean.is_finite())
}

/// `IOPS=10.05M, ...` as a number.
fn rate(line: &str) -> Option<f64> {
    let text = line.split_once("IOPS=")?.1.split(',').next()?;
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let scale = match unit.trim() {
        "" => 1.0,
        "K" => 1e3,
        "M" => 1e6,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|n| n * scale).filter(|n| *n < limits::PEER_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toggle::Levels;
    use crate::workload::Workload;

    #[test]
    fn the_mean_leaves_out_the_first_second_and_the_maximum() {
        let text = "polled=0, fixedbufs=1\nIOPS=5.00M, IOS/call=32/31\nIOPS=10.00M, IOS/call=32/31\nIOPS=900.50K, IOS/call=32/31\n\
                    Exiting on timeout\nMaximum IOPS=10.00M\n";
        assert_eq!(mean_rate(text), Some(5_450_250.0));
        assert_eq!(mean_rate("IOPS=5.00M, IOS/call=32/31\n"), None, "one second is only the first");
        assert_eq!(mean_rate(&format!("IOPS=1,\nIOPS={},\n", "9".repeat(400))), None, "no rate");
        assert_eq!(mean_rate(&format!("IOPS=1,\nIOPS={},\n", limits::PEER_RATE)), None, "no ring has it");
    }

    #[test]
    fn flags_follow_our_full() {
        let full = Levels::all_off().with(Toggle::BatchSubmit, 32).with(Toggle::FixedFiles, 1);
        let path = Path::new("/dev/loop0");
        let mut workload = Workload { rw: Rw::Randread, ..Workload::example() };
        let text = |workload: &Workload| {
            let work =
                Work { workload, paths: vec![path.into()], span_bytes: 1 << 30, full: &full, time: Duration::from_secs(5) };
            arguments(&work).map(|a| a.join(" "))
        };
        assert_eq!(text(&workload).unwrap(), "-d128 -s32 -c1 -b4096 -p0 -B0 -F1 -X0 -O1 -R1 -N0 -r5 /dev/loop0");
        workload.rw = Rw::Randwrite;
        assert!(text(&workload).unwrap_err().to_string().contains("writes"));
    }
}
