//! The program: one command, or the shell.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use super::{
    AutoComplete, Connector, Globals, Outcome, Parsed, Subscription, SyntaxError, Target, answer, args, completion,
    listen, shell, tail, text,
};
use circus_client::{ClientError, Request, Ssh, Wait, endpoint};
use circus_core::commands::{self, Action, CommandSpec, Invocation};
use circus_core::proto::Object;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The exit statuses of circusctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success,
    /// Wrong words, no answer, or an answer that is none.
    Failure,
    /// The command line is not of the grammar.
    Usage,
    /// The daemon refused.
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
    /// The beginning of request ids, which no other client of the daemon has.
    pub id_prefix: String,
    /// Whether somebody sits at a terminal.
    pub interactive: bool,
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
/// Only those of the streams: a pipe that nobody reads any more is for the caller to call a success.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    streams: &mut Streams<'_>,
    connector: &mut dyn Connector,
) -> io::Result<Exit> {
    let auto_complete = environment.auto_complete.clone();
    let mut session = Session { environment, connector, requests: 0 };
    if let Some(asked) = auto_complete {
        return emit(&completion::auto_complete(&mut session, &asked), streams);
    }
    match args::parse(arguments.into_iter().collect::<Vec<_>>()) {
        Ok(Parsed::Shell(globals)) => shell::run(&mut session, &globals, streams),
        parsed => session.perform(parsed, &Globals::default(), streams),
    }
}

/// A run of the program: what its commands share.
pub(super) struct Session<'a> {
    environment: Environment,
    connector: &'a mut dyn Connector,
    requests: u64,
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
            Err(SyntaxError(reason)) => Outcome::failed(Exit::Usage, text::syntax(&reason)),
            Ok(Parsed::Version) => Outcome::done(text::VERSION),
            Ok(Parsed::Help(Some(spec))) => Outcome::done(commands::command_help(spec).trim_end()),
            Ok(Parsed::Completion(asked)) => completion::complete(self, &asked),
            Ok(Parsed::Help(None) | Parsed::Shell(_)) => Outcome::done(text::help().trim_end()),
            Ok(Parsed::Command(globals, spec, invocation)) => {
                let globals = globals.or(defaults);
                if spec.console.follows {
                    return tail::tail(self, &globals, spec, &invocation, streams);
                }
                match spec.console.action {
                    Action::Subscribe => return listen::listen(self.connector, &globals, &invocation, streams),
                    Action::Call { .. } => self.call(&globals, spec, &invocation),
                }
            }
        };
        emit(&outcome, streams)
    }

    /// One request and its reply.
    pub(super) fn call(&mut self, globals: &Globals, spec: &CommandSpec, invocation: &Invocation) -> Outcome {
        let properties = match commands::message(spec, invocation) {
            Ok(properties) => properties,
            Err(error) => return Outcome::failed(Exit::Failure, format!("{error}\n")),
        };
        match self.send(globals, spec.name, properties) {
            Ok(reply) => answer(spec, invocation, globals, &reply),
            Err(error) => self.no_reply(globals, &error),
        }
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
        let subscribed = self.connector.subscribe(&target(globals, endpoint.to_owned()), topics);
        subscribed.map_err(|error| Outcome::failed(Exit::Failure, text::unusable(endpoint, &error)))
    }

    /// What the daemon answers, as an object; nothing where it does not.
    pub(super) fn ask(&mut self, globals: &Globals, command: &str, properties: Object) -> Option<Object> {
        let reply = self.send(globals, command, properties).ok()?;
        serde_json::from_slice(&reply).ok()
    }

    fn send(&mut self, globals: &Globals, command: &str, properties: Object) -> Result<Vec<u8>, ClientError> {
        let waits = properties.get("waiting").is_some_and(|waiting| *waiting == true);
        let request = Request::new(&self.next_id(), command, properties);
        let target = target(globals, self.endpoint(globals));
        let mut answers = self.connector.call(&target, &[request], wait(globals, waits));
        answers.pop().unwrap_or_else(|| Err(ClientError::Unusable("the request was not sent".into())))
    }

    /// Whether somebody sits at a terminal.
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

    /// The control endpoint.
    pub(super) fn endpoint(&self, globals: &Globals) -> String {
        let given = globals.endpoint.clone().or_else(|| self.environment.endpoint.clone());
        given.unwrap_or_else(|| endpoint::CONTROL.into())
    }
}

/// An endpoint, and the server to go through.
pub(super) fn target(globals: &Globals, endpoint: String) -> Target {
    let ssh = globals.ssh.clone().map(|server| Ssh { server, keyfile: globals.ssh_keyfile.clone() });
    Target { endpoint, ssh }
}

/// How long an answer is waited for, where no option says it or for a look whether the daemon is there.
pub(super) fn timeout(globals: &Globals) -> Duration {
    globals.timeout.unwrap_or(DEFAULT_TIMEOUT)
}

/// How to wait for answers: a time limit that was given counts for everything.
fn wait(globals: &Globals, for_work: bool) -> Wait {
    match globals.timeout {
        Some(limit) => Wait::AtMost(limit),
        None if for_work => Wait::WhileAlive(DEFAULT_TIMEOUT),
        None => Wait::IfThere(DEFAULT_TIMEOUT),
    }
}

/// Prints an outcome.
pub(super) fn emit(outcome: &Outcome, streams: &mut Streams<'_>) -> io::Result<Exit> {
    streams.output.write_all(outcome.stdout.as_bytes())?;
    streams.output.flush()?;
    streams.errors.write_all(outcome.stderr.as_bytes())?;
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
        let usage = "usage: circusctl [options] command [args]\ncircusctl: error: ";
        for (line, stderr, exit) in [
            ("list a b", "Invalid number of arguments\n".to_owned(), 1),
            ("options", "number of arguments invalid\n".into(), 1),
            ("get a1", "Invalid number of arguments\n".into(), 1),
            ("decr", "Invalid number of arguments\n".into(), 1),
            ("set one nope 1", "unknown key 'nope'\n".into(), 1),
            ("set one numprocesses", "Invalid number of arguments\n".into(), 1),
            ("signal a1", "Invalid number of arguments\n".into(), 1),
            ("add x", "Invalid number of arguments\n".into(), 1),
            ("foo", format!("{usage}unrecognized arguments: foo\n"), 2),
            ("list --zork", format!("{usage}unrecognized arguments: --zork\n"), 2),
            ("--timeout x list", format!("{usage}argument --timeout: invalid int value: 'x'\n"), 2),
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
        assert!(list.stdout.starts_with("Get list of watchers or processes in a watcher\n====="), "{list:?}");
        assert_eq!(FakeDaemon::default().run("help list"), list);
        assert_eq!(FakeDaemon::default().run("--help list"), list);
    }

    #[test]
    fn the_endpoint_is_the_option_s_the_environment_s_or_the_default() {
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
}
