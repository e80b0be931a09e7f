//! A branch: what it keeps, what it is asked, what it does for its workers.

mod cluster;
mod requests;
mod roster;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};

use roster::Roster;

use super::board::{Answer, BrokerCall, Key, Presence};
use super::message::Message;
use super::model::{Change, Model, Queue};
use super::op::{Op, Query, Reply, WebRequest};
use super::supervise::{Outcome, Supervised, World};
use super::{Now, Random, secs};

/// The time between two announcements that the branch is alive.
pub const HEARTBEAT: Duration = secs(10);
/// After this time without an announcement, the others take it for gone.
pub const PRESENCE: Duration = secs(25);

/// The backend of Celery that sends results to the queue that the task names.
pub const RPC: &str = "rpc://";
/// After this time changes that could not be stored are stored again.
const STORE_AGAIN: Duration = secs(5);

/// The arguments of a branch at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its id: no other branch has it.
    pub id: String,
    /// Where it listens.
    pub url: String,
    /// The port of that.
    pub port: u16,
    /// The URL of its broker.
    pub broker: String,
    /// Where results of tasks go; without, to the broker.
    pub result_backend: Option<String>,
    /// The level of its log.
    pub loglevel: String,
    /// The file of its log.
    pub logfile: Option<String>,
    /// How many controllers it says that it has.
    pub numc: u32,
    /// The time between two looks at everything.
    pub interval: Duration,
    /// How long a worker that is to go may finish what it has begun.
    pub drain: Duration,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its folder.
    pub root: String,
    /// The program celery.
    pub celery: String,
    /// Where its workers find the module that they run.
    pub python_path: String,
    /// The seed of names that it makes up.
    pub seed: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The branch starts, and has what it kept.
    Started,
    /// It is time.
    Tick,
    /// A request came in over HTTP.
    Request {
        /// Its number.
        id: u64,
        /// What is asked for.
        op: Op,
        /// Its answer is not to wait until it is done.
        nowait: bool,
    },
    /// The broker has answered, or cannot be reached.
    Broker {
        /// The number of the call.
        call: u64,
        /// The answer.
        answer: Result<Answer, String>,
    },
    /// The connection to the broker broke.
    BrokerLost(String),
    /// Another branch says something.
    Message(Message),
    /// What came of an order to circusd or to a worker.
    Outcome {
        /// The number of the call.
        call: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// A task was published or looked for: this is what its request is answered.
    Looked {
        /// The number of the call.
        call: u64,
        /// The answer.
        reply: Reply,
    },
    /// The client of a request has gone.
    Gone(u64),
    /// The oldest change that was to be stored is stored, or could not be.
    Stored(Result<(), String>),
    /// circusd reports on a watcher.
    Watcher {
        /// The name, in small letters.
        name: String,
        /// The event.
        event: String,
        /// What circusd says of it.
        about: Value,
    },
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To store this, before anything that follows; [`Event::Stored`] tells what came of it.
    Store(Change),
    /// To call the broker. Calls are made in their order.
    Broker {
        /// The number of the call.
        call: u64,
        /// What is asked of it.
        what: BrokerCall,
    },
    /// To ask circusd.
    Circus {
        /// The number of the call.
        call: u64,
        /// The command.
        command: &'static str,
        /// Its properties.
        properties: Map<String, Value>,
        /// How long the answer is waited for.
        patience: Duration,
    },
    /// To ask a worker.
    Control {
        /// The number of the call.
        call: u64,
        /// The URL of its broker.
        broker: String,
        /// The worker.
        node: String,
        /// The command.
        method: &'static str,
        /// Its arguments.
        arguments: Value,
        /// How long the reply is waited for.
        timeout: Duration,
    },
    /// To answer a request.
    Respond {
        /// Its number.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// To publish a task.
    Publish {
        /// The number of the call.
        call: u64,
        /// The task.
        publication: Publication,
    },
    /// To look for the result of a task.
    Look {
        /// The number of the call.
        call: u64,
        /// The task.
        task: String,
        /// Where its result is.
        backend: String,
        /// The broker of its application.
        broker: String,
        /// What is asked about it.
        what: Query,
        /// How long it is waited for.
        limit: Duration,
    },
    /// To say this in the log.
    Log {
        /// Whether an operator should look at it.
        warning: bool,
        /// What happened.
        message: String,
    },
}

/// A task that is to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// Its id.
    pub task: String,
    /// The URL of the broker.
    pub broker: String,
    /// The queue; the broker's default without one.
    pub queue: Option<Queue>,
    /// What the worker is to request.
    pub request: WebRequest,
}

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq)]
enum Origin {
    Http(u64),
    Peer { branch: String, id: String },
}

