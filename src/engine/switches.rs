//! The toggles that act in the loop, as a bit-set known to the compiler or read at run time.
//!
//! The same source serves both: measured trials run a copy of the loop compiled for their bit-set, in which an off toggle leaves no
//! instruction; trials that verify data or keep a fixed rate, whose own work outweighs a branch, read the bits as they go.

use crate::toggle::{Levels, Toggle};

/// Bits of the set.
pub mod bit {
    pub const FIXED_BUFFERS: u32 = 1;
    pub const FIXED_FILES: u32 = 1 << 1;
    /// `time_check_interval` above 1.
    pub const SPARSE_CLOCK: u32 = 1 << 2;
    pub const FAST_PATH: u32 = 1 << 3;
    pub const STATS_BATCHING: u32 = 1 << 4;
    /// `latency_sampling` other than 1.
    pub const SAMPLED: u32 = 1 << 5;
    pub const POW2_MASK: u32 = 1 << 6;
    /// Means nothing: a second copy of the same code, on which each arm runs half of its slices. Where code lies in memory can be worth 1 %
    /// of the CPU time per operation.
    pub const PLACEBO: u32 = 1 << 7;
    /// How many there are.
    pub const COUNT: u32 = 8;
}

/// How the loop waits and how it submits, in the bits above those of [`bit`]. One number, since not every combination makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// `queue_refill = "threshold"`: spins on the completion queue until few requests are pending.
    Threshold = 0,
    /// The same where completions appear only when an enter asks for them: `taskrun` other than `default`, and `iopoll`.
    ThresholdAsking = 1,
    /// `queue_refill = "eager"`: waits in the kernel when nothing has completed.
    Eager = 2,
    /// `threshold` with `sqpoll`: a kernel thread submits, and no enter asks for completions.
    ThresholdSqpoll = 3,
    /// `eager` with `sqpoll`.
    EagerSqpoll = 4,
}

impl Mode {
    /// How many there are.
    pub const COUNT: u32 = 5;

    const fn of(bits: u32) -> Mode {
        match bits >> bit::COUNT {
            0 => Mode::Threshold,
            1 => Mode::ThresholdAsking,
            2 => Mode::Eager,
            3 => Mode::ThresholdSqpoll,
            _ => Mode::EagerSqpoll,
        }
    }

    /// The mode that levels ask for.
    fn wanted(levels: &Levels) -> Mode {
        let asks = levels.is_on(Toggle::Taskrun) || levels.is_on(Toggle::Iopoll);
        match (levels.is_on(Toggle::QueueRefill), levels.is_on(Toggle::Sqpoll)) {
            (true, true) => Mode::EagerSqpoll,
            (true, false) => Mode::Eager,
            (false, true) => Mode::ThresholdSqpoll,
            (false, false) if asks => Mode::ThresholdAsking,
            (false, false) => Mode::Threshold,
        }
    }
}

/// A bit-set of loop toggles.
pub trait Switches: Copy {
    /// The whole set.
    fn bits(self) -> u32;

    #[inline(always)]
    fn has(self, bit: u32) -> bool {
        self.bits() & bit != 0
    }

    #[inline(always)]
    fn sqpoll(self) -> bool {
        matches!(self.mode(), Mode::ThresholdSqpoll | Mode::EagerSqpoll)
    }

    #[inline(always)]
    fn mode(self) -> Mode {
        Mode::of(self.bits())
    }
}

/// Known to the compiler: every test of a bit is decided before the program runs.
#[derive(Clone, Copy)]
pub struct Compiled<const T: u32>;

impl<const T: u32> Switches for Compiled<T> {
    #[inline(always)]
    fn bits(self) -> u32 {
        T
    }
}

/// Read at run time.
#[derive(Clone, Copy)]
pub struct Dynamic(pub u32);

impl Switches for Dynamic {
    #[inline(always)]
    fn bits(self) -> u32 {
        self.0
    }
}

/// The toggles with a bit of their own.
const OWN_BITS: [(Toggle, u32); 7] = [
    (Toggle::FixedBuffers, bit::FIXED_BUFFERS),
    (Toggle::FixedFiles, bit::FIXED_FILES),
    (Toggle::TimeCheckInterval, bit::SPARSE_CLOCK),
    (Toggle::FastPath, bit::FAST_PATH),
    (Toggle::StatsBatching, bit::STATS_BATCHING),
    (Toggle::LatencySampling, bit::SAMPLED),
    (Toggle::Pow2Mask, bit::POW2_MASK),
];

/// The set for these levels.
pub fn bits_of(levels: &Levels) -> u32 {
    let own = OWN_BITS.iter().filter(|(toggle, _)| levels.is_on(*toggle)).fold(0, |bits, (_, bit)| bits | bit);
    own | (Mode::wanted(levels) as u32) << bit::COUNT
}

/// What a loop that ran with `bits` says of the toggles that act in it, on `found`. A number is only told on from off.
pub fn read_back(found: Levels, bits: u32) -> Levels {
    let levels = OWN_BITS.iter().fold(found, |found, (toggle, bit)| {
        let spec = toggle.spec();
        found.with(*toggle, if bits & bit != 0 { spec.on } else { spec.off })
    });
    levels.with(Toggle::QueueRefill, u32::from(matches!(Dynamic(bits).mode(), Mode::Eager | Mode::EagerSqpoll)))
}

#[cfg(test)]
mod tests {
    use super::super::ring::DEFER;
    use super::*;

    #[test]
    fn bits_and_levels_agree_both_ways() {
        let off = Levels::all_off();
        for (toggle, bit) in OWN_BITS {
            let on = off.with(toggle, toggle.spec().on);
            assert_eq!(bits_of(&on), bit, "{} sets its own bit alone", toggle.key());
            assert_eq!(read_back(off, bit), on, "a loop with {} says so", toggle.key());
            assert_eq!(read_back(on, 0), off, "a loop without {} says so", toggle.key());
        }
        let eager = off.with(Toggle::QueueRefill, 1);
        assert_eq!(read_back(off, bits_of(&eager)), eager);
        assert_eq!(read_back(eager, bits_of(&off)), off);
    }

    #[test]
    fn modes_follow_from_levels() {
        let off = Levels::all_off();
        let mode = |levels: Levels| Dynamic(bits_of(&levels)).mode();
        assert_eq!(mode(off), Mode::Threshold);
        assert_eq!(mode(off.with(Toggle::Taskrun, DEFER)), Mode::ThresholdAsking);
        assert_eq!(mode(off.with(Toggle::Iopoll, 1)), Mode::ThresholdAsking);
        assert_eq!(mode(off.with(Toggle::Taskrun, DEFER).with(Toggle::QueueRefill, 1)), Mode::Eager);
        assert_eq!(mode(off.with(Toggle::Sqpoll, 1)), Mode::ThresholdSqpoll);
        assert_eq!(mode(off.with(Toggle::Sqpoll, 1).with(Toggle::QueueRefill, 1)), Mode::EagerSqpoll);
    }
}
