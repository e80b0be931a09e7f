//! `listen`: events, printed as they come.

use std::io::{self, Write};

use super::session::{Session, emit};
use super::{Event, Exit, Globals, Outcome, Streams, text};
use circus_client::endpoint;
use circus_core::commands::Invocation;
use circus_core::escape::escaped_bytes;

/// Prints events until there are no more.
pub(super) fn listen(
    session: &mut Session<'_>,
    globals: &Globals,
    invocation: &Invocation,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let look = session.look();
    let everything = [String::new()];
    let topics = if invocation.words().is_empty() { &everything } else { invocation.words() };
    let subscribed = match &globals.endpoint {
        Some(endpoint) => Ok(endpoint.clone()),
        None if session.has_endpoint(globals) => session.events_endpoint(globals),
        None => Ok(endpoint::EVENTS.to_owned()),
    };
    let subscribed = subscribed.and_then(|named| {
        session.find_trouble(globals, &named)?;
        Ok((session.subscribe(globals, &named, topics)?, named))
    });
    let (mut events, named) = match subscribed {
        Ok(subscribed) => subscribed,
        Err(outcome) => return emit(&outcome, look, streams),
    };
    loop {
        match events.next_event(None) {
            Ok(Some(event)) => print(streams.output, &event)?,
            Ok(None) => return Ok(Exit::Success),
            Err(error) => {
                return emit(&Outcome::failed(Exit::Failure, text::unusable(&named, &error)), look, streams);
            }
        }
    }
}

fn print(output: &mut dyn Write, event: &Event) -> io::Result<()> {
    let line = [&event.topic[..], b": ", &event.body].concat();
    output.write_all(&escaped_bytes(&line))?;
    output.write_all(b"\n")?;
    // A program that reads the events through a pipe gets each of them at once.
    output.flush()
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeDaemon, Seen, unreachable};

    #[test]
    fn events_are_printed_as_topic_and_json() {
        let mut daemon = FakeDaemon {
            events: vec![("watcher.a1.spawn", r#"{"process_pid": 1}"#), ("watcher.a1.start", r#"{"time": 1.5}"#)],
            ..FakeDaemon::default()
        };
        let printed = "watcher.a1.spawn: {\"process_pid\": 1}\nwatcher.a1.start: {\"time\": 1.5}\n";
        let seen = || Seen { stdout: printed.into(), stderr: String::new(), exit: 0 };
        assert_eq!(daemon.run("listen"), seen());
        assert_eq!(daemon.run("listen watcher.a1 x --endpoint ipc://pub"), seen());
        let topics = |topics: &[&str]| topics.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            daemon.subscriptions,
            [("tcp://127.0.0.1:5556".into(), topics(&[""])), ("ipc://pub".into(), topics(&["watcher.a1", "x"]))]
        );
    }

    #[test]
    fn control_characters_of_events_are_written_out() {
        let mut daemon = FakeDaemon { events: vec![("watcher.a\u{1b}[2J.spawn", "x\ny")], ..FakeDaemon::default() };
        assert_eq!(daemon.run("listen").stdout, "watcher.a\\u001b[2J.spawn: x\\ny\n");
    }

    #[test]
    fn pubsub_endpoint_is_asked_for_at_endpoint_of_env() {
        let options = r#"{"status": "ok", "options": {"pubsub_endpoint": "tcp://0.0.0.0:7"}}"#;
        let mut daemon = FakeDaemon::answering([options]);
        daemon.environment.endpoint = Some("tcp://there:5555".into());
        assert_eq!(daemon.run("listen").exit, 0);
        assert_eq!(daemon.subscriptions, [("tcp://there:7".to_owned(), vec![String::new()])]);
    }

    #[test]
    fn wrong_endpoint_is_an_error_at_once() {
        let mut daemon = FakeDaemon { trouble: Some(unreachable()), ..FakeDaemon::default() };
        let seen = daemon.run("listen --endpoint tcp://127.0.0.1:25999");
        assert!(seen.stderr.starts_with("error: cannot connect to tcp://127.0.0.1:25999"), "{}", seen.stderr);
        assert_eq!((seen.exit, daemon.subscriptions.len()), (1, 0));
    }
}
