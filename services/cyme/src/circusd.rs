//! The way to circusd: a thread of its own, since its client waits for readiness and not for futures.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use circus_client::{Client, ClientError, Control, KeyNames, Subscriber};
use mio::{Events, Interest, Poll, Token, Waker};
use serde_json::{Map, Value};

use crate::core::{Event, Outcome};

const CONTROL: Token = Token(0);
const EVENTS: Token = Token(1);
const WAKE: Token = Token(2);
/// After this time without an answer circusd is asked something simple, as long as requests are open: whether it works.
const PROBE: Duration = Duration::from_secs(3);
/// What is said of requests that the thread has not sent or not heard of.
pub(crate) const ENDED: &str = "the connection to circusd was lost";
/// The id of that question.
const PROBE_ID: &str = "probe";

struct Request {
    call: u64,
    command: &'static str,
    properties: Map<String, Value>,
    patience: Duration,
}

/// Sends requests to circusd.
#[derive(Clone)]
pub struct Circusd {
    requests: Sender<Request>,
    waker: Arc<Waker>,
}

impl Circusd {
    /// Connects, in the background. `tell` gets the answers of circusd and the events of watchers.
    pub fn start(endpoint: &str, events: &str, tell: impl FnMut(Event) + Send + 'static) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(|error| error.to_string())?);
        let (sender, requests) = channel();
        let keys =
            KeyNames::of_environment(|name| std::env::var(name).ok()).read().map_err(|error| error.to_string())?;
        let client = Client::new().map_err(|error| error.to_string())?.with_keys(keys);
        let control = client.control(endpoint).map_err(|error| error.to_string())?;
        let events = client.subscribe(events, &["watcher."]).map_err(|error| error.to_string())?;
        let endpoint = endpoint.to_owned();
        let now = Instant::now();
        let open = HashMap::new();
        let mut link = Link { client, endpoint, control, events, open, heard: now, probed: now, requests, tell };
        link.register(&poll).map_err(|error| error.to_string())?;
        let run = move || {
            if let Err(error) = link.run(poll) {
                tracing::error!("the connection to circusd was lost: {error}");
            }
        };
        thread::Builder::new().name("circusd".into()).spawn(run).map_err(|error| error.to_string())?;
        Ok(Self { requests: sender, waker })
    }

    /// Asks circusd; the answer comes as an event, and none in time is an answer too. False: the thread has ended, so there
    /// will be none.
    #[must_use]
    pub fn ask(&self, call: u64, command: &'static str, properties: Map<String, Value>, patience: Duration) -> bool {
        let asked = self.requests.send(Request { call, command, properties, patience }).is_ok();
        if asked {
            drop(self.waker.wake());
        }
        asked
    }
}

/// A request without an answer.
#[derive(Clone, Copy)]
struct Open {
    sent: Instant,
    /// Until when there may be an answer.
    end: Instant,
}

struct Link<F: FnMut(Event)> {
    client: Client,
    endpoint: String,
    control: Control,
    events: Subscriber,
    open: HashMap<u64, Open>,
    /// When circusd has answered last.
    heard: Instant,
    /// When it was last asked whether it works.
    probed: Instant,
    requests: Receiver<Request>,
    tell: F,
}

impl<F: FnMut(Event)> Link<F> {
    fn register(&mut self, poll: &Poll) -> io::Result<()> {
        poll.registry().register(&mut self.control, CONTROL, Interest::READABLE)?;
        poll.registry().register(&mut self.events, EVENTS, Interest::READABLE)
    }

