//! What keeps one worker as the model says.
//!
//! circusd keeps the process running; this keeps the watcher, and the settings of the worker. It compares what is wanted with what
//! is known, and gives one [`Order`] at a time, until nothing differs. What is known is asked for anew at an interval, and
//! whenever circusd reports a new process: a worker that was started again has lost its settings.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::model::Instance;
use super::secs;

/// How long pings are waited for while a worker starts, one after the other; the last again and again.
const STARTING: [u64; 4] = [100, 500, 900, 1000];
/// How long a worker has for its start, before its silence is no longer that of a start.
pub const START: Duration = secs(30);
/// How long a reply of a worker that has started is waited for.
pub const REPLY: Duration = secs(3);
/// After the broker has come back, workers have so long to come back too.
pub const AFTER_BROKER: Duration = secs(35);
/// Within this time, one worker is restarted once. One that needs more is disabled.
pub const RESTART_BUDGET: Duration = secs(60);
/// After this time circusd is asked again, where it could not be.
const CIRCUS_AGAIN: Duration = secs(2);
/// After this time an order that was refused is given again.
const REFUSED_AGAIN: Duration = secs(10);

/// What is to be done for a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// circusd: the state of the watcher.
    Status,
    /// circusd: add the watcher, and start it.
    Add,
    /// circusd: start it.
    Start,
    /// circusd: stop it.
    Stop,
    /// circusd: restart it.
    Restart,
    /// circusd: remove it.
    Remove,
    /// circusd: what the watcher was made from.
    Fingerprint,
    /// circusd: make the watcher from what is wanted now.
    Set,
    /// The worker: one command of Celery's remote control.
    Control {
        /// The command.
        method: &'static str,
        /// Its arguments.
        arguments: Value,
        /// How long the reply is waited for.
        timeout: Duration,
    },
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// circusd has answered.
    Circus(Value),
    /// circusd did not answer.
    NoCircus(String),
    /// The worker has replied.
    Reply(Value),
    /// The worker did not reply in time.
    Silence,
    /// The broker could not be reached.
    NoBroker(String),
}

/// What is to come next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// This order.
    Do(Order),
    /// Nothing, for now.
    Wait,
    /// The worker hangs too often: it is to be disabled.
    Disable,
    /// There is no watcher any more, as was wanted.
    Gone,
}

/// What the rest of the world allows.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The branch has no broker.
    pub paused: bool,
    /// When the broker came back.
    pub revived: Option<Duration>,
    /// The time between two looks at everything.
    pub interval: Duration,
    /// How long a worker that is to go may finish what it has begun.
    pub drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Watcher {
    Unknown,
    Absent,
    Stopped,
    Active,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Unknown,
    Starting { since: Duration, tries: usize },
    Answering,
}

/// What is known of one worker.
#[derive(Clone, Debug)]
pub struct Supervised {
    watcher: Watcher,
    /// Whether the watcher was made from what is wanted.
    current: Option<bool>,
    health: Health,
    queues: Option<BTreeSet<String>>,
    bounds: Option<(u32, u32)>,
    /// The order that was given, and the process that it was given for.
    busy: Option<(Order, u64)>,
    process: u64,
    not_before: Duration,
    verify_at: Duration,
    restarted: Option<Duration>,
    restart_asked: bool,
    hangs: bool,
    broker_down: bool,
    revived: Option<Duration>,
    drain_until: Option<Duration>,
    idle: bool,
    restarts: u64,
}

impl Supervised {
    /// A worker of which nothing is known.
    pub fn new(now: Duration) -> Self {
        Self {
            watcher: Watcher::Unknown,
            current: None,
            health: Health::Unknown,
            queues: None,
            bounds: None,
            busy: None,
            process: 0,
            not_before: now,
            verify_at: now,
            restarted: None,
            restart_asked: false,
            hangs: false,
            broker_down: false,
            revived: None,
            drain_until: None,
            idle: false,
            restarts: 0,
        }
    }

    /// What comes next. `fingerprint` shows whether the watcher has the wanted settings; see [`Order::Fingerprint`].
    pub fn step(&mut self, now: Duration, wanted: &Instance, world: &World) -> Step {
        if self.busy.is_some() || now < self.not_before {
            return Step::Wait;
        }
        let step = self.next(now, wanted, world);
        if let Step::Do(order) = &step {
            self.busy = Some((order.clone(), self.process));
        }
        step
    }

