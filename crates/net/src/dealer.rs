//! A client of the control protocol.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde_json::Value;

use super::context::Transport;
use super::deadline::Deadline;
use super::readiness::{PolledSocket, Sent, registrable};
use super::{ClientKeys, Context, NetError};
use circus_core::proto::Object;

/// Events of a socket monitor about the state of a connection.
const UP: u16 = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as u16;
const LOST: u16 = zmq::SocketEvent::DISCONNECTED as u16;
const REFUSED: u16 = zmq::SocketEvent::CONNECT_RETRIED as u16;
/// The daemon does not know our key.
const UNKNOWN: u16 = zmq::SocketEvent::HANDSHAKE_FAILED_AUTH as u16;
/// One side speaks CURVE, and the other does not.
const FOREIGN: u16 = zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL as u16;
/// The daemon has another key than the one given here, cannot read the messages, and closes the connection.
const HUNG_UP: u16 = zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL as u16;

/// Why a request has no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum CallError {
    /// No connection came about.
    Unreachable {
        /// Where to.
        endpoint: String,
    },
    /// The daemon and this client do not agree about keys.
    Barred {
        /// Where to.
        endpoint: String,
        /// In what.
        bar: Bar,
    },
    /// The connection stands, or stood, but the answer did not come in time.
    Timeout {
        /// Where to.
        endpoint: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// What was answered is not a JSON object.
    Garbled {
        /// The endpoint that answered it.
        endpoint: String,
    },
}

/// Why there is a daemon and yet no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// The daemon does not authorize the key of this client.
    UnknownKey,
    /// The daemon does not authorize the user of this client.
    UnknownUser,
    /// One side has no keys, or this client has another server's.
    Handshake,
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => {
                "circusd does not accept this key: its public half has to be in curve_authorized_keys, and circusctl \
                 reloadconfig makes circusd read them"
            }
            Self::UnknownUser => {
                "circusd does not accept this user: ipc_roles in its configuration has to name it or one of its groups, \
                 and circusctl reloadconfig makes circusd read it"
            }
            Self::Handshake => {
                "no secure connection came about: either circusd asks for keys and none were given (--curve-key, \
                 --curve-server-key), or it has none, or its public key is another than --curve-server-key says"
            }
        })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { endpoint } => write!(
                f,
                "cannot connect to {endpoint}: is circusd running, is this its endpoint, and may you use it? \
                 Name another with --endpoint"
            ),
            Self::Barred { endpoint, bar } => write!(f, "cannot connect to {endpoint}: {bar}"),
            Self::Timeout { endpoint, limit } => {
                write!(f, "no answer from {endpoint} within {} s: try a longer --timeout", limit.as_secs_f64())
            }
            Self::Garbled { endpoint } => {
                write!(f, "the answer from {endpoint} is not a JSON object: is that circusd's endpoint?")
            }
        }
    }
}

impl std::error::Error for CallError {}

/// The state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Trying,
    Refused,
    /// The handshake failed: of keys.
    Barred(Bar),
    Up,
    Lost,
}

/// A DEALER socket with a random identity.
///
/// libzmq connects in the background and goes on trying, so a daemon that is just starting is reached when it listens.
pub struct Dealer {
    port: PolledSocket,
    monitor: PolledSocket,
    link: Connection,
    endpoint: String,
    name: String,
    fails_when_refused: bool,
    /// The connection was lost, and came back since.
    was_interrupted: bool,
    /// What is sent again when the connection has come back.
    repeated: Vec<Vec<u8>>,
}

registrable!(Dealer);

impl Drop for Dealer {
    fn drop(&mut self) {
        self.port.disable_monitor(&self.name);
    }
}

