//! From numbers to places and words: round ticks, logarithmic axes, labels in lines and apart.

/// Round numbers from `lo` to `hi` with their text, in at most so many steps; none of an empty range.
pub fn ticks(lo: f64, hi: f64, most: f64) -> Vec<(f64, String)> {
    if !(hi > lo && (hi - lo).is_finite()) {
        return Vec::new();
    }
    let least = (hi - lo) / most;
    let power = least.log10().floor() as i32;
    let steps = [(1.0, power), (2.0, power), (5.0, power), (1.0, power + 1)];
    let size = |(times, power): (f64, i32)| times * 10_f64.powi(power);
    let (times, power) = steps.into_iter().find(|s| size(*s) >= least).unwrap_or((1.0, power + 1));
    let (step, decimals) = (size((times, power)), (-power).max(0) as usize);
    // Ends that are ticks themselves are so despite rounding.
    let (first, last) = ((lo / step - 1e-9).ceil() as i64, (hi / step + 1e-9).floor() as i64);
    (first..=last).map(|i| i as f64 * step).map(|tick| (tick, format!("{tick:.decimals$}"))).collect()
}

/// Ones, twos and fives of each power of ten from `lo` to `hi`; the ones alone over more than three powers.
pub fn log_ticks(lo: f64, hi: f64) -> Vec<(f64, String)> {
    if !(lo > 0.0 && hi >= lo && hi.is_finite()) {
        return Vec::new();
    }
    let (first, last) = (lo.log10().floor() as i32, hi.log10().ceil() as i32);
    let times: &[f64] = if hi / lo > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let of = |power: i32| {
        let decimals = (-power).max(0) as usize;
        times.iter().map(move |t| t * 10_f64.powi(power)).map(move |tick| (tick, format!("{tick:.decimals$}")))
    };
    (first..=last).flat_map(of).filter(|(tick, _)| (lo..=hi).contains(tick)).collect()
}

/// A map from a range of numbers to a range of pixels.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    numbers: (f64, f64),
    pixels: (i32, i32),
    log: bool,
}

impl Axis {
    pub fn linear(numbers: (f64, f64), pixels: (i32, i32)) -> Axis {
        Axis { numbers, pixels, log: false }
    }

    /// Of numbers above 0.
    pub fn log(numbers: (f64, f64), pixels: (i32, i32)) -> Axis {
        Axis { numbers: (numbers.0.ln(), numbers.1.ln()), pixels, log: true }
    }

    /// The pixel of a number; of a range of one number the middle.
    pub fn at(&self, number: f64) -> i32 {
        let number = if self.log { number.ln() } else { number };
        let range = self.numbers.1 - self.numbers.0;
        let share = if range == 0.0 { 0.5 } else { (number - self.numbers.0) / range };
        self.pixels.0 + (share * f64::from(self.pixels.1 - self.pixels.0)).round() as i32
    }
}

/// What a range of ratios or times needs so that nothing touches its frame: so much of its length on either side, in logarithms.
pub fn log_air((lo, hi): (f64, f64), share: f64) -> (f64, f64) {
    let air = (hi / lo).powf(share);
    (lo / air, hi * air)
}

/// The figure that throughput is shown by at a block size, its unit, and the name of that.
pub fn throughput(block_bytes: Option<f64>) -> (&'static str, f64, &'static str) {
    let large = block_bytes.is_some_and(|b| b >= 65_536.0);
    if large { ("bandwidth_bytes_per_s", 1e9, "GB/s") } else { ("iops", 1e3, "thousand IOPS") }
}

/// About how many pixels a text takes.
pub fn width_of(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.62) as i32
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: Vec<(f64, String)>) -> Vec<String> {
        ticks.into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(texts(ticks(0.93, 1.11, 7.0)), ["0.95", "1.00", "1.05", "1.10"]);
        assert_eq!(texts(ticks(0.0, 7446.0, 8.0)), ["0", "1000", "2000", "3000", "4000", "5000", "6000", "7000"]);
        assert_eq!(texts(ticks(-0.4, 0.6, 5.0)), ["-0.4", "-0.2", "0.0", "0.2", "0.4", "0.6"]);
        assert!(ticks(1.0, 1.0, 5.0).is_empty() && ticks(0.0, f64::NAN, 5.0).is_empty());
        assert_eq!(texts(log_ticks(0.09, 6.0)), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(texts(log_ticks(1.0, 2000.0)), ["1", "10", "100", "1000"]);
        assert!(log_ticks(0.0, 1.0).is_empty());
    }

    #[test]
    fn axes_map_their_ends_to_their_pixels() {
        let depth = Axis::log((1.0, 16.0), (100, 500));
        assert_eq!([1.0, 2.0, 4.0, 16.0].map(|d| depth.at(d)), [100, 200, 300, 500]);
        assert_eq!(Axis::linear((0.0, 2.0), (300, 100)).at(0.5), 250);
        assert_eq!(Axis::linear((4.0, 4.0), (0, 10)).at(4.0), 5);
    }

    #[test]
    fn names_break_at_underscores_and_entries_at_the_edge() {
        assert_eq!(lines("time_check_interval", 10, 70), ["time_check_", "interval"]);
        assert_eq!(lines("time_check_interval", 10, 200), ["time_check_interval"]);
        assert_eq!(flow(&[40, 40, 40, 90], 10, 100), [(10, 0), (50, 0), (10, 1), (10, 2)]);
    }
}
