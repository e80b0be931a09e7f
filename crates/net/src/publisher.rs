//! Events and figures, sent to the programs that subscribe to them.
//!
//! libzmq passes each subscription to this code. For circusd's events the empty subscription means what it means in
//! Circus, the events of watchers: the output of workers
//! ([`OUTPUT_TOPICS`](circus_core::proto::OUTPUT_TOPICS)) is for subscribers that name it, or following a chatty worker
//! would cost all others their events. And since the subscriptions are known, output and figures that nothing subscribes
//! to are not even made.
//!
//! A connection that subscribes to too much is ended: see [`LIMITS`] and docs/limits.md.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use circus_core::base::CollectOrdered as _;

use super::deadline::Deadline;
use super::held::HeldBytes;
use super::listener::Listener;
use super::option::{IntOption, set_option};
use super::readiness::{PolledSocket, registrable};
use super::subscriptions::{Added, Connection, Limits, Subscriptions};
use super::{Context, Guard, NetError, Peer, peer};

/// Events that wait for one subscriber. 5000 deaths in one turn are 10 000 events (`reap`, `spawn`), and this is twice
/// that.
///
/// What a subscriber that never reads costs: an event is two frames of 64 bytes in its queue, 2.6 MB at most, and about 200
/// bytes of contents, 4 MB at most, which all subscribers share; 4.7 MB were measured with bodies of 80 bytes. Beside it
/// there is what the kernel's buffers take. From then on it loses events, the others do not. Without a subscriber an event
/// costs a quarter of a microsecond.
const HWM: i32 = 20_000;

/// A body of this size is counted in bytes too: what workers print comes in such.
const LARGE: usize = 1 << 10;

/// So many bytes of large bodies may wait for all subscribers together. Beyond half of it a subscriber is watched, and
/// beyond all of it those are disconnected that have not caught up meanwhile; they come back, and ask for what they have
/// missed.
const MOST_HELD: usize = 64 << 20;

/// A subscriber has at least so long to catch up.
const CATCH_UP_TIME: Duration = Duration::from_secs(1);

/// The longest subscription that is accepted: its kind and the beginning of a topic. A subscriber that sends a longer one
/// is disconnected.
const LARGEST_FRAME: i64 = 1 << 10;

/// `circusctl tail` follows a thousand watchers with two subscriptions each.
const LIMITS: Limits = Limits { count: 4096, bytes: 256 << 10, total: 1 << 20 };

/// So many reports are put aside at most after a frame that is no subscription.
const KEPT_ASIDE: usize = 256;

/// Subscriptions of one connection that libzmq takes before it asks us about them. With more it would take up a flood
/// without end before we could look at the first.
const UNREAD: i32 = 1;

/// The same behind a guard, where libzmq 4.3.5 takes up none at all with a mark of 1.
const UNREAD_WITH_GUARD: i32 = 2;

/// So many connections are remembered before those that have ended are looked for.
const REMEMBERED: usize = 64;

/// An XPUB socket on a descriptor that was bound by the caller.
///
/// Register it with mio and call [`ready`](Self::ready) when it is readable: a subscriber gets nothing before.
pub struct Publisher {
    port: PolledSocket,
    listener: Listener,
    /// What an empty subscription stands for.
    everything: &'static [u8],
    subscriptions: Subscriptions,
    changes: Option<SubscriptionChanges>,
    /// How many connections are remembered when the ended ones are looked for next.
    look_at: usize,
    held: HeldBytes,
    /// Those that have not been seen up to date since much began to wait, and until when that is no fault.
    behind: Option<(Deadline, BTreeSet<Connection>)>,
    is_guarded: bool,
    /// How many were disconnected since they do not read.
    unread: u64,
    /// Which peer may subscribe to what; without one, all to everything.
    judge: Option<Judge>,
}

/// Whether a peer may subscribe to a prefix of topics. An empty one means everything.
pub type Judge = Box<dyn Fn(&Peer, &[u8]) -> bool>;

