//! One process and its life.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::fleet::escalation::Escalation;
use crate::arbiter::fleet::vitals::{Stage, Vitals};
use crate::arbiter::ids::{JobId, Wid};
use crate::arbiter::outcome::Cause;
use crate::arbiter::time::{Mono, Now};
use crate::base::Pid;
use crate::proto::{Object, Signal};

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum WorkerState {
    /// Its launch is wanted, and before_spawn has not answered yet.
    Preparing,
    /// Its launch is wanted; the daemon has not taken it up yet.
    Queued,
    /// Its launch was taken up; it is not at work yet.
    Starting {
        /// A stop came meanwhile: it gets the stop signal as soon as it exists.
        stop_pending: bool,
    },
    /// It runs its program, and after_spawn has not answered yet.
    Accepting,
    /// It runs its program, and has not shown yet that it is ready.
    Unready,
    /// At work.
    Running,
    /// It has got the stop signal.
    Terminating {
        /// By this signal.
        signal: Signal,
        /// The next signal follows then: of `escalation`, or SIGKILL, again and again until it helps.
        kill_at: Mono,
    },
}

impl WorkerState {
    /// Whether it is on its way up.
    pub(in crate::arbiter) fn is_coming(self) -> bool {
        match self {
            Self::Preparing | Self::Queued | Self::Starting { .. } | Self::Accepting | Self::Unready => true,
            Self::Running | Self::Terminating { .. } => false,
        }
    }

    /// Whether no process has been asked for yet.
    pub(in crate::arbiter) fn is_unlaunched(self) -> bool {
        matches!(self, Self::Preparing | Self::Queued)
    }
}

/// A record of a worker. It exists from the decision to start the worker until its exit is reaped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct Worker {
    /// Its number among its watcher's workers.
    pub wid: Wid,
    /// Known once it is spawned.
    pub pid: Option<Pid>,
    /// When its launch was asked for, then when it was spawned.
    pub started: Now,
    /// When its process ended, while others that it has started live on.
    pub leader_ended: Option<Mono>,
    /// Where it is in its life.
    pub state: WorkerState,
    /// What it still gets while it is being stopped, where `stop_signal` names several signals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Box<Escalation>>,
    /// A graceful reload replaces it, or it is one too many: it is not counted any more.
    pub retiring: bool,
    /// Its slot is its successor's already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hands_over: bool,
    /// Its death was asked for, so it is never an early one.
    pub exit_expected: bool,
    /// `after_spawn` has returned false for it.
    pub refused: bool,
    /// Requests that wait for its death.
    pub awaited_by: Vec<JobId>,
    /// What is known of its readiness and health, where the watcher asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Box<Vitals>>,
}

/// What a worker counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arbiter) enum WorkerClass {
    Starting,
    Unready,
    Running,
    /// Stopped before it was ready: its launch has failed when it is gone.
    Failing,
    /// Terminating; its place is filled when it is gone.
    Dying,
    /// Being replaced by a reload, or too many.
    Outgoing,
}

impl Worker {
    pub(in crate::arbiter) fn new(wid: Wid, now: Now) -> Self {
        Self {
            wid,
            pid: None,
            started: now,
            leader_ended: None,
            state: WorkerState::Queued,
            escalation: None,
            retiring: false,
            hands_over: false,
            exit_expected: false,
            refused: false,
            awaited_by: Vec::new(),
            vitals: None,
        }
    }

    /// How long its process lived, which has ended by now.
    pub(in crate::arbiter) fn lived(&self, now: Now) -> Duration {
        self.leader_ended.unwrap_or(now.mono).since(self.started.mono)
    }

    pub(in crate::arbiter) fn class(&self) -> WorkerClass {
        if self.retiring {
            return WorkerClass::Outgoing;
        }
        match self.state {
            WorkerState::Preparing
            | WorkerState::Queued
            | WorkerState::Starting { stop_pending: false }
            | WorkerState::Accepting => WorkerClass::Starting,
            WorkerState::Unready => WorkerClass::Unready,
            WorkerState::Running => WorkerClass::Running,
            WorkerState::Terminating { .. } if self.is_short_of_ready() => WorkerClass::Failing,
            WorkerState::Starting { stop_pending: true } | WorkerState::Terminating { .. } => WorkerClass::Dying,
        }
    }

    /// Whether it was to get ready, and has not.
    pub(in crate::arbiter) fn is_short_of_ready(&self) -> bool {
        self.vitals.as_ref().is_some_and(|vitals| vitals.stage == Stage::GettingReady)
    }

    /// What is known of its readiness and health, as fields of an answer; nothing where the watcher does not ask for it.
    pub(in crate::arbiter) fn report(&self) -> Object {
        let Some(vitals) = &self.vitals else { return Object::new() };
        Object::from_iter([
            ("ready".to_owned(), (!self.is_short_of_ready()).into()),
            ("status".to_owned(), vitals.status.clone().into()),
            ("check_error".to_owned(), vitals.error.clone().into()),
        ])
    }

    /// Whether an earlier circusd has started it.
    pub(in crate::arbiter) fn is_adopted(&self) -> bool {
        self.vitals.as_ref().is_some_and(|vitals| vitals.is_adopted)
    }

    /// Why it is being stopped, if a probe has failed.
    pub(in crate::arbiter) fn verdict(&self) -> Option<&Cause> {
        self.vitals.as_ref().and_then(|vitals| vitals.verdict.as_ref())
    }

    /// Whether it has got to its program.
    pub(in crate::arbiter) fn is_up(&self) -> bool {
        match self.state {
            WorkerState::Preparing | WorkerState::Queued | WorkerState::Starting { .. } => false,
            WorkerState::Accepting | WorkerState::Unready | WorkerState::Running | WorkerState::Terminating { .. } => {
                true
            }
        }
    }

    /// Whether it is stopping, or will be.
    pub(in crate::arbiter) fn is_ending(&self) -> bool {
        match self.state {
            WorkerState::Starting { stop_pending } => stop_pending,
            WorkerState::Preparing
            | WorkerState::Queued
            | WorkerState::Accepting
            | WorkerState::Unready
            | WorkerState::Running => false,
            WorkerState::Terminating { .. } => true,
        }
    }
}
