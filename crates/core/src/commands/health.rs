//! How a watcher fares, in one word: what `status` with `verbose` tells of it, read.
//!
//! The wire's states are the original's four, and say what circusd is doing: a watcher whose workers die at once, for ever,
//! is `active`. People want to know whether it works.

use serde_json::{Map, Value};

/// How a watcher fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has never been started: `autostart = no`, or it is about to be.
    Disabled,
    /// It was stopped.
    Stopped,
    /// It is started by the next connection to one of its sockets.
    OnDemand,
    /// Its workers are on their way, and none has failed.
    Starting,
    /// All its workers run.
    Ready,
    /// Some of its workers run, not all.
    Degraded,
    /// No worker runs; the next try waits until a back-off is over.
    BackingOff,
    /// It has stopped because its workers could not be started.
    Failed,
    /// Its workers are being stopped.
    Stopping,
}

impl Health {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
            Self::OnDemand => "on demand",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::BackingOff => "backing off",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
    }

    /// Whether the watcher does what it is for: all its workers run, or would as soon as a connection comes.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Ready | Self::OnDemand)
    }

    /// Whether something is wrong, as opposed to wanted so or under way.
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::Degraded | Self::BackingOff | Self::Failed)
    }
}

/// How a watcher with these `details` of `status` fares.
pub fn health(details: &Map<String, Value>) -> Health {
    let count = |key: &str| details.get(key).and_then(Value::as_u64).unwrap_or_default();
    let time = |key: &str| details.get(key)?.get("time")?.as_f64();
    let backing_off = details.get("backing_off").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let (running, wanted) = (count("running"), count("wanted"));
    match details.get("state").and_then(Value::as_str) {
        Some("stopping") => Health::Stopping,
        Some("active" | "starting") if backing_off > 0 => {
            // A worker that has just been started again runs, and has not proved itself.
            if running.min(wanted.saturating_sub(backing_off)) == 0 { Health::BackingOff } else { Health::Degraded }
        }
        Some("starting") => Health::Starting,
        Some("active") if running >= wanted => Health::Ready,
        Some("active") if count("starting") > 0 || details.get("operation").is_some_and(Value::is_string) => {
            Health::Starting
        }
        Some("active") => Health::Degraded,
        _ if details.get("waits_for").is_some_and(Value::is_array) => Health::OnDemand,
        _ if time("last_failure") > time("last_exit") => Health::Failed,
        _ if count("spawned") == 0 && time("last_exit").is_none() => Health::Disabled,
        _ => Health::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_and_what_lies_behind_them() {
        let row = json!({"wid": 1, "times": 3, "exit_code": 1, "wait": 0.4, "left": 0.2});
        for (details, expected) in [
            (json!({"state": "active", "wanted": 3, "running": 3}), Health::Ready),
            (json!({"state": "active", "wanted": 0, "running": 0}), Health::Ready),
            (json!({"state": "active", "wanted": 3, "running": 1}), Health::Degraded),
            (json!({"state": "active", "wanted": 3, "running": 1, "starting": 2}), Health::Starting),
            (json!({"state": "active", "wanted": 3, "running": 2, "operation": "reload"}), Health::Starting),
            (json!({"state": "active", "wanted": 1, "running": 0, "backing_off": [row]}), Health::BackingOff),
            (json!({"state": "active", "wanted": 1, "running": 1, "backing_off": [row]}), Health::BackingOff),
            (json!({"state": "active", "wanted": 3, "running": 3, "backing_off": [row]}), Health::Degraded),
            (json!({"state": "starting", "wanted": 1, "running": 0, "backing_off": []}), Health::Starting),
            (json!({"state": "starting", "wanted": 1, "running": 0, "backing_off": [row]}), Health::BackingOff),
            (json!({"state": "stopping", "wanted": 1, "running": 1}), Health::Stopping),
            (json!({"state": "stopped", "spawned": 0, "last_failure": null}), Health::Disabled),
            (json!({"state": "stopped", "spawned": 4, "last_exit": {"time": 5.0}}), Health::Stopped),
            (json!({"state": "stopped", "spawned": 0, "last_failure": {"time": 5.0}}), Health::Failed),
            (json!({"state": "stopped", "last_failure": {"time": 5.0}, "last_exit": {"time": 6.0}}), Health::Stopped),
            (json!({"state": "stopped", "waits_for": ["web"]}), Health::OnDemand),
        ] {
            assert_eq!(health(details.as_object().unwrap()), expected, "{details}");
        }
    }
}
