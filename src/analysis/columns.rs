//! What the columns of result files hold, by their names.

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Text,
    /// Whole numbers; seeds use all 64 bits.
    Whole,
    Seeds,
    Numbers,
    /// `true` or `false`.
    Flags,
}

const TEXT: [&str; 45] = [
    "cell",
    "treatment",
    "kind",
    "outcome",
    "reason",
    "route",
    "target",
    "engine",
    "experiment",
    "run_id",
    "started_utc",
    "setup_order",
    "flagged",
    "part",
    "clock",
    "side",
    "context",
    "category",
    "symbol",
    "rw",
    "workload",
    "contrast",
    "reference",
    "toggle",
    "metric",
    "verdict",
    "night",
    "unit",
    "better",
    "segment_began",
    "alarm",
    "since",
    "finding",
    "machine",
    "host",
    "fingerprint",
    "platform",
    "subject",
    "candidate",
    "version",
    "kernel",
    "cpu",
    "summary",
    "series_crc",
    "line_crc",
];

const WHOLE: [&str; 39] = [
    "schema_version",
    "round",
    "repetition",
    "replica",
    "block",
    "blocks",
    "position",
    "redoes",
    "completions",
    "slice_us",
    "ops",
    "bytes",
    "errors",
    "enters",
    "block_size_bytes",
    "queue_depth",
    "jobs",
    "lat_ns_p50",
    "lat_ns_p90",
    "lat_ns_p99",
    "lat_ns_p999",
    "lat_ns_max",
    "lat_samples",
    "violations",
    "samples",
    "trials_bytes",
    "arms_bytes",
    "latency_bytes",
    "overhead_bytes",
    "n_rounds",
    "n_blocks",
    "rounds_needed",
    "segment",
    "level_nights",
    "rounds",
    "confirm_rounds",
    "exit",
    "series_rows",
    "series_bytes",
];

/// What a column of this name holds.
pub fn holds(name: &str) -> Holds {
    // Levels of toggles are words as often as numbers.
    if TEXT.contains(&name) || name.starts_with("req_") || name.starts_with("eff_") {
        Holds::Text
    } else if WHOLE.contains(&name) {
        Holds::Whole
    } else if name == "seed" {
        Holds::Seeds
    } else if name == "shape_differs" {
        Holds::Flags
    } else {
        Holds::Numbers
    }
}
