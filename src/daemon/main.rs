//! circusd from its command line to its exit status.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::args::Args;
use super::boot::{self, Refusal};
use super::turn::Outcome;
use crate::config::{self, Loaded, Severity};
use crate::sys;

/// circusd. It returns when the fleet is stopped.
pub fn main(args: &Args) -> ExitCode {
    if args.version {
        return print(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
    let Some(file) = &args.config else {
        return print(&format!("{}\n", Args::command().render_usage()));
    };
    match run(args, file) {
        Ok(status) => ExitCode::from(status),
        Err(refusal) => {
            refusal.tell();
            ExitCode::from(1)
        }
    }
}

fn print(text: &str) -> ExitCode {
    // Whoever closed our output has seen enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn run(args: &Args, file: &str) -> Result<u8, Refusal> {
    for (given, what) in [
        (args.logger_config.is_some(), "--logger-config: circusd runs no Python; use --log-level and --log-output"),
        (
            args.daemon,
            "--daemon: circusd cannot go to the background yet; start it with setsid or by a service manager",
        ),
    ] {
        if given {
            return Err(Refusal::Error(what.into()));
        }
    }
    sys::sanitize_stdio().map_err(|error| Refusal::Error(format!("unable to open descriptors 0 to 2: {error}")))?;
    let host = sys::host();
    let Loaded { config, problems } = config::load(file, &host);
    if args.check {
        let text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
        print(&text);
        return Ok(u8::from(!problems.is_empty()));
    }
    let Some(config) = config else { return Err(Refusal::Problems(problems)) };
    let mut daemon = boot::boot(args, file, config, host, problems)?;
    loop {
        match daemon.run() {
            Outcome::Exit(status) => {
                daemon.close();
                return Ok(status);
            }
            Outcome::Restart => {
                let Loaded { config, problems } = config::load(file, &sys::host());
                daemon.begin_anew(config, &problems);
            }
        }
    }
}

/// The weight of a problem in the log.
pub(super) fn weight(severity: Severity) -> crate::arbiter::Level {
    match severity {
        Severity::Warning | Severity::Skipped => crate::arbiter::Level::Warning,
        Severity::Fatal => crate::arbiter::Level::Critical,
    }
}
