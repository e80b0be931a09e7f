//! One command for several hosts: each is asked on a thread of its own, so that none waits for another, and what comes
//! back is printed with the names of the hosts.

use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::dispatch::dispatch;
use super::session::{Part, Session, emit};
use super::{Exit, Globals, Outcome, Streams, look};
use circus_core::commands::{Action, CommandSpec, Invocation};
use circus_core::escape::escaped;
use serde_json::{Value, json};

/// What the thread of a host sends. The number is that of the host.
enum Message {
    Output(usize, Vec<u8>),
    Error(usize, Vec<u8>),
    Part(usize, Part),
}

/// Does what a command asks for at each of these hosts. The worst exit status counts.
///
/// The threads are left to themselves: where our output has been closed, the process ends with them.
pub(super) fn on_all(
    session: &mut Session<'_>,
    places: &[Globals],
    spec: &'static CommandSpec,
    invocation: &Invocation,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let is_stream = invocation.flag("follow") || matches!(spec.console.action, Action::Subscribe);
    let (sender, receiver) = channel();
    for (number, globals) in places.iter().enumerate() {
        let mut connector = session.connector.another();
        let environment = session.environment.clone();
        let (globals, invocation, sender) = (globals.clone(), invocation.clone(), sender.clone());
        thread::spawn(move || {
            let part = match &mut connector {
                Ok(connector) => {
                    let mut session = Session::new(environment, connector.as_mut());
                    if is_stream {
                        flow(&mut session, &globals, spec, &invocation, number, &sender)
                    } else {
                        part(&mut session, &globals, spec, &invocation)
                    }
                }
                Err(error) => Part::Said(Outcome::failed(Exit::Failure, format!("error: {error}\n"))),
            };
            // Without a receiver the answers are of no use any more.
            drop(sender.send(Message::Part(number, part)));
        });
    }
    drop(sender);
    let names: Vec<String> = places.iter().map(name).collect();
    let mut parts: Vec<Option<Part>> = places.iter().map(|_| None).collect();
    // A thread that has said everything may still have connections to close.
    while parts.iter().any(Option::is_none) {
        let Ok(message) = receiver.recv() else { break };
        let (number, line, to): (_, _, &mut dyn Write) = match message {
            Message::Output(number, line) => (number, line, &mut *streams.output),
            Message::Error(number, line) => (number, line, &mut *streams.errors),
            Message::Part(number, part) => {
                if let Some(place) = parts.get_mut(number) {
                    *place = Some(part);
                }
                continue;
            }
        };
        let name = names.get(number).map_or("", String::as_str);
        // The lines of `listen` are not JSON, only their second half.
        let whole = places.first().is_some_and(|globals| globals.json) && spec.console.follows;
        let line = if whole {
            [format!("{{{}: ", Value::from(name)).as_bytes(), &line, b"}\n"].concat()
        } else {
            [name.as_bytes(), b": ", &line, b"\n"].concat()
        };
        to.write_all(&line)?;
        to.flush()?;
    }
    let lost = || Part::Said(Outcome::failed(Exit::Failure, "error: the thread of this host has ended\n".into()));
    let parts = names.into_iter().zip(parts.into_iter().map(|part| part.unwrap_or_else(lost))).collect();
    let globals = places.first().cloned().unwrap_or_default();
    emit(&joined(parts, &globals, session.look()), session.look(), streams)
}

fn name(globals: &Globals) -> String {
    globals.place.as_ref().map(|host| escaped(&host.name).into_owned()).unwrap_or_default()
}

/// What one host says once.
fn part(session: &mut Session<'_>, globals: &Globals, spec: &CommandSpec, invocation: &Invocation) -> Part {
    if !spec.console.follows && matches!(spec.console.action, Action::Call { .. }) {
        return session.answers(globals, spec, invocation);
    }
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams { input: &mut io::empty(), output: &mut output, errors: &mut errors };
    // Writing to memory does not fail.
    let exit = dispatch(session, globals, spec, invocation, &mut streams).unwrap_or(Exit::Failure);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Part::Said(Outcome { stdout: text(output), stderr: text(errors), exit })
}

/// What one host says again and again, sent line by line.
fn flow(
    session: &mut Session<'_>,
    globals: &Globals,
    spec: &CommandSpec,
    invocation: &Invocation,
    number: usize,
    sender: &Sender<Message>,
) -> Part {
    let mut output = Lines { open: Vec::new(), send: |line| sender.send(Message::Output(number, line)).is_ok() };
    let mut errors = Lines { open: Vec::new(), send: |line| sender.send(Message::Error(number, line)).is_ok() };
    let mut streams = Streams { input: &mut io::empty(), output: &mut output, errors: &mut errors };
    let exit = dispatch(session, globals, spec, invocation, &mut streams).unwrap_or(Exit::Failure);
    output.finish();
    errors.finish();
    Part::Said(Outcome { stdout: String::new(), stderr: String::new(), exit })
}

/// Whole lines out of what is written.
struct Lines<S> {
    open: Vec<u8>,
    send: S,
}

