//! circusd-stats from its command line to its exit status.

use std::io::Write as _;
use std::process::ExitCode;

use super::args::Args;
use super::log::Log;
use super::service::Service;
use super::socket_activity;
use circus_sys as sys;

/// circusd-stats. It returns when a signal ends it, or when circusd has gone.
pub fn main(args: &Args) -> ExitCode {
    if args.version {
        // A closed pipe means that the reader has seen enough.
        drop(std::io::stdout().write_all(concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes()));
        return ExitCode::SUCCESS;
    }
    let log = Log::new(&args.log_level, &args.log_output);
    match run(args, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            log.error(&problem);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, log: &Log) -> Result<(), String> {
    if args.ssh.is_some() {
        let text = "--ssh: processes of another machine cannot be sampled from here; run circusd-stats there, and \
                    circus-top or circusctl here with --ssh";
        return Err(text.into());
    }
    // First of all, before these numbers could be anything else.
    let inherited = socket_activity::inherited();
    let told = |error: std::io::Error| error.to_string();
    sys::sanitize_stdio().map_err(told)?;
    sys::raise_nofile().map_err(told)?;
    let signals = sys::Signals::install().map_err(told)?;
    let Some(mut service) = Service::open(args, inherited, signals)? else { return Ok(()) };
    log.info("Starting the stats streamer");
    service.run(log);
    drop(service);
    log.info("Stats streamer stopped");
    Ok(())
}
