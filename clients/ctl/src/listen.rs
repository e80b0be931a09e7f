//! `listen`: events, printed as they come.

use std::io::{self, Write};

use super::run::{emit, target};
use super::{Connector, Event, Exit, Globals, Outcome, Streams, text};
use circus_client::{ClientError, endpoint};
use circus_core::commands::Invocation;

/// Prints events until there are no more. The endpoint is the pubsub one, which the environment does not name.
pub(super) fn listen(
    connector: &mut dyn Connector,
    globals: &Globals,
    invocation: &Invocation,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let named = globals.endpoint.as_deref().unwrap_or(endpoint::EVENTS);
    let everything = [String::new()];
    let topics = if invocation.words().is_empty() { &everything } else { invocation.words() };
    let failed = |error: ClientError| Outcome::failed(Exit::Failure, text::unusable(named, &error));
    let mut events = match connector.subscribe(&target(globals, named.to_owned()), topics) {
        Ok(events) => events,
        Err(error) => return emit(&failed(error), streams),
    };
    loop {
        match events.next_event(None) {
            Ok(Some(event)) => print(streams.output, &event)?,
            Ok(None) => return Ok(Exit::Success),
            Err(error) => return emit(&failed(error), streams),
        }
    }
}

fn print(output: &mut dyn Write, event: &Event) -> io::Result<()> {
    writeln!(output, "{}: {}", String::from_utf8_lossy(&event.topic), String::from_utf8_lossy(&event.body))?;
    // Who pipes events into a program waits for each of them.
    output.flush()
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeDaemon, Seen};

    #[test]
    fn events_are_printed_as_topic_and_json() {
        let mut daemon = FakeDaemon {
            events: vec![("watcher.a1.spawn", r#"{"process_pid": 1}"#), ("watcher.a1.start", r#"{"time": 1.5}"#)],
            ..FakeDaemon::default()
        };
        daemon.environment.endpoint = Some("tcp://control".into());
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
}
