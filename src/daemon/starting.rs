//! Processes that exist and have not executed their program yet: each has a pipe that reports success or failure.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::core::Core;
use super::sources::{Source, Sources};
use crate::arbiter::{Event, Pid, WorkerId};
use crate::proto::{Signal, SpawnError, Stage};
use crate::sys;

/// By pid: the worker, and its status pipe.
#[derive(Debug, Default)]
pub(super) struct Starting(BTreeMap<Pid, (WorkerId, OwnedFd)>);

impl Starting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A process exists.
    pub(super) fn watch(
        &mut self,
        pid: Pid,
        worker: WorkerId,
        status: OwnedFd,
        sources: &mut Sources,
        core: &mut Core,
    ) {
        core.feed(Event::Created { worker, pid });
        if let Err(error) = sources.add_fd(Source::Launch(pid), status.as_raw_fd()) {
            // Its success would go unnoticed: it is no use.
            let _gone = sys::send(nix::unistd::Pid::from_raw(pid.0), Signal::KILL);
            let errno = error.raw_os_error().unwrap_or(0);
            let error = SpawnError { stage: Stage::Fork, errno, detail: "watching its start".into() };
            return core.feed(Event::SpawnFailed { worker, error });
        }
        self.0.insert(pid, (worker, status));
        self.read(pid, sources, core);
    }

    /// Reports what the status pipe of a process says, if it is one of these.
    pub(super) fn read(&mut self, pid: Pid, sources: &mut Sources, core: &mut Core) {
        let Some((worker, status)) = self.0.get(&pid) else { return };
        let worker = *worker;
        let outcome = match sys::read_status(status) {
            sys::StatusRead::StillStarting => return,
            sys::StatusRead::Started => Event::Spawned { worker, pid },
            sys::StatusRead::Failed(error) => Event::SpawnFailed { worker, error },
        };
        self.forget(pid, sources);
        core.feed(outcome);
    }

    /// The processes, which have not reached their programs.
    pub(super) fn pids(&self) -> Vec<Pid> {
        self.0.keys().copied().collect()
    }

    /// The workers of the life before this one are gone.
    pub(super) fn forget_all(&mut self, sources: &mut Sources) {
        for pid in self.0.keys().copied().collect::<Vec<_>>() {
            self.forget(pid, sources);
        }
    }

    fn forget(&mut self, pid: Pid, sources: &mut Sources) {
        if let Some((_, status)) = self.0.remove(&pid) {
            drop(sources.remove_fd(Source::Launch(pid), status.as_raw_fd()));
        }
    }
}
