//! The tables of compiled loops, indexed by their own bit-set.

use super::drive::{Goal, Tally, Worker, drive};
use super::hooks::Plain;
use super::ring::Ring;
use super::switches::{Compiled, Mode, bit};
use super::work::{Io, Nop, Nvme, Work};
use hdrhistogram::Histogram;

/// One compiled copy of the loop.
pub type Variant<W> = fn(&mut Ring<W>, &mut Worker, &Goal<'_>, &mut Histogram<u64>) -> Tally;

/// A kind of work with a table of loops.
pub trait Tabled: Work {
    /// The loop for a bit-set.
    fn variant(bits: u32) -> Variant<Self>;
}

fn on_ring<const T: u32, W: Work>(
    ring: &mut Ring<W>,
    worker: &mut Worker,
    goal: &Goal<'_>,
    latency: &mut Histogram<u64>,
) -> Tally {
    drive::<_, W, _, _>(Compiled::<T>, &mut ring.open(), worker, &mut Plain, goal, latency)
}

/// Doubles a list of bit-sets once per bit, then repeats it once per mode; after that the list is the table, in order.
macro_rules! table {
    ($work:ty, $list:tt $($bit:literal)*) => { table!(@ $work, $list $($bit)*) };
    (@ $work:ty, $list:tt) => { table!(# $work, $list) };
    (@ $work:ty, ($($set:expr),*) $bit:literal $($rest:literal)*) => { table!(@ $work, ($($set),*, $($set | $bit),*) $($rest)*) };
    (# $work:ty, ($($set:expr),*)) => {
        [
            $(on_ring::<{ $set }, $work> as Variant<$work>,)*
            $(on_ring::<{ $set | 0x100 }, $work>,)*
            $(on_ring::<{ $set | 0x200 }, $work>,)*
            $(on_ring::<{ $set | 0x300 }, $work>,)*
            $(on_ring::<{ $set | 0x400 }, $work>,)*
        ]
    };
}

static IO: [Variant<Io>; TABLE] = table!(Io, (0) 1 2 4 8 16 32 64 128);
static NVME: [Variant<Nvme>; TABLE] = table!(Nvme, (0) 1 2 4 8 16 32 64 128);
/// NOPs have neither buffer nor file: the two lowest bits change nothing in them.
static NOP: [Variant<Nop>; TABLE / 4] = table!(Nop, (0) 4 8 16 32 64 128);

const TABLE: usize = (Mode::COUNT << bit::COUNT) as usize;
const _: () = assert!(bit::PLACEBO == 128 && Mode::COUNT == 5, "the tables cover every bit and mode");
const _: () = assert!(bit::FIXED_BUFFERS | bit::FIXED_FILES == 3, "the NOP table leaves out the two lowest bits");

impl Tabled for Io {
    fn variant(bits: u32) -> Variant<Io> {
        IO[bits as usize]
    }
}

impl Tabled for Nvme {
    fn variant(bits: u32) -> Variant<Nvme> {
        NVME[bits as usize]
    }
}

impl Tabled for Nop {
    fn variant(bits: u32) -> Variant<Nop> {
        NOP[(bits >> 2) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_have_code_of_their_own() {
        let places: std::collections::HashSet<usize> = IO.iter().map(|v| *v as usize).collect();
        assert!(places.len() > IO.len() / 2, "{} of {} variants have code of their own", places.len(), IO.len());
    }
}
