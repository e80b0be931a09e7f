//! `tail`: the last lines, and with `--follow` those that come.
//!
//! With `--follow` the subscription comes first: from its greeting on nothing is missed (see [`OutputTopics`]). Only then
//! are the last lines asked for, and what was published meanwhile is known by its cursor. A greeting that comes later means
//! that the connection was made anew: what lies behind the cursor is asked for, and nothing is shown twice.

use std::borrow::Cow;
use std::io;

use super::session::{Session, emit, timeout};
use super::targets::Single;
use super::{Event, Exit, Globals, Outcome, Streams, Subscription, text};
use circus_client::{OutputMessage, OutputTopics};
use circus_core::commands::{self, CommandSpec, Invocation};
use circus_core::escape::{escaped, escaped_bytes};
use circus_core::proto::{Gap, Object, OutputEvent, StreamName, Tail, TailCursor};

/// Why it is over.
enum End {
    /// There is something to say, or nothing.
    Said(Outcome),
    /// An output stream failed.
    Stream(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self::Said(outcome)
    }
}

/// Prints lines, until there are no more. Without a name it is about all watchers.
pub(super) fn tail(
    session: &mut Session<'_>,
    globals: &Globals,
    spec: &CommandSpec,
    invocation: &Invocation,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let result = viewers(session, globals, spec, invocation).map_err(End::from).and_then(|viewers| {
        if globals.json && !invocation.flag("follow") {
            let names = viewers.iter().filter_map(|viewer| viewer.text("name")).map(str::to_owned);
            let named = if invocation.words().is_empty() { invocation.with_words(names) } else { invocation.clone() };
            return Err(session.call(globals, spec, &named).into());
        }
        let mut tail = Viewing { session, globals, spec, viewers, named: !invocation.words().is_empty() };
        if invocation.flag("follow") { tail.follow(streams) } else { tail.look_back(streams) }
    });
    match result {
        Ok(()) => Ok(Exit::Success),
        Err(End::Said(outcome)) => emit(&outcome, session.look(), streams),
        Err(End::Stream(error)) => Err(error),
    }
}

/// The watchers that a command line is about.
fn viewers(
    session: &mut Session<'_>,
    globals: &Globals,
    spec: &CommandSpec,
    invocation: &Invocation,
) -> Result<Vec<Viewer>, Outcome> {
    let singles = if invocation.words().is_empty() {
        let named = |name: String| Single { invocation: invocation.with_words([name.clone()]), label: Some(name) };
        session.watchers(globals)?.into_iter().map(named).collect()
    } else {
        session.split(globals, spec, invocation)?
    };
    let viewer = |single: Single| {
        let properties =
            commands::message(spec, &single.invocation).map_err(|error| text::usage_error(spec, &error))?;
        let raw = single.invocation.flag("raw");
        Ok(Viewer::new(properties, View { label: single.label, raw, ..View::default() }, session.id()))
    };
    singles.into_iter().map(viewer).collect()
}

/// One watcher whose output is shown.
struct Viewer {
    properties: Object,
    topics: OutputTopics,
    view: View,
    /// Its subscription is in force.
    greeted: bool,
}

impl Viewer {
    fn new(properties: Object, view: View, unique: &str) -> Self {
        let text = |key: &str| properties.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let stream = if text("stream") == StreamName::Stderr.name() { StreamName::Stderr } else { StreamName::Stdout };
        let topics = OutputTopics::new(text("name"), stream, unique);
        Self { topics, view, greeted: false, properties }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.properties.get(key)?.as_str()
    }

    fn wid(&self) -> Option<u64> {
        self.properties.get("wid").and_then(serde_json::Value::as_u64)
    }

    /// The request for what lies behind a cursor.
    fn later(&self, cursor: Option<u64>) -> Object {
        let mut properties = self.properties.clone();
        if let Some(cursor) = cursor {
            properties.insert("after".into(), cursor.into());
            properties.insert("lines".into(), u32::MAX.into());
        }
        properties
    }
}

struct Viewing<'v, 's> {
    session: &'v mut Session<'s>,
    globals: &'v Globals,
    spec: &'v CommandSpec,
    viewers: Vec<Viewer>,
    /// The command line names watchers; otherwise all are meant, as far as circusd sees what they print.
    named: bool,
}

