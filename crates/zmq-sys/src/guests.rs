//! What the peers of guarded listeners may cost before circusd knows them, and afterwards.
//!
//! libzmq bounds neither the number of connections nor what one may send before it is let in, nor the frames of an
//! unfinished message. Its caller sees none of that: it gets whole messages of peers that are in. So the table here
//! decides where libzmq accepts connections and reads from them.

use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// The greeting of ZMTP 3.
const GREETING: usize = 64;
/// The largest frame of a handshake: READY or INITIATE with the properties of a client, which take some hundred bytes.
const LARGEST_OF_HANDSHAKE: u64 = 8 << 10;
/// What one connection may have sent since its last message was taken, beyond what [`LEAK`] allows for heartbeats.
const MOST_UNHEARD: usize = 16 << 20;
/// The same of all connections of a peer that have sent no message yet.
const MOST_UNHEARD_OF_NEW: usize = 16 << 20;
/// Less than this of a newcomer is not added up.
const LARGE: usize = 64 << 10;
/// The same of all connections.
const MOST_UNHEARD_OF_ALL: usize = 64 << 20;
/// So many bytes of a connection count no more after each second: heartbeats are no messages.
const LEAK: u64 = 64;
/// Connections that have ended are looked for so often at most.
const SWEEP: Duration = Duration::from_millis(100);

/// A connection. The cookie is the socket's own number: descriptors are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) fd: RawFd,
    pub(crate) cookie: u64,
}

/// The other end, as far as the kernel tells it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// A process of this user.
    User(u32),
    /// A machine; of IPv6 the network (64 bits), of which a machine may have every address.
    Address(u64),
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Of all peers.
    pub(crate) all: usize,
    /// Of one peer.
    pub(crate) of_a_peer: usize,
    /// That have sent no message yet, of all peers.
    pub(crate) new: usize,
    /// The same of one peer.
    pub(crate) new_of_a_peer: usize,
}

impl Bounds {
    /// For a process that may have so many descriptors: most of them are for its own work.
    pub(crate) fn of_descriptors(count: u64) -> Self {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let share = |part: usize, most: usize| (count / part).clamp(4, most);
        Self { all: share(2, 4096), of_a_peer: share(4, 1024), new: share(8, 1024), new_of_a_peer: share(16, 256) }
    }
}

/// What is to be done about a connection that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on, and these are ended in its place.
    Admit(Vec<Connection>),
    /// It is closed at once.
    Refuse,
}

/// How peers are told apart at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// So many frames has a client's part of it.
    pub frames: u8,
    /// A connection that has not finished it after so long is closed by libzmq itself.
    pub limit: Duration,
}

/// The connections of the guarded listeners.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    entries: HashMap<RawFd, Entry>,
    of_peers: HashMap<Peer, Share>,
    /// In the order in which they came. Some may have ended, or be new no more.
    new: VecDeque<Connection>,
    unheard: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    cookie: u64,
    peer: Peer,
    is_new: bool,
    old_at: Instant,
    progress: Progress,
    unheard: usize,
    leaked_at: Instant,
}

#[derive(Debug, Default)]
struct Share {
    all: usize,
    new: usize,
}

impl Guests {
    /// Decides about a connection that was accepted just now.
    pub(crate) fn accepted(
        &mut self,
        connection: Connection,
        peer: Peer,
        handshake: Handshake,
        bounds: Bounds,
        now: Instant,
        is_open: impl Fn(Connection) -> bool,
    ) -> Verdict {
        // What had its descriptor before has ended.
        self.forget(connection.fd);
        if self.is_full(peer, bounds) {
            self.sweep(now, &is_open);
            if self.is_full(peer, bounds) {
                return Verdict::Refuse;
            }
        }
        let mut ended = Vec::new();
        while self.has_too_many_new(peer, bounds, now) {
            let Some(victim) = self.oldest_new(peer, bounds) else { break };
            self.forget(victim.fd);
            if is_open(victim) {
                ended.push(victim);
            }
        }
        let share = self.of_peers.entry(peer).or_default();
        share.all += 1;
        share.new += 1;
        self.new.push_back(connection);
        self.entries.insert(
            connection.fd,
            Entry {
                cookie: connection.cookie,
                peer,
                is_new: true,
                old_at: now + handshake.limit,
                progress: Progress::new(handshake.frames),
                unheard: 0,
                leaked_at: now,
            },
        );
        Verdict::Admit(ended)
    }

