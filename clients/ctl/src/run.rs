//! The program: one command, or the shell.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use super::targets::Single;
use super::{
    AutoComplete, Connector, Globals, Look, Outcome, Parsed, Subscription, SyntaxError, Target, answer, args,
    completion, hosts, listen, look, shell, tail, targets, text, wait,
};
use circus_client::{ClientError, KeyNames, Request, Ssh, Wait, endpoint};
use circus_core::commands::{self, Action, CommandSpec, Invocation, Table};
use circus_core::escape::{escaped_lines, escaped_value};
use circus_core::proto::Object;
use serde_json::Value;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The exit statuses of circusctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success,
    /// Wrong arguments, no connection, or no answer.
    Failure,
    /// An unknown command or option.
    Usage,
    /// circusd refused, or what was asked for did not come about.
    Refused,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Refused => 3,
        }
    }
}

/// What circusctl takes from its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `CIRCUSCTL_ENDPOINT`.
    pub endpoint: Option<String>,
    /// `CIRCUS_HOST`.
    pub host: Option<String>,
    /// `CIRCUS_CURVE_KEY` and what goes with it.
    pub keys: KeyNames,
    /// The beginning of request ids, which no other client of the daemon has.
    pub id_prefix: String,
    /// Whether standard input and output are a terminal.
    pub interactive: bool,
    /// How output looks.
    pub look: Look,
    /// `AUTO_COMPLETE`, and what goes with it.
    pub auto_complete: Option<AutoComplete>,
}

/// The three streams.
pub struct Streams<'a> {
    /// Where the shell reads.
    pub input: &'a mut dyn BufRead,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Standard error.
    pub errors: &'a mut dyn Write,
}

/// circusctl: reads the command line, speaks with the daemon, prints, and says how to exit.
///
/// # Errors
/// Only those of the streams: the caller treats a closed pipe as success.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: &mut Streams<'_>,
    connector: &mut dyn Connector,
) -> io::Result<Exit> {
    let auto_complete = environment.auto_complete.clone();
    let mut session = Session { environment, connector, requests: 0 };
    if let Some(asked) = auto_complete {
        return emit(&completion::auto_complete(&mut session, &asked), Look::default(), streams);
    }
    match args::parse(arguments.into_iter().collect::<Vec<_>>()) {
        Ok(Parsed::Shell(globals)) => match session.places(&globals).as_deref() {
            Ok([globals]) => shell::run(&mut session, globals, streams),
            Ok(several) => {
                let reason = format!("the shell speaks with one host, and these are {}", several.len());
                let outcome = Outcome::failed(Exit::Usage, text::syntax(&reason, None));
                emit(&outcome, session.environment.look, streams)
            }
            Err(refusal) => emit(refusal, session.environment.look, streams),
        },
        parsed => session.perform(parsed, &Globals::default(), streams),
    }
}

/// A run of the program: what its commands share.
pub(super) struct Session<'a> {
    pub(super) environment: Environment,
    pub(super) connector: &'a mut dyn Connector,
    pub(super) requests: u64,
}

/// What a command came to at one host.
pub(super) enum Part {
    /// The header of a table, its rows, and the exit status.
    Rows(&'static [&'static str], Vec<Vec<String>>, Exit),
    /// Text.
    Said(Outcome),
}

