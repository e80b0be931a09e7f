//! One turn after the other, always in the same order:
//!
//! 1. wait until something is ready or due, then read the clock once;
//! 2. collect ALL dead children, before anything in this turn can signal a pid;
//! 3. signals, as intents; subscriptions, and what workers print for them; requests, so many a turn; connections to
//!    sockets that are watched;
//! 4. what is due;
//! 5. actions, each result fed straight back; looks at processes and launches, so many a turn; events go out together,
//!    at the end or before an answer;
//! 6. look at the ZeroMQ sockets again: sending may have eaten their news.
//!
//! Where a limit ended step 3 or 5 early, the next turn does not wait.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use mio::{Events, Poll};
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::boot::Resources;
use super::children::{Children, Owner};
use super::clock;
use super::fd_table::FdTable;
use super::hooks::{HookCx, HookRunner};
use super::launch::Launcher;
use super::leftovers::Leftovers;
use super::log::Log;
use super::parent::Parent;
use super::sampling::SampleQueue;
use super::sources::{Source, Sources};
use crate::arbiter::{Arbiter, Event, Exit, Intent, Level, Now, Pid, WorkerId};
use crate::net::{Payload, Publisher, RETRY_EVERY, Router};
use crate::proto::{Notice, SpawnError, Stage};
use crate::sys;

/// Requests of one turn: a client that pipelines thousands does not keep a death waiting.
const REQUESTS_A_TURN: usize = 128;
/// Launches of one turn: while a thousand start, everybody is answered.
const LAUNCHES_A_TURN: usize = 16;

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The process ends with this status.
    Exit(u8),
    /// A new life begins from the configuration file.
    Restart,
}

/// What the loop works with.
pub(super) struct Daemon {
    pub(super) arbiter: Arbiter,
    pub(super) poll: Poll,
    pub(super) sources: Sources,
    pub(super) children: Children,
    pub(super) signals: sys::Signals,
    pub(super) router: Router,
    pub(super) publisher: Publisher,
    /// Events of this turn that are to be sent.
    pub(super) notices: Vec<Notice>,
    pub(super) launcher: Launcher,
    pub(super) parent: Parent,
    pub(super) fds: FdTable,
    pub(super) proc: sys::Proc,
    pub(super) samples: SampleQueue,
    pub(super) hooks: HookRunner,
    pub(super) log: Log,
    pub(super) pending: HashMap<Pid, WorkerId>,
    /// Who is to be killed with everything that belongs to them, at the end of this turn's actions: looking through
    /// all processes once for a thousand of them.
    pub(super) kill_queue: Vec<Pid>,
    pub(super) leftovers: Leftovers,
    /// The output thread may have more to say than what was taken up.
    pub(super) output_pending: bool,
    pub(super) outcome: Option<Outcome>,
    /// The daemon starts, or a file was read.
    pub(super) trim_when_idle: bool,
    pub(super) now: Now,
    /// What only has to be there until the end.
    pub(super) resources: Resources,
}

