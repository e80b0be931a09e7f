//! What a branch keeps: applications, queues, instances.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::BrokerUrl;

/// The longest name.
pub const NAME: usize = 128;
/// The longest URL of a broker.
pub const URL: usize = 200;
/// The longest text of arguments, settings or options.
pub const TEXT: usize = 4096;
/// The largest number of processes of one worker.
pub const CONCURRENCY: u32 = 10_000;
/// Of so many applications of one name it is known that they were deleted.
const BURIED: usize = 16;
/// What a branch keeps its state in.
pub const FILE: &str = "branch.db";
/// Words that paths begin with, so that no application can have them for a name.
pub const RESERVED: &[&str] =
    &["admin", "branches", "healthz", "leases", "machines", "metrics", "openapi.json", "ping"];
/// The pools of Celery. `processes` is the old name of prefork.
pub const POOLS: &[&str] = &["eventlet", "gevent", "prefork", "processes", "solo", "threads"];

/// A value that a field does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field.
    pub field: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl FieldError {
    pub(crate) fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// A group of instances with a broker of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its name.
    pub name: String,
    /// The URL of its broker; without one the branch's.
    pub broker: Option<String>,
    /// Further arguments of its workers, split as a shell would.
    pub arguments: Option<String>,
    /// Further settings of its workers: `name=value`, split as a shell would.
    pub extra_config: Option<String>,
    /// Differs from that of an earlier application of this name.
    #[serde(default)]
    pub uid: String,
    /// The earlier ones that were deleted with all their instances; branches that were absent have some still.
    #[serde(default)]
    pub buried: Vec<String>,
}

/// The fields of an application that a request gives. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppFields {
    /// See [`App`].
    pub broker: Option<String>,
    /// See [`App`].
    pub arguments: Option<String>,
    /// See [`App`].
    pub extra_config: Option<String>,
}

/// How a queue is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// The exchange; the queue's name where there is none.
    pub exchange: Option<String>,
    /// The type of the exchange; direct where there is none.
    pub exchange_type: Option<String>,
    /// The routing key; the queue's name where there is none.
    pub routing_key: Option<String>,
    /// Further options of queue, exchange and binding.
    pub options: Option<Map<String, Value>>,
}

/// A Celery worker, kept by one branch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name: the part of its node name before the `@`.
    pub name: String,
    /// Its application.
    pub app: String,
    /// What it consumes from, beside its own queue.
    pub queues: Vec<Queue>,
    /// The largest number of processes.
    pub max_concurrency: u32,
    /// The smallest number of processes.
    pub min_concurrency: u32,
    /// The pool of Celery; prefork without.
    pub pool: Option<String>,
    /// False: it is to be stopped.
    pub is_enabled: bool,
    /// The URL of its broker; without one the application's.
    pub broker: Option<String>,
    /// Further arguments, after the application's.
    pub arguments: Option<String>,
    /// Further settings, after the application's.
    pub extra_config: Option<String>,
    /// When it was created: seconds since the epoch.
    pub created_at: f64,
    /// It is being deleted: its worker finishes what it has begun.
    pub deleting: bool,
    /// Why the branch has disabled it.
    pub note: Option<String>,
}

/// The fields of an instance that a request gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceFields {
    /// See [`Instance`].
    pub broker: Option<String>,
    /// See [`Instance`].
    pub pool: Option<String>,
    /// See [`Instance`].
    pub arguments: Option<String>,
    /// See [`Instance`].
    pub extra_config: Option<String>,
}

/// A change of what a branch keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// There is this application.
    PutApp(App),
    /// There is no such application.
    DropApp(String),
    /// There is this queue.
    PutQueue(Queue),
    /// There is no such queue.
    DropQueue(String),
    /// There is this instance.
    PutInstance(Box<Instance>),
    /// There is no such instance.
    DropInstance(String),
}

impl Change {
    /// What changes, by kind and name. The fields are left out: URLs of brokers have passwords.
    pub fn subject(&self) -> String {
        let (kind, name) = match self {
            Self::PutApp(App { name, .. }) | Self::DropApp(name) => ("application", name),
            Self::PutQueue(Queue { name, .. }) | Self::DropQueue(name) => ("queue", name),
            Self::PutInstance(instance) => ("instance", &instance.name),
            Self::DropInstance(name) => ("instance", name),
        };
        format!("{kind} {name}")
    }
}

