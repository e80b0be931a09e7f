//! A connection to a RabbitMQ, which is made when it is needed, and again after it broke.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::BrokerUrl;

/// How long the server may take to answer.
pub const ANSWER: Duration = Duration::from_secs(5);
/// After twice this time without a sign of life either side gives the connection up: seconds.
pub const HEARTBEAT: u16 = 5;
/// A message that the server writes to its disk.
pub const PERSISTENT: u8 = 2;

/// What is made when it is needed, and kept while it works.
pub struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Whether something can still be used.
pub trait Works {
    /// Whether it can still be used, as far as is known.
    fn works(&self) -> bool;
}

impl<T: Works> Kept<T> {
    /// What there is; made anew if there is none that works.
    pub async fn get(&self, make: impl AsyncFnOnce() -> Result<T, String>) -> Result<Arc<T>, String> {
        let mut slot = self.0.lock().await;
        if let Some(kept) = slot.as_ref().filter(|kept| kept.works()) {
            return Ok(Arc::clone(kept));
        }
        *slot = None;
        let made = Arc::new(make().await?);
        *slot = Some(Arc::clone(&made));
        Ok(made)
    }

    /// It works no longer.
    pub async fn forget(&self, broken: &Arc<T>) {
        let mut slot = self.0.lock().await;
        if slot.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, broken)) {
            *slot = None;
        }
    }
}

/// Connects to the server of this URL. `name` is what the server shows of the connection.
pub async fn connect(url: &BrokerUrl, name: &str) -> Result<Connection, String> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let uri = url.amqp(HEARTBEAT, ANSWER);
    match timeout(ANSWER, Connection::connect(&uri, properties)).await {
        Ok(connected) => connected.map_err(reason),
        Err(_) => Err("the broker does not answer".into()),
    }
}

/// A channel whose messages the server confirms.
pub async fn confirming(connection: &Connection) -> Result<Channel, String> {
    let channel = connection.create_channel().await.map_err(reason)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(reason)?;
    Ok(channel)
}

pub fn reason(error: lapin::Error) -> String {
    error.to_string()
}

/// Declares a queue that the server keeps, and deletes if nothing has used it for so long.
pub async fn durable(
    channel: &Channel,
    name: &str,
    expires: Duration,
    others: &[(&str, AMQPValue)],
) -> Result<(), String> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), millis(expires));
    for (name, value) in others {
        arguments.insert((*name).into(), value.clone());
    }
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name.into(), options, arguments).await.map(drop).map_err(reason)
}

/// Milliseconds, as an argument.
pub fn millis(duration: Duration) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Whether there is such a queue; asked over a channel of its own, which the answer may close.
pub async fn has_queue(connection: &Connection, name: &str) -> Result<bool, String> {
    let channel = connection.create_channel().await.map_err(reason)?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    exists(&channel, channel.queue_declare(name.into(), options, FieldTable::default()).await).await
}

/// Whether there is such an exchange; asked over a channel of its own, which the answer may close.
pub async fn has_exchange(connection: &Connection, name: &str) -> Result<bool, String> {
    let channel = connection.create_channel().await.map_err(reason)?;
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let kind = lapin::ExchangeKind::Direct;
    exists(&channel, channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await).await
}

async fn exists<T>(channel: &Channel, asked: Result<T, lapin::Error>) -> Result<bool, String> {
    match asked {
        Ok(_) => {
            // The result does not matter: the channel is used no more.
            drop(channel.close(200, "".into()).await);
            Ok(true)
        }
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(reason(error)),
    }
}

fn is_missing(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// Publishes over a channel that confirms, and waits until the server has the message. False: no queue has got it.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<bool, String> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.map_err(reason)?;
    match timeout(ANSWER, sent).await {
        Err(_) => Err("the broker does not confirm a message".into()),
        Ok(Err(error)) => Err(reason(error)),
        Ok(Ok(Confirmation::Ack(returned))) => Ok(returned.is_none()),
        Ok(Ok(_)) => Err("the broker refuses a message".into()),
    }
}

/// Everything up to a message is done with.
pub const UP_TO: BasicAckOptions = BasicAckOptions { multiple: true };

/// A text among headers.
pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// Properties of a message in JSON.
pub fn json() -> BasicProperties {
    let name = |text: &str| ShortString::from(text);
    BasicProperties::default().with_content_type(name("application/json")).with_content_encoding(name("utf-8"))
}
