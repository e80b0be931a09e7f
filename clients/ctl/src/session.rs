//! A run of circusctl: what its commands share, and how they speak with the daemon.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use super::targets::Single;
use super::{AutoComplete, Connector, Globals, Look, Outcome, Subscription, Target, answer, look, targets, text};
use circus_client::{ClientError, KeyNames, Request, Ssh, Wait, endpoint};
use circus_core::commands::{self, CommandSpec, Invocation, Table};
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

/// A run of the program: what its commands share.
pub(super) struct Session<'a> {
    pub(super) environment: Environment,
    pub(super) connector: &'a mut dyn Connector,
    requests: u64,
}

/// What a command came to at one host.
pub(super) enum Part {
    /// The header of a table, its rows, and the exit status.
    Rows(&'static [&'static str], Vec<Vec<String>>, Exit),
    /// Text.
    Said(Outcome),
}

impl<'a> Session<'a> {
    pub(super) fn new(environment: Environment, connector: &'a mut dyn Connector) -> Self {
        Self { environment, connector, requests: 0 }
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

/// The same without --timeout.
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
