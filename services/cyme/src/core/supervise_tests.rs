use std::collections::BTreeMap;

use super::super::model::{InstanceFields, Queue};
use super::*;

const MADE_FROM: &str = "f";

/// A worker that carries out its requests, its watcher, and the clock.
struct Machine {
    now: Duration,
    supervised: Supervised,
    instance: Instance,
    world: World,
    watcher: Option<bool>,
    queues: BTreeSet<String>,
    bounds: (u64, u64),
    /// The worker does not answer.
    hung: bool,
    /// It hangs again after it was restarted.
    stays_hung: bool,
    tasks: usize,
    orders: Vec<String>,
}

impl Machine {
    fn new() -> Self {
        let instance = Instance::new("i", "foo", &InstanceFields::default(), 0.0);
        let world = World { paused: false, revived: None, interval: secs(60), drain: secs(30) };
        Self {
            now: secs(1000),
            supervised: Supervised::new(secs(1000)),
            instance,
            world,
            watcher: None,
            queues: BTreeSet::new(),
            bounds: (0, 0),
            hung: false,
            stays_hung: false,
            tasks: 0,
            orders: Vec::new(),
        }
    }

    /// A machine whose worker is as wanted.
    fn settled() -> Self {
        let mut machine = Self::new();
        machine.run(secs(20));
        assert!(machine.supervised.converged(&machine.instance));
        machine.orders.clear();
        machine
    }

    fn launch(&mut self) {
        self.watcher = Some(true);
        self.queues = BTreeSet::from(["dq.i".to_owned()]);
        self.bounds = (1, 1);
        self.hung = self.stays_hung;
        self.supervised.event(self.now, "spawn", &self.world);
    }

    /// Lets this much time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            match self.supervised.step(self.now, &self.instance, &self.world) {
                Step::Do(order) => self.answer(order),
                Step::Disable => {
                    self.orders.push("disable".into());
                    self.instance.is_enabled = false;
                }
                Step::Gone => return self.orders.push("gone".into()),
                Step::Wait => match self.supervised.deadline(self.now) {
                    Some(next) if next <= end => self.now = next,
                    _ => break,
                },
            }
        }
        self.now = end;
    }

    fn answer(&mut self, order: Order) {
        let mut outcome = match &order {
            Order::Control { method, arguments, timeout } => self.hear(method, arguments, *timeout),
            other => self.circus(other),
        };
        if let Order::Control { method, .. } = &order {
            self.orders.push((*method).to_owned());
        } else if !matches!(order, Order::Status | Order::Fingerprint) {
            self.orders.push(format!("{order:?}"));
        }
        if self.world.paused {
            outcome = if matches!(order, Order::Control { .. }) { Outcome::NoBroker(String::new()) } else { outcome };
        }
        self.supervised.outcome(self.now, &self.instance, MADE_FROM, &self.world, outcome);
        if matches!(order, Order::Add | Order::Start | Order::Restart | Order::Set) {
            self.launch();
        }
    }

    fn circus(&mut self, order: &Order) -> Outcome {
        let absent = json!({"status": "error", "reason": "program cyme-i not found"});
        let ok = json!({"status": "ok"});
        Outcome::Circus(match (order, self.watcher) {
            (Order::Add, _) => ok,
            (_, None) => absent,
            (Order::Status, Some(active)) => json!({"status": if active { "active" } else { "stopped" }}),
            (Order::Fingerprint, _) => json!({"status": "ok", "options": {"env": {"CYME_SPEC": MADE_FROM}}}),
            (Order::Stop, _) => {
                self.watcher = Some(false);
                ok
            }
            (Order::Remove, _) => {
                self.watcher = None;
                ok
            }
            _ => ok,
        })
    }

    fn hear(&mut self, method: &str, arguments: &Value, timeout: Duration) -> Outcome {
        if self.hung {
            self.now += timeout;
            return Outcome::Silence;
        }
        Outcome::Reply(match method {
            "ping" => json!({"ok": "pong"}),
            "stats" => json!({"autoscaler": {"max": self.bounds.0, "min": self.bounds.1}}),
            "active_queues" => json!(self.queues.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()),
            "autoscale" => {
                self.bounds = (arguments["max"].as_u64().unwrap(), arguments["min"].as_u64().unwrap());
                json!({"ok": ""})
            }
            "add_consumer" => {
                self.queues.insert(arguments["queue"].as_str().unwrap().to_owned());
                json!({"ok": ""})
            }
            "cancel_consumer" => {
                self.queues.remove(arguments["queue"].as_str().unwrap());
                json!({"ok": ""})
            }
            _ => {
                self.tasks = self.tasks.saturating_sub(1);
                json!(vec![json!({}); self.tasks])
            }
        })
    }

    /// How often each order was given.
    fn count(&self, order: &str) -> usize {
        let mut counts = BTreeMap::new();
        for order in &self.orders {
            *counts.entry(order.as_str()).or_insert(0) += 1;
        }
        counts.get(order).copied().unwrap_or(0)
    }
}

fn queue(name: &str) -> Queue {
    Queue { name: name.into(), ..Queue::default() }
}

#[test]
fn an_absent_watcher_is_added_and_its_worker_told() {
    let mut machine = Machine::new();
    machine.instance.queues.push(queue("tasks"));
    machine.instance.max_concurrency = 4;
    machine.run(secs(10));
    assert_eq!(machine.orders[..5], ["Add", "ping", "stats", "autoscale", "stats"]);
    assert_eq!((machine.count("add_consumer"), machine.bounds), (1, (4, 1)));
    assert!(machine.queues.contains("tasks"));
    assert!(machine.supervised.converged(&machine.instance));
}