/// A request that is under way.
#[derive(Debug)]
struct Pending {
    op: Op,
    nowait: bool,
    origin: Origin,
    stage: Stage,
    deadline: Option<Duration>,
    /// The application that is to be deleted.
    doomed: Option<super::App>,
    /// Until when the client waits for a result, if that has an end.
    until: Option<Duration>,
}

#[derive(Debug)]
enum Stage {
    /// The broker is asked what there is.
    Looking,
    /// The broker is asked for the name; then this is kept.
    Claiming(Box<Claimed>),
    /// Once the broker has it, this is the answer.
    Writing(Reply, Vec<Change>),
    /// Another branch has the request, under this id of a message.
    Forwarded(String),
    /// All branches have it.
    Gathering { message: String, expected: usize, replies: Vec<Value> },
    /// The worker is brought to what is wanted; then this is the answer.
    Settling { instance: String, reply: Reply },
    /// The worker is asked.
    Listening,
    /// circusd is to report something, of a watcher or of any, after this number.
    Watching(Option<String>, u64),
}

#[derive(Debug)]
enum Claimed {
    App(super::App),
    Instance(super::Instance, Option<super::App>),
    Queue(Queue),
}

/// What an outstanding call is for.
#[derive(Clone, Debug)]
enum Purpose {
    Request(u64),
    Supervision(String),
    Round(Vec<Key>),
    /// A claim of something that was there before; its answer shows whether it still is.
    Assertion(Key),
    Release(Key),
    /// What circusd's processes use.
    Load,
    Owned,
    Nothing,
}

/// The state machine.
#[derive(Debug)]
pub struct Branch {
    settings: Settings,
    model: Model,
    random: Random,
    workers: Roster,
    pending: BTreeMap<u64, Pending>,
    /// Which request an answer from another branch belongs to.
    forwarded: HashMap<String, u64>,
    calls: HashMap<u64, Purpose>,
    next_id: u64,
    /// Requests of other branches, so that none is done twice: its answer, once there is one.
    seen: VecDeque<(String, Duration, Option<Reply>)>,
    /// Names that may be held for nothing: the claim was made, and its answer got lost.
    unsure: BTreeSet<Key>,
    /// The broker could not say which names it holds for this branch.
    owned_unknown: bool,
    /// Since when there is a broker; none while it cannot be reached.
    broker_since: Option<Duration>,
    /// Whether there was none before, so that workers may need a while to find it again.
    broker_was_lost: bool,
    broker_revived: Option<Duration>,
    announce_at: Duration,
    round_at: Duration,
    turn: usize,
    messages: u64,
    saving: Saving,
    reports: Reports,
    /// What circusd's processes use of the processor, as it has told last.
    cpu: Option<f64>,
    actions: Vec<Action>,
}

/// What circusd has reported last: the number of the report, and what clients see of it.
#[derive(Debug)]
struct Reports {
    kept: VecDeque<(u64, Value)>,
    /// The number of the last one. Numbers rise from one life of the branch to the next.
    last: u64,
}

/// The changes that are not stored yet.
#[derive(Debug, Default)]
struct Saving {
    /// Those that are being stored, the oldest first.
    under_way: VecDeque<Change>,
    /// Those that could not be stored, and all after them: they are stored again in their order.
    failed: Vec<Change>,
    /// Why.
    reason: String,
    /// When they are stored again.
    again: Duration,
    /// Answers to requests that made a change, which wait until it is stored.
    answers: Vec<(Origin, Reply)>,
}

impl Branch {
    /// A branch that keeps this.
    pub fn new(settings: Settings, model: Model, now: Now) -> Self {
        let mut random = Random::new(settings.seed);
        let turn = random.below(1 << 16);
        let workers = Roster::new(model.instances.keys(), now.mono);
        Self {
            settings,
            model,
            random,
            workers,
            pending: BTreeMap::new(),
            forwarded: HashMap::new(),
            calls: HashMap::new(),
            next_id: 0,
            seen: VecDeque::new(),
            unsure: BTreeSet::new(),
            owned_unknown: false,
            broker_since: None,
            broker_was_lost: false,
            broker_revived: None,
            announce_at: now.mono,
            round_at: now.mono,
            turn,
            messages: 0,
            saving: Saving::default(),
            cpu: None,
            reports: Reports { kept: VecDeque::new(), last: (now.unix * 1000.0) as u64 },
            actions: Vec::new(),
        }
    }

    /// What it is made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it keeps.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What is known of the worker of an instance.
    pub fn worker(&self, name: &str) -> Option<&Supervised> {
        self.workers.get(name)
    }

    /// Whether its broker can be reached, as far as is known.
    pub fn has_broker(&self) -> bool {
        self.broker_since.is_some()
    }

