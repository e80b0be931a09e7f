//! `wait`: until watchers are ready, stopped or exited.
//!
//! The subscription comes first: when its greeting has come, the one to the watchers' events, which was made before it,
//! is in force. Only then is `status` asked, and again after each event: nothing that happens in between is missed.

use std::io;
use std::time::{Duration, Instant};

use super::session::{Session, emit, timeout};
use super::{Event, Exit, Globals, Outcome, Streams, Subscription, text};
use circus_core::commands::{self, CommandSpec, Invocation, Outlook, UsageError, WaitGoal};
use circus_core::escape::escaped;
use circus_core::proto::{OUTPUT_TOPICS, Object, resource_name};
use serde_json::Value;

/// Some changes have no event of their own: a worker that is trusted again as it has lived for long enough.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// So many events that have come together are answered by one look.
const MOST_TOGETHER: usize = 1000;

/// Waits, and says how it ended.
pub(super) fn wait(
    session: &mut Session<'_>,
    globals: &Globals,
    spec: &CommandSpec,
    invocation: &Invocation,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let outcome = until(session, globals, spec, invocation).unwrap_or_else(|outcome| outcome);
    emit(&outcome, session.look(), streams)
}

#[expect(clippy::disallowed_methods, reason = "the edge of the program: its own waiting ends by the clock")]
fn until(
    session: &mut Session<'_>,
    globals: &Globals,
    spec: &CommandSpec,
    invocation: &Invocation,
) -> Result<Outcome, Outcome> {
    let usage = |error: UsageError| text::usage_error(spec, &error);
    let named = invocation.value("for").unwrap_or(WaitGoal::Ready.name());
    let unknown = || usage(UsageError(format!("--for: '{named}' isn't ready, stopped or exited")));
    let goal = WaitGoal::named(named).ok_or_else(unknown)?;
    if invocation.words().is_empty() {
        return Err(usage(UsageError::arguments()));
    }
    // --timeout limits the whole command here; each request has the usual time.
    let end = globals.timeout.map(|limit| Instant::now() + limit);
    let asking = Globals { timeout: None, ..globals.clone() };
    let singles = session.split(&asking, spec, invocation)?;
    let mut waiting: Vec<String> =
        singles.into_iter().filter_map(|single| single.invocation.words().first().cloned()).collect();
    let mut events = subscribe(session, &asking, &waiting)?;
    let mut runs = String::new();
    loop {
        let mut last = None;
        let mut open = Vec::new();
        for name in waiting {
            let details = details(session, &asking, &name)?;
            match goal.outlook(&details) {
                Outlook::Reached => {
                    let run =
                        commands::last_run(&details).map(|run| format!("{}: {}\n", escaped(&name), escaped(&run)));
                    runs.extend(run);
                }
                Outlook::Hopeless(reason) => return Err(refused(&name, goal, &reason)),
                Outlook::NotYet(reason) => {
                    last.get_or_insert_with(|| refused(&name, goal, &reason));
                    open.push(name);
                }
            }
        }
        waiting = open;
        let Some(not_yet) = last else {
            return Ok(Outcome { stdout: runs, stderr: String::new(), exit: Exit::Success });
        };
        let left = end.map_or(LOOK_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(not_yet);
        }
        next(events.as_mut(), left.min(LOOK_INTERVAL))?;
    }
}

fn refused(name: &str, goal: WaitGoal, reason: &str) -> Outcome {
    Outcome::failed(Exit::Refused, format!("error: {} is not {}: {}\n", escaped(name), goal.name(), escaped(reason)))
}

