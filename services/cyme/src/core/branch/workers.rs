//! What the branch does for its workers.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Action, Branch, Purpose, RPC};
use crate::core::board::{Key, Kind};
use crate::core::model::{self, App, Change, Instance};
use crate::core::supervise::{Order, Outcome, Step};
use crate::core::{BrokerUrl, Now, secs};

/// What the names of all watchers of instances begin with.
const WATCHER: &str = "cyme-";
/// How long circusd may take for what is ordered.
const CIRCUSD: Duration = secs(10);
/// How long circusd waits for a worker that is stopping.
const GRACEFUL: u64 = 60;
/// The size at which the log of a worker is rotated, and how many old ones are kept.
const LOG_BYTES: u64 = 10_000_000;
const LOG_BACKUPS: u64 = 3;

/// What a worker is started with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Launch {
    args: Vec<String>,
    env: Map<String, Value>,
    fingerprint: String,
}

impl Branch {
    /// Gives the next order for each worker.
    pub(super) fn supervise(&mut self, now: Now) {
        let world = self.world();
        while let Some((name, worker)) = self.workers.next(now.mono) {
            let Some(instance) = self.model.instances.get(&name) else { continue };
            match worker.step(now.mono, instance, &world) {
                Step::Do(order) => self.order(&name, order),
                Step::Wait => self.workers.rest(name, now.mono),
                Step::Disable => self.disable(now, &name),
                Step::Gone => self.gone(now, &name),
            }
        }
    }

    /// It was restarted within the minute, and hangs again.
    fn disable(&mut self, now: Now, name: &str) {
        let Some(mut instance) = self.model.instances.get(name).cloned() else { return };
        self.warn(format!("{{Supervisor}} {name}: restarted too often: disabled"));
        instance.is_enabled = false;
        instance.note = Some("restarted too often".into());
        self.put_instance(now, instance);
    }

    /// The worker of a deleted instance is gone, so its name is free.
    fn gone(&mut self, now: Now, name: &str) {
        self.log(format!("{{Supervisor}} {name}: deleted"));
        self.workers.remove(name);
        self.store(Change::DropInstance(name.to_owned()));
        self.free(Key::new(Kind::Instance, name), name);
        self.announce(now);
    }

    fn order(&mut self, name: &str, order: Order) {
        let Some(instance) = self.model.instances.get(name) else { return };
        let instance = instance.clone();
        let command = match &order {
            Order::Control { method, arguments, timeout } => {
                let purpose = Purpose::Supervision(name.to_owned());
                if !matches!(*method, "active" | "active_queues" | "ping" | "stats") {
                    self.log(format!("{{Supervisor}} {name}: instance.{method} {arguments}"));
                }
                return self.ask_worker(purpose, &instance, method, arguments.clone(), *timeout);
            }
            Order::Status => "status",
            Order::Add => "add",
            Order::Start => "start",
            Order::Stop => "stop",
            Order::Restart => "restart",
            Order::Remove => "rm",
            Order::Fingerprint => "get",
            Order::Set => "set",
        };
        if !matches!(order, Order::Status | Order::Fingerprint) {
            self.log(format!("{{Supervisor}} {name}: instance.{command}"));
        }
        let mut properties = Map::new();
        properties.insert("name".into(), format!("{WATCHER}{name}").into());
        match order {
            Order::Add => properties.extend(self.watcher(&instance)),
            Order::Fingerprint => drop(properties.insert("keys".into(), json!(["env"]))),
            Order::Set => {
                let Launch { args, env, .. } = self.launch(&instance);
                properties.insert("options".into(), json!({"args": args, "env": env}));
            }
            _ => {}
        }
        let call = self.new_call(Purpose::Supervision(name.to_owned()));
        self.actions.push(Action::Circus { call, command, properties, patience: CIRCUSD });
    }

    /// Asks a worker something.
    pub(super) fn ask_worker(
        &mut self,
        purpose: Purpose,
        instance: &Instance,
        method: &'static str,
        arguments: Value,
        timeout: Duration,
    ) {
        let app = self.model.apps.get(&instance.app);
        let broker = instance.broker(app, &self.settings.broker).to_owned();
        let node = self.node(&instance.name);
        let call = self.new_call(purpose);
        self.messages += 1;
        self.actions.push(Action::Control { call, broker, node, method, arguments, timeout });
    }

    /// The name of a worker among all of Celery's.
    fn node(&self, instance: &str) -> String {
        format!("{instance}@{}", self.settings.id)
    }

    /// The properties of `add`, beside the name.
    fn watcher(&self, instance: &Instance) -> Map<String, Value> {
        let Launch { mut args, env, .. } = self.launch(instance);
        if instance.scales() {
            args.push(format!("--autoscale={},{}", instance.max_concurrency, instance.min_concurrency));
        }
        let folder = self.folder(&instance.name);
        let log = json!({"class": "FileStream", "filename": format!("{folder}/worker.log"),
                         "max_bytes": LOG_BYTES, "backup_count": LOG_BACKUPS});
        let options = json!({"working_dir": folder, "copy_env": true, "env": env, "stop_signal": 15,
            "stop_children": false, "graceful_timeout": GRACEFUL, "numprocesses": 1,
            "stdout_stream": log, "stderr_stream": log});
        let properties = json!({"cmd": self.settings.celery, "args": args, "options": options, "start": true});
        match properties {
            Value::Object(properties) => properties,
            _ => Map::new(),
        }
    }

    fn folder(&self, instance: &str) -> String {
        format!("{}/{instance}", self.settings.root)
    }

