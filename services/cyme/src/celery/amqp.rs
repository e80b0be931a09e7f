//! Celery over RabbitMQ.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use circus_celery::amqp::{self, Kept, PERSISTENT, Works, reason, text};
use circus_celery::message::{task_body, task_headers};
use circus_celery::remote::{self, Request};
use circus_celery::waiting::lock;
use futures_lite::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{Channel, Connection, Consumer, ExchangeKind};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{DEFAULT_QUEUE, Found};
use crate::core::branch::Publication;
use crate::core::{BrokerUrl, Queue};

/// How long results wait for a branch that is away.
const RESULTS_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long the branch keeps a result, and how many.
const RESULT_LIFE: Duration = Duration::from_secs(3600);
const RESULTS: usize = 10_000;

/// One broker. A copy has the same connection.
#[derive(Clone)]
pub struct Amqp {
    shared: Arc<Shared>,
}

struct Shared {
    url: BrokerUrl,
    branch: String,
    session: Kept<Session>,
    results: Arc<Results>,
}

impl Amqp {
    /// The broker at this URL, for this branch. It is connected to when it is needed.
    pub fn open(url: BrokerUrl, branch: &str) -> Self {
        let (session, results) = (Kept::default(), Arc::default());
        Self { shared: Arc::new(Shared { url, branch: branch.to_owned(), session, results }) }
    }

    /// Does something over the connection, which is given up where it broke.
    async fn with<T>(&self, act: impl AsyncFnOnce(&Session) -> Result<T, String>) -> Result<T, String> {
        let shared = &self.shared;
        let open = async || Session::open(&shared.url, &shared.branch, Arc::clone(&shared.results)).await;
        let session = shared.session.get(open).await?;
        let done = act(&session).await;
        if done.is_err() && !session.works() {
            shared.session.forget(&session).await;
        }
        done
    }

    /// Asks a worker, and waits for its reply; none in time, or no worker at all, is none.
    pub async fn control(&self, request: Request<'_>) -> Result<Option<Value>, String> {
        let replies = self.with(async |session| session.remote.ask(&session.connection, request, |_| true).await).await;
        Ok(replies?.pop().and_then(|reply| reply.said))
    }

    /// Publishes a task. The server has it then, on its disk.
    pub async fn publish(&self, task: &Publication, name: &str, kwargs: Value) -> Result<(), String> {
        let branch = &self.shared.branch;
        self.with(async |session| session.publish(branch, task, name, &kwargs).await).await
    }

    /// What a worker has sent about a task, once it is done, waited for at most for so long.
    pub async fn result(&self, task: &str, limit: Duration) -> Result<Found, String> {
        // Results come over the connection, also those that have waited for this branch.
        self.with(async |_| Ok(())).await?;
        Ok(self.shared.results.wait(task, limit).await)
    }
}

struct Session {
    connection: Connection,
    commands: Channel,
    remote: remote::Session,
    /// The queues that were declared over this connection.
    declared: StdMutex<Vec<Queue>>,
}

impl Works for Session {
    fn works(&self) -> bool {
        self.connection.status().connected() && self.commands.status().connected() && self.remote.works()
    }
}

impl Session {
    async fn open(url: &BrokerUrl, branch: &str, results: Arc<Results>) -> Result<Self, String> {
        let connection = amqp::connect(url, &format!("cyme-branch {branch}: workers")).await?;
        let commands = amqp::confirming(&connection).await?;
        let remote = remote::Session::open(&connection).await?;
        let listening = connection.create_channel().await.map_err(reason)?;
        let queue = results_queue(branch);
        amqp::durable(&listening, &queue, RESULTS_LIFE, &[]).await?;
        let options = BasicConsumeOptions::default();
        let arriving = listening.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
        tokio::spawn(take_results(arriving.await.map_err(reason)?, results));
        Ok(Self { connection, commands, remote, declared: StdMutex::default() })
    }