impl Dealer {
    /// A client of the daemon at `endpoint`. It does not wait for the connection.
    pub fn connect(context: &Context, endpoint: &str, keys: Option<&ClientKeys>) -> Result<Self, NetError> {
        let transport = Transport::of(endpoint)?;
        let socket = context.socket(zmq::DEALER)?;
        let name = random_hex();
        let options = || {
            socket.set_identity(name.as_bytes())?;
            socket.set_ipv6(transport == Transport::Tcp && endpoint.contains('['))
        };
        options().map_err(NetError::socket("setting options"))?;
        keys.map_or(Ok(()), |keys| keys.apply(&socket))?;
        let monitor = watch(context, &socket, &name)?;
        socket
            .connect(endpoint)
            .map_err(|_| NetError::Endpoint { endpoint: endpoint.to_owned(), reason: "it cannot be connected to" })?;
        Ok(Self {
            port: PolledSocket::new(socket)?,
            monitor: PolledSocket::new(monitor)?,
            link: Connection::Trying,
            endpoint: endpoint.to_owned(),
            name,
            fails_when_refused: false,
            was_interrupted: false,
            repeated: Vec::new(),
        })
    }

    /// Stops the socket monitor, for callers that poll for answers: without it, no thread has to watch the connection, which
    /// costs ten wake-ups a second while there is no daemon. [`reach`](Self::reach) is not for
    /// them.
    #[must_use]
    pub fn unwatched(self) -> Self {
        self.port.disable_monitor(&self.name);
        self
    }

    /// Whether a refused connection ends a wait for an answer at once. Otherwise libzmq goes on trying meanwhile.
    pub fn fail_when_refused(&mut self, fails: bool) {
        self.fails_when_refused = fails;
    }

    /// These messages are sent again when the connection was lost and has come back: a daemon that was upgraded meanwhile
    /// may not have seen them. Only for requests that may be answered twice.
    pub fn repeat_when_interrupted(&mut self, messages: Vec<Vec<u8>>) {
        self.repeated = messages;
        self.was_interrupted = false;
    }

    /// What was to be sent again is not any more.
    pub fn stop_repeating(&mut self) {
        self.repeated.clear();
    }

    /// An id that no other request has.
    pub fn new_id(&self) -> String {
        random_hex()
    }

    /// Whether the connection was lost, and has come back, since the last call of
    /// [`repeat_when_interrupted`](Self::repeat_when_interrupted).
    pub fn was_interrupted(&self) -> bool {
        self.was_interrupted
    }

    /// Whether the connection is up.
    pub fn is_connected(&mut self) -> bool {
        self.read_monitor();
        self.link == Connection::Up
    }

    /// Waits until the connection stands: an error as soon as it is refused, or when `limit` has passed.
    pub fn reach(&mut self, limit: Duration) -> Result<(), CallError> {
        let deadline = Deadline::after(limit);
        loop {
            self.read_monitor();
            match self.link {
                Connection::Up => return Ok(()),
                Connection::Refused | Connection::Barred(_) => return Err(self.unanswered(limit)),
                Connection::Trying | Connection::Lost if deadline.passed() => return Err(self.unanswered(limit)),
                Connection::Trying | Connection::Lost => drop(self.monitor.wait(deadline)),
            }
        }
    }

    /// Sends a request under an id of its own (`id` in it is overwritten) and waits for the answer with this id, at most
    /// for `limit`. Other answers, to requests that were given up, are skipped.
    pub fn call(&mut self, mut request: Object, limit: Duration) -> Result<Object, CallError> {
        let id = random_hex();
        request.insert("id".to_owned(), id.clone().into());
        let answer = self.exchange(Value::Object(request).to_string().as_bytes(), &id, limit)?;
        serde_json::from_slice(&answer).map_err(|_| CallError::Garbled { endpoint: self.endpoint.clone() })
    }

    /// Sends a request that has this id and returns the answer to it as it came.
    pub fn exchange(&mut self, request: &[u8], id: &str, limit: Duration) -> Result<Vec<u8>, CallError> {
        let deadline = Deadline::after(limit);
        if !self.send(request) {
            return Err(self.unanswered(limit));
        }
        loop {
            let Some(answer) = self.recv_until(deadline) else { return Err(self.unanswered(limit)) };
            match serde_json::from_slice::<Object>(&answer) {
                Ok(object) if object.get("id").and_then(Value::as_str) == Some(id) => return Ok(answer),
                Ok(_) => {}
                Err(_) => return Err(CallError::Garbled { endpoint: self.endpoint.clone() }),
            }
        }
    }

