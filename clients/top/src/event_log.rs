//! What happened, the latest last.

use std::collections::VecDeque;

use serde_json::Value;

/// How much is remembered.
const MAX_ENTRIES: usize = 1000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Seconds since the epoch, if the event has a time.
    pub(super) time: Option<f64>,
    pub(super) watcher: String,
    pub(super) what: String,
    pub(super) detail: String,
    /// Something died or was refused.
    pub(super) bad: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    entries: VecDeque<Entry>,
}

impl EventLog {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The latest so many, the latest last.
    pub(super) fn latest(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.entries.len().saturating_sub(count))
    }
}

/// An event, and the pid of the process that has ended with it.
pub(super) fn read(topic: &[u8], body: &[u8]) -> Option<(Entry, Option<i64>)> {
    let topic = std::str::from_utf8(topic).ok()?.strip_prefix("watcher.")?;
    // Names may have dots, events have none.
    let (watcher, what) = topic.rsplit_once('.')?;
    let body: Value = serde_json::from_slice(body).ok()?;
    let pid = body.get("process_pid").and_then(Value::as_i64);
    let exit = body.get("exit_code").and_then(Value::as_i64);
    let mut detail = pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
    match exit {
        Some(signal @ ..=-1) => detail += &format!(", killed by signal {}", signal.unsigned_abs()),
        Some(status) => detail += &format!(", exit status {status}"),
        None => {}
    }
    for key in ["result", "trigger", "name", "error", "reason"] {
        if let Some(text) = body.get(key).and_then(Value::as_str) {
            detail += &format!("{}{text}", if detail.is_empty() { "" } else { ", " });
        }
    }
    let entry = Entry {
        time: body.get("time").and_then(Value::as_f64).filter(|time| time.is_finite()),
        watcher: watcher.to_owned(),
        what: what.to_owned(),
        detail,
        bad: exit.is_some_and(|exit| exit != 0) || matches!(what, "hook_failure" | "unhealthy" | "reload_failed"),
    };
    Some((entry, pid.filter(|_| what == "reap")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read() {
        let (entry, ended) =
            read(b"watcher.dotted.name.reap", br#"{"process_pid": 7, "time": 5.5, "exit_code": -9}"#).unwrap();
        assert_eq!((entry.watcher.as_str(), entry.what.as_str()), ("dotted.name", "reap"));
        assert_eq!((entry.detail.as_str(), entry.bad), ("pid 7, killed by signal 9", true));
        assert_eq!((entry.time, ended), (Some(5.5), Some(7)));
        let (entry, ended) = read(b"watcher.w.spawn", br#"{"process_pid": 8, "time": 5}"#).unwrap();
        assert_eq!((entry.detail.as_str(), entry.bad, ended), ("pid 8", false, None));
        let (entry, _) = read(b"watcher.w.hook_failure", br#"{"name": "before_start", "error": "no"}"#).unwrap();
        assert_eq!((entry.detail.as_str(), entry.bad), ("before_start, no", true));
        for (topic, body) in [("watcher.", "{}"), ("stat.w", "{}"), ("watcher.w.x", "no"), ("watcher.w", "{}")] {
            assert_eq!(read(topic.as_bytes(), body.as_bytes()), None, "{topic}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut event_log = EventLog::default();
        for number in 0..2 * MAX_ENTRIES {
            let (mut entry, _) = read(b"watcher.w.stop", b"{}").unwrap();
            entry.detail = number.to_string();
            event_log.push(entry);
        }
        let latest: Vec<&str> = event_log.latest(2).map(|entry| entry.detail.as_str()).collect();
        assert_eq!((event_log.entries.len(), latest), (MAX_ENTRIES, vec!["1998", "1999"]));
        assert_eq!(EventLog::default().latest(5).count(), 0);
    }
}