    async fn publish(&self, branch: &str, task: &Publication, name: &str, kwargs: &Value) -> Result<(), String> {
        let default = Queue { name: DEFAULT_QUEUE.into(), ..Queue::default() };
        let queue = task.queue.as_ref().unwrap_or(&default);
        let (exchange, _, key) = queue.route();
        let body = task_body(kwargs).to_string();
        let properties = amqp::json()
            .with_headers(table(&task_headers(branch, &task.task, name, kwargs)))
            .with_delivery_mode(PERSISTENT)
            .with_priority(0)
            .with_correlation_id(task.task.as_str().into())
            .with_reply_to(results_queue(branch).as_str().into());
        for _ in 0..2 {
            if !lock(&self.declared).contains(queue) {
                self.declare(queue).await?;
                lock(&self.declared).push(queue.clone());
            }
            if amqp::publish(&self.commands, exchange, key, body.as_bytes(), properties.clone()).await? {
                return Ok(());
            }
            // The queue was deleted meanwhile.
            lock(&self.declared).retain(|known| known != queue);
        }
        Err(format!("no queue gets what goes to exchange '{exchange}' with the key '{key}'"))
    }

    /// Makes the queue, its exchange and its binding as a worker would, where they are not there.
    async fn declare(&self, queue: &Queue) -> Result<(), String> {
        let (exchange, kind, key) = queue.route();
        let wanted = Declaration::of(queue);
        // An exchange that a worker has declared in another way stays as it is.
        if !amqp::has_exchange(&self.connection, exchange).await? {
            let kind = match kind {
                "fanout" => ExchangeKind::Fanout,
                "topic" => ExchangeKind::Topic,
                "headers" => ExchangeKind::Headers,
                _ => ExchangeKind::Direct,
            };
            let (durable, auto_delete) = wanted.exchange;
            let options = ExchangeDeclareOptions { durable, auto_delete, ..ExchangeDeclareOptions::default() };
            let made = self.commands.exchange_declare(exchange.into(), kind, options, wanted.exchange_arguments);
            made.await.map_err(reason)?;
        }
        if !amqp::has_queue(&self.connection, &queue.name).await? {
            let (durable, auto_delete) = wanted.queue;
            let options = QueueDeclareOptions { durable, auto_delete, ..QueueDeclareOptions::default() };
            self.commands.queue_declare(queue.name.as_str().into(), options, wanted.arguments).await.map_err(reason)?;
        }
        let key = wanted.binding_key.as_deref().unwrap_or(key);
        let (name, options) = (queue.name.as_str().into(), QueueBindOptions::default());
        let bound = self.commands.queue_bind(name, exchange.into(), key.into(), options, FieldTable::default());
        bound.await.map_err(reason)
    }
}

/// How a queue is declared, as kombu reads the options of `add_consumer`.
#[derive(Debug, PartialEq)]
struct Declaration {
    /// Whether it is durable, and whether it is deleted with its last consumer.
    queue: (bool, bool),
    exchange: (bool, bool),
    arguments: FieldTable,
    exchange_arguments: FieldTable,
    binding_key: Option<String>,
}

impl Declaration {
    fn of(queue: &Queue) -> Self {
        let options = queue.options.as_ref();
        let option = |name: &str| options.and_then(|options| options.get(name)).filter(|value| !value.is_null());
        let flag = |name: &str| option(name).and_then(Value::as_bool);
        let flags = |of: &str| {
            let one = |name: &str, default| flag(&format!("{of}_{name}")).or_else(|| flag(name)).unwrap_or(default);
            (one("durable", true), one("auto_delete", false))
        };
        let given = |name: &str| option(name).map(table).unwrap_or_default();
        let mut arguments = given("queue_arguments");
        for (name, argument, factor) in [
            ("expires", "x-expires", 1000.0),
            ("message_ttl", "x-message-ttl", 1000.0),
            ("max_length", "x-max-length", 1.0),
            ("max_length_bytes", "x-max-length-bytes", 1.0),
            ("max_priority", "x-max-priority", 1.0),
        ] {
            if let Some(number) = option(name).and_then(Value::as_f64) {
                arguments.insert(argument.into(), AMQPValue::LongLongInt((number * factor) as i64));
            }
        }
        Self {
            queue: flags("queue"),
            exchange: flags("exchange"),
            arguments,
            exchange_arguments: given("exchange_arguments"),
            binding_key: option("binding_key").and_then(Value::as_str).map(str::to_owned),
        }
    }
}

/// An object, as a table of AMQP.
fn table(object: &Value) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in object.as_object().into_iter().flatten() {
        table.insert(name.as_str().into(), field(value));
    }
    table
}

fn field(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => AMQPValue::LongLongInt(number),
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(value) => text(value),
        Value::Array(list) => AMQPValue::FieldArray(FieldArray::from(list.iter().map(field).collect::<Vec<_>>())),
        Value::Object(_) => AMQPValue::FieldTable(table(value)),
    }
}

