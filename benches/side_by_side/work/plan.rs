//! Which works there are, and how much of each.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use super::{control, fleet, logs, startup, statistics};
use crate::harness::Harness;
use crate::inbox::Inbox;
use crate::outcome::Outcome;
use crate::peers::{Job, Peer, Running, Task};
use crate::report::Figure;

/// A piece of work: one life of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Start, memory, idleness, status, respawn, storm, incr, stop.
    Fleet,
    /// Output of workers into a file.
    Logs,
    /// Statistics of every worker.
    Stats,
    /// Requests of eight clients.
    Control,
    /// From nothing to the first answer; a client as a process.
    Startup,
}

/// How much of each.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long it is watched while it has nothing to do, and while it tells statistics.
    pub(crate) idle: Duration,
    pub(crate) pings: usize,
    pub(crate) kills: usize,
    /// Lines that each of four workers prints.
    pub(crate) lines: usize,
    /// Our own client.
    pub(crate) circusctl: std::path::PathBuf,
}

/// What was measured in one piece of work.
pub(crate) type Notes = Vec<(Figure, f64)>;

impl Work {
    /// Whether what it measures depends on the number of workers.
    pub(crate) fn grows(self) -> bool {
        match self {
            Self::Fleet | Self::Stats => true,
            Self::Logs | Self::Control | Self::Startup => false,
        }
    }

    /// Does it with a manager, and notes what is found until something fails. What is not offered gives no figures.
    pub(crate) fn run(
        self,
        harness: &Harness,
        peer: &dyn Peer,
        workers: usize,
        plan: &Plan,
        notes: &mut Notes,
    ) -> Outcome<()> {
        match self {
            Self::Fleet => fleet::run(harness, peer, workers, plan, notes),
            Self::Logs => logs::run(harness, peer, plan, notes),
            Self::Stats => statistics::run(harness, peer, workers, plan, notes),
            Self::Control => control::run(harness, peer, notes),
            Self::Startup => startup::run(harness, peer, plan, notes),
        }
    }
}

/// A manager that has begun, and where its workers report.
pub(super) struct Begun {
    pub(super) running: Box<dyn Running>,
    pub(super) inbox: Inbox,
}

/// Starts a manager on this.
pub(super) fn begin(
    harness: &Harness,
    peer: &dyn Peer,
    room: &Path,
    workers: usize,
    task: Task,
) -> Outcome<Option<Begun>> {
    let inbox = Inbox::bind(room)?;
    let job = Job { room, probe: harness.probe(), inbox: inbox.path().to_owned(), workers, task };
    Ok(peer.start(&job)?.map(|running| Begun { running, inbox }))
}
