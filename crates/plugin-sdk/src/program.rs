//! A plugin from its command line to its exit status.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use super::log::{Level, Log};
use super::runner::Runner;
use super::zmq_client::ZmqClient;
use super::{Args, Client as _, Plugin, PluginContext};
use circus_client::{Client, Host, KeyNames};
use circus_core::escape::escaped;
use circus_sys as sys;

/// The whole `main` of a program that is one plugin: `make` makes it from what its section says.
pub fn main(make: impl FnOnce(&PluginContext) -> Result<Box<dyn Plugin>, String>) -> ExitCode {
    run(&Args::parse(), make)
}

/// The same for a program that has read its arguments.
pub fn run(args: &Args, make: impl FnOnce(&PluginContext) -> Result<Box<dyn Plugin>, String>) -> ExitCode {
    match begin(args, make) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // A failure of standard error cannot be reported.
            drop(writeln!(std::io::stderr(), "<3>{}", escaped(&text)));
            ExitCode::FAILURE
        }
    }
}

fn begin(args: &Args, make: impl FnOnce(&PluginContext) -> Result<Box<dyn Plugin>, String>) -> Result<(), String> {
    let env = sys::host().env;
    let host = args.host.as_ref().map(|name| Host::named(name, &env)).transpose().map_err(|error| error.to_string())?;
    let context = PluginContext::new(args, &env, host.as_ref())?;
    let under_circusd = context.name.is_some();
    let log = Log::open(&args.log_level, &args.log_output, under_circusd)
        .map_err(|error| format!("--log-output {}: {error}", args.log_output))?;
    let mut plugin = make(&context)?;
    let keys = KeyNames { own: args.curve_key.clone(), server: args.curve_server_key.clone(), descriptor: None };
    let variables = KeyNames::of_environment(|name| env.get(name).cloned());
    let keys = match &host {
        Some(host) => host.keys(keys, &variables),
        None => keys.or(&variables),
    };
    let keys = keys.read().map_err(|error| error.to_string())?;
    let client = Client::new().map_err(|error| error.to_string())?.with_keys(keys);
    let subscriber = client.subscribe(&context.pubsub_endpoint, &["watcher."]);
    let subscriber = subscriber.map_err(|error| error.to_string())?;
    let control = client.control(&context.endpoint).map_err(|error| error.to_string())?;
    let mut client = ZmqClient::new(control, log);
    let mut runner = Runner::new(subscriber, under_circusd).map_err(|error| error.to_string())?;
    let ended = runner.run(plugin.as_mut(), &mut client);
    client.log(Level::Debug, "the plugin ends");
    // The last casts are still delivered.
    client.control.close(LAST_WORDS);
    ended
}

/// How long that may take.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(500);
