//! Runs a branch: carries out its actions, and feeds the results back.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{sleep, sleep_until, timeout};

use crate::broker::Broker;
use crate::celery::Celery;
use crate::circusd::{Circusd, ENDED};
use crate::core::{Action, Branch, BrokerCall, Event, Model, Now, Op, Outcome, Parsed, Reply, Settings};
use crate::metrics::{Figures, Sample};
use crate::store::Store;

/// How long a call of the broker may take.
const BROKER: Duration = Duration::from_secs(8);

/// The time between two notes of the instances, in seconds, and how many there are: a day.
const SAMPLE: f64 = 60.0;
const SAMPLES: usize = 1440;

/// Something for the branch.
enum Input {
    Event(Event),
    Request(Parsed, oneshot::Sender<Reply>),
    Figures(oneshot::Sender<Figures>),
    History(oneshot::Sender<Vec<Sample>>),
    End(oneshot::Sender<()>),
}

/// Asks a running branch.
#[derive(Clone)]
pub struct Handle(UnboundedSender<Input>);

impl Handle {
    /// What a request is answered; nothing if the branch ends meanwhile.
    pub async fn ask(&self, request: Parsed) -> Option<Reply> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Input::Request(request, sender)).ok()?;
        receiver.await.ok()
    }

    /// The figures of the branch.
    pub async fn figures(&self) -> Option<Figures> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Input::Figures(sender)).ok()?;
        receiver.await.ok()
    }

    /// The instances of the branch, in the course of the last day.
    pub async fn history(&self) -> Option<Vec<Sample>> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Input::History(sender)).ok()?;
        receiver.await.ok()
    }

    /// Ends the branch; its workers stay.
    pub async fn end(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.0.send(Input::End(sender)).is_ok() {
            drop(receiver.await);
        }
    }
}

/// What a branch works with.
pub struct Parts {
    /// Its events.
    pub settings: Settings,
    /// What it keeps.
    pub model: Model,
    /// Where it keeps it.
    pub store: Store,
    /// What it reaches other branches through.
    pub broker: Box<dyn Broker>,
    /// The endpoint of its circusd.
    pub endpoint: String,
    /// The endpoint of events.
    pub events: String,
}

/// Starts a branch.
pub fn start(parts: Parts) -> Result<Handle, String> {
    let (sender, receiver) = unbounded_channel();
    let tell = sender.clone();
    let connect: Connect = Box::new(move || {
        let tell = tell.clone();
        Circusd::start(&parts.endpoint, &parts.events, move |event| drop(tell.send(Input::Event(event))))
    });
    let circusd = connect()?;
    let broker: Arc<dyn Broker> = parts.broker.into();
    let (calls, to_call) = unbounded_channel();
    tokio::spawn(call_broker(Arc::clone(&broker), to_call, sender.clone()));
    tokio::spawn(hear_broker(broker, sender.clone()));
    let begun = Instant::now();
    let celery = Celery::new(&parts.settings.id);
    let driver = Driver {
        branch: Branch::new(parts.settings, parts.model, now(begun)),
        begun,
        store: parts.store,
        calls,
        circusd,
        connect,
        celery: Arc::new(celery),
        requests: HashMap::new(),
        number: 0,
        failures: 0,
        circusd_answers: true,
        tell: sender.clone(),
        history: VecDeque::new(),
    };
    tokio::spawn(driver.run(receiver));
    Ok(Handle(sender))
}

fn now(begun: Instant) -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Now { mono: begun.elapsed(), unix }
}

/// Makes the calls of the branch in their order.
async fn call_broker(
    broker: Arc<dyn Broker>,
    mut calls: UnboundedReceiver<(u64, BrokerCall)>,
    tell: UnboundedSender<Input>,
) {
    while let Some((call, what)) = calls.recv().await {
        let answer = match timeout(BROKER, broker.call(what)).await {
            Ok(answer) => answer,
            Err(_) => Err("it does not answer".into()),
        };
        if tell.send(Input::Event(Event::Broker { call, answer })).is_err() {
            return;
        }
    }
}