impl Viewing<'_, '_> {
    fn look_back(&mut self, streams: &mut Streams<'_>) -> Result<(), End> {
        let viewers = std::mem::take(&mut self.viewers);
        for (mut viewer, tail, raw) in self.visible(viewers)? {
            let shown = viewer.view.answered(tail);
            self.print(shown, &raw, streams)?;
        }
        Ok(())
    }

    /// The watchers whose output circusd sees, with their last lines: it refuses those without a stream. That is an error
    /// for a watcher that was named, and where none has one.
    fn visible(&mut self, viewers: Vec<Viewer>) -> Result<Vec<(Viewer, Tail, Vec<u8>)>, End> {
        let (mut visible, mut refused) = (Vec::new(), None);
        for viewer in viewers {
            match self.ask(viewer.properties.clone()) {
                Ok((tail, raw)) => visible.push((viewer, tail, raw)),
                Err(End::Said(outcome)) if !self.named && outcome.exit == Exit::Refused => refused = Some(outcome),
                Err(end) => return Err(end),
            }
        }
        match refused.filter(|_| visible.is_empty()) {
            Some(outcome) => Err(outcome.into()),
            None => Ok(visible),
        }
    }

    fn follow(&mut self, streams: &mut Streams<'_>) -> Result<(), End> {
        // A wrong question is reported before the subscription is waited for.
        let viewers = std::mem::take(&mut self.viewers);
        let viewers = self.visible(viewers)?;
        let mut viewers: Vec<Viewer> = viewers.into_iter().map(|(viewer, ..)| viewer).collect();
        let mut events = self.subscribe(&viewers)?;
        let failed = |reason: String| Outcome::failed(Exit::Failure, format!("error: {reason}\n"));
        loop {
            // Before the greetings it is not certain that circusd is there.
            let greeted = viewers.iter().all(|viewer| viewer.greeted);
            let limit = (!greeted).then(|| timeout(self.globals));
            let event = events.next_event(limit).map_err(|error| failed(error.to_string()))?;
            let Some(Event { topic, body }) = event else {
                if greeted {
                    return Ok(());
                }
                return Err(failed(
                    "the pubsub endpoint did not confirm the subscription: is it the endpoint of a circusd?".into(),
                )
                .into());
            };
            for viewer in &mut viewers {
                match viewer.topics.read(&topic, &body) {
                    Some(OutputMessage::Greeting) => {
                        self.catch_up(viewer, streams)?;
                        viewer.greeted = true;
                    }
                    Some(OutputMessage::Lines(event)) if viewer.greeted => {
                        let wid = viewer.wid();
                        let shown = viewer.view.published(&event, wid);
                        self.print(shown, &body, streams)?;
                    }
                    Some(OutputMessage::Lines(_)) | None => {}
                }
            }
        }
    }

    fn subscribe(&mut self, viewers: &[Viewer]) -> Result<Box<dyn Subscription>, End> {
        let endpoint = self.session.events_endpoint(self.globals)?;
        let topics: Vec<String> = viewers.iter().flat_map(|viewer| viewer.topics.both()).collect();
        Ok(self.session.subscribe(self.globals, &endpoint, &topics)?)
    }

    /// Shows what there is: the last lines at first, later what was not shown yet.
    fn catch_up(&mut self, viewer: &mut Viewer, streams: &mut Streams<'_>) -> Result<(), End> {
        let (mut tail, mut raw) = self.ask(viewer.later(viewer.view.place.cursor()))?;
        if viewer.view.place.is_of_another(&tail) {
            // Another stream: its cursor has nothing to do with ours.
            (tail, raw) = self.ask(viewer.later(Some(0)))?;
        }
        let shown = viewer.view.answered(tail);
        self.print(shown, &raw, streams)
    }

    fn ask(&mut self, properties: Object) -> Result<(Tail, Vec<u8>), End> {
        let reply = self.session.fetch(self.globals, self.spec, properties)?;
        let tail = serde_json::from_slice(&reply).map_err(|error| {
            Outcome::failed(Exit::Failure, format!("error: the answer does not fit the command tail: {error}\n"))
        })?;
        Ok((tail, reply))
    }