    fn next(&mut self, now: Duration, wanted: &Instance, world: &World) -> Step {
        if self.watcher == Watcher::Unknown {
            self.verify_at = now + world.interval;
            return Step::Do(Order::Status);
        }
        if wanted.deleting {
            return self.remove(now, world);
        }
        if !wanted.is_enabled {
            self.hangs = false;
            return match self.watcher {
                Watcher::Active => Step::Do(Order::Stop),
                _ => self.verify(now, world.interval),
            };
        }
        match self.watcher {
            Watcher::Absent => return Step::Do(Order::Add),
            Watcher::Stopped => return Step::Do(Order::Start),
            Watcher::Active | Watcher::Unknown => {}
        }
        match self.current {
            None => return Step::Do(Order::Fingerprint),
            Some(false) => return Step::Do(Order::Set),
            Some(true) => {}
        }
        if std::mem::take(&mut self.restart_asked) {
            return Step::Do(Order::Restart);
        }
        if std::mem::take(&mut self.hangs) {
            return Step::Disable;
        }
        if world.paused {
            return Step::Wait;
        }
        self.converse(now, wanted, world.interval)
    }

    /// The next request to the worker.
    fn converse(&mut self, now: Duration, wanted: &Instance, interval: Duration) -> Step {
        match self.health {
            Health::Unknown => return control("ping", json!({}), REPLY),
            Health::Starting { tries, .. } => {
                let limit = STARTING[tries.min(STARTING.len() - 1)];
                return control("ping", json!({}), Duration::from_millis(limit));
            }
            Health::Answering => {}
        }
        let bounds = (wanted.max_concurrency, wanted.min_concurrency);
        match self.bounds {
            _ if !wanted.scales() => {}
            None => return control("stats", json!({}), REPLY),
            Some(known) if known != bounds => {
                return control("autoscale", json!({"max": bounds.0, "min": bounds.1}), REPLY);
            }
            Some(_) => {}
        }
        let Some(known) = &self.queues else { return control("active_queues", json!({}), REPLY) };
        if let Some(missing) = wanted.queues.iter().find(|queue| !known.contains(&queue.name)) {
            let (exchange, exchange_type, routing_key) = missing.route();
            let mut arguments = missing.options.clone().unwrap_or_default();
            for (name, value) in [
                ("queue", missing.name.as_str()),
                ("exchange", exchange),
                ("exchange_type", exchange_type),
                ("routing_key", routing_key),
            ] {
                arguments.insert(name.into(), value.into());
            }
            return control("add_consumer", Value::Object(arguments), REPLY);
        }
        if let Some(extra) = extra(known, wanted) {
            return control("cancel_consumer", json!({"queue": extra}), REPLY);
        }
        self.verify(now, interval)
    }

    /// Everything is as wanted. After the interval it is looked at again.
    fn verify(&mut self, now: Duration, interval: Duration) -> Step {
        if now < self.verify_at {
            return Step::Wait;
        }
        self.watcher = Watcher::Unknown;
        self.health = Health::Unknown;
        self.bounds = None;
        self.queues = None;
        self.verify_at = now + interval;
        Step::Do(Order::Status)
    }

    /// The worker takes no more tasks, finishes those that it has, and goes.
    fn remove(&mut self, now: Duration, world: &World) -> Step {
        match self.watcher {
            Watcher::Absent => return Step::Gone,
            Watcher::Stopped | Watcher::Unknown => return Step::Do(Order::Remove),
            Watcher::Active => {}
        }
        let until = *self.drain_until.get_or_insert(now + world.drain);
        if now >= until || world.paused || self.health != Health::Answering || self.idle {
            return Step::Do(Order::Remove);
        }
        match &self.queues {
            None => control("active_queues", json!({}), REPLY),
            Some(known) => match known.first() {
                Some(queue) => control("cancel_consumer", json!({"queue": queue}), REPLY),
                None => control("active", json!({}), REPLY),
            },
        }
    }