    fn launch(&self, instance: &Instance) -> Launch {
        let app = self.model.apps.get(&instance.app);
        let state = format!("--statedb={}/worker.statedb", self.folder(&instance.name));
        let (node, queue) = (self.node(&instance.name), instance.direct_queue());
        let fixed = ["-A", "cyme_worker", "worker", "-n", &node, "-Q", &queue, "-E", "-P", instance.pool()];
        let mut args: Vec<String> = fixed.iter().map(|word| (*word).to_owned()).collect();
        args.extend([state, "--loglevel=INFO".into()]);
        if !instance.scales() {
            args.push(format!("--concurrency={}", instance.max_concurrency));
        }
        let words = |text: Option<&str>| model::words("arguments", text).unwrap_or_default();
        args.extend(words(app.and_then(|app| app.arguments.as_deref())));
        args.extend(words(instance.arguments.as_deref()));
        let pairs = |text: Option<&str>| model::settings(text).unwrap_or_default();
        let mut config = pairs(app.and_then(|app| app.extra_config.as_deref()));
        config.extend(pairs(instance.extra_config.as_deref()));
        let broker = instance.broker(app, &self.settings.broker);
        let mut env = Map::new();
        for (name, value) in [
            ("CYME_BRANCH", self.settings.id.clone()),
            ("CYME_BROKER", broker.to_owned()),
            ("CYME_CONFIG", json!(config).to_string()),
            ("CYME_RESULT_BACKEND", self.backend(app, Some(broker))),
            ("PYTHONPATH", self.settings.python_path.clone()),
            ("PYTHONUNBUFFERED", "1".into()),
        ] {
            env.insert(name.into(), value.into());
        }
        let fingerprint = fingerprint(&json!([args, env]).to_string());
        env.insert("CYME_SPEC".into(), fingerprint.as_str().into());
        Launch { args, env, fingerprint }
    }

    /// Where results of tasks go.
    pub(super) fn backend(&self, app: Option<&App>, broker: Option<&str>) -> String {
        if let Some(backend) = &self.settings.result_backend {
            return backend.clone();
        }
        let broker = broker.or_else(|| app?.broker.as_deref()).unwrap_or(&self.settings.broker);
        match BrokerUrl::parse(broker) {
            Ok(url) if !url.is_amqp() => broker.to_owned(),
            _ => RPC.into(),
        }
    }

    /// Asks circusd what its processes use: others see it with the next announcement.
    pub(super) fn ask_load(&mut self) {
        let call = self.new_call(Purpose::Load);
        self.actions.push(Action::Circus { call, command: "stats", properties: Map::new(), patience: CIRCUSD });
    }

    /// circusd or a worker has answered an order, or a question of a request.
    pub(super) fn outcome(&mut self, now: Now, call: u64, outcome: Outcome) {
        match self.calls.remove(&call) {
            Some(Purpose::Supervision(name)) => {
                if let Outcome::Circus(reply) = &outcome
                    && reply["status"] == "error"
                    && !reply["reason"].as_str().unwrap_or_default().contains("not found")
                {
                    self.warn(format!("{{Supervisor}} {name}: circusd refuses: {}", reply["reason"]));
                }
                if let Outcome::Reply(reply) = &outcome
                    && let Some(error) = reply.get("error")
                {
                    self.warn(format!("{{Supervisor}} {name}: the worker refuses: {error}"));
                }
                let world = self.world();
                let Some(instance) = self.model.instances.get(&name).cloned() else { return };
                let fingerprint = self.launch(&instance).fingerprint;
                if let Some(worker) = self.workers.change(&name) {
                    worker.outcome(now.mono, &instance, &fingerprint, &world, outcome);
                }
                self.settle(now);
            }
            Some(Purpose::Request(id)) => self.worker_answered(now, id, outcome),
            Some(Purpose::Load) => self.cpu = load(&outcome),
            _ => {}
        }
    }

    pub(super) fn watcher_event(&mut self, now: Now, watcher: &str, event: &str) {
        let world = self.world();
        let Some(name) = watcher.strip_prefix(WATCHER) else { return };
        let Some(name) = self.workers.names().find(|known| known.to_lowercase() == name).cloned() else { return };
        let Some(worker) = self.workers.change(&name) else { return };
        worker.event(now.mono, event, &world);
        if matches!(event, "spawn" | "stop" | "remove") {
            self.log(format!("{{Supervisor}} {name}: circusd: {event}"));
        }
        self.settle(now);
    }

    /// Keeps an instance as it is now, and looks at its worker at once.
    pub(super) fn put_instance(&mut self, now: Now, instance: Instance) {
        let name = instance.name.clone();
        self.store(Change::PutInstance(Box::new(instance)));
        self.workers.change_or_add(&name, now.mono).wake(now.mono);
    }

    /// Keeps an application as it is now; its workers are made from it.
    pub(super) fn put_app(&mut self, now: Now, app: App) {
        let name = app.name.clone();
        self.store(Change::PutApp(app));
        for instance in self.model.instances.values().filter(|instance| instance.app == name) {
            if let Some(worker) = self.workers.change(&instance.name) {
                worker.respecify(now.mono);
            }
        }
    }
}

/// The sum of what circusd tells of its processes, in percent of one processor, without digits that change all the time.
fn load(outcome: &Outcome) -> Option<f64> {
    let Outcome::Circus(reply) = outcome else { return None };
    let processes = reply["infos"].as_object()?.values().filter_map(Value::as_object).flat_map(Map::values);
    Some(processes.filter_map(|process| process["cpu"].as_f64()).sum::<f64>().round())
}

/// A short text that differs where its source differs (FNV-1a).
fn fingerprint(source: &str) -> String {
    let hash = source
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