/// Hands over what other branches say.
async fn hear_broker(broker: Arc<dyn Broker>, tell: UnboundedSender<Input>) {
    let mut pause = Duration::from_millis(200);
    loop {
        let event = match broker.receive().await {
            Ok(message) => {
                pause = Duration::from_millis(200);
                Event::Message(message)
            }
            Err(reason) => {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
                Event::BrokerLost(reason)
            }
        };
        if tell.send(Input::Event(event)).is_err() {
            return;
        }
    }
}

/// Starts the thread to circusd.
type Connect = Box<dyn Fn() -> Result<Circusd, String> + Send>;

struct Driver {
    branch: Branch,
    begun: Instant,
    store: Store,
    calls: UnboundedSender<(u64, BrokerCall)>,
    circusd: Circusd,
    connect: Connect,
    celery: Arc<Celery>,
    /// The requests that wait for an answer.
    requests: HashMap<u64, oneshot::Sender<Reply>>,
    number: u64,
    /// How many changes could not be kept.
    failures: u64,
    /// Whether circusd answered the last request.
    circusd_answers: bool,
    tell: UnboundedSender<Input>,
    history: VecDeque<Sample>,
}

impl Driver {
    async fn run(mut self, mut inputs: UnboundedReceiver<Input>) {
        self.feed(Event::Started).await;
        loop {
            self.forget_gone().await;
            self.sample();
            let deadline = tokio::time::Instant::from_std(self.begun + self.branch.deadline(now(self.begun)));
            let input = tokio::select! {
                input = inputs.recv() => input,
                () = sleep_until(deadline) => Some(Input::Event(Event::Tick)),
            };
            match input {
                None => return,
                Some(Input::Event(event)) => self.feed(event).await,
                Some(Input::Request(request, answer)) => self.request(request, answer).await,
                Some(Input::Figures(answer)) => {
                    drop(answer.send(Figures::of(&self.branch, self.circusd_answers, self.failures)))
                }
                Some(Input::History(answer)) => drop(answer.send(self.history.iter().copied().collect())),
                Some(Input::End(done)) => return self.end(done, inputs).await,
            }
        }
    }

    /// The others learn that this branch is gone; then the file is closed.
    async fn end(self, done: oneshot::Sender<()>, mut inputs: UnboundedReceiver<Input>) {
        let withdraw = BrokerCall::Withdraw(self.branch.settings().id.clone());
        drop(self.calls.send((0, withdraw)));
        let withdrawn = async {
            while let Some(input) = inputs.recv().await {
                if matches!(input, Input::Event(Event::Broker { call: 0, .. })) {
                    return;
                }
            }
        };
        drop(timeout(Duration::from_secs(2), withdrawn).await);
        self.store.close().await;
        let _ = done.send(());
    }

    async fn request(&mut self, request: Parsed, answer: oneshot::Sender<Reply>) {
        self.number += 1;
        self.requests.insert(self.number, answer);
        let Parsed { op, nowait } = request;
        self.feed(Event::Request { id: self.number, op, nowait }).await;
    }

    async fn feed(&mut self, event: Event) {
        match &event {
            Event::Outcome { outcome: Outcome::Circus(_), .. } => self.circusd_answers = true,
            Event::Outcome { outcome: Outcome::NoCircus(_), .. } => self.circusd_answers = false,
            _ => {}
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.branch.handle(now(self.begun), event) {
                events.extend(self.act(action).await);
            }
        }
    }