    fn print(&self, shown: Shown, raw: &[u8], streams: &mut Streams<'_>) -> Result<(), End> {
        let Shown { text, missed } = shown;
        if let Some(missed) = missed {
            writeln!(streams.errors, "circusctl: missed {missed}")?;
        }
        if self.globals.json {
            if !text.is_empty() {
                streams.output.write_all(&escaped_bytes(raw))?;
                streams.output.write_all(b"\n")?;
            }
        } else {
            streams.output.write_all(text.as_bytes())?;
        }
        // A program that reads the lines through a pipe gets each of them at once.
        streams.output.flush()?;
        Ok(())
    }
}

/// What was shown. Pure.
#[derive(Debug, Default)]
struct View {
    place: TailCursor,
    /// The last line that was shown goes on.
    open: bool,
    /// The watcher's name before each line; nothing where it is the only one.
    label: Option<String>,
    /// Lines are shown as they are, whatever a terminal makes of them.
    raw: bool,
}

/// What is to be printed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    text: String,
    missed: Option<Gap>,
}

impl View {
    fn answered(&mut self, tail: Tail) -> Shown {
        let missed = self.place.fetched(&tail);
        let mut text = String::new();
        for line in tail.lines {
            self.end_open(&mut text);
            text.push_str(&self.prefix(line.wid.into()));
            text.push_str(&self.shown(&line.line));
            text.push('\n');
        }
        Shown { text, missed }
    }

    fn published(&mut self, event: &OutputEvent, wid: Option<u64>) -> Shown {
        if self.place.has_seen(event) {
            return Shown::default();
        }
        let missed = self.place.published(event);
        let mut text = String::new();
        if missed.is_some() {
            self.end_open(&mut text);
        }
        if wid.is_none_or(|wid| wid == u64::from(event.wid)) {
            for (number, line) in event.lines.iter().enumerate() {
                if number > 0 {
                    text.push('\n');
                }
                if number > 0 || !self.open {
                    text.push_str(&self.prefix(event.wid.into()));
                }
                text.push_str(&self.shown(line));
            }
            if !event.more {
                text.push('\n');
            }
            self.open = event.more;
        }
        Shown { text, missed }
    }

    /// `NAME.WID: ` before a line, where several watchers are shown.
    fn prefix(&self, wid: u64) -> String {
        self.label.as_ref().map_or_else(String::new, |name| format!("{}.{wid}: ", escaped(name)))
    }

