//! circus-plugin: runs one of the plugins that come with circusd.

use std::process::ExitCode;

fn main() -> ExitCode {
    circus_sys::reset_inherited_signals();
    circus_plugin::main()
}
