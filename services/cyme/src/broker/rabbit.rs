//! RabbitMQ as the broker between branches.
//!
//! RabbitMQ carries messages; it has no names with values. One of the branches, the keeper, therefore has the
//! [`Board`] in memory, and answers the calls of all. `cyme.state` is a queue with a single active consumer: RabbitMQ says
//! which branch is the keeper, and chooses the next when its connection ends. The queue holds the state as a snapshot and
//! what has changed since; the keeper acknowledges them when it has written a newer snapshot, so that the next keeper gets
//! them. It answers a call that changes something once RabbitMQ has the change. All of it goes over one connection: a
//! keeper that RabbitMQ takes for gone cannot write or answer any more.
//!
//! `cyme.calls` are the calls to the keeper, `cyme.inbox.ID` the messages to a branch, `cyme.branches` is the exchange to
//! all inboxes. The queues are durable, and expire when no branch uses them.

use std::sync::{Arc, Mutex as StdMutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use circus_celery::amqp::{self, Kept, PERSISTENT, Works, reason};
use circus_celery::waiting::{Forget, Waiting, lock};
use futures_lite::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer, ExchangeKind, PublisherConfirm};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{interval_at, timeout};

use super::{Broker, Pending};
use crate::core::board::MESSAGE_LIFE;
use crate::core::{Answer, Board, BrokerCall, BrokerUrl, Message, Random, Record, To};

const STATE: &str = "cyme.state";
const CALLS: &str = "cyme.calls";
const BRANCHES: &str = "cyme.branches";
/// Where RabbitMQ delivers answers to the channel that has asked.
const REPLIES: &str = "amq.rabbitmq.reply-to";
/// After so long without any branch the state is forgotten.
const STATE_LIFE: Duration = Duration::from_secs(28 * 24 * 3600);
/// A call that the keeper does not take within this time has been given up.
const CALL_LIFE: Duration = Duration::from_secs(8);
/// RabbitMQ closes a channel whose messages are not acknowledged for half an hour: a snapshot is written earlier.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(600);
/// A snapshot is written, too, after so many changes.
const SNAPSHOT_AFTER: usize = 2000;
/// How many calls the keeper takes at once.
const CALLS_AT_ONCE: u16 = 200;
/// How long a deletion is remembered.
const GONE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What stands in the queue of the state.
#[derive(Debug, Serialize, Deserialize)]
enum Stored {
    /// Nothing: it shows that everything before it has been read. Only its writer knows the text.
    Marker(String),
    /// All of the state; nothing before it counts. The text is as that of a marker.
    Snapshot(String, Vec<Record>),
    /// A change.
    Change(Record),
}

/// RabbitMQ, as a branch uses it.
pub struct Rabbit {
    url: BrokerUrl,
    branch: String,
    session: Kept<Session>,
}

impl Rabbit {
    /// A broker at this URL. It is connected to when it is needed.
    pub fn open(url: &str, branch: &str) -> Result<Self, String> {
        Ok(Self { url: BrokerUrl::parse(url)?, branch: branch.to_owned(), session: Kept::default() })
    }

    async fn session(&self) -> Result<Arc<Session>, String> {
        self.session.get(async || Session::open(&self.url, &self.branch).await).await
    }

    async fn do_call(&self, call: BrokerCall) -> Result<Answer, String> {
        let session = self.session().await?;
        let answer = session.call(call).await;
        if answer.is_err() && !session.works() {
            self.give_up(&session).await;
        }
        answer
    }

    /// Ends a connection that broke in part, so that nothing goes on with the rest of it.
    async fn give_up(&self, session: &Arc<Session>) {
        self.session.forget(session).await;
        let connection = Arc::clone(&session.connection);
        tokio::spawn(async move { drop(timeout(amqp::ANSWER, connection.close(200, "".into())).await) });
    }

    async fn next_message(&self) -> Result<Message, String> {
        loop {
            let session = self.session().await?;
            let next = session.inbox.lock().await.next().await;
            let delivery = match next {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => {
                    self.give_up(&session).await;
                    return Err(reason(error));
                }
                None => {
                    self.give_up(&session).await;
                    return Err("the connection was closed".into());
                }
            };
            match serde_json::from_slice::<Message>(&delivery.data) {
                // A message to all inboxes comes to this one too.
                Ok(message) if message.from == self.branch && delivery.exchange.as_str() == BRANCHES => {}
                Ok(message) => return Ok(message),
                Err(_) => {}
            }
        }
    }
}

