//! The one place that knows how libzmq signals events.
//!
//! `ZMQ_FD` is an eventfd that libzmq's threads signal when they post commands ("there is something to read", "there is
//! room to write", "the peer has gone") to a socket whose mailbox was empty. Commands are taken out by *any* call: by
//! reading `ZMQ_EVENTS`, by a receive that would block, and now and then by a send. The call that takes the last one has
//! silenced the descriptor. Hence three rules:
//!
//! 1. The descriptor says only that there may be something. What there is to read, `ZMQ_EVENTS` says: [`PolledSocket::readable`].
//! 2. Look, and receive until nothing is left, after registering, after each readiness, and after sending. Where a budget
//!    ends the turn early, look again in the next turn, without waiting for the descriptor: it stays silent.
//! 3. Any call may fail with EINTR, `ZMQ_EVENTS` too, when a signal (SIGCHLD!) arrives meanwhile. It has done nothing and
//!    is repeated.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::NetError;
use super::deadline::Deadline;
use super::held::HeldBytes;

/// A ZeroMQ socket that never blocks and is never interrupted.
pub(super) struct PolledSocket {
    socket: zmq::Socket,
    fd: RawFd,
    /// ZMQ_EVENTS was empty, and no call since can have consumed an edge.
    armed: Cell<bool>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// libzmq has it.
    Done,
    /// The peer's queue is full: try again when there is news.
    Full,
    /// There is no such peer (any more).
    Gone,
}

impl PolledSocket {
    pub(super) fn new(socket: zmq::Socket) -> Result<Self, NetError> {
        let fd = uninterrupted(|| socket.get_fd()).map_err(NetError::socket("reading its descriptor"))?;
        Ok(Self { socket, fd, armed: Cell::new(false) })
    }

    /// Whether a message can be received now. If none can, the descriptor is armed: it becomes readable when the answer
    /// changes from no to yes. Any other call disarms it.
    pub(super) fn readable(&self) -> bool {
        let readable = uninterrupted(|| self.socket.get_events()).is_ok_and(|events| events.contains(zmq::POLLIN));
        self.armed.set(!readable);
        readable
    }

    /// Whether the descriptor is armed: until it becomes readable, there is nothing to receive.
    pub(super) fn is_armed(&self) -> bool {
        self.armed.get()
    }

    /// The next frame, and whether more belong to its message.
    pub(super) fn recv(&self) -> Option<(zmq::Message, bool)> {
        let mut frame = zmq::Message::new();
        self.armed.set(false);
        // Besides EAGAIN there is only ETERM, and no context ends before its sockets.
        uninterrupted(|| self.socket.recv(&mut frame, zmq::DONTWAIT)).ok()?;
        let more = frame.get_more();
        Some((frame, more))
    }

    /// Sends a message of one or more frames: all of it or nothing.
    ///
    /// Frames are borrowed and copied, because the bindings drop a message that could not be sent.
    pub(super) fn send(&self, frames: &[&[u8]]) -> Sent {
        let Some((last, first)) = frames.split_last() else { return Sent::Done };
        self.armed.set(false);
        let send = |frame: &[u8], flags| uninterrupted(|| self.socket.send(frame, zmq::DONTWAIT | flags));
        // libzmq decides about a message at its first frame. Only a peer that goes at this very moment fails a later one.
        let sent = first.iter().try_for_each(|frame| send(frame, zmq::SNDMORE)).and_then(|()| send(last, 0));
        match sent {
            Ok(()) => Sent::Done,
            Err(zmq::Error::EAGAIN) => Sent::Full,
            Err(_) => Sent::Gone,
        }
    }

    /// Sends a message whose last frame is counted for as long as libzmq holds it.
    pub(super) fn send_counted(&mut self, first: &[u8], last: &[u8], held: &HeldBytes) {
        self.armed.set(false);
        let begun = uninterrupted(|| self.socket.send(first, zmq::DONTWAIT | zmq::SNDMORE));
        // Only an XPUB sends this, which takes everything.
        let _sent = begun.and_then(|()| held.send(&mut self.socket, last));
    }

    /// Waits until a message can be received; false when the deadline has passed. Not for the daemon's loop.
    pub(super) fn wait(&self, deadline: Deadline) -> bool {
        uninterrupted(|| self.socket.poll(zmq::POLLIN, deadline.milliseconds())).is_ok_and(|count| count > 0)
    }

    /// Waits until the descriptor is readable, for whatever reason; false when the deadline has passed. Not for the
    /// daemon's loop.
    pub(super) fn wait_for_news(&self, deadline: Deadline) -> bool {
        let item = || zmq::PollItem::from_fd(self.fd, zmq::POLLIN);
        uninterrupted(|| zmq::poll(&mut [item()], deadline.milliseconds())).is_ok_and(|count| count > 0)
    }

    /// Waits until either port has something to receive or the deadline has passed.
    pub(super) fn wait_for_either(&self, other: &Self, deadline: Deadline) {
        let _ready = uninterrupted(|| {
            let items = [&self.socket, &other.socket].map(|socket| socket.as_poll_item(zmq::POLLIN));
            zmq::poll(&mut { items }, deadline.milliseconds())
        });
    }

