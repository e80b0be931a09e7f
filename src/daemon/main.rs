//! circusd from its command line to its exit status.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::args::Args;
use super::boot::{self, StartupError};
use super::event_loop::{Daemon, Outcome};
use super::init::init;
use super::parent::Parent;
use super::shutdown::{close, restart};
use super::upgrade;
use crate::config::{Config, Host, Loaded, Origin, Problem};
use crate::sys;

/// circusd. It returns when the fleet is stopped.
pub fn main(args: &Args) -> ExitCode {
    if args.version {
        return print(&version());
    }
    if args.check_state {
        return upgrade::check_state();
    }
    if let Some(directory) = &args.init {
        return match init(directory, &sys::host()) {
            Ok(next) => print(&next),
            Err(reason) => refuse(&StartupError::Error(format!("--init: {reason}")), &mut Parent::default()),
        };
    }
    if args.config.is_none() && args.config_fd.is_none() {
        return print(&format!("{}\n", Args::command().render_usage()));
    }
    let mut parent = match Parent::new(args, sys::notify_socket()) {
        Ok(parent) => parent,
        Err(text) => return refuse(&StartupError::Error(text), &mut Parent::default()),
    };
    match run(args, &mut parent) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => refuse(&failure, &mut parent),
    }
}

fn refuse(failure: &StartupError, parent: &mut Parent) -> ExitCode {
    failure.print();
    parent.refused(&failure.to_string());
    ExitCode::from(1)
}

/// Where the configuration comes from. A descriptor is read here, to its end: it can be read only once.
fn origin(args: &Args) -> Result<Origin, StartupError> {
    let read = |name: &str, file: &mut dyn std::io::Read| {
        let mut text = String::new();
        match file.read_to_string(&mut text) {
            Ok(_) => Ok(Origin::Text { name: name.to_owned(), text }),
            Err(error) => Err(StartupError::Error(format!("{name}: the configuration cannot be read: {error}"))),
        }
    };
    match (args.config_fd, args.config.as_deref()) {
        (Some(number), _) => {
            let name = format!("descriptor {number}");
            let file = sys::take_inherited(number);
            read(&name, &mut file.map_err(|error| StartupError::Error(format!("--config-fd: {name}: {error}")))?)
        }
        (None, Some("-")) => read("standard input", &mut std::io::stdin()),
        (None, file) => Ok(Origin::File(file.unwrap_or_default().to_owned())),
    }
}

/// The first line is the version alone, as Circus prints it.
fn version() -> String {
    format!(
        "{}\ncircusd, a process and socket manager: a drop-in for Circus 0.19\nlibzmq {} with CURVE, {} {}\n",
        env!("CARGO_PKG_VERSION"),
        crate::net::zeromq_version(),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

fn print(text: &str) -> ExitCode {
    // A reader that has closed the pipe has seen enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn run(args: &Args, parent: &mut Parent) -> Result<u8, StartupError> {
    if args.logger_config.is_some() {
        let text = "--logger-config: circusd reads no Python logging files; use --log-level and --log-output";
        return Err(StartupError::Error(text.into()));
    }
    sys::sanitize_stdio()
        .map_err(|error| StartupError::Error(format!("unable to open descriptors 0 to 2: {error}")))?;
    let host = sys::host();
    let origin = origin(args)?;
    if args.check {
        return Ok(check(args, &origin, &host));
    }
    let Loaded { config, mut problems, of_user } = origin.load(&host, &sys::Machine);
    let Some(config) = config else { return Err(StartupError::Problems(problems)) };
    problems.extend(of_user);
    if args.daemon {
        return run_in_the_background(args, origin, config, host, problems, parent);
    }
    Ok(turn(boot::boot(args, origin, config, host, problems, parent)?))
}

/// Reports everything about a configuration. The result is the exit status.
fn check(args: &Args, origin: &Origin, host: &Host) -> u8 {
    let report = origin.check(host, &sys::Machine);
    print(&if args.json { format!("{:#}\n", report.json()) } else { report.text() });
    report.status()
}

/// The configuration was read before, as it may have come through a pipe; all else is the daemon's.
fn run_in_the_background(
    args: &Args,
    origin: Origin,
    config: Config,
    host: Host,
    problems: Vec<Problem>,
    parent: &mut Parent,
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
    match boot::boot(args, origin, config, host, problems, parent) {
        Ok(daemon) => {
            // Warnings are the caller's as long as standard error is, and the log has a thread of its own.
            let _written = daemon.core.log.flush();
            background.ready().map_err(cannot)?;
            Ok(turn(daemon))
        }
        Err(failure) => {
            failure.print();
            background.refused();
            Ok(1)
        }
    }
}

/// Turns until the end.
pub(super) fn turn(mut daemon: Daemon) -> u8 {
    loop {
        match daemon.run() {
            Outcome::Upgrade => daemon = upgrade::hand_over(daemon),
            Outcome::Exit(status) => {
                close(daemon);
                return status;
            }
            Outcome::Restart => {
                let Loaded { config, problems, .. } = daemon.resources.origin.load(&sys::host(), &sys::Machine);
                restart(&mut daemon, config, &problems);
            }
        }
    }
}