impl Broker for Rabbit {
    fn call(&self, call: BrokerCall) -> Pending<'_, Answer> {
        Box::pin(self.do_call(call))
    }

    fn receive(&self) -> Pending<'_, Message> {
        Box::pin(self.next_message())
    }
}

/// A connection, and what a branch does over it.
struct Session {
    connection: Arc<Connection>,
    calls: Channel,
    inbox: Mutex<Consumer>,
    waiting: Arc<Waiting<Vec<u8>>>,
    random: StdMutex<Random>,
    keeping: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl Works for Session {
    fn works(&self) -> bool {
        self.connection.status().connected() && self.calls.status().connected()
    }
}

impl Session {
    async fn open(url: &BrokerUrl, branch: &str) -> Result<Self, String> {
        let connection = amqp::connect(url, &format!("cyme-branch {branch}")).await?;
        let calls = amqp::confirming(&connection).await?;
        amqp::durable(&calls, CALLS, STATE_LIFE, &[("x-message-ttl", amqp::millis(CALL_LIFE))]).await?;
        let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies = calls.basic_consume(REPLIES.into(), "".into(), no_ack, FieldTable::default()).await;
        let waiting = Arc::<Waiting<Vec<u8>>>::default();
        tokio::spawn(hand_out(replies.map_err(reason)?, Arc::clone(&waiting)));

        let inbox = inbox(branch);
        amqp::durable(&calls, &inbox, MESSAGE_LIFE, &[("x-message-ttl", amqp::millis(MESSAGE_LIFE))]).await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let none = FieldTable::default;
        calls.exchange_declare(BRANCHES.into(), ExchangeKind::Fanout, durable, none()).await.map_err(reason)?;
        let bind = QueueBindOptions::default();
        let (queue, exchange) = (inbox.as_str().into(), BRANCHES.into());
        calls.queue_bind(queue, exchange, "".into(), bind, none()).await.map_err(reason)?;
        let listening = connection.create_channel().await.map_err(reason)?;
        let inbox = listening.basic_consume(inbox.as_str().into(), "".into(), no_ack, none()).await.map_err(reason)?;

        let keeper = Keeper::stand_by(&connection).await?;
        let connection = Arc::new(connection);
        let kept = Arc::clone(&connection);
        let keeping = tokio::spawn(async move {
            if let Err(reason) = keeper.run().await {
                tracing::warn!("this branch no longer keeps the names or stands by for it: {reason}");
            }
            // RabbitMQ chooses another keeper, and this branch begins anew with another connection.
            drop(kept.close(200, "".into()).await);
        });
        let random = StdMutex::new(Random::new(crate::seed()));
        Ok(Self { connection, calls, inbox: Mutex::new(inbox), waiting, random, keeping: keeping.abort_handle() })
    }

    async fn call(&self, call: BrokerCall) -> Result<Answer, String> {
        match call {
            BrokerCall::Send(To::Branch(id), message) => {
                let sent = amqp::publish(&self.calls, "", &inbox(&id), &json(&message), amqp::json()).await?;
                Ok(Answer::Sent(usize::from(sent)))
            }
            BrokerCall::Send(To::Others, message) => {
                let Answer::Branches(alive) = self.ask(&BrokerCall::Branches).await? else {
                    return Err("the keeper's answer is of another call".into());
                };
                amqp::publish(&self.calls, BRANCHES, "", &json(&message), amqp::json()).await?;
                Ok(Answer::Sent(alive.iter().filter(|branch| branch.id != message.from).count()))
            }
            call => self.ask(&call).await,
        }
    }

    /// Asks the keeper. Without an answer in time the caller drops this.
    async fn ask(&self, call: &BrokerCall) -> Result<Answer, String> {
        let id = lock(&self.random).uuid();
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id.clone(), sender);
        let _forget = Forget(&self.waiting, &id);
        let properties = amqp::json().with_reply_to(REPLIES.into()).with_correlation_id(id.as_str().into());
        if !amqp::publish(&self.calls, "", CALLS, &json(call), properties).await? {
            return Err(format!("the queue {CALLS} has gone"));
        }
        let answer = receiver.await.map_err(|_| "the connection was closed".to_owned())?;
        serde_json::from_slice(&answer).map_err(|error| format!("the keeper's answer cannot be read: {error}"))
    }
}

