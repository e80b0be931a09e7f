//! A connection for requests.

use std::io;
use std::time::Duration;

use circus_core::commands::{Role, find};
use circus_core::proto::Object;
use circus_net::{CallError, ClientKeys, Context, Dealer};
use circus_sys::since_boot;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use serde_json::{Value, json};

use super::ClientError;
use super::client::unusable;
use super::endpoint::trouble;

/// The id of the question whether the daemon still works.
const PROBE: &str = "probe";

/// A refused connection is examined for at most this long, to say why.
const EXAMINATION: Duration = Duration::from_millis(500);

/// How long answers are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// So long at most. A daemon that is not there yet may still start meanwhile.
    AtMost(Duration),
    /// So long at most, but not for a daemon that is not there: a refused connection is an error at once.
    IfThere(Duration),
    /// As long as the daemon works: it is asked something simple whenever this time has passed without an answer.
    WhileAlive(Duration),
}

/// A connection to a control endpoint.
pub struct Control {
    dealer: Dealer,
    endpoint: String,
}

impl Control {
    pub(super) fn connect(context: &Context, endpoint: &str, keys: Option<&ClientKeys>) -> Result<Self, ClientError> {
        let dealer = Dealer::connect(context, endpoint, keys).map_err(unusable)?;
        Ok(Self { dealer, endpoint: endpoint.to_owned() })
    }

    /// For clients that poll: nothing observes the connection, so a daemon that is away costs nothing.
    #[must_use]
    pub fn unmonitored(self) -> Self {
        Self { dealer: self.dealer.unwatched(), ..self }
    }

    /// Sends a request and waits for its answer, at most for `limit`.
    pub fn call(&mut self, command: &str, properties: Object, limit: Duration) -> Result<Object, ClientError> {
        let request = Request::new(&self.dealer.new_id(), command, properties);
        let mut answers = self.exchange(&[request], Wait::AtMost(limit));
        let answer = answers.pop().unwrap_or_else(|| Err(self.explain(self.dealer.unanswered(limit))))?;
        serde_json::from_slice(&answer).map_err(|_| ClientError::Garbled { endpoint: self.endpoint.clone() })
    }

    /// Sends requests, all at once, and waits for their answers: each as it came, in the order of the requests.
    pub fn exchange(&mut self, requests: &[Request], wait: Wait) -> Vec<Result<Vec<u8>, ClientError>> {
        let (limit, probes) = match wait {
            Wait::AtMost(limit) | Wait::IfThere(limit) => (limit, false),
            Wait::WhileAlive(limit) => (limit, true),
        };
        self.dealer.fail_when_refused(!matches!(wait, Wait::AtMost(_)));
        let mut answers: Vec<Option<Vec<u8>>> = vec![None; requests.len()];
        // A question may be asked twice: a circusd that is upgraded at this moment may not have seen the first.
        let repeated = requests.iter().filter(|request| request.only_asks);
        self.dealer.repeat_when_interrupted(repeated.map(|request| request.message.clone()).collect());
        let sent = requests.iter().all(|request| self.dealer.send(&request.message));
        let end = since_boot().saturating_add(limit);
        let mut probed = false;
        let error = loop {
            if answers.iter().all(Option::is_some) {
                break None;
            }
            let left = if probes { limit } else { end.saturating_sub(since_boot()) };
            match self.dealer.recv(left).filter(|_| sent) {
                Some(answer) => match serde_json::from_slice::<Object>(&answer) {
                    Ok(object) => {
                        let id = object.get("id").and_then(Value::as_str);
                        probed = false;
                        if let Some(at) = requests.iter().position(|request| id == Some(&request.id)) {
                            answers[at] = Some(answer);
                        }
                    }
                    Err(_) => break Some(ClientError::Garbled { endpoint: self.endpoint.clone() }),
                },
                None if probes && !probed && self.dealer.is_connected() => {
                    probed = self.ask(PROBE, "numwatchers", Object::new());
                    if !probed {
                        break Some(self.explain(self.dealer.unanswered(limit)));
                    }
                }
                None => break Some(self.explain(self.dealer.unanswered(limit))),
            }
        };
        self.dealer.stop_repeating();
        let unanswered = || error.clone().unwrap_or_else(|| self.explain(self.dealer.unanswered(limit)));
        answers.into_iter().map(|answer| answer.ok_or_else(unanswered)).collect()
    }

    /// Sends a request that gets no answer. False when too many requests wait to be sent already.
    pub fn cast(&mut self, command: &str, properties: Object) -> bool {
        let request = json!({"command": command, "properties": properties, "msg_type": "cast"});
        self.dealer.send(request.to_string().as_bytes())
    }