    /// Sends a message as it is; false when too many wait to be sent already. It does not wait for anything.
    pub fn send(&mut self, message: &[u8]) -> bool {
        self.port.send(&[message]) == Sent::Done
    }

    /// The next answer, waited for at most for `limit`.
    pub fn recv(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.recv_until(Deadline::after(limit))
    }

    /// The next answer if there is one. Callers that poll with mio call it until `None`, and again after each `send`.
    pub fn try_recv(&mut self) -> Option<Vec<u8>> {
        let (mut frame, mut more) = self.port.recv()?;
        while more {
            // The last frame is the substance, whatever comes before it.
            let Some(next) = self.port.recv() else { break };
            (frame, more) = next;
        }
        Some(frame.to_vec())
    }

    /// Closes the connection. What was sent is still delivered, if that takes no longer than `linger`.
    pub fn close(self, linger: Duration) {
        self.port.linger(linger);
    }

    fn recv_until(&mut self, deadline: Deadline) -> Option<Vec<u8>> {
        loop {
            self.read_monitor();
            if let Some(answer) = self.try_recv() {
                return Some(answer);
            }
            let refused = matches!(self.link, Connection::Refused | Connection::Barred(_));
            if deadline.passed() || (self.fails_when_refused && refused) {
                return None;
            }
            self.port.wait_for_either(&self.monitor, deadline);
        }
    }

    /// Over ipc there are no keys.
    fn unknown(&self) -> Bar {
        if self.endpoint.starts_with("ipc://") { Bar::UnknownUser } else { Bar::UnknownKey }
    }

    fn read_monitor(&mut self) {
        while let Some((event, mut more)) = self.monitor.recv() {
            match event.first_chunk().map(|number| u16::from_ne_bytes(*number)) {
                Some(UP) => {
                    if std::mem::replace(&mut self.link, Connection::Up) == Connection::Lost {
                        self.was_interrupted = true;
                        let sent =
                            self.repeated.iter().filter(|message| self.port.send(&[message.as_slice()]) == Sent::Done);
                        // One that is not sent is not answered, and its client hears of that.
                        let _sent = sent.count();
                    }
                }
                Some(LOST) if !matches!(self.link, Connection::Barred(_)) => self.link = Connection::Lost,
                Some(REFUSED) if self.link == Connection::Trying => self.link = Connection::Refused,
                Some(UNKNOWN) => self.link = Connection::Barred(self.unknown()),
                Some(FOREIGN | HUNG_UP) if self.link != Connection::Barred(self.unknown()) => {
                    self.link = Connection::Barred(Bar::Handshake);
                }
                Some(_) | None => {}
            }
            while more {
                let Some((_address, others)) = self.monitor.recv() else { break };
                more = others;
            }
        }
    }

    /// Why there was no answer within `limit`.
    pub fn unanswered(&self, limit: Duration) -> CallError {
        let endpoint = self.endpoint.clone();
        match self.link {
            Connection::Trying | Connection::Refused => CallError::Unreachable { endpoint },
            Connection::Barred(bar) => CallError::Barred { endpoint, bar },
            Connection::Up | Connection::Lost => CallError::Timeout { endpoint, limit },
        }
    }
}

/// A socket that receives the state of another socket's connection.
fn watch(context: &Context, socket: &zmq::Socket, name: &str) -> Result<zmq::Socket, NetError> {
    let address = format!("inproc://monitor-{name}");
    let monitor = context.socket(zmq::PAIR)?;
    let connect = || {
        socket.monitor(&address, i32::from(UP | LOST | REFUSED | UNKNOWN | FOREIGN | HUNG_UP))?;
        monitor.connect(&address)
    };
    connect().map_err(NetError::socket("watching the connection"))?;
    Ok(monitor)
}

