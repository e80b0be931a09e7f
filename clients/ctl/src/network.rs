//! The real network behind a [`Connector`].

use std::time::Duration;

use super::transport::{CallError, Connector, Event, Subscription, Transport};
use circus_net as net;
use circus_sys as sys;
use circus_sys::{Ssh, Tunnel};

/// ZeroMQ, and ssh.
pub struct Network {
    context: net::Context,
    /// What is open, and where it leads.
    tunnels: Vec<(Ssh, String, Tunnel)>,
}

/// Between two looks for an event; it only bounds a wait that an event ends at once.
const LONG: Duration = Duration::from_secs(3600);

impl Network {
    /// A network of this process's own.
    pub fn new() -> Result<Self, CallError> {
        let context = net::Context::new().map_err(failed)?;
        Ok(Self { context, tunnels: Vec::new() })
    }
}

fn failed(error: impl std::fmt::Display) -> CallError {
    CallError::Failed(error.to_string())
}

impl Connector for Network {
    fn control(&mut self, endpoint: &str) -> Result<Box<dyn Transport>, CallError> {
        let dealer = net::Dealer::connect(&self.context, endpoint).map_err(failed)?;
        Ok(Box::new(dealer))
    }

    fn tunnel(&mut self, ssh: &Ssh, endpoint: &str) -> Result<String, CallError> {
        self.tunnels.retain(|(.., tunnel)| tunnel.is_open());
        let known = self.tunnels.iter().find(|(through, to, _)| (through, to.as_str()) == (ssh, endpoint));
        if let Some((.., tunnel)) = known {
            return Ok(tunnel.endpoint());
        }
        let tunnel = Tunnel::open(ssh, endpoint, &sys::host()).map_err(CallError::NoTunnel)?;
        let here = tunnel.endpoint();
        self.tunnels.push((ssh.clone(), endpoint.to_owned(), tunnel));
        Ok(here)
    }

    fn subscribe(&mut self, endpoint: &str, topics: &[String]) -> Result<Box<dyn Subscription>, CallError> {
        let subscriber = net::Subscriber::connect(&self.context, endpoint, topics).map_err(failed)?;
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
    fn next_event(&mut self, limit: Option<Duration>) -> Result<Option<Event>, CallError> {
        loop {
            let event = self.recv(limit.unwrap_or(LONG));
            if event.is_some() || limit.is_some() {
                return Ok(event.map(|(topic, body)| Event { topic, body }));
            }
        }
    }
}
