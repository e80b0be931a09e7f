//! A subscription to what workers print: there is one while somebody looks, and no longer.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use super::input::Heard;
use super::output::Subject;
use circus_core::proto::output_topic;
use circus_net::{Context, Subscriber};

/// See the module.
pub(super) struct Follow {
    pub(super) subscriber: Subscriber,
    pub(super) subject: Subject,
    topic: String,
    /// A topic that nobody else has, so that the greeting there is ours.
    own: String,
}

impl Follow {
    pub(super) fn new(context: &Context, endpoint: &str, subject: Subject) -> Result<Self, String> {
        let topic = output_topic(&subject.watcher, subject.stream);
        // It begins as the other does, so that it is the second also where libzmq subscribes again. The standard library
        // seeds its hashers from the kernel.
        let own = format!("{topic}?{:016x}", RandomState::new().hash_one(0));
        let subscriber = Subscriber::connect(context, endpoint, &[&topic, &own]).map_err(|error| error.to_string())?;
        Ok(Self { subscriber, subject, topic, own })
    }

    /// The next that has come.
    pub(super) fn heard(&mut self) -> Option<Heard> {
        while let Some((topic, body)) = self.subscriber.try_recv() {
            if topic == self.own.as_bytes() {
                return Some(Heard::Greeting);
            }
            // There may be a watcher whose name only begins like this one's; and others are greeted too.
            let lines = (topic == self.topic.as_bytes()).then(|| serde_json::from_slice(&body).ok()).flatten();
            if lines.is_some() {
                return lines.map(Heard::Lines);
            }
        }
        None
    }
}
