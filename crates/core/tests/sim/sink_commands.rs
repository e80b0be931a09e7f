//! Commands that streams are written to, as the daemon and the kernel know them.

use std::collections::BTreeMap;

use circus_core::arbiter::{Pid, SinkCommandId, SinkEvent, WatcherKey};
use circus_core::proto::{SpawnError, Stage};

use super::kernel::MS;
use super::rng::Rng;

/// No pause is longer: check_delay and the tenth that chance adds.
const LONGEST_PAUSE: u64 = 5500 * MS;
/// How long a command whose input has ended may go on.
const STOP_TIMEOUT: u64 = 10_000 * MS;

/// A command that was started once.
#[derive(Debug)]
struct Command {
    watcher: WatcherKey,
    /// Its process, and when that ends by itself.
    process: Option<(i32, Option<u64>)>,
    /// Since when it has had no process, or no input.
    since: u64,
    closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct SinkCommands {
    by_id: BTreeMap<u64, Command>,
    last_id: u64,
    last_pid: i32,
    pub(crate) started: u64,
}

impl SinkCommands {
    /// The first worker of a watcher is started: so is the command of its stream.
    pub(crate) fn open(&mut self, watcher: WatcherKey, rng: &mut Rng, now: u64) -> Option<(SinkCommandId, SinkEvent)> {
        if self.by_id.values().any(|command| command.watcher == watcher && !command.closed) {
            return None;
        }
        self.last_id += 1;
        self.by_id.insert(self.last_id, Command { watcher, process: None, since: now, closed: false });
        let id = SinkCommandId(self.last_id);
        Some((id, self.start(self.last_id, rng, now)))
    }

    fn start(&mut self, id: u64, rng: &mut Rng, now: u64) -> SinkEvent {
        self.last_pid += 1;
        self.started += 1;
        let ends = match rng.below(3) {
            0 => Some(now + rng.below(900 * MS)),
            1 => Some(now + rng.below(20_000 * MS)),
            _ => None,
        };
        let pid = 1_000_000 + self.last_pid;
        let command = self.by_id.get_mut(&id).expect("a command that there is");
        assert!(command.process.is_none(), "a command is started beside itself");
        command.process = Some((pid, ends));
        SinkEvent::Started { name: "command".into(), pid: Pid(pid) }
    }

    /// The core has a command started again.
    pub(crate) fn start_again(&mut self, id: SinkCommandId, rng: &mut Rng, now: u64) -> Option<SinkEvent> {
        let command = self.by_id.get(&id.0).filter(|command| !command.closed)?;
        assert!(command.process.is_none(), "a command that runs is started again");
        if rng.chance(20) {
            let detail = "/bin/x".to_owned();
            return Some(SinkEvent::Failed(SpawnError { stage: Stage::Exec, errno: 2, detail }));
        }
        Some(self.start(id.0, rng, now))
    }

    /// The streams of a watcher are closed.
    pub(crate) fn close(&mut self, watcher: WatcherKey, rng: &mut Rng, now: u64) -> Option<SinkCommandId> {
        let (id, command) = self.by_id.iter_mut().find(|(_, command)| command.watcher == watcher && !command.closed)?;
        (command.closed, command.since) = (true, now);
        // Some do not end with their input.
        if let Some((_, ends)) = &mut command.process {
            *ends = rng.chance(70).then_some(now + rng.below(2000 * MS));
        }
        let id = *id;
        if command.process.is_none() {
            self.by_id.remove(&id);
        }
        Some(SinkCommandId(id))
    }

    pub(crate) fn kill(&mut self, pid: Pid, now: u64) {
        let killed = self.by_id.values_mut().find(|command| command.process.is_some_and(|(known, _)| known == pid.0));
        let command = killed.expect("a kill of a command that is gone");
        assert!(command.closed, "a command that is written to is killed");
        command.process = Some((pid.0, Some(now)));
    }

    pub(crate) fn next_exit(&self) -> Option<u64> {
        self.by_id.values().filter_map(|command| command.process?.1).min()
    }

    /// A command that has ended by now.
    pub(crate) fn collect(&mut self, now: u64) -> Option<(SinkCommandId, SinkEvent)> {
        let ended = |command: &Command| command.process.is_some_and(|(_, ends)| ends.is_some_and(|at| at <= now));
        let (id, command) = self.by_id.iter_mut().find(|(_, command)| ended(command))?;
        let (pid, _) = command.process.take()?;
        let id = *id;
        if command.closed {
            self.by_id.remove(&id);
        } else {
            command.since = now;
        }
        Some((SinkCommandId(id), SinkEvent::Exited { pid: Pid(pid), exit_code: 1 }))
    }

    /// One that is written to is not without a process for long, and one that is not, does not stay.
    pub(crate) fn check(&self, now: u64) {
        for command in self.by_id.values() {
            let (limit, what) = match (command.closed, command.process) {
                (false, Some(_)) => continue,
                // A start that fails is followed by another pause.
                (false, None) => (10 * LONGEST_PAUSE, "is not started again"),
                (true, _) => (STOP_TIMEOUT + 2000 * MS, "is not killed"),
            };
            assert!(now <= command.since + limit, "a command {what}: {command:?}");
        }
    }
}
