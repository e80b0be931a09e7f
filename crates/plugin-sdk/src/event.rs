//! An event, as a plugin sees it.

use serde_json::Value;

use circus_core::proto::Object;

/// What happened to a watcher.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The watcher, as topics spell it: lower case, each space an underscore. [`Names`](super::Names) knows its name.
    pub watcher: String,
    /// `spawn`, `reap`, `start` ...: see circus-protocol(7).
    pub kind: String,
    /// The rest: `time`, and mostly `process_pid`.
    pub body: Object,
}

impl Event {
    /// An event from its two frames; `None` for what is none. Dots and colons in the watcher's name are part of it.
    pub fn parse(topic: &[u8], body: &[u8]) -> Option<Self> {
        let topic = std::str::from_utf8(topic).ok()?;
        let (watcher, kind) = topic.strip_prefix("watcher.")?.rsplit_once('.')?;
        let body = serde_json::from_slice(body).ok()?;
        Some(Self { watcher: watcher.to_owned(), kind: kind.to_owned(), body })
    }

    /// The process that it is about.
    pub fn pid(&self) -> Option<i64> {
        self.body.get("process_pid").and_then(Value::as_i64)
    }

    /// Whether it is about a plugin.
    pub fn is_of_a_plugin(&self) -> bool {
        self.watcher.starts_with("plugin:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_dots() {
        let event = Event::parse(b"watcher.plugin:a.b_c.reap", br#"{"process_pid": 7, "exit_code": -9}"#).unwrap();
        assert_eq!((event.watcher.as_str(), event.kind.as_str(), event.pid()), ("plugin:a.b_c", "reap", Some(7)));
        assert!(event.is_of_a_plugin());
    }

    #[test]
    fn invalid_events() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"stat.a.b", b"{}"),
            (b"watcher.a", b"{}"),
            (b"watcher.a.b", b"[]"),
            (b"watcher.a.b", b""),
            (b"\xff", b"{}"),
        ];
        for (topic, body) in cases {
            assert_eq!(Event::parse(topic, body), None);
        }
    }
}