#[test]
fn a_new_process_is_told_again() {
    let mut machine = Machine::new();
    machine.instance.queues.push(queue("tasks"));
    machine.run(secs(10));
    machine.orders.clear();
    machine.launch();
    assert!(!machine.supervised.converged(&machine.instance));
    machine.run(secs(2));
    assert_eq!(machine.count("add_consumer"), 1);
    assert!(machine.supervised.converged(&machine.instance));
}

#[test]
fn what_is_not_wanted_is_cancelled_but_its_own_queue() {
    let mut machine = Machine::settled();
    machine.queues.insert("other".into());
    machine.run(secs(61));
    assert_eq!(machine.queues, BTreeSet::from(["dq.i".to_owned()]));
}

#[test]
fn a_silent_worker_is_restarted_once_a_minute_and_then_disabled() {
    let mut machine = Machine::settled();
    machine.world.interval = secs(5);
    machine.hung = true;
    machine.run(secs(61));
    assert_eq!(machine.count("Restart"), 1);
    assert!(machine.supervised.converged(&machine.instance));
    machine.hung = true;
    machine.run(secs(20));
    assert_eq!((machine.count("Restart"), machine.count("disable"), machine.count("Stop")), (1, 1, 1));
    assert_eq!(machine.watcher, Some(false));
}

#[test]
fn a_restart_by_request_does_not_count() {
    let mut machine = Machine::settled();
    machine.supervised.restart(machine.now);
    machine.run(secs(2));
    assert_eq!(machine.count("Restart"), 1);
    machine.supervised.clear_budget();
    machine.hung = true;
    machine.run(secs(61));
    assert_eq!((machine.count("Restart"), machine.count("disable")), (2, 0));
}

#[test]
fn a_second_restart_after_a_minute_is_no_reason_to_disable() {
    let mut machine = Machine::settled();
    machine.stays_hung = true;
    machine.hung = true;
    machine.run(secs(400));
    assert!(machine.count("Restart") >= 3, "{:?}", machine.orders);
    assert_eq!(machine.count("disable"), 0);
}

#[test]
fn no_worker_is_restarted_without_a_broker_nor_soon_after() {
    let mut machine = Machine::settled();
    machine.hung = true;
    machine.world.paused = true;
    machine.run(secs(120));
    assert_eq!(machine.count("Restart"), 0);
    machine.world = World { paused: false, revived: Some(machine.now), ..machine.world };
    machine.run(secs(30));
    assert_eq!(machine.count("Restart"), 0);
    machine.run(secs(20));
    assert_eq!(machine.count("Restart"), 1);
}

#[test]
fn a_deleted_instance_finishes_its_tasks_first() {
    let mut machine = Machine::new();
    machine.instance.queues.push(queue("tasks"));
    machine.run(secs(10));
    machine.orders.clear();
    machine.instance.deleting = true;
    machine.tasks = 4;
    machine.supervised.wake(machine.now);
    machine.run(secs(20));
    assert_eq!(machine.count("cancel_consumer"), 2, "{:?}", machine.orders);
    assert_eq!(machine.count("active"), 4);
    assert_eq!(machine.orders[machine.orders.len() - 2..], ["Remove", "gone"]);
}

#[test]
fn a_deleted_instance_does_not_finish_for_ever() {
    let mut machine = Machine::settled();
    machine.instance.deleting = true;
    machine.tasks = 1000;
    machine.supervised.wake(machine.now);
    machine.run(secs(29));
    assert_eq!(machine.count("Remove"), 0);
    machine.run(secs(3));
    assert_eq!(machine.count("Remove"), 1);
}

#[test]
fn a_disabled_instance_is_stopped_and_an_enabled_one_started() {
    let mut machine = Machine::settled();
    machine.instance.is_enabled = false;
    machine.supervised.wake(machine.now);
    machine.run(secs(1));
    assert_eq!(machine.watcher, Some(false));
    assert!(machine.supervised.converged(&machine.instance));
    machine.instance.is_enabled = true;
    machine.supervised.wake(machine.now);
    machine.run(secs(5));
    assert_eq!(machine.orders[..2], ["Stop", "Start"]);
    assert!(machine.supervised.converged(&machine.instance));
}

#[test]
fn a_watcher_of_other_fields_is_set() {
    let mut machine = Machine::settled();
    machine.supervised.respecify(machine.now);
    machine.run(secs(2));
    assert_eq!(machine.count("Set"), 0);
    let order = machine.supervised.step(machine.now + secs(100), &machine.instance, &machine.world);
    assert_eq!(order, Step::Do(Order::Status));
    let status = Outcome::Circus(json!({"status": "active"}));
    machine.supervised.outcome(machine.now, &machine.instance, "other", &machine.world, status);
    machine.supervised.respecify(machine.now);
    assert_eq!(machine.supervised.step(machine.now, &machine.instance, &machine.world), Step::Do(Order::Fingerprint));
    let made = Outcome::Circus(json!({"status": "ok", "options": {"env": {"CYME_SPEC": MADE_FROM}}}));
    machine.supervised.outcome(machine.now, &machine.instance, "other", &machine.world, made);
    assert_eq!(machine.supervised.step(machine.now, &machine.instance, &machine.world), Step::Do(Order::Set));
}

#[test]
fn a_circusd_that_is_away_is_asked_again() {
    let mut supervised = Supervised::new(secs(0));
    let machine = Machine::new();
    assert_eq!(supervised.step(secs(0), &machine.instance, &machine.world), Step::Do(Order::Status));
    supervised.outcome(secs(0), &machine.instance, MADE_FROM, &machine.world, Outcome::NoCircus("gone".into()));
    assert_eq!(supervised.step(secs(1), &machine.instance, &machine.world), Step::Wait);
    assert_eq!(supervised.step(secs(2), &machine.instance, &machine.world), Step::Do(Order::Status));
}
