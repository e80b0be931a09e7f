//! `circushttpd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    circus_console::program::main()
}
