//! The program: one command, or the shell.

use std::ffi::OsString;
use std::io;

use super::perform::perform;
use super::session::{Session, emit};
use super::{Connector, Environment, Exit, Globals, Look, Outcome, Parsed, Streams, args, completion, shell, text};

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
    let mut session = Session::new(environment, connector);
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
        parsed => perform(&mut session, parsed, &Globals::default(), streams),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeDaemon, Seen, unreachable};
    use circus_client::{ClientError, Wait};
    use serde_json::json;
    use std::io::Write;
    use std::time::Duration;

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
