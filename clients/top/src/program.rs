//! circus-top from its command line to its exit status.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use mio::Poll;

use super::args::Args;
use super::connection::Connection;
use super::input::Endpoints;
use super::once;
use super::run::{Place, Session};
use super::screen::Screen;
use super::state::{Daemon, Given, State};
use circus_client::endpoint::{self, reachable};
use circus_client::{ClientKeys, HOST_VARIABLE, Host, Hosts, KeyNames, Ssh, hosts_path};
use circus_core::escape::{escaped, escaped_lines};
use circus_core::proto::Object;
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
    let is_known = |state: &State| once::is_complete(state) || state.daemon == Daemon::Silent;
    Ok(report(&session.until(TIMEOUT, is_known), args.json))
}

/// Prints what is known of each place once. Fails where nothing is known of one.
fn report(places: &[Place], json: bool) -> ExitCode {
    let is_one = places.len() == 1;
    let (mut text, mut all, mut exit) = (String::new(), Object::new(), ExitCode::SUCCESS);
    for Place { name, state, .. } in places {
        let at = if is_one { String::new() } else { format!("{name}: ") };
        let tell = |what: &str| drop(writeln!(std::io::stderr(), "circus-top: {at}{}", escaped(what)));
        if !once::knows_anything(state) {
            let reason = silence(state);
            tell(&format!("error: {reason}"));
            all.insert(name.clone(), serde_json::json!({"status": "error", "reason": reason}));
            exit = ExitCode::FAILURE;
            continue;
        }
        if let Some(notice) = state.notice() {
            tell(&notice.text);
        }
        if json {
            all.insert(name.clone(), once::json(state));
        } else {
            let heading =
                if is_one { String::new() } else { format!("{}{name}\n", if text.is_empty() { "" } else { "\n" }) };
            text += &(heading + &once::table(state));
        }
    }
    let one = places.first().filter(|_| is_one).and_then(|place| all.remove(&place.name));
    match (json, one) {
        // Nothing is known of it, and that was told.
        (true, Some(one)) if one["status"] == "error" => return exit,
        (true, Some(one)) => print(&format!("{one}\n")),
        (true, None) => print(&format!("{}\n", serde_json::Value::Object(all))),
        (false, _) => print(&text),
    };
    exit
}

/// Why nothing is known of a place.
fn silence(state: &State) -> String {
    let Endpoints { control, stats, events: _ } = &state.endpoints;
    let limit = TIMEOUT.as_secs();
    let no_answer = || {
        format!(
            "no answer from {control} and no figures from {stats} within {limit} s: is circusd running, and are these its \
             endpoints?"
        )
    };
    refuse_if_unreachable(&state.endpoints).err().unwrap_or_else(no_answer)
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
    let ways = ways(args, &env)?;
    if let [Way { endpoints, ssh: None, .. }] = &ways[..]
        && once
    {
        refuse_if_unreachable(endpoints)?;
    }
    // Before ssh is started: a signal that ends ssh too shall not keep us from cleaning up behind it.
    let signals = sys::Signals::install().map_err(told)?;
    let poll = Poll::new().map_err(told)?;
    let mut places = Vec::new();
    for (number, Way { name, endpoints, given, ssh, keys }) in ways.into_iter().enumerate() {
        let registry = poll.registry().try_clone().map_err(told)?;
        let connection = Connection::open(endpoints.clone(), ssh, keys, registry, number)?;
        let state = State::new(endpoints, given, args.process_timeout, sys::time_zone(), sys::since_boot());
        places.push(Place::new(name, connection, state));
    }
    Session::new(poll, places, signals).map_err(told)
}

/// The way to a circusd.
struct Way {
    /// The host's name; empty where the command line names endpoints.
    name: String,
    endpoints: Endpoints,
    given: Given,
    ssh: Option<Ssh>,
    keys: Option<ClientKeys>,
}

/// The ways to what the command line and the environment name.
fn ways(args: &Args, env: &BTreeMap<String, String>) -> Result<Vec<Way>, String> {
    let variable = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let named = args.control.is_some() || args.endpoint.is_some() || args.pubsub.is_some() || args.ssh.is_some();
    let list = args
        .host
        .clone()
        .or_else(|| variable(HOST_VARIABLE).filter(|_| !named && variable("CIRCUSCTL_ENDPOINT").is_none()));
    let Some(list) = list else { return Ok(vec![way(args, env, None)?]) };
    let hosts = Hosts::read(hosts_path(variable)).and_then(|hosts| hosts.named(&list));
    hosts.map_err(|error| error.to_string())?.iter().map(|host| way(args, env, Some(host))).collect()
}

fn way(args: &Args, env: &BTreeMap<String, String>, host: Option<&Host>) -> Result<Way, String> {
    let place = |of: fn(&Host) -> Option<String>| host.and_then(of);
    let control = args.control.clone().or_else(|| place(|host| Some(host.endpoint.clone())));
    let control = control.or_else(|| env.get("CIRCUSCTL_ENDPOINT").filter(|value| !value.is_empty()).cloned());
    let stats = args.endpoint.clone().or_else(|| place(|host| host.stats_endpoint.clone()));
    let events = args.pubsub.clone().or_else(|| place(|host| host.pubsub_endpoint.clone()));
    let given = Given { control: control.is_some(), stats: stats.is_some(), events: events.is_some() };
    let reached = |given: Option<&String>, default: &str| reachable(given.map_or(default, String::as_str));
    let endpoints = Endpoints {
        control: reached(control.as_ref(), endpoint::CONTROL),
        stats: reached(stats.as_ref(), endpoint::STATS),
        events: reached(events.as_ref(), endpoint::EVENTS),
    };
    let ssh = args.ssh.clone().map(|server| Ssh { server, keyfile: args.ssh_keyfile.clone() });
    let ssh = ssh.or_else(|| host.and_then(|host| host.ssh.clone()));
    let keys = KeyNames { own: args.curve_key.clone(), server: args.curve_server_key.clone(), descriptor: None };
    let variables = KeyNames::of_environment(|name| env.get(name).cloned());
    let keys = match host {
        Some(host) => host.keys(keys, &variables),
        None => keys.or(&variables),
    };
    let keys = keys.read().map_err(|error| error.to_string())?;
    Ok(Way { name: host.map(|host| host.name.clone()).unwrap_or_default(), endpoints, given, ssh, keys })
}
