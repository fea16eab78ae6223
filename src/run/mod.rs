//! Runs a plan: a process per round, its rows on disk before the next begins, resumable after a kill at any moment.

pub mod round;
