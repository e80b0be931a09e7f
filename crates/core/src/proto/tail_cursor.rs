//! How far a client has seen a stream of output: what is new of it, and what was missed. Pure.
//!
//! A client that follows a stream subscribes, waits for the greeting, asks for the last lines, and then takes what is published.
//! The lines of both carry cursors and numbers, from which this knows what was seen before and counts what never came.

use std::fmt;

use super::{OutputEvent, Tail};

/// Output that was not seen, and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// So many bytes, which are kept no longer.
    Bytes(u64),
    /// So many lines, which were published and not received.
    Lines(u64),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(count) => write!(f, "{count} bytes of output"),
            Self::Lines(1) => f.write_str("1 line"),
            Self::Lines(count) => write!(f, "{count} lines"),
        }
    }
}

/// How far a stream was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TailCursor {
    cursor: Option<u64>,
    next: u64,
    began: f64,
}

impl TailCursor {
    /// Behind what the rest is to be asked for; nothing where nothing was seen yet.
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// Whether these lines are of another stream than that which was seen, as after a new start of circusd. They were
    /// asked for with a cursor that means nothing there.
    pub fn is_of_another(&self, tail: &Tail) -> bool {
        self.cursor.is_some() && !self.is_since(tail.began)
    }

    /// The last lines have come. What lies between them and what was seen.
    pub fn fetched(&mut self, tail: &Tail) -> Option<Gap> {
        let missed = tail.missed > 0 && self.cursor.is_some() && self.is_since(tail.began);
        (self.cursor, self.next, self.began) = (Some(tail.cursor), tail.next, tail.began);
        missed.then_some(Gap::Bytes(tail.missed))
    }

    /// Whether these lines came before, with the last lines.
    pub fn has_seen(&self, event: &OutputEvent) -> bool {
        self.is_since(event.began) && self.cursor.is_some_and(|cursor| event.cursor <= cursor)
    }

    /// Lines were published. What lies between them and what was seen.
    pub fn published(&mut self, event: &OutputEvent) -> Option<Gap> {
        let expected = if self.is_since(event.began) { self.next } else { 0 };
        let gap = event.first.saturating_sub(expected);
        let next = event.first.saturating_add(event.lines.len() as u64);
        (self.cursor, self.next, self.began) = (Some(event.cursor), next, event.began);
        (gap > 0).then_some(Gap::Lines(gap))
    }

    fn is_since(&self, began: f64) -> bool {
        self.began.total_cmp(&began).is_eq()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::StreamName;

    fn event(first: u64, lines: usize, cursor: u64, began: f64) -> OutputEvent {
        OutputEvent {
            watcher: "w".into(),
            stream: StreamName::Stdout,
            pid: 1,
            wid: 1,
            time: 1.0,
            first,
            lines: vec![String::new(); lines],
            more: false,
            cursor,
            began,
        }
    }

    #[test]
    fn each_line_is_seen_once_or_counted() {
        let mut place = TailCursor::default();
        let tail = Tail { cursor: 10, next: 3, began: 5.0, missed: 7, ..Tail::default() };
        assert!(!place.is_of_another(&tail));
        assert_eq!(place.fetched(&tail), None, "a new client has missed nothing");
        assert!(place.has_seen(&event(1, 2, 10, 5.0)) && !place.has_seen(&event(3, 1, 12, 5.0)));
        assert_eq!(place.published(&event(3, 2, 14, 5.0)), None);
        assert_eq!(place.published(&event(9, 1, 30, 5.0)), Some(Gap::Lines(4)));
        assert_eq!(place.cursor(), Some(30));
        let tail = Tail { cursor: 50, next: 20, began: 5.0, missed: 7, ..Tail::default() };
        assert_eq!(place.fetched(&tail), Some(Gap::Bytes(7)));
    }

    #[test]
    fn another_stream_begins_anew() {
        let mut place = TailCursor::default();
        place.fetched(&Tail { cursor: 10, next: 3, began: 5.0, ..Tail::default() });
        let other = Tail { cursor: 2, missed: 1, began: 6.0, ..Tail::default() };
        assert!(place.is_of_another(&other) && !place.has_seen(&event(0, 1, 2, 6.0)));
        assert_eq!(place.clone().fetched(&other), None);
        assert_eq!(place.published(&event(2, 1, 9, 6.0)), Some(Gap::Lines(2)));
        assert_eq!(place.published(&event(u64::MAX, 1, 9, 6.0)), Some(Gap::Lines(u64::MAX - 3)));
    }

    #[test]
    fn in_words() {
        let all = [Gap::Bytes(3), Gap::Lines(1), Gap::Lines(2)];
        assert_eq!(all.map(|missed| missed.to_string()), ["3 bytes of output", "1 line", "2 lines"]);
    }
}
