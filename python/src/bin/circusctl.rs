//! circusctl: controls a Circus daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    circus_sys::reset_inherited_signals();
    circus_ctl::main()
}