/// Gives each answer to the call that waits for it. After the last none waits any more.
async fn hand_out(mut replies: Consumer, waiting: Arc<Waiting<Vec<u8>>>) {
    while let Some(Ok(delivery)) = replies.next().await {
        let id = delivery.properties.correlation_id().as_ref().map(|id| id.as_str().to_owned());
        if let Some(sender) = id.and_then(|id| lock(&waiting).remove(&id)) {
            drop(sender.send(delivery.data));
        }
    }
    lock(&waiting).clear();
}

/// The branch that has the state, or stands by.
struct Keeper {
    calls: Channel,
    state: Channel,
    stored: Consumer,
    board: Board,
    begun: Instant,
    random: Random,
}

impl Keeper {
    /// RabbitMQ may choose this branch from now on.
    async fn stand_by(connection: &Connection) -> Result<Self, String> {
        let state = amqp::confirming(connection).await?;
        let single = [("x-single-active-consumer", AMQPValue::Boolean(true))];
        amqp::durable(&state, STATE, STATE_LIFE, &single).await?;
        let options = BasicConsumeOptions::default();
        let stored = state.basic_consume(STATE.into(), "".into(), options, FieldTable::default()).await;
        let stored = stored.map_err(reason)?;
        let calls = amqp::confirming(connection).await?;
        let random = Random::new(crate::seed());
        let keeper = Self { calls, state, stored, board: Board::default(), begun: Instant::now(), random };
        // Whichever branch is the keeper gets this: an empty queue would tell it nothing.
        let confirm = keeper.write(&Stored::Marker(String::new())).await?;
        confirmed(confirm).await?;
        Ok(keeper)
    }

    async fn run(mut self) -> Result<(), String> {
        let Some(first) = self.stored.next().await else { return Ok(()) };
        let first = first.map_err(reason)?;
        let mut last = self.load(first).await?;
        last = self.snapshot(last).await?;
        tracing::info!("this branch is the keeper of the names");

        let qos = BasicQosOptions::default();
        self.calls.basic_qos(CALLS_AT_ONCE, qos).await.map_err(reason)?;
        let options = BasicConsumeOptions::default();
        let calls = self.calls.basic_consume(CALLS.into(), "".into(), options, FieldTable::default()).await;
        let mut calls = calls.map_err(reason)?;
        let (sender, answers) = mpsc::unbounded_channel();
        let mut answering = tokio::spawn(answer(self.calls.clone(), answers));
        let mut snapshots = interval_at(tokio::time::Instant::now() + SNAPSHOT_EVERY, SNAPSHOT_EVERY);
        let mut changes = 0;
        let ended = loop {
            let write = tokio::select! {
                stored = self.stored.next() => match stored {
                    Some(Ok(delivery)) => {
                        last = delivery.delivery_tag;
                        continue;
                    }
                    Some(Err(error)) => break Err(reason(error)),
                    None => break Ok(()),
                },
                call = calls.next() => match call {
                    Some(Ok(delivery)) => match self.serve(delivery).await {
                        Ok(answer) => {
                            changes += usize::from(answer.change.is_some());
                            if sender.send(answer).is_err() {
                                break Err("an answer could not be sent".into());
                            }
                            changes >= SNAPSHOT_AFTER
                        }
                        Err(reason) => break Err(reason),
                    },
                    Some(Err(error)) => break Err(reason(error)),
                    None => break Ok(()),
                },
                _ = snapshots.tick() => true,
                _ = &mut answering => break Err("a change could not be written".into()),
            };
            if write {
                changes = 0;
                match self.snapshot(last).await {
                    Ok(tag) => last = tag,
                    Err(reason) => break Err(reason),
                }
            }
        };
        answering.abort();
        ended
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Reads the state, up to a marker that is written now. The number of the last message.
    async fn load(&mut self, first: Delivery) -> Result<u64, String> {
        let marker = self.random.uuid();
        let confirm = self.write(&Stored::Marker(marker.clone())).await?;
        confirmed(confirm).await?;
        let mut delivery = first;
        loop {
            match serde_json::from_slice::<Stored>(&delivery.data) {
                Ok(Stored::Marker(found)) if found == marker => return Ok(delivery.delivery_tag),
                Ok(Stored::Marker(_)) => {}
                Ok(Stored::Snapshot(_, records)) => {
                    self.board.clear();
                    self.restore(records);
                }
                Ok(Stored::Change(record)) => self.restore(vec![record]),
                Err(error) => tracing::error!("a part of the names of the fleet cannot be read: {error}"),
            }
            delivery = match self.stored.next().await {
                Some(delivery) => delivery.map_err(reason)?,
                None => return Err("the queue of the state has gone".into()),
            };
        }
    }

    fn restore(&mut self, records: Vec<Record>) {
        let now = self.now();
        for record in records {
            self.board.restore(now, record);
        }
    }

    /// Writes all of the state, after which nothing up to `last` is needed. The number of the last message, again.
    async fn snapshot(&mut self, last: u64) -> Result<u64, String> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.board.tidy(self.now(), unix.saturating_sub(GONE).as_secs_f64());
        let name = self.random.uuid();
        let confirm = self.write(&Stored::Snapshot(name.clone(), self.board.records())).await?;
        confirmed(confirm).await?;
        // Changes that were written just before come first.
        let mut last = last;
        loop {
            let delivery = match self.stored.next().await {
                Some(delivery) => delivery.map_err(reason)?,
                None => return Err("the queue of the state has gone".into()),
            };
            let own = matches!(serde_json::from_slice(&delivery.data), Ok(Stored::Snapshot(found, _)) if found == name);
            if own {
                if last > 0 {
                    self.state.basic_ack(last, amqp::UP_TO).await.map_err(reason)?;
                }
                return Ok(delivery.delivery_tag);
            }
            last = delivery.delivery_tag;
        }
    }

