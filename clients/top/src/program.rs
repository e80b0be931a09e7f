//! circus-top from its command line to its exit status.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use mio::Poll;

use super::args::Args;
use super::connection::Connection;
use super::input::Endpoints;
use super::once;
use super::run::Session;
use super::screen::Screen;
use super::state::{Given, State};
use circus_client::endpoint::{self, reachable};
use circus_client::{HOST_VARIABLE, Host, KeyNames, Ssh};
use circus_core::escape::{escaped, escaped_lines};
use circus_sys as sys;

/// How long a whole picture is waited for: two intervals of an ordinary circusd-stats, and some.
const TIMEOUT: Duration = Duration::from_secs(5);

/// circus-top.
pub fn main(args: &Args) -> ExitCode {
    if args.version {
        return print(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
    match run(args) {
        Ok(exit) => exit,
        Err(reason) => {
            // A failure of standard error cannot be reported.
            drop(writeln!(std::io::stderr(), "circus-top: error: {}", escaped(&reason)));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    // A closed pipe means that the reader has seen enough.
    drop(std::io::stdout().write_all(escaped_lines(text).as_bytes()));
    ExitCode::SUCCESS
}

fn run(args: &Args) -> Result<ExitCode, String> {
    let once = args.once || args.json;
    if !once && !Screen::exists() {
        return Err("standard input and output are not a terminal; use --once or --json".into());
    }
    let told = |error: std::io::Error| error.to_string();
    sys::sanitize_stdio().map_err(told)?;
    let mut session = open(args, once)?;
    if !once {
        let mut screen = Screen::open().map_err(told)?;
        let shown = session.show(&mut screen);
        drop(screen);
        return shown.map(|()| ExitCode::SUCCESS).map_err(told);
    }
    let state = session.until(TIMEOUT, once::is_complete);
    if !once::knows_anything(&state) {
        let endpoints = &state.endpoints;
        let limit = TIMEOUT.as_secs();
        return Err(format!(
            "no answer from {} and no figures from {} within {limit} s: is circusd running, and are these its endpoints?",
            endpoints.control, endpoints.stats
        ));
    }
    if let Some(notice) = state.notice() {
        drop(writeln!(std::io::stderr(), "circus-top: {}", escaped(&notice.text)));
    }
    Ok(print(&if args.json { format!("{}\n", once::json(&state)) } else { once::table(&state) }))
}

/// Waits for nothing where neither circusd nor circusd-stats can be reached.
fn refuse_if_unreachable(endpoints: &Endpoints) -> Result<(), String> {
    let Endpoints { control, stats, events: _ } = endpoints;
    let reason = |endpoint: &str| endpoint::trouble(endpoint, TIMEOUT);
    match reason(control).and_then(|trouble| Some((trouble, reason(stats)?))) {
        Some((trouble, no_stats)) => Err(format!(
            "cannot connect to {control}: {trouble}; nor to circusd-stats at {stats}: {no_stats}; is circusd running? \
             --control, --endpoint and CIRCUSCTL_ENDPOINT name other endpoints"
        )),
        None => Ok(()),
    }
}

fn open(args: &Args, once: bool) -> Result<Session, String> {
    let told = |error: std::io::Error| error.to_string();
    let env = sys::host().env;
    let variable = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let named = args.control.is_some() || args.endpoint.is_some() || args.pubsub.is_some() || args.ssh.is_some();
    let host = args
        .host
        .clone()
        .or_else(|| variable(HOST_VARIABLE).filter(|_| !named && variable("CIRCUSCTL_ENDPOINT").is_none()));
    let host = host.map(|name| Host::named(&name, &env)).transpose().map_err(|error| error.to_string())?;
    let place = |of: fn(&Host) -> Option<String>| host.as_ref().and_then(of);
    let control = args.control.clone().or_else(|| place(|host| Some(host.endpoint.clone())));
    let control = control.or_else(|| variable("CIRCUSCTL_ENDPOINT"));
    let stats = args.endpoint.clone().or_else(|| place(|host| host.stats_endpoint.clone()));
    let events = args.pubsub.clone().or_else(|| place(|host| host.pubsub_endpoint.clone()));
    let given = Given { control: control.is_some(), stats: stats.is_some(), events: events.is_some() };
    let named = |given: Option<&String>, default: &str| reachable(given.map_or(default, String::as_str));
    let endpoints = Endpoints {
        control: named(control.as_ref(), endpoint::CONTROL),
        stats: named(stats.as_ref(), endpoint::STATS),
        events: named(events.as_ref(), endpoint::EVENTS),
    };
    let ssh = args.ssh.clone().map(|server| Ssh { server, keyfile: args.ssh_keyfile.clone() });
    let ssh = ssh.or_else(|| host.as_ref().and_then(|host| host.ssh.clone()));
    if once && ssh.is_none() {
        refuse_if_unreachable(&endpoints)?;
    }
    // Before ssh is started: a signal that ends ssh too shall not keep us from cleaning up behind it.
    let signals = sys::Signals::install().map_err(told)?;
    let poll = Poll::new().map_err(told)?;
    let keys = KeyNames { own: args.curve_key.clone(), server: args.curve_server_key.clone(), descriptor: None };
    let variables = KeyNames::of_environment(|name| env.get(name).cloned());
    let keys = match &host {
        Some(host) => host.keys(keys, &variables),
        None => keys.or(&variables),
    };
    let keys = keys.read().map_err(|error| error.to_string())?;
    let connection = Connection::open(endpoints.clone(), ssh, keys, poll.registry().try_clone().map_err(told)?)?;
    let state = State::new(endpoints, given, args.process_timeout, sys::time_zone(), sys::since_boot());
    Session::new(poll, connection, state, signals).map_err(told)
}