/// What has become of the subscriptions since the last call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionChanges {
    /// Prefixes that were subscribed to, each as often as it was.
    pub subscribed: Vec<Vec<u8>>,
    /// How many connections were ended because they subscribed to too much.
    pub ended: u64,
    /// Subscriptions that were refused, and from which peers.
    pub refused: Vec<(Peer, Vec<u8>)>,
}

registrable!(Publisher);

/// Reports that are not answered before libzmq's queue is empty.
#[derive(Default)]
struct Aside {
    reports: Vec<(bool, Vec<u8>, Option<Connection>, Peer)>,
    /// They are not all of one connection, or too many or too long to keep.
    is_mixed: bool,
    /// The connections of frames that are no subscriptions, and of reports that are not kept.
    others: BTreeSet<Connection>,
}

impl Aside {
    fn report(&mut self, wanted: bool, prefix: &[u8], from: Option<Connection>, sender: Peer) {
        let differs = from.is_none() || self.reports.first().is_some_and(|(_, _, other, _)| *other != from);
        self.is_mixed |= differs || self.reports.len() >= KEPT_ASIDE || prefix.len() > LIMITS.bytes;
        match from {
            // It is only to be ended, however much it sends.
            Some(from) if self.is_mixed => drop(self.others.insert(from)),
            _ => self.reports.push((wanted, prefix.to_vec(), from, sender)),
        }
    }
}

impl Publisher {
    /// A publisher of circusd's events, which accepts subscribers on `listener`. `endpoint` has the transport (and the
    /// path, for ipc); the path's unlinking remains the caller's affair.
    ///
    /// With a guard, subscribers have to pass it before they get in: the context's [`Zap`](super::Zap) judges.
    pub fn of_events(
        context: &Context,
        listener: OwnedFd,
        endpoint: &str,
        guard: Option<Guard<'_>>,
    ) -> Result<Self, NetError> {
        // Less than `watcher.`, so that a connection that holds both can give up either.
        Self::new(context, listener, endpoint, guard, b"watcher")
    }

    /// A publisher of figures, where a subscription to everything is one.
    pub fn of_figures(
        context: &Context,
        listener: OwnedFd,
        endpoint: &str,
        guard: Option<Guard<'_>>,
    ) -> Result<Self, NetError> {
        Self::new(context, listener, endpoint, guard, b"")
    }

    fn new(
        context: &Context,
        listener: OwnedFd,
        endpoint: &str,
        guard: Option<Guard<'_>>,
        everything: &'static [u8],
    ) -> Result<Self, NetError> {
        let mut socket = context.socket(zmq::XPUB)?;
        let options = || {
            socket.set_sndhwm(HWM)?;
            socket.set_rcvhwm(if guard.is_some() { UNREAD_WITH_GUARD } else { UNREAD })?;
            socket.set_maxmsgsize(LARGEST_FRAME)
        };
        options().map_err(NetError::socket("setting options"))?;
        set_option(&mut socket, IntOption::XpubManual, 1).map_err(NetError::socket("setting options"))?;
        let listener = Listener::hand_over(&mut socket, listener, endpoint, guard)?;
        Ok(Self {
            port: PolledSocket::new(socket)?,
            listener,
            everything,
            subscriptions: Subscriptions::new(LIMITS),
            changes: None,
            look_at: REMEMBERED,
            held: HeldBytes::default(),
            behind: None,
            is_guarded: guard.is_some(),
            unread: 0,
            judge: None,
        })
    }

    /// Asks `judge` about every subscription from now on, and about those that there are: a connection with one that is
    /// judged otherwise than before is ended. Its subscriber comes back, where it may, and is judged anew.
    pub fn judge_by(&mut self, judge: Option<Judge>) {
        self.ready();
        self.judge = judge;
        let judge = &self.judge;
        let allowed = |peer: &Peer, prefix: &[u8]| judge.as_ref().is_none_or(|judge| judge(peer, prefix));
        for connection in self.subscriptions.judged_otherwise(allowed) {
            self.end(connection);
        }
    }

