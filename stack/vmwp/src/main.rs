//! `vmwp`: runs one VM. See `vmwp --help`.

use clap::Parser;
use std::process::ExitCode;
use vmwp::cli::Cli;
use vmwp::worker::EXIT_FAILURE;
use vmwp::{logging, worker};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = logging::start(cli.log.as_deref()).and_then(|()| worker::run(&cli));
    let status = result.unwrap_or_else(|error| {
        eprintln!("vmwp: {error:#}");
        EXIT_FAILURE
    });
    ExitCode::from(status as u8)
}
