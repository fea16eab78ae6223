//! Sizes, durations and percentages as people write them in experiments.
//!
//! Sizes follow fio: `k`, `m`, `g` and `t`, with or without `i` and `b`, are powers of 1024.

use crate::limits;
use std::time::Duration;

/// Why a quantity could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not a size; write 4096, \"4k\", \"128KiB\" or \"1GiB\"")]
    Size(String),
    #[error("{0:?} is not a duration; write \"500ms\", \"5s\" or \"3m\"")]
    Duration(String),
    #[error("{0:?} is too long: {most} days is the most", most = limits::TIME.as_secs() / 86_400)]
    TooLong(String),
    #[error("{0:?} is not a percentage from 0% to {most}%; write \"2%\"", most = limits::PERCENT)]
    Percent(String),
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Bytes of `"4k"`, `"1GiB"`, `"512"`.
pub fn size_bytes(text: &str) -> Result<u64, Error> {
    let fail = || Error::Size(text.into());
    let (number, unit) = split(text.trim());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(fail()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)).ok_or_else(fail)
}

/// A duration such as `"500ms"`, `"5s"`, `"3m"`, `"1h"`.
pub fn duration(text: &str) -> Result<Duration, Error> {
    let fail = || Error::Duration(text.into());
    let (number, unit) = split(text.trim());
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(fail()),
    };
    let value = number.parse::<f64>().map_err(|_| fail())? * seconds;
    bounded(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX), text)
}

fn bounded(time: Duration, text: &str) -> Result<Duration, Error> {
    if time <= limits::TIME { Ok(time) } else { Err(Error::TooLong(text.into())) }
}

/// A duration, of which a plain number is so many seconds.
pub fn seconds(text: &str) -> Result<Duration, Error> {
    match text.trim().parse::<u32>() {
        Ok(number) => bounded(Duration::from_secs(number.into()), text),
        Err(_) => duration(text),
    }
}

/// The fraction of `"2%"`: 0.02.
pub fn percent(text: &str) -> Result<f64, Error> {
    let number = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
    number.filter(|n| (0.0..=limits::PERCENT).contains(n)).map(|n| n / 100.0).ok_or_else(|| Error::Percent(text.into()))
}

/// A size for labels: `4k`, `128k`, `1g`, exact or in bytes.
pub fn size_text(bytes: u64) -> String {
    let unit = [(40, "t"), (30, "g"), (20, "m"), (10, "k")];
    unit.iter()
        .find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift))
        .map_or_else(|| bytes.to_string(), |(shift, name)| format!("{}{name}", bytes >> shift))
}

/// A size for sentences: `1.5 GiB`, `512 MiB`.
pub fn size_words(bytes: u64) -> String {
    let unit = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(|(shift, _)| bytes >= 1 << shift);
    let Some((shift, name)) = unit else { return format!("{bytes} bytes") };
    let number = format!("{:.1}", bytes as f64 / (1_u64 << shift) as f64);
    format!("{} {name}", number.strip_suffix(".0").unwrap_or(&number))
}

/// A duration as people say it: `75 s`, `4 minutes`.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 100.0 { format!("{seconds:.0} s") } else { format!("{:.0} minutes", seconds / 60.0) }
}

/// Microseconds for a reader: `2.5 ms`, `1.5 s`.
pub fn microseconds_words(us: u64) -> String {
    if us < 1_000_000 { format!("{:.1} ms", us as f64 / 1e3) } else { format!("{:.1} s", us as f64 / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size_bytes("4k"), Ok(4096));
        assert_eq!(size_bytes("1 GiB"), Ok(1 << 30));
        assert_eq!(size_bytes("512"), Ok(512));
        assert!(size_bytes("4q").is_err() && size_bytes("").is_err() && size_bytes("99999999t").is_err());
        assert_eq!(size_text(131_072), "128k");
        assert_eq!(size_text(4097), "4097");
        assert_eq!([2500, 1_500_000].map(microseconds_words), ["2.5 ms", "1.5 s"]);
        assert_eq!([100, 1536, 1 << 30, 15 << 29].map(size_words), ["100 bytes", "1.5 KiB", "1 GiB", "7.5 GiB"]);
    }

    #[test]
    fn durations_and_percentages_need_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("3m"), Ok(Duration::from_secs(180)));
        assert!(duration("5").is_err() && duration("x s").is_err());
        assert_eq!(duration("720h"), Ok(limits::TIME));
        for long in ["721h", "5000000000000000h", &format!("{}s", "9".repeat(400))] {
            assert_eq!(duration(long), Err(Error::TooLong(long.into())));
        }
        assert_eq!(seconds("4294967295"), Err(Error::TooLong("4294967295".into())));
        assert_eq!((seconds("5"), seconds("5ms")), (Ok(Duration::from_secs(5)), Ok(Duration::from_millis(5))));
        assert_eq!(percent("2%"), Ok(0.02));
        assert!(percent("2").is_err() && percent("-1%").is_err() && percent("1e300%").is_err() && percent("nan%").is_err());
    }
}
