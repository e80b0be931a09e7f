//! A lease at a broker: one holder at a time, for as long as it takes it again.
//!
//! In a Redis it is a key that ends by itself. In a RabbitMQ it is a queue that belongs to the connection of its holder, and
//! a second, durable queue with one message, which says whether the last holder has given it back. A holder that has not may
//! still run: the server may have been restarted, which ends the first queue at once. So the next one waits for a life.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::amqp::{self, ANSWER, PERSISTENT, reason};
use crate::redis::Link;
use crate::singleton::{Lease, Taken};
use crate::{BrokerUrl, Random};

/// How long a lease is taken for. A RabbitMQ ends a connection at the earliest after twice [`amqp::HEARTBEAT`] of silence,
/// so it keeps the queue for so long.
pub const LIFE: Duration = Duration::from_secs(2 * amqp::HEARTBEAT as u64);

/// KEYS: the lease, its number. ARGV: holder, milliseconds, the number that the holder has or 0. The number, or nothing.
/// A server that has just been started may have lost a lease, so it gives none until that has ended, but to its holder.
/// Numbers go on from the clock for the same reason.
const LEASE: &str = r"
local holder, life, held = redis.call('GET', KEYS[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if holder and holder ~= ARGV[1] then return false end
if not holder then
  local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
  if held == 0 and uptime * 1000 <= life then return false end
  local time, last = redis.call('TIME'), tonumber(redis.call('GET', KEYS[2]) or 0)
  local number = held
  if held == 0 or last > held then number = math.max(last + 1, time[1] * 1000 + math.floor(time[2] / 1000)) end
  redis.call('SET', KEYS[2], string.format('%.0f', number))
end
if life == 0 then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return tonumber(redis.call('GET', KEYS[2]))";

/// Takes a lease of a Redis, whose keys are those of the lease and of its number: the number, or nothing if another holder
/// has it. A life of zero gives it back. `held` is the number that the holder still has.
pub async fn take_of_redis(
    connection: &mut MultiplexedConnection,
    keys: &[String; 2],
    holder: &str,
    life: Duration,
    held: Option<u64>,
) -> Result<Option<u64>, RedisError> {
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let mut eval = cmd("EVAL");
    eval.arg(LEASE).arg(2).arg(keys).arg(holder).arg(life).arg(held.unwrap_or(0));
    eval.query_async(connection).await
}

/// The lease of this name at a broker, for one holder.
#[derive(Clone)]
pub struct BrokerLease {
    at: Arc<At>,
}

enum At {
    Redis { link: Link, keys: [String; 2], holder: String },
    Amqp { url: BrokerUrl, name: String, held: Mutex<Option<Held>> },
}

/// A connection that has the queue of the holder.
struct Held {
    connection: Connection,
    /// The last holder had given it back, or has ended since.
    from: Instant,
    record: Record,
}

/// What the durable queue says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    number: u64,
    held: bool,
}

impl BrokerLease {
    /// A lease at the broker of this URL. It is connected to when it is needed.
    pub fn open(url: &str, name: &str) -> Result<Self, String> {
        let url = BrokerUrl::parse(url)?;
        let at = match () {
            () if url.is_redis() => {
                let keys = [format!("circus-celery:lease:{name}"), format!("circus-celery:lease-number:{name}")];
                At::Redis { link: Link::new(&url, Duration::ZERO)?, keys, holder: Random::new(crate::seed()).uuid() }
            }
            () if url.is_amqp() => At::Amqp { url, name: name.to_owned(), held: Mutex::default() },
            () => return Err(format!("a lease at '{}' is not possible: amqp and redis are", url.scheme)),
        };
        Ok(Self { at: Arc::new(at) })
    }
}

impl Lease for BrokerLease {
    async fn take(&self, number: Option<u64>) -> Result<Option<Taken>, String> {
        let until = Instant::now() + LIFE;
        match &*self.at {
            At::Redis { link, keys, holder } => {
                let taken = link.with(async |to| take_of_redis(to, keys, holder, LIFE, number).await).await?;
                Ok(taken.map(|number| Taken { number, until }))
            }
            At::Amqp { url, name, held } => {
                let mut held = held.lock().await;
                let taken = timeout(ANSWER, take_of_rabbit(url, name, &mut held)).await;
                let taken = taken.unwrap_or_else(|_| Err("the broker does not answer".into()));
                if taken.is_err() {
                    *held = None;
                }
                Ok(taken?.map(|number| Taken { number, until }))
            }
        }
    }

    async fn give_back(&self) {
        // Without an answer it ends by itself.
        match &*self.at {
            At::Redis { link, keys, holder } => {
                drop(link.with(async |to| take_of_redis(to, keys, holder, Duration::ZERO, None).await).await);
            }
            At::Amqp { name, held, .. } => {
                if let Some(held) = held.lock().await.take() {
                    drop(timeout(ANSWER, give_back_to_rabbit(&held, name)).await);
                }
            }
        }
    }
}

fn holder_queue(name: &str) -> String {
    format!("circus-celery.holder.{name}")
}

fn record_queue(name: &str) -> String {
    format!("circus-celery.lease.{name}")
}

async fn take_of_rabbit(url: &BrokerUrl, name: &str, held: &mut Option<Held>) -> Result<Option<u64>, String> {
    if held.as_ref().is_none_or(|held| !held.connection.status().connected()) {
        *held = None;
        let connection = amqp::connect(url, &format!("circus-celery: lease of {name}")).await?;
        if !own(&connection, name).await? {
            return Ok(None);
        }
        let mut record = read(&connection, name).await?;
        let from = if record.held { Instant::now() + LIFE } else { Instant::now() };
        record.held = false;
        *held = Some(Held { connection, from, record });
    }
    let Some(held) = held else { return Ok(None) };
    if !held.record.held {
        if Instant::now() < held.from {
            return Ok(None);
        }
        let record = Record { number: held.record.number + 1, held: true };
        write(&held.connection, name, record).await?;
        held.record = record;
    }
    // The server has heard of this connection.
    if !own(&held.connection, name).await? {
        return Err("the broker has ended the lease".into());
    }
    Ok(Some(held.record.number))
}

async fn give_back_to_rabbit(held: &Held, name: &str) -> Result<(), String> {
    if held.record.held {
        write(&held.connection, name, Record { held: false, ..held.record }).await?;
    }
    let channel = held.connection.create_channel().await.map_err(reason)?;
    let name = holder_queue(name);
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.map_err(reason)?;
    held.connection.close(200, "".into()).await.map_err(reason)
}

/// Whether this connection has the queue of the holder. It is asked over a channel of its own, which a no closes.
async fn own(connection: &Connection, name: &str) -> Result<bool, String> {
    let channel = connection.create_channel().await.map_err(reason)?;
    let (queue, options) = (holder_queue(name), QueueDeclareOptions::exclusive().auto_delete());
    match channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await {
        Ok(_) => channel.close(200, "".into()).await.map(|()| true).map_err(reason),
        Err(error) if is_locked(&error) => Ok(false),
        Err(error) => Err(reason(error)),
    }
}

fn is_locked(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED))
}

