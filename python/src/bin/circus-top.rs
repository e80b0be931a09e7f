//! circus-top: shows what the processes of a circusd do and use.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    circus_sys::reset_inherited_signals();
    circus_top::main(&circus_top::Args::parse())
}