    /// Sends a request whose answer [`answer`](Self::answer) will give, under `id`. False when too many requests wait to
    /// be sent already.
    pub fn ask(&mut self, id: &str, command: &str, properties: Object) -> bool {
        let request = json!({"id": id, "command": command, "properties": properties});
        self.dealer.send(request.to_string().as_bytes())
    }

    /// The next answer that has come, and the id of its request. For clients that poll with mio: until `None`, and again
    /// after each [`ask`](Self::ask). Answers without an id are skipped.
    pub fn answer(&mut self) -> Option<(String, Object)> {
        loop {
            if let Some(answer) = with_id(&self.dealer.try_recv()?) {
                return Some(answer);
            }
        }
    }

    /// The next answer, waited for at most for `limit`; `None` also for one without an id.
    pub fn wait_for_answer(&mut self, limit: Duration) -> Option<(String, Object)> {
        with_id(&self.dealer.recv(limit)?)
    }

    /// Closes the connection. What was sent is still delivered, if that takes no longer than `linger`.
    pub fn close(self, linger: Duration) {
        self.dealer.close(linger);
    }

    fn explain(&self, error: CallError) -> ClientError {
        let endpoint = self.endpoint.clone();
        match error {
            CallError::Unreachable { .. } => {
                let trouble = trouble(&endpoint, EXAMINATION);
                ClientError::Unreachable { endpoint, trouble }
            }
            CallError::Barred { bar, .. } => ClientError::Barred { endpoint, bar },
            CallError::Timeout { .. } if self.dealer.was_interrupted() => ClientError::Interrupted { endpoint },
            CallError::Timeout { limit, .. } => ClientError::Timeout { endpoint, limit },
            CallError::Garbled { .. } => ClientError::Garbled { endpoint },
        }
    }
}

fn with_id(answer: &[u8]) -> Option<(String, Object)> {
    let answer = serde_json::from_slice::<Object>(answer).ok()?;
    let id = answer.get("id").and_then(Value::as_str)?.to_owned();
    Some((id, answer))
}

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    id: String,
    message: Vec<u8>,
    /// It changes nothing.
    only_asks: bool,
}

impl Request {
    /// A request under an id that no other request of this connection has.
    pub fn new(id: &str, command: &str, properties: Object) -> Self {
        let message = json!({"command": command, "properties": properties, "id": id}).to_string().into_bytes();
        let only_asks = find(command).is_some_and(|spec| spec.role == Role::Read);
        Self { id: id.to_owned(), message, only_asks }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The JSON that is sent.
    pub fn message(&self) -> &[u8] {
        &self.message
    }
}

impl Source for Control {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.dealer.register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.dealer.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.dealer.deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::Client;
    use crate::endpoint::Trouble;

    const LIMIT: Duration = Duration::from_millis(200);
    /// A limit beyond that of the test runner.
    const FOREVER: Duration = Duration::from_secs(1_000_000);

    fn requests<const N: usize>(ids: [&str; N]) -> [Request; N] {
        ids.map(|id| Request::new(id, "list", Object::new()))
    }

    fn free_port() -> String {
        format!("tcp://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
    }

    #[test]
    fn missing_daemon_fails_at_once_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        let endpoint = format!("ipc://{}", path.display());
        let mut control = Client::new().unwrap().control(&endpoint).unwrap();
        let missing = ClientError::Unreachable { endpoint, trouble: Some(Trouble::NoSocketFile(path)) };
        for wait in [Wait::IfThere(FOREVER), Wait::WhileAlive(FOREVER)] {
            let answers = control.exchange(&requests(["a", "b"]), wait);
            assert_eq!(answers, [Err(missing.clone()), Err(missing.clone())], "{wait:?}");
        }
    }

    #[test]
    fn with_a_limit_a_daemon_may_still_start() {
        let endpoint = free_port();
        let mut control = Client::new().unwrap().control(&endpoint).unwrap();
        let begun = since_boot();
        let answers = control.exchange(&requests(["a"]), Wait::AtMost(LIMIT));
        assert_eq!(answers, [Err(ClientError::Unreachable { endpoint, trouble: Some(Trouble::Refused) })]);
        assert!(since_boot() - begun >= LIMIT);
    }

