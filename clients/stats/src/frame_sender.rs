//! Sends messages: each in the forms that are subscribed to, from buffers that are kept.

use std::io::Write as _;

use serde::Serialize;

use super::subscriptions::{PACKED, Subscriptions};
use circus_net::{Publisher, SubscriptionChanges};

/// Publishes frames.
pub(super) struct FrameSender {
    pub(super) publisher: Publisher,
    pub(super) subscriptions: Subscriptions,
    topic: Vec<u8>,
    body: Vec<u8>,
}

impl FrameSender {
    pub(super) fn new(publisher: Publisher) -> Self {
        Self { publisher, subscriptions: Subscriptions::default(), topic: Vec::new(), body: Vec::new() }
    }

    /// Takes note of subscriptions that came or went, and returns what became of them.
    pub(super) fn ready(&mut self) -> Option<SubscriptionChanges> {
        self.publisher.ready();
        let news = self.publisher.take_subscription_changes()?;
        self.subscriptions = Subscriptions::of(self.publisher.subscriptions());
        Some(news)
    }

    /// Whether anything under this name is wanted.
    pub(super) fn wants(&mut self, name: &str) -> bool {
        self.address(name, None);
        self.subscriptions.reaches(self.topic.get(PACKED.len()..).unwrap_or_default())
    }

    /// Sends `stat.NAME` or `stat.NAME.SUBTOPIC`.
    pub(super) fn send(&mut self, name: &str, subtopic: Option<i32>, message: &impl Serialize) {
        self.address(name, subtopic);
        let topic = self.topic.get(PACKED.len()..).unwrap_or_default();
        let forms = self.subscriptions.forms(topic);
        if forms.json {
            self.body.clear();
            // Plain data with keys that are strings can always be written, and to memory.
            let _written = serde_json::to_writer(&mut self.body, message);
            self.publisher.publish(topic, &self.body);
        }
        if forms.packed {
            self.body.clear();
            let _written = rmp_serde::encode::write_named(&mut self.body, message);
            self.publisher.publish(&self.topic, &self.body);
        }
    }

    /// Writes the topic, with what begins it in MessagePack.
    fn address(&mut self, name: &str, subtopic: Option<i32>) {
        self.topic.clear();
        self.topic.extend_from_slice(PACKED);
        self.topic.extend_from_slice(b"stat.");
        self.topic.extend_from_slice(name.as_bytes());
        if let Some(subtopic) = subtopic {
            let _written = write!(self.topic, ".{subtopic}");
        }
    }
}
