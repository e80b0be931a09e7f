//! The figures of a branch.

use std::fmt::Write as _;

use serde::Serialize;

use crate::core::Branch;

/// The instances of a branch at some time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When: seconds since the epoch.
    pub time: f64,
    /// Those that are enabled.
    pub enabled: u32,
    /// Those whose worker has answered.
    pub answering: u32,
}

/// What can be counted of a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    branch: String,
    broker: bool,
    circusd: bool,
    apps: usize,
    queues: usize,
    instances: usize,
    enabled: usize,
    answering: usize,
    restarts: u64,
    requests: usize,
    messages: u64,
    failures: u64,
    unsaved: usize,
}

impl Figures {
    pub(crate) fn of(branch: &Branch, circusd: bool, failures: u64) -> Self {
        let model = branch.model();
        let workers = || model.instances.keys().filter_map(|name| branch.worker(name));
        Self {
            branch: branch.settings().id.clone(),
            broker: branch.has_broker(),
            circusd,
            apps: model.apps.len(),
            queues: model.queues.len(),
            instances: model.instances.len(),
            enabled: model.instances.values().filter(|instance| instance.is_enabled).count(),
            answering: workers().filter(|worker| worker.answers()).count(),
            restarts: workers().map(|worker| worker.restarts()).sum(),
            requests: branch.under_way(),
            messages: branch.messages(),
            failures,
            unsaved: branch.unsaved(),
        }
    }

    /// The instances, at this time.
    pub fn sample(&self, time: f64) -> Sample {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Sample { time, enabled: count(self.enabled), answering: count(self.answering) }
    }

    /// The id of the branch.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Whether the branch can do its work.
    pub fn healthy(&self) -> bool {
        self.broker && self.circusd && self.unsaved == 0
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        let number = |number: usize| number as u64;
        let figures = [
            ("broker_up", "gauge", "Whether the broker can be reached", u64::from(self.broker)),
            ("circusd_up", "gauge", "Whether circusd answered the last request", u64::from(self.circusd)),
            ("apps", "gauge", "Applications that this branch keeps", number(self.apps)),
            ("queues", "gauge", "Queues that this branch keeps", number(self.queues)),
            ("instances", "gauge", "Instances of this branch", number(self.instances)),
            ("instances_enabled", "gauge", "Enabled instances", number(self.enabled)),
            ("instances_answering", "gauge", "Instances whose worker has answered", number(self.answering)),
            ("restarts_total", "counter", "Restarts of workers that did not answer, or by request", self.restarts),
            ("requests", "gauge", "Requests in progress", number(self.requests)),
            ("messages_total", "counter", "Messages to the broker and to workers", self.messages),
            ("store_failures_total", "counter", "Attempts to store a change that failed", self.failures),
            (
                "changes_unsaved",
                "gauge",
                "Changes in memory only, since they could not be stored",
                number(self.unsaved),
            ),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in figures {
            let branch = &self.branch;
            let _ = writeln!(text, "# HELP cyme_{name} {help}.\n# TYPE cyme_{name} {kind}");
            let _ = writeln!(text, "cyme_{name}{{branch=\"{branch}\"}} {value}");
        }
        text
    }
}