    /// The endpoint as the kernel knows it: a port where 0 was asked for.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// Sends an event to every subscriber to a prefix of its topic. It never waits: a subscriber whose queue is full misses
    /// it.
    pub fn publish(&mut self, topic: &[u8], body: &[u8]) {
        self.publish_all([(topic, body)]);
    }

    /// Sends events as [`publish`](Self::publish) does, and looks for subscribers once for all of them.
    pub fn publish_all<T: AsRef<[u8]>, B: AsRef<[u8]>>(&mut self, events: impl IntoIterator<Item = (T, B)>) {
        let mut events = events.into_iter().peekable();
        if events.peek().is_some() {
            // A subscriber that has come by now gets it: a PUB socket would look too.
            self.ready();
        }
        for (topic, body) in events {
            let (topic, body) = (topic.as_ref(), body.as_ref());
            if body.len() < LARGE {
                // Like PUB it takes everything.
                let _sent = self.port.send(&[topic, body]);
            } else if self.has_room() {
                self.port.send_counted(topic, body, &self.held);
            }
        }
    }

    /// Whether a large body may be sent. Disconnects subscribers that do not read, when too much waits for them.
    fn has_room(&mut self) -> bool {
        let held = self.held.count();
        if held < MOST_HELD / 2 {
            self.behind = None;
            return true;
        }
        let all = || self.subscriptions.connections().into_iter().collect_set();
        let (until, behind) = self.behind.get_or_insert_with(|| (Deadline::after(CATCH_UP_TIME), all()));
        behind.retain(|connection| peer::unread(*connection) > 0);
        if held > MOST_HELD && until.passed() {
            for connection in std::mem::take(behind) {
                peer::disconnect(connection, self.listener.as_fd().as_raw_fd());
                self.subscriptions.forget(connection);
                self.unread += 1;
            }
            // libzmq gives the memory back in its own time.
            self.behind = None;
        }
        // While that takes effect, the subscribers miss what is printed.
        held <= 2 * MOST_HELD
    }

    /// How many subscribers were disconnected since the last call since they do not read.
    pub fn take_unread(&mut self) -> u64 {
        std::mem::take(&mut self.unread)
    }

    /// Takes note of subscribers that came or went.
    pub fn ready(&mut self) {
        // Draining does not re-arm ZMQ_FD; reading ZMQ_EVENTS does.
        while self.port.readable() {
            self.receive();
        }
    }

    /// The same, if a call since the last time may have consumed an edge.
    pub fn settle(&mut self) {
        if !self.port.is_armed() {
            self.ready();
        }
    }

    /// libzmq applies our answers to the connection of what it has just reported, but it queues the connections of
    /// subscriptions alone, and takes one out for every frame. So after a frame that is no subscription, the reports that
    /// follow in its queue are paired with the connections of later ones: an answer would reach another subscriber, past
    /// its role. These reports are put aside until the queue is empty. If all are of one connection, the answers reach that
    /// one; otherwise the connections are ended, and their subscribers come back.
    fn receive(&mut self) {
        let mut aside: Option<Aside> = None;
        while let Some((mut frame, mut more)) = self.port.recv() {
            let from = peer::of_message(&mut frame);
            if self.is_guarded {
                peer::heard(&mut frame);
            }
            let sender = if self.judge.is_some() { Peer::of(&mut frame) } else { Peer::default() };
            let report = frame.split_first().filter(|(kind, _)| matches!(kind, 0 | 1) && !more);
            match (report, &mut aside) {
                (Some((&kind, prefix)), None) => self.carry_out(kind == 1, prefix, from, sender),
                (Some((&kind, prefix)), Some(aside)) => aside.report(kind == 1, prefix, from, sender),
                (None, aside) => aside.get_or_insert_with(Aside::default).others.extend(from),
            }
            while more {
                let Some((_, others)) = self.port.recv() else { break };
                more = others;
            }
        }
        let Some(Aside { reports, is_mixed, others }) = aside else { return };
        if !is_mixed {
            for (wanted, prefix, from, sender) in reports {
                self.carry_out(wanted, &prefix, from, sender);
            }
            return;
        }
        for (wanted, prefix, from, sender) in reports {
            match from {
                Some(from) => self.end(from),
                // What libzmq reports of a connection that has ended needs no answer.
                None => self.carry_out(wanted, &prefix, from, sender),
            }
        }
        others.into_iter().for_each(|from| self.end(from));
    }

