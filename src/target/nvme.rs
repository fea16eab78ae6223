//! NVMe namespaces: the generic character device beside a block device, and the numbers its commands need.

use std::io;
use std::path::{Path, PathBuf};

/// `/dev/ng0n1` for `/dev/nvme0n1`, where it exists.
pub fn generic(block_device: &Path) -> Option<PathBuf> {
    let name = block_device.file_name()?.to_str()?;
    let path = PathBuf::from(format!("/dev/ng{}", name.strip_prefix("nvme")?));
    path.exists().then_some(path)
}

/// Namespace number and binary logarithm of the logical block.
pub fn geometry(block_device: &Path) -> io::Result<(u32, u32)> {
    let name = block_device.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let number = |what: &str| -> io::Result<u32> {
        let text = std::fs::read_to_string(format!("/sys/block/{name}/{what}"))?;
        text.trim().parse().map_err(io::Error::other)
    };
    Ok((number("nsid")?, number("queue/logical_block_size")?.ilog2()))
}

/// The NUMA node of a block device; `None` where it has none (-1), as a loop device.
pub fn node(block_device: &Path) -> Option<u32> {
    let name = block_device.file_name()?.to_str()?;
    let links = [format!("/sys/block/{name}/device/numa_node"), format!("/sys/block/{name}/device/device/numa_node")];
    links.iter().find_map(|link| std::fs::read_to_string(link).ok()?.trim().parse().ok())
}
