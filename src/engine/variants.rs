//! The table of monomorphised loops, indexed by their own bit-set.

use super::drive::{self, Goal, Tally, bit, drive};
use super::lane::Lane;
use crate::toggle::{Levels, Toggle};
use hdrhistogram::Histogram;

/// One compiled copy of the loop.
pub type Variant = fn(&mut Lane, &Goal<'_>, &mut Histogram<u64>) -> Tally;

/// Doubles a list of bit-sets once per bit; after the last bit the list is the table, in order.
macro_rules! table {
    (@ $list:tt) => { table!(# $list) };
    (@ ($($set:expr),*) $bit:literal $($rest:literal)*) => { table!(@ ($($set),*, $($set | $bit),*) $($rest)*) };
    (# ($($set:expr),*)) => { [$(drive::<{ $set }> as Variant),*] };
}

static VARIANTS: [Variant; 1 << bit::COUNT] = table!(@ (0) 1 2 4 8 16 32 64 128 256 512);

/// The toggles that act in the loop, with their bits.
const LOOP_TOGGLES: [(Toggle, u32); 8] = [
    (Toggle::FixedBuffers, bit::FIXED_BUFFERS),
    (Toggle::FixedFiles, bit::FIXED_FILES),
    (Toggle::TimeCheckInterval, bit::SPARSE_CLOCK),
    (Toggle::FastPath, bit::FAST_PATH),
    (Toggle::StatsBatching, bit::STATS_BATCHING),
    (Toggle::LatencySampling, bit::SAMPLED),
    (Toggle::Pow2Mask, bit::POW2_MASK),
    (Toggle::QueueRefill, bit::EAGER),
];

/// Level `defer` of `taskrun`.
pub const DEFER: u32 = 2;

/// The bit-set for these levels.
pub fn bits_of(levels: &Levels) -> u32 {
    let own = LOOP_TOGGLES.iter().filter(|(toggle, _)| levels.is_on(*toggle)).fold(0, |bits, (_, bit)| bits | bit);
    let asks = levels.get(Toggle::Taskrun) == DEFER && !levels.is_on(Toggle::QueueRefill);
    own | if asks { bit::ASK_FOR_EVENTS } else { 0 }
}

/// The loop for a bit-set.
pub fn variant(bits: u32) -> Variant {
    VARIANTS[bits as usize]
}

/// `levels` with its loop toggles replaced by what the code that ran says of itself. A numeric level is only told on from off.
pub fn effective(levels: &Levels, ran: u32) -> Levels {
    LOOP_TOGGLES.iter().fold(*levels, |found, (toggle, bit)| match (ran & bit != 0, levels.is_on(*toggle)) {
        (true, false) => found.with(*toggle, toggle.spec().on),
        (false, true) => found.with(*toggle, toggle.spec().off),
        _ => found,
    })
}

const _: () = assert!(drive::bit::PLACEBO == 1 << (bit::COUNT - 1), "the table covers every bit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_levels_agree_both_ways() {
        for (toggle, bit) in LOOP_TOGGLES {
            let on = Levels::all_off().with(toggle, toggle.spec().on);
            assert_eq!(bits_of(&on), bit, "{} sets its own bit alone", toggle.key());
            assert_eq!(effective(&on, bit), on);
            assert_eq!(effective(&on, 0), Levels::all_off(), "a loop without {} says so", toggle.key());
            assert_eq!(effective(&Levels::all_off(), bit), on, "a loop with {} says so", toggle.key());
        }
    }

    #[test]
    fn no_two_variants_share_a_place() {
        let places: std::collections::HashSet<usize> = VARIANTS.iter().map(|v| *v as usize).collect();
        assert!(places.len() > VARIANTS.len() / 2, "{} of {} variants have code of their own", places.len(), VARIANTS.len());
    }
}
