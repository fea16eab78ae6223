//! Failed requests in words: the kernel's error, and what about the target explains it.

use super::round::Spec;
use crate::engine::drive::WRONG_BYTES;
use crate::target::refused::{self, Asked};
use crate::toggle::Toggle;
use std::io;

/// What a request's result means that is not what was due: too few bytes, wrong ones, or an error.
pub fn text(spec: &Spec, result: i32) -> String {
    match result {
        WRONG_BYTES => "wrong bytes (was this target written with verify = true?)".into(),
        // A request that moved nothing at all, past the end of a file, reports 0.
        bytes if bytes >= 0 => format!("{bytes} bytes moved"),
        error => {
            let error = io::Error::from_raw_os_error(-error);
            let polled = spec.arms.iter().any(|arm| arm.levels.is_on(Toggle::Iopoll));
            let asked = Asked { writes: spec.workload.rw.writes(), polled };
            format!("{error}{}", refused::because_of_any(&spec.paths, &error, asked))
        }
    }
}