/// 32 hexadecimal digits that no other client, and no other request, has. They identify; they are no secret.
fn random_hex() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{DEADLINE, TRANSPORTS, echo, object};
    use crate::{Incoming, Payload};

    #[test]
    fn a_request_gets_its_answer() {
        for transport in TRANSPORTS {
            let server = echo(transport);
            let context = Context::new().unwrap();
            let mut dealer = Dealer::connect(&context, server.endpoint(), None).unwrap();
            dealer.reach(DEADLINE).unwrap();
            let answer = dealer.call(object(json!({"command": "list", "id": "overwritten"})), DEADLINE).unwrap();
            assert_eq!(answer["command"], "list");
            assert_eq!(answer["id"].as_str().unwrap().len(), 32);
        }
    }

    #[test]
    fn a_late_answer_to_another_request_is_skipped() {
        let server = echo(TRANSPORTS[0]);
        let mut dealer = Dealer::connect(&Context::new().unwrap(), server.endpoint(), None).unwrap();
        assert!(dealer.send(br#"{"id": "given up", "command": "slow"}"#));
        let answer = dealer.call(object(json!({"command": "next"})), DEADLINE).unwrap();
        assert_eq!(answer["command"], "next");
    }

    #[test]
    fn a_refused_connection_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let free_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let context = Context::new().unwrap();
        for endpoint in [format!("ipc://{}/none", folder.path().display()), format!("tcp://{free_port}")] {
            let mut dealer = Dealer::connect(&context, &endpoint, None).unwrap();
            // DEADLINE is far longer than the test runner's own.
            let error = dealer.reach(Duration::MAX).unwrap_err();
            assert_eq!(error, CallError::Unreachable { endpoint: endpoint.clone() });
            assert!(error.to_string().contains(&endpoint), "{error}");
        }
    }

    #[test]
    fn a_daemon_that_starts_later_is_still_reached() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = format!("ipc://{}/control", folder.path().display());
        let mut dealer = Dealer::connect(&Context::new().unwrap(), &endpoint, None).unwrap();
        assert!(dealer.reach(Duration::MAX).is_err());
        let _server = crate::testing::echo_at(folder, &endpoint);
        assert_eq!(dealer.call(object(json!({"command": "x"})), DEADLINE).unwrap()["command"], "x");
    }

    #[test]
    fn silence_is_a_time_out_and_nonsense_is_named() {
        let server = crate::testing::serve(TRANSPORTS[1], |request: Incoming, router| {
            if request.payload != Payload::Frame(b"ask".to_vec()) {
                return;
            }
            router.send(&request.identity, false, b"nonsense".to_vec());
        });
        let context = Context::new().unwrap();
        let mut dealer = Dealer::connect(&context, server.endpoint(), None).unwrap();
        dealer.reach(DEADLINE).unwrap();
        let limit = Duration::from_millis(1);
        let error = dealer.call(object(json!({"command": "x"})), limit).unwrap_err();
        assert_eq!(error, CallError::Timeout { endpoint: server.endpoint().to_owned(), limit });
        assert!(dealer.send(b"ask"));
        let error = dealer.call(object(json!({"command": "x"})), DEADLINE).unwrap_err();
        assert_eq!(error, CallError::Garbled { endpoint: server.endpoint().to_owned() });
    }

    #[test]
    fn what_was_sent_is_delivered_though_the_client_leaves() {
        let (told, heard) = std::sync::mpsc::channel();
        let server = crate::testing::serve(TRANSPORTS[0], move |request, _| told.send(request.payload).unwrap());
        for number in 0..20 {
            let context = Context::new().unwrap();
            let mut dealer = Dealer::connect(&context, server.endpoint(), None).unwrap();
            assert!(dealer.send(&[number]));
            dealer.close(DEADLINE);
            drop(context);
            assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), Payload::Frame(vec![number]));
        }
    }

    #[test]
    fn names_differ() {
        let names: std::collections::HashSet<String> = (0..1000).map(|_| random_hex()).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.len() == 32));
    }
}
