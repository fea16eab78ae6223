//! uring-ablate: which io_uring optimisation pays on this machine, by how much, and how far the result is from fio.
#![deny(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]
pub mod analysis;
pub mod bisect;
pub mod cli;
pub mod clock;
pub mod command;
pub mod console;
pub mod control_group;
pub mod durable;
pub mod engine;
pub mod exit;
pub mod experiment;
pub mod export;
pub mod limits;
pub mod name;
pub mod nightly;
pub mod peer;
pub mod perf;
pub mod plan;
pub mod plot;
pub mod printed;
pub mod privileges;
pub mod process;
pub mod program;
pub mod random;
pub mod report;
pub mod row;
pub mod run;
pub mod selftest;
pub mod spawn;
pub mod target;
pub mod text;
pub mod toggle;
pub mod trusted;
pub mod units;
pub mod workload;
