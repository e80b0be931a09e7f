//! The last output of a stream, as it was read. Pure: nothing here reads a clock or writes.
//!
//! This lies on the way of every byte that a worker prints, so it does no more than copy: what was read at once is one
//! chunk, and lines are looked for when a client asks. A ring takes no more than its limit, the records of the chunks
//! included, and nothing before the first byte.

use std::collections::VecDeque;

use jiff::Timestamp;
use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};

use crate::proto::{KeptLine, Tail, TailRange};

/// The worker that wrote it, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) pid: i32,
    pub(crate) wid: u32,
    pub(crate) time: Timestamp,
}

impl Origin {
    /// In seconds since the epoch.
    pub(crate) fn unix(self) -> f64 {
        unix(self.time)
    }
}

/// In seconds since the epoch.
pub(crate) fn unix(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// Whole lines that were read together. The last may lack its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Chunk {
    origin: Origin,
    length: usize,
}

/// What a chunk costs beside its bytes.
const RECORD: usize = size_of::<Chunk>();

/// Stands before the end of a line whose beginning was not kept.
const CUT: &str = "...";

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ring {
    limit: usize,
    #[serde(with = "crate::output::saved::bytes")]
    bytes: VecDeque<u8>,
    chunks: VecDeque<Chunk>,
    /// The first line that is left has lost its beginning.
    torn: bool,
    /// How many bytes there have been.
    end: u64,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, bytes: VecDeque::new(), chunks: VecDeque::new(), torn: false, end: 0 }
    }

    /// From now on so much is kept.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        if limit < self.limit {
            (self.bytes, self.chunks, self.torn) = (VecDeque::new(), VecDeque::new(), false);
        }
        self.limit = limit;
    }

    /// How many bytes there have been.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Takes a chunk.
    pub(crate) fn push(&mut self, origin: Origin, chunk: &[u8]) {
        self.end += chunk.len() as u64;
        let Some(room) = self.limit.checked_sub(RECORD) else { return };
        if chunk.is_empty() {
            return;
        }
        let skipped = chunk.len().saturating_sub(room);
        if skipped > 0 {
            self.bytes.clear();
            self.chunks.clear();
        }
        let length = chunk.len() - skipped;
        self.make_room(length + RECORD);
        if self.chunks.is_empty() {
            self.torn = skipped > 0 && chunk.get(skipped - 1) != Some(&b'\n');
        }
        self.grow(length);
        self.bytes.extend(chunk.get(skipped..).unwrap_or_default());
        self.chunks.push_back(Chunk { origin, length });
    }

    /// Drops from the front until so much can be added: whole chunks, and of the last one no more than needed.
    fn make_room(&mut self, wanted: usize) {
        let used = |ring: &Self| ring.bytes.len() + RECORD * ring.chunks.len();
        while let Some(excess) = (used(self) + wanted).checked_sub(self.limit).filter(|excess| *excess > 0) {
            let Some(front) = self.chunks.front_mut() else { return };
            if excess >= front.length {
                self.bytes.drain(..front.length);
                self.chunks.pop_front();
                self.torn = false;
            } else {
                front.length -= excess;
                self.torn = self.bytes.get(excess - 1) != Some(&b'\n');
                self.bytes.drain(..excess);
            }
        }
    }

    /// Makes place for so many bytes, twice as much as there was but not more than can ever be used: left to itself a
    /// queue would grow to up to twice the limit.
    fn grow(&mut self, length: usize) {
        let (used, capacity) = (self.bytes.len(), self.bytes.capacity());
        if used + length > capacity {
            let wanted = (2 * capacity).min(self.limit).max(used + length);
            self.bytes.reserve_exact(wanted - used);
        }
    }

    /// The lines in this range that are kept.
    pub(crate) fn read(&mut self, range: TailRange) -> Tail {
        let bytes = &*self.bytes.make_contiguous();
        let torn = if self.torn { memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1) } else { 0 };
        // Where a line that lost its beginning is all there is, its end is better than nothing.
        let cut = torn > 0 && torn == bytes.len();
        let torn = if cut { 0 } else { torn };
        let kept_from = self.end - (bytes.len() - torn) as u64;
        // A cursor from before this stream began anew means nothing.
        let after = range.after.filter(|after| *after <= self.end);
        let missed = after.map_or(0, |after| kept_from.saturating_sub(after));
        let mut lines = Vec::new();
        let mut behind = bytes.len();
        for chunk in self.chunks.iter().rev() {
            let begin = behind - chunk.length;
            let wanted = range.wid.is_none_or(|wid| wid == chunk.origin.wid);
            if lines.len() >= range.lines
                || after.is_some_and(|after| self.end - (bytes.len() - behind) as u64 <= after)
            {
                break;
            }
            if wanted {
                let text = bytes.get(begin.max(torn)..behind).unwrap_or_default();
                let most = range.lines - lines.len();
                lines.extend(backwards(text).take(most).map(|line| kept(chunk.origin, line)));
            }
            behind = begin;
        }
        if cut
            && behind == 0
            && let Some(first) = lines.last_mut()
        {
            first.line.insert_str(0, CUT);
        }
        lines.reverse();
        Tail { lines, cursor: self.end, missed, ..Tail::default() }
    }
}

