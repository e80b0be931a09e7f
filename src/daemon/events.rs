//! The event endpoint: what is published, and what clients have subscribed to.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::door::{Door, grant};
use crate::arbiter::{Level, Mono};
use crate::net::{Peer, Publisher, SubscriptionChanges};
use crate::output::OutputHandle;
use crate::proto::{Notice, OUTPUT_GREETING, OUTPUT_TOPICS, encode_notice};
use circus_core::base::Throttle;

/// See the module.
pub(super) struct EventPublisher {
    pub(super) publisher: Publisher,
    /// Events of this turn that are to be sent.
    queue: Vec<Notice>,
    /// Connections that subscribed to too much, not logged yet.
    ended: u64,
    ended_log: Throttle,
    /// The same of those that do not read.
    unread_log: Throttle,
    /// Subscriptions that were refused, not logged yet.
    refused: Vec<(Peer, Vec<u8>)>,
    held: Option<Held>,
}

/// What is published is held back for a while: the subscribers of the process before this one are coming back.
struct Held {
    /// No longer than until then.
    until: Mono,
    /// How many subscriptions they had.
    subscriptions: usize,
    /// What workers have printed since.
    output: Vec<(Arc<str>, Vec<u8>)>,
}

/// How long subscribers may take to come back. libzmq tries again after 100 to 200 ms.
const HOLD_LIMIT: Duration = Duration::from_secs(1);
/// So many messages of output are held back. What follows them is published at once.
const MOST_HELD: usize = 20_000;

impl EventPublisher {
    pub(super) fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            queue: Vec::new(),
            ended: 0,
            ended_log: Throttle::default(),
            unread_log: Throttle::default(),
            refused: Vec::new(),
            held: None,
        }
    }

    /// Holds back what is published until there are so many subscriptions again, in a bounded time.
    pub(super) fn hold_for(&mut self, subscriptions: usize, now: Mono) {
        if subscriptions > 0 {
            self.held = Some(Held { until: now.after(HOLD_LIMIT), subscriptions, output: Vec::new() });
        }
    }

    /// When what is held back goes out at the latest.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.held.as_ref().map(|held| held.until)
    }

    /// Lets out what is held back, if it is time or its readers are there.
    pub(super) fn let_out(&mut self, now: Mono) {
        let publisher = &self.publisher;
        let over = |held: &mut Held| {
            held.until <= now || held.output.len() >= MOST_HELD || publisher.subscription_count() >= held.subscriptions
        };
        if let Some(held) = self.held.take_if(over) {
            self.flush();
            self.publish_output(held.output);
        }
    }

    /// Publishes what workers have printed.
    pub(super) fn publish_output(&mut self, printed: Vec<(Arc<str>, Vec<u8>)>) {
        match &mut self.held {
            Some(held) => held.output.extend(printed),
            None => self.publisher.publish_all(printed.iter().map(|(topic, body)| (topic.as_bytes(), body))),
        }
    }

    /// Sends an event with the others of this turn.
    pub(super) fn push(&mut self, notice: Notice) {
        self.queue.push(notice);
    }

    /// Logs which subscribers were disconnected, at most every few seconds.
    pub(super) fn log_ended(&mut self, door: &mut Door, core: &mut Core) {
        let known = door.known_for(self.publisher.endpoint());
        for (peer, prefix) in std::mem::take(&mut self.refused) {
            let grant = known.as_ref().and_then(|known| grant(known, &peer));
            let name = grant.map_or("a client that is not authorized any more", |grant| grant.name.as_str());
            let address = peer.address.as_deref().unwrap_or("an unknown address");
            let prefix = String::from_utf8_lossy(&prefix);
            door.log_refused(&format!("a subscription to {prefix:?} of {name} at {address}"), core);
        }
        if let Some(count) = self.ended_log.count(std::mem::take(&mut self.ended), core.now.mono) {
            let text = format!("disconnected {count} subscribers of pubsub_endpoint that subscribed to too much");
            core.log(Level::Warning, text);
        }
        if let Some(count) = self.unread_log.count(self.publisher.take_unread(), core.now.mono) {
            let text =
                format!("disconnected {count} subscribers of pubsub_endpoint that did not read what is published");
            core.log(Level::Warning, text);
        }
    }

    /// Sends the events of this turn, together: libzmq's thread and the subscribers wake up once for a death and the
    /// worker that takes its place, and not while that one is being started.
    pub(super) fn flush(&mut self) {
        if self.held.is_some() {
            return;
        }
        let notices = self.queue.drain(..);
        self.publisher.publish_all(notices.map(|notice| encode_notice(&notice)));
    }

    /// Takes note of what clients subscribe to. Output is made into events only where a client has subscribed to it by
    /// name, so without such a client it costs nothing.
    pub(super) fn take_subscriptions(&mut self, output: &mut OutputHandle) {
        if self.held.is_some() {
            // Until all are back, those are served that there were before.
            return self.publisher.settle();
        }
        loop {
            // Again after the greetings: sending them may have consumed an edge.
            self.publisher.settle();
            let Some(SubscriptionChanges { subscribed, ended, refused }) = self.publisher.take_subscription_changes()
            else {
                break;
            };
            self.ended += ended;
            self.refused.extend(refused);
            let topics = self.publisher.subscriptions().filter(|prefix| concerns_output(prefix)).map(<[u8]>::to_vec);
            output.follow(topics.collect());
            // The thread hears of it before anything that the subscriber asks for from now on.
            for prefix in subscribed.iter().filter(|prefix| prefix.starts_with(OUTPUT_TOPICS.as_bytes())) {
                self.publisher.publish(prefix, OUTPUT_GREETING);
            }
        }
    }
}

/// Whether a subscription reaches output. An empty one means everything that there was before there was output.
fn concerns_output(prefix: &[u8]) -> bool {
    let topics = OUTPUT_TOPICS.as_bytes();
    !prefix.is_empty() && (prefix.starts_with(topics) || topics.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_get_output_only_by_name() {
        for prefix in ["o", "output", "output.", "output.web.stdout"] {
            assert!(concerns_output(prefix.as_bytes()), "{prefix}");
        }
        for prefix in ["", "watcher.", "w", "outputs", "output-web"] {
            assert!(!concerns_output(prefix.as_bytes()), "{prefix}");
        }
    }
}
