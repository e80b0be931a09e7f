//! circusd-stats: publishes what the processes of a circusd use.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    circus::stats::main(&circus::stats::Args::parse())
}
