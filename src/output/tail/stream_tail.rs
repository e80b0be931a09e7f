//! A watcher's stream for clients that follow it: its last lines, and what comes while they listen.
//!
//! Behind the sink, so that a file gets what it always got. Here a line is always whole: its beginning, which the sink
//! writes after a while, waits for its end. A line of more than 64 KiB counts as several.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use memchr::{memchr_iter, memrchr};
use serde::{Deserialize, Serialize};

use crate::output::Message;
use crate::output::message::SourceId;
use crate::output::read::partial_line::LINE_LIMIT;
use crate::output::tail::ring::{Origin, Ring, unix};
use crate::proto::{OutputEvent, StreamName, Tail, TailRange, output_topic};

/// Of which watcher's output something is kept, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The watcher's name.
    pub watcher: String,
    /// Which of its streams.
    pub stream: StreamName,
    /// Bytes of the last output.
    pub bytes: usize,
}

/// A stream that clients may look at, unique as long as the thread lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct TailId(pub(crate) u64);

/// Text in one event. A subscriber that does not read keeps as many events as the publisher's mark allows, so what it
/// costs depends on this; longer lines go out in parts.
const EVENT: usize = 4 * 1024;

/// Bytes on their way to the daemon's thread. Beyond that what comes is counted and not made: no worker waits for its
/// followers, and the daemon's thread has other things to do.
const ON_THEIR_WAY: usize = 4 * 1024 * 1024;

/// Events on their way to the daemon's thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Takes up a message, unless there is too much already.
    fn take_up(&self, bytes: usize) -> bool {
        // Only this thread adds, so nothing comes between.
        let fits = self.0.load(Ordering::Relaxed) + bytes <= ON_THEIR_WAY;
        if fits {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// A message has arrived.
    pub(crate) fn arrived(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Where events are put.
pub(crate) struct EventQueue<'d> {
    pub(crate) messages: &'d mut Vec<Message>,
    pub(crate) load: &'d InFlight,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamTail {
    watcher: String,
    stream: StreamName,
    topic: Arc<str>,
    ring: Ring,
    /// Lines without an end, by where they come from.
    open: BTreeMap<SourceId, Vec<u8>>,
    followed: bool,
    /// The number of the next line that is published.
    next: u64,
    began: f64,
}

impl StreamTail {
    pub(crate) fn new(kept: Kept, now: Timestamp) -> Self {
        let Kept { watcher, stream, bytes } = kept;
        let topic = output_topic(&watcher, stream).into();
        let (ring, open) = (Ring::new(bytes), BTreeMap::new());
        Self { watcher, stream, topic, ring, open, followed: false, next: 0, began: unix(now) }
    }

    /// Whether it is this one. Watchers are known by their names in any case.
    pub(crate) fn is(&self, watcher: &str, stream: StreamName) -> bool {
        self.stream == stream && self.watcher.to_lowercase() == watcher.to_lowercase()
    }

    pub(crate) fn watcher(&self) -> &str {
        &self.watcher
    }

    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.ring.set_limit(bytes);
    }

    /// Takes note of what clients listen to.
    pub(crate) fn follow(&mut self, prefixes: &[Vec<u8>]) {
        self.followed = prefixes.iter().any(|prefix| self.topic.as_bytes().starts_with(prefix));
    }

    pub(crate) fn read(&mut self, range: TailRange) -> Tail {
        Tail { next: self.next, began: self.began, ..self.ring.read(range) }
    }

    /// Takes what was read: whole lines, save for a beginning whose end has not come.
    pub(crate) fn take(&mut self, from: SourceId, origin: Origin, bytes: &[u8], events: EventQueue<'_>) {
        let whole = bytes.last() == Some(&b'\n') || bytes.len() >= LINE_LIMIT;
        if whole && self.open.is_empty() {
            return self.pass(origin, bytes, events);
        }
        let mut text = self.open.remove(&from).unwrap_or_default();
        text.extend_from_slice(bytes);
        let end = if text.len() >= LINE_LIMIT { text.len() } else { memrchr(b'\n', &text).map_or(0, |at| at + 1) };
        let rest = text.split_off(end);
        if !rest.is_empty() {
            self.open.insert(from, rest);
        }
        self.pass(origin, &text, events);
    }

    /// A source has ended: what it left without an end is its last line.
    pub(crate) fn finish(&mut self, from: SourceId, origin: Origin, events: EventQueue<'_>) {
        if let Some(text) = self.open.remove(&from) {
            self.pass(origin, &text, events);
        }
    }

    fn pass(&mut self, origin: Origin, chunk: &[u8], mut events: EventQueue<'_>) {
        if self.followed && !chunk.is_empty() {
            self.publish(origin, chunk, &mut events);
        }
        self.ring.push(origin, chunk);
    }

    /// As events, each with so many lines as fit into it.
    fn publish(&mut self, origin: Origin, chunk: &[u8], events: &mut EventQueue<'_>) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let part = rest.get(..EVENT).map_or(rest, |head| {
                memrchr(b'\n', head).and_then(|at| head.get(..=at)).unwrap_or_else(|| before_a_character(head))
            });
            rest = rest.get(part.len()..).unwrap_or_default();
            let more = part.last() != Some(&b'\n') && !rest.is_empty();
            let count = memchr_iter(b'\n', part).count() + usize::from(part.last() != Some(&b'\n'));
            let first = self.next;
            self.next += count as u64;
            // The size of the text is known before the text is made; the few bytes that JSON adds do not count.
            if !events.load.take_up(part.len()) {
                continue;
            }
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let lines = text.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
            let event = OutputEvent {
                watcher: self.watcher.clone(),
                stream: self.stream,
                pid: origin.pid,
                wid: origin.wid,
                time: origin.unix(),
                first,
                lines: lines.collect(),
                more,
                cursor: self.ring.end() + (chunk.len() - rest.len()) as u64,
                began: self.began,
            };
            // Plain data can always be written.
            let body = serde_json::to_vec(&event).unwrap_or_default();
            events.messages.push(Message::Output { topic: Arc::clone(&self.topic), body, load: part.len() });
        }
    }
}