    /// Carries out an action; what came of it, where that is known at once.
    async fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Store(change) => {
                let stored = self.store.keep(&change).await.map_err(|error| error.to_string());
                self.failures += u64::from(stored.is_err());
                return Some(Event::Stored(stored));
            }
            Action::Broker { call, what } => drop(self.calls.send((call, what))),
            Action::Circus { call, command, properties, patience } => {
                if let Some(folder) = properties.get("options").and_then(|options| options["working_dir"].as_str())
                    && let Err(error) = fs::create_dir_all(folder)
                {
                    tracing::error!("{folder}: {error}");
                }
                if !self.circusd.ask(call, command, properties, patience) {
                    match (self.connect)() {
                        Ok(circusd) => self.circusd = circusd,
                        Err(error) => tracing::error!("no connection to circusd: {error}"),
                    }
                    let outcome = Outcome::NoCircus(ENDED.to_owned());
                    return Some(Event::Outcome { call, outcome });
                }
            }
            Action::Control { call, broker, node, method, arguments, timeout } => {
                let (celery, tell) = (Arc::clone(&self.celery), self.tell.clone());
                tokio::spawn(async move {
                    let outcome = celery.control(&broker, &node, method, &arguments, timeout).await;
                    drop(tell.send(Input::Event(Event::Outcome { call, outcome })));
                });
            }
            Action::Respond { id, reply } => {
                if let Some(answer) = self.requests.remove(&id) {
                    drop(answer.send(reply));
                }
            }
            Action::Publish { call, publication } => {
                let celery = Arc::clone(&self.celery);
                self.look(call, async move { celery.publish(&publication).await });
            }
            Action::Look { call, task, backend, broker, what, limit } => {
                let celery = Arc::clone(&self.celery);
                self.look(call, async move { celery.look(&backend, &broker, &task, what, limit).await });
            }
            Action::Log { warning: true, message } => tracing::warn!("{message}"),
            Action::Log { warning: false, message } => tracing::info!("{message}"),
        }
        None
    }

    fn look(&self, call: u64, work: impl Future<Output = Reply> + Send + 'static) {
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let reply = work.await;
            drop(tell.send(Input::Event(Event::Looked { call, reply })));
        });
    }

    /// Takes note of the instances, from time to time.
    fn sample(&mut self) {
        let now = now(self.begun);
        if self.history.back().is_some_and(|last| now.unix < last.time + SAMPLE) {
            return;
        }
        if self.history.len() == SAMPLES {
            self.history.pop_front();
        }
        let figures = Figures::of(&self.branch, self.circusd_answers, self.failures);
        self.history.push_back(figures.sample(now.unix));
    }

    /// Forgets requests whose clients have gone.
    async fn forget_gone(&mut self) {
        let gone: Vec<u64> = self.requests.iter().filter(|(_, answer)| answer.is_closed()).map(|(id, _)| *id).collect();
        for id in gone {
            self.requests.remove(&id);
            self.feed(Event::Gone(id)).await;
        }
    }
}

/// Whether a request may be about this URL: what a worker requests, it requests in the name of its machine.
pub fn target_allowed(op: &Op, allowed: &[String]) -> bool {
    let Op::QueueUrl { request, .. } = op else { return true };
    let rest = request.url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '\\', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    };
    let matches = |pattern: &String| match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => pattern == "*" || pattern.eq_ignore_ascii_case(host),
    };
    !host.is_empty() && allowed.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::parse;

    #[test]
    fn only_targets_that_are_allowed() {
        let allowed: Vec<String> = ["127.0.0.1", "localhost", "::1", "*.example.org"].map(Into::into).into();
        let is = |target: &str| {
            let op = parse("GET", &format!("/foo/queue/{target}"), "", b"").unwrap().op;
            target_allowed(&op, &allowed)
        };
        for good in
            ["http://127.0.0.1:80/x", "http://LOCALHOST", "http://[::1]:8/", "https://a.example.org/?q=http://x"]
        {
            assert!(is(good), "{good}");
        }
        for bad in [
            "http://example.org/",
            "http://evil/127.0.0.1",
            "http://127.0.0.1@evil/",
            "http://127.0.0.1:x@evil/",
            "http://evil#@127.0.0.1/",
            "http://evil\\@127.0.0.1/",
            "http:///x",
            "http://notexample.org/",
        ] {
            assert!(!is(bad), "{bad}");
        }
    }
}