    /// Takes note of what was read from a connection. The connections that are to be ended for it.
    pub(crate) fn received(
        &mut self,
        connection: Connection,
        bytes: &[u8],
        now: Instant,
        is_open: impl Fn(Connection) -> bool,
    ) -> Vec<Connection> {
        let Some(entry) = self.entries.get_mut(&connection.fd) else { return Vec::new() };
        if entry.cookie != connection.cookie {
            self.forget(connection.fd);
            return Vec::new();
        }
        let leaked = now.saturating_duration_since(entry.leaked_at).as_secs().saturating_mul(LEAK);
        if leaked > 0 {
            let leaked = usize::try_from(leaked).unwrap_or(usize::MAX).min(entry.unheard);
            entry.unheard -= leaked;
            self.unheard -= leaked;
            entry.leaked_at = now;
        }
        entry.unheard += bytes.len();
        self.unheard += bytes.len();
        let has_large = entry.is_new && entry.unheard > LARGE;
        let (fits, peer) = (entry.progress.takes(bytes) && entry.unheard <= MOST_UNHEARD, entry.peer);
        if !fits || has_large && self.unheard_of_new(peer) > MOST_UNHEARD_OF_NEW {
            self.forget(connection.fd);
            return vec![connection];
        }
        if self.unheard <= MOST_UNHEARD_OF_ALL {
            return Vec::new();
        }
        self.sweep(now, &is_open);
        let mut ended = Vec::new();
        while self.unheard > MOST_UNHEARD_OF_ALL {
            let greediest = self.entries.iter().max_by_key(|(_, entry)| entry.unheard);
            let Some((&fd, &Entry { cookie, .. })) = greediest else { break };
            self.forget(fd);
            let victim = Connection { fd, cookie };
            if is_open(victim) {
                ended.push(victim);
            }
        }
        ended
    }

    fn unheard_of_new(&self, peer: Peer) -> usize {
        let entries = self.new.iter().filter_map(|one| self.entries.get(&one.fd));
        entries.filter(|entry| entry.is_new && entry.peer == peer).map(|entry| entry.unheard).sum()
    }

    /// Whether the connection at this descriptor is among them, or was.
    pub(crate) fn knows(&self, fd: RawFd) -> bool {
        self.entries.contains_key(&fd)
    }

    /// A message of this connection was taken: it is let in, and holds no more what it has sent.
    pub(crate) fn heard(&mut self, fd: RawFd) {
        let Some(entry) = self.entries.get_mut(&fd) else { return };
        self.unheard -= std::mem::take(&mut entry.unheard);
        let peer = entry.peer;
        if std::mem::take(&mut entry.is_new) {
            self.is_new_no_more(peer);
        }
    }

    fn is_new_no_more(&mut self, peer: Peer) {
        if let Some(share) = self.of_peers.get_mut(&peer) {
            share.new = share.new.saturating_sub(1);
        }
    }

    fn is_full(&self, peer: Peer, bounds: Bounds) -> bool {
        self.entries.len() >= bounds.all || self.of_peers.get(&peer).is_some_and(|share| share.all >= bounds.of_a_peer)
    }

