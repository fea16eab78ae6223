//! Where memory and threads lie: NUMA nodes by the system calls that no library we use has, CPUs by their masks.

use super::Options;
use crate::toggle::seats::{Beyond, Seats};
use std::io;

/// `MPOL_BIND` of mbind(2).
const MPOL_BIND: libc::c_long = 2;
/// `MPOL_F_NODE | MPOL_F_ADDR` of get_mempolicy(2).
const NODE_OF_ADDRESS: libc::c_long = 3;

/// Has the pages of `memory`, none of which was touched yet, come from `node`.
pub fn bind_memory(memory: &mut [u8], node: u32) -> io::Result<()> {
    let mask: [u64; 16] = std::array::from_fn(|word| if node as usize / 64 == word { 1 << (node % 64) } else { 0 });
    // SAFETY: the range is one mapping that we hold, and the mask has the 1024 bits that are announced.
    let done = unsafe { libc::syscall(libc::SYS_mbind, memory.as_mut_ptr(), memory.len(), MPOL_BIND, mask.as_ptr(), 1024, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The node of the first page; `None` on a kernel without NUMA.
pub fn node_of(memory: &[u8]) -> Option<u32> {
    let mut node = 0_i32;
    let none = std::ptr::null::<u64>();
    // SAFETY: the address belongs to a mapping that we hold, and the kernel writes one int.
    let done = unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut node, none, 0, memory.as_ptr(), NODE_OF_ADDRESS) };
    (done >= 0).then_some(node as u32)
}

/// The CPUs of a node.
pub fn cpus_of(node: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist")).unwrap_or_default();
    cpu_list(text.trim())
}

/// The CPUs that are in use; the first where the kernel does not say.
pub fn online() -> Vec<u32> {
    let listed = cpu_list(std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default().trim());
    if listed.is_empty() { vec![0] } else { listed }
}

/// More than any kernel has: `NR_CPUS` ends at 8192, and a mask of so many takes 8 KiB.
const MOST_CPUS: usize = 1 << 16;
/// Words of the smallest mask that is asked with: the 1024 CPUs of a `cpu_set_t`.
const LEAST_WORDS: usize = 1024 / 64;

/// The CPUs that this thread may run on, in order.
pub fn affinity() -> io::Result<Vec<u32>> {
    growing(|words| {
        // SAFETY: the kernel writes at most the bytes that are announced, which are the slice's own.
        let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(words), words.as_mut_ptr()) };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(written as usize) }
    })
}

/// The same for who only compares; none where the kernel does not tell.
pub fn allowed() -> Vec<u32> {
    affinity().unwrap_or_default()
}

