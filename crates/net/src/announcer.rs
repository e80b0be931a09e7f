//! Figures for whoever subscribed to them: a publisher that knows whether somebody listens, and to what.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::listener::Listener;
use super::readiness::{Port, registrable};
use super::{Context, NetError};

/// Messages that wait for one subscriber: some ten intervals of a thousand processes.
const MARK: i32 = 20_000;

/// The largest subscription that is accepted.
const LARGEST_FRAME: i64 = 64 << 10;

/// An XPUB socket on a descriptor that was bound by the caller.
///
/// Register it with mio and call [`ready`](Self::ready) when it is readable, and after each round of
/// [`publish`](Self::publish): sending may have eaten the news.
pub struct Announcer {
    port: Port,
    listener: Listener,
    subscriptions: BTreeSet<Vec<u8>>,
}

registrable!(Announcer);

impl Announcer {
    /// A publisher that accepts subscribers on `listener`. `endpoint` tells the transport (and the path, for ipc); the
    /// path's unlinking remains the caller's affair.
    pub fn new(context: &Context, listener: OwnedFd, endpoint: &str) -> Result<Self, NetError> {
        let mut socket = context.socket(zmq::XPUB)?;
        let options = || {
            socket.set_sndhwm(MARK)?;
            socket.set_maxmsgsize(LARGEST_FRAME)
        };
        options().map_err(NetError::socket("setting options"))?;
        let listener = Listener::hand_over(&mut socket, listener, endpoint)?;
        Ok(Self { port: Port::new(socket)?, listener, subscriptions: BTreeSet::new() })
    }

    /// The endpoint as the kernel knows it: a port where 0 was asked for.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// Takes note of subscriptions that came or went. Whether any did.
    pub fn ready(&mut self) -> bool {
        let mut changed = false;
        while let Some((frame, mut more)) = self.port.recv() {
            // libzmq tells of the first who subscribes to a prefix, and of the last who does no more, be he cut off.
            changed |= match frame.split_first() {
                Some((1, prefix)) => self.subscriptions.insert(prefix.to_vec()),
                Some((0, prefix)) => self.subscriptions.remove(prefix),
                // A subscriber may send what it likes.
                Some(_) | None => false,
            };
            while more {
                let Some((_, others)) = self.port.recv() else { break };
                more = others;
            }
        }
        changed
    }

    /// The prefixes of topics that somebody has subscribed to.
    pub fn subscriptions(&self) -> impl Iterator<Item = &[u8]> {
        self.subscriptions.iter().map(Vec::as_slice)
    }

    /// Sends a message to everybody who subscribed to a prefix of its topic. It never waits: a subscriber whose queue is
    /// full misses it.
    pub fn publish(&mut self, topic: &[u8], body: &[u8]) {
        // Like PUB it takes everything.
        let _sent = self.port.send(&[topic, body]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subscriber;
    use crate::testing::{PATIENCE, TRANSPORTS, listener};

    /// Waits until the subscriptions are these.
    fn expect(announcer: &mut Announcer, poll: &mut mio::Poll, wanted: &[&str]) {
        let mut events = mio::Events::with_capacity(4);
        loop {
            announcer.ready();
            let there: Vec<&[u8]> = announcer.subscriptions().collect();
            if there == wanted.iter().map(|prefix| prefix.as_bytes()).collect::<Vec<_>>() {
                return;
            }
            poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "nobody told; there are {there:?}");
        }
    }

    #[test]
    fn it_knows_what_is_listened_to() {
        for transport in TRANSPORTS {
            let (listener, endpoint, _folder) = listener(transport);
            let context = Context::new().unwrap();
            let mut announcer = Announcer::new(&context, listener, &endpoint).unwrap();
            let mut poll = mio::Poll::new().unwrap();
            poll.registry().register(&mut announcer, mio::Token(0), mio::Interest::READABLE).unwrap();
            let others = Context::new().unwrap();
            let mut one = Subscriber::connect(&others, announcer.endpoint(), &["stat."]).unwrap();
            expect(&mut announcer, &mut poll, &["stat."]);
            let two = Subscriber::connect(&others, announcer.endpoint(), &["stat.", "msgpack:"]).unwrap();
            expect(&mut announcer, &mut poll, &["msgpack:", "stat."]);
            drop(two);
            expect(&mut announcer, &mut poll, &["stat."]);
            announcer.publish(b"other", b"");
            announcer.publish(b"stat.w", b"{}");
            assert_eq!(one.recv(PATIENCE), Some((b"stat.w".to_vec(), b"{}".to_vec())));
            drop(one);
            expect(&mut announcer, &mut poll, &[]);
        }
    }
}
