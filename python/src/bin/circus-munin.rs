//! circus-munin: a plugin for munin-node.

use std::process::ExitCode;

fn main() -> ExitCode {
    circus_sys::reset_inherited_signals();
    let word = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
    circus_munin::main(std::env::args_os().map(word))
}
