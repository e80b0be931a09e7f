//! A plan as clients read it.

use serde_json::{Value, json};

use super::{ReloadPlan, SocketChange, SocketStep, WatcherChange, WatcherStep};
use crate::proto::Object;

impl ReloadPlan {
    /// The plan as properties of a reply.
    pub fn properties(&self) -> Object {
        let watchers: Value = self.watchers.iter().map(watcher).collect();
        let sockets: Value = self.sockets.iter().map(socket).collect();
        let circus = json!({"applied": self.applied, "needs_restart": self.needs_restart});
        [("watchers", watchers), ("sockets", sockets), ("circus", circus)]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// What is done, in a line for the log.
    pub fn summary(&self) -> String {
        let changes = |name: &'static str, count: usize| (count > 0).then(|| format!("{count} {name}"));
        let watchers = |kind: &'static str| self.watchers.iter().filter(|step| name_of(&step.change) == kind).count();
        let sockets = self.sockets.iter().filter(|step| step.change != SocketChange::Kept).count();
        let counts = ["scaled", "adjusted", "replaced", "added", "removed"].map(|kind| changes(kind, watchers(kind)));
        let rest = [changes("sockets changed", sockets), changes("options of [circus] applied", self.applied.len())];
        let counts: Vec<String> = counts.into_iter().chain(rest).flatten().collect();
        if counts.is_empty() { "nothing changed".into() } else { counts.join(", ") }
    }
}

fn name_of(change: &WatcherChange) -> &'static str {
    match change {
        WatcherChange::Kept => "kept",
        WatcherChange::Scaled { .. } => "scaled",
        WatcherChange::Adjusted { .. } => "adjusted",
        WatcherChange::Replaced { .. } => "replaced",
        WatcherChange::Added { .. } => "added",
        WatcherChange::Removed { .. } => "removed",
    }
}

fn watcher(step: &WatcherStep) -> Value {
    let (name, change) = (&step.name, name_of(&step.change));
    match &step.change {
        WatcherChange::Kept => json!({"name": name, "change": change}),
        WatcherChange::Scaled { from, to } => json!({"name": name, "change": change, "from": from, "to": to}),
        WatcherChange::Adjusted { why, scaled: None } => json!({"name": name, "change": change, "why": why}),
        WatcherChange::Adjusted { why, scaled: Some((from, to)) } => {
            json!({"name": name, "change": change, "why": why, "from": from, "to": to})
        }
        WatcherChange::Replaced { why, gracefully: true, .. } => {
            json!({"name": name, "change": change, "why": why, "gracefully": true})
        }
        WatcherChange::Replaced { why, gracefully: false, starts } => {
            json!({"name": name, "change": change, "why": why, "gracefully": false, "starts": starts})
        }
        WatcherChange::Added { starts } => json!({"name": name, "change": change, "starts": starts}),
        WatcherChange::Removed { dynamic: false } => json!({"name": name, "change": change}),
        WatcherChange::Removed { dynamic: true } => {
            json!({"name": name, "change": change, "why": ["made by add, and not in the file"]})
        }
    }
}

fn socket(step: &SocketStep) -> Value {
    let name = &step.name;
    match &step.change {
        SocketChange::Kept => json!({"name": name, "change": "kept"}),
        SocketChange::Adjusted(why) => json!({"name": name, "change": "adjusted", "why": why}),
        SocketChange::Replaced(why) => json!({"name": name, "change": "replaced", "why": why}),
        SocketChange::Added => json!({"name": name, "change": "added"}),
        SocketChange::Removed => json!({"name": name, "change": "removed"}),
    }
}
