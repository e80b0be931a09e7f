//! Celery's workers, as a program that is not Python talks to them: remote control, tasks, results.

mod amqp;
mod redis;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use circus_celery::remote::Request;
use serde_json::{Value, json};

use crate::core::branch::Publication;
use crate::core::op::Query;
use crate::core::{BrokerUrl, Outcome, Reply};

pub use self::amqp::Amqp;
pub use self::redis::Redis;

/// The task that requests a URL.
const WEBHOOK: &str = "cyme.tasks.webhook";
/// The backend of results that sends them to the branch that has published the task.
pub use crate::core::branch::RPC;
/// The queue of tasks for which none is named.
pub const DEFAULT_QUEUE: &str = "celery";

/// What is said of a result that another serializer has written.
const NOT_JSON: &str = "the result is not JSON: its worker has another serializer";

/// What a worker has written about a task; nothing, if it has not yet, or has and it is not JSON.
pub type Found = Option<Result<Value, String>>;

/// Whether a worker writes nothing more about a task.
fn is_done(found: &Result<Value, String>) -> bool {
    match found {
        Ok(found) => matches!(found["status"].as_str(), Some("SUCCESS" | "FAILURE" | "REVOKED")),
        Err(_) => true,
    }
}

/// The brokers of all applications, each connected to once.
pub struct Celery {
    branch: String,
    brokers: Mutex<HashMap<String, Broker>>,
}

#[derive(Clone)]
enum Broker {
    Redis(Redis),
    Amqp(Amqp),
}

impl Broker {
    fn open(url: &str, branch: &str) -> Result<Self, String> {
        let parsed = BrokerUrl::parse(url)?;
        match parsed.scheme.as_str() {
            _ if parsed.is_redis() => Ok(Self::Redis(Redis::open(&parsed)?)),
            _ if parsed.is_amqp() => Ok(Self::Amqp(Amqp::open(parsed, branch))),
            other => Err(format!("workers and results over '{other}' are not possible: amqp and redis are")),
        }
    }
}

impl Celery {
    /// The workers of this branch, and of others.
    pub fn new(branch: &str) -> Self {
        Self { branch: branch.to_owned(), brokers: Mutex::default() }
    }

    fn broker(&self, url: &str) -> Result<Broker, String> {
        let mut brokers = self.brokers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(broker) = brokers.get(url) {
            return Ok(broker.clone());
        }
        let broker = Broker::open(url, &self.branch)?;
        brokers.insert(url.to_owned(), broker.clone());
        Ok(broker)
    }

    /// Asks a worker one thing.
    pub async fn control(
        &self,
        broker: &str,
        node: &str,
        method: &str,
        arguments: &Value,
        timeout: Duration,
    ) -> Outcome {
        let request = Request { node: Some(node), method, arguments, limit: timeout };
        let asked = match self.broker(broker) {
            Ok(Broker::Redis(broker)) => broker.control(request).await,
            Ok(Broker::Amqp(broker)) => broker.control(request).await,
            Err(reason) => Err(reason),
        };
        match asked {
            Ok(Some(reply)) => Outcome::Reply(reply),
            Ok(None) => Outcome::Silence,
            Err(reason) => Outcome::NoBroker(reason),
        }
    }

    /// Publishes a task that has a worker request a URL.
    pub async fn publish(&self, task: &Publication) -> Reply {
        let request = &task.request;
        let (params, data) = (request.params(), request.data());
        let kwargs = json!({"url": request.url, "method": request.method, "params": params, "data": data});
        let published = match self.broker(&task.broker) {
            Ok(Broker::Redis(broker)) => broker.publish(&self.branch, task, WEBHOOK, kwargs).await,
            Ok(Broker::Amqp(broker)) => broker.publish(task, WEBHOOK, kwargs).await,
            Err(reason) => Err(reason),
        };
        if let Err(reason) = published {
            return Reply::no_broker(&reason);
        }
        let queue = task.queue.as_ref().map_or(Value::Null, |queue| queue.shown());
        let body = json!({"uuid": task.task, "url": request.url, "queue": queue, "method": request.method,
                          "params": params, "data": data, "broker": task.broker});
        Reply { status: 202, body }
    }

    /// What became of a task, waited for at most for so long. `broker` is that of its application.
    pub async fn look(&self, backend: &str, broker: &str, task: &str, what: Query, limit: Duration) -> Reply {
        let found = match self.broker(if backend == RPC { broker } else { backend }) {
            Ok(Broker::Redis(broker)) => broker.result(task, limit).await,
            Ok(Broker::Amqp(broker)) => broker.result(task, limit).await,
            Err(reason) => Err(reason),
        };
        match found {
            Err(reason) => Reply::no_broker(&reason),
            Ok(found) => answer(what, found),
        }
    }
}

/// The answer to a question about a task, from what its worker has written.
fn answer(what: Query, found: Found) -> Reply {
    let found = match found {
        None if matches!(what, Query::Wait(_)) => return Reply::late(),
        None => json!({"status": "PENDING", "result": null}),
        Some(Ok(found)) => found,
        Some(Err(reason)) => return Reply::refused(422, reason),
    };
    match (what, found["status"].as_str()) {
        (Query::State, state) => Reply::ok(json!({"state": state.unwrap_or("PENDING")})),
        (Query::Wait(_), Some("FAILURE" | "REVOKED")) => {
            let trace = found["traceback"].as_str().unwrap_or_default();
            Reply { status: 424, body: json!({"nok": [found["result"], trace]}) }
        }
        _ => Reply::ok(json!({"result": found["result"]})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_about_tasks() {
        let done = json!({"status": "SUCCESS", "result": {"status_code": 200}});
        let failed = json!({"status": "FAILURE", "result": {"exc_type": "E"}, "traceback": "T"});
        assert_eq!(answer(Query::State, None).body, json!({"state": "PENDING"}));
        assert_eq!(answer(Query::Result, None).body, json!({"result": null}));
        assert_eq!(answer(Query::Wait(Some(0.0)), None).status, 408);
        assert_eq!(answer(Query::State, Some(Ok(done.clone()))).body, json!({"state": "SUCCESS"}));
        assert_eq!(answer(Query::Wait(None), Some(Ok(done))).body, json!({"result": {"status_code": 200}}));
        let reply = answer(Query::Wait(None), Some(Ok(failed)));
        assert_eq!((reply.status, reply.body), (424, json!({"nok": [{"exc_type": "E"}, "T"]})));
        assert_eq!(answer(Query::Result, Some(Err("not JSON".into()))).status, 422);
    }
}
