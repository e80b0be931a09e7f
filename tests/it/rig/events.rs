//! What circusd publishes.

use std::time::Duration;

use circus::net::{Context, Subscriber};
use serde_json::{Value, json};

use super::circusd::Circusd;
use super::wait::DEADLINE;

/// An event: the watcher, what happened, and the payload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happening {
    pub(crate) watcher: String,
    pub(crate) what: String,
    pub(crate) body: Value,
}

impl Happening {
    pub(crate) fn pid(&self) -> i32 {
        self.body["process_pid"].as_i64().unwrap() as i32
    }
}

/// A subscriber to all events.
pub(crate) struct Events(Subscriber);

impl Events {
    /// Returns when the subscription stands: libzmq does not tell, so a watcher is added and removed until that is heard.
    #[track_caller]
    pub(super) fn subscribe(circusd: &Circusd, context: &Context) -> Self {
        let mut subscriber = Subscriber::connect(context, &circusd.pubsub_endpoint(), None, &["watcher."]).unwrap();
        for attempt in 0.. {
            assert!(attempt < 1000, "nothing is heard at {}", circusd.pubsub_endpoint());
            circusd.tell("add", json!({"name": "nobody", "cmd": "nothing"}));
            circusd.tell("rm", json!({"name": "nobody", "waiting": true}));
            if subscriber.recv(Duration::from_millis(20)).is_some() {
                break;
            }
        }
        let mut events = Self(subscriber);
        circusd.tell("add", json!({"name": "marker", "cmd": "nothing"}));
        circusd.tell("rm", json!({"name": "marker", "waiting": true}));
        events.until("marker", "remove");
        events
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Happening {
        self.within(DEADLINE).expect("an event")
    }

    /// The next event, if it comes within this time.
    pub(crate) fn within(&mut self, limit: Duration) -> Option<Happening> {
        let (topic, body) = self.0.recv(limit)?;
        let topic = String::from_utf8(topic).unwrap();
        let (watcher, what) = topic.strip_prefix("watcher.").unwrap().rsplit_once('.').unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        Some(Happening { watcher: watcher.to_owned(), what: what.to_owned(), body })
    }

    /// Everything up to and with this event.
    #[track_caller]
    pub(crate) fn until(&mut self, watcher: &str, what: &str) -> Vec<Happening> {
        let mut seen = Vec::new();
        loop {
            let next = self.next();
            let found = next.watcher == watcher && next.what == what;
            seen.push(next);
            if found {
                return seen;
            }
        }
    }
}
