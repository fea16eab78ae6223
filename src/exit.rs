//! Exit codes, in one place.

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// A confirmed regression.
    Regression = 1,
    /// Usage or configuration.
    Usage = 2,
    /// No verdict could be reached.
    Inconclusive = 3,
    /// A control or validity gate failed.
    SelfCheck = 4,
    /// This environment cannot measure.
    Environment = 5,
    /// Interrupted; the run can be resumed.
    Interrupted = 130,
}
