//! The topics of a subscription to what workers print.
//!
//! circusd greets a subscriber at the topic that it subscribed to, and from then on the subscriber gets every line. The
//! greeting at the topic of a watcher may be meant for another client, so a subscription has a second topic that no other
//! client has. It begins with the first one, so that libzmq subscribes to it second after each reconnection too.

use circus_core::proto::{OutputEvent, StreamName, output_topic};

/// The topics of one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputTopics {
    topic: String,
    own: String,
}

/// What a message means.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputMessage {
    /// The subscription is in force: no line is missed from now on.
    Greeting,
    /// Lines of a worker.
    Lines(OutputEvent),
}

impl OutputTopics {
    /// The topics for a stream of a watcher. `unique` is a text that no other client has.
    pub fn new(watcher: &str, stream: StreamName, unique: &str) -> Self {
        let topic = output_topic(watcher, stream);
        let own = format!("{topic}?{unique}");
        Self { topic, own }
    }

    /// The topics to subscribe to, in this order.
    pub fn both(&self) -> [String; 2] {
        [self.topic.clone(), self.own.clone()]
    }

    /// What a message means; `None` for one that is not meant for this subscription: lines of a watcher whose name only
    /// begins with this one's, or the greeting of another client.
    pub fn read(&self, topic: &[u8], body: &[u8]) -> Option<OutputMessage> {
        if topic == self.own.as_bytes() {
            return Some(OutputMessage::Greeting);
        }
        if topic != self.topic.as_bytes() {
            return None;
        }
        serde_json::from_slice(body).ok().map(OutputMessage::Lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_of_another_client_is_not_ours() {
        let topics = OutputTopics::new("web", StreamName::Stdout, "7");
        let [topic, own] = topics.both();
        assert_eq!((topic.as_str(), own.as_str()), ("output.web.stdout", "output.web.stdout?7"));
        let greeting = br#"{"subscribed": true}"#;
        assert_eq!(topics.read(own.as_bytes(), greeting), Some(OutputMessage::Greeting));
        assert_eq!(topics.read(topic.as_bytes(), greeting), None);
        assert_eq!(topics.read(b"output.web.stdout?8", greeting), None);
        let lines = br#"{"watcher": "web2", "stream": "stdout", "pid": 1, "wid": 1, "time": 1.5, "first": 0,
            "lines": ["x"], "more": false, "cursor": 2, "began": 1.0}"#;
        assert_eq!(topics.read(b"output.web2.stdout", lines), None);
        assert!(matches!(topics.read(topic.as_bytes(), lines), Some(OutputMessage::Lines(_))));
    }
}
