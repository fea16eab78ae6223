//! Progress and ETA on standard error, only where that is a terminal, and redrawn only between rounds.

use crate::run::Progress;
use crate::{console, text};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over the rounds of a run.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar, or nothing at all when `quiet` or not on a terminal.
    pub fn new(quiet: bool) -> Bar {
        let shown = !quiet && console::watched();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{bar:30} round {pos}/{len}  {elapsed} gone, {eta} to go  {msg}");
        let bar = ProgressBar::with_draw_target(None, target);
        Bar(style.map_or(bar.clone(), |style| bar.with_style(style)))
    }
}

impl Progress for Bar {
    fn round(&self, done: usize, total: usize, next: &str) {
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
        self.0.set_message(text::line(next));
        self.0.tick();
        if done == total {
            self.0.finish_and_clear();
        }
    }
}
