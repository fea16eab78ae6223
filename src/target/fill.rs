//! Fills what the tool makes with incompressible data, so that no layer below answers from a hole or a pattern.

use crate::engine::stamp;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const CHUNK_BYTES: usize = 1 << 20;

/// Writes `size` bytes of pseudo-random data from the start, stamped with a seed where they are to be verified, and flushes them.
pub fn fill(file: &File, size: u64, stamps: Option<u64>) -> io::Result<()> {
    let mut rng = Pcg64Mcg::seed_from_u64(size);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < size {
        let length = (size - offset).min(CHUNK_BYTES as u64) as usize;
        match stamps {
            Some(seed) => stamp::write(&mut chunk, offset, seed),
            None => rng.fill_bytes(&mut chunk[..length]),
        }
        file.write_all_at(&chunk[..length], offset)?;
        offset += length as u64;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_file_is_allocated_and_not_repeated() {
        let file = tempfile::tempfile().unwrap();
        fill(&file, (1 << 20) + 4096, None).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), (1 << 20) + 4096);
        assert!(meta.blocks() * 512 >= meta.len(), "no holes");
        let (mut a, mut b) = ([0; 4096], [0; 4096]);
        file.read_exact_at(&mut a, 0).unwrap();
        file.read_exact_at(&mut b, 1 << 20).unwrap();
        assert_ne!(a, b);
    }
}
