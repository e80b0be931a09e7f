//! Sockets with so_reuseport: each worker of a watcher has its own, and its successor gets the same one.
//!
//! The kernel gives each connection to one of the sockets at an address when it arrives, and resets it when that socket is
//! closed before a worker has accepted it. So circusd keeps the socket of a worker that ends for the one that takes its
//! place: in a graceful reload both have it for a while.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use circus_core::base::CollectOrdered as _;
use serde::{Deserialize, Serialize};

use crate::arbiter::{Arbiter, Mono, Pid, WatcherKey, Wid};
use crate::config::{SocketConfig, WatcherConfig, named_sockets};
use crate::proto::{SpawnError, Stage};
use crate::sys;

/// A socket without a worker is kept so long where other workers of its watcher could take the connections that it gets.
const KEEP_TIMEOUT: Duration = Duration::from_secs(1);

/// The sockets of one worker, and of its successor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SocketSet<Fd = OwnedFd> {
    id: u64,
    watcher: WatcherKey,
    /// Whose it is; of a circusd that did not note it, 0.
    #[serde(default)]
    wid: u32,
    name: String,
    /// By name, with what they were made from.
    sockets: BTreeMap<String, (SocketConfig, Fd)>,
    /// Processes that have them, with the order in which they came.
    holders: Vec<(u64, Pid)>,
    unused_since: Option<Mono>,
}

/// The sockets of all workers.
#[derive(Debug, Default)]
pub(super) struct WorkerSockets {
    sets: Vec<SocketSet>,
    last_id: u64,
}

/// The same as plain data, with the numbers of the descriptors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedWorkerSockets {
    sets: Vec<SocketSet<RawFd>>,
    last_id: u64,
}

impl SavedWorkerSockets {
    /// The numbers of all descriptors.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.sets.iter().flat_map(|set| set.sockets.values().map(|(_, number)| *number))
    }
}

/// The sockets that a worker is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetId(u64);

impl WorkerSockets {
    /// The sockets for a new worker, where its watcher names some with so_reuseport and it will get them: those of its
    /// slot, those of a worker that has ended and has no successor, or new ones.
    pub(super) fn choose(
        &mut self,
        (watcher, wid): (WatcherKey, Wid),
        config: &WatcherConfig,
        managed: &[sys::ManagedSocket],
        now: Mono,
    ) -> Result<Option<SetId>, SpawnError> {
        let wanted = wanted(config, managed);
        if wanted.is_empty() {
            return Ok(None);
        }
        let fits = |set: &&SocketSet| {
            set.watcher == watcher
                && set.sockets.len() == wanted.len()
                && wanted
                    .iter()
                    .all(|socket| set.sockets.get(&socket.name).is_some_and(|(made, _)| *made == socket.config))
        };
        let all = self.sets.iter().filter(fits).count();
        let of_slot = |set: &SocketSet| set.wid == wid.0;
        let is_free = |set: &SocketSet| set.holders.is_empty() || set.wid == 0 && all >= config.numprocesses as usize;
        let order = |set: &&mut SocketSet| (!of_slot(set), set.holders.len(), set.holders.first().copied());
        let fitting = self.sets.iter_mut().filter(|set| fits(&&**set) && (of_slot(set) || is_free(set)));
        if let Some(set) = fitting.min_by_key(order) {
            set.wid = wid.0;
            return Ok(Some(SetId(set.id)));
        }
        let mut sockets = BTreeMap::new();
        for socket in wanted {
            let fd = sys::open_own(socket).map_err(|error| SpawnError {
                stage: Stage::Socket,
                errno: error.errno,
                detail: error.to_string(),
            })?;
            sockets.insert(socket.name.clone(), (socket.config.clone(), fd));
        }
        self.last_id += 1;
        let (id, name) = (self.last_id, config.name.clone());
        let (holders, unused_since) = (Vec::new(), Some(now));
        self.sets.push(SocketSet { id, watcher, wid: wid.0, name, sockets, holders, unused_since });
        Ok(Some(SetId(id)))
    }

    /// For another process.
    pub(super) fn save(&self) -> SavedWorkerSockets {
        let saved = |set: &SocketSet| {
            let socket = |(name, (config, fd)): (&String, &(SocketConfig, OwnedFd))| {
                (name.clone(), (config.clone(), fd.as_raw_fd()))
            };
            SocketSet {
                id: set.id,
                watcher: set.watcher,
                wid: set.wid,
                name: set.name.clone(),
                sockets: set.sockets.iter().map(socket).collect_map(),
                holders: set.holders.clone(),
                unused_since: set.unused_since,
            }
        };
        SavedWorkerSockets { sets: self.sets.iter().map(saved).collect(), last_id: self.last_id }
    }

