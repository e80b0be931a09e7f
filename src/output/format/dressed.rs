//! Lines that say whose they are: behind a prefix of the user's own, or as JSON objects.

use std::io::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::options::PrefixPart;
use crate::output::format::line_format::{Speaker, TimestampPrefix};
use crate::proto::StreamName;

/// Whose lines a stream has: known when it is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) watcher: &'a str,
    pub(crate) stream: StreamName,
}

/// `prefix`: before each line, as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prefixed {
    parts: Vec<PrefixPart>,
    time: TimestampPrefix,
}

/// `format = json`: an object in each line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JsonLines {
    /// The keys that are the same for all lines, as JSON.
    head: String,
    /// Without one, RFC 3339 with milliseconds, in UTC.
    time: Option<TimestampPrefix>,
}

impl Prefixed {
    pub(crate) fn new(parts: Vec<PrefixPart>, time_format: Option<&str>, origin: Origin<'_>) -> Self {
        let known = |part| match part {
            PrefixPart::Name => PrefixPart::Text(origin.watcher.to_owned()),
            PrefixPart::Stream => PrefixPart::Text(origin.stream.name().to_owned()),
            PrefixPart::Text(_) | PrefixPart::Wid | PrefixPart::Pid | PrefixPart::Time => part,
        };
        let time = TimestampPrefix::new(time_format.unwrap_or("%Y-%m-%d %H:%M:%S"));
        Self { parts: parts.into_iter().map(known).collect(), time }
    }

    /// Appends what stands before each line.
    pub(crate) fn prefix(&mut self, speaker: Speaker, wall: Timestamp, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                PrefixPart::Text(text) => out.extend_from_slice(text.as_bytes()),
                // Writing into a Vec cannot fail.
                PrefixPart::Wid => drop(write!(out, "{}", speaker.wid)),
                PrefixPart::Pid => drop(write!(out, "{}", speaker.pid)),
                PrefixPart::Time => self.time.time(wall, out),
                // They have become texts.
                PrefixPart::Name | PrefixPart::Stream => {}
            }
        }
    }
}

impl JsonLines {
    pub(crate) fn new(time_format: Option<&str>, origin: Origin<'_>) -> Self {
        let watcher = serde_json::Value::from(origin.watcher);
        let head = format!("\"watcher\":{watcher},\"stream\":\"{}\"", origin.stream.name());
        Self { head, time: time_format.map(TimestampPrefix::new) }
    }

    /// Appends what an object begins with.
    pub(crate) fn prefix(&mut self, speaker: Speaker, wall: Timestamp, out: &mut Vec<u8>) {
        // Writing into a Vec cannot fail.
        out.extend_from_slice(b"{\"time\":");
        match &mut self.time {
            None => drop(write!(out, "\"{wall:.3}\"")),
            Some(time) => {
                let mut text = Vec::new();
                time.time(wall, &mut text);
                string(&text, out);
            }
        }
        drop(write!(out, ",{},\"wid\":{},\"pid\":{}", self.head, speaker.wid, speaker.pid));
    }

    /// Writes an object for each line. A piece of a line that goes on is an object too, and says so.
    pub(crate) fn render(prefix: &[u8], lines: &[u8], out: &mut Vec<u8>) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n");
            out.extend_from_slice(prefix);
            out.extend_from_slice(b",\"line\":");
            string(text.unwrap_or(line), out);
            out.extend_from_slice(if text.is_none() { b",\"partial\":true}\n" } else { b"}\n" });
        }
    }
}

/// Bytes as a string of JSON. What is not UTF-8 is replaced.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(bytes);
    // A text can be written, and so can a vector.
    drop(serde_json::to_writer(out, &*text));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'_> = Origin { watcher: "my \"web\"", stream: StreamName::Stderr };
    const SPEAKER: Speaker = Speaker { pid: 42, wid: 3 };

    #[test]
    fn prefix_says_what_it_is_asked_to() {
        let parts = vec![
            PrefixPart::Time,
            PrefixPart::Text(" ".into()),
            PrefixPart::Name,
            PrefixPart::Text("[".into()),
            PrefixPart::Wid,
            PrefixPart::Text("/".into()),
            PrefixPart::Pid,
            PrefixPart::Text("] ".into()),
            PrefixPart::Stream,
        ];
        let mut out = Vec::new();
        Prefixed::new(parts, Some("T"), ORIGIN).prefix(SPEAKER, Timestamp::UNIX_EPOCH, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "T my \"web\"[3/42] stderr");
    }

    #[test]
    fn each_line_is_an_object_whatever_its_bytes_are() {
        let mut json = JsonLines::new(None, ORIGIN);
        let (mut prefix, mut out) = (Vec::new(), Vec::new());
        json.prefix(SPEAKER, Timestamp::UNIX_EPOCH, &mut prefix);
        JsonLines::render(&prefix, b"a \"b\"\n\xff\0\\\nprompt", &mut out);
        let text = String::from_utf8(out).unwrap();
        let objects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lines: Vec<&str> = objects.iter().map(|object| object["line"].as_str().unwrap()).collect();
        assert_eq!(lines, ["a \"b\"", "\u{fffd}\0\\", "prompt"]);
        assert_eq!(objects[0]["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(objects[0]["watcher"], "my \"web\"");
        assert_eq!((&objects[0]["wid"], &objects[0]["pid"]), (&3.into(), &42.into()));
        assert_eq!(objects[0].get("partial"), None);
        assert_eq!((&objects[2]["partial"], &objects[2]["stream"]), (&true.into(), &"stderr".into()));
    }

    #[test]
    fn time_of_an_object_has_the_form_that_is_asked_for() {
        let mut out = Vec::new();
        JsonLines::new(Some("\"%%\""), ORIGIN).prefix(SPEAKER, Timestamp::UNIX_EPOCH, &mut out);
        assert!(out.starts_with(br#"{"time":"\"%\"","watcher":"#), "{}", String::from_utf8_lossy(&out));
    }
}