/// All that a branch keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Applications by name.
    pub apps: BTreeMap<String, App>,
    /// Queues by name.
    pub queues: BTreeMap<String, Queue>,
    /// Instances by name.
    pub instances: BTreeMap<String, Instance>,
}

impl Model {
    /// Carries out a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutApp(app) => drop(self.apps.insert(app.name.clone(), app.clone())),
            Change::DropApp(name) => drop(self.apps.remove(name)),
            Change::PutQueue(queue) => drop(self.queues.insert(queue.name.clone(), queue.clone())),
            Change::DropQueue(name) => drop(self.queues.remove(name)),
            Change::PutInstance(instance) => {
                drop(self.instances.insert(instance.name.clone(), (**instance).clone()));
            }
            Change::DropInstance(name) => drop(self.instances.remove(name)),
        }
    }
}

impl AppFields {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the values are ones that an application can have.
    pub fn check(&self) -> Result<(), FieldError> {
        broker(self.broker.as_deref())?;
        words("arguments", self.arguments.as_deref())?;
        settings(self.extra_config.as_deref()).map(drop)
    }
}

impl App {
    /// What is said of it once it is deleted with all its instances.
    pub fn grave(&self) -> Value {
        let buried = self.buried.iter().chain([&self.uid]).rev().take(BURIED);
        json!({"buried": buried.collect::<Vec<_>>()})
    }

    /// The earlier ones of its name, from what is said of one that was deleted.
    pub fn buried(grave: &Value) -> Vec<String> {
        let uids = grave["buried"].as_array().into_iter().flatten();
        uids.filter_map(|uid| uid.as_str().map(str::to_owned)).collect()
    }

    /// The application with these fields changed.
    pub fn with(mut self, fields: &AppFields) -> Self {
        let set = |field: &mut Option<String>, value: &Option<String>| {
            if let Some(value) = value {
                *field = Some(value.clone()).filter(|value| !value.is_empty());
            }
        };
        set(&mut self.broker, &fields.broker);
        set(&mut self.arguments, &fields.arguments);
        set(&mut self.extra_config, &fields.extra_config);
        self
    }

    /// As replies show it. `default` is the broker of the branch.
    pub fn shown(&self, default: &str) -> Value {
        let broker = self.broker.as_deref().unwrap_or(default);
        json!({"name": self.name, "broker": broker, "broker_info": info(broker),
               "arguments": self.arguments, "extra_config": self.extra_config})
    }
}

impl Queue {
    /// As replies show it.
    pub fn shown(&self) -> Value {
        json!({"name": self.name, "exchange": self.exchange, "exchange_type": self.exchange_type,
               "routing_key": self.routing_key, "options": self.options})
    }

    /// The exchange, the type of it, the routing key: with the defaults applied.
    pub fn route(&self) -> (&str, &str, &str) {
        (
            self.exchange.as_deref().unwrap_or(&self.name),
            self.exchange_type.as_deref().unwrap_or("direct"),
            self.routing_key.as_deref().unwrap_or(&self.name),
        )
    }

    /// Whether the values are ones that a queue can have.
    pub fn check(&self) -> Result<(), FieldError> {
        name("queue", &self.name)?;
        for (field, value) in
            [("exchange", &self.exchange), ("exchange_type", &self.exchange_type), ("routing_key", &self.routing_key)]
        {
            length(field, value.as_deref().unwrap_or_default(), NAME)?;
        }
        match self.exchange_type.as_deref() {
            None | Some("direct" | "fanout" | "headers" | "topic") => Ok(()),
            Some(other) => {
                Err(FieldError::new("exchange_type", format!("'{other}' is not one of direct, fanout, headers, topic")))
            }
        }
    }
}

impl InstanceFields {
    /// Whether the values are ones that an instance can have.
    pub fn check(&self) -> Result<(), FieldError> {
        broker(self.broker.as_deref())?;
        words("arguments", self.arguments.as_deref())?;
        settings(self.extra_config.as_deref())?;
        match self.pool.as_deref() {
            Some(pool) if !POOLS.contains(&pool) => {
                Err(FieldError::new("pool", format!("'{pool}' is none of {}", POOLS.join(", "))))
            }
            _ => Ok(()),
        }
    }
}

