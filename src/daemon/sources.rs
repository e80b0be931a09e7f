//! What the loop waits for: every descriptor in its poll, as a typed source.

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};

use crate::arbiter::{HookId, Pid, ProbeId};

/// What a readiness event is about. None of these names is used twice within one life of the daemon, save for sockets,
/// whose readiness says only that a client has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// The pipe that signal handlers write to.
    Signals,
    /// The ROUTER socket.
    Control,
    /// The publisher's socket: subscriptions.
    Events,
    /// The handler of ZAP: clients with keys that want to connect.
    Door,
    /// Other threads have something: the output thread, and those that wait for services.
    Threads,
    /// The clock on the wall was set.
    Clock,
    /// The process that started circusd: it has ended.
    Parent,
    /// The status pipe of a process that has not reached its program yet.
    Launch(Pid),
    /// A worker of an earlier circusd: it has ended.
    Adopted(Pid),
    /// A managed socket that is watched for connections, by its descriptor.
    Socket(RawFd),
    /// The standard output of a hook that answers there.
    HookAnswer(HookId),
    /// A directory of the configuration, where `watch` is set.
    IncludeDirs,
    /// The socket at which workers report.
    Notify,
    /// The connection of a probe.
    Probe(ProbeId),
    /// The socket to a Python that runs hooks.
    PythonHost(u64),
}

/// The sources by their tokens. A token is used again when its source is gone, so events are translated before anything
/// is added or removed.
#[derive(Debug)]
pub(super) struct Sources {
    registry: Registry,
    slots: Vec<Option<Source>>,
    tokens: HashMap<Source, usize>,
}

impl Sources {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, slots: Vec::new(), tokens: HashMap::new() }
    }

    /// The token of a source that registers itself (a waker).
    pub(super) fn reserve(&mut self, source: Source) -> Token {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(source),
            None => self.slots.push(Some(source)),
        }
        self.tokens.insert(source, slot);
        Token(slot)
    }

    /// Watches for readiness, which comes once an edge.
    pub(super) fn add(
        &mut self,
        source: Source,
        what: &mut impl mio::event::Source,
        interest: Interest,
    ) -> io::Result<()> {
        let token = self.reserve(source);
        let added = self.registry.register(what, token, interest);
        if added.is_err() {
            self.forget(source);
        }
        added
    }

    /// The same for a plain descriptor that is to be read.
    pub(super) fn add_fd(&mut self, source: Source, fd: RawFd) -> io::Result<()> {
        self.add(source, &mut SourceFd(&fd), Interest::READABLE)
    }

    /// Watches no longer. Do so before the descriptor is closed.
    pub(super) fn remove(&mut self, source: Source, what: &mut impl mio::event::Source) -> io::Result<()> {
        self.forget(source);
        self.registry.deregister(what)
    }

    /// The same for a plain descriptor.
    pub(super) fn remove_fd(&mut self, source: Source, fd: RawFd) -> io::Result<()> {
        self.remove(source, &mut SourceFd(&fd))
    }

    /// Another object takes the place of the one that a source is.
    pub(super) fn replace<S: mio::event::Source>(
        &mut self,
        source: Source,
        old: &mut S,
        new: &mut S,
    ) -> io::Result<()> {
        let Some(slot) = self.tokens.get(&source) else { return self.add(source, new, Interest::READABLE) };
        self.registry.register(new, Token(*slot), Interest::READABLE)?;
        self.registry.deregister(old)
    }

    /// Replaces two sources, or none where one of them fails.
    pub(super) fn replace_both<A: mio::event::Source, B: mio::event::Source>(
        &mut self,
        (one, old_one, new_one): (Source, &mut A, &mut A),
        (other, old_other, new_other): (Source, &mut B, &mut B),
    ) -> io::Result<()> {
        self.replace(one, old_one, new_one)?;
        let replaced = self.replace(other, old_other, new_other);
        if replaced.is_err() {
            self.replace(one, new_one, old_one)?;
        }
        replaced
    }

    /// The sources that these events are about.
    pub(super) fn ready(&self, events: &Events) -> Vec<Source> {
        events.iter().filter_map(|event| *self.slots.get(event.token().0)?).collect()
    }

    fn forget(&mut self, source: Source) {
        if let Some(slot) = self.tokens.remove(&source).and_then(|slot| self.slots.get_mut(slot)) {
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use super::*;

    fn ready(poll: &mut mio::Poll, sources: &Sources) -> Vec<Source> {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        sources.ready(&events)
    }

    #[test]
    fn token_of_a_removed_source_is_used_again() {
        let mut poll = mio::Poll::new().unwrap();
        let mut sources = Sources::new(poll.registry().try_clone().unwrap());
        let (one, mut into_one) = io::pipe().unwrap();
        let (two, mut into_two) = io::pipe().unwrap();
        let (first, second) = (Source::Launch(Pid(7)), Source::PythonHost(1));
        sources.add_fd(first, one.as_raw_fd()).unwrap();
        into_one.write_all(b"x").unwrap();
        assert_eq!(ready(&mut poll, &sources), [first]);
        sources.remove_fd(first, one.as_raw_fd()).unwrap();
        sources.add_fd(second, two.as_raw_fd()).unwrap();
        assert_eq!(sources.slots.len(), 1);
        into_one.write_all(b"x").unwrap();
        into_two.write_all(b"x").unwrap();
        assert_eq!(ready(&mut poll, &sources), [second]);
    }

    #[test]
    fn two_sources_stay_where_one_cannot_be_replaced() {
        let mut poll = mio::Poll::new().unwrap();
        let mut sources = Sources::new(poll.registry().try_clone().unwrap());
        let [(one, mut into_one), (two, mut into_two), (new, mut into_new)] = [(); 3].map(|()| io::pipe().unwrap());
        let file = tempfile::tempfile().unwrap();
        sources.add_fd(Source::Control, one.as_raw_fd()).unwrap();
        sources.add_fd(Source::Events, two.as_raw_fd()).unwrap();
        let (one, two, new, file) = (one.as_raw_fd(), two.as_raw_fd(), new.as_raw_fd(), file.as_raw_fd());
        let replaced = sources.replace_both(
            (Source::Control, &mut SourceFd(&one), &mut SourceFd(&new)),
            (Source::Events, &mut SourceFd(&two), &mut SourceFd(&file)),
        );
        replaced.unwrap_err();
        into_new.write_all(b"x").unwrap();
        assert_eq!(ready(&mut poll, &sources), []);
        into_one.write_all(b"x").unwrap();
        assert_eq!(ready(&mut poll, &sources), [Source::Control]);
        into_two.write_all(b"x").unwrap();
        assert_eq!(ready(&mut poll, &sources), [Source::Events]);
    }

    #[test]
    fn source_that_cannot_be_watched_leaves_no_token() {
        let poll = mio::Poll::new().unwrap();
        let mut sources = Sources::new(poll.registry().try_clone().unwrap());
        let file = tempfile::tempfile().unwrap();
        assert!(sources.add_fd(Source::Signals, file.as_raw_fd()).is_err());
        assert!(sources.tokens.is_empty() && sources.slots == [None]);
    }
}
