//! A client of the control socket, of the original's and of ours.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{Moment, look};
use crate::outcome::{Outcome, fault};

/// A DEALER that asks and waits for the answer.
pub(crate) struct Client {
    // Before the context, which waits for it when it is dropped.
    socket: zmq::Socket,
    context: zmq::Context,
}

impl Client {
    pub(crate) fn connect(endpoint: &str) -> Outcome<Self> {
        let context = zmq::Context::new();
        Ok(Self { socket: dealer(&context, endpoint)?, context })
    }

    /// Another connection, with the same I/O thread.
    pub(crate) fn another(&self, endpoint: &str) -> Outcome<zmq::Socket> {
        dealer(&self.context, endpoint)
    }

    /// A subscriber to everything below this topic.
    pub(crate) fn subscriber(&self, endpoint: &str, topic: &str) -> Outcome<zmq::Socket> {
        let socket = self.context.socket(zmq::SUB)?;
        socket.set_linger(0)?;
        socket.set_subscribe(topic.as_bytes())?;
        socket.connect(endpoint)?;
        Ok(socket)
    }

    /// Sends bytes and waits for the bytes that come back.
    pub(crate) fn exchange(&self, message: &[u8]) -> Outcome<Vec<u8>> {
        self.socket.send(message, 0)?;
        Ok(self.socket.recv_bytes(0)?)
    }

    /// Sends a command and waits for its reply.
    pub(crate) fn call(&self, command: &str, properties: Value) -> Outcome<Value> {
        let reply = self.exchange(&request(command, properties))?;
        let reply: Value = serde_json::from_slice(&reply)?;
        if reply["status"] == "error" {
            return Err(fault(format!("{command}: {reply}")));
        }
        Ok(reply)
    }
}

/// A command as it goes over the wire.
pub(crate) fn request(command: &str, properties: Value) -> Vec<u8> {
    json!({"id": "x", "command": command, "properties": properties}).to_string().into_bytes()
}

fn dealer(context: &zmq::Context, endpoint: &str) -> Outcome<zmq::Socket> {
    let socket = context.socket(zmq::DEALER)?;
    socket.set_linger(0)?;
    // A server that never answers must not hold up the rest.
    socket.set_rcvtimeo(60_000)?;
    // A path is connected to only once it is bound, but between bind and listen is a moment.
    socket.set_reconnect_ivl(1)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

/// Waits until this path is bound. `has_ended` tells that the program has ended and will not bind it.
pub(crate) fn bound(path: &Path, mut has_ended: impl FnMut() -> bool) -> Outcome<Moment> {
    let found = look(Duration::from_secs(60), Duration::from_micros(20), || {
        if path.exists() { Some(true) } else { has_ended().then_some(false) }
    });
    match found {
        Some(true) => Ok(Moment::now()),
        Some(false) => Err(fault("it ended before it listened")),
        None => Err(fault(format!("no process listens at {}", path.display()))),
    }
}