    fn run(&mut self, mut poll: Poll) -> io::Result<()> {
        let mut ready = Events::with_capacity(8);
        loop {
            let next = self.open.values().map(|open| open.end).chain(self.probe_at()).min();
            let next = next.map(|time| time.saturating_duration_since(Instant::now()));
            match poll.poll(&mut ready, next) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done?,
            }
            if !self.send() {
                return Ok(());
            }
            while let Some((id, answer)) = self.control.answer() {
                self.heard = Instant::now();
                if let Some(call) = id.parse().ok().filter(|call| self.open.remove(call).is_some()) {
                    (self.tell)(Event::Outcome { call, outcome: Outcome::Circus(Value::Object(answer)) });
                }
            }
            while let Some((topic, body)) = self.events.try_recv() {
                if let Some((name, event)) = watcher(&topic) {
                    let about = serde_json::from_slice(&body).unwrap_or_default();
                    (self.tell)(Event::Watcher { name, event, about });
                }
            }
            if self.probe_at().is_some_and(|time| time <= Instant::now()) {
                self.probed = Instant::now();
                self.control.ask(PROBE_ID, "numwatchers", Map::new());
            }
            self.give_up(&poll)?;
        }
    }

    /// When circusd is to be asked whether it works.
    fn probe_at(&self) -> Option<Instant> {
        let first = self.open.values().map(|open| open.sent).min()?;
        Some(first.max(self.heard).max(self.probed) + PROBE)
    }

    /// Sends what is to be sent. False: the branch has ended.
    fn send(&mut self) -> bool {
        loop {
            match self.requests.try_recv() {
                Ok(Request { call, command, properties, patience }) => {
                    if self.control.ask(&call.to_string(), command, properties) {
                        let sent = Instant::now();
                        self.open.insert(call, Open { sent, end: sent + patience });
                    } else {
                        self.failed(call, "too many requests wait");
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn failed(&mut self, call: u64, reason: &str) {
        (self.tell)(Event::Outcome { call, outcome: Outcome::NoCircus(reason.to_owned()) });
    }

    /// Gives up requests whose time is over. If circusd has answered anything since, then only they take so long. If not,
    /// the connection is given up with all its requests: none is to arrive later, when something else is wanted.
    fn give_up(&mut self, poll: &Poll) -> io::Result<()> {
        let now = Instant::now();
        let late: Vec<(u64, Open)> =
            self.open.iter().filter(|(_, open)| open.end <= now).map(|(call, open)| (*call, *open)).collect();
        if late.iter().all(|(_, open)| self.heard > open.sent) {
            for (call, _) in late {
                self.open.remove(&call);
                (self.tell)(Event::Outcome { call, outcome: Outcome::Silence });
            }
            return Ok(());
        }
        poll.registry().deregister(&mut self.control)?;
        let fresh =
            self.client.control(&self.endpoint).map_err(|error: ClientError| io::Error::other(error.to_string()))?;
        std::mem::replace(&mut self.control, fresh).close(Duration::ZERO);
        poll.registry().register(&mut self.control, CONTROL, Interest::READABLE)?;
        for call in std::mem::take(&mut self.open).into_keys() {
            self.failed(call, "circusd does not answer");
        }
        Ok(())
    }
}

impl<F: FnMut(Event)> Drop for Link<F> {
    /// No request stays without an answer.
    fn drop(&mut self) {
        let waiting: Vec<u64> = self.requests.try_iter().map(|request| request.call).collect();
        for call in std::mem::take(&mut self.open).into_keys().chain(waiting) {
            self.failed(call, ENDED);
        }
    }
}

/// The watcher and the event of a topic.
fn watcher(topic: &[u8]) -> Option<(String, String)> {
    let topic = std::str::from_utf8(topic).ok()?.strip_prefix("watcher.")?;
    let (name, event) = topic.rsplit_once('.')?;
    Some((name.to_owned(), event.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A circusd that leaves `slow` unanswered, answers `late` with the second probe, and anything else at once.
    fn daemon() -> String {
        let context = zmq::Context::new();
        let router = context.socket(zmq::ROUTER).unwrap();
        router.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = router.get_last_endpoint().unwrap().unwrap();
        thread::spawn(move || {
            let (mut late, mut probes) = (None, 0);
            while let Ok(frames) = router.recv_multipart(0) {
                let request: Value = serde_json::from_slice(frames.last().unwrap()).unwrap();
                let answer = |id: &Value| {
                    let body = serde_json::json!({"id": id, "status": "ok"}).to_string();
                    router.send_multipart([frames[0].clone(), body.into_bytes()], 0).unwrap();
                };
                match request["command"].as_str().unwrap() {
                    "slow" => continue,
                    "late" => late = Some(request["id"].clone()),
                    command => {
                        probes += usize::from(command == "numwatchers");
                        answer(&request["id"]);
                    }
                }
                if probes == 2
                    && let Some(id) = late.take()
                {
                    answer(&id);
                }
            }
        });
        endpoint
    }

    #[test]
    fn a_request_that_takes_too_long_fails_no_other() {
        let (sender, outcomes) = mpsc::channel();
        let tell = move |event| {
            if let Event::Outcome { call, outcome } = event {
                drop(sender.send((call, outcome)));
            }
        };
        let circusd = Circusd::start(&daemon(), "tcp://127.0.0.1:1", tell).unwrap();
        assert!(circusd.ask(1, "slow", Map::new(), PROBE + PROBE / 2));
        assert!(circusd.ask(2, "late", Map::new(), LIMIT));
        assert_eq!(outcomes.recv_timeout(LIMIT).unwrap(), (1, Outcome::Silence));
        let (call, outcome) = outcomes.recv_timeout(LIMIT).unwrap();
        assert!(call == 2 && matches!(outcome, Outcome::Circus(_)), "{outcome:?}");
    }

    #[test]
    fn a_circusd_that_answers_nothing_is_not_there() {
        let (sender, outcomes) = mpsc::channel();
        let tell = move |event| drop(sender.send(event));
        let circusd = Circusd::start("tcp://127.0.0.1:1", "tcp://127.0.0.1:1", tell).unwrap();
        assert!(circusd.ask(1, "status", Map::new(), Duration::from_millis(50)));
        assert!(circusd.ask(2, "status", Map::new(), LIMIT));
        for _ in 0..2 {
            let event = outcomes.recv_timeout(LIMIT).unwrap();
            assert!(matches!(event, Event::Outcome { outcome: Outcome::NoCircus(_), .. }), "{event:?}");
        }
    }

    /// The thread ends with a panic at the first outcome; then every open request fails, and later ones are refused.
    #[test]
    fn requests_do_not_wait_for_a_thread_that_has_ended() {
        let failed = Arc::new(Mutex::new(Vec::new()));
        let (told, first) = (Arc::clone(&failed), AtomicBool::new(true));
        let tell = move |event| match event {
            _ if first.swap(false, Ordering::SeqCst) => panic!("planted"),
            Event::Outcome { call, .. } => told.lock().unwrap().push(call),
            _ => {}
        };
        let circusd = Circusd::start(&daemon(), "tcp://127.0.0.1:1", tell).unwrap();
        assert!(circusd.ask(1, "slow", Map::new(), LIMIT));
        assert!(circusd.ask(2, "status", Map::new(), LIMIT));
        let end = Instant::now() + LIMIT;
        while circusd.ask(3, "slow", Map::new(), LIMIT) {
            assert!(Instant::now() < end, "the thread goes on");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(failed.lock().unwrap().contains(&1));
    }

    #[test]
    fn names_may_have_dots() {
        assert_eq!(watcher(b"watcher.cyme-a.b.spawn"), Some(("cyme-a.b".into(), "spawn".into())));
        assert_eq!(watcher(b"stat.cyme-a"), None);
    }
}
