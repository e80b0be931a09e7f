//! The way to a circusd: a thread of its own, since its client waits for readiness and not for futures.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use circus_client::{Client, ClientKeys, Control, OutputTopics, Ssh, Subscriber, endpoint};
use circus_core::proto::{Object, StreamName};
use mio::{Events, Interest, Poll, Token, Waker};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::core::{Board, Reach};
use crate::fleet::client::Listening;
use crate::fleet::{Fleet, Member};
use crate::queues::Queues;

const CONTROL: Token = Token(0);
const EVENTS: Token = Token(1);
const STATS: Token = Token(2);
const WAKE: Token = Token(3);

/// Between two rounds of questions, where events say that something has changed.
const PAUSE: Duration = Duration::from_millis(250);
/// While a browser looks, circusd is asked so often whether it is there, with what it uses itself.
const BEAT: Duration = Duration::from_secs(3);
/// Without circusd-stats, it is asked so often what its processes use.
const FIGURES: Duration = Duration::from_secs(5);
/// After this time a question is asked once more: it may have come between a circusd and the one that it was upgraded to.
const AGAIN: Duration = Duration::from_secs(2);
/// So long circusd may take for a question.
const PATIENCE: Duration = Duration::from_secs(6);
/// What was asked of circusd so short a time ago is fresh.
const FRESH: Duration = Duration::from_millis(500);
/// So often a circusd that is away is tried again while a browser looks, and while none does.
const RETRY: Duration = Duration::from_secs(1);
const CALM_RETRY: Duration = Duration::from_secs(10);
/// So often the kernel is asked for accept queues.
const QUEUES: Duration = Duration::from_secs(2);
/// At most so many messages of one kind are read before others get their turn.
const TURN: usize = 500;

/// Where a circusd is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// What pages call its machine.
    pub name: String,
    /// Where it answers.
    pub endpoint: String,
    /// Where it publishes events; it is asked without.
    pub events: Option<String>,
    /// Where circusd-stats publishes; it is asked without.
    pub stats: Option<String>,
    /// The keys.
    pub keys: Option<ClientKeys>,
    /// The server to go through.
    pub ssh: Option<Ssh>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// circusd's answer.
    Answer(Object),
    /// None in time, and circusd is there: it works on it.
    Silence,
    /// circusd is not there.
    Lost(String),
}

/// A subscription to what workers print.
pub(crate) struct Follow {
    pub(crate) subscriber: Subscriber,
    pub(crate) topics: OutputTopics,
}

/// What workers print, as it comes.
pub(crate) enum Output {
    /// Published by circusd.
    Published(Follow),
    /// Sent by a branch, the last lines first.
    Sent(Listening),
}

enum Ask {
    Call {
        command: String,
        properties: Object,
        patience: Duration,
        reply: oneshot::Sender<Outcome>,
    },
    Follow {
        watcher: String,
        stream: StreamName,
        reply: oneshot::Sender<Result<Follow, String>>,
    },
    /// To be told when the board is as circusd is now.
    Fresh(oneshot::Sender<()>),
}

/// A circusd, for those who ask.
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    board: Arc<Mutex<Board>>,
    way: Way,
}

/// How a circusd is reached.
enum Way {
    /// By a thread with connections to it.
    Thread(Thread),
    /// Through a branch.
    Member(Arc<Member>),
    /// Not at all: this stands for a fleet whose machines are not known.
    Branch(Arc<Fleet>),
}

struct Thread {
    asks: Sender<Ask>,
    waker: Arc<Waker>,
    looking: Arc<AtomicUsize>,
}

impl Thread {
    /// False: it has ended.
    fn ask(&self, ask: Ask) -> bool {
        let asked = self.asks.send(ask).is_ok();
        drop(self.waker.wake());
        asked
    }
}

/// Somebody looks, as long as this lives: figures are gathered.
pub struct Look(Machine);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.looked(false);
    }
}

