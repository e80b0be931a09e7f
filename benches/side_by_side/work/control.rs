//! As many requests as go through: eight clients, each with eight requests under way.

use std::time::Duration;

use serde_json::json;

use super::plan::{Notes, begin};
use crate::client::{Client, request};
use crate::clock::Moment;
use crate::harness::Harness;
use crate::outcome::Outcome;
use crate::peers::{FLOOR, Peer, Task};
use crate::report::Figure;

const CLIENTS: usize = 8;
const UNDER_WAY: usize = 8;
const WORKERS: usize = 10;
const TIME: Duration = Duration::from_secs(3);

pub(super) fn run(harness: &Harness, peer: &dyn Peer, notes: &mut Notes) -> Outcome<()> {
    let room = harness.room()?;
    // The floor answers alone; a manager has workers that it lists.
    let (task, workers) = if peer.name() == FLOOR { (Task::Nothing, 0) } else { (Task::Fleet, WORKERS) };
    let Some(mut begun) = begin(harness, peer, &room, workers, task)? else { return Ok(()) };
    begun.inbox.all(workers, Duration::from_secs(30))?;
    begun.running.ready()?;
    if let Some(endpoint) = begun.running.endpoint() {
        notes.push((Figure::Requests, rate(endpoint)?));
    }
    begun.running.halt()
}

/// Requests a second.
fn rate(endpoint: &str) -> Outcome<f64> {
    let client = Client::connect(endpoint)?;
    let clients = (0..CLIENTS).map(|_| client.another(endpoint)).collect::<Outcome<Vec<zmq::Socket>>>()?;
    let message = request("list", json!({"name": "w"}));
    let (begin, mut answered) = (Moment::now(), 0_u32);
    while begin.elapsed() < TIME {
        for client in &clients {
            for _ in 0..UNDER_WAY {
                client.send(&message, 0)?;
            }
        }
        for client in &clients {
            for _ in 0..UNDER_WAY {
                client.recv_msg(0)?;
                answered += 1;
            }
        }
    }
    Ok(f64::from(answered) / begin.elapsed().as_secs_f64())
}
