//! The real network behind a [`Connector`].

use std::time::Duration;

use circus_client::endpoint::trouble;
use circus_client::{Client, ClientError, Hosts, Request, Subscriber, Wait, hosts_path};
use circus_sys::host;

use super::transport::{Connector, Event, Subscription, Target};

/// ZeroMQ, and ssh.
pub struct Network(Client);

/// Between two looks for an event; it only bounds a wait that an event ends at once.
const LONG: Duration = Duration::from_secs(3600);

impl Network {
    /// A network of this process's own.
    pub fn new() -> Result<Self, ClientError> {
        Client::new().map(Self)
    }
}

/// The near end of the way to a target, whose keys are used from now on.
fn prepare(client: &mut Client, target: &Target) -> Result<String, ClientError> {
    client.use_keys(target.keys.read()?);
    client.route(target.ssh.as_ref(), &target.endpoint)
}

impl Connector for Network {
    fn hosts(&mut self) -> Result<Hosts, ClientError> {
        let env = host().env;
        Hosts::read(hosts_path(|name| env.get(name).cloned()))
    }

    fn another(&mut self) -> Result<Box<dyn Connector + Send>, ClientError> {
        // libzmq looks names up on its thread of sockets: with one for all, a slow name would hold up every host.
        Ok(Box::new(Self::new()?))
    }

    fn call(&mut self, target: &Target, requests: &[Request], wait: Wait) -> Vec<Result<Vec<u8>, ClientError>> {
        let Self(client) = self;
        let control = prepare(client, target).and_then(|near| client.control(&near));
        match control {
            Ok(mut control) => control.exchange(requests, wait),
            Err(error) => requests.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn subscribe(&mut self, target: &Target, topics: &[String]) -> Result<Box<dyn Subscription>, ClientError> {
        let Self(client) = self;
        let near = prepare(client, target)?;
        Ok(Box::new(client.subscribe(&near, topics)?))
    }

    fn trouble(&mut self, target: &Target, limit: Duration) -> Option<ClientError> {
        // ssh accepts every connection, whatever there is at its far end.
        let trouble = target.ssh.is_none().then(|| trouble(&target.endpoint, limit)).flatten()?;
        Some(ClientError::Unreachable { endpoint: target.endpoint.clone(), trouble: Some(trouble) })
    }
}

impl Subscription for Subscriber {
    fn next_event(&mut self, limit: Option<Duration>) -> Result<Option<Event>, ClientError> {
        loop {
            let event = self.recv(limit.unwrap_or(LONG));
            if event.is_some() || limit.is_some() {
                return Ok(event.map(|(topic, body)| Event { topic, body }));
            }
        }
    }
}
