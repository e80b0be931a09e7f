//! `wait`

use serde_json::Value;

use super::{CommandSpec, ConsoleOption, ConsoleSpec, Doc, Health, Role, Waiting, console, health, report};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "wait",
    summary: "Wait until watchers are ready, stopped or have no workers",
    doc: Doc {
        purpose: "Waits until all of the watchers are ready: all their workers run and, where the option ready is \
                  set, are ready; with kind = oneshot, the run has succeeded. With --for stopped it waits until they \
                  are stopped, with --for exited until they have no worker left. The exit status is 0 then. It is 3 if \
                  that does not happen within --timeout, or cannot happen because a watcher has failed; standard error \
                  has the reason. Without --timeout it waits without limit. circusctl subscribes to the events of the \
                  watchers, so it does not poll. For a watcher with kind = oneshot it prints the result of the run.",
        reply: "The control endpoint always refuses this message: a client subscribes to events and requests status, \
                as circusctl does.",
        message: r#"{"command": "wait", "properties": {}}"#,
        answer: r#"{"status": "error", "reason": "invalid message. subscribe to events, and ask for status", "tb": null, "time": 1700000000.0, "errno": 3}"#,
        example: "wait web --for ready --timeout 30",
    },
    properties: &[],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::awaiting(
        "NAME...",
        &[ConsoleOption::value("for", "STATE", "ready (the default), stopped or exited.")],
    )
    .naming(console::every),
};

fn decode(_properties: &Object) -> Result<Request, Fault> {
    Err(Fault::message("invalid message. subscribe to events, and ask for status"))
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitGoal {
    /// All workers run, and are ready.
    Ready,
    /// The watcher is stopped.
    Stopped,
    /// No worker is left, and none comes.
    Exited,
}

/// How far a watcher is from what is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It is so.
    Reached,
    /// It is not so yet: the health of the watcher.
    NotYet(String),
    /// It will not be so without a command: why.
    Hopeless(String),
}

impl WaitGoal {
    /// The goal of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ready" => Some(Self::Ready),
            "stopped" => Some(Self::Stopped),
            "exited" => Some(Self::Exited),
            _ => None,
        }
    }

    /// As it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
        }
    }

    /// What the `details` of `status` say about it.
    pub fn outlook(self, details: &Object) -> Outlook {
        let health = health(details);
        let stopped = details.get("state").and_then(Value::as_str) == Some("stopped");
        let reached = match self {
            Self::Ready => health.is_well(),
            Self::Stopped => stopped,
            Self::Exited => stopped || has_no_worker(details),
        };
        let fares = || match report::reason(details) {
            Some(reason) => format!("{}: {reason}", health.name()),
            None => health.name().to_owned(),
        };
        match (reached, self, health) {
            (true, ..) => Outlook::Reached,
            (false, Self::Ready, Health::HeldBack) if details.get("starts_by_itself") == Some(&Value::Bool(true)) => {
                Outlook::NotYet(fares())
            }
            (false, Self::Ready, Health::Failed | Health::HeldBack) => Outlook::Hopeless(fares()),
            (false, ..) => Outlook::NotYet(fares()),
        }
    }
}

fn has_no_worker(details: &Object) -> bool {
    let is_none = |key: &str| details.get(key).and_then(Value::as_u64).unwrap_or_default() == 0;
    let is_empty = |key: &str| details.get(key).and_then(Value::as_array).is_none_or(Vec::is_empty);
    let idle = details.get("operation").is_none_or(Value::is_null);
    idle && ["starting", "running", "stopping"].into_iter().all(is_none)
        && ["processes", "backing_off"].into_iter().all(is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::refused;

    fn outlook(goal: WaitGoal, details: &Value) -> Outlook {
        goal.outlook(details.as_object().unwrap())
    }

    #[test]
    fn what_status_says_of_each_goal() {
        let ready = json!({"state": "active", "health": "ready", "running": 1, "processes": [{"pid": 1}]});
        let starting = json!({"state": "starting", "health": "starting", "starting": 1, "processes": [{"pid": 1}]});
        let failed = json!({"state": "stopped", "health": "failed", "reason": "worker 1 exited"});
        let done = json!({"state": "active", "health": "degraded", "running": 0, "processes": [], "backing_off": []});
        assert_eq!(outlook(WaitGoal::Ready, &ready), Outlook::Reached);
        assert_eq!(outlook(WaitGoal::Ready, &starting), Outlook::NotYet("starting".into()));
        assert_eq!(outlook(WaitGoal::Ready, &failed), Outlook::Hopeless("failed: worker 1 exited".into()));
        assert_eq!(outlook(WaitGoal::Stopped, &failed), Outlook::Reached);
        assert_eq!(outlook(WaitGoal::Stopped, &ready), Outlook::NotYet("ready".into()));
        for (details, reached) in [(&ready, false), (&starting, false), (&failed, true), (&done, true)] {
            assert_eq!(outlook(WaitGoal::Exited, details) == Outlook::Reached, reached, "{details}");
        }
        for name in ["ready", "stopped", "exited"] {
            assert_eq!(WaitGoal::named(name).map(WaitGoal::name), Some(name));
        }
        assert_eq!(WaitGoal::named("running"), None);
    }

    #[test]
    fn the_control_endpoint_refuses_it() {
        let reason = "invalid message. subscribe to events, and ask for status";
        assert_eq!(refused(&SPEC, json!({})), (3, reason.into()));
    }
}
