//! What it takes to tell what every worker uses.

use std::time::Duration;

use super::plan::{Notes, Plan, begin};
use crate::lab::Lab;
use crate::outcome::Outcome;
use crate::peers::{FLOOR, Peer, Task};
use crate::report::Figure;

pub(super) fn run(lab: &Lab, peer: &dyn Peer, workers: usize, plan: &Plan) -> Outcome<Notes> {
    let room = lab.room()?;
    let Some(mut begun) = begin(lab, peer, &room, workers, Task::Statistics)? else { return Ok(Notes::new()) };
    // The floor's workers report to nobody: it ends by itself when it has measured.
    if peer.name() == FLOOR {
        let cost = begun.running.statistics(plan.idle)?;
        return Ok(cost.map(|cost| (Figure::StatsCpu, cost)).into_iter().collect());
    }
    begun.inbox.all(workers, Duration::from_secs(120))?;
    begun.running.ready()?;
    let cost = begun.running.statistics(plan.idle)?;
    begun.running.halt()?;
    Ok(cost.map(|cost| (Figure::StatsCpu, cost)).into_iter().collect())
}