    /// Of an XPUB that decides by itself: sends what begins so to the connection that the last message came from, or no
    /// longer. One that has gone meanwhile is past caring.
    pub(super) fn route(&self, wanted: bool, prefix: &[u8]) {
        self.armed.set(false);
        let _done =
            uninterrupted(
                || {
                    if wanted { self.socket.set_subscribe(prefix) } else { self.socket.set_unsubscribe(prefix) }
                },
            );
    }

    /// When the socket is closed, libzmq goes on sending what it was given for as long as `linger`, and the context cannot
    /// end before that.
    pub(super) fn linger(&self, linger: Duration) {
        let milliseconds = i32::try_from(linger.as_millis()).unwrap_or(i32::MAX);
        // Where this fails the socket does not linger, as it was made.
        let _lingers = uninterrupted(|| self.socket.set_linger(milliseconds));
    }
}

impl PolledSocket {
    /// Stops the socket's monitor. libzmq's I/O thread waits until its events are received: when the receiver is gone and the
    /// monitor is not, that thread would wait for ever, for all sockets.
    pub(super) fn disable_monitor(&self, name: &str) {
        // There is no call to end it, but another monitor, of no event at all, takes the place of the first.
        let _muted = self.socket.monitor(&format!("inproc://disable-monitor-{name}"), 0);
    }
}

impl Source for PolledSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.fd).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.fd).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.fd).deregister(registry)
    }
}

/// Gives a type that has a `port` the mio registration of its descriptor.
macro_rules! registrable {
    ($type:ty) => {
        impl mio::event::Source for $type {
            fn register(&mut self, to: &mio::Registry, token: mio::Token, _: mio::Interest) -> std::io::Result<()> {
                self.port.register(to, token, mio::Interest::READABLE)
            }

            fn reregister(&mut self, to: &mio::Registry, token: mio::Token, _: mio::Interest) -> std::io::Result<()> {
                self.port.reregister(to, token, mio::Interest::READABLE)
            }

            fn deregister(&mut self, from: &mio::Registry) -> std::io::Result<()> {
                self.port.deregister(from)
            }
        }
    };
}
pub(super) use registrable;

fn uninterrupted<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;
    use crate::testing::{DEADLINE, interrupted};

    fn pair(mark: i32) -> (PolledSocket, PolledSocket) {
        let context = Context::new().unwrap();
        let (one, other) = (context.socket(zmq::PAIR).unwrap(), context.socket(zmq::PAIR).unwrap());
        for socket in [&one, &other] {
            socket.set_sndhwm(mark).unwrap();
            socket.set_rcvhwm(mark).unwrap();
        }
        one.bind("inproc://pair").unwrap();
        other.connect("inproc://pair").unwrap();
        (PolledSocket::new(one).unwrap(), PolledSocket::new(other).unwrap())
    }

    #[test]
    fn a_signal_makes_no_call_fail() {
        let (one, other) = pair(0);
        assert_eq!(one.send(&[b"waits"]), Sent::Done);
        let deadline = Deadline::after(DEADLINE);
        interrupted(|| {
            // The bare call shows that there is something to withstand.
            let mut failures = 0;
            while failures < 2 {
                failures += u32::from(other.socket.get_events().is_err());
                assert!(other.readable(), "a message waits");
                assert!(!deadline.passed(), "no signal interrupted a call: the test has lost its point");
            }
            for _ in 0..20_000 {
                assert_eq!(one.send(&[b"a", b"b"]), Sent::Done);
                assert!(other.recv().is_some() && other.recv().is_some());
            }
        });
    }

    #[test]
    fn it_is_trusted_only_after_a_look_that_found_nothing() {
        let (one, other) = pair(0);
        assert!(!other.is_armed(), "ZMQ_EVENTS was not read yet");
        assert!(!other.readable() && other.is_armed());
        assert_eq!(other.send(&[b"may eat news"]), Sent::Done);
        assert!(!other.is_armed());
        assert!(!other.readable() && other.is_armed());
        assert_eq!(one.send(&[b"waits"]), Sent::Done);
        assert!(other.readable() && !other.is_armed(), "there is something to receive");
        assert!(other.recv().is_some() && !other.is_armed(), "there may be more");
        assert!(!other.readable() && other.is_armed());
    }

    #[test]
    fn a_message_is_all_or_nothing() {
        let (one, other) = pair(10);
        assert_eq!(one.send(&[b"a", b"", b"c"]), Sent::Done);
        let frames: Vec<(Vec<u8>, bool)> =
            std::iter::from_fn(|| other.recv()).map(|(frame, more)| (frame.to_vec(), more)).collect();
        assert_eq!(frames, [(b"a".to_vec(), true), (Vec::new(), true), (b"c".to_vec(), false)]);
        while one.send(&[b"x", b"y"]) == Sent::Done {}
        assert!(std::iter::from_fn(|| other.recv()).count() % 2 == 0);
    }
}