impl Machine {
    /// Connects, in the background, and counts each change of what is known in `news`. `always`: as if somebody looked.
    ///
    /// # Errors
    /// Where there can be no connection at all.
    pub fn start(place: Place, always: bool, news: Arc<watch::Sender<u64>>) -> Result<Self, String> {
        let told = |error: io::Error| error.to_string();
        let poll = Poll::new().map_err(told)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(told)?);
        let (asks, requests) = channel();
        let board = Arc::new(Mutex::new(Board::new(&place.name, &place.endpoint)));
        let looking = Arc::new(AtomicUsize::new(usize::from(always)));
        let name = place.name.clone();
        let client = Client::new().map_err(|error| error.to_string())?.with_keys(place.keys.clone());
        let link = Link {
            client,
            place,
            poll,
            waker: Arc::clone(&waker),
            control: None,
            events: None,
            stats: None,
            found: None,
            open: HashMap::new(),
            asked: HashMap::new(),
            next_call: 0,
            fresh: Vec::new(),
            refused: false,
            known: false,
            figures: None,
            beat: None,
            refreshed: None,
            queues: None,
            retried: None,
            dirty: true,
            board: Arc::clone(&board),
            news,
            told: 0,
            requests,
            looking: Arc::clone(&looking),
        };
        let thread = thread::Builder::new().name(format!("circusd {name}"));
        thread.spawn(move || link.run()).map_err(told)?;
        Ok(Self::by(&name, board, Way::Thread(Thread { asks, waker, looking })))
    }

    fn by(name: &str, board: Arc<Mutex<Board>>, way: Way) -> Self {
        Self { inner: Arc::new(Inner { name: name.to_owned(), board, way }) }
    }

    /// A machine of a fleet.
    pub(crate) fn of_member(name: &str, board: Arc<Mutex<Board>>, member: Arc<Member>) -> Self {
        Self::by(name, board, Way::Member(member))
    }

    /// What stands for a fleet.
    pub(crate) fn of_branch(name: &str, board: Arc<Mutex<Board>>, fleet: Arc<Fleet>) -> Self {
        Self::by(name, board, Way::Branch(fleet))
    }

    /// Whether this is that machine: one that was forgotten and comes back is another.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner.board, &other.inner.board)
    }

    /// What pages call it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What is known of it.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.inner.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody looks from now on.
    pub fn look(&self) -> Look {
        self.looked(true);
        Look(self.clone())
    }

    fn looked(&self, looks: bool) {
        match &self.inner.way {
            Way::Thread(Thread { looking, waker, .. }) => {
                match looks {
                    true => looking.fetch_add(1, Ordering::SeqCst),
                    false => looking.fetch_sub(1, Ordering::SeqCst),
                };
                drop(waker.wake());
            }
            Way::Member(member) => member.look(looks),
            Way::Branch(fleet) => fleet.look(looks),
        }
    }

    /// Asks circusd, and waits for its answer no longer than `patience`.
    pub async fn call(&self, command: &str, properties: Object, patience: Duration) -> Outcome {
        let thread = match &self.inner.way {
            Way::Thread(thread) => thread,
            Way::Member(member) => return member.call(command, &properties, patience).await,
            Way::Branch(fleet) => return fleet.lost(),
        };
        let (reply, outcome) = oneshot::channel();
        let lost = || Outcome::Lost("the connection to circusd has ended".into());
        if !thread.ask(Ask::Call { command: command.to_owned(), properties, patience, reply }) {
            return lost();
        }
        outcome.await.unwrap_or_else(|_| lost())
    }

    /// Waits until the board is as circusd is now, or circusd is known not to be there.
    pub async fn fresh(&self) {
        match &self.inner.way {
            Way::Thread(thread) => {
                let (reply, outcome) = oneshot::channel();
                if thread.ask(Ask::Fresh(reply)) {
                    drop(outcome.await);
                }
            }
            Way::Member(member) => member.fresh().await,
            Way::Branch(fleet) => _ = fleet.fresh().await,
        }
    }

    /// Waits until the board has the events that have happened, where they do not come by themselves.
    pub async fn caught_up(&self) {
        if let Way::Member(member) = &self.inner.way {
            drop(member.caught_up().await);
        }
    }

    /// What the workers of a watcher print, as it comes. `properties` are those of `tail`.
    pub(crate) async fn follow(
        &self,
        watcher: &str,
        stream: StreamName,
        properties: &Object,
    ) -> Result<Output, String> {
        let thread = match &self.inner.way {
            Way::Thread(thread) => thread,
            Way::Member(member) => return member.follow(properties).await.map(Output::Sent),
            Way::Branch(_) => return Err("this is a fleet, and no machine".into()),
        };
        let (reply, outcome) = oneshot::channel();
        let lost = || "the connection to circusd has ended".to_owned();
        if !thread.ask(Ask::Follow { watcher: watcher.to_owned(), stream, reply }) {
            return Err(lost());
        }
        outcome.await.map_err(|_| lost())?.map(Output::Published)
    }
}

