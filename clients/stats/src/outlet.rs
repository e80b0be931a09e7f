//! Where messages leave: each is made in the forms that somebody wants, into buffers that stay.

use std::io::Write as _;

use serde::Serialize;

use super::interest::{Interest, PACKED};
use circus_net::Announcer;

/// The way out.
pub(super) struct Outlet {
    pub(super) announcer: Announcer,
    pub(super) interest: Interest,
    topic: Vec<u8>,
    body: Vec<u8>,
}

impl Outlet {
    pub(super) fn new(announcer: Announcer) -> Self {
        Self { announcer, interest: Interest::default(), topic: Vec::new(), body: Vec::new() }
    }

    /// Takes note of who listens. Whether that has changed.
    pub(super) fn ready(&mut self) -> bool {
        let changed = self.announcer.ready();
        if changed {
            self.interest = Interest::of(self.announcer.subscriptions());
        }
        changed
    }

    /// Whether anything under this name is wanted.
    pub(super) fn wants(&mut self, name: &str) -> bool {
        self.address(name, None);
        self.interest.reaches(self.topic.get(PACKED.len()..).unwrap_or_default())
    }

    /// Sends `stat.NAME` or `stat.NAME.SUBTOPIC`.
    pub(super) fn send(&mut self, name: &str, subtopic: Option<i32>, message: &impl Serialize) {
        self.address(name, subtopic);
        let topic = self.topic.get(PACKED.len()..).unwrap_or_default();
        let forms = self.interest.forms(topic);
        if forms.json {
            self.body.clear();
            // Plain data with keys that are strings can always be written, and to memory.
            let _written = serde_json::to_writer(&mut self.body, message);
            self.announcer.publish(topic, &self.body);
        }
        if forms.packed {
            self.body.clear();
            let _written = rmp_serde::encode::write_named(&mut self.body, message);
            self.announcer.publish(&self.topic, &self.body);
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