    /// Whether the newcomers of all, or of this peer, leave no room for another. Those that have been there for the time of
    /// a handshake are let in, or libzmq has closed them.
    fn has_too_many_new(&mut self, peer: Peer, bounds: Bounds, now: Instant) -> bool {
        while let Some(first) = self.new.front().copied() {
            let peer = match self.entries.get_mut(&first.fd) {
                Some(entry) if entry.cookie == first.cookie && entry.is_new => {
                    if entry.old_at > now {
                        break;
                    }
                    entry.is_new = false;
                    Some(entry.peer)
                }
                _ => None,
            };
            self.new.pop_front();
            if let Some(peer) = peer {
                self.is_new_no_more(peer);
            }
        }
        // In the middle of the queue some may be new no more.
        if self.new.len() >= bounds.new {
            let entries = &self.entries;
            let is_new =
                |one: &Connection| entries.get(&one.fd).is_some_and(|entry| entry.cookie == one.cookie && entry.is_new);
            self.new.retain(is_new);
        }
        let of_peer = self.of_peers.get(&peer).map_or(0, |share| share.new);
        self.new.len() >= bounds.new || of_peer >= bounds.new_of_a_peer
    }

    /// The oldest newcomer of the peer that has too many, or the most.
    fn oldest_new(&self, peer: Peer, bounds: Bounds) -> Option<Connection> {
        let (most, count) = self.of_peers.iter().map(|(peer, share)| (*peer, share.new)).max_by_key(|(_, new)| *new)?;
        let own = self.of_peers.get(&peer).map_or(0, |share| share.new);
        let whose = if own >= bounds.new_of_a_peer.min(count) { peer } else { most };
        let is_one = |one: &&Connection| {
            self.entries
                .get(&one.fd)
                .is_some_and(|entry| entry.cookie == one.cookie && entry.is_new && entry.peer == whose)
        };
        self.new.iter().find(is_one).copied()
    }

    /// Forgets those that have ended.
    fn sweep(&mut self, now: Instant, is_open: impl Fn(Connection) -> bool) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let connections = self.entries.iter().map(|(&fd, entry)| Connection { fd, cookie: entry.cookie });
        let ended: Vec<Connection> = connections.filter(|connection| !is_open(*connection)).collect();
        for Connection { fd, .. } in ended {
            self.forget(fd);
        }
    }

    fn forget(&mut self, fd: RawFd) {
        let Some(entry) = self.entries.remove(&fd) else { return };
        self.unheard -= entry.unheard;
        if let Some(share) = self.of_peers.get_mut(&entry.peer) {
            share.all -= 1;
            share.new -= usize::from(entry.is_new);
            if share.all == 0 {
                self.of_peers.remove(&entry.peer);
            }
        }
        if entry.is_new {
            let ended = Connection { fd, cookie: entry.cookie };
            self.new.retain(|one| *one != ended);
        }
    }
}

/// How far a client is in its handshake, as far as that shows in its bytes.
#[derive(Debug, PartialEq, Eq)]
struct Progress {
    /// Bytes to pass over: the rest of the greeting, or of a frame.
    rest: u64,
    /// Frames that are still to come.
    frames: u8,
    /// The beginning of a frame, and how much of it is there.
    head: [u8; 9],
    held: usize,
}

impl Progress {
    fn new(frames: u8) -> Self {
        Self { rest: GREETING as u64, frames, head: [0; 9], held: 0 }
    }