    /// Goes on with those of another process. `take` gives the descriptor of a number.
    pub(super) fn restore(
        saved: SavedWorkerSockets,
        mut take: impl FnMut(RawFd) -> io::Result<OwnedFd>,
    ) -> io::Result<Self> {
        let mut sets = Vec::new();
        for SocketSet { id, watcher, wid, name, sockets, holders, unused_since } in saved.sets {
            let sockets = sockets.into_iter().map(|(name, (config, number))| Ok((name, (config, take(number)?))));
            let sockets = sockets.collect::<io::Result<Vec<_>>>()?.into_iter().collect_map();
            sets.push(SocketSet { id, watcher, wid, name, sockets, holders, unused_since });
        }
        Ok(Self { sets, last_id: saved.last_id })
    }

    /// A socket of a set.
    pub(super) fn get(&self, set: Option<SetId>, name: &str) -> Option<&OwnedFd> {
        let set = self.sets.iter().find(|one| Some(SetId(one.id)) == set)?;
        set.sockets.get(name).map(|(_, fd)| fd)
    }

    /// The sockets of a watcher's workers, by name.
    pub(super) fn of_watcher(&self, watcher: WatcherKey) -> impl Iterator<Item = (&str, &OwnedFd)> {
        let sets = self.sets.iter().filter(move |set| set.watcher == watcher);
        sets.flat_map(|set| set.sockets.iter().map(|(name, (_, fd))| (name.as_str(), fd)))
    }

    /// A process was started with these.
    pub(super) fn started(&mut self, set: Option<SetId>, pid: Pid) {
        self.last_id += 1;
        let order = self.last_id;
        if let Some(set) = self.sets.iter_mut().find(|one| Some(SetId(one.id)) == set) {
            set.holders.push((order, pid));
            set.unused_since = None;
        }
    }

    /// A process has ended.
    pub(super) fn exited(&mut self, pid: Pid, now: Mono) {
        for set in &mut self.sets {
            let before = set.holders.len();
            set.holders.retain(|(_, holder)| *holder != pid);
            if before > 0 && set.holders.is_empty() {
                set.unused_since = Some(now);
            }
        }
    }

    /// The watcher has stopped.
    pub(super) fn close(&mut self, watcher: WatcherKey) {
        self.sets.retain(|set| set.watcher != watcher);
    }

    /// Closes what no worker will need: what is more than the watcher is to have workers, and what has had none for too
    /// long while others could take its connections. Those that wait at a watcher whose workers are all gone wait on.
    pub(super) fn close_unused(&mut self, arbiter: &Arbiter, now: Mono) {
        if self.sets.iter().any(|set| set.unused_since.is_some()) {
            self.close_surplus(|name| arbiter.view(name).map_or(0, |view| view.numprocesses as usize), now);
        }
    }

    fn close_surplus(&mut self, wanted: impl Fn(&str) -> usize, now: Mono) {
        let unused: Vec<(u64, WatcherKey, Mono)> =
            self.sets.iter().filter_map(|set| Some((set.id, set.watcher, set.unused_since?))).collect();
        for (id, watcher, since) in unused {
            let of_watcher = || self.sets.iter().filter(|set| set.watcher == watcher);
            let name = of_watcher().map(|set| set.name.as_str()).next().unwrap_or_default();
            let is_surplus = of_watcher().count() > wanted(name);
            let others_serve = of_watcher().any(|set| !set.holders.is_empty());
            if is_surplus || others_serve && now.since(since) >= KEEP_TIMEOUT {
                self.sets.retain(|set| set.id != id);
            }
        }
    }

    /// When [`Self::close_unused`] is due.
    pub(super) fn next_due(&self) -> Option<Mono> {
        let served = |watcher| self.sets.iter().any(|set| set.watcher == watcher && !set.holders.is_empty());
        let unused = self.sets.iter().filter_map(|set| Some((set.watcher, set.unused_since?)));
        let due = unused.filter(|(watcher, _)| served(*watcher)).map(|(_, since)| since);
        due.min().map(|since| since.after(KEEP_TIMEOUT))
    }
}

