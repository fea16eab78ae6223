//! Where a job's requests go: its files or devices, each with offsets of its own, one of them at a time.

use super::pattern::Pattern;
use super::work::Device;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A file or device of a job.
#[derive(Clone)]
pub struct Aim {
    pub device: Device,
    /// Shared by the lanes of the job.
    pub pattern: Arc<Mutex<Pattern>>,
}

/// All of them; what a turn of the loop refills goes to the one that is next.
pub struct Aims {
    now: Aim,
    later: VecDeque<Aim>,
}

impl Aims {
    /// At least one.
    pub fn new(all: impl IntoIterator<Item = Aim>) -> Aims {
        let mut later: VecDeque<Aim> = all.into_iter().collect();
        Aims { now: later.pop_front().expect("a job has a target"), later }
    }

    fn all(&self) -> impl Iterator<Item = &Aim> {
        std::iter::once(&self.now).chain(&self.later)
    }

    /// True where turns are taken.
    #[inline(always)]
    pub fn several(&self) -> bool {
        !self.later.is_empty()
    }

    /// Offsets on the one that is served now.
    #[inline(always)]
    pub fn pattern(&self) -> &Mutex<Pattern> {
        &self.now.pattern
    }

    /// Passes on to the next; takes the cursor of the last and returns its own.
    #[inline(never)]
    pub fn turn(&mut self, inline: bool, path: InlinePath) -> (InlinePath, Device) {
        path.hand_back(inline, self.pattern());
        if let Some(next) = self.later.pop_front() {
            self.later.push_back(std::mem::replace(&mut self.now, next));
        }
        (InlinePath::of(self.pattern()), self.now.device)
    }

    /// Continues everywhere at fresh aligned places.
    pub fn jump(&self) {
        self.all().for_each(|aim| aim.pattern.lock().unwrap().jump());
    }

    /// The pieces of the spans that were touched since the last jump by `blocks` requests; none where the cursors did not move by as many.
    pub fn touched(&self, blocks: u64) -> u64 {
        if !self.several() {
            return self.pattern().lock().unwrap().touched(blocks);
        }
        let (mut moved, mut pieces, mut span) = (0, 0, 1);
        for aim in self.all() {
            let pattern = aim.pattern.lock().unwrap();
            moved += pattern.moved();
            span = pattern.span_blocks();
            pieces |= pattern.touched(pattern.moved());
        }
        let random = self.pattern().lock().unwrap().is_random();
        if random || moved % span == blocks % span { pieces } else { 0 }
    }
}

/// Level *on* of `fast_path`: the sequential cursor in a register.
pub struct InlinePath {
    offset: u64,
    step: u64,
    start: u64,
    end: u64,
}

impl InlinePath {
    /// The cursor of a pattern.
    #[inline(always)]
    pub fn of(pattern: &Mutex<Pattern>) -> InlinePath {
        let (offset, step, range) = cursor(pattern);
        InlinePath { offset, step, start: range.start, end: range.end }
    }

    /// The byte offset of the next request.
    #[inline(always)]
    pub fn next_offset(&mut self) -> u64 {
        let offset = self.offset;
        self.offset += self.step;
        if self.offset == self.end {
            self.offset = self.start;
        }
        offset
    }

    /// Brings the cursor back, if it was `used`.
    #[inline(never)]
    pub fn hand_back(self, used: bool, pattern: &Mutex<Pattern>) {
        if used {
            pattern.lock().unwrap().set_cursor_bytes(self.offset);
        }
    }
}

/// Out of line, and not into the path itself, whose address would then be taken and its cursor kept in memory.
#[inline(never)]
fn cursor(pattern: &Mutex<Pattern>) -> (u64, u64, Range<u64>) {
    let pattern = pattern.lock().unwrap();
    (pattern.cursor_bytes(), pattern.block_bytes(), pattern.range_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Rw, Workload};

    fn aims(count: u32, rw: Rw) -> Aims {
        let workload = Workload { rw, ..Workload::example() };
        Aims::new((0..count).map(|index| Aim {
            device: Device { fd: 10 + index as i32, index, namespace: 0, block_shift: 0 },
            pattern: Arc::new(Mutex::new(Pattern::new(&workload, &(0..640 * 4096), u64::from(index)))),
        }))
    }

    #[test]
    fn everyone_has_a_turn_and_goes_on_where_it_was() {
        let mut three = aims(3, Rw::Read);
        three.jump();
        let mut path = InlinePath::of(three.pattern());
        let first = path.next_offset();
        let served: Vec<i32> = (0..3)
            .map(|_| {
                let (next, device) = three.turn(true, InlinePath { ..path });
                path = next;
                device.fd
            })
            .collect();
        assert_eq!(served, [11, 12, 10]);
        assert_eq!(path.next_offset(), (first + 4096) % (640 * 4096));
    }

    #[test]
    fn coverage_is_of_all_and_counts_every_request() {
        let mut two = aims(2, Rw::Read);
        two.jump();
        let mut path = InlinePath::of(two.pattern());
        for _ in 0..10 {
            (0..30).for_each(|_| _ = path.next_offset());
            (path, _) = two.turn(true, path);
        }
        path.hand_back(true, two.pattern());
        assert!(two.touched(300).count_ones() >= 15, "150 of 640 blocks on each");
        assert_eq!(two.touched(299), 0, "a request that moved no cursor");
        let random = aims(2, Rw::Randread);
        random.jump();
        (0..1000).for_each(|_| _ = random.pattern().lock().unwrap().next_offset());
        assert_eq!(random.touched(1000), u64::MAX);
    }
}
