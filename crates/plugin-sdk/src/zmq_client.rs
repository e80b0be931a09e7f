//! The client that is connected to a real circusd.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::log::Log;
use super::{Client, Level, Refusal};
use circus_client::Control;
use circus_core::proto::Object;

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection, a clock and a log.
pub(super) struct ZmqClient {
    pub(super) control: Control,
    pub(super) log: Log,
    begun: Instant,
}

impl ZmqClient {
    pub(super) fn new(control: Control, log: Log) -> Self {
        Self { control, log, begun: clock() }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of a plugin")]
fn clock() -> Instant {
    Instant::now()
}

impl Client for ZmqClient {
    fn now(&self) -> Duration {
        clock() - self.begun
    }

    fn call(&mut self, command: &str, properties: Object) -> Result<Object, Refusal> {
        let reply = self.control.call(command, properties, TIMEOUT);
        granted(reply.map_err(|error| Refusal { errno: None, reason: error.to_string() })?)
    }

    fn cast(&mut self, command: &str, properties: Object) {
        if !self.control.cast(command, properties) {
            self.log(Level::Warning, &format!("{command} could not be sent: too many requests wait already"));
        }
    }

    fn log(&mut self, level: Level, text: &str) {
        self.log.line(level, text);
    }
}

/// The reply, unless it is an error.
pub(super) fn granted(reply: Object) -> Result<Object, Refusal> {
    if reply.get("status").and_then(Value::as_str) != Some("error") {
        return Ok(reply);
    }
    let reason = reply.get("reason").and_then(Value::as_str).unwrap_or("no reason was given");
    Err(Refusal { errno: reply.get("errno").and_then(Value::as_i64), reason: reason.to_owned() })
}
