//! Which combinations of many toggles tell most in few arms: regular fractions of a factorial, and Plackett-Burman's screening design.

/// Toggles for which there is a fraction of resolution V or more: no main effect and no pair shares its estimate with another of them.
pub const OF_FRACTION: std::ops::RangeInclusive<usize> = 5..=8;

/// Toggles that the screening design takes: of fewer some combinations would stand in it twice.
pub const OF_SCREENING: std::ops::RangeInclusive<usize> = 6..=11;

/// The combinations of a fraction, as bit-sets of what is on: 2^(5-1), 2^(6-1), 2^(7-1), 2^(8-2) (Box and Hunter 1961). `None` for other
/// numbers of toggles.
pub fn regular(toggles: usize) -> Option<Vec<usize>> {
    // Each further toggle is the product of these, as signs.
    let generators: &[usize] = match toggles {
        5 => &[0b1111],
        6 => &[0b1_1111],
        7 => &[0b11_1111],
        8 => &[0b00_1111, 0b11_0011],
        _ => return None,
    };
    let free = toggles - generators.len();
    let whole = |set: usize| {
        let is_on = |members: &usize| ((set & members).count_ones() + members.count_ones()).is_multiple_of(2);
        (free..).zip(generators).filter(|(_, members)| is_on(members)).fold(set, |set, (bit, _)| set | 1 << bit)
    };
    Some((0..1 << free).map(whole).collect())
}

/// The combinations of the screening design with its fold-over: 24, in which no main effect shares its estimate with a pair (Plackett and
/// Burman 1946; Box and Wilson 1951 for folding).
pub fn screening(toggles: usize) -> Vec<usize> {
    // The generating row of 12 runs: + + - + + + - - - + -.
    const ROW: usize = 0b010_0011_1011;
    const COLUMNS: usize = 11;
    let rotated = |by: usize| (ROW << by | ROW >> (COLUMNS - by)) & ((1 << COLUMNS) - 1);
    let all = (1 << toggles) - 1;
    let half: Vec<usize> = (0..COLUMNS).map(rotated).chain([0]).map(|set| set & all).collect();
    let folded = half.iter().map(|set| all & !set).collect::<Vec<_>>();
    half.into_iter().chain(folded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(set: usize, members: usize) -> i32 {
        if ((set & members).count_ones() + members.count_ones()).is_multiple_of(2) { 1 } else { -1 }
    }

    fn product(runs: &[usize], a: usize, b: usize) -> i32 {
        runs.iter().map(|set| sign(*set, a) * sign(*set, b)).sum()
    }

    fn effects(toggles: usize, order: u32) -> Vec<usize> {
        (1..1_usize << toggles).filter(|members| members.count_ones() <= order).collect()
    }

    #[test]
    fn fractions_keep_main_effects_and_pairs_apart() {
        for toggles in OF_FRACTION {
            let runs = regular(toggles).unwrap();
            assert_eq!(runs.len(), [16, 32, 64, 64][toggles - 5]);
            let effects = effects(toggles, 2);
            for (i, a) in effects.iter().enumerate() {
                assert_eq!(runs.iter().map(|set| sign(*set, *a)).sum::<i32>(), 0, "{a:b} is balanced");
                assert!(effects[i + 1..].iter().all(|b| product(&runs, *a, *b) == 0), "{a:b} of {toggles} is clear");
            }
        }
        assert_eq!((regular(4), regular(9)), (None, None));
    }

    #[test]
    fn five_factors_in_sixteen_runs_are_as_published() {
        // I = ABCDE: all on is a run, all off is none, and each run has an odd number of factors on.
        assert!(regular(5).unwrap().iter().all(|set| set.count_ones() % 2 == 1));
    }

    #[test]
    fn screening_keeps_main_effects_clear_of_pairs() {
        for toggles in OF_SCREENING {
            let runs = screening(toggles);
            assert_eq!(runs.iter().collect::<std::collections::HashSet<_>>().len(), 24);
            let mains = effects(toggles, 1);
            for (i, a) in mains.iter().enumerate() {
                assert!(mains[i + 1..].iter().all(|b| product(&runs, *a, *b) == 0), "main effects of {toggles} are orthogonal");
                let pairs = effects(toggles, 2).into_iter().filter(|m| m.count_ones() == 2);
                assert!(pairs.into_iter().all(|b| product(&runs, *a, b) == 0), "{a:b} of {toggles} is clear of pairs");
            }
        }
    }
}
