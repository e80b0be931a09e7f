//! Runs of watchers that are no services (`kind`), as events and answers have them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Object;

/// Why a run has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunTrigger {
    /// The watcher was started.
    Start,
    /// The command `run`.
    Request,
    /// The schedule.
    Schedule,
    /// The schedule, which could not be followed in time.
    Missed,
}

impl RunTrigger {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Request => "request",
            Self::Schedule => "schedule",
            Self::Missed => "missed",
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunResult {
    /// Its process has exited with one of `success_codes`.
    Success,
    /// It has not, and is not tried again.
    Failure,
    /// It was stopped before it had finished.
    Stopped,
}

impl RunResult {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Stopped => "stopped",
        }
    }
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// What it came to.
    pub result: RunResult,
    /// The exit status of its last process, or minus the signal that ended it; none where no process has run.
    pub exit_code: Option<i32>,
    /// When it began, in seconds since the epoch.
    pub began: f64,
    /// How long it took, in seconds.
    pub duration: f64,
    /// How many processes it took.
    pub attempts: u32,
    /// Why it began.
    pub trigger: RunTrigger,
    /// Why it has failed.
    pub reason: Option<String>,
}

impl RunReport {
    /// As an object of an answer.
    pub fn fields(&self) -> Object {
        let value = json!({
            "result": self.result.name(), "exit_code": self.exit_code, "began": self.began, "duration": self.duration,
            "attempts": self.attempts, "trigger": self.trigger.name(), "reason": self.reason,
        });
        value.as_object().cloned().unwrap_or_default()
    }
}
