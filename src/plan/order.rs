//! In which order the arms of a block run: at random, and balanced for what each leaves behind where there are few of them.

use super::Arm;
use crate::random::Decisions;

/// Up to so many arms, blocks in a row form Williams squares.
pub const BALANCED: usize = 8;

/// The slices of so many blocks in the order they run: `(arm, copy)`, with every copy of every arm once a block.
///
/// With few arms the blocks are rows of Williams squares (Williams 1949) of all copies, whose letters and rows are drawn anew for each
/// square: over a square each slice stands behind each other one equally often, so that what one leaves for the next cancels. With more
/// arms each block is an order of its own. Places balance over a square, so where each block is a round of processes the test of the rounds
/// errs to the safe side.
pub fn blocks(arms: &[Arm], count: usize, decisions: &mut Decisions) -> Vec<Vec<(usize, u32)>> {
    let mut slices: Vec<(usize, u32)> = arms.iter().enumerate().flat_map(|(i, a)| (0..a.copies).map(move |c| (i, c))).collect();
    let mut orders = Vec::with_capacity(count);
    while orders.len() < count {
        decisions.shuffle(&mut slices);
        if arms.len() > BALANCED {
            orders.push(slices.clone());
            continue;
        }
        let mut square = williams(slices.len());
        decisions.shuffle(&mut square);
        orders.extend(square.into_iter().take(count - orders.len()).map(|row| row.into_iter().map(|i| slices[i]).collect()));
    }
    orders
}

/// Rows in which each of `n` stands at each place, and right behind each other one, equally often: `n` rows, twice as many where `n` is odd.
fn williams(n: usize) -> Vec<Vec<usize>> {
    // 0, n-1, 1, n-2, ...: neighbours lie at every distance once.
    let zigzag = |place: usize| if place.is_multiple_of(2) { place / 2 } else { n - 1 - place / 2 };
    let row = |shift: usize| (0..n).map(|place| (zigzag(place) + shift) % n).collect::<Vec<_>>();
    let rows = (0..n).map(row);
    if n.is_multiple_of(2) {
        rows.collect()
    } else {
        rows.clone().chain(rows.map(|row| row.into_iter().rev().collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Control;
    use super::*;
    use crate::toggle::Levels;
    use std::collections::BTreeMap;

    fn arms(count: usize, copies: u32) -> Vec<Arm> {
        let arm = |i| Arm { treatment: format!("arm{i}"), levels: Levels::all_off(), control: Control::None, copies };
        (0..count).map(arm).collect()
    }

    /// How often each slice stands right behind each other one.
    fn neighbours(orders: &[Vec<(usize, u32)>]) -> BTreeMap<[(usize, u32); 2], usize> {
        let mut found = BTreeMap::new();
        orders.iter().flat_map(|o| o.windows(2)).for_each(|pair| *found.entry([pair[0], pair[1]]).or_default() += 1);
        found
    }

    #[test]
    fn over_a_square_every_arm_follows_every_other_equally_often() {
        for n in 2..=8 {
            let rows = if n % 2 == 0 { n } else { 2 * n };
            let orders = blocks(&arms(n, 1), rows, &mut Decisions::new(1));
            let found = neighbours(&orders);
            let each = rows / n;
            assert_eq!(found.len(), n * (n - 1), "{n} arms");
            assert!(found.values().all(|count| *count == each), "{n} arms: {found:?}");
            for place in 0..n {
                let mut there: Vec<usize> = orders.iter().map(|o| o[place].0).collect();
                there.sort_unstable();
                assert!((0..n).all(|arm| there.iter().filter(|a| **a == arm).count() == each), "{n} arms, place {place}");
            }
        }
    }

    #[test]
    fn copies_and_many_arms_stand_once_in_each_block() {
        for (count, copies) in [(3, 3), (20, 1), (8, 2)] {
            let orders = blocks(&arms(count, copies), 50, &mut Decisions::new(2));
            assert_eq!(orders.len(), 50);
            for mut order in orders.clone() {
                order.sort_unstable();
                assert!(order.into_iter().eq((0..count).flat_map(|arm| (0..copies).map(move |copy| (arm, copy)))));
            }
            assert!(orders.windows(2).any(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn squares_differ() {
        let orders = blocks(&arms(4, 1), 400, &mut Decisions::new(3));
        let distinct: std::collections::BTreeSet<_> = orders.into_iter().collect();
        assert_eq!(distinct.len(), 24, "every order comes up");
    }
}