/// Asks for a mask of CPUs with more and more room: sched_getaffinity(2) answers EINVAL while the mask is smaller than the kernel's own, which
/// has a bit for every CPU that the machine could have. `read` returns the bytes that it filled.
fn growing(mut read: impl FnMut(&mut [u64]) -> io::Result<usize>) -> io::Result<Vec<u32>> {
    let mut words = vec![0_u64; LEAST_WORDS];
    loop {
        match read(&mut words) {
            Ok(bytes) => {
                words.truncate(bytes.div_ceil(8));
                let bits = (0..words.len() * 64).filter(|bit| words[bit / 64] >> (bit % 64) & 1 == 1);
                return Ok(bits.map(|bit| bit as u32).collect());
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && words.len() * 64 < MOST_CPUS => {
                words.resize(words.len() * 2, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// A mask with these CPUs, as large as they need; `None` for a CPU that no kernel has.
fn mask(cpus: &[u32]) -> Option<Vec<u64>> {
    let end = cpus.iter().max().map_or(0, |last| *last as usize + 1);
    if end > MOST_CPUS {
        return None;
    }
    let mut words = vec![0_u64; end.div_ceil(64).next_power_of_two().max(LEAST_WORDS)];
    cpus.iter().for_each(|cpu| words[*cpu as usize / 64] |= 1 << (cpu % 64));
    Some(words)
}

/// Lets this thread run on these CPUs alone.
pub fn allow(cpus: &[u32]) -> io::Result<()> {
    let words = mask(cpus).ok_or(io::ErrorKind::InvalidInput)?;
    set(&words)
}

fn set(words: &[u64]) -> io::Result<()> {
    // SAFETY: the kernel reads the bytes that are announced, which are the slice's own.
    let done = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(words), words.as_ptr()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The CPUs that the kernel would let this process have if it asked for all: those of its cpuset that are there. Asked on a thread of its own,
/// which takes the change with it.
fn granted() -> io::Result<Vec<u32>> {
    let ask = || {
        set(&vec![u64::MAX; MOST_CPUS / 64])?;
        affinity()
    };
    std::thread::scope(|scope| {
        let asked = std::thread::Builder::new().spawn_scoped(scope, ask)?.join();
        asked.unwrap_or_else(|_| Err(io::Error::other("the thread that asks for CPUs died")))
    })
}

/// Where jobs may run under these options, with `numa_bind` on `node`.
pub fn seats(options: &Options, node: Option<u32>) -> io::Result<Seats> {
    let allowed = affinity()?;
    let usable = |cpu: &u32| allowed.contains(cpu) || options.cpus.contains(cpu);
    let of_node = node.map_or(vec![], cpus_of).into_iter().filter(usable).collect();
    Ok(Seats { allowed, chosen: options.cpus.clone(), of_node })
}

/// Checks that the CPUs which an experiment names can be had, before anything is made or measured.
///
/// Jobs may be pinned to what this process may run on, and to isolated CPUs (`isolcpus=`), which are in nobody's affinity until they are asked
/// for by name. The thread of SQPOLL may have any CPU of the cpuset, as io_uring_setup(2) has it.
pub fn check(options: &Options) -> io::Result<Result<(), Beyond>> {
    if options.cpus.is_empty() && options.sqpoll.cpu.is_none() {
        return Ok(Ok(()));
    }
    let (own, granted) = (affinity()?, granted()?);
    let isolated = cpu_list(std::fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default().trim());
    let pins: Vec<u32> = granted.iter().copied().filter(|cpu| own.contains(cpu) || isolated.contains(cpu)).collect();
    let beyond = |key, cpus: &[u32], allowed: &[u32]| {
        let cpu = cpus.iter().copied().find(|cpu| !allowed.contains(cpu))?;
        Some(Beyond { key, cpu, allowed: allowed.into() })
    };
    let found = beyond("cpus", &options.cpus, &pins).or_else(|| beyond("sqpoll_cpu", options.sqpoll.cpu.as_slice(), &granted));
    Ok(found.map_or(Ok(()), Err))
}

/// `0-3,8` as numbers, of as many CPUs as a kernel can have.
pub fn cpu_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse::<u32>().ok()?)
    };
    text.split(',').filter_map(range).flatten().take(MOST_CPUS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(cpu_list("0-2,5"), [0, 1, 2, 5]);
        assert!(cpu_list("").is_empty());
    }

    #[test]
    fn a_thread_can_be_confined_and_released() {
        let before = allowed();
        allow(&before[..1]).unwrap();
        assert_eq!(allowed(), before[..1]);
        allow(&before).unwrap();
        assert_eq!(allowed(), before);
    }

    /// What sched_getaffinity does on a kernel with so many possible CPUs, every third of which is allowed.
    fn kernel_of(possible: usize) -> impl FnMut(&mut [u64]) -> io::Result<usize> {
        move |words| {
            let bytes = possible.div_ceil(64) * 8;
            if words.len() * 8 < bytes {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            (0..possible).step_by(3).for_each(|cpu| words[cpu / 64] |= 1 << (cpu % 64));
            Ok(bytes)
        }
    }

    #[test]
    fn masks_grow_until_they_hold_all_possible_cpus() {
        for possible in [1, 64, 1024, 1100, 8192] {
            let due: Vec<u32> = (0..possible as u32).step_by(3).collect();
            assert_eq!(growing(kernel_of(possible)).unwrap(), due, "{possible}");
            let words = mask(&due).unwrap();
            assert!(words.len() >= LEAST_WORDS);
            let set = |bit: &u32| words[*bit as usize / 64] >> (bit % 64) & 1 == 1;
            assert!((0..words.len() as u32 * 64).filter(set).eq(due), "{possible}");
        }
        let refused = growing(|_| Err(io::Error::from_raw_os_error(libc::EINVAL))).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL), "an error is no empty list");
        assert_eq!(mask(&[u32::MAX]), None);
    }

    #[test]
    fn cpus_that_are_not_there_are_named_with_those_that_are() {
        let own = allowed();
        let options = |cpus: &[u32], cpu| Options {
            cpus: cpus.into(),
            sqpoll: super::super::ring::Sqpoll { cpu, ..Default::default() },
            ..Options::default()
        };
        assert_eq!(check(&options(&own, Some(own[0]))).unwrap(), Ok(()));
        let beyond = check(&options(&[own[0], 60_000], None)).unwrap().unwrap_err();
        assert_eq!((beyond.key, beyond.cpu, &beyond.allowed), ("cpus", 60_000, &own));
        assert_eq!(check(&options(&[], Some(70_000))).unwrap().unwrap_err().key, "sqpoll_cpu");
        assert_eq!(allowed(), own, "asking changes nothing");
    }
}