    /// What came of the order that was given last.
    pub fn outcome(&mut self, now: Duration, wanted: &Instance, fingerprint: &str, world: &World, outcome: Outcome) {
        let Some((order, process)) = self.busy.take() else { return };
        match (order, outcome) {
            (Order::Control { method, .. }, outcome) => {
                // The answers of an earlier process are of no use for this one.
                let outcome = (process == self.process).then_some(outcome);
                self.heard(now, wanted, world, method, outcome);
            }
            (order, Outcome::Circus(reply)) if reply["status"] == "error" => {
                let absent = order != Order::Add && is_absent(&reply);
                self.watcher = if absent { Watcher::Absent } else { Watcher::Unknown };
                self.not_before = if absent { now } else { now + REFUSED_AGAIN };
            }
            (order, Outcome::Circus(reply)) => self.circus(now, fingerprint, &order, &reply),
            (_, _) => {
                self.watcher = Watcher::Unknown;
                self.not_before = now + CIRCUS_AGAIN;
            }
        }
    }

    fn circus(&mut self, now: Duration, fingerprint: &str, order: &Order, reply: &Value) {
        match order {
            Order::Status => {
                self.watcher = match reply["status"].as_str() {
                    Some("stopped") => Watcher::Stopped,
                    _ => Watcher::Active,
                };
            }
            Order::Add => {
                self.current = Some(true);
                self.started(now);
            }
            Order::Start => self.started(now),
            Order::Set => {
                self.current = Some(true);
                self.started(now);
            }
            Order::Restart => {
                self.restarted = Some(now);
                self.restarts += 1;
                self.started(now);
            }
            Order::Stop => {
                self.watcher = Watcher::Stopped;
                self.health = Health::Unknown;
            }
            Order::Remove => {
                self.watcher = Watcher::Unknown;
                self.not_before = now + Duration::from_millis(300);
            }
            Order::Fingerprint => {
                let made_from = reply["options"]["env"]["CYME_SPEC"].as_str();
                self.current = Some(made_from == Some(fingerprint));
            }
            Order::Control { .. } => {}
        }
    }

    /// A process has begun: it has lost earlier settings.
    fn started(&mut self, now: Duration) {
        self.process += 1;
        self.watcher = Watcher::Active;
        self.health = Health::Starting { since: now, tries: 0 };
        self.bounds = None;
        self.queues = None;
        self.not_before = now;
    }

    fn heard(&mut self, now: Duration, wanted: &Instance, world: &World, method: &str, outcome: Option<Outcome>) {
        match outcome {
            None => {}
            Some(Outcome::Reply(reply)) => {
                self.broker_back(now);
                self.replied(now, wanted, method, &reply);
            }
            Some(Outcome::NoBroker(_)) => {
                self.broker_down = true;
                self.not_before = now + secs(1);
            }
            Some(_) => {
                self.broker_back(now);
                self.silent(now, world, method);
            }
        }
    }

    fn broker_back(&mut self, now: Duration) {
        if std::mem::take(&mut self.broker_down) {
            self.revived = Some(now);
        }
    }

    fn replied(&mut self, now: Duration, wanted: &Instance, method: &str, reply: &Value) {
        let refused = reply.get("error").is_some();
        match method {
            "ping" => self.health = Health::Answering,
            "stats" => {
                let bound = |name: &str| reply["autoscaler"][name].as_u64().and_then(|n| u32::try_from(n).ok());
                // A worker that was started without autoscale stays as it is.
                let unchanged = (wanted.max_concurrency, wanted.min_concurrency);
                self.bounds = Some(bound("max").zip(bound("min")).unwrap_or(unchanged));
            }
            "active_queues" => {
                let names = reply.as_array().into_iter().flatten().filter_map(|queue| queue["name"].as_str());
                self.queues = Some(names.map(str::to_owned).collect());
            }
            "autoscale" => {
                self.bounds = None;
                self.not_before = now + Duration::from_millis(if refused { 5000 } else { 100 });
            }
            // The worker begins with it later: it is asked in a moment whether it has.
            "add_consumer" | "cancel_consumer" => {
                self.queues = None;
                self.not_before = now + Duration::from_millis(if refused { 5000 } else { 300 });
            }
            _ => {
                self.idle = reply.as_array().is_some_and(Vec::is_empty);
                self.not_before = now + Duration::from_millis(if self.idle { 0 } else { 500 });
            }
        }
    }