/// A line that is longer is sent in parts.
const LONGEST: usize = 1 << 20;

impl<S: Fn(Vec<u8>) -> bool> Lines<S> {
    fn finish(&mut self) {
        if !self.open.is_empty() {
            (self.send)(std::mem::take(&mut self.open));
        }
    }
}

impl<S: Fn(Vec<u8>) -> bool> Write for Lines<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if piece.ends_with(b"\n") || self.open.len() > LONGEST {
                let line = std::mem::take(&mut self.open);
                if !(self.send)(line) {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One outcome of those of all hosts: one table, or lines that begin with the name of the host, or one object of JSON.
fn joined(parts: Vec<(String, Part)>, globals: &Globals, look: super::Look) -> Outcome {
    let (mut header, mut rows, mut said) = (None, Vec::new(), Vec::new());
    let mut exit = Exit::Success;
    let mut worse = |other: Exit| {
        if other.code() > exit.code() {
            exit = other;
        }
    };
    for (name, part) in parts {
        match part {
            Part::Rows(columns, more, status) => {
                header = Some(columns);
                rows.extend(more.into_iter().map(|row| [vec![name.clone()], row].concat()));
                worse(status);
            }
            Part::Said(outcome) => {
                worse(outcome.exit);
                said.push((name, outcome));
            }
        }
    }
    let mut stdout = String::new();
    if let Some(columns) = header {
        let columns: Vec<&str> = ["HOST"].iter().chain(columns).copied().collect();
        stdout.push_str(&look::table(&columns, &rows, look));
        stdout.push('\n');
    }
    if globals.json && !said.iter().all(|(_, outcome)| outcome.stdout.is_empty() && outcome.stderr.is_empty()) {
        stdout.push_str(&object(&said, globals.prettify));
    } else {
        stdout.extend(said.iter().map(|(name, outcome)| labelled(name, &outcome.stdout)));
    }
    let stderr = said.iter().map(|(name, outcome)| labelled(name, &outcome.stderr)).collect();
    Outcome { stdout, stderr, exit }
}

fn labelled(name: &str, text: &str) -> String {
    text.lines().map(|line| format!("{name}: {line}\n")).collect()
}

/// The answers by host. A host without one has an error of our own, which has no `errno`.
fn object(said: &[(String, Outcome)], prettify: bool) -> String {
    let value = |outcome: &Outcome| {
        let text = outcome.stdout.trim_end();
        if !text.is_empty() {
            return text.to_owned();
        }
        let reason = outcome.stderr.trim_end();
        json!({"status": "error", "reason": reason.strip_prefix("error: ").unwrap_or(reason)}).to_string()
    };
    let entries: Vec<String> =
        said.iter().map(|(name, outcome)| format!("{}: {}", Value::from(name.as_str()), value(outcome))).collect();
    let text = format!("{{{}}}", entries.join(", "));
    let pretty = |value: Value| serde_json::to_string_pretty(&value).ok();
    let pretty = prettify.then(|| serde_json::from_str(&text).ok().and_then(pretty)).flatten();
    format!("{}\n", pretty.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use circus_client::ClientError;

    use crate::testing::{FakeDaemon, Seen};

    const HOSTS: &str = "
        [hosts.web1]\nendpoint = 'tcp://10.0.0.1:5555'\n
        [hosts.web2]\nendpoint = 'tcp://10.0.0.2:5555'\npubsub_endpoint = 'tcp://10.0.0.2:7'\ntimeout = 9\n
        [groups]\nall = ['web1', 'web2']";

    fn seen(stdout: &str, stderr: &str, exit: u8) -> Seen {
        Seen { stdout: stdout.into(), stderr: stderr.into(), exit }
    }

    fn hosts(replies: &[(&'static str, &'static str)]) -> FakeDaemon {
        let mut daemon = FakeDaemon { hosts: HOSTS, ..FakeDaemon::default() };
        for (endpoint, reply) in replies {
            daemon.elsewhere.push(((*endpoint).to_owned(), Ok((*reply).to_owned())));
        }
        daemon
    }

    const ONE: &str = "tcp://10.0.0.1:5555";
    const TWO: &str = "tcp://10.0.0.2:5555";
    const OK: &str = r#"{"status": "ok", "time": 1.5}"#;
    const NOPE: &str = r#"{"status": "error", "reason": "program nope not found", "errno": 3}"#;

    #[test]
    fn one_host_is_like_its_endpoint() {
        let mut daemon = FakeDaemon { hosts: HOSTS, ..FakeDaemon::answering([OK]) };
        assert_eq!(daemon.run("--host web2 restart"), seen("ok\n", "", 0));
        let heard = daemon.heard.borrow();
        assert_eq!(heard[0].endpoint, TWO);
        assert_eq!(heard[0].wait, circus_client::Wait::IfThere(std::time::Duration::from_secs(9)));
        drop(heard);
        daemon.run("listen --host web2");
        assert_eq!(daemon.subscriptions[0].0, "tcp://10.0.0.2:7");
        let unknown = daemon.run("--host wbe2 list");
        let told = "error: --host: no host is called 'wbe2'; did you mean 'web2'? (hosts are named in /c/hosts.toml)\n";
        assert_eq!(unknown, seen("", told, 1));
    }

    #[test]
    fn the_variable_counts_where_nothing_else_names_an_endpoint() {
        for (line, endpoint, expected) in [
            ("restart", None, TWO),
            ("restart", Some("ipc://env"), "ipc://env"),
            ("restart --endpoint ipc://given", None, "ipc://given"),
            ("restart --host web1", Some("ipc://env"), ONE),
        ] {
            let mut daemon = FakeDaemon { hosts: HOSTS, ..FakeDaemon::answering([OK]) };
            daemon.environment.host = Some("web2".into());
            daemon.environment.endpoint = endpoint.map(Into::into);
            daemon.run(line);
            assert_eq!(daemon.heard.borrow()[0].endpoint, expected, "{line} {endpoint:?}");
        }
    }

    #[test]
    fn answers_begin_with_their_host_and_the_worst_status_counts() {
        let mut daemon = hosts(&[(ONE, OK), (TWO, NOPE)]);
        let stderr = "web2: error: program nope not found\n";
        assert_eq!(daemon.run("stop nope --host web2,web1"), seen("web1: ok\n", stderr, 3));
        let mut daemon = hosts(&[(ONE, r#"{"statuses": {"web1": "active", "db": "stopped"}}"#), (TWO, "{}")]);
        daemon.elsewhere[1].1 = Err(ClientError::Unreachable { endpoint: TWO.into(), trouble: None });
        let got = daemon.run("status --host 'web*'");
        assert_eq!((got.stdout.as_str(), got.exit), ("web1: db: stopped\nweb1: web1: active\n", 1));
        assert!(got.stderr.starts_with("web2: error: cannot connect to tcp://10.0.0.2:5555"), "{}", got.stderr);
    }

    #[test]
    fn json_has_a_key_for_each_host() {
        let mut daemon = hosts(&[(ONE, OK), (TWO, "")]);
        daemon.elsewhere[1].1 = Err(ClientError::NoKeys("no \u{1b}".into()));
        let got = daemon.run("stop web --json --host all");
        let object: serde_json::Value = serde_json::from_str(&got.stdout).unwrap();
        assert_eq!(object["web1"]["time"], 1.5);
        assert_eq!((object["web2"]["status"].as_str(), got.exit), (Some("error"), 1));
        let pretty = hosts(&[(ONE, OK), (TWO, NOPE)]).run("stop web --json --prettify --host all");
        assert!(pretty.stdout.starts_with("{\n  \"web1\": {\n    \"status\": \"ok\""), "{}", pretty.stdout);
    }

    #[test]
    fn one_table_for_all() {
        let status = r#"{"status": "ok", "statuses": {"a": "active"}, "details": {
            "a": {"state": "active", "health": "ready", "wanted": 1, "running": 1}}}"#;
        let mut daemon = hosts(&[(ONE, status), (TWO, status)]);
        daemon.environment.look.tables = true;
        let got = daemon.run("status --host all");
        let lines: Vec<Vec<&str>> = got.stdout.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
        assert_eq!(lines, [["HOST", "NAME", "STATE"], ["web1", "a", "ready"], ["web2", "a", "ready"]], "{got:?}");
    }

    #[test]
    fn streams_of_several_hosts_are_told_apart() {
        let mut daemon = hosts(&[(ONE, r#"{"options": {"pubsub_endpoint": "tcp://0.0.0.0:6"}}"#)]);
        daemon.events = vec![("watcher.a.spawn", "{}"), ("watcher.a.start", "{}")];
        let got = daemon.run("listen --host all");
        let mut lines: Vec<&str> = got.stdout.lines().collect();
        lines.sort_unstable();
        let both = [
            "web1: watcher.a.spawn: {}",
            "web1: watcher.a.start: {}",
            "web2: watcher.a.spawn: {}",
            "web2: watcher.a.start: {}",
        ];
        assert_eq!((lines.as_slice(), got.exit), (&both[..], 0), "{got:?}");
        let shell = hosts(&[]).run("--host all");
        assert_eq!(shell.exit, 2, "{shell:?}");
    }

    #[test]
    fn hosts_are_completed() {
        let mut daemon = FakeDaemon { hosts: HOSTS, ..FakeDaemon::default() };
        assert_eq!(daemon.run("completion words --host we").stdout, "web1\nweb2\n");
        assert_eq!(daemon.run("completion words stop --host web1,a").stdout, "web1,all\n");
        let mut daemon = FakeDaemon { hosts: HOSTS, ..FakeDaemon::answering([r#"{"statuses": {"x": "active"}}"#]) };
        assert_eq!(daemon.run("completion words --host web1 stop ''").stdout, "x\n");
        assert_eq!(daemon.heard.borrow()[0].endpoint, ONE);
        assert_eq!(daemon.run("completion words --host all stop ''").stdout, "");
    }
}
