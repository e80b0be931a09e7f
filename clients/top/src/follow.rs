//! A subscription to what workers print. There is one only while output is shown.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use super::input::Heard;
use super::output::Subject;
use circus_client::{OutputMessage, OutputTopics, Subscriber};

/// See the module.
pub(super) struct Follow {
    pub(super) subscriber: Subscriber,
    pub(super) subject: Subject,
    pub(super) topics: OutputTopics,
}

impl Follow {
    /// The topics of such a subscription. The standard library seeds its hashers from the kernel.
    pub(super) fn topics(subject: &Subject) -> OutputTopics {
        let unique = format!("{:016x}", RandomState::new().hash_one(0));
        OutputTopics::new(&subject.watcher, subject.stream, &unique)
    }

    /// The next message that has come.
    pub(super) fn heard(&mut self) -> Option<Heard> {
        while let Some((topic, body)) = self.subscriber.try_recv() {
            match self.topics.read(&topic, &body) {
                Some(OutputMessage::Greeting) => return Some(Heard::Greeting),
                Some(OutputMessage::Lines(lines)) => return Some(Heard::Lines(lines)),
                None => {}
            }
        }
        None
    }
}
