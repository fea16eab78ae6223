//! Stamped blocks: every sector says where it belongs and carries a checksum, so that a wrong, stale or torn block cannot pass.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// Unit of stamps: what every device writes whole.
pub const SECTOR_BYTES: usize = 512;

/// The seed of the stamps on targets that the tool makes.
pub const SEED: u64 = 0x7572_696e_675f_6162;

/// Stamps a block that belongs at byte `offset`: each sector holds its own offset, the seed, noise drawn from both, and a CRC-32.
pub fn write(block: &mut [u8], offset: u64, seed: u64) {
    for (sector, place) in block.chunks_exact_mut(SECTOR_BYTES).zip((offset..).step_by(SECTOR_BYTES)) {
        let mut noise = Pcg64Mcg::seed_from_u64(seed ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (body, checksum) = sector.split_at_mut(SECTOR_BYTES - 4);
        body[..8].copy_from_slice(&place.to_le_bytes());
        body[8..16].copy_from_slice(&seed.to_le_bytes());
        noise.fill_bytes(&mut body[16..]);
        checksum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    }
}

/// True when every sector of a block read from byte `offset` carries the stamp of its place. The checksum covers the noise, which so need not
/// be drawn again.
pub fn holds(block: &[u8], offset: u64, seed: u64) -> bool {
    block.chunks_exact(SECTOR_BYTES).zip((offset..).step_by(SECTOR_BYTES)).all(|(sector, place)| {
        let (body, checksum) = sector.split_at(SECTOR_BYTES - 4);
        body[..8] == place.to_le_bytes() && body[8..16] == seed.to_le_bytes() && checksum == crc32fast::hash(body).to_le_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_block_is_noticed() {
        let mut block = vec![0; 4096];
        write(&mut block, 8192, 7);
        assert!(holds(&block, 8192, 7));
        assert!(!holds(&block, 12_288, 7), "another place");
        assert!(!holds(&block, 8192, 8), "another seed");
        assert!(!holds(&[0; 4096], 8192, 7), "never written");
        for at in [0, 600, 4095] {
            let mut torn = block.clone();
            torn[at] ^= 1;
            assert!(!holds(&torn, 8192, 7), "byte {at}");
        }
    }
}
