//! `cyme-branch`.

use std::process::ExitCode;

fn main() -> ExitCode {
    circus_cyme::program::main()
}
