//! The commands that streams are written to (`stdout_stream.class = exec`): processes that are no workers.
//!
//! The daemon opens the pipe and starts the command with the first worker that writes there, since a worker whose stream
//! cannot be opened is not started. From there on this decides: a command that ends is started again, after a back-off
//! where it lives too short, and reads what has waited in the pipe meanwhile. One whose stream was closed ends by itself
//! when it has read the rest, and is killed where it does not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arbiter::action::Action;
use crate::arbiter::ids::SinkCommandId;
use crate::arbiter::lifecycle::backoff;
use crate::arbiter::outbox::Outbox;
use crate::arbiter::rng::Rng;
use crate::arbiter::time::Mono;
use crate::arbiter::timers::{Timer, Timers};
use crate::base::{Level, Pid};
use crate::proto::{Signal, SpawnError};

/// A command that has lived so long is started again at once.
const MIN_UPTIME: Duration = Duration::from_secs(1);
/// How long a command may take to end when its input has.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A command that reads a stream, or has read one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SinkCommand {
    /// For the log.
    name: String,
    state: State,
    /// How often in a row it has lived too short, or could not be started.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Running {
        pid: Pid,
        since: Mono,
    },
    /// It is started again later.
    Pausing,
    /// The daemon is to start it again.
    Starting,
    /// Nothing is written to it any more.
    Stopping {
        pid: Pid,
    },
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::arbiter) struct SinkCommands(BTreeMap<SinkCommandId, SinkCommand>);

/// What the daemon reports of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkEvent {
    /// It was started, for the first time or once more.
    Started {
        /// What the log calls it.
        name: String,
        /// Its pid.
        pid: Pid,
    },
    /// It could not be started again.
    Failed(SpawnError),
    /// It was collected.
    Exited {
        /// Its pid.
        pid: Pid,
        /// The exit status, or minus the signal.
        exit_code: i32,
    },
    /// Nothing is written to it any more.
    Closed,
}

/// What of the core a command uses.
pub(in crate::arbiter) struct SinkCx<'a> {
    pub(in crate::arbiter) now: Mono,
    pub(in crate::arbiter) outbox: &'a mut Outbox,
    pub(in crate::arbiter) timers: &'a mut Timers,
    pub(in crate::arbiter) check_delay: f64,
    pub(in crate::arbiter) rng: &'a mut Rng,
}

impl SinkCommands {
    pub(in crate::arbiter) fn handle(&mut self, id: SinkCommandId, event: SinkEvent, cx: &mut SinkCx<'_>) {
        match event {
            SinkEvent::Started { name, pid } => {
                let state = State::Running { pid, since: cx.now };
                cx.timers.cancel(Timer::SinkCommand(id));
                let new = || SinkCommand { name, state, failures: 0 };
                self.0.entry(id).and_modify(|command| command.state = state).or_insert_with(new);
            }
            SinkEvent::Failed(error) => {
                let Some(command) = self.0.get_mut(&id).filter(|command| command.state == State::Starting) else {
                    return;
                };
                let (name, detail, reason) = (&command.name, &error.detail, error.reason());
                let text = format!("{name}: its command cannot be started: {detail} ({reason})");
                cx.outbox.log(Level::Warning, text);
                command.failures = command.failures.saturating_add(1);
                command.pause(id, cx);
            }
            SinkEvent::Exited { pid, exit_code } => self.exited(id, pid, exit_code, cx),
            SinkEvent::Closed => self.closed(id, cx),
        }
    }

    fn exited(&mut self, id: SinkCommandId, pid: Pid, exit_code: i32, cx: &mut SinkCx<'_>) {
        let Some(command) = self.0.get_mut(&id) else { return };
        match command.state {
            State::Stopping { pid: known } if known == pid => {
                cx.timers.cancel(Timer::SinkCommand(id));
                self.0.remove(&id);
            }
            State::Running { pid: known, since } if known == pid => {
                let early = cx.now.since(since) < MIN_UPTIME;
                command.failures = if early { command.failures.saturating_add(1) } else { 0 };
                let pause = command.pause(id, cx);
                let how = match exit_code {
                    0.. => format!("exit status {exit_code}"),
                    signal => Signal(-signal).to_string(),
                };
                let (name, pause) = (&command.name, pause.as_millis());
                let text = format!("{name}: its command has ended ({how}); it starts again in {pause} ms");
                cx.outbox.log(Level::Warning, text);
            }
            State::Running { .. } | State::Stopping { .. } | State::Pausing | State::Starting => {}
        }
    }

    fn closed(&mut self, id: SinkCommandId, cx: &mut SinkCx<'_>) {
        let Some(command) = self.0.get_mut(&id) else { return };
        if let State::Running { pid, .. } = command.state {
            command.state = State::Stopping { pid };
            cx.timers.set(Timer::SinkCommand(id), cx.now.after(STOP_TIMEOUT));
        } else if !matches!(command.state, State::Stopping { .. }) {
            cx.timers.cancel(Timer::SinkCommand(id));
            self.0.remove(&id);
        }
    }

    /// A pause is over, or a command has had its time to end.
    pub(in crate::arbiter) fn due(&mut self, id: SinkCommandId, cx: &mut SinkCx<'_>) {
        let Some(command) = self.0.get_mut(&id) else { return };
        match command.state {
            State::Pausing => {
                command.state = State::Starting;
                cx.outbox.act(Action::StartSinkCommand(id));
            }
            State::Stopping { pid } => {
                cx.outbox.act(Action::KillSinkCommand(pid));
                cx.timers.set(Timer::SinkCommand(id), cx.now.after(STOP_TIMEOUT));
            }
            State::Running { .. } | State::Starting => {}
        }
    }

    /// Everything is stopped: nothing is waited for any more.
    pub(in crate::arbiter) fn forget_all(&mut self, timers: &mut Timers) {
        for id in std::mem::take(&mut self.0).into_keys() {
            timers.cancel(Timer::SinkCommand(id));
        }
    }

    /// Orders that the daemon before may not have carried out.
    pub(in crate::arbiter) fn start_again(&self) -> impl Iterator<Item = Action> {
        let starting = self.0.iter().filter(|(_, command)| command.state == State::Starting);
        starting.map(|(id, _)| Action::StartSinkCommand(*id))
    }

    /// Whether a deadline of this command is waited for.
    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn waits(&self, id: SinkCommandId) -> bool {
        let waits = |state| matches!(state, State::Pausing | State::Stopping { .. });
        self.0.get(&id).is_some_and(|command| waits(command.state))
    }

    #[cfg(debug_assertions)]
    pub(in crate::arbiter) fn check(&self, timers: &Timers) {
        for (id, command) in &self.0 {
            let (name, waits) = (&command.name, self.waits(*id));
            assert_eq!(timers.get(Timer::SinkCommand(*id)).is_some(), waits, "{name}: {:?}", command.state);
        }
    }
}

impl SinkCommand {
    fn pause(&mut self, id: SinkCommandId, cx: &mut SinkCx<'_>) -> Duration {
        let pause =
            if self.failures == 0 { Duration::ZERO } else { backoff::pause(self.failures, cx.check_delay, cx.rng) };
        self.state = State::Pausing;
        cx.timers.set(Timer::SinkCommand(id), cx.now.after(pause));
        pause
    }
}
