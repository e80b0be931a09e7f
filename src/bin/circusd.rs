//! circusd: the process and socket manager.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    circus::daemon::main(&circus::daemon::Args::parse())
}
