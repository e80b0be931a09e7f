//! The subscriptions of subscribers: bounded for each connection and in all. Pure data.
//!
//! libzmq keeps some sixty bytes for each byte of a subscription, for as long as its connection lives, and sets no limit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Peer;

/// How much may be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Subscriptions of one connection.
    pub(super) count: usize,
    /// Bytes of the subscriptions of one connection.
    pub(super) bytes: usize,
    /// Bytes of all subscriptions together.
    pub(super) total: usize,
}

/// A connection: its descriptor, and the inode that distinguishes it from the next one at that descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Connection {
    pub(super) fd: i32,
    pub(super) inode: u64,
}

#[derive(Debug, Default)]
struct Held {
    prefixes: BTreeSet<Vec<u8>>,
    bytes: usize,
    /// Where subscriptions are judged.
    peer: Peer,
    refused: BTreeSet<Vec<u8>>,
}

/// The subscriptions of all connections.
#[derive(Debug)]
pub(super) struct Subscriptions {
    limits: Limits,
    /// How many connections have subscribed to each prefix.
    counts: BTreeMap<Vec<u8>, usize>,
    bytes: usize,
    connections: HashMap<Connection, Held>,
}

/// What a subscription comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is in force.
    New,
    /// It was in force already.
    Repeated,
    /// A limit is exceeded, and this connection is to be ended.
    TooMany(Connection),
}

impl Subscriptions {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, counts: BTreeMap::new(), bytes: 0, connections: HashMap::new() }
    }

    /// The prefixes of topics that are subscribed to.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.counts.keys().map(Vec::as_slice)
    }

    /// The connections that have subscriptions, or had them.
    pub(super) fn connections(&self) -> Vec<Connection> {
        self.connections.keys().copied().collect()
    }

    /// How many subscriptions these connections have together.
    pub(super) fn held_by(&self, counts: impl Fn(Connection) -> bool) -> usize {
        let counted = self.connections.iter().filter(|(connection, _)| counts(**connection));
        counted.map(|(_, held)| held.prefixes.len()).sum()
    }

    /// Counts a subscription. It counts also where it is too many: libzmq has it until the connection has ended.
    pub(super) fn add(&mut self, from: Connection, prefix: &[u8]) -> Added {
        let held = self.connections.entry(from).or_default();
        if !held.prefixes.insert(prefix.to_vec()) {
            return Added::Repeated;
        }
        let cost = cost(prefix);
        held.bytes += cost;
        let exceeds = held.prefixes.len() > self.limits.count || held.bytes > self.limits.bytes;
        self.bytes += cost;
        *self.counts.entry(prefix.to_vec()).or_default() += 1;
        if exceeds {
            return Added::TooMany(from);
        }
        let greediest =
            || self.connections.iter().max_by_key(|(_, held)| held.bytes).map(|(connection, _)| *connection);
        match (self.bytes > self.limits.total).then(greediest).flatten() {
            Some(greediest) => Added::TooMany(greediest),
            None => Added::New,
        }
    }

    /// Notes what was judged of a subscription.
    pub(super) fn remember(&mut self, from: Connection, peer: Peer, prefix: &[u8], allowed: bool) {
        let Some(held) = self.connections.get_mut(&from) else { return };
        held.peer = peer;
        if !allowed {
            held.refused.insert(prefix.to_vec());
        }
    }

    /// The connections with a subscription that is judged otherwise than it was.
    pub(super) fn judged_otherwise(&self, allowed: impl Fn(&Peer, &[u8]) -> bool) -> Vec<Connection> {
        let differs = |held: &Held| {
            held.prefixes.iter().any(|prefix| allowed(&held.peer, prefix) == held.refused.contains(prefix))
        };
        self.connections.iter().filter(|(_, held)| differs(held)).map(|(connection, _)| *connection).collect()
    }

    /// A connection gives up a subscription. Whether it had it.
    pub(super) fn remove(&mut self, from: Connection, prefix: &[u8]) -> bool {
        let had = self.connections.get_mut(&from).is_some_and(|held| {
            let had = held.prefixes.remove(prefix);
            held.refused.remove(prefix);
            held.bytes -= if had { cost(prefix) } else { 0 };
            had
        });
        had && self.discount(prefix)
    }

    /// One of the connections that had this subscription has ended; libzmq does not report which.
    pub(super) fn discount(&mut self, prefix: &[u8]) -> bool {
        let Some(count) = self.counts.get_mut(prefix) else { return false };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(prefix);
        }
        self.bytes -= cost(prefix);
        true
    }

    /// Forgets a connection that has ended. Its subscriptions are discounted one by one.
    pub(super) fn forget(&mut self, connection: Connection) {
        self.connections.remove(&connection);
    }
}

fn cost(prefix: &[u8]) -> usize {
    prefix.len() + 16
}

#[cfg(test)]
impl Subscriptions {
    /// How many connections have subscribed to a prefix.
    pub(super) fn counts_of(&self, prefix: &[u8]) -> usize {
        self.counts.get(prefix).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { count: 3, bytes: 100, total: 150 };

    fn connection(fd: i32) -> Connection {
        Connection { fd, inode: 1 }
    }

    fn prefixes(subscriptions: &Subscriptions) -> Vec<&[u8]> {
        subscriptions.prefixes().collect()
    }

    #[test]
    fn repeated_subscription_counts_once() {
        let mut all = Subscriptions::new(LIMITS);
        assert_eq!(all.add(connection(1), b"a"), Added::New);
        assert_eq!(all.add(connection(1), b"a"), Added::Repeated);
        assert_eq!(all.add(connection(2), b"a"), Added::New);
        assert!(all.remove(connection(1), b"a"));
        assert!(!all.remove(connection(1), b"a"), "another connection's subscription stays");
        assert_eq!(prefixes(&all), [b"a"]);
        assert!(all.discount(b"a") && !all.discount(b"a"));
        assert_eq!((prefixes(&all).len(), all.bytes), (0, 0));
    }

    #[test]
    fn connection_with_too_many_or_too_long_ones_is_named() {
        let mut all = Subscriptions::new(LIMITS);
        for prefix in [b"a", b"b", b"c"] {
            assert_eq!(all.add(connection(1), prefix), Added::New);
        }
        assert_eq!(all.add(connection(1), b"d"), Added::TooMany(connection(1)));
        assert_eq!(all.add(connection(2), &[b'x'; 100]), Added::TooMany(connection(2)));
    }

    #[test]
    fn greediest_connection_is_named_when_all_have_too_much() {
        let mut all = Subscriptions::new(LIMITS);
        assert_eq!(all.add(connection(1), &[b'x'; 60]), Added::New);
        assert_eq!(all.add(connection(2), &[b'y'; 20]), Added::New);
        assert_eq!(all.add(connection(3), &[b'z'; 30]), Added::TooMany(connection(1)));
        all.forget(connection(1));
        assert!(all.discount(&[b'x'; 60]));
        assert_eq!(all.add(connection(4), b"a"), Added::New);
    }
}