fn results_queue(branch: &str) -> String {
    format!("cyme.results.{branch}")
}

/// Keeps what workers send about tasks.
async fn take_results(mut arriving: Consumer, results: Arc<Results>) {
    while let Some(Ok(delivery)) = arriving.next().await {
        let known = delivery.properties.correlation_id().as_ref().map(|id| id.as_str().to_owned());
        let parsed = serde_json::from_slice::<Value>(&delivery.data);
        let task = known.or_else(|| parsed.as_ref().ok()?["task_id"].as_str().map(str::to_owned));
        if let Some(task) = task {
            results.put(task, parsed.map_err(|_| super::NOT_JSON.to_owned()));
        }
        drop(delivery.acker.ack(BasicAckOptions::default()).await);
    }
}

/// What workers have sent about tasks, for a while.
#[derive(Default)]
struct Results {
    kept: StdMutex<Shelf>,
    news: Notify,
}

#[derive(Default)]
struct Shelf {
    results: HashMap<String, Result<Value, String>>,
    order: VecDeque<(String, Instant)>,
}

impl Results {
    fn put(&self, task: String, result: Result<Value, String>) {
        let mut shelf = lock(&self.kept);
        let now = Instant::now();
        if shelf.results.insert(task.clone(), result).is_none() {
            shelf.order.push_back((task, now));
        }
        while shelf.order.len() > RESULTS
            || shelf.order.front().is_some_and(|(_, time)| now.duration_since(*time) > RESULT_LIFE)
        {
            if let Some((old, _)) = shelf.order.pop_front() {
                shelf.results.remove(&old);
            }
        }
        drop(shelf);
        self.news.notify_waiters();
    }

    /// What there is of a task once it is done, waited for at most for so long; without waiting, what there is.
    async fn wait(&self, task: &str, limit: Duration) -> Found {
        let wait = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                // From here on no news is missed.
                news.as_mut().enable();
                let found = lock(&self.kept).results.get(task).cloned();
                if limit.is_zero() || found.as_ref().is_some_and(super::is_done) {
                    return found;
                }
                news.await;
            }
        };
        timeout(limit.max(Duration::from_millis(1)), wait).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queues_are_declared_as_workers_declare_them() {
        let declared = |options: Value| {
            let options = options.as_object().cloned();
            Declaration::of(&Queue { name: "q".into(), options, ..Queue::default() })
        };
        let plain = declared(Value::Null);
        assert_eq!(
            (plain.queue, plain.exchange, plain.arguments),
            ((true, false), (true, false), FieldTable::default())
        );
        let options = json!({"durable": false, "queue_auto_delete": true, "expires": 1.5, "max_priority": 9,
            "binding_key": "a.#", "queue_arguments": {"x-queue-type": "quorum"}});
        let other = declared(options);
        assert_eq!((other.queue, other.exchange), ((false, true), (false, false)));
        let arguments: Vec<(&str, &AMQPValue)> =
            other.arguments.inner().iter().map(|(name, value)| (name.as_str(), value)).collect();
        let (expires, priority) = (AMQPValue::LongLongInt(1500), AMQPValue::LongLongInt(9));
        let quorum = text("quorum");
        assert_eq!(arguments, [("x-expires", &expires), ("x-max-priority", &priority), ("x-queue-type", &quorum)]);
        assert_eq!(other.binding_key.as_deref(), Some("a.#"));
    }

    #[tokio::test]
    async fn results_are_waited_for() {
        let results = Arc::new(Results::default());
        assert_eq!(results.wait("t", Duration::ZERO).await, None);
        assert_eq!(results.wait("t", Duration::from_millis(5)).await, None);
        results.put("t".into(), Ok(json!({"status": "STARTED"})));
        assert_eq!(results.wait("t", Duration::ZERO).await, Some(Ok(json!({"status": "STARTED"}))));
        let other = Arc::clone(&results);
        let waiting = tokio::spawn(async move { other.wait("t", Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        results.put("t".into(), Ok(json!({"status": "SUCCESS"})));
        assert_eq!(waiting.await.unwrap(), Some(Ok(json!({"status": "SUCCESS"}))));
        for number in 0..=RESULTS {
            results.put(number.to_string(), Ok(json!({"status": "SUCCESS"})));
        }
        assert_eq!(results.wait("t", Duration::ZERO).await, None);
        assert_eq!(lock(&results.kept).results.len(), RESULTS);
    }
}
