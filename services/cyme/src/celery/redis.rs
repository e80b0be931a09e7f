//! Celery over Redis.

use std::time::Duration;

use circus_celery::message::task_message;
use circus_celery::remote::{self, Request};
use redis::{cmd, pipe};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::DEFAULT_QUEUE;
use crate::core::branch::Publication;
use crate::core::{BrokerUrl, Queue};

/// Between the fields of a binding, as kombu writes it.
const SEPARATOR: &str = "\x06\x16";
/// Between two looks for a result: it grows from the first to the second.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// One broker. A copy has the same connections.
#[derive(Clone)]
pub struct Redis {
    remote: remote::Redis,
}

impl Redis {
    /// The broker at this URL. It is connected to when it is needed.
    pub fn open(url: &BrokerUrl) -> Result<Self, String> {
        Ok(Self { remote: remote::Redis::open(url)? })
    }

    /// Asks a worker, and waits for its reply; none in time, or no worker at all, is none.
    pub async fn control(&self, request: Request<'_>) -> Result<Option<Value>, String> {
        Ok(self.remote.ask(request, |_| true).await?.pop().and_then(|reply| reply.said))
    }

    /// Pushes a task onto its queues.
    pub async fn publish(&self, branch: &str, task: &Publication, name: &str, kwargs: Value) -> Result<(), String> {
        let default = Queue { name: DEFAULT_QUEUE.into(), ..Queue::default() };
        let queue = task.queue.as_ref().unwrap_or(&default);
        let (exchange, kind, key) = queue.route();
        let message = task_message(branch, &task.task, name, &kwargs, exchange, key);
        self.remote
            .link()
            .with(async |connection| {
                if kind == "fanout" {
                    let channel = format!("/{}.{exchange}", self.remote.database());
                    return cmd("PUBLISH").arg(channel).arg(message).exec_async(connection).await;
                }
                let bindings: Vec<String> =
                    cmd("SMEMBERS").arg(format!("_kombu.binding.{exchange}")).query_async(connection).await?;
                let mut queues = routed(kind, key, &bindings);
                // As long as no worker has bound the queue, its messages wait in it.
                if queues.is_empty() {
                    queues.push(queue.name.clone());
                }
                let mut push = pipe();
                for queue in queues {
                    push.cmd("LPUSH").arg(queue).arg(&message).ignore();
                }
                push.exec_async(connection).await
            })
            .await
    }

    /// What a worker has written about a task, once it is done, waited for at most for so long.
    pub async fn result(&self, task: &str, limit: Duration) -> Result<super::Found, String> {
        let begun = Instant::now();
        let mut pause = LOOK.0;
        loop {
            let key = format!("celery-task-meta-{task}");
            let found = self
                .remote
                .link()
                .with(async |connection| cmd("GET").arg(&key).query_async::<Option<Vec<u8>>>(connection).await)
                .await?;
            let found = found.map(|bytes| {
                let parsed = serde_json::from_slice::<Value>(&bytes);
                parsed.map_err(|_| super::NOT_JSON.to_owned())
            });
            let done = found.as_ref().is_some_and(super::is_done);
            if done || limit.is_zero() {
                return Ok(found);
            }
            if begun.elapsed() >= limit {
                return Ok(None);
            }
            sleep(pause.min(limit.saturating_sub(begun.elapsed()))).await;
            pause = (pause * 3 / 2).min(LOOK.1);
        }
    }
}

/// The queues that a message of this key goes to, by the bindings of its exchange.
fn routed(kind: &str, key: &str, bindings: &[String]) -> Vec<String> {
    let fields = bindings.iter().filter_map(|binding| {
        let mut fields = binding.split(SEPARATOR);
        Some((fields.next()?, fields.nth(1)?))
    });
    let matching = fields.filter(|(bound, _)| match kind {
        "topic" => topic_matches(bound, key),
        _ => *bound == key,
    });
    let mut queues: Vec<String> = matching.map(|(_, queue)| queue.to_owned()).collect();
    queues.sort();
    queues.dedup();
    queues
}

/// Whether a key has the form of a topic: `*` is one word, `#` any number of them.
fn topic_matches(topic: &str, key: &str) -> bool {
    fn words(topic: &[&str], key: &[&str]) -> bool {
        match (topic, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => (0..=key.len()).any(|taken| words(rest, &key[taken..])),
            (["*", rest @ ..], [_, others @ ..]) => words(rest, others),
            ([word, rest @ ..], [other, others @ ..]) => word == other && words(rest, others),
            _ => false,
        }
    }
    let (topic, key): (Vec<&str>, Vec<&str>) = (topic.split('.').collect(), key.split('.').collect());
    words(&topic, &key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_where_their_exchange_is_bound_to() {
        let binding = |key: &str, queue: &str| [key, "", queue].join(SEPARATOR);
        let bindings = [binding("a", "q1"), binding("b", "q2"), binding("a", "q3")];
        assert_eq!(routed("direct", "a", &bindings), ["q1", "q3"]);
        assert!(routed("direct", "c", &bindings).is_empty());
        let topics = [binding("a.#", "q1"), binding("*.b", "q2"), binding("#", "q3")];
        assert_eq!(routed("topic", "a.b", &topics), ["q1", "q2", "q3"]);
        assert_eq!(routed("topic", "x.b", &topics), ["q2", "q3"]);
        assert_eq!(routed("topic", "a", &topics), ["q1", "q3"]);
    }
}
