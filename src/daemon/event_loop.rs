//! The event loop. Each turn has the same order:
//!
//! 1. wait until something is ready or due, then read the clock once;
//! 2. reap ALL children that have exited, before anything in this turn can signal a pid;
//! 3. signals, as intents; subscriptions, and what workers print for them; requests, for so long a turn; connections to
//!    sockets that are watched;
//! 4. what is due;
//! 5. actions, each result fed back at once; samples and launches, so many a turn; events go out together,
//!    at the end or before a reply;
//! 6. check the ZeroMQ sockets again: sending may have consumed their readiness.
//!
//! Where a limit ended step 3 or 5 early, the next turn does not wait.

use std::io;
use std::time::Duration;

use mio::{Events, Poll};

use super::adopted::Adopted;
use super::cgroups::Cgroups;
use super::children::{Children, Owner};
use super::clock::{self, ClockWatch};
use super::control::Control;
use super::core::Core;
use super::door::Door;
use super::events::EventPublisher;
use super::fd_table::FdTable;
use super::hooks::{Hooks, Parts};
use super::include_watch::IncludeWatch;
use super::launch::Launcher;
use super::leftovers::Leftovers;
use super::notify::Notify;
use super::output_messages::OutputMessages;
use super::parent::Parent;
use super::probes::{ProbeCx, Probes};
use super::resources::Resources;
use super::sampling::SampleQueue;
use super::signaller::Signaller;
use super::sources::{Source, Sources};
use super::starting::Starting;
use super::state_file::StateFile;
use super::upgrade::progress::Upgrade;
use crate::arbiter::{Event, Exit, Intent, Level, Pid, SinkEvent};
use crate::proto::Signal;
use crate::sys;

/// Requests of one turn: a client that pipelines thousands does not keep a death waiting.
const REQUESTS_A_TURN: usize = 128;
/// So many are taken up before they are answered, and
const REQUESTS_AT_ONCE: usize = 4;
/// after so long no more: libzmq gives each client its turn, so that one whose answers take long keeps no other waiting.
const TIME_FOR_REQUESTS: Duration = Duration::from_millis(5);

/// Launches of one turn: while a thousand workers start, every client is answered.
const LAUNCHES_A_TURN: usize = 16;

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The process ends with this status.
    Exit(u8),
    /// A new life begins from the configuration file.
    Restart,
    /// The process becomes another build of circusd.
    Upgrade,
}

/// The parts that the loop works with.
pub(super) struct Daemon {
    pub(super) core: Core,
    pub(super) poll: Poll,
    pub(super) sources: Sources,
    pub(super) signals: sys::Signals,
    pub(super) control: Control,
    pub(super) door: Door,
    pub(super) events: EventPublisher,
    pub(super) children: Children,
    pub(super) leftovers: Leftovers,
    pub(super) cgroups: Cgroups,
    pub(super) signaller: Signaller,
    pub(super) launcher: Launcher,
    pub(super) starting: Starting,
    pub(super) output_messages: OutputMessages,
    pub(super) samples: SampleQueue,
    pub(super) hooks: Hooks,
    pub(super) probes: Probes,
    pub(super) notify: Notify,
    pub(super) parent: Parent,
    pub(super) fds: FdTable,
    pub(super) outcome: Option<Outcome>,
    pub(super) upgrade: Upgrade,
    pub(super) adopted: Adopted,
    pub(super) state_file: Option<StateFile>,
    /// Where some watcher runs by the clock on the wall.
    pub(super) clock_watch: Option<ClockWatch>,
    /// Where `watch` of `[circus]` is set.
    pub(super) include_watch: Option<IncludeWatch>,
    /// The daemon starts, a file was read, or a large request or answer was handled.
    pub(super) trim_when_idle: bool,
    /// Resources and configuration of this daemon's lifetime.
    pub(super) resources: Resources,
}

