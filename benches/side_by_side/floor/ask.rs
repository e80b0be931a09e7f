//! Sends one message, waits for the reply, and ends: the least that a command-line client can be.

use crate::outcome::Outcome;

pub(super) fn run(endpoint: &str, message: &str) -> Outcome<()> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER)?;
    socket.set_linger(0)?;
    socket.connect(endpoint)?;
    socket.send(message, 0)?;
    socket.recv_bytes(0)?;
    Ok(())
}
