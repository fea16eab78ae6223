//! Parses the command line, dispatches, and maps the outcome to an exit code.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use std::io::Read;
use std::process::ExitCode;
use uring_ablate::cli::{Cli, Verb};
use uring_ablate::exit::Exit;
use uring_ablate::run::round::{self, Spec};
use uring_ablate::{command, console, spawn, text};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return usage(&told),
    };
    // Before this process may become another user, who could not ask it: the file is then root's.
    spawn::yield_memory();
    if let Err(failure) = command::privilege(&cli.verb) {
        return failed(&failure);
    }
    // A file that may not grow further is an error like a full disk, and not the end.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    let outcome = match &cli.verb {
        Verb::Run(args) => command::run(args, cli.quiet),
        Verb::Plan(args) => command::plan(args),
        Verb::Report(args) => command::report(args, cli.quiet),
        Verb::Compare(args) => command::compare(args, cli.quiet),
        Verb::Nightly(args) => command::nightly(args, cli.quiet),
        Verb::History(verb) => command::history(verb, cli.quiet),
        Verb::Bisect(args) => command::bisect(args, cli.quiet),
        Verb::Export(args) => command::export(args, cli.quiet),
        Verb::Bench(args) => command::bench(args),
        Verb::Doctor(args) => command::doctor(args),
        Verb::Selftest(args) => command::selftest(args, cli.quiet),
        Verb::Toggles => command::toggles(),
        Verb::Completions { shell } => command::completions(*shell),
        Verb::Man { dir } => command::manual(dir),
        Verb::Simulate { all_on, requests } => command::simulate(*all_on, *requests),
        Verb::SimulateNights(args) => command::simulate_nights(args),
        hidden => return as_child(hidden),
    };
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &command::Failure) -> ExitCode {
    console::note(format!("uring-ablate: {}", failure.message));
    ExitCode::from(failure.exit as u8)
}

/// Help, the version, or what is wrong with the command line.
fn usage(told: &clap::Error) -> ExitCode {
    // In colours only of arguments without escape sequences of their own.
    let harmless = std::env::args_os().map(|argument| text::line(&argument.to_string_lossy()));
    let coloured = Cli::try_parse_from(harmless).err().map(|told| told.render().ansi().to_string());
    match console::usage(told.use_stderr(), &told.render().to_string(), coloured.as_deref()) {
        Ok(()) => ExitCode::from(told.exit_code() as u8),
        Err(lost) => {
            console::note(format!("uring-ablate: {lost}"));
            ExitCode::from(Exit::Environment as u8)
        }
    }
}

/// The hidden subcommands: what the runner starts speaks JSON, and its errors go to the runner.
fn as_child(verb: &Verb) -> ExitCode {
    match serve(verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::note(format!("uring-ablate: {error}"));
            ExitCode::from(Exit::Environment as u8)
        }
    }
}

fn serve(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Round => {
            let report = round::run(&spec_from_stdin()?)?;
            let handed = console::hand_over(&serde_json::to_vec(&report)?);
            handed.map_err(|error| anyhow::anyhow!("cannot hand over the report of the round: {error}"))?;
        }
        Verb::Worker => round::run_forever(&spec_from_stdin()?)?,
        Verb::Tether { group, parent, program, args } => {
            return Err(spawn::become_tethered(group.as_deref(), *parent, program, args).into());
        }
        Verb::Run(_)
        | Verb::Plan(_)
        | Verb::Report(_)
        | Verb::Compare(_)
        | Verb::Nightly(_)
        | Verb::History(_)
        | Verb::Bisect(_)
        | Verb::Export(_)
        | Verb::Bench(_)
        | Verb::Doctor(_)
        | Verb::Selftest(_)
        | Verb::Toggles
        | Verb::Completions { .. }
        | Verb::Man { .. }
        | Verb::Simulate { .. }
        | Verb::SimulateNights(_) => {}
    }
    Ok(())
}

fn spec_from_stdin() -> anyhow::Result<Spec> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
