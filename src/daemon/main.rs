//! circusd from its command line to its exit status.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::args::Args;
use super::boot::{self, StartupError};
use super::event_loop::{Daemon, Outcome};
use crate::config::{self, Config, Host, Loaded, Problem, Severity};
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
        Err(failure) => {
            failure.print();
            ExitCode::from(1)
        }
    }
}

fn print(text: &str) -> ExitCode {
    // Whoever closed our output has seen enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn run(args: &Args, file: &str) -> Result<u8, StartupError> {
    if args.logger_config.is_some() {
        let text = "--logger-config: circusd runs no Python; use --log-level and --log-output";
        return Err(StartupError::Error(text.into()));
    }
    sys::sanitize_stdio()
        .map_err(|error| StartupError::Error(format!("unable to open descriptors 0 to 2: {error}")))?;
    let host = sys::host();
    if args.check {
        return Ok(check(file, &host));
    }
    let Loaded { config, problems } = config::load(file, &host);
    let Some(config) = config else { return Err(StartupError::Problems(problems)) };
    if args.daemon {
        return run_in_the_background(args, file, config, host, problems);
    }
    let daemon = boot::boot(args, file, config, host, problems)?;
    Ok(turn(daemon, file))
}

/// Tells all about a configuration. What only means something else than in Circus is no failure.
fn check(file: &str, host: &Host) -> u8 {
    let problems = config::check(file, host);
    let text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    print(&text);
    u8::from(problems.iter().any(|problem| problem.severity > Severity::Note))
}

/// The configuration was read by whoever called us, who may have given it as a pipe; all else is the daemon's.
fn run_in_the_background(
    args: &Args,
    file: &str,
    config: Config,
    host: Host,
    problems: Vec<Problem>,
) -> Result<u8, StartupError> {
    let cannot = |error| StartupError::Error(format!("--daemon: unable to go to the background: {error}"));
    let background = match sys::daemonize().map_err(cannot)? {
        sys::Side::Daemon(background) => background,
        sys::Side::Caller(starting) => {
            return match starting.wait() {
                sys::Started::Ready => Ok(0),
                sys::Started::Refused => Ok(1),
                sys::Started::Died => Err(StartupError::Error("--daemon: it ended before it was ready".into())),
            };
        }
    };
    match boot::boot(args, file, config, host, problems) {
        Ok(daemon) => {
            background.ready().map_err(cannot)?;
            Ok(turn(daemon, file))
        }
        Err(failure) => {
            failure.print();
            background.refused();
            Ok(1)
        }
    }
}

/// Turns until the end.
fn turn(mut daemon: Daemon, file: &str) -> u8 {
    loop {
        match daemon.run() {
            Outcome::Exit(status) => {
                daemon.close();
                return status;
            }
            Outcome::Restart => {
                let Loaded { config, problems } = config::load(file, &sys::host());
                daemon.restart(config, &problems);
            }
        }
    }
}

/// The log_level_of of a problem in the log.
pub(super) fn log_level_of(severity: Severity) -> crate::arbiter::Level {
    match severity {
        Severity::Note => crate::arbiter::Level::Info,
        Severity::Warning | Severity::Skipped => crate::arbiter::Level::Warning,
        Severity::Fatal => crate::arbiter::Level::Critical,
    }
}
