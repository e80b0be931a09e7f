//! Remote control over Redis.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use redis::cmd;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Request, Tickets};
use crate::message::{Reply, control_request, read_reply};
use crate::redis::Link;
use crate::waiting::lock;
use crate::{BrokerUrl, Random};

/// How long one call waits for replies; then it waits again.
const LISTEN: Duration = Duration::from_secs(20);
/// Replies that nothing has fetched are forgotten after so many milliseconds.
const REPLY_LIFE: u64 = 60_000;

/// One broker. A copy has the same connections.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    commands: Link,
    /// The one that waits for replies.
    replies: Link,
    database: u32,
    reply_queue: String,
    random: Mutex<Random>,
    tickets: Tickets,
    /// A first question waits for replies, so that their list is to be read.
    begin: Notify,
    listening: Mutex<bool>,
}

impl Redis {
    /// The broker at this URL. It is connected to when it is needed.
    pub fn open(url: &BrokerUrl) -> Result<Self, String> {
        let mut random = Random::new(crate::seed());
        let shared = Shared {
            commands: Link::new(url, Duration::ZERO)?,
            replies: Link::new(url, LISTEN)?,
            database: url.database(),
            reply_queue: format!("cyme.reply.{}", random.uuid()),
            random: Mutex::new(random),
            tickets: Tickets::default(),
            begin: Notify::new(),
            listening: Mutex::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The connection for commands.
    pub fn link(&self) -> &Link {
        &self.shared.commands
    }

    /// The number of the database.
    pub fn database(&self) -> u32 {
        self.shared.database
    }

    pub(super) async fn check(&self) -> Result<(), String> {
        // While a server loads what it has on its disk, it refuses this.
        self.link().with(async |connection| cmd("PING").exec_async(connection).await).await
    }

    /// Asks, and returns the replies: see [`super::Remote::ask`].
    pub async fn ask(&self, request: Request<'_>, enough: impl FnMut(&Reply) -> bool) -> Result<Vec<Reply>, String> {
        let shared = &self.shared;
        self.listen();
        let ticket = lock(&shared.random).uuid();
        let text = control_request(request.node, request.method, request.arguments, &ticket, &shared.reply_queue);
        let mut waits = shared.tickets.wait(ticket);
        shared.begin.notify_one();
        let channel = format!("/{}.celery.pidbox", shared.database);
        self.link()
            .with(async |connection| cmd("PUBLISH").arg(channel).arg(text).query_async::<u64>(connection).await)
            .await?;
        waits.collect(request.limit, enough).await
    }

    /// Has the list of replies read, as long as this broker is used.
    fn listen(&self) {
        let mut listening = lock(&self.shared.listening);
        if !std::mem::replace(&mut *listening, true) {
            tokio::spawn(read_replies(Arc::downgrade(&self.shared)));
        }
    }
}

/// Gives each reply to the question that waits for it, until the broker is used no more.
async fn read_replies(shared: Weak<Shared>) {
    while let Some(strong) = shared.upgrade() {
        if strong.tickets.is_empty() {
            strong.begin.notified().await;
        }
        let read = strong.replies.with(async |connection| {
            let queue = &strong.reply_queue;
            let popped: Option<(String, Vec<u8>)> =
                cmd("BRPOP").arg(queue).arg(LISTEN.as_secs()).query_async(connection).await?;
            // A reply that comes too late would stay for ever once this program has ended.
            cmd("PEXPIRE").arg(queue).arg(REPLY_LIFE).exec_async(connection).await?;
            Ok(popped)
        });
        match read.await {
            Ok(popped) => {
                if let Some((ticket, reply)) = popped.and_then(|(_, message)| read_reply(&message)) {
                    strong.tickets.hand(&ticket, reply);
                }
            }
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}