/// A channel, and the durable queue, which has one message at most: the last.
async fn record(connection: &Connection, name: &str) -> Result<(Channel, String), String> {
    let channel = amqp::confirming(connection).await?;
    let (queue, mut arguments) = (record_queue(name), FieldTable::default());
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await.map_err(reason)?;
    Ok((channel, queue))
}

async fn read(connection: &Connection, name: &str) -> Result<Record, String> {
    let (channel, queue) = record(connection, name).await?;
    let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.map_err(reason)?;
    let Some(message) = got else { return Ok(Record::default()) };
    let read = serde_json::from_slice(&message.data);
    let back = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    message.acker.nack(back).await.map_err(reason)?;
    channel.close(200, "".into()).await.map_err(reason)?;
    read.map_err(|error| format!("the queue {queue} has a message that cannot be read: {error}"))
}

async fn write(connection: &Connection, name: &str, what: Record) -> Result<(), String> {
    let (channel, queue) = record(connection, name).await?;
    let body = serde_json::to_vec(&what).map_err(|error| error.to_string())?;
    let (options, properties) = (BasicPublishOptions::default(), amqp::json().with_delivery_mode(PERSISTENT));
    let sent = channel.basic_publish("".into(), queue.as_str().into(), options, &body, properties).await;
    sent.map_err(reason)?.await.map_err(reason)?;
    channel.close(200, "".into()).await.map_err(reason)
}
