//! What workers report of themselves at the notification socket, and the descriptors that they have kept there for their
//! successors.
//!
//! The socket is opened with the first worker that is to report. A datagram counts for the worker that has sent it: the
//! kernel says which process that was, and it must be the worker, of its session, or descend from it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use circus_core::base::CollectOrdered as _;
use nix::unistd::Pid as SysPid;
use serde::{Deserialize, Serialize};

use super::children::Children;
use super::core::Core;
use super::sources::{Source, Sources};
use crate::arbiter::{Event, Level, Pid, WatcherKey, Wid};
use crate::sys::{self, FdRequest, NotifySocket, Received};
use circus_core::base::Throttle;

/// Datagrams of one turn: a flood delays nothing else.
const DATAGRAMS_A_TURN: usize = 64;
/// So many descriptors are kept for one worker's successor.
const MOST_KEPT: usize = 64;
/// A worker is looked for among so many ancestors of a sender.
const DEEPEST: usize = 64;

/// A descriptor that is kept, by its name.
type Kept = (String, OwnedFd);

/// What is handed over.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedNotify {
    socket: Option<RawFd>,
    slots: Vec<(Pid, WatcherKey, Wid, String)>,
    stored: Vec<(WatcherKey, Wid, SavedDescriptors)>,
}

/// Names and numbers of descriptors.
type SavedDescriptors = Vec<(String, RawFd)>;

impl SavedNotify {
    /// The descriptors that belong to it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RawFd> + '_ {
        let stored = self.stored.iter().flat_map(|(.., kept)| kept).map(|(_, number)| *number);
        self.socket.into_iter().chain(stored)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<NotifySocket>,
    proc: sys::Proc,
    /// Which slot each worker is in.
    slots: BTreeMap<Pid, (WatcherKey, Wid, String)>,
    /// For the next worker of a slot.
    stored: BTreeMap<(WatcherKey, Wid), Vec<Kept>>,
    /// The last turn has left some unread.
    has_more: bool,
    strangers: Throttle,
    refused: Throttle,
}

impl Notify {
    /// The socket's address, which is opened if need be.
    pub(super) fn address(&mut self, sources: &mut Sources) -> Result<&str, String> {
        if self.socket.is_none() {
            let failed = |error: io::Error| format!("no notification socket: {error}");
            let socket = NotifySocket::open().map_err(failed)?;
            sources.add_fd(Source::Notify, socket.as_fd().as_raw_fd()).map_err(failed)?;
            self.socket = Some(socket);
        }
        Ok(self.socket.as_ref().map(NotifySocket::address).unwrap_or_default())
    }

    /// A worker was started that may report.
    pub(super) fn started(&mut self, pid: Pid, watcher: WatcherKey, wid: Wid, name: &str) {
        self.slots.insert(pid, (watcher, wid, name.to_owned()));
    }

    /// A process was reaped.
    pub(super) fn exited(&mut self, pid: Pid) {
        self.slots.remove(&pid);
    }

    /// What the next program has to know.
    pub(super) fn save(&self) -> SavedNotify {
        let slot =
            |(pid, (watcher, wid, name)): (&Pid, &(WatcherKey, Wid, String))| (*pid, *watcher, *wid, name.clone());
        let number = |(name, fd): &Kept| (name.clone(), fd.as_raw_fd());
        let kept = |((watcher, wid), kept): (&(WatcherKey, Wid), &Vec<Kept>)| {
            (*watcher, *wid, kept.iter().map(number).collect())
        };
        SavedNotify {
            socket: self.socket.as_ref().map(|socket| socket.as_fd().as_raw_fd()),
            slots: self.slots.iter().map(slot).collect(),
            stored: self.stored.iter().map(kept).collect(),
        }
    }

    /// Goes on with what the program before has saved.
    pub(super) fn restore(
        saved: SavedNotify,
        sources: &mut Sources,
        mut take: impl FnMut(RawFd) -> io::Result<OwnedFd>,
    ) -> io::Result<Self> {
        let mut notify = Self::default();
        if let Some(number) = saved.socket {
            let socket = NotifySocket::adopt(take(number)?)?;
            sources.add_fd(Source::Notify, socket.as_fd().as_raw_fd())?;
            notify.socket = Some(socket);
        }
        notify.slots =
            saved.slots.into_iter().map(|(pid, watcher, wid, name)| (pid, (watcher, wid, name))).collect_map();
        for (watcher, wid, kept) in saved.stored {
            let kept = kept.into_iter().map(|(name, number)| Ok((name, take(number)?)));
            notify.stored.insert((watcher, wid), kept.collect::<io::Result<_>>()?);
        }
        Ok(notify)
    }

