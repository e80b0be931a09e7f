//! The real network behind a [`Connector`].

use std::time::Duration;

use super::transport::{CallError, Connector, Event, Subscription, Transport};
use crate::net;

/// ZeroMQ.
pub struct Network(net::Context);

/// Between two looks for an event; it only bounds a wait that an event ends at once.
const LONG: Duration = Duration::from_secs(3600);

impl Network {
    /// A network of this process's own.
    pub fn new() -> Result<Self, CallError> {
        net::Context::new().map(Self).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> CallError {
    CallError::Failed(error.to_string())
}

impl Connector for Network {
    fn control(&mut self, endpoint: &str) -> Result<Box<dyn Transport>, CallError> {
        let dealer = net::Dealer::connect(&self.0, endpoint).map_err(failed)?;
        Ok(Box::new(dealer))
    }

    fn subscribe(&mut self, endpoint: &str, topics: &[String]) -> Result<Box<dyn Subscription>, CallError> {
        let subscriber = net::Subscriber::connect(&self.0, endpoint, topics).map_err(failed)?;
        Ok(Box::new(subscriber))
    }
}

impl Transport for net::Dealer {
    fn call(&mut self, request: &[u8], id: &str, timeout: Duration) -> Result<Vec<u8>, CallError> {
        self.exchange(request, id, timeout).map_err(|error| match error {
            net::CallError::Unreachable { .. } => CallError::Unreachable,
            net::CallError::Timeout { .. } => CallError::TimedOut,
            net::CallError::Garbled { .. } => failed(error),
        })
    }
}

impl Subscription for net::Subscriber {
    fn next_event(&mut self) -> Result<Option<Event>, CallError> {
        loop {
            if let Some((topic, body)) = self.recv(LONG) {
                return Ok(Some(Event { topic, body }));
            }
        }
    }
}
