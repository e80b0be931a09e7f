//! Sockets and the watchers that wait for connections to them, and what is promised about those.

use std::collections::{BTreeMap, BTreeSet};

use circus_core::arbiter::WatcherView;
use circus_core::proto::Request;

use super::kernel::{MS, Process, Temper};
use super::model::Expected;
use super::rng::Rng;

/// The managed sockets of every simulation.
pub(crate) const SOCKETS: [&str; 2] = ["s0", "s1"];

/// No watcher rests longer: check_delay and the tenth that chance adds.
const LONGEST_REST: u64 = 5500 * MS;
/// No watcher that died young rests for less: 100 ms less the tenth.
const SHORTEST_REST: u64 = 90 * MS;

/// Connections that no worker has accepted yet, and the news of them.
#[derive(Default)]
pub(crate) struct Sockets {
    waiting: BTreeMap<&'static str, u32>,
    watched: BTreeSet<&'static str>,
    /// What the next turn reports to the core, if it still watches.
    news: Vec<&'static str>,
    /// When connections that were accepted will be closed.
    open: BTreeMap<&'static str, Vec<u64>>,
    /// When a connection was there the last time.
    last: BTreeMap<&'static str, u64>,
}

impl Sockets {
    pub(crate) fn connect(&mut self, name: &'static str, now: u64) {
        *self.waiting.entry(name).or_default() += 1;
        self.last.insert(name, now);
        if self.watched.contains(name) {
            self.news.push(name);
        }
    }

    /// As epoll does it: a socket that is watched anew reports at once the connections that wait already.
    pub(crate) fn watch(&mut self, name: &str, on: bool) {
        let name = known(name);
        let changed = if on { self.watched.insert(name) } else { self.watched.remove(name) };
        assert!(changed, "{name} is watched already, or was not");
        if on && self.waiting.contains_key(name) {
            self.news.push(name);
        }
    }

    /// The daemon that watched is gone, and what it heard with it. Returns what it watched.
    pub(crate) fn stop_watching(&mut self) -> BTreeSet<&'static str> {
        self.news.clear();
        std::mem::take(&mut self.watched)
    }

    pub(crate) fn is_watched(&self, name: &str) -> bool {
        self.watched.contains(name)
    }

    pub(crate) fn are_watched(&self) -> bool {
        !self.watched.is_empty()
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    pub(crate) fn next_news(&mut self) -> Option<&'static str> {
        while let Some(name) = self.news.pop() {
            if self.watched.contains(name) {
                return Some(name);
            }
        }
        None
    }

    /// Processes that do their work accept every connection.
    pub(crate) fn serve<'p>(
        &mut self,
        processes: impl Iterator<Item = &'p Process>,
        watchers: &BTreeMap<String, Expected>,
        now: u64,
    ) {
        for process in processes {
            let accepts = match process.temper {
                Temper::Healthy | Temper::StopsAfter(_) | Temper::Stubborn => true,
                Temper::DiesAfter(_) | Temper::SucceedsAfter(_) | Temper::Unlaunchable(_) => false,
            };
            if let (true, Some(socket)) = (accepts, watchers.get(&process.watcher).and_then(|w| w.socket)) {
                let accepted = self.waiting.remove(socket).unwrap_or_default();
                // A request takes up to six seconds.
                let end = |number: u32| now + (now / MS + 977 * u64::from(number)) % 6000 * MS;
                self.open.entry(socket).or_default().extend((0..accepted).map(end));
            }
        }
    }

    /// How many connections are open, and for how long none has been.
    pub(crate) fn count(&mut self, name: &str, now: u64) -> (usize, u64) {
        let name = known(name);
        let open = self.open.entry(name).or_default();
        let closed = open.extract_if(.., |end| *end <= now).max();
        let last = self.last.entry(name).or_default();
        *last = closed.unwrap_or_default().max(*last);
        let count = open.len() + self.waiting.get(name).map_or(0, |waiting| *waiting as usize);
        (count, now - *last)
    }

    pub(crate) fn has_waiting(&self, name: &str) -> bool {
        self.waiting.contains_key(name)
    }
}

pub(crate) fn known(name: &str) -> &'static str {
    SOCKETS.into_iter().find(|socket| *socket == name).expect("a socket that there is")
}

/// What is known of a watcher that waits for connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    /// A connection or a command has asked for processes since it was last asleep.
    called: bool,
    /// Since when it has been asleep.
    asleep: Option<u64>,
    /// No connection starts it before.
    rests_until: u64,
}

impl Waiting {
    /// A connection or a command asks for its processes.
    pub(crate) fn call(&mut self) {
        self.called = true;
        self.asleep = None;
    }

    /// A worker died young and by itself.
    pub(crate) fn failed(&mut self, now: u64) {
        self.rests_until = now + SHORTEST_REST;
    }

    /// One of its processes is to be launched.
    pub(crate) fn launched(&self, name: &str) {
        assert!(self.called, "{name} was asleep, and was not called");
    }
}

impl Expected {
    /// Whether a connection is to start it.
    pub(crate) fn answers_connections(&self) -> bool {
        self.socket.is_some() && self.autostart && self.numprocesses > 0
    }

    /// A command asks for its processes, or does not: a command for all leaves it waiting.
    pub(crate) fn called_by(&mut self, request: &Request, all: bool, alone: bool) {
        let starts = match request {
            Request::Start { selection, .. } => selection.is_some(),
            Request::Restart { .. } => !self.autostart && (!all || alone),
            Request::Reload { .. } => !self.autostart,
            _ => false,
        };
        if starts {
            self.waiting.call();
        }
    }

    /// After each turn: asleep it has its socket watched, unless it rests.
    pub(crate) fn check_waiting(&mut self, name: &str, view: &WatcherView, sockets: &Sockets, now: u64) {
        let Some(socket) = self.socket else { return };
        let asleep = view.state == circus_core::arbiter::WatcherState::Stopped && !view.busy;
        if !asleep {
            self.waiting.asleep = None;
            return;
        }
        self.waiting.called = false;
        let since = *self.waiting.asleep.get_or_insert(now);
        let late = now > since + LONGEST_REST && self.answers_connections() && !sockets.is_watched(socket);
        assert!(!late, "{name} has been asleep for {} ms and does not watch {socket}", (now - since) / MS);
    }

    /// A connection was announced: watchers that were asleep may start now.
    pub(crate) fn awoken(&mut self, name: &str, before: &WatcherView, after: &WatcherView, now: u64) {
        let stopped = circus_core::arbiter::WatcherState::Stopped;
        if before.state == stopped && after.state != stopped {
            let rest = self.waiting.rests_until.saturating_sub(now);
            assert_eq!(rest, 0, "{name} was woken {} ms too early", rest / MS);
        }
    }
}

pub(crate) fn any_socket(rng: &mut Rng) -> &'static str {
    rng.pick::<&'static str>(&SOCKETS)
}
