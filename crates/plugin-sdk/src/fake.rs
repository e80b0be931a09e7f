//! A circusd for tests of plugins: no sockets, and the time is what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::{Client, Event, Level, Refusal};
use circus_core::proto::Object;

/// A request that a plugin has sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The command.
    pub command: String,
    /// Its properties.
    pub properties: Object,
}

/// Grants what the test has an answer for, and remembers what was asked and said.
#[derive(Debug, Default)]
pub struct FakeClient {
    /// What the plugin takes for the time.
    pub time: Duration,
    /// The requests, calls and casts, in their order. Tests take them out.
    pub sent: Vec<Sent>,
    /// What was logged.
    pub said: Vec<String>,
    answers: BTreeMap<String, VecDeque<Value>>,
}

impl FakeClient {
    /// Answers the next call of a command so. The last answer of a command holds for all that follow.
    pub fn answer(&mut self, command: &str, reply: Value) {
        self.answers.entry(command.to_owned()).or_default().push_back(reply);
    }

    /// An event now.
    pub fn event(&self, watcher: &str, kind: &str, mut body: Value) -> Event {
        if let Some(body) = body.as_object_mut() {
            body.insert("time".into(), self.time.as_secs_f64().into());
        }
        let topic = format!("watcher.{watcher}.{kind}");
        // A mistake of the test shows as an event without a watcher.
        let unnamed = Event { watcher: String::new(), kind: String::new(), body: Object::new() };
        Event::parse(topic.as_bytes(), body.to_string().as_bytes()).unwrap_or(unnamed)
    }

    /// The requests since the last time, each as `command {properties}`.
    pub fn take_sent(&mut self) -> Vec<String> {
        let told = |sent: Sent| format!("{} {}", sent.command, Value::Object(sent.properties));
        std::mem::take(&mut self.sent).into_iter().map(told).collect()
    }

    /// What was logged since the last time.
    pub fn take_said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }
}

impl Client for FakeClient {
    fn now(&self) -> Duration {
        self.time
    }

    fn call(&mut self, command: &str, properties: Object) -> Result<Object, Refusal> {
        self.sent.push(Sent { command: command.to_owned(), properties });
        let answers = self.answers.get_mut(command);
        let answer =
            answers.and_then(|answers| if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() });
        match answer {
            Some(Value::Object(reply)) => super::zmq_client::granted(reply),
            Some(_) | None => Err(Refusal { errno: None, reason: format!("the test has no answer to {command}") }),
        }
    }

    fn cast(&mut self, command: &str, properties: Object) {
        self.sent.push(Sent { command: command.to_owned(), properties });
    }

    fn log(&mut self, _level: Level, text: &str) {
        self.said.push(text.to_owned());
    }
}
