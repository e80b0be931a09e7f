//! Remote control over RabbitMQ.

use std::sync::{Arc, Mutex};

use futures_lite::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use tokio::time::sleep;

use super::{Request, Tickets};
use crate::amqp::{self, Kept, Works, reason};
use crate::message::{Reply, control_body, read_body};
use crate::waiting::lock;
use crate::{BrokerUrl, Random};

/// Where workers take remote control from.
const PIDBOX: &str = "celery.pidbox";

/// One broker. A copy has the same connection.
#[derive(Clone)]
pub struct Amqp {
    shared: Arc<Shared>,
}

struct Shared {
    url: BrokerUrl,
    name: String,
    linked: Kept<Linked>,
}

/// A connection, and remote control over it.
struct Linked {
    connection: Connection,
    session: Session,
}

impl Works for Linked {
    fn works(&self) -> bool {
        self.connection.status().connected() && self.session.works()
    }
}

impl Amqp {
    /// The broker at this URL. It is connected to when it is needed; `name` is what the server shows of the connection.
    pub fn open(url: BrokerUrl, name: &str) -> Self {
        Self { shared: Arc::new(Shared { url, name: name.to_owned(), linked: Kept::default() }) }
    }

    async fn linked(&self) -> Result<Arc<Linked>, String> {
        let shared = &self.shared;
        let open = async || {
            let connection = amqp::connect(&shared.url, &shared.name).await?;
            let session = Session::open(&connection).await?;
            Ok(Linked { connection, session })
        };
        shared.linked.get(open).await
    }

    pub(super) async fn check(&self) -> Result<(), String> {
        let linked = self.linked().await?;
        amqp::has_exchange(&linked.connection, "amq.direct").await.map(drop)
    }

    pub(super) async fn ask(
        &self,
        request: Request<'_>,
        enough: impl FnMut(&Reply) -> bool,
    ) -> Result<Vec<Reply>, String> {
        let linked = self.linked().await?;
        let asked = linked.session.ask(&linked.connection, request, enough).await;
        if asked.is_err() && !linked.works() {
            self.shared.linked.forget(&linked).await;
        }
        asked
    }
}

/// Remote control over one connection.
pub struct Session {
    commands: Channel,
    reply_queue: String,
    random: Mutex<Random>,
    tickets: Arc<Tickets>,
    /// There is an exchange for remote control.
    has_pidbox: Mutex<bool>,
}

impl Session {
    /// Begins to listen for replies.
    pub async fn open(connection: &Connection) -> Result<Self, String> {
        let commands = amqp::confirming(connection).await?;
        let exclusive = QueueDeclareOptions::exclusive().auto_delete();
        let queue = commands.queue_declare("".into(), exclusive, FieldTable::default()).await.map_err(reason)?;
        let reply_queue = queue.name().as_str().to_owned();
        let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let listening = connection.create_channel().await.map_err(reason)?;
        let name = reply_queue.as_str().into();
        let replies = listening.basic_consume(name, "".into(), no_ack, FieldTable::default()).await.map_err(reason)?;
        let tickets = Arc::<Tickets>::default();
        tokio::spawn(hand_out(replies, Arc::clone(&tickets)));
        let random = Mutex::new(Random::new(crate::seed()));
        Ok(Self { commands, reply_queue, random, tickets, has_pidbox: Mutex::new(false) })
    }

    /// Whether it can still be used, as far as is known.
    pub fn works(&self) -> bool {
        self.commands.status().connected()
    }

    /// Asks over its connection, and returns the replies: see [`super::Remote::ask`].
    pub async fn ask(
        &self,
        connection: &Connection,
        request: Request<'_>,
        enough: impl FnMut(&Reply) -> bool,
    ) -> Result<Vec<Reply>, String> {
        if !*lock(&self.has_pidbox) {
            if !amqp::has_exchange(connection, PIDBOX).await? {
                // No worker was ever connected.
                sleep(request.limit).await;
                return Ok(Vec::new());
            }
            *lock(&self.has_pidbox) = true;
        }
        let ticket = lock(&self.random).uuid();
        let body = control_body(request.node, request.method, request.arguments, &ticket, &self.reply_queue);
        let mut waits = self.tickets.wait(ticket);
        amqp::publish(&self.commands, PIDBOX, "", body.to_string().as_bytes(), amqp::json()).await?;
        waits.collect(request.limit, enough).await
    }
}

/// Gives each reply of a worker to the question that waits for it. After the last none waits any more.
async fn hand_out(mut replies: Consumer, tickets: Arc<Tickets>) {
    while let Some(Ok(delivery)) = replies.next().await {
        let kind = delivery.properties.content_type().as_ref().map(|kind| kind.as_str().to_owned());
        if let Some(ticket) = header(&delivery.properties, "ticket") {
            tickets.hand(&ticket, read_body(&delivery.data, kind.as_deref().unwrap_or_default()));
        }
    }
    tickets.close();
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
