//! `cyme`.

use std::process::ExitCode;

fn main() -> ExitCode {
    circus_cyme::command::main()
}
