//! Answers every request with itself: what libzmq and the scheduler take for a round trip.

use crate::outcome::Outcome;

pub(super) fn run(endpoint: &str) -> Outcome<()> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER)?;
    socket.bind(endpoint)?;
    let (mut name, mut body) = ([0_u8; 256], [0_u8; 65536]);
    loop {
        let named = socket.recv_into(&mut name, 0)?;
        let filled = socket.recv_into(&mut body, 0)?;
        socket.send(&name[..named], zmq::SNDMORE)?;
        socket.send(&body[..filled], 0)?;
    }
}
