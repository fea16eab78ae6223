//! What the kernel's io_uring can do, as it says itself.

use super::ring::feature_bits;
use crate::toggle::{MOST_BUFFERS, MOST_BUFFERS_ONCE};
use io_uring::{IoUring, Probe};

/// `IORING_FEAT_*` of io_uring_setup(2), by bit.
const FEATURES: [&str; 18] = [
    "single_mmap",
    "nodrop",
    "submit_stable",
    "rw_cur_pos",
    "cur_personality",
    "fast_poll",
    "poll_32bits",
    "sqpoll_nonfixed",
    "ext_arg",
    "native_workers",
    "rsrc_tags",
    "cqe_skip",
    "linked_file",
    "reg_reg_ring",
    "recvsend_bundle",
    "min_timeout",
    "rw_attr",
    "no_iowait",
];

/// `IORING_FEAT_NATIVE_WORKERS`: submitting threads and workers are threads of the process that made the ring. Before Linux 5.12 they are
/// threads of the kernel alone, and their CPU time is charged to nobody.
const NATIVE_WORKERS: u32 = 1 << 9;

/// Says why the CPU time of the kernel's threads cannot be charged here; `None` where it can, or where no ring can be made.
pub fn uncharged() -> Option<&'static str> {
    uncharged_with(feature_bits(IoUring::new(1).ok()?.params()))
}

fn uncharged_with(features: u32) -> Option<&'static str> {
    (features & NATIVE_WORKERS == 0).then_some(
        "this kernel is older than Linux 5.12: the threads that it submits and works with are outside of the process, so their CPU time can \
         be charged to nobody; use a kernel from 5.12 on",
    )
}

/// The features of a ring; a bit without a name is shown by its number. `None` where no ring can be made.
pub fn features() -> Option<String> {
    let bits = feature_bits(IoUring::new(1).ok()?.params());
    let name = |bit: usize| FEATURES.get(bit).map_or_else(|| format!("bit {bit}"), |name| name.to_string());
    Some((0..32).filter(|bit| bits & (1 << bit) != 0).map(name).collect::<Vec<_>>().join(" "))
}

/// The opcodes that the kernel supports, as ranges: `0-57,60`. `None` where it cannot be asked.
pub fn opcodes() -> Option<String> {
    let mut probe = Probe::new();
    IoUring::new(1).ok()?.submitter().register_probe(&mut probe).ok()?;
    Some(ranges((0..=u8::MAX).filter(|code| probe.is_supported(*code))))
}

/// The most buffers that a ring takes into its table: `UIO_MAXIOV` before kernel 5.13, `IORING_MAX_REG_BUFFERS` since. `None` where the kernel's version does not read as one.
pub fn most_buffers() -> Option<u32> {
    let release = rustix::system::uname();
    let mut parts = release.release().to_str().ok()?.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (parts.next()?.ok()?, parts.next()?.ok()?);
    Some(if version < (5, 13) { MOST_BUFFERS_ONCE } else { MOST_BUFFERS })
}

fn ranges(numbers: impl Iterator<Item = u8>) -> String {
    let mut found: Vec<(u8, u8)> = Vec::new();
    for number in numbers {
        match found.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => found.push((number, number)),
        }
    }
    let text = |(start, end): &(u8, u8)| if start == end { start.to_string() } else { format!("{start}-{end}") };
    found.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_with_io_uring_reads_and_writes() {
        let (features, opcodes) = (features().unwrap(), opcodes().unwrap());
        assert!(features.contains("nodrop") && opcodes.starts_with("0-"), "{features}; {opcodes}");
        assert_eq!(ranges([0, 1, 2, 5, 7, 8].into_iter()), "0-2,5,7-8");
        assert_eq!(ranges(std::iter::empty()), "");
    }

    #[test]
    fn a_kernel_with_threads_outside_of_the_process_is_known_by_its_features() {
        assert_eq!(FEATURES[NATIVE_WORKERS.trailing_zeros() as usize], "native_workers");
        // 5.11: up to EXT_ARG. 5.12 is the first with the next bit.
        assert!(uncharged_with(0x1ff).unwrap().contains("5.12"));
        assert_eq!(uncharged_with(0x3ff), None);
    }
}
