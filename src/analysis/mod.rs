//! From the rows of a run to effects with intervals. The only door to polars; the maths is on plain slices. Measures and prints nothing.

pub mod bounds;
pub mod carry;
pub mod change_point;
pub mod claim;
pub mod columns;
pub mod compare;
pub mod components;
pub mod contrast;
pub mod effect;
pub mod factorial;
pub mod family;
pub mod fraction;
pub mod history;
pub mod intact;
pub mod latency;
pub mod level;
pub mod load;
pub mod model;
pub mod overhead;
pub mod rank_sum;
pub mod saturated;
pub mod share;
pub mod signed_rank;
pub mod spinning;
pub mod stopping;
pub mod tables;
mod threads;
pub mod verdict;

pub use model::Model;