impl Instance {
    /// A new instance, enabled, of one process.
    pub fn new(name: &str, app: &str, fields: &InstanceFields, created_at: f64) -> Self {
        Self {
            name: name.to_owned(),
            app: app.to_owned(),
            max_concurrency: 1,
            min_concurrency: 1,
            pool: fields.pool.clone(),
            is_enabled: true,
            broker: fields.broker.clone(),
            arguments: fields.arguments.clone(),
            extra_config: fields.extra_config.clone(),
            created_at,
            ..Self::default()
        }
    }

    /// The pool, as Celery calls it today.
    pub fn pool(&self) -> &str {
        match self.pool.as_deref() {
            None | Some("processes") => "prefork",
            Some(other) => other,
        }
    }

    /// Whether its pool can grow and shrink while it runs.
    pub fn scales(&self) -> bool {
        matches!(self.pool(), "eventlet" | "gevent" | "prefork")
    }

    /// The queue that is its own.
    pub fn direct_queue(&self) -> String {
        format!("dq.{}", self.name)
    }

    /// The URL of its broker.
    pub fn broker<'a>(&'a self, app: Option<&'a App>, default: &'a str) -> &'a str {
        self.broker.as_deref().or_else(|| app?.broker.as_deref()).unwrap_or(default)
    }

    /// As replies show it. `broker` is the URL of its broker.
    pub fn shown(&self, broker: &str) -> Value {
        let queues: Vec<&str> = self.queues.iter().map(|queue| queue.name.as_str()).collect();
        let mut shown = json!({"name": self.name, "queues": queues, "max_concurrency": self.max_concurrency,
            "min_concurrency": self.min_concurrency, "is_enabled": self.is_enabled, "broker": broker,
            "broker_info": info(broker), "pool": self.pool, "arguments": self.arguments,
            "extra_config": self.extra_config});
        if let (Some(note), Value::Object(fields)) = (&self.note, &mut shown) {
            fields.insert("note".into(), note.as_str().into());
        }
        shown
    }
}

fn info(broker: &str) -> Value {
    BrokerUrl::parse(broker).map_or(Value::Null, |url| url.info())
}

/// That a value has at most so many characters, and none that databases refuse.
pub(super) fn length(field: &'static str, value: &str, limit: usize) -> Result<(), FieldError> {
    match value.chars().count() {
        count if count > limit => Err(FieldError::new(field, format!("longer than {limit} characters"))),
        _ if value.contains('\0') => Err(FieldError::new(field, "has a NUL character")),
        _ => Ok(()),
    }
}

/// A name of an application, an instance or a queue: what watchers, node names and topics can carry.
pub fn name(field: &'static str, value: &str) -> Result<(), FieldError> {
    length(field, value, NAME)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    match value {
        "" => Err(FieldError::new(field, "empty")),
        _ if value.starts_with(['.', '-']) => Err(FieldError::new(field, "begins with a '.' or '-'")),
        _ if field == "instance" && value.contains(':') => Err(FieldError::new(field, "has a colon")),
        // The folder of an instance stands beside the branch's own file.
        _ if field == "instance" && value.starts_with(FILE) => Err(FieldError::new(field, "is the branch's own file")),
        _ if value.chars().all(allowed) => Ok(()),
        _ => Err(FieldError::new(field, "may have letters, digits and '.', '-', '_' only")),
    }
}

/// The name of a new application.
pub fn app_name(value: &str) -> Result<(), FieldError> {
    name("app", value)?;
    match RESERVED.contains(&value) {
        true => Err(FieldError::new("app", format!("'{value}' is a path of the branch's own"))),
        false => Ok(()),
    }
}

/// Bounds of autoscale.
pub fn bounds(max: u32, min: u32) -> Result<(), FieldError> {
    match (max, min) {
        (0, _) => Err(FieldError::new("max", "below 1")),
        (max, _) if max > CONCURRENCY => Err(FieldError::new("max", format!("above {CONCURRENCY}"))),
        (max, min) if min > max => Err(FieldError::new("min", format!("above max, which is {max}"))),
        _ => Ok(()),
    }
}