/// Subscribes to what happens to these watchers. When it returns, nothing more is missed.
fn subscribe(session: &mut Session<'_>, globals: &Globals, names: &[String]) -> Result<Box<dyn Subscription>, Outcome> {
    let endpoint = session.events_endpoint(globals)?;
    let greeting = format!("{OUTPUT_TOPICS}wait?{}", session.id());
    let mut topics: Vec<String> = names.iter().map(|name| format!("watcher.{}.", resource_name(name))).collect();
    topics.push(greeting.clone());
    let mut events = session.subscribe(globals, &endpoint, &topics)?;
    let silent = || {
        Outcome::failed(
            Exit::Failure,
            "error: the pubsub endpoint did not confirm the subscription: is it the endpoint of a circusd?\n".into(),
        )
    };
    loop {
        let event = events.next_event(Some(timeout(globals)));
        let event = event.map_err(|error| Outcome::failed(Exit::Failure, text::unusable(&endpoint, &error)))?;
        let Event { topic, .. } = event.ok_or_else(silent)?;
        if topic == greeting.as_bytes() {
            return Ok(events);
        }
    }
}

/// Waits for the next event, and takes those that have come with it.
fn next(events: &mut dyn Subscription, limit: Duration) -> Result<(), Outcome> {
    let mut limit = limit;
    for _ in 0..MOST_TOGETHER {
        let event = events.next_event(Some(limit));
        match event.map_err(|error| Outcome::failed(Exit::Failure, format!("error: {error}\n")))? {
            Some(_) => limit = Duration::ZERO,
            None => break,
        }
    }
    Ok(())
}

fn details(session: &mut Session<'_>, globals: &Globals, name: &str) -> Result<Object, Outcome> {
    let properties = Object::from_iter([("name".to_owned(), name.into()), ("verbose".to_owned(), true.into())]);
    let Some(spec) = commands::find("status") else { return Ok(Object::new()) };
    let reply = session.fetch(globals, spec, properties)?;
    let reply: Object = serde_json::from_slice(&reply).unwrap_or_default();
    Ok(reply.get("details").and_then(Value::as_object).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeDaemon, Seen};

    const ENDPOINT: &str = r#"{"status": "ok", "options": {"pubsub_endpoint": "ipc:///run/pub"}}"#;
    const GREETING: (&str, &str) = ("output.wait?id", "{}");

    fn status(health: &str) -> String {
        let state = if health == "failed" { "stopped" } else { "active" };
        format!(r#"{{"status": "{state}", "details": {{"state": "{state}", "health": "{health}"}}}}"#)
    }

    fn waiting(answers: &[&str]) -> FakeDaemon {
        let replies: Vec<String> = answers.iter().map(|health| status(health)).collect();
        let replies = std::iter::once(ENDPOINT).chain(replies.iter().map(String::as_str));
        let mut daemon = FakeDaemon::answering(replies);
        daemon.events = vec![("watcher.web.spawn", "{}"), GREETING, ("watcher.web.ready", "{}")];
        daemon
    }

    fn seen(stderr: &str, exit: u8) -> Seen {
        Seen { stdout: String::new(), stderr: stderr.into(), exit }
    }

    #[test]
    fn status_is_asked_behind_the_greeting_and_after_events() {
        let mut daemon = waiting(&["starting", "ready"]);
        assert_eq!(daemon.run("wait web"), seen("", 0));
        let topics = vec!["watcher.web.".to_owned(), "output.wait?id".to_owned()];
        assert_eq!(daemon.subscriptions, [("ipc:///run/pub".to_owned(), topics)]);
        assert_eq!(waiting(&["ready", "starting", "ready"]).run("wait web api"), seen("", 0));
    }

    #[test]
    fn failure_and_the_end_of_time_are_told() {
        assert_eq!(waiting(&["starting", "failed"]).run("wait web"), seen("error: web is not ready: failed\n", 3));
        let mut daemon = waiting(&["starting"]);
        assert_eq!(daemon.run("wait web --timeout 0"), seen("error: web is not ready: starting\n", 3));
        assert_eq!(waiting(&["failed"]).run("wait web --for stopped"), seen("", 0));
    }

    #[test]
    fn wrong_lines_are_refused_before_anything_is_sent() {
        for line in ["wait", "wait web --for running"] {
            let seen = FakeDaemon::default().run(line);
            assert_eq!(seen.exit, 1, "{line}");
            assert!(seen.stderr.contains("usage: circusctl wait NAME..."), "{}", seen.stderr);
        }
    }
}