impl Session<'_> {
    /// Does what a command line asks for. `defaults` hold where it says nothing.
    pub(super) fn perform(
        &mut self,
        parsed: Result<Parsed, SyntaxError>,
        defaults: &Globals,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let outcome = match parsed {
            Err(SyntaxError(reason, spec)) => Outcome::failed(Exit::Usage, text::syntax(&reason, spec)),
            Ok(Parsed::Version) => Outcome::done(text::VERSION),
            Ok(Parsed::Help(Some(spec))) => Outcome::done(commands::command_help(spec).trim_end()),
            Ok(Parsed::Completion(asked)) => completion::complete(self, &asked),
            Ok(Parsed::Keygen(keygen)) => keygen.run(),
            Ok(Parsed::Help(None) | Parsed::Shell(_)) => Outcome::done(text::help().trim_end()),
            Ok(Parsed::Command(globals, spec, invocation)) => {
                return match self.places(&globals.or(defaults)).as_deref() {
                    Ok([globals]) => self.obey(globals, spec, &invocation, streams),
                    Ok(several) => hosts::on_all(self, several, spec, &invocation, streams),
                    Err(refusal) => emit(refusal, self.environment.look, streams),
                };
            }
        };
        emit(&outcome, self.environment.look, streams)
    }

    /// Does what a command asks for, at one host.
    pub(super) fn obey(
        &mut self,
        globals: &Globals,
        spec: &CommandSpec,
        invocation: &Invocation,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        if spec.console.follows {
            return tail::tail(self, globals, spec, invocation, streams);
        }
        match spec.console.action {
            Action::Await => wait::wait(self, globals, spec, invocation, streams),
            Action::Subscribe => listen::listen(self, globals, invocation, streams),
            Action::Call { .. } => {
                let outcome = self.call(globals, spec, invocation);
                emit(&outcome, self.environment.look, streams)
            }
        }
    }

    /// The options once for each host that they name, with what leads there; as they are where they name none.
    pub(super) fn places(&mut self, globals: &Globals) -> Result<Vec<Globals>, Outcome> {
        let open = globals.place.is_none() && globals.endpoint.is_none() && globals.ssh.is_none();
        let variable = self.environment.host.as_ref().filter(|_| open && self.environment.endpoint.is_none());
        let Some(list) = globals.host.as_ref().or(variable) else { return Ok(vec![globals.clone()]) };
        let hosts = self.connector.hosts().and_then(|hosts| hosts.named(list));
        let hosts = hosts.map_err(|error| Outcome::failed(Exit::Failure, text::unusable("", &error)))?;
        let place = |host| Globals { host: None, place: Some(Box::new(host)), ..globals.clone() };
        Ok(hosts.into_iter().map(place).collect())
    }

    /// The names of hosts and groups, where they can be read.
    pub(super) fn host_names(&mut self) -> Vec<String> {
        let hosts = self.connector.hosts().unwrap_or_default();
        hosts.names().map(str::to_owned).collect()
    }

    /// What a command asks for, of each watcher that it names.
    pub(super) fn call(&mut self, globals: &Globals, spec: &CommandSpec, invocation: &Invocation) -> Outcome {
        let look = self.environment.look;
        match self.answers(globals, spec, invocation) {
            Part::Rows(header, rows, exit) => Outcome { exit, ..Outcome::done(&look::table(header, &rows, look)) },
            Part::Said(outcome) => outcome,
        }
    }

    /// The same, before rows have become a table.
    pub(super) fn answers(&mut self, globals: &Globals, spec: &CommandSpec, invocation: &Invocation) -> Part {
        let singles = match self.split(globals, spec, invocation) {
            Ok(singles) => singles,
            Err(refusal) => return Part::Said(refusal),
        };
        let look = self.environment.look;
        let table = spec.console.table.filter(|_| look.tables && !globals.json);
        // One watcher that is named is answered in a word.
        let flag = table.and_then(|table| table.flag).filter(|_| invocation.words().is_empty() || singles.len() > 1);
        let mut requests = Vec::new();
        for single in &singles {
            let mut properties = match commands::message(spec, &single.invocation) {
                Ok(properties) => properties,
                Err(error) => return Part::Said(text::usage_error(spec, &error)),
            };
            properties.extend(flag.map(|flag| (flag.to_owned(), true.into())));
            if let Err(refusal) = self.check(globals, spec, &properties) {
                return Part::Said(refusal);
            }
            requests.push((spec.name, properties));
        }
        let answers: Vec<_> = singles.into_iter().zip(self.send_all(globals, requests)).collect();
        if let Some(table) = table.filter(|table| table.flag.is_none() || flag.is_some())
            && let Some(rows) = rows(&table, &answers)
        {
            return Part::Rows(table.header, rows, finished(spec, &answers, Exit::Success));
        }
        let outcomes = answers.iter().map(|(single, reply)| match reply {
            Ok(reply) => (single.label.as_deref(), answer(spec, &single.invocation, globals, reply)),
            Err(error) => (single.label.as_deref(), self.no_reply(globals, error)),
        });
        let outcome = Outcome::joined(outcomes.collect(), globals.json);
        Part::Said(Outcome { exit: finished(spec, &answers, outcome.exit), ..outcome })
    }

    /// A line as the commands that it stands for, or why it stands for none.
    pub(super) fn split(
        &mut self,
        globals: &Globals,
        spec: &CommandSpec,
        invocation: &Invocation,
    ) -> Result<Vec<Single>, Outcome> {
        let watchers = if targets::needs_names(spec, invocation) { self.watchers(globals)? } else { Vec::new() };
        targets::split(spec, invocation, &watchers)
            .map_err(|pattern| Outcome::failed(Exit::Refused, format!("error: no watcher matches '{pattern}'\n")))
    }

    /// The names of all watchers.
    pub(super) fn watchers(&mut self, globals: &Globals) -> Result<Vec<String>, Outcome> {
        let reply = self.send(globals, "list", Object::new()).map_err(|error| self.no_reply(globals, &error))?;
        let reply: Object = serde_json::from_slice(&reply).unwrap_or_default();
        let names = reply.get("watchers").and_then(Value::as_array).into_iter().flatten();
        Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// What the wire grants in silence, as ever: a process that the watcher does not have, more processes less than it has.
    fn check(&mut self, globals: &Globals, spec: &CommandSpec, properties: &Object) -> Result<(), Outcome> {
        let Some(name) = properties.get("name").and_then(Value::as_str) else { return Ok(()) };
        let named = Object::from_iter([("name".to_owned(), name.into())]);
        let refused = |text: String| Err(Outcome::failed(Exit::Refused, format!("error: {text}\n")));
        if let Some(pid) = properties.get("pid") {
            let pids = self.ask(globals, "list", named).and_then(|reply| reply.get("pids")?.as_array().cloned());
            if pids.is_some_and(|pids| !pids.contains(pid)) {
                return refused(format!("{name} has no process {pid}"));
            }
        } else if let Some(less) = properties.get("nb").and_then(Value::as_u64).filter(|_| spec.name == "decr") {
            let keys = ("keys".to_owned(), Value::from(vec!["numprocesses"]));
            let reply = self.ask(globals, "get", named.into_iter().chain([keys]).collect());
            let has = reply.and_then(|reply| reply.get("options")?.get("numprocesses")?.as_u64());
            if let Some(has) = has.filter(|has| *has < less) {
                return refused(format!("{name} has only {has} processes"));
            }
        }
        Ok(())
    }

    /// A request and its reply, which must be no refusal.
    pub(super) fn fetch(
        &mut self,
        globals: &Globals,
        spec: &CommandSpec,
        properties: Object,
    ) -> Result<Vec<u8>, Outcome> {
        let reply = self.send(globals, spec.name, properties).map_err(|error| self.no_reply(globals, &error))?;
        let told = answer(spec, &Invocation::default(), globals, &reply);
        if told.exit == Exit::Success { Ok(reply) } else { Err(told) }
    }

    fn no_reply(&self, globals: &Globals, error: &ClientError) -> Outcome {
        Outcome::failed(Exit::Failure, text::no_reply(error, &self.endpoint(globals), globals.timeout))
    }

    /// A subscription at an endpoint as the daemon names it.
    pub(super) fn subscribe(
        &mut self,
        globals: &Globals,
        endpoint: &str,
        topics: &[String],
    ) -> Result<Box<dyn Subscription>, Outcome> {
        let subscribed = self.connector.subscribe(&self.target(globals, endpoint.to_owned()), topics);
        subscribed.map_err(|error| Outcome::failed(Exit::Failure, text::unusable(endpoint, &error)))
    }

    /// The endpoint of the daemon's events, as it is seen from where the control endpoint is.
    pub(super) fn events_endpoint(&mut self, globals: &Globals) -> Result<String, Outcome> {
        if let Some(named) = globals.place.as_ref().and_then(|host| host.pubsub_endpoint.clone()) {
            return Ok(named);
        }
        let option = Object::from_iter([("option".to_owned(), "pubsub_endpoint".into())]);
        let reply = self.send(globals, "globaloptions", option).map_err(|error| self.no_reply(globals, &error))?;
        let reply: Object = serde_json::from_slice(&reply).unwrap_or_default();
        let named = reply.get("options").and_then(|options| options.get("pubsub_endpoint")?.as_str());
        let unknown = || Outcome::failed(Exit::Failure, "error: circusd did not report its pubsub endpoint\n".into());
        Ok(endpoint::seen_from(&self.endpoint(globals), named.ok_or_else(unknown)?))
    }

    /// An error if no connection to this endpoint comes about.
    pub(super) fn find_trouble(&mut self, globals: &Globals, endpoint: &str) -> Result<(), Outcome> {
        match self.connector.trouble(&self.target(globals, endpoint.to_owned()), timeout(globals)) {
            Some(error) => Err(Outcome::failed(Exit::Failure, text::unusable(endpoint, &error))),
            None => Ok(()),
        }
    }

    /// Whether the environment or `hosts.toml` names an endpoint.
    pub(super) fn has_endpoint(&self, globals: &Globals) -> bool {
        self.environment.endpoint.is_some() || globals.place.is_some()
    }

    /// What the daemon answers, as an object; nothing where it does not.
    pub(super) fn ask(&mut self, globals: &Globals, command: &str, properties: Object) -> Option<Object> {
        let reply = self.send(globals, command, properties).ok()?;
        serde_json::from_slice(&reply).ok()
    }

    fn send(&mut self, globals: &Globals, command: &str, properties: Object) -> Result<Vec<u8>, ClientError> {
        let mut answers = self.send_all(globals, vec![(command, properties)]);
        answers.pop().unwrap_or_else(|| Err(ClientError::Unusable("the request was not sent".into())))
    }

    fn send_all(&mut self, globals: &Globals, requests: Vec<(&str, Object)>) -> Vec<Result<Vec<u8>, ClientError>> {
        let for_work = requests.iter().any(|(_, properties)| properties.get("waiting") == Some(&true.into()));
        let request = |(command, properties)| Request::new(&self.next_id(), command, properties);
        let requests: Vec<Request> = requests.into_iter().map(request).collect();
        let target = self.target(globals, self.endpoint(globals));
        self.connector.call(&target, &requests, wait(globals, for_work))
    }

    /// The look of what is printed.
    pub(super) fn look(&self) -> Look {
        self.environment.look
    }

    /// Whether standard input and output are a terminal.
    pub(super) fn is_interactive(&self) -> bool {
        self.environment.interactive
    }

    /// What no other client has.
    pub(super) fn id(&self) -> &str {
        &self.environment.id_prefix
    }

    fn next_id(&mut self) -> String {
        self.requests += 1;
        format!("{}-{}", self.environment.id_prefix, self.requests)
    }

    /// An endpoint, the server to go through, and the keys.
    fn target(&self, globals: &Globals, endpoint: String) -> Target {
        let ssh = globals.ssh.clone().map(|server| Ssh { server, keyfile: globals.ssh_keyfile.clone() });
        let (own, server) = (globals.curve_key.clone(), globals.curve_server_key.clone());
        let given = KeyNames { own, server, descriptor: None };
        let (ssh, keys) = match &globals.place {
            Some(host) => (ssh.or_else(|| host.ssh.clone()), host.keys(given, &self.environment.keys)),
            None => (ssh, given.or(&self.environment.keys)),
        };
        Target { endpoint, ssh, keys }
    }

    /// The control endpoint.
    pub(super) fn endpoint(&self, globals: &Globals) -> String {
        let place = || globals.place.as_ref().map(|host| host.endpoint.clone());
        let given = globals.endpoint.clone().or_else(place).or_else(|| self.environment.endpoint.clone());
        given.unwrap_or_else(|| endpoint::CONTROL.into())
    }
}

