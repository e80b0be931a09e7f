//! The health of a watcher, in one word.
//!
//! The wire's states are the original's four, and say what circusd is doing: a watcher whose workers die at once, for ever,
//! is `active`. People want to know whether it works. The arbiter decides that, and `status` with `verbose` says it.

use serde_json::{Map, Value};

/// The health of a watcher.
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
    /// No worker is up; the next start waits until a back-off is over.
    BackingOff,
    /// It has stopped of its own accord: its workers could not be started, or failed and are not replaced, or a hook
    /// refused it.
    Failed,
    /// It was not started: a watcher of a higher priority has not come up.
    HeldBack,
    /// A process of a watcher that is no service does its work.
    Running,
    /// It has done its work.
    Succeeded,
    /// Its schedule starts it.
    Scheduled,
    /// Its workers are being stopped.
    Stopping,
}

impl Health {
    /// Every value.
    pub const ALL: [Self; 13] = [
        Self::Disabled,
        Self::Stopped,
        Self::OnDemand,
        Self::Starting,
        Self::Ready,
        Self::Degraded,
        Self::BackingOff,
        Self::Failed,
        Self::HeldBack,
        Self::Running,
        Self::Succeeded,
        Self::Scheduled,
        Self::Stopping,
    ];

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
            Self::HeldBack => "held back",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Scheduled => "scheduled",
            Self::Stopping => "stopping",
        }
    }

    /// Whether the watcher does what it is for: all its workers run, or would as soon as a connection or a time comes, or
    /// have done their work.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Ready | Self::OnDemand | Self::Succeeded | Self::Scheduled)
    }

    /// Whether something is wrong, as opposed to wanted so or under way.
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::Degraded | Self::BackingOff | Self::Failed | Self::HeldBack)
    }
}

/// The health of a watcher with these `details` of `status`: as they say or, where they do not, as its state suggests.
pub fn health(details: &Map<String, Value>) -> Health {
    let text = |key: &str| details.get(key).and_then(Value::as_str);
    let said = text("health").and_then(|word| Health::ALL.into_iter().find(|health| health.name() == word));
    said.unwrap_or_else(|| match text("state") {
        Some("active") => Health::Ready,
        Some("starting") => Health::Starting,
        Some("stopping") => Health::Stopping,
        _ => Health::Stopped,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn health_is_what_the_details_say() {
        for health in Health::ALL {
            let details = json!({"state": "active", "health": health.name()});
            assert_eq!(super::health(details.as_object().unwrap()), health);
        }
        for (state, expected) in [("active", Health::Ready), ("starting", Health::Starting), ("?", Health::Stopped)] {
            assert_eq!(health(json!({"state": state}).as_object().unwrap()), expected);
        }
    }
}
