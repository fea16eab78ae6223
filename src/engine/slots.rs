//! Request slots: which buffers are free, and when the timed requests in the others started.
//!
//! Completions arrive out of order, so a buffer is free when *its* completion has been reaped, never because its turn came round. Free
//! slots wait in a circular queue; `pow2_mask` decides whether its ends advance by a mask or by a modulo.

/// The slots of one ring, one per request that can be in flight.
#[derive(Default)]
pub struct Slots {
    free: Box<[u32]>,
    head: u32,
    tail: u32,
    available: u32,
    depth: u32,
    /// Monotonic time at which the request in each slot began, written for timed requests only.
    pub started_ns: Box<[u64]>,
}

impl Slots {
    /// All `depth` slots free.
    pub fn new(depth: u32) -> Slots {
        Slots {
            free: (0..depth).collect(),
            head: 0,
            tail: 0,
            available: depth,
            depth,
            started_ns: vec![0; depth as usize].into(),
        }
    }

    /// Slots in all: the queue depth.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Requests queued or in flight.
    #[inline(always)]
    pub fn taken(&self) -> u32 {
        self.depth - self.available
    }

    /// True when every slot is queued or in flight.
    #[inline(always)]
    pub fn exhausted(&self) -> bool {
        self.available == 0
    }

    #[inline(always)]
    fn advance(&self, mask: bool, index: u32) -> u32 {
        if mask { (index + 1) & (self.depth - 1) } else { (index + 1) % self.depth }
    }

    /// Takes the slot that has been free longest. `mask` is a constant at each call and needs a power-of-two depth.
    #[inline(always)]
    pub fn take(&mut self, mask: bool) -> Option<u32> {
        if self.exhausted() {
            return None;
        }
        let slot = self.free[self.head as usize];
        self.head = self.advance(mask, self.head);
        self.available -= 1;
        Some(slot)
    }

    /// Gives a slot back after its completion was reaped.
    #[inline(always)]
    pub fn give(&mut self, mask: bool, slot: u32) {
        self.free[self.tail as usize] = slot;
        self.tail = self.advance(mask, self.tail);
        self.available += 1;
    }

    /// True when every slot is free exactly once: each buffer belonged to one request at a time.
    pub fn intact(&self) -> bool {
        let mut seen = vec![false; self.depth as usize];
        self.available == self.depth
            && self.free.iter().all(|slot| seen.get_mut(*slot as usize).is_some_and(|s| !std::mem::replace(s, true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn never_shared(mask: bool, depth: u32, steps: &[(bool, usize)]) -> Result<(), TestCaseError> {
        let mut slots = Slots::new(depth);
        let mut flying = Vec::new();
        for (take, which) in steps {
            if *take {
                if let Some(slot) = slots.take(mask) {
                    prop_assert!(!flying.contains(&slot), "slot {slot} was in flight");
                    flying.push(slot);
                }
            } else if !flying.is_empty() {
                let slot = flying.swap_remove(which % flying.len());
                slots.give(mask, slot);
            }
            prop_assert_eq!(slots.taken() as usize, flying.len());
        }
        flying.drain(..).for_each(|slot| slots.give(mask, slot));
        prop_assert!(slots.intact());
        Ok(())
    }

    proptest! {
        #[test]
        fn a_slot_is_never_handed_out_twice(steps in proptest::collection::vec(any::<(bool, usize)>(), 1..400)) {
            never_shared(true, 16, &steps)?;
            never_shared(false, 16, &steps)?;
            never_shared(false, 13, &steps)?;
        }
    }

    #[test]
    fn a_slot_given_back_twice_is_noticed() {
        let mut slots = Slots::new(4);
        let first = slots.take(true).unwrap();
        let _second = slots.take(true).unwrap();
        slots.give(true, first);
        slots.give(true, first);
        assert!(!slots.intact());
    }
}