impl Daemon {
    /// Runs until the arbiter says how it ends.
    pub(super) fn run(&mut self) -> Outcome {
        let mut events = Events::with_capacity(256);
        let mut poll_now = true;
        loop {
            if let Some(outcome) = self.outcome {
                return outcome;
            }
            let limit = if poll_now { Some(Duration::ZERO) } else { self.time_left() };
            match self.poll.poll(&mut events, limit) {
                Ok(()) => {}
                // The signal's byte can be read already: no other poll has to say so.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => poll_now = true,
                Err(error) => self.log_line(Level::Critical, &format!("waiting for events failed: {error}")),
            }
            self.now = clock::now();
            let ready = self.sources.ready(&events);
            poll_now = self.turn(&ready, poll_now);
            // At rest for the first time since a start, or since a file was read: what only that needed may go.
            if self.trim_when_idle && !poll_now && self.pending.is_empty() {
                self.trim_when_idle = false;
                sys::release_memory();
            }
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let due = self.arbiter.next_deadline().map(|at| at.since(clock::now().mono));
        // Answers that wait for a slow reader are tried again even where libzmq says nothing.
        let retry = (self.router.pending() > 0).then_some(RETRY_EVERY);
        let others = [
            self.hooks.next_due(),
            self.launcher.exec_sinks.next_due(),
            self.parent.next_due(),
            self.leftovers.next_due(),
        ];
        let others = others.into_iter().flatten().map(|at| at.since(clock::now().mono));
        due.into_iter().chain(retry).chain(others).min()
    }

    /// One turn. Whether the next must not wait.
    fn turn(&mut self, ready: &[Source], polled_now: bool) -> bool {
        let mut intents = Vec::new();
        if ready.contains(&Source::Signals) || polled_now {
            self.take_signals(&mut intents);
        }
        for source in ready {
            if let Source::Launch(pid) = source {
                self.read_launch(*pid);
            }
        }
        self.look_at_parent(ready, &mut intents);
        if self.leftovers.next_due().is_some_and(|at| at <= self.now.mono) {
            self.look_at_leftovers();
        }
        for intent in intents {
            self.feed(Event::Intent(intent));
        }
        if ready.contains(&Source::Events) || polled_now {
            self.publisher.ready();
            self.take_subscriptions();
        }
        if ready.contains(&Source::Threads) {
            self.output_pending = true;
        }
        self.take_output();
        self.read_hooks(ready);
        self.maintain_exec_sinks();
        let more_requests = (ready.contains(&Source::Control) || polled_now) && self.take_requests();
        for name in self.fds.acceptable(ready) {
            self.feed(Event::Acceptable(name));
        }
        self.arbiter.handle_timeout(self.now);
        let more_launches = self.drain();
        if self.parent.waits() && self.arbiter.has_started() {
            self.parent.started();
        }
        self.take_subscriptions();
        self.router.ready() || more_requests || more_launches || self.hooks.has_pending() || self.output_pending
    }

    /// Tells the arbiter.
    pub(super) fn feed(&mut self, event: Event) {
        self.arbiter.handle_event(event, self.now);
    }

    pub(super) fn log_line(&mut self, level: Level, text: &str) {
        self.log.line(level, self.now.unix, text);
    }

    // -- deaths and signals ------------------------------------------------------------------------------------------

    fn take_signals(&mut self, intents: &mut Vec<Intent>) {
        let mut caught = Vec::new();
        self.signals.read(&mut caught);
        if caught.contains(&sys::Caught::Child) {
            self.reap();
        }
        for caught in caught {
            match caught {
                sys::Caught::Terminate(signal) => {
                    self.log_line(Level::Info, &format!("Got signal {}", with_underscore(signal)));
                    // Two that come together are one wish.
                    if !intents.contains(&Intent::Quit) {
                        intents.push(Intent::Quit);
                    }
                }
                sys::Caught::Reload => {
                    self.log_line(Level::Info, "Got signal SIG_HUP");
                    intents.push(Intent::Reload);
                }
                sys::Caught::Ignored(signal) => {
                    self.log_line(
                        Level::Info,
                        &format!("Got signal {}; it means nothing here", with_underscore(signal)),
                    );
                }
                sys::Caught::Child => {}
            }
        }
    }

    /// circusd ends with the process that started it, where that was wanted.
    fn look_at_parent(&mut self, ready: &[Source], intents: &mut Vec<Intent>) {
        let now = self.now.mono;
        if ready.contains(&Source::Parent) && self.parent.gone(&mut self.sources, now) {
            self.log_line(Level::Warning, "the process that has started circusd has ended, so circusd ends");
            intents.push(Intent::Quit);
        }
        // The second wish to end kills what has not ended by then.
        if self.parent.is_time_to_hurry(now) {
            intents.push(Intent::Quit);
        }
    }

    /// Collects every child that has ended, and tells its owner.
    fn reap(&mut self) {
        let (mut exits, mut workers) = (Vec::new(), Vec::new());
        sys::reap(&mut exits);
        for exit in exits {
            let (pid, exit_code) = (Pid(exit.pid.as_raw()), exit.exit_code);
            let Some(owner) = self.children.remove(pid) else { continue };
            self.launcher.output.died(pid.0);
            let mut hooks =
                HookCx { output: &mut self.launcher.output, sources: &mut self.sources, children: &mut self.children };
            match owner {
                Owner::Worker => {
                    // The status pipe now holds the final result of exec.
                    self.read_launch(pid);
                    workers.push(Exit { pid, exit_code });
                }
                Owner::Hook(id) => self.hooks.command_exited(&mut hooks, id, exit_code, self.now),
                Owner::PythonHost(number) => self.hooks.python_exited(&mut hooks, number, exit_code),
                Owner::ExecSink => {
                    if let Some((level, text)) = self.launcher.exec_sinks.exited(pid, exit_code, self.now.mono) {
                        self.log_line(level, &text);
                    }
                }
            }
        }
        self.report_exits(workers);
    }

    // -- launches that take a while ----------------------------------------------------------------------------------

    /// A process exists; whether it reaches its program is to be seen.
    pub(super) fn watch_launch(&mut self, pid: Pid, worker: WorkerId, status: OwnedFd) {
        self.feed(Event::Created { worker, pid });
        if let Err(error) = self.sources.add_fd(Source::Launch(pid), status.as_raw_fd()) {
            // Its success would go unnoticed: it is no use.
            let _gone = sys::send(nix::unistd::Pid::from_raw(pid.0), crate::proto::Signal::KILL);
            let errno = error.raw_os_error().unwrap_or(0);
            let error = SpawnError { stage: Stage::Fork, errno, detail: "watching its start".into() };
            return self.feed(Event::SpawnFailed { worker, error });
        }
        self.fds.add_launch(pid, status);
        self.pending.insert(pid, worker);
        self.read_launch(pid);
    }

    /// The workers of the life before this one are gone.
    pub(super) fn forget_launches(&mut self) {
        for (pid, _) in std::mem::take(&mut self.pending) {
            self.end_launch(pid);
        }
    }

    fn end_launch(&mut self, pid: Pid) {
        if let Some(status) = self.fds.take_launch(pid) {
            drop(self.sources.remove_fd(Source::Launch(pid), status.as_raw_fd()));
        }
    }

    fn read_launch(&mut self, pid: Pid) {
        let Some(status) = self.fds.launch(pid) else { return };
        let read = sys::read_status(status);
        let Some(worker) = self.pending.get(&pid).copied() else { return };
        let outcome = match read {
            sys::StatusRead::StillStarting => return,
            sys::StatusRead::Started => Event::Spawned { worker, pid },
            sys::StatusRead::Failed(error) => Event::SpawnFailed { worker, error },
        };
        self.pending.remove(&pid);
        self.end_launch(pid);
        self.feed(outcome);
    }

    // -- requests ----------------------------------------------------------------------------------------------------

    /// Takes up requests. Whether more are left.
    fn take_requests(&mut self) -> bool {
        for _ in 0..REQUESTS_A_TURN {
            let Some(incoming) = self.router.recv() else { return false };
            if let Payload::Frame(frame) = &incoming.payload {
                self.request(incoming.identity, incoming.delimiter, frame);
            }
        }
        true
    }

    // -- actions -----------------------------------------------------------------------------------------------------

    /// Does what the arbiter wants. Whether something is left for the next turn.
    fn drain(&mut self) -> bool {
        let mut launches = 0;
        self.samples.begin_turn();
        loop {
            while let Some(action) = self.arbiter.poll_action() {
                self.execute(action);
            }
            if self.take_hook_event() {
                continue;
            }
            if let Some(sampled) = self.samples.take() {
                self.feed(sampled);
                continue;
            }
            if launches == LAUNCHES_A_TURN {
                break;
            }
            let Some(launch) = self.arbiter.poll_launch(self.now) else { break };
            launches += 1;
            self.launch(launch);
        }
        // A launch that came to nothing may have left something to say.
        while let Some(action) = self.arbiter.poll_action() {
            self.execute(action);
        }
        self.kill_queued();
        self.publish_notices();
        self.arbiter.has_launches() || self.samples.are_wanted()
    }

    fn maintain_exec_sinks(&mut self) {
        let (said, late) = self.launcher.exec_sinks.maintain(&mut self.children, self.now.mono);
        for text in said {
            self.log_line(Level::Warning, &text);
        }
        self.kill_queue.extend(late);
    }
}

/// As Circus writes it: `SIG_TERM`.
fn with_underscore(signal: crate::proto::Signal) -> String {
    signal.name().map_or_else(|| signal.to_string(), |name| format!("SIG_{name}"))
}