/// How long an answer is waited for, where no option says it or for a look whether the daemon is there.
pub(super) fn timeout(globals: &Globals) -> Duration {
    globals.timeout.unwrap_or_else(|| patience(globals))
}

/// The same, before an option has its say.
fn patience(globals: &Globals) -> Duration {
    globals.place.as_ref().and_then(|host| host.timeout).unwrap_or(DEFAULT_TIMEOUT)
}

/// How to wait for answers: a time limit that was given counts for everything.
fn wait(globals: &Globals, for_work: bool) -> Wait {
    match globals.timeout {
        Some(limit) => Wait::AtMost(limit),
        None if for_work => Wait::WhileAlive(patience(globals)),
        None => Wait::IfThere(patience(globals)),
    }
}

/// The rows of answers in one table, unless one of them is not for a table.
fn rows(table: &Table, answers: &[(Single, Result<Vec<u8>, ClientError>)]) -> Option<Vec<Vec<String>>> {
    let rows = |(single, reply): &(Single, Result<Vec<u8>, ClientError>)| {
        let reply = escaped_value(serde_json::from_slice(reply.as_ref().ok()?).ok()?);
        let refused = reply.get("status").is_some_and(|status| status == "error");
        if refused { None } else { (table.rows)(&reply, &single.invocation) }
    };
    let rows: Vec<Vec<Vec<String>>> = answers.iter().map(rows).collect::<Option<_>>()?;
    Some(rows.concat())
}

