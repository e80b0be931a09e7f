//! A plugin from its command line to its exit status.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use super::log::{Level, Log};
use super::real::Real;
use super::runner::Runner;
use super::{Args, Circus as _, Plugin, Surroundings};
use circus_client::Client;
use circus_sys as sys;

/// The whole `main` of a program that is one plugin: `make` makes it from what its section says.
pub fn main(make: impl FnOnce(&Surroundings) -> Result<Box<dyn Plugin>, String>) -> ExitCode {
    run(&Args::parse(), make)
}

/// The same for a program that has read its arguments.
pub fn run(args: &Args, make: impl FnOnce(&Surroundings) -> Result<Box<dyn Plugin>, String>) -> ExitCode {
    match begin(args, make) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // There is nobody else to tell.
            drop(writeln!(std::io::stderr(), "<3>{text}"));
            ExitCode::FAILURE
        }
    }
}

fn begin(args: &Args, make: impl FnOnce(&Surroundings) -> Result<Box<dyn Plugin>, String>) -> Result<(), String> {
    let surroundings = Surroundings::new(args, &sys::host().env)?;
    let under_circusd = surroundings.name.is_some();
    let log = Log::open(&args.log_level, &args.log_output, under_circusd)
        .map_err(|error| format!("--log-output {}: {error}", args.log_output))?;
    let mut plugin = make(&surroundings)?;
    let client = Client::new().map_err(|error| error.to_string())?;
    let subscriber = client.subscribe(&surroundings.pubsub_endpoint, &["watcher."]);
    let subscriber = subscriber.map_err(|error| error.to_string())?;
    let control = client.control(&surroundings.endpoint).map_err(|error| error.to_string())?;
    let mut circus = Real::new(control, log);
    let mut runner = Runner::new(subscriber, under_circusd).map_err(|error| error.to_string())?;
    let ended = runner.run(plugin.as_mut(), &mut circus);
    circus.log(Level::Debug, "the plugin ends");
    // The last casts are still delivered.
    circus.control.close(LAST_WORDS);
    ended
}

/// How long that may take.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(500);