    fn end(&mut self, connection: Connection) {
        peer::disconnect(connection, self.listener.as_fd().as_raw_fd());
        self.subscriptions.forget(connection);
    }

    /// libzmq has just reported it, and applies the answer to the connection that it came from. It reports no connection
    /// where that has ended, and its subscriptions with it.
    fn carry_out(&mut self, wanted: bool, prefix: &[u8], from: Option<Connection>, sender: Peer) {
        let is_news = match (wanted, from) {
            (true, Some(from)) => return self.subscribe(prefix, from, sender),
            // Its connection ended before we looked.
            (true, None) => false,
            (false, Some(from)) => {
                let had = self.subscriptions.remove(from, prefix);
                if had {
                    self.port.route(false, self.route_of(prefix));
                }
                had
            }
            (false, None) => self.subscriptions.discount(prefix),
        };
        if is_news {
            self.changes.get_or_insert_default();
        }
    }

    /// One that is refused is counted like the others, since libzmq keeps it, and nothing is sent for it.
    fn subscribe(&mut self, prefix: &[u8], from: Connection, sender: Peer) {
        let allowed = self.judge.as_ref().is_none_or(|judge| judge(&sender, prefix));
        let added = self.subscriptions.add(from, prefix);
        if !allowed {
            self.changes.get_or_insert_default().refused.push((sender.clone(), prefix.to_vec()));
        }
        if self.judge.is_some() {
            self.subscriptions.remember(from, sender, prefix, allowed);
        }
        if let Added::TooMany(greediest) = added {
            self.end(greediest);
            self.changes.get_or_insert_default().ended += 1;
        }
        if allowed && added != Added::TooMany(from) {
            self.port.route(true, self.route_of(prefix));
            self.changes.get_or_insert_default().subscribed.push(prefix.to_vec());
        }
        self.forget_ended();
    }

    fn route_of<'p>(&self, prefix: &'p [u8]) -> &'p [u8] {
        if prefix.is_empty() { self.everything } else { prefix }
    }

    /// Now and then: what is remembered stays in proportion to what is connected.
    fn forget_ended(&mut self) {
        let connections = self.subscriptions.connections();
        if connections.len() < self.look_at {
            return;
        }
        for ended in connections.into_iter().filter(|connection| !peer::is_open(*connection)) {
            self.subscriptions.forget(ended);
        }
        self.look_at = REMEMBERED.max(2 * self.subscriptions.connections().len());
    }

    /// The prefixes of topics that are subscribed to, an empty one for everything.
    pub fn subscriptions(&self) -> impl Iterator<Item = &[u8]> {
        self.subscriptions.prefixes()
    }

    /// How many subscriptions there are, each connection's counted.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.held_by(|_| true)
    }

    /// The same without those of connections that have ended.
    pub fn standing_subscription_count(&self) -> usize {
        self.subscriptions.held_by(peer::is_open)
    }

    /// What became of the subscriptions since the last call, if anything.
    pub fn take_subscription_changes(&mut self) -> Option<SubscriptionChanges> {
        self.changes.take()
    }

    /// Closes the publisher. What libzmq has taken it goes on sending for as long as `linger`: the context cannot be
    /// dropped before.
    pub fn close(self, linger: Duration) {
        self.port.linger(linger);
    }
}