    /// What a worker prints must not drive the terminal of the person who reads it.
    fn shown<'l>(&self, line: &'l str) -> Cow<'l, str> {
        if self.raw { Cow::Borrowed(line) } else { escaped(line.strip_suffix('\r').unwrap_or(line)) }
    }

    /// A line whose rest will not come is ended.
    fn end_open(&mut self, text: &mut String) {
        if std::mem::take(&mut self.open) {
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{FakeDaemon, Seen};

    const GREETING: &str = r#"{"subscribed": true}"#;
    const OWN: &str = "output.my_app.stdout?id";
    const ENDPOINT: &str = r#"{"status": "ok", "options": {"pubsub_endpoint": "ipc:///run/pub"}}"#;
    const TOPIC: &str = "output.my_app.stdout";

    const EMPTY: &str = r#"{"status": "ok", "lines": [], "cursor": 0, "missed": 0, "next": 0, "began": 1.0}"#;
    const TWO: &str = r#"{"status": "ok", "cursor": 4, "missed": 0, "next": 2, "began": 1.0, "lines": [
        {"pid": 1, "wid": 1, "time": 1.5, "line": "a"}, {"pid": 1, "wid": 1, "time": 1.5, "line": "b"}]}"#;
    const NOPE: &str = r#"{"status": "error", "reason": "program nope not found", "errno": 3}"#;

    fn seen(stdout: &str, stderr: &str, exit: u8) -> Seen {
        Seen { stdout: stdout.into(), stderr: stderr.into(), exit }
    }

    fn event(first: u64, cursor: u64, wid: u32, lines: &str, more: bool) -> &'static str {
        let text = format!(
            r#"{{"watcher": "My App", "stream": "stdout", "pid": 1, "wid": {wid}, "time": 1.5, "first": {first},
               "lines": {lines}, "more": {more}, "cursor": {cursor}, "began": 1.0}}"#
        );
        Box::leak(text.into_boxed_str())
    }

    fn follow(line: &str, replies: &[&str], bodies: &[&'static str]) -> (Seen, FakeDaemon) {
        let mut daemon = FakeDaemon::answering(replies.iter().copied());
        let topic = |body: &str| if body == GREETING { OWN } else { TOPIC };
        daemon.events = bodies.iter().map(|body| (topic(body), *body)).collect();
        // Others are greeted too.
        daemon.events.push((TOPIC, GREETING));
        (daemon.run(line), daemon)
    }

    #[test]
    fn the_last_lines() {
        let mut daemon = FakeDaemon::answering([TWO, EMPTY, NOPE, TWO]);
        assert_eq!(daemon.run("tail -n 2 'My App' 3 --stderr"), seen("a\nb\n", "", 0));
        assert_eq!(daemon.run("tail web"), seen("", "", 0), "no line, not an empty one");
        assert_eq!(daemon.run("tail nope"), seen("", "error: program nope not found\n", 3));
        assert_eq!(daemon.run("tail web --json"), seen(&format!("{TWO}\n"), "", 0));
        let properties = daemon.heard.borrow()[0].request["properties"].clone();
        assert_eq!(properties, json!({"name": "My App", "wid": 3, "stream": "stderr", "lines": 2}));
    }

    #[test]
    fn control_characters_are_written_out_unless_raw() {
        let reply = r#"{"status": "ok", "lines": [{"pid": 1, "wid": 1, "time": 1.0, "line": "\u001b[2Jx\ty\r"}],
            "cursor": 1, "missed": 0, "next": 0, "began": 1.0}"#;
        let mut daemon = FakeDaemon::answering([reply, reply]);
        assert_eq!(daemon.run("tail w").stdout, "\\u001b[2Jx\ty\n");
        assert_eq!(daemon.run("tail w --raw").stdout, "\u{1b}[2Jx\ty\r\n");
        let bodies = [GREETING, event(0, 9, 1, r#"["\u009b2J"]"#, false)];
        let (printed, _) = follow("tail -f 'My App'", &[EMPTY, ENDPOINT, EMPTY], &bodies);
        assert_eq!(printed.stdout, "\\u009b2J\n");
    }

    #[test]
    fn follow_subscribes_first_and_shows_nothing_twice() {
        let bodies = [GREETING, event(1, 4, 1, r#"["b"]"#, false), event(2, 6, 1, r#"["c"]"#, false)];
        let (printed, daemon) = follow("tail -f 'My App'", &[EMPTY, ENDPOINT, TWO], &bodies);
        assert_eq!(printed, seen("a\nb\nc\n", "", 0));
        assert_eq!(daemon.subscriptions, [("ipc:///run/pub".to_owned(), vec![TOPIC.to_owned(), OWN.to_owned()])]);
        let (printed, _) = follow("tail -f nope", &[NOPE], &[]);
        assert_eq!(printed, seen("", "error: program nope not found\n", 3));
        let (printed, _) = follow("tail -f web", &[EMPTY, ENDPOINT], &[]);
        assert_eq!((printed.exit, printed.stdout.as_str()), (1, ""));
    }

    #[test]
    fn a_gap_is_counted() {
        let bodies = [
            GREETING,
            event(0, 2, 1, r#"["a"]"#, false),
            event(4, 90, 1, r#"["long"]"#, true),
            event(6, 99, 1, r#"["z"]"#, false),
        ];
        let (printed, _) = follow("tail -f 'My App'", &[EMPTY, ENDPOINT, EMPTY], &bodies);
        let missed = "circusctl: missed 3 lines\ncircusctl: missed 1 line\n";
        assert_eq!(printed, seen("a\nlong\nz\n", missed, 0));
    }

    #[test]
    fn one_worker_of_several() {
        let bodies = [
            GREETING,
            event(0, 2, 1, r#"["a"]"#, false),
            event(1, 4, 2, r#"["b"]"#, false),
            event(2, 6, 1, r#"["c"]"#, false),
        ];
        let (printed, _) = follow("tail -f 'My App' 1", &[EMPTY, ENDPOINT, EMPTY], &bodies);
        assert_eq!(printed, seen("a\nc\n", "", 0));
    }

    #[test]
    fn parts_of_a_line_are_one_line() {
        let bodies = [GREETING, event(0, 2, 1, r#"["a", "bb"]"#, true), event(2, 6, 1, r#"["cc", "d"]"#, false)];
        let (printed, _) = follow("tail -f 'My App'", &[EMPTY, ENDPOINT, EMPTY], &bodies);
        assert_eq!(printed, seen("a\nbbcc\nd\n", "", 0));
    }

    #[test]
    fn tail_continues_after_a_reconnection() {
        let again = r#"{"status": "ok", "cursor": 8, "missed": 2, "next": 1, "began": 1.0, "lines": [
            {"pid": 1, "wid": 1, "time": 1.5, "line": "d"}]}"#;
        let bodies = [GREETING, GREETING, event(1, 10, 1, r#"["e"]"#, false)];
        let (printed, daemon) = follow("tail -f 'My App'", &[EMPTY, ENDPOINT, TWO, again], &bodies);
        assert_eq!(printed, seen("a\nb\nd\ne\n", "circusctl: missed 2 bytes of output\n", 0));
        assert_eq!(daemon.heard.borrow()[3].request["properties"]["after"], 4);
        let other = r#"{"status": "ok", "cursor": 2, "missed": 0, "next": 0, "began": 2.0, "lines": [
            {"pid": 1, "wid": 1, "time": 1.5, "line": "x"}]}"#;
        let (printed, _) = follow("tail -f 'My App'", &[EMPTY, ENDPOINT, TWO, other, other], &[GREETING, GREETING]);
        assert_eq!(printed, seen("a\nb\nx\n", "", 0), "circusd was started anew");
    }

    #[test]
    fn watchers_without_a_stream_are_skipped_unless_named() {
        let list = r#"{"status": "ok", "watchers": ["db", "web"]}"#;
        let none = r#"{"status": "error", "reason": "db has no stdout_stream", "errno": 5}"#;
        let mut daemon = FakeDaemon::answering([list, none, TWO]);
        assert_eq!(daemon.run("tail"), seen("web.1: a\nweb.1: b\n", "", 0));
        let mut daemon = FakeDaemon::answering([list, none, none]);
        assert_eq!(daemon.run("tail"), seen("", "error: db has no stdout_stream\n", 3));
        let mut daemon = FakeDaemon::answering([none, TWO]);
        assert_eq!(daemon.run("tail db web"), seen("", "error: db has no stdout_stream\n", 3));
    }

    #[test]
    fn lines_of_several_watchers_have_their_names() {
        let list = r#"{"status": "ok", "watchers": ["db", "web"]}"#;
        let one = r#"{"status": "ok", "cursor": 2, "missed": 0, "next": 1, "began": 1.0, "lines": [
            {"pid": 1, "wid": 2, "time": 1.5, "line": "x"}]}"#;
        let mut daemon = FakeDaemon::answering([list, TWO, one]);
        assert_eq!(daemon.run("tail"), seen("db.1: a\ndb.1: b\nweb.2: x\n", "", 0));
        let mut daemon = FakeDaemon::answering([EMPTY, EMPTY, ENDPOINT, EMPTY, one]);
        let lines = r#"{"watcher": "db", "stream": "stdout", "pid": 1, "wid": 1, "time": 1.5, "first": 0,
            "lines": ["a", "b"], "more": false, "cursor": 4, "began": 1.0}"#;
        daemon.events =
            vec![("output.db.stdout?id", GREETING), ("output.web.stdout?id", GREETING), ("output.db.stdout", lines)];
        assert_eq!(daemon.run("tail -f db web"), seen("web.2: x\ndb.1: a\ndb.1: b\n", "", 0));
    }
}