    /// A daemon on a thread of its own. `answer` gets the command of each request, and its id.
    fn daemon(mut answers: impl FnMut(&str) -> Vec<String> + Send + 'static) -> String {
        let context = zmq::Context::new();
        let router = context.socket(zmq::ROUTER).unwrap();
        router.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = router.get_last_endpoint().unwrap().unwrap();
        thread::spawn(move || {
            loop {
                let frames = router.recv_multipart(0).unwrap();
                let request: Object = serde_json::from_slice(frames.last().unwrap()).unwrap();
                for id in answers(request["id"].as_str().unwrap()) {
                    let answer = json!({"id": id, "status": "ok"}).to_string();
                    router.send_multipart([&frames[0], answer.as_bytes()], 0).unwrap();
                }
            }
        });
        endpoint
    }

    fn ids(answers: Vec<Result<Vec<u8>, ClientError>>) -> Vec<String> {
        let id = |answer: Result<Vec<u8>, _>| {
            serde_json::from_slice::<Object>(&answer.unwrap()).unwrap()["id"].as_str().unwrap().to_owned()
        };
        answers.into_iter().map(id).collect()
    }

    #[test]
    fn answers_have_the_order_of_the_requests() {
        let mut first = None;
        let endpoint = daemon(move |id| match first.take() {
            None => {
                first = Some(id.to_owned());
                vec!["of another client".into()]
            }
            Some(first) => vec![id.to_owned(), first],
        });
        let mut control = Client::new().unwrap().control(&endpoint).unwrap();
        assert_eq!(ids(control.exchange(&requests(["a", "b"]), Wait::IfThere(FOREVER))), ["a", "b"]);
    }

    #[test]
    fn work_is_waited_for_while_the_daemon_answers_probes() {
        let mut probes = 0;
        let endpoint = daemon(move |id| {
            probes += usize::from(id == PROBE);
            match (id, probes) {
                (PROBE, 3) => vec!["work".into()],
                (PROBE, _) => vec![PROBE.into()],
                _ => Vec::new(),
            }
        });
        let mut control = Client::new().unwrap().control(&endpoint).unwrap();
        assert_eq!(ids(control.exchange(&requests(["work"]), Wait::WhileAlive(LIMIT))), ["work"]);
    }

    #[test]
    fn daemon_that_hangs_is_given_up() {
        let endpoint = daemon(|_| Vec::new());
        let mut control = Client::new().unwrap().control(&endpoint).unwrap();
        let timeout = ClientError::Timeout { endpoint, limit: LIMIT };
        for wait in [Wait::WhileAlive(LIMIT), Wait::IfThere(LIMIT)] {
            assert_eq!(control.exchange(&requests(["work"]), wait), [Err(timeout.clone())], "{wait:?}");
        }
    }

    /// A daemon that takes one request, is replaced without having answered, and counts what its successor is asked.
    fn replaced_daemon() -> (String, thread::JoinHandle<usize>) {
        let bind = |endpoint: &str| {
            let context = zmq::Context::new();
            let router = context.socket(zmq::ROUTER).unwrap();
            router.set_linger(0).unwrap();
            router.bind(endpoint).unwrap();
            (router, context)
        };
        let (first, context) = bind("tcp://127.0.0.1:*");
        let endpoint = first.get_last_endpoint().unwrap().unwrap();
        let place = endpoint.clone();
        let daemon = thread::spawn(move || {
            first.recv_multipart(0).unwrap();
            drop(first);
            drop(context);
            let (second, _context) = bind(&place);
            second.set_rcvtimeo(500).unwrap();
            let mut asked = 0;
            while let Ok(frames) = second.recv_multipart(0) {
                asked += 1;
                let request: Object = serde_json::from_slice(frames.last().unwrap()).unwrap();
                let answer = json!({"id": request["id"], "status": "ok"}).to_string();
                second.send_multipart([&frames[0], answer.as_bytes()], 0).unwrap();
            }
            asked
        });
        (endpoint, daemon)
    }

    #[test]
    fn question_is_asked_again_where_the_daemon_was_replaced() {
        let (endpoint, daemon) = replaced_daemon();
        let mut control = Client::new().unwrap().control(&endpoint).unwrap();
        assert_eq!(control.call("list", Object::new(), FOREVER).unwrap()["status"], "ok");
        assert_eq!(daemon.join().unwrap(), 1);
    }

    #[test]
    fn change_is_not_asked_for_again_and_its_client_hears_why() {
        let (endpoint, daemon) = replaced_daemon();
        let mut control = Client::new().unwrap().control(&endpoint).unwrap();
        let answer = control.call("quit", Object::new(), Duration::from_millis(400));
        assert_eq!(answer, Err(ClientError::Interrupted { endpoint }));
        assert_eq!(daemon.join().unwrap(), 0);
    }
}