/// The listening descriptor, to be kept over a re-exec. It is no descriptor to poll.
impl AsFd for Publisher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::Subscriber;
    use crate::context::Transport;
    use crate::testing::{DEADLINE, TRANSPORTS, client, listener, publisher};

    /// Publishes until the subscriber is connected, and reads what it has got of that.
    fn meet(publisher: &mut Publisher, subscriber: &mut Subscriber) {
        let mut round = 0_u32;
        let arrived = loop {
            round += 1;
            publisher.publish(b"watcher.hello", &round.to_ne_bytes());
            if let Some((_, number)) = subscriber.recv(Duration::from_millis(5)) {
                break number;
            }
        };
        let mut last = u32::from_ne_bytes(arrived.try_into().unwrap());
        while last < round {
            let (_, number) = subscriber.recv(DEADLINE).unwrap();
            last = u32::from_ne_bytes(number.try_into().unwrap());
        }
    }

    /// A publisher, and a subscriber to everything that gets what is published from now on.
    fn met(transport: Transport) -> (Publisher, Subscriber, Context, TempDir) {
        let (mut publisher, context, folder) = publisher(transport);
        let mut subscriber = Subscriber::connect(&Context::new().unwrap(), publisher.endpoint(), None, &[""]).unwrap();
        meet(&mut publisher, &mut subscriber);
        (publisher, subscriber, context, folder)
    }

    /// A subscriber that stops reading: libzmq holds so much for it, and no more; the others are served all the while.
    #[test]
    fn large_bodies_for_a_subscriber_that_does_not_read_are_bounded() {
        for transport in TRANSPORTS {
            let (mut publisher, mut subscriber, _context, _folder) = met(transport);
            let other = zmq::Context::new();
            let deaf = other.socket(zmq::SUB).unwrap();
            deaf.set_rcvhwm(1).unwrap();
            deaf.set_subscribe(b"watcher").unwrap();
            deaf.connect(publisher.endpoint()).unwrap();
            let deadline = Deadline::after(DEADLINE);
            let body = vec![b'x'; 64 << 10];
            let mut most = 0;
            while publisher.take_unread() == 0 {
                assert!(!deadline.passed(), "{most} bytes wait, and nothing happens");
                publisher.publish(b"watcher.w.large", &body);
                most = most.max(publisher.held.count());
                // This one reads.
                while subscriber.try_recv().is_some() {}
            }
            assert!(most > MOST_HELD && most <= 2 * MOST_HELD + body.len(), "{most}");
            while publisher.held.count() > MOST_HELD / 2 {
                assert!(!deadline.passed(), "{} bytes are never freed", publisher.held.count());
                publisher.ready();
                while subscriber.recv(Duration::from_millis(1)).is_some() {}
            }
            publisher.publish(b"watcher.w.last", b"");
            while subscriber.recv(DEADLINE).unwrap().0 != b"watcher.w.last" {}
        }
    }

    fn burst(publisher: &mut Publisher, count: u32, body: &[u8]) {
        (0..count).for_each(|number| publisher.publish(format!("watcher.w.{number}").as_bytes(), body));
    }

    fn read(subscriber: &mut Subscriber, count: u32) {
        for number in 0..count {
            let (topic, _) =
                subscriber.recv(DEADLINE).unwrap_or_else(|| panic!("event {number} of {count} is missing"));
            assert_eq!(topic, format!("watcher.w.{number}").as_bytes());
        }
    }

    #[test]
    fn a_burst_reaches_a_subscriber_that_reads() {
        for transport in TRANSPORTS {
            let (mut publisher, mut subscriber, _context, _folder) = met(transport);
            burst(&mut publisher, 10_000, &[b'x'; 100]);
            read(&mut subscriber, 10_000);
        }
    }

    #[test]
    fn events_that_are_sent_together_arrive_in_order() {
        for transport in TRANSPORTS {
            let (mut publisher, mut subscriber, _context, _folder) = met(transport);
            let event = |number| (format!("watcher.w.{number}").into_bytes(), b"{}".to_vec());
            publisher.publish_all((0..100).map(event));
            read(&mut subscriber, 100);
        }
    }

    #[test]
    fn who_has_subscribed_by_now_gets_it_and_settling_looks_only_where_something_was_done() {
        let (mut publisher, _context, _folder) = publisher(TRANSPORTS[0]);
        publisher.ready();
        let mut subscriber = Subscriber::connect(&Context::new().unwrap(), publisher.endpoint(), None, &[""]).unwrap();
        // Its coming is known when there is a subscription to receive, which is not taken up.
        assert!(publisher.port.wait(Deadline::after(DEADLINE)));
        publisher.settle();
        assert_eq!(publisher.subscriptions().count(), 0, "nothing was done since the last look");
        publisher.publish_all([(b"watcher.w.0".to_vec(), b"{}".to_vec())]);
        assert_eq!(publisher.subscriptions().count(), 1);
        read(&mut subscriber, 1);
    }

    #[test]
    fn a_subscriber_that_never_reads_costs_a_bounded_amount_and_harms_nobody() {
        let (mut publisher, _context, _folder) = publisher(TRANSPORTS[0]);
        let others = Context::new().unwrap();
        let deaf = others.socket(zmq::SUB).unwrap();
        deaf.set_rcvhwm(1).unwrap();
        deaf.set_subscribe(b"").unwrap();
        deaf.connect(publisher.endpoint()).unwrap();
        let mut subscriber = Subscriber::connect(&others, publisher.endpoint(), None, &[""]).unwrap();
        meet(&mut publisher, &mut subscriber);
        let before = resident_bytes();
        for _ in 0..40 {
            burst(&mut publisher, 10_000, &[b'x'; 1000]);
            read(&mut subscriber, 10_000);
        }
        // 400 MB passed. Other tests run beside this one.
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 200 << 20, "{} MB more", grown >> 20);
    }

    /// Waits until the subscriptions are these.
    fn expect(publisher: &mut Publisher, poll: &mut mio::Poll, wanted: &[&str]) {
        let mut events = mio::Events::with_capacity(4);
        loop {
            publisher.ready();
            let there: Vec<&[u8]> = publisher.subscriptions().collect();
            if there == wanted.iter().map(|prefix| prefix.as_bytes()).collect::<Vec<_>>() {
                return;
            }
            poll.poll(&mut events, Some(DEADLINE)).unwrap();
            assert!(!events.is_empty(), "no event came; there are {there:?}");
        }
    }

    #[test]
    fn who_subscribes_to_everything_gets_watchers_events_and_who_names_output_gets_output() {
        for transport in TRANSPORTS {
            let (mut publisher, _context, _folder) = publisher(transport);
            let mut poll = mio::Poll::new().unwrap();
            poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
            let others = Context::new().unwrap();
            let mut everything = Subscriber::connect(&others, publisher.endpoint(), None, &[""]).unwrap();
            let mut output = Subscriber::connect(&others, publisher.endpoint(), None, &["output.w."]).unwrap();
            let both = Subscriber::connect(&others, publisher.endpoint(), None, &["output.w.", "watcher."]).unwrap();
            expect(&mut publisher, &mut poll, &["", "output.w.", "watcher."]);
            let mut news = publisher.take_subscription_changes().unwrap().subscribed;
            news.sort();
            assert_eq!(news, [&b""[..], b"output.w.", b"output.w.", b"watcher."]);
            drop(both);
            expect(&mut publisher, &mut poll, &["", "output.w."]);
            assert_eq!(
                publisher.take_subscription_changes(),
                Some(SubscriptionChanges::default()),
                "a subscriber has gone"
            );
            publisher.publish(b"output.w.stdout", b"a");
            publisher.publish(b"watcher.w.spawn", b"b");
            assert_eq!(everything.recv(DEADLINE), Some((b"watcher.w.spawn".to_vec(), b"b".to_vec())));
            assert_eq!(output.recv(DEADLINE), Some((b"output.w.stdout".to_vec(), b"a".to_vec())));
            drop(output);
            expect(&mut publisher, &mut poll, &[""]);
            publisher.publish(b"watcher.w.reap", b"c");
            assert_eq!(everything.recv(DEADLINE), Some((b"watcher.w.reap".to_vec(), b"c".to_vec())));
        }
    }

    #[test]
    fn what_is_no_subscription_disturbs_nobody() {
        let (mut publisher, _context, _folder) = publisher(TRANSPORTS[0]);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
        let others = Context::new().unwrap();
        let rogue = client(&others, zmq::XSUB, publisher.endpoint());
        for frame in [&b""[..], b"\x02", b"chatter", b"\x00watcher.", b"\x00", b"\x01end"] {
            rogue.send(frame, 0).unwrap();
        }
        expect(&mut publisher, &mut poll, &["end"]);
        let mut subscriber = Subscriber::connect(&others, publisher.endpoint(), None, &["watcher."]).unwrap();
        expect(&mut publisher, &mut poll, &["end", "watcher."]);
        publisher.publish(b"watcher.w.spawn", b"{}");
        assert!(subscriber.recv(DEADLINE).is_some());
    }

    #[test]
    fn no_subscription_is_applied_to_another_connection() {
        let (mut publisher, _context, _folder) = publisher(TRANSPORTS[0]);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
        let others = Context::new().unwrap();
        let chatterer = client(&others, zmq::XSUB, publisher.endpoint());
        let thief = client(&others, zmq::XSUB, publisher.endpoint());
        let owner = client(&others, zmq::XSUB, publisher.endpoint());
        thief.send(&b"\x01end"[..], 0).unwrap();
        owner.send(&b"\x01begin"[..], 0).unwrap();
        expect(&mut publisher, &mut poll, &["begin", "end"]);
        for round in 0..100 {
            let topic = format!("secret.{round}.");
            chatterer.send(&b"chatter"[..], 0).unwrap();
            owner.send([b"\x01", topic.as_bytes()].concat(), 0).unwrap();
            thief.send(format!("\x01own.{round}.").as_bytes(), 0).unwrap();
            // All of this is queued before the publisher looks, where the other threads are quick enough.
            let deadline = Deadline::after(Duration::from_millis(20));
            while !deadline.passed() {
                std::thread::yield_now();
            }
            publisher.publish(topic.as_bytes(), b"of the owner alone");
            // What the thief gets ends with an event of its own topic.
            publisher.publish(b"end", topic.as_bytes());
            let mut events = mio::Events::with_capacity(4);
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            while let Ok(event) = thief.recv_multipart(zmq::DONTWAIT) {
                assert!(!event[0].starts_with(b"secret."), "round {round}: {event:?}");
            }
        }
        // A subscriber that was ended comes back with what it has subscribed to.
        loop {
            publisher.ready();
            publisher.publish(b"secret.99.", b"");
            if owner.poll(zmq::POLLIN, 100).unwrap() > 0 && owner.recv_multipart(0).unwrap()[0] == b"secret.99." {
                break;
            }
        }
    }

    /// A subscriber to ever more topics, which ends when its connection does or when it has sent all.
    fn flood(endpoint: &str, count: u32, topic: impl Fn(u32) -> Vec<u8>) -> zmq::Socket {
        let rogue = client(&Context::new().unwrap(), zmq::XSUB, endpoint);
        rogue.set_sndhwm(0).unwrap();
        for number in 0..count {
            rogue.send([&b"\x01"[..], &topic(number)].concat(), 0).unwrap();
        }
        rogue
    }

    #[test]
    fn connection_that_subscribes_to_too_much_is_ended_and_costs_little() {
        for transport in TRANSPORTS {
            let (mut publisher, mut subscriber, _context, _folder) = met(transport);
            let mut poll = mio::Poll::new().unwrap();
            poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
            let before = resident_bytes();
            let rogue = flood(publisher.endpoint(), 20_000, |number| format!("{number:0>200}").into_bytes());
            let mut events = mio::Events::with_capacity(4);
            let mut ended = 0;
            while ended == 0 {
                poll.poll(&mut events, Some(DEADLINE)).unwrap();
                assert!(!events.is_empty(), "no subscription came");
                publisher.ready();
                ended += publisher.take_subscription_changes().unwrap_or_default().ended;
                let held = publisher.subscriptions().count();
                assert!(held <= LIMITS.count + 200, "{held}");
            }
            // 20 000 of them would be 250 MB. Other tests run beside this one.
            let grown = resident_bytes().saturating_sub(before);
            assert!(grown < 100 << 20, "{} MB more", grown >> 20);
            drop(rogue);
            publisher.publish(b"watcher.w.0", b"");
            read(&mut subscriber, 1);
            // The subscriptions of the connection end with it.
            expect(&mut publisher, &mut poll, &[""]);
        }
    }

    #[test]
    fn long_subscription_ends_its_connection() {
        let (mut publisher, _subscriber, _context, _folder) = met(TRANSPORTS[0]);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
        let rogue = flood(publisher.endpoint(), 1, |_| b"first".to_vec());
        expect(&mut publisher, &mut poll, &["", "first"]);
        // It connects again, without what it has sent by itself.
        rogue.send([b"\x01".to_vec(), vec![b'x'; 2000]].concat(), 0).unwrap();
        expect(&mut publisher, &mut poll, &[""]);
    }

    #[test]
    fn nothing_can_be_given_up_for_another_connection() {
        let (mut publisher, _context, _folder) = publisher(TRANSPORTS[0]);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
        let others = Context::new().unwrap();
        let _subscriber = Subscriber::connect(&others, publisher.endpoint(), None, &["watcher."]).unwrap();
        expect(&mut publisher, &mut poll, &["watcher."]);
        let rogue = client(&others, zmq::XSUB, publisher.endpoint());
        for frame in [&b"\x00watcher."[..], b"\x01watcher.", b"\x01watcher.", b"\x01end"] {
            rogue.send(frame, 0).unwrap();
        }
        expect(&mut publisher, &mut poll, &["end", "watcher."]);
        drop(rogue);
        expect(&mut publisher, &mut poll, &["watcher."]);
        assert_eq!(publisher.subscriptions.counts_of(b"watcher."), 1);
    }

    #[test]
    fn everything_of_figures_is_everything() {
        for transport in TRANSPORTS {
            let (listener, endpoint, _folder) = listener(transport);
            let context = Context::new().unwrap();
            let mut publisher = Publisher::of_figures(&context, listener, &endpoint, None).unwrap();
            let mut poll = mio::Poll::new().unwrap();
            poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
            let others = Context::new().unwrap();
            let mut one = Subscriber::connect(&others, publisher.endpoint(), None, &[""]).unwrap();
            let mut two = Subscriber::connect(&others, publisher.endpoint(), None, &["stat."]).unwrap();
            expect(&mut publisher, &mut poll, &["", "stat."]);
            publisher.publish(b"msgpack:stat.w", b"1");
            publisher.publish(b"stat.w", b"2");
            assert_eq!(one.recv(DEADLINE), Some((b"msgpack:stat.w".to_vec(), b"1".to_vec())));
            assert_eq!(two.recv(DEADLINE), Some((b"stat.w".to_vec(), b"2".to_vec())));
            drop((one, two));
            expect(&mut publisher, &mut poll, &[]);
        }
    }

    #[test]
    fn the_last_event_gets_out() {
        let (mut publisher, mut subscriber, context, _folder) = met(TRANSPORTS[1]);
        burst(&mut publisher, 1000, b"{}");
        publisher.close(DEADLINE);
        drop(context);
        read(&mut subscriber, 1000);
    }

    #[test]
    fn subscribers_that_come_and_go_leave_nothing_behind() {
        let (mut publisher, _context, _folder) = publisher(TRANSPORTS[0]);
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(&mut publisher, mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut events = mio::Events::with_capacity(4);
        for _ in 0..50 {
            let others = Context::new().unwrap();
            let subscriber = client(&others, zmq::SUB, publisher.endpoint());
            subscriber.set_subscribe(b"").unwrap();
            poll.poll(&mut events, Some(DEADLINE)).unwrap();
            assert!(!events.is_empty(), "no event of a subscriber came");
            publisher.ready();
        }
    }

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
}
