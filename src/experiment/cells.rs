//! `[workload]`: every key may be a list, and the cells are the product.

use super::wire::WireWorkload;
use super::{Error, Source};
use crate::engine::MAX_QUEUE_DEPTH;
use crate::engine::stamp::SECTOR_BYTES;
use crate::limits;
use crate::units;
use crate::workload::{self, Cache, Distribution, Rw, Workload};

/// Every combination of the lists.
pub fn read(source: &Source<'_>, wire: &WireWorkload) -> Result<Vec<Workload>, Error> {
    let number = |low: u32, high: u32| {
        move |t: &str| t.parse::<u32>().ok().filter(|n| (low..=high).contains(n)).ok_or(format!("{t:?} is not in {low}..={high}"))
    };
    let or_else = |list: Option<&toml::Spanned<super::wire::List>>, key: &str, low, high, default: u32| {
        list.map_or(Ok(vec![default]), |l| source.list(key, l, number(low, high)))
    };
    let bytes = |key: &str, value: Option<&toml::Spanned<super::wire::Scalar>>| {
        value.map(|v| source.read(key, v, |t| units::size_bytes(&t.0))).transpose()
    };
    let usual = Workload {
        direct: wire.direct.unwrap_or(true),
        cache: wire.cache.unwrap_or(Cache::Hit),
        offset_bytes: bytes("offset", wire.offset.as_ref())?.unwrap_or(0),
        offset_increment_bytes: bytes("offset_increment", wire.offset_increment.as_ref())?.unwrap_or(0),
        job_span_bytes: bytes("size", wire.size.as_ref())?,
        verify: wire.verify,
        ..Workload::example()
    };
    let mut cells = vec![usual];
    // One more than the limit shows that there are too many; further lists then multiply no more than that.
    let mut cross =
        |change: &dyn Fn(&Workload) -> Vec<Workload>| cells = cells.iter().flat_map(change).take(limits::CELLS + 1).collect();
    let rw = source.list("rw", &wire.rw, Rw::parse)?;
    cross(&|w| rw.iter().map(|rw| Workload { rw: *rw, ..*w }).collect());
    let bs = source.list("bs", &wire.bs, workload::block_size)?;
    cross(&|w| bs.iter().map(|bs| Workload { block_size_bytes: *bs, ..*w }).collect());
    let depth = source.list("iodepth", &wire.iodepth, number(1, MAX_QUEUE_DEPTH))?;
    cross(&|w| depth.iter().map(|depth| Workload { queue_depth: *depth, ..*w }).collect());
    let jobs = or_else(wire.numjobs.as_ref(), "numjobs", 1, limits::JOBS, 1)?;
    cross(&|w| jobs.iter().map(|jobs| Workload { jobs: *jobs, ..*w }).collect());
    let mix = or_else(wire.rwmixread.as_ref(), "rwmixread", 0, 100, 50)?;
    cross(&|w| {
        let mix = if w.rw == Rw::Randrw { &mix[..] } else { &mix[..1] };
        mix.iter().map(|mix| Workload { read_percent: *mix as u8, ..*w }).collect()
    });
    let distribution = wire.random_distribution.as_ref().map(|l| source.list("random_distribution", l, Distribution::parse));
    let distribution = distribution.transpose()?.unwrap_or(vec![Distribution::Uniform]);
    cross(&|w| {
        let some = if w.rw.is_random() { &distribution[..] } else { &[Distribution::Uniform] };
        some.iter().map(|distribution| Workload { distribution: *distribution, ..*w }).collect()
    });
    let rate = or_else(wire.rate_iops.as_ref(), "rate_iops", 0, limits::RATE, 0)?;
    cross(&|w| rate.iter().map(|rate| Workload { rate: (*rate > 0).then_some(*rate), ..*w }).collect());
    if cells.len() > limits::CELLS {
        let message = format!("[workload] lists make more than {} combinations, the limit; split the experiment", limits::CELLS);
        return Err(source.fail(wire.rw.span(), message));
    }
    match cells.iter().find_map(contradiction) {
        Some(reason) => Err(source.fail(wire.rw.span(), format!("[workload] {reason}"))),
        None => match (1..cells.len()).find(|i| cells[..*i].contains(&cells[*i])) {
            Some(i) => Err(source.fail(wire.rw.span(), format!("[workload] lists {} twice", cells[i].cell_name()))),
            None => Ok(cells),
        },
    }
}

/// What does not go together in one cell.
fn contradiction(workload: &Workload) -> Option<&'static str> {
    let sectors = workload.offset_bytes.is_multiple_of(SECTOR_BYTES as u64)
        && workload.offset_increment_bytes.is_multiple_of(SECTOR_BYTES as u64);
    if workload.verify && workload.rw == Rw::Nop {
        Some("verify = true has nothing to check in rw = \"nop\"")
    } else if workload.verify && workload.rate.is_some() {
        Some("verify = true and rate_iops exclude each other: a test keeps no time")
    } else if !sectors {
        Some("offset and offset_increment must be multiples of 512 bytes")
    } else {
        None
    }
}
