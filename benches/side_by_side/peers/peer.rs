//! What the comparison asks of a manager.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;

use crate::clock::Moment;
use crate::outcome::Outcome;

/// The name of the floor, in samples.
pub(crate) const FLOOR: &str = "floor";
/// Our own name, in samples.
pub(crate) const OURS: &str = "circusd";

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Run workers, and nothing more.
    Fleet,
    /// Write what workers print into this file: so many lines each, of so many bytes.
    Logs { file: PathBuf, lines: usize, width: usize },
    /// Tell what each worker uses, every second.
    Statistics,
    /// Answer requests, and run no worker at all.
    Nothing,
}

/// A piece of work for a manager.
#[derive(Clone, Debug)]
pub(crate) struct Job<'l> {
    /// An empty folder.
    pub(crate) room: &'l Path,
    /// The worker, and where it reports.
    pub(crate) probe: PathBuf,
    pub(crate) inbox: PathBuf,
    pub(crate) workers: usize,
    pub(crate) task: Task,
}

impl Job<'_> {
    /// The command line of a worker. Its words need no quotes.
    pub(crate) fn command(&self) -> String {
        let (probe, inbox) = (self.probe.display(), self.inbox.display());
        match &self.task {
            Task::Logs { lines, width, .. } => format!("{probe} {inbox} spam {lines} {width}"),
            Task::Fleet | Task::Statistics | Task::Nothing => format!("{probe} {inbox} pause"),
        }
    }

    /// Where the workers' output goes.
    pub(crate) fn output(&self) -> Option<&Path> {
        match &self.task {
            Task::Logs { file, .. } => Some(file),
            Task::Fleet | Task::Statistics | Task::Nothing => None,
        }
    }
}

/// A manager of processes.
pub(crate) trait Peer {
    /// How it is called in tables, with its version if it tells one.
    fn name(&self) -> &str;

    /// Starts it on a piece of work; `None` for work that it does not offer.
    fn start(&self, job: &Job<'_>) -> Outcome<Option<Box<dyn Running>>>;
}

/// A manager that was started. Dropped, it is gone.
pub(crate) trait Running {
    /// Just before its process was started.
    fn began(&self) -> Moment;

    /// Waits until it answers.
    fn ready(&mut self) -> Outcome<()>;

    /// Asks for the state of one of its services, and waits for the answer.
    fn ping(&mut self) -> Outcome<()>;

    /// Asks for one worker more. Whether it can be asked for that at all.
    fn incr(&mut self) -> Outcome<bool> {
        Ok(false)
    }

    /// Where it answers requests of circusctl's kind.
    fn endpoint(&self) -> Option<&str> {
        None
    }

    /// Milliseconds of processor time that a second of statistics takes it while a client subscribes, over such a time.
    fn statistics(&mut self, _over: Duration) -> Outcome<Option<f64>> {
        Ok(None)
    }

    /// Its processes, without the workers.
    fn managers(&self) -> Vec<Pid>;

    /// Ends it and everything that it runs.
    fn halt(&mut self) -> Outcome<()>;
}