    /// What is kept for the next worker of a slot.
    pub(super) fn stored(&self, watcher: WatcherKey, wid: Wid) -> Vec<(String, BorrowedFd<'_>)> {
        let kept = self.stored.get(&(watcher, wid)).map_or(&[][..], Vec::as_slice);
        kept.iter().map(|(name, fd)| (name.clone(), fd.as_fd())).collect()
    }

    /// A watcher has stopped: nothing is kept for it any more.
    pub(super) fn forget(&mut self, watcher: WatcherKey) {
        self.stored.retain(|(key, _), _| *key != watcher);
    }

    /// The workers of this life are gone.
    pub(super) fn close(&mut self) {
        self.slots.clear();
        self.stored.clear();
    }

    /// Whether the next turn must not wait.
    pub(super) fn has_pending(&self) -> bool {
        self.has_more
    }

    /// Takes up what was reported, so much a turn.
    pub(super) fn read(&mut self, ready: &[Source], children: &Children, core: &mut Core) {
        if !(ready.contains(&Source::Notify) || self.has_more) {
            return;
        }
        for _ in 0..DATAGRAMS_A_TURN {
            let received = self.socket.as_ref().map_or(Ok(None), NotifySocket::receive);
            match received {
                Ok(Some(received)) => self.take(received, children, core),
                Ok(None) => {
                    self.has_more = false;
                    return;
                }
                Err(error) => {
                    self.has_more = false;
                    return core.log(Level::Error, format!("the notification socket cannot be read: {error}"));
                }
            }
        }
        self.has_more = true;
    }

    fn take(&mut self, received: Received, children: &Children, core: &mut Core) {
        let Received { sender, uid, datagram, fds } = received;
        let Some(pid) = self.worker_of(sender, children) else {
            if let Some(count) = self.strangers.count(1, core.now.mono) {
                let text = format!(
                    "notification from a process that belongs to no worker, ignored pid={sender} uid={uid} \
                    since_last={count}"
                );
                core.log(Level::Warning, text);
            }
            return;
        };
        let Some((watcher, wid, name)) = self.slots.get(&pid).cloned() else { return };
        let mut refuse = |why: &str, core: &mut Core| {
            if let Some(count) = self.refused.count(1, core.now.mono) {
                let text = format!(
                    "{name}: notification refused wid={} pid={sender} reason={why:?} since_last={count}",
                    wid.0
                );
                core.log(Level::Warning, text);
            }
        };
        let Some(datagram) = datagram else { return refuse("it is too long", core) };
        if let Some(main_pid) = &datagram.main_pid
            && *main_pid != pid.0.to_string()
        {
            refuse(&format!("MAINPID={main_pid}: a worker is the process that circusd has started"), core);
        }
        match datagram.fds {
            FdRequest::Store(fd_name) => {
                let kept = self.stored.entry((watcher, wid)).or_default();
                let room = MOST_KEPT.saturating_sub(kept.len());
                if fds.len() > room {
                    refuse(&format!("it has {MOST_KEPT} descriptors kept already"), core);
                }
                kept.extend(fds.into_iter().take(room).map(|fd| (fd_name.clone(), fd)));
            }
            FdRequest::Remove(fd_name) => {
                if let Some(kept) = self.stored.get_mut(&(watcher, wid)) {
                    kept.retain(|(name, _)| *name != fd_name);
                }
            }
            // Whatever came along is closed.
            FdRequest::None => {}
        }
        if !datagram.said.is_empty() {
            core.feed(Event::Notified { pid, said: datagram.said });
        }
    }

    /// The worker that a process is, is of the session of, or descends from.
    fn worker_of(&self, sender: SysPid, children: &Children) -> Option<Pid> {
        let known = |pid: SysPid| {
            let pid = Pid(pid.as_raw());
            (self.slots.contains_key(&pid) && children.is_worker(pid)).then_some(pid)
        };
        let mut pid = sender;
        for _ in 0..DEEPEST {
            if let Some(worker) = known(pid) {
                return Some(worker);
            }
            let stat = self.proc.stat(pid)?;
            if let Some(worker) = known(stat.session) {
                return Some(worker);
            }
            if stat.parent.as_raw() <= 1 {
                return None;
            }
            pid = stat.parent;
        }
        None
    }
}