    fn silent(&mut self, now: Duration, world: &World, method: &str) {
        match self.health {
            Health::Starting { since, tries } if method == "ping" => {
                if now < since + START {
                    self.health = Health::Starting { since, tries: tries + 1 };
                } else {
                    self.health = Health::Unknown;
                    self.not_before = now + world.interval;
                }
            }
            Health::Unknown if method == "ping" => self.hanging(now, world),
            _ => self.health = Health::Unknown,
        }
    }

    /// The worker is there, and does not answer.
    fn hanging(&mut self, now: Duration, world: &World) {
        let revived = self.revived.max(world.revived);
        if world.paused || revived.is_some_and(|time| now < time + AFTER_BROKER) {
            self.not_before = now + REPLY;
        } else if self.restarted.is_some_and(|time| now < time + RESTART_BUDGET) {
            self.hangs = true;
        } else {
            self.restart_asked = true;
        }
    }

    /// circusd reports an event of the watcher.
    pub fn event(&mut self, now: Duration, event: &str, world: &World) {
        match event {
            "spawn" => self.started(now),
            "start" => {
                self.watcher = Watcher::Active;
                self.not_before = now;
            }
            // Without a request, the watcher is not started again at once.
            "stop" if self.watcher == Watcher::Active => {
                self.watcher = Watcher::Stopped;
                self.health = Health::Unknown;
                self.not_before = now + world.interval;
            }
            "remove" => {
                self.watcher = Watcher::Absent;
                self.not_before = now + secs(1);
            }
            _ => {}
        }
    }

    /// Something else is wanted than before.
    pub fn wake(&mut self, now: Duration) {
        self.not_before = now;
    }

    /// The watcher is to be made from something else.
    pub fn respecify(&mut self, now: Duration) {
        self.current = None;
        self.wake(now);
    }

    /// The worker is to be restarted, whatever its budget.
    pub fn restart(&mut self, now: Duration) {
        self.restart_asked = true;
        self.clear_budget();
        self.wake(now);
    }

    /// The restarts of before do not count.
    pub fn clear_budget(&mut self) {
        self.restarted = None;
        self.hangs = false;
    }

    /// When there may be a next step without anything happening.
    pub fn deadline(&self, now: Duration) -> Option<Duration> {
        if self.busy.is_some() {
            return None;
        }
        [self.not_before, self.verify_at].into_iter().filter(|time| *time > now).min()
    }

    /// Whether everything is as wanted, as far as is known.
    pub fn converged(&self, wanted: &Instance) -> bool {
        if wanted.deleting {
            return self.watcher == Watcher::Absent;
        }
        if !wanted.is_enabled {
            return matches!(self.watcher, Watcher::Absent | Watcher::Stopped);
        }
        let bounds = Some((wanted.max_concurrency, wanted.min_concurrency));
        let queues = self.queues.as_ref().is_some_and(|known| {
            wanted.queues.iter().all(|queue| known.contains(&queue.name)) && extra(known, wanted).is_none()
        });
        self.watcher == Watcher::Active
            && self.current == Some(true)
            && self.health == Health::Answering
            && queues
            && (!wanted.scales() || self.bounds == bounds)
    }

    /// Whether its worker has answered.
    pub fn answers(&self) -> bool {
        self.watcher == Watcher::Active && self.health == Health::Answering
    }

    /// How often it was restarted because it hung, or by request.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }
}

/// Whether circusd says that there is no such watcher.
fn is_absent(reply: &Value) -> bool {
    reply["reason"].as_str().is_some_and(|reason| reason.contains("not found"))
}

fn control(method: &'static str, arguments: Value, timeout: Duration) -> Step {
    Step::Do(Order::Control { method, arguments, timeout })
}

/// A queue that the worker consumes from, and should not.
fn extra<'a>(known: &'a BTreeSet<String>, wanted: &Instance) -> Option<&'a String> {
    let own = wanted.direct_queue();
    known.iter().find(|name| **name != own && !wanted.queues.iter().any(|queue| queue.name == **name))
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
