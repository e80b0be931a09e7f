//! What the arbiter wants, as calls.

use nix::unistd::Pid as SysPid;

use super::event_loop::{Daemon, Outcome};
use super::hooks::HookCx;
use crate::arbiter::{Action, Event, Launch, Level, Pid, Reach, SignalTarget, WatcherKey};
use crate::proto::{ErrNo, Fault, ReplyTo, Signal, SpawnError, encode_notice};
use crate::sys::{self, Kin};

fn sys_pid(pid: Pid) -> SysPid {
    SysPid::from_raw(pid.0)
}

impl Daemon {
    pub(super) fn execute(&mut self, action: Action) {
        match action {
            Action::OpenSockets(_) => self.feed(Event::SocketsOpened(self.fds.socket_infos())),
            Action::Signal { pid, signal, reach, watcher } => self.signal(pid, signal, reach, watcher),
            Action::SignalRequest { job, pids, signal, target } => {
                let result = self.signal_request(&pids, signal, target);
                self.feed(Event::SignalDone { job, result });
            }
            Action::Sample { job, targets } => self.samples.begin(job, targets),
            Action::Publish(notice) => self.notices.push(notice),
            Action::RunHook(call) => self.run_hook(*call),
            Action::EndHook(hook) => self.hooks.end(
                &mut HookCx {
                    output: &mut self.launcher.output,
                    sources: &mut self.sources,
                    children: &mut self.children,
                },
                hook,
            ),
            Action::Reply(reply) => {
                // A client that has its answer finds the events of what happened before it, as far as that is in our hands.
                if matches!(reply.to, ReplyTo::Client(_)) {
                    self.publish_notices();
                }
                self.reply(&reply);
            }
            Action::Log(level, text) => self.log_line(level, &text),
            Action::WatchSocket { name, on } => {
                if let Err(error) = self.fds.watch_socket(&mut self.sources, &name, on) {
                    self.log_line(Level::Error, &error);
                }
            }
            Action::Tail { job, watcher, stream, range } => {
                self.launcher.output.tail(job.0, watcher, stream, range);
            }
            Action::ForgetOutput(watcher) => self.launcher.output.forget(watcher),
            Action::CloseStreams(watcher) => self.launcher.close_streams(watcher, self.now.mono),
            Action::UpdateStreams(watcher, config) => {
                if let Err(error) = self.launcher.update_streams(watcher, &config, &mut self.children, self.now.mono) {
                    self.log_line(Level::Error, &format!("{}: {error}", config.name));
                }
            }
            Action::LoadConfig => self.load_config(),
            Action::TakeOver(config) => {
                let result = self.take_over(*config);
                self.feed(Event::TakenOver(result));
            }
            Action::Restart => self.outcome = Some(Outcome::Restart),
            Action::Exit(status) => self.outcome = Some(Outcome::Exit(status)),
        }
    }

    /// Sends the events of this turn, together: libzmq's thread, and whoever listens, wake up once for a death and the
    /// worker that takes its place, and not while that one is being started.
    pub(super) fn publish_notices(&mut self) {
        let notices = self.notices.drain(..);
        self.publisher.publish_all(notices.map(|notice| encode_notice(&notice)));
    }

    pub(super) fn launch(&mut self, launch: Launch) {
        let worker = launch.worker;
        match self.launcher.start(launch, &self.fds, &mut self.children, self.now.mono) {
            Ok(sys::Spawned::Running(pid)) => {
                let pid = Pid(pid.as_raw());
                self.worker_started(pid);
                self.feed(Event::Spawned { worker, pid });
            }
            Ok(sys::Spawned::Pending { pid, status }) => {
                let pid = Pid(pid.as_raw());
                self.worker_started(pid);
                self.watch_launch(pid, worker, status);
            }
            Err(error) => self.launch_failed(worker, error),
        }
    }

    fn launch_failed(&mut self, worker: crate::arbiter::WorkerId, error: SpawnError) {
        self.feed(Event::SpawnFailed { worker, error });
    }

    fn signal(&mut self, pid: Pid, signal: Signal, reach: Reach, watcher: WatcherKey) {
        if reach != Reach::Tree {
            if self.leftovers.is_waited_for(pid) {
                return self.signal_leftovers(pid, signal);
            }
            self.note_descendants(pid);
        }
        match reach {
            // Failures are of no interest: who is gone will be reaped.
            Reach::Process => {
                let _gone = sys::send(sys_pid(pid), signal);
            }
            Reach::Tree => self.kill_queue.push(pid),
            Reach::ProcessAndChildren => {
                // Listed before their parent hears of it, since they are its children no more when it has gone.
                let children = Kin::children(&self.proc, sys_pid(pid));
                let _gone = sys::send(sys_pid(pid), signal);
                self.signal_children(children, signal, watcher);
            }
            Reach::Children => self.signal_children(Kin::children(&self.proc, sys_pid(pid)), signal, watcher),
        }
    }

    fn signal_children(&mut self, children: Vec<Kin>, signal: Signal, watcher: WatcherKey) {
        let told = children.into_iter().filter(|child| child.send(signal).is_ok());
        let pids = told.map(|child| Pid(child.pid().as_raw())).collect();
        self.feed(Event::ChildrenSignalled { watcher, pids });
    }

    pub(super) fn kill_queued(&mut self) {
        if !self.kill_queue.is_empty() {
            let roots: Vec<_> = self.kill_queue.drain(..).flat_map(|pid| self.leftovers.roots(pid)).collect();
            sys::kill_trees(&self.proc, &roots);
        }
    }

    fn signal_request(&self, pids: &[Pid], signal: Signal, target: SignalTarget) -> Result<(), Fault> {
        // The pid of a worker that has ended while others of its session live is no process of ours.
        for pid in pids.iter().filter(|pid| !self.leftovers.is_waited_for(**pid)) {
            let pid = sys_pid(*pid);
            match target {
                SignalTarget::Process => sent(sys::send(pid, signal))?,
                SignalTarget::Recursive => {
                    let descendants = Kin::descendants(&self.proc, pid);
                    sent(sys::send(pid, signal))?;
                    descendants.into_iter().try_for_each(|descendant| sent(descendant.send(signal)))?;
                }
                SignalTarget::Descendants => {
                    let descendants = Kin::descendants(&self.proc, pid);
                    descendants.into_iter().try_for_each(|descendant| sent(descendant.send(signal)))?;
                }
                SignalTarget::Children => {
                    Kin::children(&self.proc, pid).into_iter().try_for_each(|child| sent(child.send(signal)))?;
                }
                SignalTarget::Child(child) => {
                    let mut children = Kin::children(&self.proc, pid).into_iter();
                    let found = children.find(|known| i64::from(known.pid().as_raw()) == child);
                    let gone = || Fault::command(format!("process no longer exists (pid={child})"));
                    sent(found.ok_or_else(gone)?.send(signal))?;
                }
            }
        }
        Ok(())
    }
}

/// What came of a signal; that somebody is gone already is no failure.
fn sent(outcome: Result<(), sys::SendError>) -> Result<(), Fault> {
    let reason = match outcome {
        Ok(()) | Err(sys::SendError::Gone) => return Ok(()),
        Err(sys::SendError::NotPermitted) => "[Errno 1] Operation not permitted",
        Err(sys::SendError::Invalid) => "[Errno 22] Invalid argument",
    };
    Err(Fault::new(ErrNo::Os, reason))
}
