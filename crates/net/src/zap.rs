//! The handler of ZAP (ZeroMQ RFC 27): libzmq asks it about each client that has proved to hold a key, or that has
//! connected where the user counts.

use std::fmt;

use circus_core::access::{LocalPeer, PublicKey};

use super::readiness::{PolledSocket, registrable};
use super::{Context, NetError, guard};

/// Where libzmq looks for the handler, in its own process.
const ADDRESS: &str = "inproc://zeromq.zap.01";

/// The name of the property by which messages tell the key of their connection. The name of its holder would not do:
/// it may have got another key since.
pub(super) const KEY_PROPERTY: &str = "Circus-Key";

/// The same of the process at the other end. libzmq takes the properties of the handler before those of the client, so
/// that a client can set neither.
pub(super) const PROCESS_PROPERTY: &str = "Circus-Process";

/// Questions of one call of [`Zap::answer`]: a flood of clients does not keep those waiting that are in.
const QUESTIONS_A_TURN: usize = 8;

/// A client that wants to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// It holds a key.
    Key {
        /// The key.
        key: PublicKey,
        /// Where it comes from.
        address: String,
    },
    /// It is a process of this machine.
    Process(LocalPeer),
}

impl Candidate {
    /// Reads a question: version, request, domain, address, identity, mechanism, credentials. `None` where it is none of
    /// those that have an answer but no.
    pub fn from_frames(frames: &[Vec<u8>]) -> Option<Self> {
        let [version, _request, domain, address, _identity, mechanism, credentials @ ..] = frames else { return None };
        let address = String::from_utf8_lossy(address);
        match (version.as_slice(), domain.as_slice(), mechanism.as_slice(), credentials) {
            (b"1.0", domain, b"CURVE", [key]) if domain == guard::KEYS.as_bytes() => {
                let key = PublicKey::from_bytes(key.as_slice().try_into().ok()?);
                Some(Self::Key { key, address: address.into_owned() })
            }
            (b"1.0", domain, b"NULL", []) if domain == guard::USERS.as_bytes() => {
                LocalPeer::parse(&address).map(Self::Process)
            }
            _ => None,
        }
    }

    /// The key that it holds, in Z85.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Key { key, .. } => Some(key.to_string()),
            Self::Process(_) => None,
        }
    }

    /// The process that it is.
    pub fn process(&self) -> Option<LocalPeer> {
        match self {
            Self::Key { .. } => None,
            Self::Process(process) => Some(*process),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { key, address } => write!(f, "{address} with key {key}"),
            Self::Process(process) => write!(f, "uid {}, pid {}", process.uid, process.pid),
        }
    }
}

/// The handler. The sockets of its context that ask for keys let no client in without it. Register it with mio; when it
/// is readable, call [`answer`](Self::answer).
pub struct Zap {
    port: PolledSocket,
}

registrable!(Zap);

impl Zap {
    /// The handler of this context, which can have one.
    pub fn new(context: &Context) -> Result<Self, NetError> {
        let socket = context.socket(zmq::REP)?;
        socket.bind(ADDRESS).map_err(NetError::socket("binding the handler of ZAP"))?;
        Ok(Self { port: PolledSocket::new(socket)? })
    }

    /// Whether questions may wait although the descriptor says nothing.
    pub fn ready(&mut self) -> bool {
        !self.port.is_armed() && self.port.readable()
    }

    /// Answers questions: a client gets in under the name that `judge` has for it. Whether more questions wait.
    pub fn answer(&mut self, mut judge: impl FnMut(&Candidate) -> Option<String>) -> bool {
        for _ in 0..QUESTIONS_A_TURN {
            if !self.port.readable() {
                return false;
            }
            let Some((first, mut more)) = self.port.recv() else { return false };
            let mut frames = vec![first.to_vec()];
            while more {
                let Some((frame, others)) = self.port.recv() else { break };
                frames.push(frame.to_vec());
                more = others;
            }
            let request = frames.get(1).map(Vec::as_slice).unwrap_or_default();
            let candidate = Candidate::from_frames(&frames);
            let name = candidate.as_ref().and_then(&mut judge);
            let answer = match (&candidate, name) {
                (Some(candidate), Some(name)) => {
                    let properties = match candidate {
                        Candidate::Key { key, .. } => property(KEY_PROPERTY, &key.to_string()),
                        Candidate::Process(process) => property(PROCESS_PROPERTY, &process.to_string()),
                    };
                    self.port.send(&[b"1.0", request, b"200", b"OK", name.as_bytes(), &properties])
                }
                _ => self.port.send(&[b"1.0", request, b"400", b"refused", b"", b""]),
            };
            // Where its asker has gone, there is nothing to say.
            let _sent = answer;
        }
        self.port.readable()
    }
}

