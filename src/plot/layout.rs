//! Where texts stand: how wide they are, broken into lines, side by side in rows, apart from each other.

/// Labels of lines keep this distance.
pub const LINE_PITCH: i32 = 17;

/// About how many pixels a text takes.
pub fn width_of(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.62) as i32
}

/// Breaks a text at spaces into lines of at most `room` characters.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < room => *line += &format!(" {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// A name in lines that break at its underscores, as few as `room` pixels allow.
pub fn lines(name: &str, size: i32, room: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in name.split_inclusive('_') {
        match lines.last_mut() {
            Some(line) if width_of(line, size) + width_of(part, size) <= room => *line += part,
            _ => lines.push(part.into()),
        }
    }
    lines
}

/// Left ends of entries of these widths that stand side by side between `left` and `right`, each with its row.
pub fn flow(widths: &[i32], left: i32, right: i32) -> Vec<(i32, i32)> {
    let (mut x, mut row) = (left, 0);
    let place = |width: &i32| {
        if x > left && x + width > right {
            (x, row) = (left, row + 1);
        }
        let place = (x, row);
        x += width;
        place
    };
    widths.iter().map(place).collect()
}

/// Moves places apart until labels no longer overlap, keeping their order.
pub fn spread(places: &[i32], bottom: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|i| places[*i]);
    let mut moved = places.to_vec();
    for pair in order.windows(2) {
        moved[pair[1]] = moved[pair[1]].max(moved[pair[0]] + LINE_PITCH);
    }
    let excess = order.last().map_or(0, |i| (moved[*i] - bottom).max(0));
    moved.iter().map(|m| m - excess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_distance_and_their_order() {
        let moved = spread(&[100, 102, 101, 300], 310);
        assert!(moved[0] < moved[2] && moved[2] < moved[1] && moved[1] < moved[3]);
        let mut sorted = moved.clone();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|w| w[1] - w[0] >= LINE_PITCH), "{moved:?}");
        assert!(spread(&[300, 301], 305).iter().all(|m| *m <= 305));
    }

    #[test]
    fn names_break_at_underscores_and_entries_at_the_edge() {
        assert_eq!(lines("time_check_interval", 10, 70), ["time_check_", "interval"]);
        assert_eq!(lines("time_check_interval", 10, 200), ["time_check_interval"]);
        assert_eq!(flow(&[40, 40, 40, 90], 10, 100), [(10, 0), (50, 0), (10, 1), (10, 2)]);
    }
}
