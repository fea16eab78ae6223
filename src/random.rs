//! Randomisation by a named generator: ChaCha8 from a recorded seed gives the same schedule on every machine and with every version.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stream of random decisions of one plan or round.
pub struct Decisions(ChaCha8Rng);

impl Decisions {
    pub fn new(seed: u64) -> Decisions {
        Decisions(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A seed for something that decides on its own.
    pub fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_order_for_ever() {
        let mut order: Vec<u32> = (0..8).collect();
        Decisions::new(1).shuffle(&mut order);
        assert_eq!(order, GOLDEN, "a published seed must keep its schedule");
    }

    const GOLDEN: [u32; 8] = [5, 6, 2, 4, 1, 7, 0, 3];

    #[test]
    fn every_place_is_equally_likely() {
        let mut decisions = Decisions::new(7);
        let mut first = [0_u32; 5];
        for _ in 0..10_000 {
            let mut order = [0, 1, 2, 3, 4];
            decisions.shuffle(&mut order);
            first[order[0]] += 1;
        }
        assert!(first.iter().all(|n| (1_800..2_200).contains(n)), "{first:?}");
    }
}
