//! The way to circusd: a thread of its own, since its client waits for readiness and not for futures.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use circus_client::{Client, ClientError, Control, KeyNames, Subscriber};
use mio::{Events, Interest, Poll, Token, Waker};
use serde_json::{Map, Value};

use crate::core::{Event, Outcome};

const CONTROL: Token = Token(0);
const EVENTS: Token = Token(1);
const WAKE: Token = Token(2);
struct Request {
    call: u64,
    command: &'static str,
    properties: Map<String, Value>,
    patience: Duration,
}

/// Sends requests to circusd.
#[derive(Clone)]
pub struct Circusd {
    requests: Sender<Request>,
    waker: Arc<Waker>,
}

impl Circusd {
    /// Connects, in the background. `tell` gets the answers of circusd and the events of watchers.
    pub fn start(endpoint: &str, events: &str, tell: impl FnMut(Event) + Send + 'static) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(|error| error.to_string())?);
        let (sender, requests) = channel();
        let keys =
            KeyNames::of_environment(|name| std::env::var(name).ok()).read().map_err(|error| error.to_string())?;
        let client = Client::new().map_err(|error| error.to_string())?.with_keys(keys);
        let control = client.control(endpoint).map_err(|error| error.to_string())?;
        let events = client.subscribe(events, &["watcher.cyme-"]).map_err(|error| error.to_string())?;
        let endpoint = endpoint.to_owned();
        let mut link = Link { client, endpoint, control, events, open: HashMap::new(), requests, tell };
        link.register(&poll).map_err(|error| error.to_string())?;
        let run = move || {
            if let Err(error) = link.run(poll) {
                tracing::error!("the connection to circusd was lost: {error}");
            }
        };
        thread::Builder::new().name("circusd".into()).spawn(run).map_err(|error| error.to_string())?;
        Ok(Self { requests: sender, waker })
    }

    /// Asks circusd; the answer comes as an event, and none in time is an answer too.
    pub fn ask(&self, call: u64, command: &'static str, properties: Map<String, Value>, patience: Duration) {
        if self.requests.send(Request { call, command, properties, patience }).is_ok() {
            drop(self.waker.wake());
        }
    }
}

struct Link<F> {
    client: Client,
    endpoint: String,
    control: Control,
    events: Subscriber,
    /// The requests without an answer, and until when there may be one.
    open: HashMap<u64, Instant>,
    requests: Receiver<Request>,
    tell: F,
}

impl<F: FnMut(Event)> Link<F> {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        poll.registry().register(&mut self.control, CONTROL, Interest::READABLE)?;
        poll.registry().register(&mut self.events, EVENTS, Interest::READABLE)
    }

    fn run(&mut self, mut poll: Poll) -> io::Result<()> {
        let mut ready = Events::with_capacity(8);
        loop {
            let next = self.open.values().min().map(|end| end.saturating_duration_since(Instant::now()));
            match poll.poll(&mut ready, next) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done?,
            }
            if !self.send() {
                return Ok(());
            }
            while let Some((id, answer)) = self.control.answer() {
                if let Some(call) = id.parse().ok().filter(|call| self.open.remove(call).is_some()) {
                    (self.tell)(Event::Outcome { call, outcome: Outcome::Circus(Value::Object(answer)) });
                }
            }
            while let Some((topic, _)) = self.events.try_recv() {
                if let Some((name, event)) = watcher(&topic) {
                    (self.tell)(Event::Watcher { name, event });
                }
            }
            self.give_up(&poll)?;
        }
    }

    /// Sends what is to be sent. False: the branch has ended.
    fn send(&mut self) -> bool {
        loop {
            match self.requests.try_recv() {
                Ok(Request { call, command, properties, patience }) => {
                    if self.control.ask(&call.to_string(), command, properties) {
                        self.open.insert(call, Instant::now() + patience);
                    } else {
                        self.failed(call, "too many requests wait");
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn failed(&mut self, call: u64, reason: &str) {
        (self.tell)(Event::Outcome { call, outcome: Outcome::NoCircus(reason.to_owned()) });
    }

    /// Ends with a connection over which no answer came in time, and with all its requests: none is to arrive later, when
    /// something else is wanted.
    fn give_up(&mut self, poll: &Poll) -> io::Result<()> {
        let now = Instant::now();
        if self.open.values().all(|end| *end > now) {
            return Ok(());
        }
        poll.registry().deregister(&mut self.control)?;
        let fresh =
            self.client.control(&self.endpoint).map_err(|error: ClientError| io::Error::other(error.to_string()))?;
        std::mem::replace(&mut self.control, fresh).close(Duration::ZERO);
        poll.registry().register(&mut self.control, CONTROL, Interest::READABLE)?;
        for call in std::mem::take(&mut self.open).into_keys() {
            self.failed(call, "circusd does not answer");
        }
        Ok(())
    }
}

/// The watcher and the event of a topic.
fn watcher(topic: &[u8]) -> Option<(String, String)> {
    let topic = std::str::from_utf8(topic).ok()?.strip_prefix("watcher.")?;
    let (name, event) = topic.rsplit_once('.')?;
    Some((name.to_owned(), event.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_dots() {
        assert_eq!(watcher(b"watcher.cyme-a.b.spawn"), Some(("cyme-a.b".into(), "spawn".into())));
        assert_eq!(watcher(b"stat.cyme-a"), None);
    }
}