    /// How many messages it has sent through the broker or to workers.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// How many changes are in memory only, since they could not be stored.
    pub fn unsaved(&self) -> usize {
        self.saving.failed.len()
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> usize {
        self.pending.len()
    }

    /// Takes note of an event, and says what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        match event {
            Event::Started => self.ask_what_is_owned(),
            Event::Tick => {}
            Event::Request { id, op, nowait } => self.begin(now, Origin::Http(id), op, nowait),
            Event::Broker { call, answer } => self.broker_answered(now, call, answer),
            Event::BrokerLost(reason) => self.broker_lost(&reason),
            Event::Message(message) => self.message(now, message),
            Event::Outcome { call, outcome } => self.outcome(now, call, outcome),
            Event::Looked { call, reply } => self.looked_for(now, call, reply),
            Event::Gone(id) => self.pending.retain(|_, pending| pending.origin != Origin::Http(id)),
            Event::Stored(result) => self.stored(now, result),
            Event::Watcher { name, event, about } => {
                self.watcher_event(now, &name, &event);
                self.reported(now, name, event, about);
            }
        }
        self.periodic(now);
        self.supervise(now);
        self.expire(now);
        std::mem::take(&mut self.actions)
    }

    /// When something is due even if nothing happens.
    pub fn deadline(&self, now: Now) -> Duration {
        let requests = self.pending.values().filter_map(|pending| pending.deadline);
        let saving = (!self.saving.failed.is_empty()).then_some(self.saving.again);
        requests
            .chain(self.workers.deadline(now.mono))
            .chain(saving)
            .chain([self.announce_at, self.round_at])
            .min()
            .unwrap_or(now.mono + HEARTBEAT)
    }

    fn world(&self) -> World {
        World {
            paused: self.broker_since.is_none(),
            revived: self.broker_revived,
            interval: self.settings.interval,
            drain: self.settings.drain,
        }
    }

    fn new_call(&mut self, purpose: Purpose) -> u64 {
        self.next_id += 1;
        self.calls.insert(self.next_id, purpose);
        self.next_id
    }

    fn ask_broker(&mut self, purpose: Purpose, what: BrokerCall) {
        let call = self.new_call(purpose);
        self.messages += 1;
        self.actions.push(Action::Broker { call, what });
    }

    /// Keeps a change: in memory now, on disk before anything else is done.
    fn store(&mut self, change: Change) {
        self.model.apply(&change);
        // A later change must not be overwritten by an earlier one that is stored again.
        if !self.saving.failed.is_empty() {
            return self.saving.failed.push(change);
        }
        self.saving.under_way.push_back(change.clone());
        self.actions.push(Action::Store(change));
    }

    /// A change is stored, or could not be.
    fn stored(&mut self, now: Now, result: Result<(), String>) {
        let Some(change) = self.saving.under_way.pop_front() else { return };
        if let Err(reason) = result {
            if self.saving.failed.is_empty() && self.saving.reason != reason {
                self.warn(format!("the change of {} could not be stored: {reason}", change.subject()));
            }
            self.saving.reason = reason;
            self.saving.failed.push(change);
            self.saving.again = now.mono + STORE_AGAIN;
        } else if !self.saving.failed.is_empty() {
            self.saving.failed.push(change);
        }
        if !self.saving.under_way.is_empty() {
            return;
        }
        if self.saving.failed.is_empty() && !std::mem::take(&mut self.saving.reason).is_empty() {
            self.warn("all changes are stored again");
        }
        let unsaved = (!self.saving.failed.is_empty()).then(|| Reply::unsaved(&self.saving.reason));
        for (origin, reply) in std::mem::take(&mut self.saving.answers) {
            self.answer(origin, unsaved.clone().unwrap_or(reply));
        }
    }

    /// Stores again what could not be.
    fn store_again(&mut self, now: Now) {
        let Saving { under_way, failed, again, .. } = &mut self.saving;
        if under_way.is_empty() && now.mono >= *again {
            under_way.extend(failed.drain(..));
            self.actions.extend(under_way.iter().cloned().map(Action::Store));
        }
    }

    fn log(&mut self, message: impl Into<String>) {
        self.actions.push(Action::Log { warning: false, message: message.into() });
    }

    fn warn(&mut self, message: impl Into<String>) {
        self.actions.push(Action::Log { warning: true, message: message.into() });
    }

    fn presence(&self) -> Presence {
        Presence {
            id: self.settings.id.clone(),
            url: self.settings.url.clone(),
            instances: self.model.instances.len(),
            labels: self.settings.labels.clone(),
            cpu: self.cpu,
        }
    }

    /// As replies show it.
    fn shown(&self) -> Value {
        let settings = &self.settings;
        json!({"id": settings.id, "loglevel": settings.loglevel, "numc": settings.numc,
               "sup_interval": settings.interval.as_secs(), "logfile": settings.logfile, "port": settings.port,
               "url": settings.url})
    }
}
