//! The daemon's side of the control protocol: many clients, each request answered to its sender.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::deadline::Deadline;
use super::listener::Listener;
use super::peer::{self, Peer};
use super::readiness::{PolledSocket, Sent, registrable};
use super::send_queue::{Answer, Limits, SendQueue};
use super::{Context, Guard, NetError};

/// How often [`Router::retry`] is to be called while [`Router::pending`] is not zero: libzmq's news that one client has
/// room again can get lost while another is tried.
pub const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Messages that libzmq itself holds for one client, in each direction. It counts messages, not bytes, so this is low; the
/// rest of what a client has not read is in the send queue, and the rest of what it has sent stays with the client.
const HWM: i32 = 64;

/// The largest frame that is accepted. A client that sends a larger one is disconnected.
const LARGEST_FRAME: i64 = 1 << 20;

/// 5000 requests that one client pipelines are answered though it reads nothing meanwhile: there is room for three
/// kilobytes each.
const LIMITS: Limits = Limits { client: 16 << 20, total: 64 << 20 };

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The connection's name, to which the answer goes. Of a guarded endpoint it has the connection, too.
    pub identity: Vec<u8>,
    /// Whether an empty frame came first (a REQ client), which the answer must repeat.
    pub delimiter: bool,
    /// What was sent.
    pub payload: Payload,
}

/// The substance of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// One frame, as the protocol wants it.
    Frame(Vec<u8>),
    /// Another number of frames (the delimiter not counted), whose contents are dropped.
    Malformed {
        /// How many there were.
        frames: usize,
    },
}

/// What was lost since the start, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that did not consist of one frame.
    pub malformed: u64,
    /// Answers whose client had gone.
    pub unroutable: u64,
    /// Answers dropped because clients did not read.
    pub overflowed: u64,
}

/// A ROUTER socket on a descriptor that was bound by the caller.
///
/// A turn of the daemon: when mio says that it is readable, [`recv`](Self::recv) until `None` or until the turn's budget
/// is used up; [`send`](Self::send) whatever is to be answered; at the end of every turn in which it was touched ask
/// [`ready`](Self::ready), and where that says yes do not wait in the next poll. Ask it after registering, too.
pub struct Router {
    port: PolledSocket,
    listener: Listener,
    send_queue: SendQueue,
    counters: Counters,
    is_guarded: bool,
    /// The request that was received last.
    last: Option<zmq::Message>,
    /// Until then, answers to clients that are not connected wait for them.
    awaited_until: Option<Deadline>,
}

registrable!(Router);

impl Router {
    /// A router that accepts connections on `listener`. `endpoint` has the transport (and the path, for ipc); the
    /// path's unlinking remains the caller's affair.
    ///
    /// With a guard, clients have to pass it before they get in: the context's [`Zap`](super::Zap) judges.
    pub fn new(
        context: &Context,
        listener: OwnedFd,
        endpoint: &str,
        guard: Option<Guard<'_>>,
    ) -> Result<Self, NetError> {
        let mut socket = context.socket(zmq::ROUTER)?;
        let options = || {
            socket.set_router_mandatory(true)?;
            socket.set_sndhwm(HWM)?;
            socket.set_rcvhwm(HWM)?;
            socket.set_maxmsgsize(LARGEST_FRAME)
        };
        options().map_err(NetError::socket("setting options"))?;
        let listener = Listener::hand_over(&mut socket, listener, endpoint, guard)?;
        Ok(Self {
            port: PolledSocket::new(socket)?,
            listener,
            send_queue: SendQueue::new(LIMITS),
            counters: Counters::default(),
            is_guarded: guard.is_some(),
            last: None,
            awaited_until: None,
        })
    }

    /// For a router that takes the place of another: its clients have lost their connections and come back under the names
    /// that they have given themselves. For so long their answers wait for them.
    pub fn await_clients(&mut self, limit: Duration) {
        self.awaited_until = Some(Deadline::after(limit));
    }

    /// What is done with an answer now. libzmq names clients that have no name of their own; those names begin with a
    /// zero, and such a client never comes back under the same.
    fn transmit(&self, identity: &[u8], answer: &Answer) -> Sent {
        let is_awaited = self.awaited_until.is_some_and(|until| !until.passed());
        let (connection, name) = peer::named(identity);
        // Another client may have taken the name since, which may not be shown what this one asked for.
        if connection.is_some_and(|connection| !peer::is_open(connection)) && !is_awaited {
            return Sent::Gone;
        }
        let sent = transmit(&self.port, name, answer);
        let comes_back = || is_awaited && name.first().is_some_and(|byte| *byte != 0);
        if sent == Sent::Gone && comes_back() { Sent::Full } else { sent }
    }

