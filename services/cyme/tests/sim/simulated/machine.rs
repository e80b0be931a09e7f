//! One machine: its circusd, its workers, the disk of its branch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use circus_cyme::core::{Branch, Event, Outcome};
use serde_json::{Map, Value, json};

use super::Kept;

pub(crate) struct Machine {
    pub(crate) branch: Option<Branch>,
    pub(crate) kept: Kept,
    /// The broker cannot be reached.
    pub(crate) cut: bool,
    /// Changes cannot be stored.
    pub(crate) disk_full: bool,
    /// Counts the lives of the branch: what was meant for an earlier one does not arrive.
    pub(crate) life: u64,
    pub(crate) tick: Option<Duration>,
    pub(crate) last_call: Duration,
    watchers: BTreeMap<String, Watcher>,
}

struct Watcher {
    env: Value,
    active: bool,
    queues: BTreeSet<String>,
    bounds: (u64, u64),
}

impl Machine {
    pub(crate) fn new(_number: usize) -> Self {
        Self {
            branch: None,
            kept: Kept::default(),
            cut: false,
            disk_full: false,
            life: 0,
            tick: None,
            last_call: Duration::ZERO,
            watchers: BTreeMap::new(),
        }
    }

    pub(crate) fn kill(&mut self) {
        self.branch = None;
        self.life += 1;
        self.tick = None;
    }

    /// The names of the instances whose workers run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &str> {
        let active = self.watchers.iter().filter(|(_, watcher)| watcher.active);
        active.map(|(name, _)| name.strip_prefix("cyme-").unwrap())
    }

    pub(crate) fn is_settled(&self) -> bool {
        let Some(branch) = &self.branch else { return false };
        let settled = |name: &str| match (branch.model().instances.get(name), branch.worker(name)) {
            (Some(instance), Some(worker)) => worker.converged(instance),
            _ => false,
        };
        branch.has_broker() && branch.model().instances.keys().all(|name| settled(name))
    }

    /// What circusd does, and reports, after so many milliseconds.
    pub(crate) fn circus(&mut self, call: u64, command: &str, properties: &Map<String, Value>) -> Vec<(u64, Event)> {
        if command == "stats" {
            return vec![(5, Event::Outcome { call, outcome: Outcome::Circus(json!({"infos": {}})) })];
        }
        let name = properties["name"].as_str().unwrap().to_owned();
        let watcher = self.watchers.get_mut(&name);
        let mut events = Vec::new();
        let reply = match (command, watcher) {
            ("add", Some(_)) => json!({"status": "error", "reason": "it exists already"}),
            ("add", None) => {
                let options = &properties["options"];
                let watcher = Watcher {
                    env: options["env"].clone(),
                    active: true,
                    queues: BTreeSet::from([format!("dq.{}", name.strip_prefix("cyme-").unwrap())]),
                    bounds: (1, 1),
                };
                self.watchers.insert(name.clone(), watcher);
                events.push("spawn");
                json!({"status": "ok"})
            }
            (_, None) => json!({"status": "error", "reason": format!("program {name} not found")}),
            ("status", Some(watcher)) => json!({"status": if watcher.active { "active" } else { "stopped" }}),
            ("get", Some(watcher)) => json!({"status": "ok", "options": {"env": watcher.env}}),
            ("stop", Some(watcher)) => {
                watcher.active = false;
                events.push("stop");
                json!({"status": "ok"})
            }
            ("rm", Some(_)) => {
                self.watchers.remove(&name);
                events.push("remove");
                json!({"status": "ok"})
            }
            ("set", Some(watcher)) => {
                watcher.env = properties["options"]["env"].clone();
                events.push("spawn");
                json!({"status": "ok"})
            }
            (_, Some(watcher)) => {
                watcher.active = true;
                watcher.queues = BTreeSet::from([format!("dq.{}", name.strip_prefix("cyme-").unwrap())]);
                watcher.bounds = (1, 1);
                events.push("spawn");
                json!({"status": "ok"})
            }
        };
        let told = events
            .into_iter()
            .map(|event| (7, Event::Watcher { name: name.clone(), event: event.into(), about: Value::Null }));
        let mut all = vec![(5, Event::Outcome { call, outcome: Outcome::Circus(reply) })];
        all.extend(told);
        all
    }

    /// What a worker replies, and when.
    pub(crate) fn control(
        &mut self,
        _now: Duration,
        name: &str,
        method: &str,
        arguments: &Value,
        timeout: Duration,
    ) -> (Duration, Outcome) {
        if self.cut {
            return (Duration::from_millis(1), Outcome::NoBroker("cut off".into()));
        }
        let Some(watcher) = self.watchers.get_mut(&format!("cyme-{name}")).filter(|watcher| watcher.active) else {
            return (timeout, Outcome::Silence);
        };
        let queue = arguments["queue"].as_str().unwrap_or_default().to_owned();
        let reply = match method {
            "stats" => json!({"autoscaler": {"max": watcher.bounds.0, "min": watcher.bounds.1}}),
            "active_queues" => json!(watcher.queues.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()),
            "active" => json!([]),
            "add_consumer" => {
                watcher.queues.insert(queue);
                json!({"ok": ""})
            }
            "cancel_consumer" => {
                watcher.queues.remove(&queue);
                json!({"ok": ""})
            }
            "autoscale" => {
                watcher.bounds = (arguments["max"].as_u64().unwrap(), arguments["min"].as_u64().unwrap());
                json!({"ok": ""})
            }
            _ => json!({"ok": "pong"}),
        };
        (Duration::from_millis(4), Outcome::Reply(reply))
    }
}
