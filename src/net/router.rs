//! The daemon's side of the control protocol: many clients, each request answered to its sender.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::backlog::{Answer, Backlog, Limits};
use super::deadline::Deadline;
use super::listener::Listener;
use super::readiness::{Port, Sent, registrable};
use super::{Context, NetError};

/// How often [`Router::retry`] is to be called while [`Router::pending`] is not zero: libzmq's news that one client has
/// room again can get lost while another is tried.
pub const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Messages that libzmq itself holds for one client, in each direction. It counts messages, not bytes, so this is low; the
/// rest of what a client has not read is in the backlog, and the rest of what it has sent stays with the client.
const MARK: i32 = 256;

/// The largest frame that is accepted. A client that sends a larger one is disconnected.
const LARGEST_FRAME: i64 = 16 << 20;

/// 5000 requests that one client pipelines are answered though it reads nothing meanwhile: there is room for three
/// kilobytes each.
const LIMITS: Limits = Limits { client: 16 << 20, total: 64 << 20 };

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The connection's name, to which the answer goes.
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
pub struct Tally {
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
    port: Port,
    listener: Listener,
    backlog: Backlog,
    tally: Tally,
}

registrable!(Router);

impl Router {
    /// A router that accepts connections on `listener`. `endpoint` tells the transport (and the path, for ipc); the
    /// path's unlinking remains the caller's affair.
    pub fn new(context: &Context, listener: OwnedFd, endpoint: &str) -> Result<Self, NetError> {
        let mut socket = context.socket(zmq::ROUTER)?;
        let options = || {
            socket.set_router_mandatory(true)?;
            socket.set_sndhwm(MARK)?;
            socket.set_rcvhwm(MARK)?;
            socket.set_maxmsgsize(LARGEST_FRAME)
        };
        options().map_err(NetError::socket("setting options"))?;
        let listener = Listener::hand_over(&mut socket, listener, endpoint)?;
        Ok(Self { port: Port::new(socket)?, listener, backlog: Backlog::new(LIMITS), tally: Tally::default() })
    }

    /// The endpoint as the kernel knows it: a port where 0 was asked for.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// The next request; `None` when there is none at the moment.
    pub fn recv(&mut self) -> Option<Incoming> {
        // libzmq delivers whole messages, so the frames after the first never keep us waiting.
        let (identity, mut more) = self.port.recv()?;
        let (mut delimiter, mut frames, mut payload) = (false, 0, None);
        while more {
            let Some((frame, others)) = self.port.recv() else { break };
            if frames == 0 && !delimiter && frame.is_empty() && others {
                delimiter = true;
            } else {
                frames += 1;
                payload = Some(frame).filter(|_| frames == 1);
            }
            more = others;
        }
        let payload = match payload {
            Some(frame) => Payload::Frame(frame.to_vec()),
            None => {
                self.tally.malformed += 1;
                Payload::Malformed { frames }
            }
        };
        Some(Incoming { identity: identity.to_vec(), delimiter, payload })
    }

    /// Sends an answer, now or when its client has room for it. One whose client has gone, or that is too many, is
    /// dropped and counted.
    pub fn send(&mut self, identity: &[u8], delimiter: bool, payload: Vec<u8>) {
        let answer = Answer { delimiter, payload };
        let sent = if self.backlog.holds(identity) { Sent::Full } else { transmit(&self.port, identity, &answer) };
        match sent {
            Sent::Done => {}
            Sent::Full => self.tally.overflowed += self.backlog.push(identity, answer) as u64,
            Sent::Gone => self.tally.unroutable += 1,
        }
    }

    /// The number of answers that wait for their clients.
    pub fn pending(&self) -> usize {
        self.backlog.len()
    }

    /// Tries again to send what waits, and tells how many answers left. [`ready`](Self::ready) does it, too.
    pub fn retry(&mut self) -> usize {
        let port = &self.port;
        let progress = self.backlog.retry(|identity, answer| transmit(port, identity, answer));
        self.tally.unroutable += progress.gone as u64;
        progress.sent + progress.gone
    }