/// The time in seconds since the epoch.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Where circusd publishes, as it says itself.
#[derive(Clone, PartialEq)]
struct Found {
    events: String,
    stats: String,
}

/// A question, when it was asked first, and last.
#[derive(Clone, Copy)]
struct Asked {
    first: Instant,
    last: Instant,
}

struct Open {
    command: String,
    end: Instant,
    reply: oneshot::Sender<Outcome>,
}

struct Link {
    client: Client,
    place: Place,
    poll: Poll,
    waker: Arc<Waker>,
    control: Option<Control>,
    events: Option<Subscriber>,
    stats: Option<Subscriber>,
    found: Option<Found>,
    /// Requests of clients without an answer.
    open: HashMap<u64, Open>,
    /// Questions of our own without an answer, and when each was asked.
    asked: HashMap<&'static str, Asked>,
    next_call: u64,
    /// Those who wait until the board is as circusd is now.
    fresh: Vec<oneshot::Sender<()>>,
    /// circusd does not tell us its states.
    refused: bool,
    /// circusd has told its states since it was reached.
    known: bool,
    /// When figures have come last.
    figures: Option<Instant>,
    beat: Option<Instant>,
    refreshed: Option<Instant>,
    queues: Option<Instant>,
    retried: Option<Instant>,
    /// Something has changed that was not asked for yet.
    dirty: bool,
    board: Arc<Mutex<Board>>,
    news: Arc<watch::Sender<u64>>,
    /// The change that was counted last.
    told: u64,
    requests: Receiver<Ask>,
    looking: Arc<AtomicUsize>,
}

impl Link {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looks(&self) -> bool {
        self.looking.load(Ordering::SeqCst) > 0
    }

    /// Somebody looks, or waits for an answer.
    fn watched(&self) -> bool {
        self.looks() || !self.open.is_empty() || !self.fresh.is_empty()
    }

    fn pause(&self) -> Duration {
        if self.refused { BEAT } else { PAUSE }
    }

    fn is_up(&self) -> bool {
        *self.board().reach() == Reach::Up
    }