/// The beginning of a text that does not end within a character, where it is UTF-8.
fn before_a_character(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            text.get(..error.valid_up_to()).unwrap_or(text)
        }
        Ok(_) | Err(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: TailRange = TailRange { lines: usize::MAX, wid: None, after: None };
    const FROM: SourceId = SourceId(1);

    struct Fixture {
        stream: StreamTail,
        messages: Vec<Message>,
        load: InFlight,
    }

    fn origin() -> Origin {
        Origin { pid: 7, wid: 1, time: Timestamp::from_second(3).unwrap() }
    }

    impl Fixture {
        fn new(followed: bool) -> Self {
            let mut stream = StreamTail::new(
                Kept { watcher: "My App".into(), stream: StreamName::Stderr, bytes: 1 << 20 },
                origin().time,
            );
            if followed {
                stream.follow(&[b"output.my_app.".to_vec()]);
            }
            Self { stream, messages: Vec::new(), load: InFlight::default() }
        }

        fn take(&mut self, from: SourceId, bytes: &[u8]) {
            self.stream.take(from, origin(), bytes, EventQueue { messages: &mut self.messages, load: &self.load });
        }

        fn kept(&mut self) -> Vec<String> {
            self.stream.read(ALL).lines.into_iter().map(|line| line.line).collect()
        }

        fn events(&mut self) -> Vec<OutputEvent> {
            let events = self.messages.drain(..).map(|message| match message {
                Message::Output { topic, body, load } => {
                    assert_eq!(&*topic, "output.my_app.stderr");
                    self.load.arrived(load);
                    serde_json::from_slice(&body).unwrap()
                }
                other => panic!("{other:?}"),
            });
            events.collect()
        }
    }

    #[test]
    fn lines_are_whole_whoever_else_writes() {
        let mut fixture = Fixture::new(false);
        fixture.take(FROM, b"a\n");
        fixture.take(FROM, b"password: ");
        fixture.take(SourceId(2), b"b\n");
        assert_eq!(fixture.kept(), ["a", "b"]);
        fixture.take(FROM, b"secret\nnext\n");
        assert_eq!(fixture.kept(), ["a", "b", "password: secret", "next"]);
        fixture.take(FROM, b"last wor");
        fixture.stream.finish(FROM, origin(), EventQueue { messages: &mut fixture.messages, load: &fixture.load });
        assert_eq!(fixture.kept().last().unwrap(), "last wor");
        assert!(fixture.messages.is_empty(), "no client listens");
        assert!(fixture.stream.open.is_empty());
    }

    #[test]
    fn an_endless_line_is_not_waited_for() {
        let mut fixture = Fixture::new(false);
        fixture.take(FROM, &[b'x'; LINE_LIMIT]);
        assert_eq!(fixture.kept().len(), 1);
        for _ in 0..LINE_LIMIT {
            fixture.take(FROM, b"yy");
        }
        assert_eq!(fixture.kept().len(), 3);
    }

    #[test]
    fn events_number_their_lines_and_end_where_the_ring_does() {
        let mut fixture = Fixture::new(true);
        fixture.take(FROM, b"a\nb\n");
        fixture.take(FROM, b"c\n");
        let events = fixture.events();
        assert_eq!(events[0].lines, ["a", "b"]);
        assert_eq!((events[0].first, events[0].cursor, events[0].more), (0, 4, false));
        assert_eq!((events[1].first, events[1].cursor), (2, fixture.stream.read(ALL).cursor));
        assert_eq!((events[1].pid, events[1].wid, events[1].watcher.as_str()), (7, 1, "My App"));
        fixture.stream.follow(&[b"output.other.".to_vec(), b"watcher.".to_vec()]);
        fixture.take(FROM, b"d\n");
        assert!(fixture.messages.is_empty());
    }

    #[test]
    fn long_blocks_and_lines_go_out_in_parts_and_nothing_is_lost() {
        let mut fixture = Fixture::new(true);
        let long = "\u{e4}".repeat(5000);
        let text = format!("x{long}\n{}", "line\n".repeat(2000));
        fixture.take(FROM, text.as_bytes());
        let (mut joined, mut next) = (String::new(), 0);
        for event in fixture.events() {
            assert_eq!(event.first, next);
            next += event.lines.len() as u64;
            assert!(event.lines.iter().map(|line| line.len() + 1).sum::<usize>() <= EVENT + 1);
            joined += &event.lines.join("\n");
            joined += if event.more { "" } else { "\n" };
        }
        assert_eq!(joined, text);
    }

    #[test]
    fn what_the_daemon_does_not_fetch_is_counted_and_not_made() {
        let mut fixture = Fixture::new(true);
        let block = "0123456\n".repeat(8192);
        for _ in 0..200 {
            fixture.take(FROM, block.as_bytes());
        }
        let events = fixture.events();
        let bytes: usize = events.iter().flat_map(|event| &event.lines).map(|line| line.len() + 1).sum();
        assert!(bytes <= ON_THEIR_WAY && bytes > ON_THEIR_WAY - EVENT - 1, "{bytes}");
        fixture.take(FROM, b"late\n");
        let [late] = &fixture.events()[..] else { panic!() };
        assert_eq!(late.first, 200 * 8192, "the gap can be counted");
    }
}
