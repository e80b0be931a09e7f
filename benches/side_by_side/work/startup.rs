//! From nothing to the first answer: of a daemon with nothing to run, and of a client as a whole process.

use std::path::Path;
use std::process::{Command, Stdio};

use super::plan::{Notes, Plan, begin};
use crate::client::{Client, bound, request};
use crate::clock::{Moment, millis};
use crate::harness::{Harness, Program, command};
use crate::outcome::{Outcome, fault};
use crate::peers::{FLOOR, OURS, Peer, Task, bare_client};
use crate::report::{Figure, percentile};

/// How often each is started, of which the median counts.
const TIMES: usize = 15;
/// What a client asks.
const QUESTION: &str = r#"{"id":"x","command":"list","properties":{}}"#;

pub(super) fn run(harness: &Harness, peer: &dyn Peer, plan: &Plan, notes: &mut Notes) -> Outcome<()> {
    let (mut ready, mut client) = (Vec::new(), Vec::new());
    for at in 0..TIMES {
        let room = harness.room()?;
        let Some(begun) = begin(harness, peer, &room, 0, Task::Nothing)? else { return Ok(()) };
        let Some(endpoint) = begun.running.endpoint().map(str::to_owned) else { return Ok(()) };
        bound(Path::new(endpoint.trim_start_matches("ipc://")), || false)?;
        Client::connect(&endpoint)?.exchange(&request("list", serde_json::json!({})))?;
        ready.push(millis(begun.running.began().elapsed()));
        // One daemon is enough for all clients.
        if at == 0 {
            client = clients(peer, &endpoint, plan)?;
        }
        // It is killed: with nothing to stop, how it ends is of no interest, and the original may not.
    }
    let figures = [(Figure::Ready, &ready), (Figure::Client, &client)];
    notes.extend(figures.into_iter().filter_map(|(figure, times)| Some((figure, percentile(times, 0.5)?))));
    Ok(())
}

fn clients(peer: &dyn Peer, endpoint: &str, plan: &Plan) -> Outcome<Vec<f64>> {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let Some(mut command) = client(peer, endpoint, plan)? else { break };
        let began = Moment::now();
        let content = Program::start(command.stdout(Stdio::null()))?.wait()?;
        times.push(millis(began.elapsed()));
        if !content {
            return Err(fault("the client failed"));
        }
    }
    Ok(times)
}

/// What comes with this manager to ask it.
fn client(peer: &dyn Peer, endpoint: &str, plan: &Plan) -> Outcome<Option<Command>> {
    Ok(match peer.name() {
        FLOOR => Some(bare_client(endpoint, QUESTION)?),
        OURS => {
            let mut circusctl = command(&plan.circusctl);
            circusctl.args(["--endpoint", endpoint, "list"]);
            Some(circusctl)
        }
        _ => None,
    })
}
