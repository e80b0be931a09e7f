//! `circus-celery`.

use std::process::ExitCode;

fn main() -> ExitCode {
    circus_celery::program::main()
}