    /// Takes note of all news, sends what can be sent of what waits, and tells whether there is a request to receive. After
    /// "no" the descriptor tells when there is one.
    pub fn ready(&mut self) -> bool {
        let mut readable = self.port.readable();
        while self.pending() > 0 {
            let moved = self.retry();
            // Sending may have eaten an edge.
            readable = self.port.readable();
            if moved == 0 {
                break;
            }
        }
        readable
    }

    /// What was lost so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Waits until no answer waits any more, at most for `limit`; tells how many still do. For a daemon that is about to
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
        self.port.close(linger);
    }
}

/// The listening descriptor, for whoever keeps it over a re-exec. It is no descriptor to poll.
impl AsFd for Router {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn transmit(port: &Port, identity: &[u8], answer: &Answer) -> Sent {
    if answer.delimiter {
        port.send(&[identity, b"", &answer.payload])
    } else {
        port.send(&[identity, &answer.payload])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{PATIENCE, TRANSPORTS, client, echo, router, serve};

    fn ask(socket: &zmq::Socket, text: &str) -> Vec<u8> {
        socket.send(text, 0).unwrap();
        socket.recv_bytes(0).unwrap()
    }

    /// Sends `count` numbered requests, then reads as many answers.
    fn pipeline(socket: &zmq::Socket, count: u32) {
        for number in 0..count {
            socket.send(&number.to_be_bytes()[..], 0).unwrap();
        }
        for number in 0..count {
            let answer = socket.recv_bytes(0).unwrap_or_else(|_| panic!("answer {number} of {count} is missing"));
            assert_eq!(answer, number.to_be_bytes());
        }
    }

    #[test]
    fn five_thousand_pipelined_requests_get_five_thousand_answers() {
        for transport in TRANSPORTS {
            let server = echo(transport);
            let context = Context::new().unwrap();
            pipeline(&client(&context, zmq::DEALER, server.endpoint()), 5000);
            assert_eq!(server.stop().tally(), Tally::default());
        }
    }

    #[test]
    fn large_answers_wait_until_their_client_reads() {
        const SIZE: usize = 3000;
        let server = serve(TRANSPORTS[0], |request, router| router.send(&request.identity, false, vec![0; SIZE]));
        let context = Context::new().unwrap();
        let slow = client(&context, zmq::DEALER, server.endpoint());
        (0..5000).for_each(|_| slow.send("x", 0).unwrap());
        // Everything is answered, as far as the daemon can: one who comes later is told so.
        ask(&client(&context, zmq::DEALER, server.endpoint()), "later");
        (0..5000).for_each(|_| assert_eq!(slow.recv_bytes(0).unwrap().len(), SIZE));
        assert_eq!(server.stop().tally(), Tally::default());
    }

    #[test]
    fn eight_clients_are_served_side_by_side() {
        let server = echo(TRANSPORTS[1]);
        let context = Context::new().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| pipeline(&client(&context, zmq::DEALER, server.endpoint()), 1000));
            }
        });
        assert_eq!(server.stop().tally(), Tally::default());
    }

    #[test]
    fn a_req_client_gets_its_delimiter_back() {
        let server = echo(TRANSPORTS[0]);
        let context = Context::new().unwrap();
        let socket = client(&context, zmq::REQ, server.endpoint());
        assert_eq!(ask(&socket, "one"), b"one");
        assert_eq!(ask(&socket, ""), b"");
    }

    #[test]
    fn messages_of_another_shape_are_counted_and_harm_nobody() {
        let (told, heard) = std::sync::mpsc::channel();
        let server = serve(TRANSPORTS[0], move |request, _| told.send((request.delimiter, request.payload)).unwrap());
        let context = Context::new().unwrap();
        let socket = client(&context, zmq::DEALER, server.endpoint());
        let frame = |text: &[u8]| Payload::Frame(text.to_vec());
        for (message, delimiter, payload) in [
            (vec!["a"], false, frame(b"a")),
            (vec![""], false, frame(b"")),
            (vec!["", "a"], true, frame(b"a")),
            (vec!["", ""], true, frame(b"")),
            (vec!["a", "b"], false, Payload::Malformed { frames: 2 }),
            (vec!["a", ""], false, Payload::Malformed { frames: 2 }),
            (vec!["", "a", "b"], true, Payload::Malformed { frames: 2 }),
            (vec!["", "", "a"], true, Payload::Malformed { frames: 2 }),
            (vec!["a"; 1000], false, Payload::Malformed { frames: 1000 }),
        ] {
            socket.send_multipart(message, 0).unwrap();
            assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), (delimiter, payload));
        }
        assert_eq!(server.stop().tally().malformed, 5);
    }

    #[test]
    fn a_frame_beyond_the_limit_costs_its_sender_the_connection_and_nobody_else() {
        let server = echo(TRANSPORTS[0]);
        let context = Context::new().unwrap();
        let socket = client(&context, zmq::DEALER, server.endpoint());
        assert_eq!(ask(&socket, "before"), b"before");
        let large = vec![b'x'; LARGEST_FRAME as usize];
        socket.send(&large[..], 0).unwrap();
        assert!(socket.recv_bytes(0).unwrap() == large);
        socket.send(vec![b'x'; LARGEST_FRAME as usize + 1], 0).unwrap();
        assert_eq!(ask(&client(&context, zmq::DEALER, server.endpoint()), "after"), b"after");
    }

    #[test]
    fn a_client_that_never_reads_costs_a_bounded_amount_and_harms_nobody() {
        const SIZE: usize = 64 << 10;
        let server = serve(TRANSPORTS[0], |request, router| router.send(&request.identity, false, vec![0; SIZE]));
        let context = Context::new().unwrap();
        let deaf = context.socket(zmq::DEALER).unwrap();
        deaf.set_rcvhwm(1).unwrap();
        deaf.connect(server.endpoint()).unwrap();
        let other = client(&context, zmq::DEALER, server.endpoint());
        for _ in 0..2000 {
            deaf.send("x", 0).unwrap();
            assert_eq!(ask(&other, "x").len(), SIZE);
        }
        let router = server.stop();
        assert!(router.pending() > 0 && router.pending() * SIZE <= LIMITS.client, "{} wait", router.pending());
        assert!(router.tally().overflowed > 0);
    }

    #[test]
    fn the_answers_of_a_client_that_vanishes_are_dropped() {
        let (mut router, context, _folder) = router(TRANSPORTS[0]);
        let deaf = context.socket(zmq::DEALER).unwrap();
        deaf.set_rcvhwm(1).unwrap();
        deaf.connect(router.endpoint()).unwrap();
        deaf.send("hello", 0).unwrap();
        assert!(router.port.wait(Deadline::after(PATIENCE)));
        let request = router.recv().unwrap();
        while router.pending() < 10 {
            router.send(&request.identity, false, vec![0; 64 << 10]);
        }
        drop(deaf);
        let deadline = Deadline::after(PATIENCE);
        while router.pending() > 0 && !deadline.passed() {
            router.port.wait_for_news(deadline.sooner(RETRY_EVERY));
            router.ready();
        }
        assert_eq!((router.pending(), router.tally().overflowed), (0, 0));
        assert!(router.tally().unroutable >= 10);
        router.send(&request.identity, false, b"too late".to_vec());
        router.send(b"never heard of", false, b"nobody".to_vec());
        assert_eq!(router.pending(), 0);
    }

    #[test]
    fn the_last_answer_gets_out() {
        for transport in TRANSPORTS {
            for _ in 0..20 {
                let (mut router, context, _folder) = router(transport);
                let others = Context::new().unwrap();
                let socket = client(&others, zmq::DEALER, router.endpoint());
                socket.send("quit", 0).unwrap();
                assert!(router.port.wait(Deadline::after(PATIENCE)));
                let request = router.recv().unwrap();
                let reader =
                    std::thread::spawn(move || (0..1000).map(|_| socket.recv_bytes(0).unwrap().len()).sum::<usize>());
                (0..1000).for_each(|_| router.send(&request.identity, false, vec![0; 5000]));
                assert_eq!(router.flush(PATIENCE), 0);
                router.close(PATIENCE);
                drop(context);
                assert_eq!(reader.join().unwrap(), 5_000_000);
            }
        }
    }

    #[test]
    fn a_flush_gives_up_on_a_client_that_does_not_read() {
        let (mut router, context, _folder) = router(TRANSPORTS[0]);
        let deaf = client(&context, zmq::DEALER, router.endpoint());
        deaf.send("quit", 0).unwrap();
        assert!(router.port.wait(Deadline::after(PATIENCE)));
        let request = router.recv().unwrap();
        // More than the client's 1000, the kernel's buffers and libzmq's 256 hold.
        (0..2000).for_each(|_| router.send(&request.identity, false, vec![0; 5000]));
        assert!(router.flush(Duration::from_millis(1)) > 0);
    }

    #[test]
    fn a_send_may_eat_the_edge_and_ready_still_tells() {
        let (mut router, context, _folder) = router(TRANSPORTS[0]);
        let socket = client(&context, zmq::DEALER, router.endpoint());
        socket.send("one", 0).unwrap();
        assert!(router.port.wait(Deadline::after(PATIENCE)));
        assert!(router.recv().is_some() && router.recv().is_none() && !router.ready());
        socket.send("two", 0).unwrap();
        assert!(router.port.wait_for_news(Deadline::after(PATIENCE)));
        // libzmq looks at its commands in a send only now and then.
        let deadline = Deadline::after(PATIENCE);
        while router.port.wait_for_news(Deadline::after(Duration::ZERO)) {
            assert!(!deadline.passed(), "no send took the edge: the test has lost its point");
            router.send(b"nobody", false, Vec::new());
        }
        // A loop that trusts the descriptor would now sleep on a request.
        assert!(router.ready());
        assert_eq!(router.recv().unwrap().payload, Payload::Frame(b"two".to_vec()));
    }

    #[test]
    fn a_turn_that_ends_early_leaves_no_edge_and_ready_still_tells() {
        let (mut router, context, _folder) = router(TRANSPORTS[1]);
        let socket = client(&context, zmq::DEALER, router.endpoint());
        ["one", "two", "three"].map(|text| socket.send(text, 0).unwrap());
        for left in (0..3).rev() {
            assert!(router.port.wait(Deadline::after(PATIENCE)));
            assert!(router.recv().is_some());
            assert_eq!(router.port.wait(Deadline::after(if left > 0 { PATIENCE } else { Duration::ZERO })), left > 0);
            assert!(!router.port.wait_for_news(Deadline::after(Duration::ZERO)));
            assert_eq!(router.ready(), left > 0);
        }
    }

    #[test]
    fn signals_interrupt_nothing() {
        use nix::sys::pthread::{pthread_kill, pthread_self};
        use nix::sys::signal::Signal;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::sync::{Arc, mpsc};

        let seen = Arc::new(AtomicBool::new(false));
        let handler = signal_hook::flag::register(signal_hook::consts::SIGCHLD, seen).unwrap();
        let (tell, told) = mpsc::channel();
        let mut tell = Some(tell);
        let server = serve(TRANSPORTS[0], move |request, router| {
            if let Some(tell) = tell.take() {
                tell.send(pthread_self()).unwrap();
            }
            router.send(&request.identity, false, b"answer".to_vec());
        });
        let context = Context::new().unwrap();
        let socket = client(&context, zmq::DEALER, server.endpoint());
        ask(&socket, "which thread are you?");
        let thread = told.recv().unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    pthread_kill(thread, Signal::SIGCHLD).unwrap();
                }
            });
            for _ in 0..20 {
                (0..500).for_each(|_| socket.send("x", 0).unwrap());
                (0..500).for_each(|_| assert_eq!(socket.recv_bytes(0).unwrap(), b"answer"));
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(server.stop().tally(), Tally::default());
        signal_hook::low_level::unregister(handler);
    }
}
