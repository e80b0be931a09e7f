//! circusd: the process and socket manager.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    circus::sys::bound_the_heap();
    if let Some(state) = circus::sys::state_fd() {
        return circus::daemon::go_on(state);
    }
    circus::sys::reset_inherited_signals();
    circus::daemon::main(&circus::daemon::Args::parse())
}
