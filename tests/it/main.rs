//! One binary for all integration tests: real io_uring on real targets, the command line as a user types it.

mod bad_input;
mod bench;
mod claims;
mod compare;
mod counters;
mod designs;
mod doctor;
mod experiments;
mod exports;
mod history;
mod host_tune;
mod labels;
mod loop_cost;
mod page;
mod peers;
mod process_arms;
mod profile;
mod refusals;
mod reports;
mod resume;
mod rounds;
mod splice;
mod statistics;
mod support;
mod tidy;
mod verify;
