//! NVMe namespaces: the numbers that their commands need.

use super::block_device::BlockDevice;
use std::io;
use std::path::Path;

/// Namespace number and binary logarithm of the logical block.
pub fn geometry(namespace: &Path) -> io::Result<(u32, u32)> {
    let device = BlockDevice::at(namespace);
    let number = |name: &str| -> io::Result<u32> {
        let text = device.as_ref().and_then(|device| device.attribute(name));
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| io::Error::other(format!("sysfs does not tell the {name} of the namespace")))
    };
    Ok((number("nsid")?, number("queue/logical_block_size")?.ilog2()))
}