    fn run(mut self) {
        let mut ready = Events::with_capacity(16);
        loop {
            let now = Instant::now();
            self.act(now);
            self.tell();
            let rest = self.next(Instant::now()).map(|time| time.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut ready, rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.lost(&error.to_string());
                    return;
                }
                Ok(()) => {}
            }
            if !self.take_requests() {
                return;
            }
            self.take_answers();
            let more = self.take_events() | self.take_figures();
            self.tell();
            if more {
                // Readiness is told once: what is left is read in the next turn.
                drop(self.waker.wake());
            }
        }
    }

    fn tell(&mut self) {
        let version = self.board().version();
        if std::mem::replace(&mut self.told, version) != version {
            self.news.send_modify(|count| *count += 1);
        }
    }

    // -- when ----------------------------------------------------------------------------------------------------------

    /// When something is to be done next.
    fn next(&self, now: Instant) -> Option<Instant> {
        let waits = self.open.values().map(|open| open.end).chain(self.asked.values().map(|asked| asked.last + AGAIN));
        let mut next: Vec<Instant> = waits.collect();
        if self.control.is_none() {
            let pause = if self.watched() { RETRY } else { CALM_RETRY };
            next.push(self.retried.map_or(now, |retried| retried + pause));
        } else if self.watched() {
            let after = |last: Option<Instant>, pause: Duration| last.map_or(now, |last| last + pause);
            next.push(after(self.beat, BEAT));
            next.push(after(self.queues, QUEUES));
            if self.dirty && self.asked.is_empty() {
                next.push(after(self.refreshed, self.pause()));
            }
        }
        next.into_iter().min()
    }

    /// Does what is due.
    fn act(&mut self, now: Instant) {
        self.give_up(now);
        if self.control.is_none() {
            let pause = if self.watched() { RETRY } else { CALM_RETRY };
            if self.retried.is_none_or(|retried| retried + pause <= now) {
                self.retried = Some(now);
                if let Err(reason) = self.connect() {
                    self.board().reached(Reach::Down(reason));
                    self.told_fresh();
                }
            }
            return;
        }
        let due = |last: Option<Instant>, pause: Duration| last.is_none_or(|last| last + pause <= now);
        self.follow_figures();
        if !self.watched() {
            return;
        }
        if due(self.beat, BEAT) {
            self.beat = Some(now);
            self.dirty |= self.refused;
            self.question("dstats");
        }
        if self.dirty && self.asked.is_empty() && due(self.refreshed, self.pause()) {
            self.dirty = false;
            self.refreshed = Some(now);
            self.question("listsockets");
            self.question("status");
        }
        if !self.looks() {
            return;
        }
        // Without circusd-stats, circusd itself has figures for those who ask.
        if self.is_up() && due(self.figures, FIGURES) && !self.asked.contains_key("stats") {
            self.figures = Some(now);
            self.question("stats");
        }
        if self.place.ssh.is_none() && is_here(&self.place.endpoint) && due(self.queues, QUEUES) {
            let queues = Queues::read();
            self.board().queues(|host, port| queues.length(host, port));
        }
        if due(self.queues, QUEUES) {
            self.queues = Some(now);
        }
    }

    // -- connections ---------------------------------------------------------------------------------------------------

    fn route(&mut self, endpoint: &str) -> Result<String, String> {
        self.client.route(self.place.ssh.as_ref(), endpoint).map_err(|error| error.to_string())
    }

    /// A new connection for requests. The first question says where events and figures are.
    fn connect(&mut self) -> Result<(), String> {
        if self.place.ssh.is_none()
            && let Some(trouble) = endpoint::trouble(&self.place.endpoint, PAUSE)
        {
            return Err(trouble.to_string());
        }
        let near = self.route(&self.place.endpoint.clone())?;
        let mut control = self.client.control(&near).map_err(|error| error.to_string())?.unmonitored();
        let registered = self.poll.registry().register(&mut control, CONTROL, Interest::READABLE);
        registered.map_err(|error| error.to_string())?;
        self.control = Some(control);
        self.beat = None;
        self.dirty = true;
        self.question("globaloptions");
        Ok(())
    }

    /// Subscribes where circusd publishes.
    fn found(&mut self, answer: &Object) {
        let option = |name: &str| answer.get("options")?.get(name)?.as_str().map(str::to_owned);
        let seen = |named: Option<&String>, told: Option<String>, default: &str| {
            let told = told.unwrap_or_else(|| default.to_owned());
            named.cloned().unwrap_or_else(|| endpoint::seen_from(&self.place.endpoint, &told))
        };
        let found = Found {
            events: seen(self.place.events.as_ref(), option("pubsub_endpoint"), endpoint::EVENTS),
            stats: seen(self.place.stats.as_ref(), option("stats_endpoint"), endpoint::STATS),
        };
        if self.found.as_ref() == Some(&found) && self.events.is_some() {
            return;
        }
        let events = found.events.clone();
        self.found = Some(found);
        self.drop_figures();
        if let Some(mut former) = self.events.take() {
            drop(self.poll.registry().deregister(&mut former));
        }
        match self.subscribe(&events, &["watcher.", "circusd."], EVENTS) {
            Ok(subscriber) => self.events = Some(subscriber),
            Err(reason) => self.board().reached(Reach::Down(format!("events: {reason}"))),
        }
    }

    fn subscribe(&mut self, endpoint: &str, topics: &[&str], token: Token) -> Result<Subscriber, String> {
        let near = self.route(endpoint)?;
        let mut subscriber = self.client.subscribe(&near, topics).map_err(|error| error.to_string())?;
        let registered = self.poll.registry().register(&mut subscriber, token, Interest::READABLE);
        registered.map_err(|error| error.to_string())?;
        Ok(subscriber)
    }

    /// circusd-stats samples nothing without a subscriber: there is one only while somebody looks.
    fn follow_figures(&mut self) {
        match (self.looks(), self.stats.is_some(), self.found.clone()) {
            (true, false, Some(found)) => {
                // Its first figures come after an interval.
                self.figures = Some(Instant::now());
                self.stats = self.subscribe(&found.stats, &["stat."], STATS).ok();
            }
            (false, true, _) => self.drop_figures(),
            _ => {}
        }
    }

    fn drop_figures(&mut self) {
        if let Some(mut stats) = self.stats.take() {
            drop(self.poll.registry().deregister(&mut stats));
        }
    }

    /// circusd does not answer: a new connection takes the place of the old one, so that nothing which waits in that is
    /// done when circusd comes back, maybe much later.
    fn lost(&mut self, reason: &str) {
        if let Some(mut control) = self.control.take() {
            drop(self.poll.registry().deregister(&mut control));
            control.close(Duration::ZERO);
        }
        self.asked.clear();
        self.known = false;
        self.retried = Some(Instant::now());
        for (_, open) in self.open.drain() {
            drop(open.reply.send(Outcome::Lost(reason.to_owned())));
        }
        self.board().reached(Reach::Down(reason.to_owned()));
        self.told_fresh();
    }

    // -- requests and answers --------------------------------------------------------------------------------------------

    fn question(&mut self, command: &'static str) {
        let verbose = (command == "status").then(|| ("verbose".to_owned(), true.into()));
        if let Some(control) = &mut self.control
            && control.ask(command, command, verbose.into_iter().collect())
        {
            let now = Instant::now();
            self.asked.entry(command).or_insert(Asked { first: now, last: now }).last = now;
        }
    }

    fn told_fresh(&mut self) {
        for reply in self.fresh.drain(..) {
            let _ = reply.send(());
        }
    }

    /// False: nobody asks any more.
    fn take_requests(&mut self) -> bool {
        loop {
            match self.requests.try_recv() {
                Ok(Ask::Call { command, properties, patience, reply }) => {
                    if self.control.is_none() {
                        let reason = match self.board().reach() {
                            Reach::Down(reason) => reason.clone(),
                            Reach::Trying | Reach::Up => "circusd is not reached yet".to_owned(),
                        };
                        drop(reply.send(Outcome::Lost(reason)));
                        continue;
                    }
                    self.next_call += 1;
                    let call = self.next_call;
                    let sent = self
                        .control
                        .as_mut()
                        .is_some_and(|control| control.ask(&call.to_string(), &command, properties));
                    if sent {
                        self.open.insert(call, Open { command, end: Instant::now() + patience, reply });
                    } else {
                        drop(reply.send(Outcome::Lost("too many requests wait for circusd".into())));
                    }
                }
                Ok(Ask::Fresh(reply)) => {
                    let recent = self.refreshed.is_some_and(|refreshed| refreshed.elapsed() < FRESH);
                    if recent && self.is_up() && self.asked.is_empty() && !self.dirty {
                        let _ = reply.send(());
                    } else {
                        self.dirty = true;
                        self.fresh.push(reply);
                    }
                }
                Ok(Ask::Follow { watcher, stream, reply }) => drop(reply.send(self.follow(&watcher, stream))),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// A subscription for another thread, so that a flood of output holds up nothing here.
    fn follow(&mut self, watcher: &str, stream: StreamName) -> Result<Follow, String> {
        let found = self.found.clone().ok_or("circusd is not reached yet")?;
        let unique = format!("{:016x}", RandomState::new().hash_one(0));
        let topics = OutputTopics::new(watcher, stream, &unique);
        let near = self.route(&found.events)?;
        let subscriber = self.client.subscribe(&near, &topics.both()).map_err(|error| error.to_string())?;
        Ok(Follow { subscriber, topics })
    }

    fn take_answers(&mut self) {
        while let Some((id, answer)) = self.control.as_mut().and_then(Control::answer) {
            if let Ok(call) = id.parse::<u64>() {
                if let Some(open) = self.open.remove(&call) {
                    self.dirty = true;
                    drop(open.reply.send(Outcome::Answer(answer)));
                }
                continue;
            }
            self.asked.remove(id.as_str());
            self.answered(&id, &answer);
        }
    }

    fn answered(&mut self, question: &str, answer: &Object) {
        let refused = answer.get("status").and_then(Value::as_str) == Some("error");
        let reason = answer.get("reason").and_then(Value::as_str).unwrap_or("it gives no reason").to_owned();
        if question == "status" {
            self.refused = refused;
        }
        if question == "status" && refused {
            self.board().reached(Reach::Down(format!("circusd refuses: {reason}")));
            self.told_fresh();
            return;
        }
        if refused {
            return;
        }
        match question {
            "globaloptions" => self.found(answer),
            "status" => {
                self.board().statuses(answer, now());
                self.known = true;
            }
            "listsockets" => self.board().sockets(answer),
            "stats" => self.board().stats(answer, now() as u64),
            "dstats" => {
                let info = answer.get("info").and_then(Value::as_object).cloned().unwrap_or_default();
                let another = self.board().own(&info);
                if another {
                    self.board().event(None, "circusd restarted", Object::new(), now());
                    self.dirty = true;
                    self.question("globaloptions");
                }
            }
            _ => {}
        }
        // Once its states are known, it is there for pages too: a watcher that is not among them does not exist.
        if self.known && !self.refused {
            self.board().reached(Reach::Up);
        }
        if question == "status" {
            self.told_fresh();
        }
    }

    fn give_up(&mut self, now: Instant) {
        let again: Vec<&'static str> =
            self.asked.iter().filter(|(_, asked)| asked.last + AGAIN <= now).map(|(question, _)| *question).collect();
        if !again.is_empty() {
            let trouble = self.place.ssh.is_none().then(|| endpoint::trouble(&self.place.endpoint, PAUSE)).flatten();
            let silent = self.asked.values().any(|asked| asked.first + PATIENCE <= now);
            let reason = trouble.map(|trouble| trouble.to_string());
            if let Some(reason) = reason.or_else(|| silent.then(|| "circusd does not answer".to_owned())) {
                self.lost(&reason);
                return;
            }
            for question in again {
                self.question(question);
            }
        }
        let late: Vec<u64> = self.open.iter().filter(|(_, open)| open.end <= now).map(|(call, _)| *call).collect();
        for call in late {
            if let Some(open) = self.open.remove(&call) {
                drop(open.reply.send(Outcome::Silence));
            }
        }
    }

    // -- events and figures --------------------------------------------------------------------------------------------

    /// Whether there may be more.
    fn take_events(&mut self) -> bool {
        for _ in 0..TURN {
            let Some((topic, body)) = self.events.as_mut().and_then(Subscriber::try_recv) else { return false };
            let Ok(topic) = std::str::from_utf8(&topic) else { continue };
            let body: Object = serde_json::from_slice(&body).unwrap_or_default();
            self.dirty = true;
            if topic == "circusd.upgrade" {
                let version = body.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
                let mut board = self.board();
                board.upgraded(&version);
                board.event(None, "circusd upgraded", Object::from_iter([("reason".into(), json!(version))]), now());
                continue;
            }
            // Names may have dots, events have none.
            if let Some((watcher, event)) = topic.strip_prefix("watcher.").and_then(|rest| rest.rsplit_once('.')) {
                let time = body.get("time").and_then(Value::as_f64).unwrap_or_else(now);
                self.board().event(Some(watcher), event, body, time);
            }
        }
        true
    }

    /// Whether there may be more.
    fn take_figures(&mut self) -> bool {
        for _ in 0..TURN {
            let Some((topic, body)) = self.stats.as_mut().and_then(Subscriber::try_recv) else { return false };
            self.figures = Some(Instant::now());
            if let (Ok(topic), Ok(body)) = (std::str::from_utf8(&topic), serde_json::from_slice::<Object>(&body)) {
                self.board().published(topic, &body, now() as u64);
            }
        }
        true
    }
}

impl Drop for Link {
    /// No request stays without an answer.
    fn drop(&mut self) {
        for (_, open) in self.open.drain() {
            drop(open.reply.send(Outcome::Lost(format!("the console ends before {} is answered", open.command))));
        }
    }
}

/// Whether an endpoint is this machine's, so that its sockets are.
fn is_here(endpoint: &str) -> bool {
    endpoint.starts_with("ipc://") || endpoint.strip_prefix("tcp://").is_some_and(circus_web::is_local)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A circusd that tells which commands it gets; to `slow` it says nothing.
    fn daemon() -> (String, mpsc::Receiver<String>) {
        let router = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        router.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = router.get_last_endpoint().unwrap().unwrap();
        let (tell, commands) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(frames) = router.recv_multipart(0) {
                // A look whether anything listens sends no request.
                let Ok(request) = serde_json::from_slice::<Value>(frames.last().unwrap()) else { continue };
                let command = request["command"].as_str().unwrap_or_default().to_owned();
                if tell.send(command.clone()).is_err() {
                    return;
                }
                let options = json!({"pubsub_endpoint": "tcp://127.0.0.1:1", "stats_endpoint": "tcp://127.0.0.1:1"});
                let body = json!({"id": request["id"], "status": "ok", "options": options, "statuses": {"web": "active"},
                                  "details": {"web": {}}, "info": {"pid": 1, "create_time": 1.5}});
                if command != "slow" {
                    router.send_multipart([frames[0].clone(), body.to_string().into_bytes()], 0).unwrap();
                }
            }
        });
        (endpoint, commands)
    }

    fn start(endpoint: &str) -> Machine {
        let place = Place { name: "box".into(), endpoint: endpoint.into(), ..Place::default() };
        Machine::start(place, false, Arc::new(watch::channel(0).0)).unwrap()
    }

    #[test]
    fn circusd_is_asked_only_while_somebody_looks() {
        let (endpoint, commands) = daemon();
        let machine = start(&endpoint);
        assert_eq!(commands.recv_timeout(LIMIT).as_deref(), Ok("globaloptions"));
        let nothing = || commands.recv_timeout(BEAT + AGAIN);
        assert_eq!(nothing(), Err(mpsc::RecvTimeoutError::Timeout));
        let look = machine.look();
        let mut asked: Vec<String> = (0..3).map(|_| commands.recv_timeout(LIMIT).unwrap()).collect();
        asked.sort();
        assert_eq!(asked, ["dstats", "listsockets", "status"]);
        // Without circusd-stats, and whether circusd is there; states are not asked for again without an event.
        let mut asked: Vec<String> = (0..4).map(|_| commands.recv_timeout(LIMIT).unwrap()).collect();
        asked.sort();
        asked.dedup();
        assert_eq!(asked, ["dstats", "stats"]);
        drop(look);
        while commands.recv_timeout(BEAT / 2).is_ok() {}
        assert_eq!(nothing(), Err(mpsc::RecvTimeoutError::Timeout));
    }

    #[tokio::test]
    async fn answers_silence_and_loss() {
        let (endpoint, _commands) = daemon();
        let machine = start(&endpoint);
        machine.fresh().await;
        assert!(machine.board().has("web"));
        let answer = machine.call("list", Object::new(), LIMIT).await;
        assert!(matches!(&answer, Outcome::Answer(answer) if answer["status"] == "ok"), "{answer:?}");
        assert_eq!(machine.call("slow", Object::new(), Duration::from_millis(50)).await, Outcome::Silence);
        let away = start("tcp://127.0.0.1:1");
        away.fresh().await;
        assert!(matches!(away.call("list", Object::new(), LIMIT).await, Outcome::Lost(_)));
        assert!(matches!(away.board().reach(), Reach::Down(_)));
    }

    #[test]
    fn endpoints_of_this_machine() {
        for endpoint in ["ipc:///run/c", "tcp://127.0.0.1:5555", "tcp://localhost:1", "tcp://[::1]:5555"] {
            assert!(is_here(endpoint), "{endpoint}");
        }
        assert!(!is_here("tcp://10.0.0.1:5555") && !is_here("tcp://localhost.example:1"));
    }
}
