//! What it takes to tell what every worker uses.

use std::time::Duration;

use super::plan::{Notes, Plan, begin};
use crate::harness::Harness;
use crate::outcome::Outcome;
use crate::peers::{FLOOR, Peer, Task};
use crate::report::Figure;

pub(super) fn run(harness: &Harness, peer: &dyn Peer, workers: usize, plan: &Plan, notes: &mut Notes) -> Outcome<()> {
    let room = harness.room()?;
    let Some(mut begun) = begin(harness, peer, &room, workers, Task::Statistics)? else { return Ok(()) };
    // The floor's workers do not report, and it ends by itself when it has measured.
    if peer.name() != FLOOR {
        begun.inbox.all(workers, Duration::from_secs(120))?;
        begun.running.ready()?;
    }
    notes.extend(begun.running.statistics(plan.idle)?.map(|cost| (Figure::StatsCpu, cost)));
    if peer.name() == FLOOR { Ok(()) } else { begun.running.halt() }
}
