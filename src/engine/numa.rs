//! Where memory and threads lie: NUMA nodes by the system calls that no library we use has, CPUs by their masks.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
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

/// The CPUs that this thread may run on.
pub fn allowed() -> Vec<u32> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).map(|cpu| cpu as u32).collect()
}

/// Lets this thread run on these CPUs alone.
pub fn allow(cpus: &[u32]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu as usize));
    Ok(sched_setaffinity(None, &set)?)
}

/// `0-3,8` as numbers, of as many CPUs as an affinity can name.
pub fn cpu_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse::<u32>().ok()?)
    };
    text.split(',').filter_map(range).flatten().take(CpuSet::MAX_CPU).collect()
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
}