/// A property as ZMTP has it (ZeroMQ RFC 23).
fn property(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.extend((value.len() as u32).to_be_bytes());
    bytes.extend(value.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::context::Transport;
    use crate::deadline::Deadline;
    use crate::testing::{DEADLINE, listener, object};
    use crate::{
        Bar, CallError, ClientKeys, Dealer, Guard, Judge, Peer, Publisher, Router, SecretKey, Subscriber, generate,
    };

    fn pair() -> (PublicKey, SecretKey) {
        let (public, secret) = generate().unwrap();
        (PublicKey::parse(&public).unwrap(), secret)
    }

    fn client(server: PublicKey, (public, secret): &(PublicKey, SecretKey)) -> ClientKeys {
        ClientKeys { server: server.to_string(), public: public.to_string(), secret: secret.clone() }
    }

    /// Ends the server, also where the test fails.
    struct End<'a>(&'a std::sync::atomic::AtomicBool);

    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Serves until `over`: requests are answered with the key that they came with.
    fn serve(mut router: Router, mut zap: Option<Zap>, known: PublicKey, over: &std::sync::atomic::AtomicBool) {
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            if let Some(zap) = &mut zap {
                zap.answer(|candidate| (candidate.key() == Some(known.to_string())).then(|| "alice".into()));
            }
            while let Some(request) = router.recv() {
                let crate::Payload::Frame(frame) = request.payload else { continue };
                let mut answer: circus_core::proto::Object = serde_json::from_slice(&frame).unwrap();
                answer.insert("key".into(), router.peer().key.into());
                router.send(&request.identity, request.delimiter, serde_json::to_vec(&answer).unwrap());
            }
            router.ready();
            std::thread::yield_now();
        }
    }

    fn call(endpoint: &str, keys: Option<&ClientKeys>) -> Result<Option<String>, CallError> {
        let mut dealer = Dealer::connect(&Context::new().unwrap(), endpoint, keys).unwrap();
        dealer.fail_when_refused(true);
        let answer = dealer.call(object(json!({"command": "x"})), DEADLINE)?;
        Ok(answer["key"].as_str().map(str::to_owned))
    }

    fn bar(result: Result<Option<String>, CallError>) -> Bar {
        match result {
            Err(CallError::Barred { bar, .. }) => bar,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_known_keys_get_in() {
        let (context, over) = (Context::new().unwrap(), std::sync::atomic::AtomicBool::new(false));
        let (server, alice, mallory) = (pair(), pair(), pair());
        let zap = Zap::new(&context).unwrap();
        let (fd, endpoint, _folder) = listener(Transport::Tcp);
        let router = Router::new(&context, fd, &endpoint, Some(Guard::Keys(&server.1))).unwrap();
        std::thread::scope(|scope| {
            let _end = End(&over);
            scope.spawn(|| serve(router, Some(zap), alice.0, &over));
            assert_eq!(call(&endpoint, Some(&client(server.0, &alice))), Ok(Some(alice.0.to_string())));
            assert_eq!(bar(call(&endpoint, Some(&client(server.0, &mallory)))), Bar::UnknownKey);
            // Without a key, and with a wrong one of the server.
            assert_eq!(bar(call(&endpoint, None)), Bar::Handshake);
            assert_eq!(bar(call(&endpoint, Some(&client(mallory.0, &alice)))), Bar::Handshake);
        });
    }

    #[test]
    fn nobody_gets_in_without_a_handler() {
        let (context, over) = (Context::new().unwrap(), std::sync::atomic::AtomicBool::new(false));
        let (server, alice) = (pair(), pair());
        let (fd, endpoint, _folder) = listener(Transport::Tcp);
        let router = Router::new(&context, fd, &endpoint, Some(Guard::Keys(&server.1))).unwrap();
        std::thread::scope(|scope| {
            let _end = End(&over);
            scope.spawn(|| serve(router, None, alice.0, &over));
            assert_eq!(bar(call(&endpoint, Some(&client(server.0, &alice)))), Bar::Handshake);
        });
    }

    /// A bare connection of a client that lies about itself and asks for `x`; what it gets until the server hangs up, or
    /// has answered.
    fn liar(path: &str, version: u8) -> Vec<u8> {
        use std::io::{Read as _, Write as _};
        let property = |name: &str, value: &str| property(name, value);
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut sent = [&b"\xff\0\0\0\0\0\0\0\0\x7f"[..], &[version], b"\0NULL", &[0; 16], &[0; 32]].concat();
        let ready = [
            b"\x05READY".to_vec(),
            property("Socket-Type", "DEALER"),
            property(PROCESS_PROPERTY, "0:0:1"),
            property(KEY_PROPERTY, "x"),
            property("Peer-Address", "localhost:0:0:1"),
            property("User-Id", "root"),
        ]
        .concat();
        sent.extend([&[4, ready.len() as u8], ready.as_slice()].concat());
        let (mut got, mut part, mut asked) = (Vec::new(), [0; 512], false);
        // A server that hangs up meanwhile ends the writing, too.
        let mut written = stream.write_all(&sent);
        while !got.ends_with(b"}")
            && let Ok(length @ 1..) = stream.read(&mut part)
        {
            got.extend_from_slice(part.get(..length).unwrap_or_default());
            if !asked && got.windows(5).any(|part| part == b"READY") {
                asked = true;
                written = written.and_then(|()| stream.write_all(b"\0\x0f{\"command\":\"x\"}"));
            }
        }
        drop(written);
        got
    }

    /// An endpoint that asks for the user, and lets in this process where `admits` says so.
    fn with_users(admits: bool, client: impl FnOnce(&str)) {
        let (context, over) = (Context::new().unwrap(), std::sync::atomic::AtomicBool::new(false));
        let zap = Zap::new(&context).unwrap();
        let (fd, endpoint, _folder) = listener(Transport::Ipc);
        let mut router = Router::new(&context, fd, &endpoint, Some(Guard::Users)).unwrap();
        let me = std::process::id();
        std::thread::scope(|scope| {
            let _end = End(&over);
            let over = &over;
            scope.spawn(move || {
                let mut zap = zap;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    zap.answer(|candidate| {
                        let process = candidate.process().filter(|_| admits)?;
                        (process.pid == me.cast_signed() && process.uid == nix::unistd::geteuid().as_raw())
                            .then(|| "me".into())
                    });
                    while let Some(request) = router.recv() {
                        let process = router.peer().process.unwrap();
                        let answer = json!({"process": process.to_string(), "key": router.peer().key, "id": "7"});
                        router.send(&request.identity, request.delimiter, answer.to_string().into_bytes());
                    }
                    router.ready();
                    std::thread::yield_now();
                }
            });
            client(&endpoint);
        });
    }

    #[test]
    fn process_is_what_the_kernel_says_whatever_its_client_says() {
        with_users(true, |endpoint| {
            let path = endpoint.strip_prefix("ipc://").unwrap();
            let got = String::from_utf8_lossy(&liar(path, 3)).into_owned();
            let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
            let wanted = format!("\"process\":\"{user}:{group}:{}\"", std::process::id());
            assert!(got.contains(&wanted), "{got}");
            // ZMTP 1 and 2, whose numbers these are, have no handshake, and so no question to ask.
            for version in [0, 1] {
                let got = liar(path, version);
                assert!(!got.contains(&b'{'), "{version}: {:?}", String::from_utf8_lossy(&got));
            }
        });
    }

    #[test]
    fn user_that_is_not_admitted_gets_no_answer() {
        with_users(false, |endpoint| {
            assert_eq!(bar(call(endpoint, None)), Bar::UnknownUser);
            let got = liar(endpoint.strip_prefix("ipc://").unwrap(), 3);
            assert!(!got.contains(&b'{'), "{:?}", String::from_utf8_lossy(&got));
        });
    }

    #[test]
    fn user_is_not_admitted_without_a_handler_or_over_tcp() {
        for (transport, with_handler) in [(Transport::Ipc, false), (Transport::Tcp, true)] {
            let (context, over) = (Context::new().unwrap(), std::sync::atomic::AtomicBool::new(false));
            let zap = with_handler.then(|| Zap::new(&context).unwrap());
            let (fd, endpoint, _folder) = listener(transport);
            let router = Router::new(&context, fd, &endpoint, Some(Guard::Users)).unwrap();
            let key = pair().0;
            std::thread::scope(|scope| {
                let _end = End(&over);
                scope.spawn(|| serve(router, zap, key, &over));
                let mut dealer = Dealer::connect(&Context::new().unwrap(), &endpoint, None).unwrap();
                let answer = dealer.call(object(json!({"command": "x"})), Duration::from_millis(500));
                assert!(answer.is_err(), "{answer:?}");
            });
        }
    }

    #[test]
    fn subscriptions_of_users_are_judged() {
        let context = Context::new().unwrap();
        let mut zap = Zap::new(&context).unwrap();
        let (fd, endpoint, _folder) = listener(Transport::Ipc);
        let mut publisher = Publisher::of_events(&context, fd, &endpoint, Some(Guard::Users)).unwrap();
        let me = nix::unistd::geteuid().as_raw();
        publisher.judge_by(Some(Box::new(move |peer: &Peer, prefix: &[u8]| {
            peer.process.is_some_and(|process| process.uid == me) && prefix.starts_with(b"watcher.a")
        })));
        let others = Context::new().unwrap();
        let mut subscriber = Subscriber::connect(&others, &endpoint, None, &["", "watcher.a.", "watcher.b."]).unwrap();
        turn(&mut zap, &mut publisher, |publisher| publisher.subscription_count() == 3);
        publisher.publish(b"watcher.b.spawn", b"1");
        publisher.publish(b"watcher.a.spawn", b"2");
        assert_eq!(subscriber.recv(DEADLINE).unwrap().1, b"2");
        assert_eq!(publisher.take_subscription_changes().unwrap().refused.len(), 2);
    }

    /// Turns until `done`.
    fn turn(zap: &mut Zap, publisher: &mut Publisher, mut done: impl FnMut(&mut Publisher) -> bool) {
        let deadline = Deadline::after(DEADLINE);
        while !done(publisher) {
            assert!(!deadline.passed(), "it never came: {:?}", publisher.subscriptions().collect::<Vec<_>>());
            zap.answer(|_| Some("x".into()));
            publisher.ready();
            std::thread::yield_now();
        }
    }

    #[test]
    fn subscriptions_are_judged_by_the_present_keys() {
        let context = Context::new().unwrap();
        let (server, alice, bob) = (pair(), pair(), pair());
        let mut zap = Zap::new(&context).unwrap();
        let (fd, endpoint, _folder) = listener(Transport::Tcp);
        let mut publisher = Publisher::of_events(&context, fd, &endpoint, Some(Guard::Keys(&server.1))).unwrap();
        let only = |key: PublicKey, may: &'static [u8]| -> Option<Judge> {
            let key = key.to_string();
            Some(Box::new(move |peer: &Peer, prefix: &[u8]| peer.key.as_ref() == Some(&key) || prefix.starts_with(may)))
        };
        publisher.judge_by(only(alice.0, b"watcher.b."));
        let others = Context::new().unwrap();
        let keys = [client(server.0, &alice), client(server.0, &bob)];
        let mut all = Subscriber::connect(&others, &endpoint, Some(&keys[0]), &[""]).unwrap();
        let mut few = Subscriber::connect(&others, &endpoint, Some(&keys[1]), &["watcher.b.", "watcher."]).unwrap();
        turn(&mut zap, &mut publisher, |publisher| publisher.subscription_count() == 3);
        let refused = publisher.take_subscription_changes().unwrap().refused;
        assert_eq!(refused.len(), 1);
        assert_eq!((refused[0].0.key.clone(), &refused[0].1[..]), (Some(bob.0.to_string()), &b"watcher."[..]));
        publisher.publish(b"watcher.a.spawn", b"1");
        publisher.publish(b"watcher.b.spawn", b"2");
        assert_eq!(all.recv(DEADLINE).unwrap().1, b"1");
        assert_eq!(all.recv(DEADLINE).unwrap().1, b"2");
        assert_eq!(few.recv(DEADLINE).unwrap().1, b"2");
        // The one is revoked while it is connected, and the other is allowed everything.
        publisher.judge_by(only(bob.0, b"none"));
        // libzmq subscribes anew over a new connection only when its subscriber is asked for events.
        turn(&mut zap, &mut publisher, |publisher| {
            assert_eq!((all.try_recv(), few.try_recv()), (None, None));
            publisher
                .take_subscription_changes()
                .is_some_and(|news| news.refused.iter().any(|(_, prefix)| prefix.is_empty()))
        });
        turn(&mut zap, &mut publisher, |publisher| {
            assert_eq!((all.try_recv(), few.try_recv()), (None, None));
            publisher.standing_subscription_count() == 3
        });
        while all.recv(Duration::ZERO).is_some() {}
        publisher.publish(b"watcher.a.spawn", b"3");
        assert_eq!(few.recv(DEADLINE).unwrap().1, b"3");
        assert_eq!(all.recv(Duration::from_millis(200)), None, "a revoked key hears nothing");
    }
}