fn broker(value: Option<&str>) -> Result<(), FieldError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(()) };
    length("broker", value, URL)?;
    BrokerUrl::parse(value).map(drop).map_err(|reason| FieldError::new("broker", reason))
}

/// The words of a text, as a shell would split it.
pub fn words(field: &'static str, value: Option<&str>) -> Result<Vec<String>, FieldError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    length(field, value, TEXT)?;
    shlex::split(value).ok_or_else(|| FieldError::new(field, "a quote is not closed"))
}

/// The settings of a text: names as Celery has them today, and values.
pub fn settings(value: Option<&str>) -> Result<Vec<(String, String)>, FieldError> {
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.replace('.', "_"), value.to_owned())),
        _ => Err(FieldError::new("extra_config", format!("'{word}' is not name=value"))),
    };
    words("extra_config", value)?.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "a35f2518-13bb-4403-bbdf-dd8751077712", "x.y_z", &"n".repeat(128)] {
            assert_eq!(name("instance", good), Ok(()), "{good}");
        }
        for bad in ["", "..", ".a", "-a", "branch.db-wal", "a b", "a/b", "a:b", "é", "a\0", &"n".repeat(129)] {
            assert_eq!(name("instance", bad).unwrap_err().field, "instance", "{bad}");
        }
        assert_eq!(name("queue", "a:b"), Ok(()));
        for reserved in RESERVED {
            assert!(app_name(reserved).is_err());
        }
    }

    #[test]
    fn limits_name_their_field() {
        let app = |fields: AppFields| fields.check().unwrap_err().field;
        let long = Some("x".repeat(5000));
        assert_eq!(
            app(AppFields { broker: Some(format!("redis://{}", "h".repeat(200))), ..Default::default() }),
            "broker"
        );
        assert_eq!(app(AppFields { broker: Some("nonsense".into()), ..Default::default() }), "broker");
        assert_eq!(app(AppFields { arguments: long.clone(), ..Default::default() }), "arguments");
        assert_eq!(app(AppFields { arguments: Some("'".into()), ..Default::default() }), "arguments");
        assert_eq!(app(AppFields { extra_config: Some("a".into()), ..Default::default() }), "extra_config");
        let instance = InstanceFields { pool: Some("swimming".into()), ..Default::default() };
        assert_eq!(instance.check().unwrap_err().field, "pool");
        let queue = |queue: Queue| queue.check().unwrap_err().field;
        assert_eq!(queue(Queue { name: "q".into(), exchange: long, ..Default::default() }), "exchange");
        let odd = Queue { name: "q".into(), exchange_type: Some("odd".into()), ..Default::default() };
        assert_eq!(queue(odd), "exchange_type");
    }

    #[test]
    fn autoscale_bounds() {
        assert_eq!(bounds(1, 0), Ok(()));
        assert_eq!(bounds(0, 0).unwrap_err().field, "max");
        assert_eq!(bounds(CONCURRENCY + 1, 0).unwrap_err().field, "max");
        assert_eq!(bounds(2, 3).unwrap_err(), FieldError::new("min", "above max, which is 2"));
    }

    #[test]
    fn settings_have_names_of_today() {
        let found = settings(Some("worker.prefetch_multiplier=2 'a=b c'")).unwrap();
        assert_eq!(found, [("worker_prefetch_multiplier".into(), "2".into()), ("a".into(), "b c".into())]);
    }

    #[test]
    fn a_request_without_fields_changes_nothing() {
        let app = App { name: "foo".into(), broker: Some("redis://h".into()), ..Default::default() };
        assert_eq!(app.clone().with(&AppFields::default()), app);
        let emptied = app.with(&AppFields { broker: Some(String::new()), ..Default::default() });
        assert_eq!(emptied.broker, None);
    }

    #[test]
    fn broker_of_an_instance() {
        let app = App { name: "foo".into(), broker: Some("redis://app".into()), ..Default::default() };
        let mut instance = Instance::new("i", "foo", &InstanceFields::default(), 0.0);
        assert_eq!(instance.broker(None, "redis://d"), "redis://d");
        assert_eq!(instance.broker(Some(&app), "redis://d"), "redis://app");
        instance.broker = Some("redis://own".into());
        assert_eq!(instance.broker(Some(&app), "redis://d"), "redis://own");
    }
}