/// `status --exit-code` turns an answer that it is not content with into a failure.
fn finished(spec: &CommandSpec, answers: &[(Single, Result<Vec<u8>, ClientError>)], exit: Exit) -> Exit {
    let content = |(single, reply): &(Single, Result<Vec<u8>, ClientError>)| {
        let reply = reply.as_ref().ok().and_then(|reply| serde_json::from_slice(reply).ok());
        reply.is_none_or(|reply| commands::is_content(&reply, &single.invocation))
    };
    if spec.name == "status"
        && exit == Exit::Success
        && answers.iter().any(|(single, _)| single.invocation.flag("exit-code"))
        && !answers.iter().all(content)
    {
        return Exit::Refused;
    }
    exit
}

/// Prints an outcome.
pub(super) fn emit(outcome: &Outcome, look: Look, streams: &mut Streams<'_>) -> io::Result<Exit> {
    streams.output.write_all(outcome.stdout.as_bytes())?;
    streams.output.flush()?;
    // Reasons come from circusd, from files and from ssh.
    streams.errors.write_all(look::error(&escaped_lines(&outcome.stderr), look).as_bytes())?;
    Ok(outcome.exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeDaemon, Seen, unreachable};
    use serde_json::json;

    const OK: &str = r#"{"status": "ok", "time": 1.5, "id": "id-1"}"#;
    const NOPE: &str =
        r#"{"status": "error", "reason": "program nope not found", "tb": null, "time": 1.5, "errno": 3}"#;

    fn seen(stdout: &str, stderr: &str, exit: u8) -> Seen {
        Seen { stdout: stdout.into(), stderr: stderr.into(), exit }
    }

    #[test]
    fn command_lines_requests_and_what_is_printed() {
        for (line, request, reply, expected) in [
            (
                "list",
                json!({"command": "list", "properties": {}, "id": "id-1"}),
                r#"{"status": "ok", "watchers": ["a1", "my app", "solo"]}"#,
                seen("a1,my app,solo\n", "", 0),
            ),
            (
                "list nope",
                json!({"command": "list", "properties": {"name": "nope"}, "id": "id-1"}),
                NOPE,
                seen("", "error: program nope not found\n", 3),
            ),
            (
                "status nope",
                json!({"command": "status", "properties": {"name": "nope"}, "id": "id-1"}),
                NOPE,
                seen("", "error: program nope not found\n", 3),
            ),
            (
                "list nope --json",
                json!({"command": "list", "properties": {"name": "nope"}, "id": "id-1"}),
                NOPE,
                seen(&format!("{NOPE}\n"), "", 3),
            ),
            (
                "incr a1 --waiting",
                json!({"command": "incr", "properties": {"name": "a1", "waiting": true}, "id": "id-1"}),
                r#"{"status": "ok", "numprocesses": 6}"#,
                seen("6\n", "", 0),
            ),
            (
                "set a1 stop_signal INT graceful_timeout 2 --waiting",
                json!({"command": "set", "id": "id-1", "properties": {"name": "a1", "waiting": true,
                       "options": {"stop_signal": 2, "graceful_timeout": 2.0}}}),
                OK,
                seen("ok\n", "", 0),
            ),
            (
                "signal a1 --recursive CONT",
                json!({"command": "signal", "id": "id-1",
                       "properties": {"name": "a1", "signum": "CONT", "recursive": true}}),
                OK,
                seen("ok\n", "", 0),
            ),
            (
                "kill solo --graceful_timeout 1 --waiting",
                json!({"command": "kill", "id": "id-1",
                       "properties": {"name": "solo", "graceful_timeout": 1.0, "waiting": true}}),
                OK,
                seen("ok\n", "", 0),
            ),
            (
                "rm new2 --nostop",
                json!({"command": "rm", "properties": {"name": "new2", "nostop": true}, "id": "id-1"}),
                OK,
                seen("ok\n", "", 0),
            ),
            (
                "globaloptions zork",
                json!({"command": "globaloptions", "properties": {"option": "zork"}, "id": "id-1"}),
                r#"{"status": "error", "reason": "'zork' not an existing option", "errno": 3}"#,
                seen("", "'zork' not an existing option\n", 3),
            ),
        ] {
            let mut daemon = FakeDaemon::answering([reply]);
            assert_eq!(daemon.run(line), expected, "{line}");
            let heard = daemon.heard.borrow();
            assert_eq!(heard.iter().map(|heard| &heard.request).collect::<Vec<_>>(), [&request], "{line}");
        }
    }

    #[test]
    fn mistakes_are_told_without_asking_the_daemon() {
        let wrong = "Invalid number of arguments\nusage: circusctl ";
        let set = "set NAME KEY VALUE [KEY VALUE...] [--waiting]\n";
        let signal = "signal NAME... [PID] SIGNUM [--children] [--recursive]\n";
        let syntax = "circusctl: error: ";
        for (line, stderr, exit) in [
            ("numwatchers a", format!("{wrong}numwatchers\n"), 1),
            ("options", "number of arguments invalid\nusage: circusctl options NAME... [--all]\n".into(), 1),
            ("get a1", format!("{wrong}get NAME KEY...\n"), 1),
            ("decr", format!("{wrong}decr NAME... [N] [--waiting]\n"), 1),
            (
                "incr a1 -1",
                "number of processes: -1 is less than 1\nusage: circusctl incr NAME... [N] [--waiting]\n".into(),
                1,
            ),
            ("set one nope 1", format!("unknown key 'nope'\nusage: circusctl {set}"), 1),
            ("set one numprocesses", format!("{wrong}{set}"), 1),
            ("signal a1", format!("{wrong}{signal}"), 1),
            ("signal a1 99", format!("'99' isn't a signal: the numbers are 1 to 64\nusage: circusctl {signal}"), 1),
            ("foo", format!("{}\n{syntax}unrecognized arguments: foo\n", text::USAGE), 2),
            ("list --zork", format!("usage: circusctl list [NAME...]\n{syntax}unrecognized arguments: --zork\n"), 2),
            ("--timeout x list", format!("{}\n{syntax}argument --timeout: invalid int value: 'x'\n", text::USAGE), 2),
        ] {
            let mut daemon = FakeDaemon::default();
            assert_eq!(daemon.run(line), seen("", &stderr, exit), "{line}");
            assert!(daemon.heard.borrow().is_empty(), "{line}");
        }
    }

    #[test]
    fn help_and_version_need_no_daemon() {
        let version = concat!("circusctl ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(FakeDaemon::default().run("--version"), seen(version, "", 0));
        let help = FakeDaemon::default().run("--help");
        assert!(help.stdout.starts_with(text::USAGE) && help.exit == 0, "{help:?}");
        let list = FakeDaemon::default().run("list --help");
        assert!(list.stdout.starts_with("List the watchers, or the processes of a watcher\n====="), "{list:?}");
        assert_eq!(FakeDaemon::default().run("help list"), list);
        assert_eq!(FakeDaemon::default().run("--help list"), list);
    }

    #[test]
    fn endpoint_from_option_then_env_then_default() {
        let (five, sixty) = (Duration::from_secs(5), Duration::from_secs(60));
        for (line, variable, endpoint, wait) in [
            ("list", None, "tcp://127.0.0.1:5555", Wait::IfThere(five)),
            ("list --timeout 60", Some("ipc://env"), "ipc://env", Wait::AtMost(sixty)),
            ("list --endpoint ipc://given", Some("ipc://env"), "ipc://given", Wait::IfThere(five)),
            ("stop --waiting", None, "tcp://127.0.0.1:5555", Wait::WhileAlive(five)),
            ("stop --waiting --timeout 60", None, "tcp://127.0.0.1:5555", Wait::AtMost(sixty)),
        ] {
            let mut daemon = FakeDaemon::answering([OK]);
            daemon.environment.endpoint = variable.map(Into::into);
            daemon.run(line);
            let heard = daemon.heard.borrow();
            assert_eq!((heard[0].endpoint.as_str(), heard[0].wait), (endpoint, wait), "{line}");
        }
    }

    #[test]
    fn ssh_leads_to_the_endpoint_as_it_is_seen_from_there() {
        let mut daemon = FakeDaemon::answering([OK, OK]);
        daemon.environment.endpoint = Some("ipc:///there".into());
        daemon.run("list --ssh me@far");
        daemon.run("list --ssh me@far:7 --ssh_keyfile key --endpoint tcp://db:1");
        let heard = daemon.heard.borrow();
        assert_eq!(heard[0].endpoint, "through me@far with None to ipc:///there");
        assert_eq!(heard[1].endpoint, "through me@far:7 with Some(\"key\") to tcp://db:1");
        let mut daemon = FakeDaemon::default();
        assert_eq!(daemon.run("list --ssh nowhere"), seen("", "error: --ssh: there is no way\n", 1));
        assert_eq!(daemon.run("listen --ssh nowhere"), seen("", "error: --ssh: there is no way\n", 1));
        daemon.run("listen --ssh far");
        assert_eq!(daemon.subscriptions[0].0, "through far with None to tcp://127.0.0.1:5556");
    }

    #[test]
    fn no_answer_is_explained() {
        let late = FakeDaemon::failing(unreachable()).run("--timeout 1 --endpoint tcp://127.0.0.1:25999 list");
        assert_eq!((late.stdout.as_str(), late.exit), ("", 1));
        assert!(late.stderr.starts_with("Timed out.\n"), "{}", late.stderr);
        assert!(late.stderr.contains("cannot connect to tcp://127.0.0.1:25999"), "{}", late.stderr);
        let bogus = FakeDaemon::failing(ClientError::Unusable("invalid argument".into())).run("--endpoint bogus list");
        let text = "error: cannot use the endpoint bogus: invalid argument. \
                    --endpoint or CIRCUSCTL_ENDPOINT names another one.\n";
        assert_eq!(bogus, seen("", text, 1));
    }

    #[test]
    fn a_reader_that_went_away_is_an_error_of_the_stream() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut input, mut errors) = (io::empty(), Vec::new());
        let mut streams = Streams { input: &mut input, output: &mut Closed, errors: &mut errors };
        let result = run(["list".into()], Environment::default(), &mut streams, &mut FakeDaemon::answering([OK]));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(errors.is_empty());
    }

    #[test]
    fn several_watchers_are_answered_one_by_one() {
        let mut daemon = FakeDaemon::answering([OK, NOPE]);
        assert_eq!(daemon.run("stop web nope"), seen("web: ok\n", "error: program nope not found\n", 3));
        let commands: Vec<_> = daemon.heard.borrow().iter().map(|heard| heard.request["properties"].clone()).collect();
        assert_eq!(commands, [json!({"name": "web"}), json!({"name": "nope"})]);
        let list = r#"{"status": "ok", "watchers": ["web1", "web2", "db"]}"#;
        let mut daemon = FakeDaemon::answering([list, OK, OK]);
        assert_eq!(daemon.run("reload 'web*' --waiting"), seen("web1: ok\nweb2: ok\n", "", 0));
        let mut daemon = FakeDaemon::answering([list]);
        assert_eq!(daemon.run("reload 'zz*'"), seen("", "error: no watcher matches 'zz*'\n", 3));
        let json = FakeDaemon::answering([OK, NOPE]).run("stop web nope --json");
        assert_eq!(json, seen(&format!("{{\"web\": {OK}, \"nope\": {NOPE}}}\n"), "", 3));
    }

    #[test]
    fn impossible_requests_are_refused() {
        let pids = r#"{"status": "ok", "pids": [7, 8]}"#;
        for line in ["kill web 99999", "signal web 99999 HUP"] {
            let refused = seen("", "error: web has no process 99999\n", 3);
            assert_eq!(FakeDaemon::answering([pids]).run(line), refused, "{line}");
        }
        assert_eq!(FakeDaemon::answering([pids, OK]).run("kill web 8"), seen("ok\n", "", 0));
        let options = r#"{"status": "ok", "options": {"numprocesses": 3}}"#;
        assert_eq!(
            FakeDaemon::answering([options]).run("decr web 10"),
            seen("", "error: web has only 3 processes\n", 3)
        );
        assert_eq!(FakeDaemon::answering([options, OK]).run("decr web 3"), seen("ok\n", "", 0));
    }

    #[test]
    fn table_at_a_terminal_and_text_elsewhere() {
        let reply = r#"{"status": "ok", "statuses": {"web": "active"}, "details": {
            "web": {"state": "active", "health": "degraded", "wanted": 2, "running": 1}}}"#;
        let mut daemon = FakeDaemon::answering([reply, reply, reply]);
        assert_eq!(daemon.run("status").stdout, "web: active\n");
        assert_eq!(daemon.run("status --exit-code"), seen("web: active\n", "", 3));
        daemon.environment.look.tables = true;
        let table = "NAME  STATE     WORKERS  PIDS  UPTIME  RESTARTS\nweb   degraded  1/2                    0\n";
        let shown = daemon.run("status").stdout.replace("  REASON", "");
        assert_eq!(shown, table);
        let asked: Vec<_> = daemon.heard.borrow().iter().map(|heard| heard.request["properties"].clone()).collect();
        assert_eq!(asked, [json!({}), json!({"verbose": true}), json!({"verbose": true})]);
    }
}