/// The sockets with so_reuseport that a worker gets.
fn wanted<'s>(config: &WatcherConfig, managed: &'s [sys::ManagedSocket]) -> Vec<&'s sys::ManagedSocket> {
    if managed.iter().all(|socket| !socket.per_worker) {
        return Vec::new();
    }
    let named = named_sockets(config);
    let by_number = config.use_sockets && config.sockets.is_empty();
    let gets = |name: &String| by_number || config.sockets.contains(name) || config.stdin_socket.as_ref() == Some(name);
    let own = managed.iter().filter(|socket| socket.per_worker);
    own.filter(|socket| named.contains(&socket.name) && gets(&socket.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHER: WatcherKey = WatcherKey(1);

    struct Site {
        sockets: WorkerSockets,
        managed: Vec<sys::ManagedSocket>,
        config: WatcherConfig,
    }

    impl Site {
        fn new(numprocesses: u32) -> Self {
            let socket = SocketConfig { host: "127.0.0.1".into(), so_reuseport: true, ..SocketConfig::new("web") };
            let mut config = WatcherConfig::new("w", "x $(circus.sockets.web)", "/");
            (config.numprocesses, config.use_sockets) = (numprocesses, true);
            Self { sockets: WorkerSockets::default(), managed: vec![sys::open(&socket).unwrap()], config }
        }

        /// Starts a worker in this slot, and returns the number of its socket here.
        fn start(&mut self, wid: u32, pid: i32) -> i32 {
            let set = self.sockets.choose((WATCHER, Wid(wid)), &self.config, &self.managed, at(0)).unwrap();
            self.sockets.started(set, Pid(pid));
            self.sockets.get(set, "web").unwrap().as_raw_fd()
        }

        fn close_surplus(&mut self, now: Mono) -> usize {
            let wanted = self.config.numprocesses as usize;
            self.sockets.close_surplus(|_| wanted, now);
            self.sockets.sets.len()
        }
    }

    fn at(milliseconds: u64) -> Mono {
        Mono(1).after(Duration::from_millis(milliseconds))
    }

    #[test]
    fn successor_gets_the_socket_of_its_slot() {
        let mut site = Site::new(2);
        let (one, other) = (site.start(1, 1), site.start(2, 2));
        assert_ne!(one, other);
        site.sockets.exited(Pid(1), at(0));
        site.sockets.exited(Pid(2), at(0));
        assert_eq!(site.close_surplus(at(0)), 2);
        assert_eq!((site.start(2, 3), site.start(1, 4)), (other, one));
        assert_eq!(site.sockets.next_due(), None);
    }

    #[test]
    fn reload_shares_the_socket_of_each_slot_whatever_the_order() {
        let mut site = Site::new(2);
        let (one, other) = (site.start(1, 1), site.start(2, 2));
        assert_eq!((site.start(2, 3), site.start(1, 4)), (other, one));
        site.sockets.exited(Pid(1), at(0));
        site.sockets.exited(Pid(2), at(0));
        assert_eq!((site.start(1, 5), site.start(2, 6)), (one, other));
        assert_eq!(site.close_surplus(at(0)), 2);
    }

    #[test]
    fn socket_without_a_worker_serves_a_new_slot_first() {
        let mut site = Site::new(2);
        let (one, _) = (site.start(1, 1), site.start(2, 2));
        site.sockets.exited(Pid(1), at(0));
        assert_eq!(site.start(3, 3), one);
        assert_ne!(site.start(1, 4), one);
    }

    #[test]
    fn surplus_socket_is_closed_at_once_and_an_abandoned_one_after_a_while() {
        let mut site = Site::new(2);
        site.start(1, 1);
        site.start(2, 2);
        site.sockets.exited(Pid(1), at(0));
        assert_eq!((site.close_surplus(at(900)), site.sockets.next_due()), (2, Some(at(1000))));
        assert_eq!(site.close_surplus(at(1000)), 1, "the other worker takes new connections");
        site.start(1, 3);
        site.config.numprocesses = 1;
        site.sockets.exited(Pid(2), at(2000));
        assert_eq!(site.close_surplus(at(2000)), 1);
        site.sockets.exited(Pid(3), at(3000));
        assert_eq!((site.close_surplus(at(9000)), site.sockets.next_due()), (1, None), "connections wait");
        site.sockets.close(WATCHER);
        assert_eq!(site.sockets.sets.len(), 0);
    }

    #[test]
    fn socket_that_changed_is_opened_anew() {
        let mut site = Site::new(1);
        let before = site.start(1, 1);
        let changed = SocketConfig { backlog: 7, ..site.managed[0].config.clone() };
        site.managed = vec![sys::open(&changed).unwrap()];
        site.sockets.exited(Pid(1), at(0));
        assert_ne!(site.start(1, 2), before);
        assert_eq!(site.close_surplus(at(0)), 1, "the old one is surplus");
    }
}