    async fn write(&self, stored: &Stored) -> Result<PublisherConfirm, String> {
        let (options, properties) = (BasicPublishOptions::default(), amqp::json().with_delivery_mode(PERSISTENT));
        let sent = self.state.basic_publish("".into(), STATE.into(), options, &json(stored), properties).await;
        sent.map_err(reason)
    }

    /// Carries out a call. It is answered once RabbitMQ has what it changes.
    async fn serve(&mut self, delivery: Delivery) -> Result<Served, String> {
        let Ok(call) = serde_json::from_slice::<BrokerCall>(&delivery.data) else {
            return Ok(Served { delivery, change: None, answer: None });
        };
        let now = self.now();
        let (answer, change) = self.board.apply_and_tell(now, call);
        let change = match change {
            Some(record) => Some(self.write(&Stored::Change(record)).await?),
            None => None,
        };
        Ok(Served { delivery, change, answer: Some(json(&answer)) })
    }
}

/// A call that was carried out, but is not answered yet.
struct Served {
    delivery: Delivery,
    change: Option<PublisherConfirm>,
    answer: Option<Vec<u8>>,
}

/// Answers calls, each once RabbitMQ has what it has changed. A change that RabbitMQ does not take ends it, and with it the
/// keeper.
async fn answer(channel: Channel, mut served: mpsc::UnboundedReceiver<Served>) {
    while let Some(Served { delivery, change, answer }) = served.recv().await {
        let done = async {
            if let Some(change) = change {
                confirmed(change).await?;
            }
            if let (Some(answer), Some(to)) = (answer, delivery.properties.reply_to()) {
                let id = delivery.properties.correlation_id().clone().unwrap_or_default();
                let properties = BasicProperties::default().with_correlation_id(id);
                let options = BasicPublishOptions::default();
                let sent = channel.basic_publish("".into(), to.clone(), options, &answer, properties).await;
                drop(sent.map_err(reason)?);
            }
            delivery.acker.ack(BasicAckOptions::default()).await.map(drop).map_err(reason)
        };
        let done: Result<(), String> = done.await;
        if let Err(reason) = done {
            tracing::warn!("the keeper of the names could not answer: {reason}");
            return;
        }
    }
}

async fn confirmed(confirm: PublisherConfirm) -> Result<(), String> {
    match timeout(amqp::ANSWER, confirm).await {
        Err(_) => Err("the broker does not confirm a message".into()),
        Ok(Err(error)) => Err(reason(error)),
        Ok(Ok(Confirmation::Nack(_))) => Err("the broker refuses a message".into()),
        Ok(Ok(_)) => Ok(()),
    }
}

fn inbox(branch: &str) -> String {
    format!("cyme.inbox.{branch}")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
