//! circusd: the process and socket manager.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    circus_sys::reset_inherited_signals();
    circus::daemon::main(&circus::daemon::Args::parse())
}
