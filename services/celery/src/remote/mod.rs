//! Remote control: a question to one worker or to all, and their replies.

mod amqp;
mod redis;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::BrokerUrl;
use crate::message::Reply;
use crate::waiting::lock;

pub use self::amqp::{Amqp, Session};
pub use self::redis::Redis;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The worker that is asked; all without.
    pub node: Option<&'a str>,
    /// The command, such as `ping`.
    pub method: &'a str,
    /// Its arguments, an object.
    pub arguments: &'a Value,
    /// How long replies are waited for.
    pub limit: Duration,
}

/// One broker. A copy has the same connection.
#[derive(Clone)]
pub enum Remote {
    /// A Redis.
    Redis(Redis),
    /// A RabbitMQ.
    Amqp(Amqp),
}

impl Remote {
    /// The broker at this URL. It is connected to when it is needed, with `name` as what RabbitMQ shows of the connection.
    pub fn open(url: &str, name: &str) -> Result<Self, String> {
        let parsed = BrokerUrl::parse(url)?;
        match () {
            () if parsed.is_redis() => Ok(Self::Redis(Redis::open(&parsed)?)),
            () if parsed.is_amqp() => Ok(Self::Amqp(Amqp::open(parsed, name))),
            () => Err(format!("workers over '{}' are not possible: amqp and redis are", parsed.scheme)),
        }
    }

    /// Whether the broker answers. An error says why not.
    pub async fn check(&self) -> Result<(), String> {
        match self {
            Self::Redis(broker) => broker.check().await,
            Self::Amqp(broker) => broker.check().await,
        }
    }

    /// Asks, and returns the replies that have come when `enough` says so of the last one, or the time is over.
    /// An error says why the broker cannot be reached.
    pub async fn ask(&self, request: Request<'_>, enough: impl FnMut(&Reply) -> bool) -> Result<Vec<Reply>, String> {
        match self {
            Self::Redis(broker) => broker.ask(request, enough).await,
            Self::Amqp(broker) => broker.ask(request, enough).await,
        }
    }

    /// What one worker says; nothing if it does not answer in time.
    pub async fn ask_one(&self, request: Request<'_>) -> Result<Option<Reply>, String> {
        Ok(self.ask(request, |_| true).await?.pop())
    }
}

/// The questions that wait for replies, by their tickets.
#[derive(Default)]
struct Tickets(Mutex<HashMap<String, UnboundedSender<Reply>>>);

impl Tickets {
    /// Replies to this ticket are wanted until the result is dropped.
    fn wait(&self, ticket: String) -> Waits<'_> {
        let (sender, replies) = unbounded_channel();
        lock(&self.0).insert(ticket.clone(), sender);
        Waits { tickets: self, ticket, replies }
    }

    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Hands a reply to the question that waits for it, if one does.
    fn hand(&self, ticket: &str, reply: Reply) {
        if let Some(sender) = lock(&self.0).get(ticket) {
            // It may have enough.
            let _ = sender.send(reply);
        }
    }

    /// No reply comes any more.
    fn close(&self) {
        lock(&self.0).clear();
    }
}

/// A question that waits.
struct Waits<'a> {
    tickets: &'a Tickets,
    ticket: String,
    replies: UnboundedReceiver<Reply>,
}

impl Waits<'_> {
    /// The replies, until there are enough or the time is over. An error: the connection was closed before the first.
    async fn collect(&mut self, limit: Duration, mut enough: impl FnMut(&Reply) -> bool) -> Result<Vec<Reply>, String> {
        let (end, mut found) = (Instant::now() + limit, Vec::new());
        loop {
            match timeout_at(end, self.replies.recv()).await {
                Ok(Some(reply)) => {
                    let done = enough(&reply);
                    found.push(reply);
                    if done {
                        return Ok(found);
                    }
                }
                Ok(None) if found.is_empty() => return Err("the connection was closed".into()),
                Ok(None) | Err(_) => return Ok(found),
            }
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(&self.tickets.0).remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(node: &str) -> Reply {
        Reply { node: node.into(), said: Some(Value::Null) }
    }

    #[tokio::test]
    async fn replies_come_to_their_question() {
        let tickets = Tickets::default();
        let mut waits = tickets.wait("a".into());
        tickets.hand("a", reply("w1"));
        tickets.hand("b", reply("w2"));
        tickets.hand("a", reply("w3"));
        tickets.hand("a", reply("w4"));
        let found = waits.collect(Duration::from_secs(60), |reply| reply.node == "w3").await;
        assert_eq!(found, Ok(vec![reply("w1"), reply("w3")]));
        assert_eq!(waits.collect(Duration::from_millis(1), |_| false).await, Ok(vec![reply("w4")]));
        assert_eq!(waits.collect(Duration::from_millis(1), |_| false).await, Ok(Vec::new()));
        tickets.close();
        assert!(waits.collect(Duration::from_secs(60), |_| false).await.is_err());
        drop(waits);
        assert!(tickets.is_empty());
    }
}