    /// Whether these bytes may go on to libzmq: no frame of the handshake is too large.
    fn takes(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
                self.rest -= passed as u64;
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            if self.frames == 0 {
                return true;
            }
            let Some((&byte, others)) = bytes.split_first() else { break };
            bytes = others;
            if let Some(slot) = self.head.get_mut(self.held) {
                *slot = byte;
            }
            self.held += 1;
            // One byte for the length, or eight (ZeroMQ RFC 23).
            let [flags, short, ..] = self.head;
            let length = match (flags & 2 != 0, self.held) {
                (false, 2..) => u64::from(short),
                (true, 9..) => {
                    let [_, long @ ..] = self.head;
                    u64::from_be_bytes(long)
                }
                _ => continue,
            };
            if length > LARGEST_OF_HANDSHAKE {
                return false;
            }
            *self = Self { rest: length, ..Self::new(self.frames - 1) };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE: Handshake = Handshake { frames: 1, limit: Duration::from_secs(10) };
    const BOUNDS: Bounds = Bounds { all: 8, of_a_peer: 5, new: 4, new_of_a_peer: 3 };

    struct Rig {
        guests: Guests,
        now: Instant,
        /// Cookies of those that have ended.
        gone: Vec<u64>,
    }

    fn one(number: u16) -> Connection {
        Connection { fd: number.into(), cookie: u64::from(number) + 100 }
    }

    impl Rig {
        fn new() -> Self {
            Self { guests: Guests::default(), now: Instant::now(), gone: Vec::new() }
        }

        fn comes(&mut self, number: u16, user: u32) -> Verdict {
            let gone = &self.gone;
            let is_open = |connection: Connection| !gone.contains(&connection.cookie);
            self.guests.accepted(one(number), Peer::User(user), HANDSHAKE, BOUNDS, self.now, is_open)
        }

        fn sends(&mut self, number: u16, bytes: &[u8]) -> Vec<Connection> {
            self.guests.received(one(number), bytes, self.now, |_| true)
        }
    }

    fn admitted() -> Verdict {
        Verdict::Admit(Vec::new())
    }

    #[test]
    fn newest_take_the_place_of_the_oldest_of_their_peer() {
        let mut rig = Rig::new();
        (1..4).for_each(|number| assert_eq!(rig.comes(number, 7), admitted()));
        assert_eq!(rig.comes(4, 7), Verdict::Admit(vec![one(1)]));
        // Another peer is not asked to pay for it.
        assert_eq!(rig.comes(5, 8), admitted());
        assert_eq!(rig.comes(6, 8), Verdict::Admit(vec![one(2)]), "of the peer with the most");
        // One that was heard keeps its place.
        rig.guests.heard(3);
        assert_eq!(rig.comes(7, 7), admitted());
        assert_eq!(rig.comes(8, 7), Verdict::Admit(vec![one(4)]));
    }

    #[test]
    fn those_that_are_there_for_long_are_let_in() {
        let mut rig = Rig::new();
        (1..4).for_each(|number| assert_eq!(rig.comes(number, 7), admitted()));
        rig.now += HANDSHAKE.limit;
        assert_eq!(rig.comes(4, 7), admitted());
        assert_eq!(rig.comes(5, 7), admitted());
        assert_eq!(rig.comes(6, 7), Verdict::Refuse, "five of a peer");
        assert_eq!(rig.comes(6, 8), admitted());
        // Those that have ended make room, when it is time to look for them.
        rig.gone.extend([101, 102]);
        assert_eq!(rig.comes(7, 7), Verdict::Refuse);
        rig.now += SWEEP;
        assert_eq!(rig.comes(7, 7), admitted());
    }

    #[test]
    fn descriptor_that_is_used_again_counts_once() {
        let mut rig = Rig::new();
        for round in 0..100_u64 {
            let connection = Connection { fd: 1, cookie: round };
            let verdict = rig.guests.accepted(connection, Peer::User(7), HANDSHAKE, BOUNDS, rig.now, |_| true);
            assert_eq!(verdict, admitted());
        }
        assert_eq!((rig.guests.entries.len(), rig.guests.new.len()), (1, 1));
        assert!(rig.guests.received(Connection { fd: 1, cookie: 5 }, &[0; 9], rig.now, |_| true).is_empty());
        assert!(rig.guests.entries.is_empty() && rig.guests.of_peers.is_empty(), "another socket has it");
    }

    #[test]
    fn unfinished_messages_are_bounded() {
        let mut rig = Rig::new();
        (1..6).for_each(|number| {
            rig.comes(number, number.into());
            rig.guests.heard(number.into());
        });
        let part = vec![0; MOST_UNHEARD];
        let greeted = [&[0; GREETING][..], &[4, 1, 0]].concat();
        for number in 1..6 {
            assert_eq!(rig.sends(number, &greeted), []);
            rig.guests.heard(number.into());
        }
        for _ in 0..10 {
            assert_eq!(rig.sends(1, &part), [], "it is heard each time");
            rig.guests.heard(1);
        }
        for number in 1..5 {
            assert_eq!(rig.sends(number, &part), []);
        }
        assert_eq!(rig.sends(5, &part[1..]).len(), 1, "too much of all");
        let left = *rig.guests.entries.keys().max().unwrap();
        rig.guests.heard(left);
        let more = Connection { fd: left, ..one(u16::try_from(left).unwrap()) };
        assert_eq!(rig.guests.received(more, &part, rig.now, |_| true), []);
        assert_eq!(rig.guests.received(more, &[0], rig.now, |_| true), [more], "too much of one");
        let sum: usize = rig.guests.entries.values().map(|entry| entry.unheard).sum();
        assert_eq!(rig.guests.unheard, sum);
    }

    #[test]
    fn newcomers_of_a_peer_have_no_more_together_than_one_that_is_in() {
        let mut rig = Rig::new();
        (1..4).for_each(|number| assert_eq!(rig.comes(number, 7), admitted()));
        let part = vec![0; MOST_UNHEARD_OF_NEW / 2];
        assert_eq!(rig.sends(1, &part), []);
        assert_eq!(rig.sends(2, &part), []);
        assert_eq!(rig.sends(3, &[0; LARGE]), [], "a little more");
        assert_eq!(rig.sends(3, &[0]), [one(3)]);
        rig.guests.heard(1);
        assert_eq!(rig.sends(2, &[0]), []);
    }

    #[test]
    fn heartbeats_of_a_year_are_no_message() {
        let mut rig = Rig::new();
        rig.comes(1, 7);
        assert_eq!(rig.sends(1, &[&[0; GREETING][..], &[4, 1, 0]].concat()), []);
        for _ in 0..500_000 {
            rig.now += Duration::from_secs(1);
            assert_eq!(rig.sends(1, &[0; 50]), []);
        }
    }

    #[test]
    fn large_frames_of_a_handshake_are_refused_however_they_are_cut() {
        let long = |length: u64| [&[6][..], &length.to_be_bytes()].concat();
        let greeting = vec![0xff; GREETING];
        let ready = [greeting.clone(), vec![4, 3], vec![0; 3]].concat();
        let large_ready =
            [greeting.clone(), long(LARGEST_OF_HANDSHAKE), vec![9; LARGEST_OF_HANDSHAKE as usize]].concat();
        for (frames, bytes, fits) in [
            (1, ready.clone(), true),
            (1, large_ready.clone(), true),
            (1, [greeting.clone(), long(LARGEST_OF_HANDSHAKE + 1)].concat(), false),
            (1, [greeting.clone(), long(u64::MAX)].concat(), false),
            // Whether a frame says that it is a command or not.
            (1, [greeting.clone(), vec![2, 0, 0, 0, 0, 1, 0, 0, 0]].concat(), false),
            (1, [ready.clone(), long(1 << 20)].concat(), true),
            (2, [ready.clone(), long(1 << 20)].concat(), false),
            (2, [ready, vec![4, 200], vec![0; 200], long(1 << 20)].concat(), true),
            (2, [large_ready, long(1 << 20)].concat(), false),
        ] {
            for step in [1, 2, 7, 64, 65, bytes.len()] {
                let mut progress = Progress::new(frames);
                let taken = bytes.chunks(step).all(|part| progress.takes(part));
                assert_eq!(taken, fits, "{frames} frames, {} bytes by {step}", bytes.len());
            }
        }
    }

    #[test]
    fn most_descriptors_are_for_other_work() {
        let bounds = Bounds::of_descriptors(256);
        assert_eq!(bounds, Bounds { all: 128, of_a_peer: 64, new: 32, new_of_a_peer: 16 });
        let most = Bounds { all: 4096, of_a_peer: 1024, new: 1024, new_of_a_peer: 256 };
        assert_eq!(Bounds::of_descriptors(u64::MAX), most);
    }
}