    /// The endpoint as the kernel knows it: a port where 0 was asked for.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// The next request; `None` when there is none at the moment.
    pub fn recv(&mut self) -> Option<Incoming> {
        // libzmq delivers whole messages, so the frames after the first never keep us waiting.
        let (identity, mut more) = self.port.recv()?;
        let (mut heard, mut identity) = (false, identity.to_vec());
        let (mut delimiter, mut frames, mut payload) = (false, 0, None);
        while more {
            let Some((mut frame, others)) = self.port.recv() else { break };
            if self.is_guarded && !std::mem::replace(&mut heard, true) {
                peer::heard(&mut frame);
                identity = peer::name(peer::of_message(&mut frame), &identity);
            }
            if frames == 0 && !delimiter && frame.is_empty() && others {
                delimiter = true;
            } else {
                frames += 1;
                payload = Some(frame).filter(|_| frames == 1);
            }
            more = others;
        }
        let payload = match payload {
            Some(frame) => {
                let payload = Payload::Frame(frame.to_vec());
                self.last = Some(frame);
                payload
            }
            None => {
                self.counters.malformed += 1;
                Payload::Malformed { frames }
            }
        };
        Some(Incoming { identity, delimiter, payload })
    }

    /// The client whose request was received last, as libzmq knows it.
    pub fn peer(&mut self) -> Peer {
        self.last.as_mut().map(Peer::of).unwrap_or_default()
    }

    /// Sends an answer, now or when the queue of its client has room for it. One whose client has gone, or that is too
    /// many, is dropped and counted.
    pub fn send(&mut self, identity: &[u8], delimiter: bool, payload: Vec<u8>) {
        let answer = Answer { delimiter, payload };
        let sent = if self.send_queue.holds(identity) { Sent::Full } else { self.transmit(identity, &answer) };
        match sent {
            Sent::Done => {}
            Sent::Full => self.counters.overflowed += self.send_queue.push(identity, answer) as u64,
            Sent::Gone => self.counters.unroutable += 1,
        }
    }

    /// The number of answers that wait for their clients.
    pub fn pending(&self) -> usize {
        self.send_queue.len()
    }

    /// Tries again to send waiting answers; returns how many were sent. [`ready`](Self::ready) does it, too.
    pub fn retry(&mut self) -> usize {
        let mut queue = std::mem::replace(&mut self.send_queue, SendQueue::new(LIMITS));
        let progress = queue.retry(|identity, answer| self.transmit(identity, answer));
        self.send_queue = queue;
        self.counters.unroutable += progress.gone as u64;
        progress.sent + progress.gone
    }

    /// Reads all events, sends waiting answers, and returns whether there is a request to receive. After
    /// "no" the descriptor becomes readable when there is one; until something is received or sent, "no" costs nothing.
    pub fn ready(&mut self) -> bool {
        if self.port.is_armed() && self.pending() == 0 {
            return false;
        }
        let mut readable = self.port.readable();
        while self.pending() > 0 {
            let moved = self.retry();
            // Sending may have consumed an edge.
            readable = self.port.readable();
            if moved == 0 {
                break;
            }
        }
        readable
    }

    /// What was lost so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Waits until no answer waits any more, at most for `limit`; returns how many still do. For a daemon that is about to
    /// exit: no request is received meanwhile.
    pub fn flush(&mut self, limit: Duration) -> usize {
        let deadline = Deadline::after(limit);
        loop {
            self.ready();
            if self.pending() == 0 || deadline.passed() {
                return self.pending();
            }
            self.port.wait_for_news(deadline.sooner(RETRY_EVERY));
        }
    }

    /// Closes the router. What libzmq has taken it goes on sending for as long as `linger`: the context cannot be dropped
    /// before. With [`flush`](Self::flush) first, a last answer gets out.
    pub fn close(self, linger: Duration) {
        self.port.linger(linger);
    }
}

/// The listening descriptor, to be kept over a re-exec. It is no descriptor to poll.
impl AsFd for Router {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn transmit(port: &PolledSocket, identity: &[u8], answer: &Answer) -> Sent {
    if answer.delimiter {
        port.send(&[identity, b"", &answer.payload])
    } else {
        port.send(&[identity, &answer.payload])
    }
}

#[cfg(test)]
mod tests;
