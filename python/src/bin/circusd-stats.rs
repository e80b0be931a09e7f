//! circusd-stats: publishes what the processes of a circusd use.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    circus_sys::reset_inherited_signals();
    circus_stats::main(&circus_stats::Args::parse())
}
