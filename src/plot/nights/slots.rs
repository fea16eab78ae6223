//! Where nights stand: in order of time and evenly, those of several machines side by side, with a gap where some were left out.

use crate::analysis::signed_rank::median;
use crate::nightly::row::NightRow;
use crate::plot::axis::Frame;
use jiff::Timestamp;

/// Of the usual interval: nights that lie further apart have a gap between them.
const GAP: f64 = 1.5;
/// Of the usual interval: nights of different machines that lie closer share a slot.
const TOGETHER: f64 = 0.5;
/// What is usual where no machine has two nights.
const DAY: f64 = 86_400.0;
/// Nights of machines in one slot keep this distance where there is room.
const APART: f64 = 14.0;

/// Places on the axis of time, a slot for each night.
#[derive(Debug)]
pub struct Slots {
    /// When the first night of each slot began.
    pub began: Vec<Timestamp>,
    /// Left end of each slot, in slots.
    starts: Vec<f64>,
    /// Slots with a gap before them.
    pub gaps: Vec<usize>,
    machines: usize,
}

/// When a night began; what has no date lies before all.
pub fn began(night: &NightRow) -> Timestamp {
    night.started_utc.parse().unwrap_or(Timestamp::MIN)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_second() - from.as_second()) as f64
}

impl Slots {
    /// Slots of nights that are in order of time, each with the index of its machine; of the newest slots so many at most. Says, too, which slot
    /// each night has, where it has one.
    pub fn new(nights: &[(Timestamp, usize)], most: usize) -> (Slots, Vec<Option<usize>>) {
        let machines = nights.iter().map(|n| n.1 + 1).max().unwrap_or(1);
        let usual = usual(nights, machines);
        let (mut began, mut taken): (Vec<Timestamp>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut slots = Vec::new();
        for (time, machine) in nights {
            let shares = began.last().is_some_and(|first| seconds(*first, *time) < TOGETHER * usual);
            if !shares || taken.contains(machine) {
                began.push(*time);
                taken.clear();
            }
            taken.push(*machine);
            slots.push(began.len() - 1);
        }
        let dropped = began.len().saturating_sub(most);
        began.drain(..dropped);
        let gaps: Vec<usize> = (1..began.len()).filter(|i| seconds(began[i - 1], began[*i]) > GAP * usual).collect();
        let starts = (0..began.len()).map(|i| (i + gaps.iter().filter(|gap| **gap <= i).count()) as f64).collect();
        let slots = slots.into_iter().map(|slot| usize::checked_sub(slot, dropped)).collect();
        (Slots { began, starts, gaps, machines }, slots)
    }

    /// Pixels of a slot.
    pub fn pitch(&self, frame: Frame) -> f64 {
        f64::from(frame.right - frame.left) / self.starts.last().map_or(1.0, |last| last + 1.0)
    }

    /// The left and the right end of a slot.
    pub fn ends(&self, slot: usize, frame: Frame) -> (i32, i32) {
        let at = |place: f64| frame.left + (place * self.pitch(frame)).round() as i32;
        (at(self.starts[slot]), at(self.starts[slot] + 1.0))
    }

    /// Where the night of a machine stands.
    pub fn place(&self, slot: usize, machine: usize, frame: Frame) -> i32 {
        let pitch = self.pitch(frame);
        let apart = (pitch / self.machines as f64).min(APART);
        let off = (machine as f64 - (self.machines - 1) as f64 / 2.0) * apart;
        frame.left + ((self.starts[slot] + 0.5) * pitch + off).round() as i32
    }

    /// Slots that dates of so many pixels have room below: the newest, and every so many before it.
    pub fn dated(&self, room: f64, frame: Frame) -> Vec<usize> {
        let every = (room / self.pitch(frame)).ceil().max(1.0) as usize;
        (0..self.began.len()).rev().step_by(every).collect()
    }
}

/// The median time from one night of a machine to its next.
fn usual(nights: &[(Timestamp, usize)], machines: usize) -> f64 {
    let of = |machine: usize| nights.iter().filter(move |n| n.1 == machine).map(|n| n.0).collect::<Vec<_>>();
    let between = |times: Vec<Timestamp>| times.windows(2).map(|w| seconds(w[0], w[1])).collect::<Vec<_>>();
    let times: Vec<f64> = (0..machines).flat_map(|machine| between(of(machine))).collect();
    median(&times).unwrap_or(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { left: 100, right: 500, top: 0, bottom: 10 };

    fn at(hours: i64, machine: usize) -> (Timestamp, usize) {
        (Timestamp::from_second(hours * 3600).unwrap(), machine)
    }

    #[test]
    fn nights_stand_evenly_with_a_gap_where_some_were_left_out() {
        let (slots, of) = Slots::new(&[at(0, 0), at(24, 0), at(48, 0), at(120, 0)], 120);
        assert_eq!((of, &slots.gaps), (vec![Some(0), Some(1), Some(2), Some(3)], &vec![3]));
        assert_eq!([0, 1, 2, 3].map(|slot| slots.place(slot, 0, FRAME)), [140, 220, 300, 460]);
        assert_eq!(slots.dated(100.0, FRAME), [3, 1]);
    }

    #[test]
    fn machines_share_slots_and_the_oldest_are_left_out() {
        let nights = [at(0, 0), at(3, 1), at(24, 0), at(48, 1), at(50, 0)];
        let (slots, of) = Slots::new(&nights, 2);
        assert_eq!(of, [None, None, Some(0), Some(1), Some(1)]);
        assert_eq!(slots.place(1, 1, FRAME) - slots.place(1, 0, FRAME), APART as i32);
        assert!(slots.gaps.is_empty());
    }

    #[test]
    fn one_night_stands_in_the_middle() {
        let (slots, of) = Slots::new(&[at(0, 0)], 120);
        assert_eq!((slots.place(0, 0, FRAME), of), (300, vec![Some(0)]));
    }
}
