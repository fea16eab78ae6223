//! What the machine's CPUs did meanwhile, whoever used them.

use std::fs;

/// CPU time of the whole machine so far, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    busy: u64,
    idle: u64,
    steal: u64,
}

/// Shares of the CPUs' time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Not idle: something ran, or wanted to; `None` where the kernel does not tell.
    pub busy: Option<f64>,
    /// The part of it that the hypervisor gave to others.
    pub steal: Option<f64>,
}

impl Cpus {
    /// Reads the clock of the machine.
    pub fn read() -> Option<Cpus> {
        Cpus::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)); time of guests is in user time already.
    pub fn parse(stat: &str) -> Option<Cpus> {
        let fields: Vec<u64> =
            stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().map_while(|f| f.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = fields[..] else { return None };
        let sum = |parts: &[u64]| parts.iter().try_fold(0, |sum: u64, part| sum.checked_add(*part));
        Some(Cpus { busy: sum(&[user, nice, system, irq, softirq])?, idle: sum(&[idle, iowait])?, steal })
    }

    /// What happened since.
    pub fn since(self) -> Shares {
        Cpus::read().map_or_else(Shares::default, |now| self.until(now))
    }

    /// What happened between two readings.
    pub fn until(self, now: Cpus) -> Shares {
        // The kernel may set idle and stolen time back a little.
        let passed = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let (idle, steal) = (passed(now.idle, self.idle), passed(now.steal, self.steal));
        let busy = passed(now.busy, self.busy) + steal;
        let share = |part: f64| Some(part / (busy + idle)).filter(|s| s.is_finite());
        Shares { busy: share(busy), steal: share(steal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_passed_between_two_readings() {
        let at = |text| Cpus::parse(text).unwrap();
        let before = at("cpu  100 0 50 800 10 5 5 30 0 0\ncpu0 ...\n");
        let after = at("cpu  130 0 60 830 20 5 15 40 0 0\n");
        assert_eq!(before.until(after), Shares { busy: Some(0.6), steal: Some(0.1) });
        assert_eq!(before.until(before), Shares::default(), "no time passed");
        assert_eq!(Cpus::parse("cpu  1 2 3\n"), None);
    }
}
