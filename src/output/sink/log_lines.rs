//! Lines for circusd's own log: what plugins and hooks print.
//!
//! One program must not fill the log. So each speaker has [`BURST`] lines at once and then [`PACE`] a second; what goes
//! beyond is dropped, counted, and the count is logged. No speaker is ever held up: a program that waits for its own log
//! messages cannot do its work.
//!
//! This is a budget of lines that are all wanted. `core::base::Throttle` counts one kind of message instead, of which only
//! the number matters.

use std::sync::Arc;

use circus_core::escape::escaped;
use serde::{Deserialize, Serialize};

use crate::arbiter::{Level, Mono};
use crate::output::Message;
use crate::output::saved::SavedSink;
use crate::output::sink::interface::{Clocks, Lines, Sink, Written};

/// Lines that may come at once.
const BURST: f64 = 500.0;
/// Lines a second that may go on coming.
const PACE: f64 = 100.0;
/// What is kept of a line.
const LONGEST: usize = 4096;

/// The sink of a speaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogSink {
    speaker: Arc<str>,
    level: Level,
    /// How many lines may be said now, and when that was so.
    allowance: f64,
    counted: Option<Mono>,
    dropped: u64,
}

impl LogSink {
    pub(crate) fn new(speaker: &str, level: Level) -> Self {
        Self { speaker: speaker.into(), level, allowance: BURST, counted: None, dropped: 0 }
    }

    fn line(&mut self, line: &[u8], messages: &mut Vec<Message>) {
        let whole = self.allowance >= 1.0;
        if whole && self.dropped > 0 {
            let text = format!("{} more lines of {} were dropped", self.dropped, self.speaker);
            messages.push(Message::Warning(text));
            self.dropped = 0;
        }
        if whole {
            self.allowance -= 1.0;
            messages.push(Message::LogLine {
                speaker: Arc::clone(&self.speaker),
                level: self.level,
                line: printable(line),
            });
            return;
        }
        if self.dropped == 0 {
            let text = format!("{} prints too much; its lines are dropped until it prints less", self.speaker);
            messages.push(Message::Warning(text));
        }
        self.dropped += 1;
    }
}

/// A line that cannot be taken for another, nor change the terminal on which the log is read.
fn printable(line: &[u8]) -> String {
    let kept = line.get(..LONGEST).unwrap_or(line);
    let mut text = escaped(&String::from_utf8_lossy(kept)).into_owned();
    if kept.len() < line.len() {
        text.push_str("...");
    }
    text
}

impl Sink for LogSink {
    fn write(&mut self, lines: Lines<'_>, now: Clocks, messages: &mut Vec<Message>) -> Written {
        let since = self.counted.replace(now.mono).map_or(0.0, |then| now.mono.since(then).as_secs_f64());
        self.allowance = since.mul_add(PACE, self.allowance).min(BURST);
        for line in lines.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty())
        {
            self.line(line, messages);
        }
        Written { bytes: lines.bytes.len(), stop: None }
    }

    fn save(&self) -> SavedSink {
        SavedSink::Log(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Stage(LogSink, Clocks);

    impl Stage {
        fn new() -> Self {
            Self(LogSink::new("plugin:p", Level::Info), Clocks { mono: Mono(0), wall: jiff::Timestamp::UNIX_EPOCH })
        }

        fn say(&mut self, bytes: &[u8]) -> Vec<String> {
            let mut messages = Vec::new();
            self.0.write(Lines { bytes, uncounted: 0 }, self.1, &mut messages);
            let text = |message| match message {
                Message::LogLine { line, .. } => line,
                Message::Warning(text) => format!("! {text}"),
                Message::Info(_)
                | Message::Matched(_)
                | Message::Synced(_)
                | Message::Tailed(..)
                | Message::Output { .. } => {
                    unreachable!("it says none of these")
                }
            };
            messages.into_iter().map(text).collect()
        }
    }

    #[test]
    fn lines_are_told_one_by_one_and_made_harmless() {
        let said = Stage::new().say(b"one\r\n\n two\x1b[31m\xff\n");
        assert_eq!(said, ["one", " two\\u001b[31m\u{fffd}"]);
        let long = Stage::new().say(&[b'x'; LONGEST + 1]);
        assert_eq!(long[0].len(), LONGEST + 3);
    }

    #[test]
    fn a_flood_is_dropped_and_counted_and_ends() {
        let mut stage = Stage::new();
        let said = stage.say("x\n".repeat(10_000).as_bytes());
        assert_eq!(said.len(), BURST as usize + 1);
        assert_eq!(said.last().unwrap(), "! plugin:p prints too much; its lines are dropped until it prints less");
        stage.1.mono = stage.1.mono.after(Duration::from_secs(1));
        assert_eq!(stage.say(b"y\n"), ["! 9500 more lines of plugin:p were dropped", "y"]);
    }
}