impl Daemon {
    /// Runs until the arbiter says how it ends.
    pub(super) fn run(&mut self) -> Outcome {
        let mut events = Events::with_capacity(256);
        let mut poll_now = true;
        self.watch_include_dirs();
        loop {
            if let Some(outcome) = self.outcome {
                return outcome;
            }
            let limit = if poll_now { Some(Duration::ZERO) } else { self.time_left() };
            match self.poll.poll(&mut events, limit) {
                Ok(()) => {}
                // The signal's byte can be read already: no other poll has to say so.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => poll_now = true,
                Err(error) => self.core.log(Level::Critical, format!("waiting for events failed: {error}")),
            }
            self.core.now = clock::now();
            let ready = self.sources.ready(&events);
            poll_now = self.turn(&ready, poll_now);
            // At rest for the first time since a start, or since a file was read: what only that needed may go.
            if self.trim_when_idle && !poll_now && self.starting.is_empty() {
                self.trim_when_idle = false;
                sys::release_memory();
            }
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let due = [
            self.core.arbiter.next_deadline(),
            self.core.log.next_due(),
            self.launcher.worker_sockets.next_due(),
            self.parent.next_due(),
            self.leftovers.next_due(),
            self.events.next_due(),
            self.upgrade.next_due(),
            self.include_watch.as_ref().and_then(IncludeWatch::next_due),
            self.output_messages.next_due(),
        ];
        let due = due.into_iter().flatten().min().map(|at| at.since(clock::now().mono));
        due.into_iter().chain(self.control.retry_in()).min()
    }

    /// One turn. Whether the next must not wait.
    fn turn(&mut self, ready: &[Source], polled_now: bool) -> bool {
        let mut intents = Vec::new();
        if ready.contains(&Source::Signals) || polled_now {
            self.take_signals(&mut intents);
        }
        self.reap_adopted(ready);
        for source in ready {
            if let Source::Launch(pid) = source {
                self.starting.read(*pid, &mut self.sources, &mut self.core);
            }
        }
        intents.extend(self.parent.look(ready, &mut self.sources, &mut self.core));
        if self.leftovers.next_due().is_some() {
            self.cgroups.note_end();
        }
        self.leftovers.look_if_due(&self.cgroups, &mut self.core);
        self.tidy_cgroups();
        for intent in intents {
            self.core.feed(Event::Intent(intent));
        }
        let more_clients = (ready.contains(&Source::Door) || polled_now) && self.door.answer(&mut self.core);
        if ready.contains(&Source::Events) || polled_now {
            self.events.publisher.ready();
            self.events.take_subscriptions(&mut self.launcher.output);
        }
        self.events.let_out(self.core.now.mono);
        if ready.contains(&Source::Threads) {
            self.output_messages.arrived();
        }
        self.output_messages.take(&mut self.launcher.output, &self.control, &mut self.events, &mut self.core);
        let (hooks, mut parts) = self.hooks();
        hooks.read(ready, &mut parts);
        self.notify.read(ready, &self.children, &mut self.core);
        self.probes.look(ready, &mut self.sources, &mut self.core);
        let asked = ready.contains(&Source::Control) || polled_now;
        let more_requests = asked && self.take_requests();
        for name in self.fds.acceptable(ready) {
            self.core.feed(Event::Acceptable(name));
        }
        if ready.contains(&Source::Clock)
            && let Some(Err(error)) = self.clock_watch.as_ref().map(ClockWatch::renew)
        {
            self.core.log(Level::Error, format!("the clock cannot be watched any more: {error}"));
        }
        self.look_at_include_dirs(ready.contains(&Source::IncludeDirs));
        self.core.arbiter.handle_timeout(self.core.now);
        self.core.log.tell_repeats(self.core.now);
        let more_launches = self.drain();
        self.adopted.end_rest(&mut self.core);
        if let Some(failure) = self.state_file.as_ref().and_then(StateFile::take_failure) {
            self.core.log(Level::Error, failure);
        }
        self.go_on_with_upgrade();
        self.launcher.worker_sockets.close_unused(&self.core.arbiter, self.core.now.mono);
        self.parent.report_started(&self.core);
        self.events.take_subscriptions(&mut self.launcher.output);
        self.events.log_ended(&mut self.door, &mut self.core);
        self.control.log_dropped(&mut self.core);
        self.door.log_turned_away(&mut self.core);
        self.trim_when_idle |= self.control.take_large_frame();
        self.output_messages.end_turn(self.core.now.mono);
        let more = self.hooks.0.has_pending() || self.notify.has_pending() || self.output_messages.are_pending();
        self.control.router.ready() || more_requests || more_clients || more_launches || more
    }

    /// Takes up requests and answers them. Whether more may be left.
    fn take_requests(&mut self) -> bool {
        let begun = clock::now().mono;
        for _ in 0..REQUESTS_A_TURN / REQUESTS_AT_ONCE {
            if !self.control.take_requests(REQUESTS_AT_ONCE, &mut self.door, &mut self.core) {
                return false;
            }
            self.execute_all();
            if clock::now().mono.since(begun) >= TIME_FOR_REQUESTS {
                break;
            }
        }
        true
    }

    /// From now on the loop wakes up when the clock on the wall was set.
    pub(super) fn watch_clock(&mut self) {
        if self.clock_watch.is_some() {
            return;
        }
        let watch = ClockWatch::new().and_then(|watch| self.sources.add_fd(Source::Clock, watch.fd()).map(|()| watch));
        match watch {
            Ok(watch) => self.clock_watch = Some(watch),
            Err(error) => self.core.log(Level::Error, format!("the clock cannot be watched: {error}")),
        }
    }

    fn take_signals(&mut self, intents: &mut Vec<Intent>) {
        let mut caught = Vec::new();
        self.signals.read(&mut caught);
        if caught.contains(&sys::SignalEvent::Child) {
            self.reap();
        }
        for caught in caught {
            match caught {
                sys::SignalEvent::Terminate(signal) => {
                    self.core.log(Level::Info, format!("Got signal {}", with_underscore(signal)));
                    // Two signals that come together count as one.
                    if !intents.contains(&Intent::Quit) {
                        intents.push(Intent::Quit);
                    }
                }
                sys::SignalEvent::Reload => {
                    self.core.log(Level::Info, "Got signal SIG_HUP");
                    intents.push(Intent::Reload);
                }
                sys::SignalEvent::ReopenLogs => {
                    self.core.log(Level::Info, "Got signal SIG_USR1");
                    intents.push(Intent::ReopenLogs);
                }
                sys::SignalEvent::Upgrade => {
                    self.core.log(Level::Info, "Got signal SIG_USR2");
                    intents.push(Intent::Upgrade);
                }
                sys::SignalEvent::Ignored(signal) => {
                    let text = format!("Got signal {}; it has no effect", with_underscore(signal));
                    self.core.log(Level::Info, text);
                }
                sys::SignalEvent::Child => {}
            }
        }
    }

    /// Reaps every child that has ended, and notifies its owner.
    pub(super) fn reap(&mut self) {
        let mut workers = Vec::new();
        for (owner, exit) in self.children.reap() {
            self.launcher.output.died(exit.pid.0);
            self.launcher.worker_sockets.exited(exit.pid, self.core.now.mono);
            self.notify.exited(exit.pid);
            match owner {
                Owner::Worker => {
                    self.tell_state_file_of_end(exit.pid);
                    // The status pipe now holds the final result of exec.
                    self.starting.read(exit.pid, &mut self.sources, &mut self.core);
                    workers.push(Exit { oom: self.cgroups.ran_out_of_memory(exit.pid), ..exit });
                }
                Owner::Hook(_) | Owner::PythonHost(_) => {
                    let (hooks, mut parts) = self.hooks();
                    hooks.exited(owner, exit.exit_code, &mut parts);
                }
                Owner::UpgradeCheck => self.upgrade_checked(exit),
                Owner::Probe(id) => self.probes.exited(id, exit.exit_code, &mut self.core),
                Owner::ExecSink(id) => {
                    let event = SinkEvent::Exited { pid: exit.pid, exit_code: exit.exit_code };
                    self.core.feed(Event::SinkCommand(id, event));
                }
            }
        }
        self.cgroups.note_end();
        self.leftovers.report_exits(workers, (&self.children, &self.cgroups), &mut self.core);
    }

    fn tidy_cgroups(&mut self) {
        let Self { cgroups, children, adopted, leftovers, .. } = self;
        cgroups.tidy(|pid| children.is_worker(pid) || adopted.contains(pid) || leftovers.is_waited_for(pid));
    }

    /// The same for workers that are no children of circusd.
    fn reap_adopted(&mut self, ready: &[Source]) {
        let mut exits = self.adopted.ended(ready, &mut self.sources, &mut self.core);
        if exits.is_empty() {
            return;
        }
        for exit in &mut exits {
            exit.oom = self.cgroups.ran_out_of_memory(exit.pid);
            self.launcher.output.died(exit.pid.0);
            self.launcher.worker_sockets.exited(exit.pid, self.core.now.mono);
            self.tell_state_file_of_end(exit.pid);
        }
        self.cgroups.note_end();
        self.leftovers.report_exits(exits, (&self.children, &self.cgroups), &mut self.core);
    }

    fn tell_state_file_of_end(&self, pid: Pid) {
        if let Some(file) = &self.state_file {
            file.ended(pid);
        }
    }

    /// Does what the arbiter wants. Whether something is left for the next turn.
    fn drain(&mut self) -> bool {
        let mut launches = 0;
        self.samples.begin_turn();
        loop {
            self.execute_all();
            let (hooks, mut parts) = self.hooks();
            if hooks.take_event(&mut parts) {
                continue;
            }
            if let Some(sampled) = self.samples.take() {
                self.core.feed(sampled);
                continue;
            }
            if launches == LAUNCHES_A_TURN || self.upgrade.is_near() {
                break;
            }
            let Some(launch) = self.core.arbiter.poll_launch(self.core.now) else { break };
            launches += 1;
            self.launch(launch);
        }
        // A launch that came to nothing may have left something to say.
        self.execute_all();
        self.signaller.kill_queued(&self.leftovers);
        self.events.flush();
        self.core.arbiter.has_launches() && !self.upgrade.is_near() || self.samples.are_wanted()
    }

    pub(super) fn execute_all(&mut self) {
        while let Some(action) = self.core.arbiter.poll_action() {
            self.execute(action);
        }
    }

    /// The probes, and the parts that they use.
    pub(super) fn probes(&mut self) -> (&mut Probes, ProbeCx<'_>) {
        let Self { core, launcher, sources, children, .. } = self;
        (&mut self.probes, ProbeCx { core, sources, children, environments: &mut launcher.environments })
    }

    /// The hooks, and the parts that they use.
    pub(super) fn hooks(&mut self) -> (&mut Hooks, Parts<'_>) {
        let Self { core, launcher, sources, children, signaller, fds, resources, .. } = self;
        (&mut self.hooks, Parts { core, launcher, sources, children, signaller, fds, resources })
    }
}

/// As Circus writes it: `SIG_TERM`.
fn with_underscore(signal: Signal) -> String {
    signal.name().map_or_else(|| signal.to_string(), |name| format!("SIG_{name}"))
}