fn kept(origin: Origin, line: &[u8]) -> KeptLine {
    let line = String::from_utf8_lossy(line).into_owned();
    KeptLine { pid: origin.pid, wid: origin.wid, time: origin.unix(), line }
}

/// The lines of a text without their ends, from the last to the first.
fn backwards(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text.strip_suffix(b"\n").unwrap_or(text)).filter(|_| !text.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let begin = memrchr(b'\n', text);
        rest = begin.and_then(|at| text.get(..at));
        text.get(begin.map_or(0, |at| at + 1)..)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(wid: u32) -> Origin {
        Origin { pid: 100 + i32::try_from(wid).unwrap(), wid, time: Timestamp::from_second(7).unwrap() }
    }

    const ALL: TailRange = TailRange { lines: usize::MAX, wid: None, after: None };

    fn texts(tail: &Tail) -> Vec<&str> {
        tail.lines.iter().map(|line| line.line.as_str()).collect()
    }

    #[test]
    fn the_last_lines_come_in_order_with_their_origin() {
        let mut ring = Ring::new(1000);
        assert_eq!(ring.read(ALL), Tail::default());
        ring.push(origin(1), b"a\nb\n");
        ring.push(origin(2), b"\nd\n");
        ring.push(origin(1), b"last words");
        let tail = ring.read(ALL);
        assert_eq!(texts(&tail), ["a", "b", "", "d", "last words"]);
        assert_eq!((tail.lines[2].wid, tail.lines[2].pid, tail.lines[2].time), (2, 102, 7.0));
        assert_eq!((tail.cursor, tail.missed), (17, 0));
        assert_eq!(texts(&ring.read(TailRange { lines: 2, ..ALL })), ["d", "last words"]);
        assert_eq!(texts(&ring.read(TailRange { lines: 3, wid: Some(1), ..ALL })), ["a", "b", "last words"]);
        assert_eq!(texts(&ring.read(TailRange { lines: 0, ..ALL })), [""; 0]);
        assert_eq!(texts(&ring.read(TailRange { wid: Some(9), ..ALL })), [""; 0]);
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        let mut ring = Ring::new(1000);
        ring.push(origin(1), b"a\xff\0b\n");
        assert_eq!(texts(&ring.read(ALL)), ["a\u{fffd}\0b"]);
    }

    #[test]
    fn a_cursor_says_what_is_new_and_what_was_missed() {
        let mut ring = Ring::new(RECORD * 2 + 10);
        ring.push(origin(1), b"one\n");
        let cursor = ring.read(ALL).cursor;
        ring.push(origin(1), b"two\n");
        let after = |after| TailRange { after: Some(after), ..ALL };
        assert_eq!(texts(&ring.read(after(cursor))), ["two"]);
        assert_eq!(texts(&ring.read(after(8))), [""; 0]);
        assert_eq!(ring.read(after(0)).missed, 0);
        ring.push(origin(1), b"three\n");
        let tail = ring.read(after(cursor));
        assert_eq!((texts(&tail), tail.missed, tail.cursor), (vec!["two", "three"], 0, 14));
        ring.push(origin(1), b"four\n");
        let tail = ring.read(after(cursor));
        assert_eq!((texts(&tail), tail.missed), (vec!["three", "four"][1..].to_vec(), 10), "six and five do not fit");
        assert_eq!(texts(&ring.read(after(1000))), ["four"], "of another life");
    }

    #[test]
    fn a_line_that_lost_its_beginning_is_not_shown() {
        let mut ring = Ring::new(RECORD + 8);
        ring.push(origin(1), b"12345\n789\nab\n");
        assert_eq!(texts(&ring.read(ALL)), ["789", "ab"], "the cut fell in the first line");
        ring.push(origin(1), b"abcdefghijk");
        assert_eq!(texts(&ring.read(ALL)), ["...defghijk"], "its end is all there is");
        let after = ring.read(ALL).cursor;
        assert_eq!(texts(&ring.read(TailRange { after: Some(after), ..ALL })), [""; 0]);
        ring.push(origin(1), b"lm\n");
        assert_eq!(texts(&ring.read(ALL)), ["lm"], "a whole line is there again");
        let mut ring = Ring::new(RECORD + 7);
        ring.push(origin(1), b"12345\n789\nab\n");
        assert_eq!(texts(&ring.read(ALL)), ["789", "ab"], "the cut fell between two lines");
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_asked_for() {
        let mut ring = Ring::new(0);
        ring.push(origin(1), b"a\n");
        assert_eq!(ring.read(ALL), Tail { cursor: 2, ..Tail::default() });
        assert_eq!((ring.bytes.capacity(), ring.chunks.capacity()), (0, 0));
    }

    #[test]
    fn a_smaller_limit_starts_anew() {
        let mut ring = Ring::new(1000);
        ring.push(origin(1), b"a\n");
        ring.set_limit(2000);
        assert_eq!(texts(&ring.read(ALL)), ["a"]);
        ring.set_limit(100);
        assert_eq!(ring.read(ALL), Tail { cursor: 2, ..Tail::default() });
    }

    proptest! {
        /// What is kept is the end of what there was, line for line, and no more than the limit.
        #[test]
        fn it_keeps_the_end(
            limit in 0usize..300,
            chunks in prop::collection::vec((1u32..4, prop::collection::vec("[a-c]{0,12}", 1..6)), 0..40),
        ) {
            let mut ring = Ring::new(limit);
            let mut all = Vec::new();
            for (wid, lines) in &chunks {
                ring.push(origin(*wid), (lines.join("\n") + "\n").as_bytes());
                all.extend(lines.iter().map(|line| (*wid, line.clone())));
                prop_assert!(ring.bytes.len() + ring.chunks.len() * RECORD <= limit);
                prop_assert!(ring.bytes.capacity() <= limit);
            }
            let mut lines: Vec<_> = ring.read(ALL).lines.into_iter().map(|line| (line.wid, line.line)).collect();
            if let Some(end) = lines.first().and_then(|(_, line)| line.strip_prefix(CUT)) {
                prop_assert!(lines.len() == 1 && all.last().is_some_and(|(_, line)| line.ends_with(end)));
                lines.clear();
            }
            prop_assert_eq!(&lines[..], &all[all.len() - lines.len()..]);
            let bytes: usize = lines.iter().map(|(_, line)| line.len() + 1).sum();
            let torn = ring.bytes.len() - bytes;
            let last = all.iter().rev().nth(lines.len()).map_or(0, |(_, line)| line.len() + 1);
            prop_assert!(torn == 0 || torn < last, "a line was kept and is not shown");
        }
    }
}
