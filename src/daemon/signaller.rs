//! Signals to workers and to what they have started.

use nix::unistd::Pid as SysPid;

use super::cgroups::Cgroups;
use super::core::Core;
use super::leftovers::Leftovers;
use crate::arbiter::{Event, Pid, Reach, SignalTarget, WatcherKey};
use crate::proto::{ErrNo, Fault, Signal};
use crate::sys::{self, DescendantHandle, Extent, ProcessIdentity};

/// Sends signals. Trees are killed together, at the end of a turn's actions: one look at all processes serves for a
/// thousand of them.
#[derive(Default)]
pub(super) struct Signaller {
    proc: sys::Proc,
    kill_queue: Vec<Pid>,
}

fn sys_pid(pid: Pid) -> SysPid {
    SysPid::from_raw(pid.0)
}

impl Signaller {
    /// Kills these processes with everything that belongs to them, at the end of this turn's actions.
    pub(super) fn kill(&mut self, pids: impl IntoIterator<Item = Pid>) {
        self.kill_queue.extend(pids);
    }

    /// Kills what is queued.
    pub(super) fn kill_queued(&mut self, leftovers: &Leftovers) {
        if !self.kill_queue.is_empty() {
            let roots: Vec<_> = self.kill_queue.drain(..).flat_map(|pid| leftovers.roots(pid)).collect();
            sys::kill_trees(&self.proc, &roots);
        }
    }

    /// Sends a worker a signal, or what is left of it.
    pub(super) fn signal(
        &mut self,
        (pid, signal, reach): (Pid, Signal, Reach),
        watcher: WatcherKey,
        (leftovers, cgroups): (&mut Leftovers, &Cgroups),
        core: &mut Core,
    ) {
        let group = cgroups.of(pid);
        if (reach, signal) != (Reach::Tree, Signal::KILL) {
            if leftovers.is_waited_for(pid) {
                return leftovers.signal(pid, signal, group);
            }
            leftovers.note_descendants(pid, core);
        }
        // Failures are of no interest: a process that is gone will be reaped.
        match reach {
            Reach::Process => {
                let _gone = sys::send(sys_pid(pid), signal);
            }
            Reach::Group => {
                let _gone = sys::send_to_group(sys_pid(pid), signal);
            }
            // A worker that was started before its watcher wanted groups has none.
            Reach::Tree | Reach::Cgroup if signal == Signal::KILL => {
                if let Some(group) = group {
                    group.kill(&self.proc);
                }
                self.kill([pid]);
            }
            Reach::Tree | Reach::Cgroup => {
                if let (Reach::Cgroup, Some(group)) = (reach, group) {
                    group.send(&self.proc, signal);
                } else if let Some(stat) = self.proc.stat(sys_pid(pid)) {
                    ProcessIdentity::from(&stat).send_to(&self.proc, signal, Extent::Tree);
                }
            }
            Reach::ProcessAndChildren => {
                // Listed before their parent hears of it, since they are its children no more when it has gone.
                let children = DescendantHandle::children(&self.proc, sys_pid(pid));
                let _gone = sys::send(sys_pid(pid), signal);
                signal_children(children, signal, watcher, core);
            }
            Reach::Children => {
                signal_children(DescendantHandle::children(&self.proc, sys_pid(pid)), signal, watcher, core)
            }
        }
    }

    /// Carries out a `signal` request: the workers that got the signal, up to the first failure.
    pub(super) fn signal_requested(
        &self,
        pids: &[Pid],
        signal: Signal,
        target: SignalTarget,
        leftovers: &Leftovers,
    ) -> (Vec<Pid>, Result<(), Fault>) {
        let mut signalled = Vec::new();
        // The pid of a worker that has ended while others of its session live is no process of circusd's.
        let mut pids = pids.iter().filter(|pid| !leftovers.is_waited_for(**pid));
        let result = pids.try_for_each(|pid| self.signal_one(*pid, signal, target, &mut signalled));
        (signalled, result)
    }

    fn signal_one(
        &self,
        worker: Pid,
        signal: Signal,
        target: SignalTarget,
        signalled: &mut Vec<Pid>,
    ) -> Result<(), Fault> {
        let pid = sys_pid(worker);
        let mut send_itself = || {
            let outcome = sys::send(pid, signal);
            signalled.extend(outcome.is_ok().then_some(worker));
            sent(outcome)
        };
        let send_to = |descendants: Vec<DescendantHandle>| {
            descendants.into_iter().try_for_each(|descendant| sent(descendant.send(signal)))
        };
        match target {
            SignalTarget::Process => send_itself(),
            SignalTarget::Recursive => {
                let descendants = DescendantHandle::descendants(&self.proc, pid);
                send_itself()?;
                send_to(descendants)
            }
            SignalTarget::Descendants => send_to(DescendantHandle::descendants(&self.proc, pid)),
            SignalTarget::Children => send_to(DescendantHandle::children(&self.proc, pid)),
            SignalTarget::Child(child) => {
                let mut children = DescendantHandle::children(&self.proc, pid).into_iter();
                let found = children.find(|known| i64::from(known.pid().as_raw()) == child);
                let gone = || Fault::command(format!("process no longer exists (pid={child})"));
                sent(found.ok_or_else(gone)?.send(signal))
            }
        }
    }
}

fn signal_children(children: Vec<DescendantHandle>, signal: Signal, watcher: WatcherKey, core: &mut Core) {
    let signalled = children.into_iter().filter(|child| child.send(signal).is_ok());
    let pids = signalled.map(|child| Pid(child.pid().as_raw())).collect();
    core.feed(Event::ChildrenSignalled { watcher, pids });
}

/// The result of a signal; a process that is gone already is no failure.
fn sent(outcome: Result<(), sys::SendError>) -> Result<(), Fault> {
    let reason = match outcome {
        Ok(()) | Err(sys::SendError::Gone) => return Ok(()),
        Err(sys::SendError::NotPermitted) => "[Errno 1] Operation not permitted",
        Err(sys::SendError::Invalid) => "[Errno 22] Invalid argument",
    };
    Err(Fault::new(ErrNo::Os, reason))
}
