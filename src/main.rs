//! Parses the command line, dispatches, and maps the outcome to an exit code.

use clap::Parser;
use std::io::{Read, Write};
use std::process::ExitCode;
use uring_ablate::cli::{Cli, Verb};
use uring_ablate::exit::Exit;
use uring_ablate::run::round::{self, Spec};
use uring_ablate::spawn;

fn main() -> ExitCode {
    match dispatch(&Cli::parse()) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            eprintln!("uring-ablate: {error:#}");
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.verb {
        Verb::Round => {
            let report = round::run(&spec_from_stdin()?)?;
            std::io::stdout().write_all(&serde_json::to_vec(&report)?)?;
        }
        Verb::Worker => round::run_forever(&spec_from_stdin()?)?,
        Verb::Tether { parent, program, args } => return Err(spawn::become_tethered(*parent, program, args).into()),
        Verb::Run(_) | Verb::Plan(_) | Verb::Report(_) | Verb::Toggles => {}
    }
    Ok(Exit::Ok)
}

fn spec_from_stdin() -> anyhow::Result<Spec> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
