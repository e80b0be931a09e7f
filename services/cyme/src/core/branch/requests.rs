//! Requests: what is looked up for one, what is decided, which branch does it, and the answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::instance_body;
use super::{Action, Branch, Claimed, Origin, Pending, Publication, Purpose, RPC, Stage};
use crate::core::board::{Answer, BrokerCall, Claim, Entry, Found, Key, Kind, Presence};
use crate::core::message::{Payload, To};
use crate::core::model::{self, App, Change, Instance, InstanceFields, Queue};
use crate::core::op::{InstanceOp, MachineOp, Op, Place, Query, Reply};
use crate::core::supervise::Outcome;
use crate::core::{Now, secs};

/// How long another branch may take for what concerns it or an instance.
const FORWARDED: Duration = secs(60);
/// How long all branches may take together.
const SCATTER: Duration = secs(2);
/// How long a worker may take for its first answer, before a new instance is reported anyway.
const CREATED: Duration = secs(30);
/// How long a worker may take to begin or end with a queue, or to take other bounds.
const TOLD: Duration = secs(2);
/// How long a worker may take to go.
const DELETED: Duration = secs(50);
/// How long circusd may take for what a request asks of it.
const CIRCUSD: Duration = secs(50);
/// How long a worker may take for what it is asked.
const ASKED: Duration = secs(2);
/// How long a result is waited for at once; then it is waited for again.
const LOOK: Duration = secs(30);
/// How many reports of circusd are kept, and how long one request waits for the next.
const REPORTS: usize = 500;
const REPORT: Duration = secs(20);
/// The application that is there without being made.
const DEFAULT_APP: &str = "cyme";

impl Branch {
    /// Begins with a request.
    pub(super) fn begin(&mut self, now: Now, origin: Origin, op: Op, nowait: bool) {
        self.next_id += 1;
        let id = self.next_id;
        let needs_store = matches!(op, Op::PutApp { .. } | Op::DeleteApp { .. } | Op::PutQueue(_) | Op::DeleteQueue(_));
        let pending = Pending { op, nowait, origin, stage: Stage::Looking, deadline: None, doomed: None, until: None };
        self.pending.insert(id, pending);
        if needs_store && self.unsaved() > 0 {
            return self.refuse_change(id);
        }
        self.proceed(now, id);
    }

    /// Changes cannot be stored, so none more are made.
    fn refuse_change(&mut self, id: u64) {
        let reason = format!("changes cannot be stored at present: {}", self.saving.reason);
        self.finish(id, Reply::refused(503, reason));
    }

    /// Asks the broker for what must be known first, or decides at once.
    fn proceed(&mut self, now: Now, id: u64) {
        let Some(pending) = self.pending.get(&id) else { return };
        let peer = matches!(pending.origin, Origin::Peer { .. });
        match self.first(&pending.op, peer) {
            Some(call) => self.ask_broker(Purpose::Request(id), call),
            None => self.decide(now, id, Answer::Done),
        }
    }

    /// What must be asked of the broker before a request can be decided on.
    fn first(&self, op: &Op, peer: bool) -> Option<BrokerCall> {
        let lookup = |keys: &[(Kind, &str)]| {
            Some(BrokerCall::Lookup(keys.iter().map(|(kind, name)| Key::new(*kind, name)).collect()))
        };
        match op {
            Op::Branches | Op::Machines => Some(BrokerCall::Branches),
            Op::Machine { id, .. } if *id != self.settings.id && !peer => Some(BrokerCall::Branches),
            Op::Branch(id) if *id != self.settings.id && !peer => Some(BrokerCall::Branches),
            Op::Lease { name, holder, life } => {
                Some(BrokerCall::Lease(name.clone(), holder.clone(), secs(u64::from(*life))))
            }
            Op::Apps => Some(BrokerCall::All(Kind::App)),
            Op::Queues => Some(BrokerCall::All(Kind::Queue)),
            Op::Instances(_) => Some(BrokerCall::All(Kind::Instance)),
            Op::App(name) | Op::PutApp { name: Some(name), .. } => lookup(&[(Kind::App, name)]),
            Op::DeleteApp { name, .. } if !peer => lookup(&[(Kind::App, name)]),
            Op::AddInstance { found: Some(_), .. } if !peer => Some(BrokerCall::Branches),
            Op::AddInstance { app, name, .. } if !peer => match name {
                Some(name) => lookup(&[(Kind::App, app), (Kind::Instance, name)]),
                None => lookup(&[(Kind::App, app)]),
            },
            Op::Instance { name, .. } if !self.model.instances.contains_key(name) => {
                if peer {
                    None
                } else {
                    lookup(&[(Kind::Instance, name)])
                }
            }
            Op::Instance { what: InstanceOp::AddConsumer(queue), .. } if self.known_queue(queue).is_none() => {
                lookup(&[(Kind::Queue, queue)])
            }
            Op::Queue(name) | Op::DeleteQueue(name) => lookup(&[(Kind::Queue, name)]),
            Op::QueueUrl { app, queue: Some(queue), .. } => lookup(&[(Kind::App, app), (Kind::Queue, queue)]),
            Op::QueueUrl { app, .. } | Op::Query { app, .. } if !self.model.apps.contains_key(app) => {
                lookup(&[(Kind::App, app)])
            }
            _ => None,
        }
    }

    /// The broker has answered what a request waits for.
    pub(super) fn looked(&mut self, now: Now, id: u64, answer: Result<Answer, String>) {
        let knows = self.has(id);
        let Some(pending) = self.pending.get_mut(&id) else { return };
        match (std::mem::replace(&mut pending.stage, Stage::Looking), answer) {
            (Stage::Claiming(claimed), Err(reason)) => {
                if let Claimed::Instance(instance, _) = *claimed {
                    self.unsure.insert(Key::new(Kind::Instance, &instance.name));
                }
                self.finish(id, Reply::no_broker(&reason));
            }
            // The branch knows its own entries without the broker.
            (Stage::Looking, Err(_)) if knows => self.decide(now, id, Answer::Done),
            (_, Err(reason)) => self.finish(id, Reply::no_broker(&reason)),
            (Stage::Claiming(claimed), Ok(answer)) => self.claimed(now, id, *claimed, answer),
            (Stage::Writing(reply, changes), Ok(_)) => {
                for change in changes {
                    self.written(now, change);
                }
                self.finish(id, reply);
            }
            (Stage::Gathering { message, replies, .. }, Ok(Answer::Sent(expected))) => {
                let gathering = Stage::Gathering { message, expected: expected + 1, replies };
                self.stage(id, gathering, Some(now.mono + SCATTER));
                self.gathered(id);
            }
            // The broker has the message; the answer comes from the branch.
            (stage @ Stage::Forwarded(_), Ok(_)) => pending.stage = stage,
            (_, Ok(answer)) => self.decide(now, id, answer),
        }
    }

    /// Whether a request reads what this branch has itself.
    fn has(&self, id: u64) -> bool {
        match self.pending.get(&id).map(|pending| &pending.op) {
            Some(Op::App(name)) => self.model.apps.contains_key(name),
            Some(Op::Queue(name)) => self.model.queues.contains_key(name),
            _ => false,
        }
    }

    /// The broker knows of a change: this branch carries it out, and notifies the others.
    fn written(&mut self, now: Now, change: Change) {
        match change {
            Change::PutApp(app) => {
                self.tell_others(Payload::Changed(Kind::App, app.name.clone()));
                self.put_app(now, app);
            }
            Change::DropQueue(name) => {
                self.tell_others(Payload::Changed(Kind::Queue, name.clone()));
                self.forget_queue(now, &name);
            }
            change => self.store(change),
        }
    }

    fn stage(&mut self, id: u64, stage: Stage, deadline: Option<Duration>) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.stage = stage;
            pending.deadline = deadline;
        }
    }

    /// Everything is known that must be: does what is asked, or has another branch do it.
    fn decide(&mut self, now: Now, id: u64, answer: Answer) {
        let Some(pending) = self.pending.get(&id) else { return };
        let (op, peer) = (pending.op.clone(), matches!(pending.origin, Origin::Peer { .. }));
        match op {
            Op::Ping => self.finish(id, Reply::ok(json!({"ok": "pong"}))),
            Op::Branches => {
                let ids: Vec<String> = present(answer).into_iter().map(|branch| branch.id).collect();
                self.finish(id, Reply::ok(json!(ids)));
            }
            Op::Branch(branch) => match () {
                () if branch == self.settings.id => self.finish(id, Reply::ok(self.shown())),
                () if present(answer).iter().any(|one| one.id == branch) => self.forward(now, id, branch),
                () => self.finish(id, Reply::missing()),
            },
            Op::Machines => {
                let machines = present(answer);
                self.finish(id, Reply::ok(json!(machines)));
            }
            Op::Machine { id: machine, watcher, what } => match () {
                () if machine == self.settings.id => match what {
                    MachineOp::Events(after) => self.watch(now, id, watcher, after),
                    what => self.ask_circusd(id, watcher, what),
                },
                () if present(answer).iter().any(|one| one.id == machine) => self.forward(now, id, machine),
                () => self.finish(id, Reply::missing()),
            },
            Op::Lease { name, life, .. } => {
                let reply = match answer {
                    Answer::Leased(Some(number)) => Reply::ok(json!({"number": number, "life": life})),
                    _ => Reply::refused(409, format!("another holder has lease '{name}'")),
                };
                self.finish(id, reply);
            }
            Op::Apps => self.list(id, answer, Kind::App, None),
            Op::Queues => self.list(id, answer, Kind::Queue, None),
            Op::Instances(app) => match answer {
                Answer::Found(_) if deleted(&answer) || self.app(&app, &answer).is_none() => {
                    self.finish(id, Reply::missing());
                }
                Answer::Found(_) => self.finish(id, Reply::ok(json!([]))),
                _ => self.list(id, answer, Kind::Instance, Some(&app)),
            },
            Op::PutApp { name, fields } => {
                let name = name.unwrap_or_else(|| self.random.uuid());
                let mut buried = Vec::new();
                if let Some(entry) = looked_up(&answer, 0).filter(|entry| entry.deleted.is_some()) {
                    buried = App::buried(&entry.body);
                    self.compare_app(now, &name, entry);
                }
                let app = App { name, uid: self.random.uuid(), buried, ..App::default() }.with(&fields);
                let app = self.model.apps.get(&app.name).cloned().map_or(app, |known| known.with(&fields));
                let key = Key::new(Kind::App, &app.name);
                let entry = self.entry(json!(app));
                self.stage(id, Stage::Claiming(Box::new(Claimed::App(app))), None);
                self.ask_broker(Purpose::Request(id), BrokerCall::Claim(key, entry, Claim::New));
            }
            // The broker's answer counts: another branch may have changed it a moment ago.
            Op::App(name) => match one(&answer, 0).or_else(|| self.app(&name, &answer)) {
                Some(_) if deleted(&answer) => self.finish(id, Reply::missing()),
                Some(app) => self.finish(id, Reply::ok(app.shown(&self.settings.broker))),
                None => self.finish(id, Reply::missing()),
            },
            Op::DeleteApp { name, force } => self.delete_app(now, id, &name, force, peer, answer),
            Op::AddInstance { .. } => self.add_instance(now, id, op, peer, answer),
            Op::Instance { name, what } => self.instance(now, id, &name, what, answer),
            Op::Queue(name) => {
                let queue = one(&answer, 0).or_else(|| self.model.queues.get(&name).cloned());
                let reply =
                    queue.filter(|_| !deleted(&answer)).map_or_else(Reply::missing, |queue| Reply::ok(queue.shown()));
                self.finish(id, reply);
            }
            Op::PutQueue(queue) => {
                let queue = self.declared(&queue.name).unwrap_or(queue);
                let (key, entry) = (Key::new(Kind::Queue, &queue.name), self.entry(json!(queue)));
                self.stage(id, Stage::Claiming(Box::new(Claimed::Queue(queue))), None);
                self.ask_broker(Purpose::Request(id), BrokerCall::Claim(key, entry, Claim::New));
            }
            Op::DeleteQueue(name) => self.delete_queue(now, id, &name, &answer),
            Op::QueueUrl { app, queue, request } => {
                let Some(found) = self.app(&app, &answer) else { return self.finish(id, Reply::missing()) };
                let declared = queue.as_ref().and_then(|name| self.known_queue(name).or_else(|| one(&answer, 1)));
                if queue.is_some() && declared.is_none() {
                    return self.finish(id, Reply::missing());
                }
                let broker = found.broker.unwrap_or_else(|| self.settings.broker.clone());
                let task = task_of(&self.settings.id, &self.random.uuid());
                let publication = Publication { task, broker, queue: declared, request };
                self.stage(id, Stage::Listening, None);
                let call = self.new_call(Purpose::Request(id));
                self.actions.push(Action::Publish { call, publication });
            }
            Op::Query { app, task, what } => self.query(now, id, &app, task, what, peer, answer),
        }
    }

    /// Has this machine's circusd do something.
    fn ask_circusd(&mut self, id: u64, watcher: Option<String>, what: MachineOp) {
        self.stage(id, Stage::Listening, None);
        let mut properties = what.properties();
        if let Some(name) = watcher {
            properties.insert("name".into(), name.into());
        }
        if !what.only_reads() {
            self.log(format!("circusd: {} {}", what.command(), json!(properties)));
        }
        let call = self.new_call(Purpose::Request(id));
        self.actions.push(Action::Circus { call, command: what.command(), properties, patience: CIRCUSD });
    }

    /// What circusd has reported, after a number; waited for, if there is nothing yet.
    fn watch(&mut self, now: Now, id: u64, watcher: Option<String>, after: Option<u64>) {
        let (all, after) = (after.is_none(), after.unwrap_or(0));
        let reply = self.reports_after(watcher.as_deref(), after);
        match reply.body["events"].as_array() {
            Some(none) if none.is_empty() && !all => {
                self.stage(id, Stage::Watching(watcher, after), Some(now.mono + REPORT));
            }
            _ => self.finish(id, reply),
        }
    }

    fn reports_after(&self, watcher: Option<&str>, after: u64) -> Reply {
        let meant = |report: &Value| watcher.is_none_or(|name| report["watcher"] == name.to_lowercase());
        let found = self.reports.kept.iter().filter(|(number, report)| *number > after && meant(report));
        let events: Vec<&Value> = found.map(|(_, report)| report).collect();
        Reply::ok(json!({"events": events, "next": self.reports.last}))
    }

    /// circusd has reported something.
    pub(super) fn reported(&mut self, now: Now, watcher: String, event: String, about: Value) {
        self.reports.last += 1;
        if self.reports.kept.len() == REPORTS {
            self.reports.kept.pop_front();
        }
        let number = self.reports.last;
        let report = json!({"number": number, "time": now.unix, "watcher": watcher, "event": event, "about": about});
        self.reports.kept.push_back((number, report));
        let watching = self.pending.iter().filter_map(|(id, pending)| match &pending.stage {
            Stage::Watching(name, after) => Some((*id, name.clone(), *after)),
            _ => None,
        });
        for (id, name, after) in watching.collect::<Vec<_>>() {
            let reply = self.reports_after(name.as_deref(), after);
            if reply.body["events"].as_array().is_some_and(|events| !events.is_empty()) {
                self.finish(id, reply);
            }
        }
    }

    /// What became of a task. Where results go to the branch that has published the task, that branch is asked.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn query(&mut self, now: Now, id: u64, app: &str, task: String, what: Query, peer: bool, answer: Answer) {
        if let Answer::Branches(alive) = answer {
            return match alive.into_iter().find(|branch| task_of(&branch.id, &task) == task) {
                Some(branch) => self.forward(now, id, branch.id),
                // It has gone, or there never was such a task.
                None if matches!(what, Query::Wait(_)) => self.finish(id, Reply::missing()),
                None => self.look(now, id, None, task, RPC.into(), what),
            };
        }
        let Some(app) = self.app(app, &answer) else { return self.finish(id, Reply::missing()) };
        let backend = self.backend(Some(&app), None);
        if backend == RPC && !peer && task_of(&self.settings.id, &task) != task {
            return self.ask_broker(Purpose::Request(id), BrokerCall::Branches);
        }
        self.look(now, id, app.broker, task, backend, what);
    }

    fn look(&mut self, now: Now, id: u64, broker: Option<String>, task: String, backend: String, what: Query) {
        let limit = match what {
            Query::Wait(_) => self.patience(now, id).unwrap_or(LOOK).min(LOOK),
            Query::State | Query::Result => Duration::ZERO,
        };
        self.stage(id, Stage::Listening, None);
        let broker = broker.unwrap_or_else(|| self.settings.broker.clone());
        let call = self.new_call(Purpose::Request(id));
        self.actions.push(Action::Look { call, task, backend, broker, what, limit });
    }

    /// How long the client of a request still waits for a result; without an end, nothing.
    fn patience(&mut self, now: Now, id: u64) -> Option<Duration> {
        let pending = self.pending.get_mut(&id)?;
        let Op::Query { what: Query::Wait(Some(seconds)), .. } = pending.op else { return None };
        let until = *pending.until.get_or_insert(now.mono + Duration::from_secs_f64(seconds));
        Some(until.saturating_sub(now.mono))
    }

    /// There is no result yet. False: the client waits no longer.
    fn wait_on(&mut self, now: Now, id: u64) -> bool {
        let waits = self.pending.get(&id).is_some_and(|pending| {
            matches!(pending.op, Op::Query { what: Query::Wait(_), .. })
                && !matches!(pending.origin, Origin::Peer { .. })
        });
        let again = waits && self.patience(now, id).is_none_or(|left| !left.is_zero());
        if again {
            self.stage(id, Stage::Looking, None);
            self.proceed(now, id);
        }
        again
    }

    /// A task was published, or looked for.
    pub(super) fn looked_for(&mut self, now: Now, call: u64, reply: Reply) {
        if let Some(Purpose::Request(id)) = self.calls.remove(&call) {
            self.answered(now, id, reply);
        }
    }

    fn answered(&mut self, now: Now, id: u64, reply: Reply) {
        if reply.status != 408 || !self.wait_on(now, id) {
            self.finish(id, reply);
        }
    }

    fn app(&self, name: &str, answer: &Answer) -> Option<App> {
        self.model.apps.get(name).cloned().or_else(|| one(answer, 0))
    }

    /// The names of everything of a kind: what the broker knows, and what this branch has.
    fn list(&mut self, id: u64, answer: Answer, kind: Kind, app: Option<&str>) {
        let Answer::All(entries) = answer else { return self.finish(id, Reply::missing()) };
        let mut names: Vec<String> = match kind {
            Kind::App => self.model.apps.keys().cloned().collect(),
            Kind::Queue => self.model.queues.keys().cloned().collect(),
            Kind::Instance => {
                let own = self.model.instances.values().filter(|one| Some(one.app.as_str()) == app && !one.deleting);
                own.map(|instance| instance.name.clone()).collect()
            }
        };
        let own = &self.settings.id;
        let of_others = entries.into_iter().filter(|(_, found)| {
            kind != Kind::Instance || {
                found.alive && found.entry.owner != *own && found.entry.body["app"].as_str() == app
            }
        });
        names.extend(of_others.map(|(key, found)| found.entry.body["name"].as_str().unwrap_or(&key).to_owned()));
        names.sort();
        names.dedup();
        match app {
            // Is there such an application?
            Some(app) if names.is_empty() && app != DEFAULT_APP => {
                self.ask_broker(Purpose::Request(id), BrokerCall::Lookup(vec![Key::new(Kind::App, app)]));
            }
            _ => self.finish(id, Reply::ok(json!(names))),
        }
    }

    fn delete_app(&mut self, now: Now, id: u64, name: &str, force: bool, peer: bool, answer: Answer) {
        if peer {
            self.drop_app(now, name, force);
            return self.finish(id, Reply::done(200));
        }
        let Answer::All(entries) = answer else {
            return match self.app(name, &answer) {
                Some(app) => {
                    if let Some(pending) = self.pending.get_mut(&id) {
                        pending.doomed = Some(one(&answer, 0).unwrap_or(app));
                    }
                    self.ask_broker(Purpose::Request(id), BrokerCall::All(Kind::Instance));
                }
                None => self.finish(id, Reply::missing()),
            };
        };
        let used = entries.iter().any(|(_, found)| found.entry.body["app"].as_str() == Some(name));
        if used && !force {
            let reason = format!("application '{name}' has instances; force=1 deletes them too");
            return self.finish(id, Reply::refused(409, reason));
        }
        let doomed = self.pending.get(&id).and_then(|pending| pending.doomed.as_ref());
        let grave = doomed.filter(|_| force).map_or(Value::Null, App::grave);
        self.drop_app(now, name, force);
        let gone = Entry { owner: self.settings.id.clone(), body: grave, deleted: Some(now.unix) };
        self.ask_broker(Purpose::Nothing, BrokerCall::Put(Key::new(Kind::App, name), gone));
        let message = self.random.uuid();
        let replies = vec![Reply::done(200).body];
        self.forwarded.insert(message.clone(), id);
        // The broker knows how many others there are.
        let gathering = Stage::Gathering { message: message.clone(), expected: usize::MAX, replies };
        self.stage(id, gathering, Some(now.mono + SCATTER));
        let op = Op::DeleteApp { name: name.to_owned(), force };
        let payload = Payload::Request { op, nowait: false, expires: now.unix + SCATTER.as_secs_f64() };
        let message = crate::core::Message { id: message, from: self.settings.id.clone(), payload };
        self.ask_broker(Purpose::Request(id), BrokerCall::Send(To::Others, message));
    }

    pub(super) fn drop_app(&mut self, now: Now, name: &str, force: bool) {
        let instances = self.model.instances.values().filter(|instance| instance.app == name && !instance.deleting);
        for mut instance in instances.filter(|_| force).cloned().collect::<Vec<_>>() {
            instance.deleting = true;
            self.put_instance(now, instance);
        }
        if self.model.apps.contains_key(name) {
            self.store(Change::DropApp(name.to_owned()));
        }
    }

    fn delete_queue(&mut self, now: Now, id: u64, name: &str, answer: &Answer) {
        if !self.model.queues.contains_key(name) && one::<Queue>(answer, 0).is_none() {
            return self.finish(id, Reply::missing());
        }
        let gone = Entry { owner: self.settings.id.clone(), body: Value::Null, deleted: Some(now.unix) };
        let change = Change::DropQueue(name.to_owned());
        self.stage(id, Stage::Writing(self.done(id, 200), vec![change]), None);
        self.ask_broker(Purpose::Request(id), BrokerCall::Put(Key::new(Kind::Queue, name), gone));
    }

    /// The answer of something that is done: to one that does not wait, that it will be.
    fn done(&self, id: u64, status: u16) -> Reply {
        match self.pending.get(&id) {
            Some(pending) if pending.nowait => Reply::scheduled(),
            _ => Reply::done(status),
        }
    }

    fn add_instance(&mut self, now: Now, id: u64, op: Op, peer: bool, answer: Answer) {
        let Op::AddInstance { app, name, fields, place, idempotent, found } = op else { return };
        let Some(found) = found else {
            return self.prepare_instance(
                now,
                id,
                Op::AddInstance { app, name, fields, place, idempotent, found },
                &answer,
            );
        };
        let name = name.unwrap_or_else(|| self.random.uuid());
        if peer {
            return self.claim_instance(now, id, &name, &fields, found);
        }
        let Some(branch) = self.choose(&place, present(answer)) else {
            return self.finish(id, Reply::refused(409, "no running branch fits this placement"));
        };
        if branch == self.settings.id {
            return self.claim_instance(now, id, &name, &fields, found);
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            let (name, found) = (Some(name), Some(found));
            pending.op = Op::AddInstance { app, name, fields, place, idempotent, found };
        }
        self.forward(now, id, branch);
    }

    /// Knows the application of a new instance, and whether there is one of its name already.
    fn prepare_instance(&mut self, now: Now, id: u64, op: Op, answer: &Answer) {
        let Op::AddInstance { app, name, fields, place, idempotent, .. } = op else { return };
        let entry = looked_up(answer, 0);
        if let Some(entry) = entry {
            self.compare_app(now, &app, entry);
        }
        let buried = entry.map(|entry| App::buried(&entry.body)).unwrap_or_default();
        let known = self.model.apps.get(&app).cloned().filter(|_| entry.is_none());
        let default = || (app == DEFAULT_APP).then(|| App { name: app.clone(), buried, ..App::default() });
        let Some(found) = one(answer, 0).or(known).or_else(default) else {
            return self.finish(id, Reply::missing());
        };
        let existing = name.as_ref().and_then(|name| match answer {
            _ if self.model.instances.contains_key(name) => Some(self.settings.id.clone()),
            Answer::Found(found) => found.get(1)?.as_ref().map(|found| found.entry.owner.clone()),
            _ => None,
        });
        let next = match (existing, name) {
            (Some(owner), Some(name)) if !idempotent => return self.finish(id, taken(&name, &owner)),
            (Some(_), Some(name)) => Op::Instance { name, what: InstanceOp::Get },
            (_, name) => Op::AddInstance { app, name, fields, place, idempotent, found: Some(found) },
        };
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.op = next;
        }
        self.proceed(now, id);
    }

    /// The branch that is to have a new instance.
    fn choose(&mut self, place: &Place, present: Vec<Presence>) -> Option<String> {
        let mut candidates: Vec<Presence> = match place {
            Place::Branch(id) => present.into_iter().filter(|branch| branch.id == *id).collect(),
            Place::Label(label) => present.into_iter().filter(|branch| branch.labels.contains(label)).collect(),
            Place::RoundRobin | Place::Least | Place::LeastLoad => present,
        };
        candidates.sort_by(|a, b| a.id.cmp(&b.id));
        if *place == Place::Least {
            let fewest = candidates.iter().map(|branch| branch.instances).min()?;
            candidates.retain(|branch| branch.instances == fewest);
        }
        if *place == Place::LeastLoad {
            // A machine of which nothing is known comes last.
            let load = |branch: &Presence| branch.cpu.unwrap_or(f64::INFINITY);
            let least = candidates.iter().map(load).fold(f64::INFINITY, f64::min);
            candidates.retain(|branch| load(branch) <= least);
        }
        if candidates.is_empty() {
            return None;
        }
        self.turn = self.turn.wrapping_add(1);
        let at = self.turn % candidates.len();
        Some(candidates.swap_remove(at).id)
    }

    fn claim_instance(&mut self, now: Now, id: u64, name: &str, fields: &InstanceFields, app: App) {
        if let Some(known) = self.model.instances.get(name) {
            let reply = taken(&known.name, &self.settings.id);
            return self.finish(id, reply);
        }
        if self.unsaved() > 0 {
            return self.refuse_change(id);
        }
        let instance = Instance::new(name, &app.name, fields, now.unix);
        let entry = self.entry(instance_body(name, &app.name));
        self.stage(id, Stage::Claiming(Box::new(Claimed::Instance(instance, Some(app)))), None);
        let key = Key::new(Kind::Instance, name);
        self.ask_broker(Purpose::Request(id), BrokerCall::Claim(key, entry, Claim::New));
    }

    /// The declaration of a queue that this branch keeps, or is about to: it stays as it is.
    fn declared(&self, name: &str) -> Option<Queue> {
        let claimed = self.pending.values().find_map(|pending| match &pending.stage {
            Stage::Claiming(claimed) => match &**claimed {
                Claimed::Queue(queue) if queue.name == name => Some(queue),
                _ => None,
            },
            _ => None,
        });
        self.model.queues.get(name).or(claimed).cloned()
    }

    /// The broker has decided on a name.
    fn claimed(&mut self, now: Now, id: u64, claimed: Claimed, answer: Answer) {
        match (claimed, answer) {
            (Claimed::Instance(instance, app), Answer::Won) => self.create(now, id, instance, app),
            (Claimed::Instance(instance, _), Answer::Held(entry)) => {
                self.finish(id, taken(&instance.name, &entry.owner));
            }
            (Claimed::App(app), Answer::Won) => {
                let reply = Reply::created(app.shown(&self.settings.broker));
                match self.model.apps.get(&app.name) {
                    Some(known) if *known == app => {}
                    Some(_) => self.written(now, Change::PutApp(app)),
                    None => self.put_app(now, app),
                }
                self.finish(id, reply);
            }
            (Claimed::App(app), Answer::Held(entry)) => self.change_app(id, app, entry),
            (Claimed::Queue(queue), Answer::Won) => {
                let reply = self.shown_queue(id, &queue);
                if self.model.queues.get(&queue.name) != Some(&queue) {
                    self.store(Change::PutQueue(queue));
                }
                self.finish(id, reply);
            }
            (Claimed::Queue(queue), Answer::Held(entry)) => {
                let held = serde_json::from_value(entry.body).unwrap_or(queue);
                self.finish(id, self.shown_queue(id, &held));
            }
            (_, _) => self.finish(id, Reply::no_broker("its answer is not of the expected form")),
        }
    }

    fn shown_queue(&self, id: u64, queue: &Queue) -> Reply {
        match self.pending.get(&id) {
            Some(pending) if pending.nowait => Reply::scheduled(),
            _ => Reply::created(queue.shown()),
        }
    }

    /// Another branch has the application: its fields are changed for all.
    fn change_app(&mut self, id: u64, app: App, entry: Entry) {
        let Ok(held) = serde_json::from_value::<App>(entry.body) else {
            return self.finish(id, Reply::no_broker("what it knows of the application cannot be read"));
        };
        let changed = match self.pending.get(&id).map(|pending| &pending.op) {
            Some(Op::PutApp { fields, .. }) => held.clone().with(fields),
            _ => app,
        };
        let reply = Reply::created(changed.shown(&self.settings.broker));
        if changed == held {
            return self.finish(id, reply);
        }
        let entry = Entry { owner: entry.owner, body: json!(changed), deleted: None };
        let key = Key::new(Kind::App, &changed.name);
        self.stage(id, Stage::Writing(reply, vec![Change::PutApp(changed)]), None);
        self.ask_broker(Purpose::Request(id), BrokerCall::Put(key, entry));
    }

    /// The name is this branch's: there is an instance.
    fn create(&mut self, now: Now, id: u64, instance: Instance, app: Option<App>) {
        // While the broker was asked, another request may have made it.
        if self.model.instances.contains_key(&instance.name) {
            return self.finish(id, taken(&instance.name, &self.settings.id));
        }
        if let Some(app) = app {
            self.take_app(now, app);
        }
        let name = instance.name.clone();
        let reply = Reply::created(self.shown_instance(&instance));
        self.put_instance(now, instance);
        self.announce(now);
        match self.pending.get(&id) {
            Some(pending) if pending.nowait => self.finish(id, Reply { status: 202, body: json!({"name": name}) }),
            _ => self.stage(id, Stage::Settling { instance: name, reply }, Some(now.mono + CREATED)),
        }
    }

    /// The application of a new instance, as the branch that was asked knows it.
    fn take_app(&mut self, now: Now, mut app: App) {
        match self.model.apps.get(&app.name) {
            Some(known) if app.buried.contains(&known.uid) => {
                let entry = self.entry(json!(app));
                self.compare_app(now, &app.name, &entry);
            }
            Some(_) => return,
            None => {}
        }
        if app.uid.is_empty() {
            app.uid = self.random.uuid();
        }
        self.store(Change::PutApp(app));
    }

    fn shown_instance(&self, instance: &Instance) -> Value {
        let broker = instance.broker(self.model.apps.get(&instance.app), &self.settings.broker);
        instance.shown(broker)
    }

    /// Something about one instance.
    fn instance(&mut self, now: Now, id: u64, name: &str, what: InstanceOp, answer: Answer) {
        let Some(instance) = self.model.instances.get(name).cloned() else {
            return match answer {
                Answer::Found(found) => match found.into_iter().next().flatten() {
                    Some(Found { entry, alive: true }) if entry.owner != self.settings.id => {
                        self.forward(now, id, entry.owner);
                    }
                    _ => self.finish(id, Reply::missing()),
                },
                _ => self.finish(id, Reply::missing()),
            };
        };
        if instance.deleting {
            return self.finish(id, Reply::missing());
        }
        match what {
            InstanceOp::Get => {
                let body = self.shown_instance(&instance);
                self.finish(id, Reply::ok(body));
            }
            InstanceOp::Autoscale => self.finish(id, Reply::ok(shown_bounds(&instance))),
            InstanceOp::Queues => self.listen(id, &instance, "active_queues"),
            InstanceOp::Stats => self.listen(id, &instance, "stats"),
            what => self.change_instance(now, id, instance, what, &answer),
        }
    }

    fn listen(&mut self, id: u64, instance: &Instance, method: &'static str) {
        self.stage(id, Stage::Listening, None);
        self.ask_worker(Purpose::Request(id), instance, method, json!({}), ASKED);
    }

    fn change_instance(&mut self, now: Now, id: u64, mut instance: Instance, what: InstanceOp, answer: &Answer) {
        if self.unsaved() > 0 {
            return self.refuse_change(id);
        }
        let before = instance.clone();
        let (reply, limit) = match what {
            InstanceOp::Delete => {
                instance.deleting = true;
                (self.done(id, 200), DELETED)
            }
            InstanceOp::AddConsumer(name) => {
                let Some(queue) = self.known_queue(&name).or_else(|| one(answer, 0)) else {
                    return self.finish(id, Reply::missing());
                };
                if !instance.queues.iter().any(|known| known.name == name) {
                    self.log(format!("{{Supervisor}} {}: instance.consume_from: {name}", instance.name));
                    instance.queues.push(queue);
                }
                (self.done(id, 201), TOLD)
            }
            InstanceOp::DeleteConsumer(name) => {
                instance.queues.retain(|queue| queue.name != name);
                (self.done(id, 200), TOLD)
            }
            InstanceOp::SetAutoscale { max, min } => {
                instance.max_concurrency = max.unwrap_or(instance.max_concurrency);
                instance.min_concurrency = min.unwrap_or(instance.min_concurrency);
                if let Err(error) = model::bounds(instance.max_concurrency, instance.min_concurrency) {
                    return self.finish(id, error.into());
                }
                (Reply::ok(shown_bounds(&instance)), TOLD)
            }
            InstanceOp::Enable(enabled) => {
                instance.is_enabled = enabled;
                instance.note = None;
                (self.done(id, 200), TOLD)
            }
            InstanceOp::Restart => (self.done(id, 200), CREATED),
            InstanceOp::Get | InstanceOp::Autoscale | InstanceOp::Queues | InstanceOp::Stats => return,
        };
        let restart =
            matches!(self.pending.get(&id), Some(Pending { op: Op::Instance { what: InstanceOp::Restart, .. }, .. }));
        let (name, scales) = (instance.name.clone(), instance.scales());
        let rescaled =
            (instance.max_concurrency, instance.min_concurrency) != (before.max_concurrency, before.min_concurrency);
        if instance != before {
            self.put_instance(now, instance);
        }
        let worker = self.workers.change_or_add(&name, now.mono);
        match restart {
            true => worker.restart(now.mono),
            false if rescaled && !scales => worker.respecify(now.mono),
            false => worker.clear_budget(),
        }
        if self.pending.get(&id).is_some_and(|pending| pending.nowait) {
            return self.finish(id, Reply::scheduled());
        }
        self.stage(id, Stage::Settling { instance: name, reply }, Some(now.mono + limit));
        self.settle(now);
    }

    /// Gives a request to another branch.
    fn forward(&mut self, now: Now, id: u64, branch: String) {
        let (message, patience) = (self.random.uuid(), self.patience(now, id));
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let (mut op, nowait) = (pending.op.clone(), pending.nowait);
        if let Op::Query { what: Query::Wait(limit), .. } = &mut op {
            *limit = Some(patience.unwrap_or(LOOK).min(LOOK).as_secs_f64());
        }
        let expires = now.unix + FORWARDED.as_secs_f64();
        let scheduled = match &op {
            Op::AddInstance { name, .. } => Reply { status: 202, body: json!({"name": name}) },
            _ => Reply::scheduled(),
        };
        pending.stage = Stage::Forwarded(message.clone());
        pending.deadline = Some(now.mono + FORWARDED);
        let payload = Payload::Request { op, nowait, expires };
        let sent = crate::core::Message { id: message.clone(), from: self.settings.id.clone(), payload };
        if nowait {
            self.ask_broker(Purpose::Nothing, BrokerCall::Send(To::Branch(branch), sent));
            return self.finish(id, scheduled);
        }
        self.forwarded.insert(message, id);
        self.ask_broker(Purpose::Request(id), BrokerCall::Send(To::Branch(branch), sent));
    }

    /// Another branch has answered.
    pub(super) fn replied(&mut self, now: Now, message: &str, reply: Reply) {
        let Some(id) = self.forwarded.get(message).copied() else { return };
        match self.pending.get_mut(&id).map(|pending| &mut pending.stage) {
            Some(Stage::Gathering { replies, .. }) => {
                replies.push(reply.body);
                self.gathered(id);
            }
            Some(Stage::Forwarded(sent)) if sent == message => self.answered(now, id, reply),
            _ => {}
        }
    }

    /// Answers a request to all branches once all have answered.
    fn gathered(&mut self, id: u64) {
        if let Some(Stage::Gathering { expected, replies, .. }) = self.pending.get(&id).map(|pending| &pending.stage)
            && replies.len() >= *expected
        {
            let reply = Reply::ok(json!(replies));
            self.finish(id, reply);
        }
    }

    /// A worker has answered what a request asked it.
    pub(super) fn worker_answered(&mut self, _now: Now, id: u64, outcome: Outcome) {
        let queues =
            matches!(self.pending.get(&id), Some(Pending { op: Op::Instance { what: InstanceOp::Queues, .. }, .. }));
        let reply = match outcome {
            Outcome::Reply(Value::Array(list)) if queues => {
                let named = |queue: Value| Some((queue["name"].as_str()?.to_owned(), queue));
                Reply::ok(Value::Object(list.into_iter().filter_map(named).collect()))
            }
            Outcome::Reply(reply) => Reply::ok(reply),
            Outcome::Circus(reply) => of_circusd(reply),
            Outcome::NoCircus(reason) => Reply::refused(503, reason),
            Outcome::NoBroker(reason) => Reply::no_broker(&reason),
            _ if queues => Reply::ok(json!({})),
            _ => Reply::late(),
        };
        self.finish(id, reply);
    }

    /// Gives the name of a deleted instance back. The request that deleted it is answered once the broker knows.
    pub(super) fn free(&mut self, key: Key, name: &str) {
        let deletes = |pending: &Pending| {
            matches!(&pending.op, Op::Instance { name: deleted, what: InstanceOp::Delete } if deleted == name)
                && matches!(pending.stage, Stage::Settling { .. })
        };
        let Some(id) = self.pending.iter().find(|(_, pending)| deletes(pending)).map(|(id, _)| *id) else {
            return self.release(key);
        };
        // If the broker cannot be reached now, it gets this later.
        self.unsure.insert(key.clone());
        self.stage(id, Stage::Writing(Reply::done(200), Vec::new()), None);
        self.ask_broker(Purpose::Request(id), BrokerCall::Release(key, self.settings.id.clone()));
    }

    /// Answers requests whose worker is as wanted.
    pub(super) fn settle(&mut self, _now: Now) {
        let settled = |pending: &Pending| match &pending.stage {
            Stage::Settling { instance, .. } => {
                match (self.model.instances.get(instance), self.workers.get(instance)) {
                    (Some(wanted), _) if wanted.deleting => false,
                    (Some(wanted), Some(worker)) => worker.converged(wanted),
                    _ => true,
                }
            }
            _ => false,
        };
        let ids: Vec<u64> = self.pending.iter().filter(|(_, pending)| settled(pending)).map(|(id, _)| *id).collect();
        for id in ids {
            self.give_up(id);
        }
    }

    /// Answers requests whose time has passed.
    pub(super) fn expire(&mut self, now: Now) {
        let late = |pending: &Pending| pending.deadline.is_some_and(|deadline| now.mono >= deadline);
        let ids: Vec<u64> = self.pending.iter().filter(|(_, pending)| late(pending)).map(|(id, _)| *id).collect();
        for id in ids {
            // The branch that is asked for a result may have gone.
            if !self.wait_on(now, id) {
                self.give_up(id);
            }
        }
    }

    /// Waits no longer.
    fn give_up(&mut self, id: u64) {
        let reply = match self.pending.get(&id).map(|pending| &pending.stage) {
            Some(Stage::Settling { reply, .. }) => reply.clone(),
            Some(Stage::Watching(_, after)) => Reply::ok(json!({"events": [], "next": after})),
            Some(Stage::Gathering { replies, .. }) => Reply::ok(json!(replies)),
            _ => Reply::late(),
        };
        self.finish(id, reply);
    }

    /// Answers a request.
    fn finish(&mut self, id: u64, reply: Reply) {
        let Some(pending) = self.pending.remove(&id) else { return };
        if let Stage::Forwarded(message) | Stage::Gathering { message, .. } = &pending.stage {
            self.forwarded.remove(message);
        }
        if pending.nowait && matches!(pending.origin, Origin::Peer { .. }) {
            return;
        }
        let changed = pending.op.changes() && reply.status < 300;
        if changed && !self.saving.under_way.is_empty() {
            return self.saving.answers.push((pending.origin, reply));
        }
        let reply = if changed && self.unsaved() > 0 { Reply::unsaved(&self.saving.reason) } else { reply };
        self.answer(pending.origin, reply);
    }

    pub(super) fn answer(&mut self, origin: Origin, reply: Reply) {
        match origin {
            Origin::Http(id) => self.actions.push(Action::Respond { id, reply }),
            Origin::Peer { branch, id } => self.answer_peer(branch, id, reply),
        }
    }
}

/// What circusd has answered.
fn of_circusd(reply: Value) -> Reply {
    match (reply["status"].as_str(), reply["reason"].as_str()) {
        (Some("error"), Some(reason)) if reason.contains("not found") => Reply::missing(),
        (Some("error"), reason) => Reply::refused(409, reason.unwrap_or("circusd refuses")),
        _ => Reply::ok(match (reply.get("statuses"), reply.get("details")) {
            (Some(statuses), None) => statuses.clone(),
            _ => reply,
        }),
    }
}

/// The id of a task that this branch publishes, made from a random one: its end shows the branch.
fn task_of(branch: &str, random: &str) -> String {
    let hash = branch
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let begin = random.get(..24).unwrap_or(random);
    format!("{begin}{:012x}", hash >> 16)
}

fn taken(name: &str, owner: &str) -> Reply {
    Reply::refused(409, format!("there is an instance '{name}' on branch '{owner}'"))
}

fn shown_bounds(instance: &Instance) -> Value {
    json!({"max": instance.max_concurrency, "min": instance.min_concurrency})
}

fn present(answer: Answer) -> Vec<Presence> {
    match answer {
        Answer::Branches(list) => list,
        _ => Vec::new(),
    }
}

/// Whether what was looked up was deleted.
fn deleted(answer: &Answer) -> bool {
    looked_up(answer, 0).is_some_and(|entry| entry.deleted.is_some())
}

/// The entry that was looked up at this place.
fn looked_up(answer: &Answer, at: usize) -> Option<&Entry> {
    let Answer::Found(found) = answer else { return None };
    Some(&found.get(at)?.as_ref()?.entry)
}

/// What was looked up at this place, unless it was deleted.
fn one<T: serde::de::DeserializeOwned>(answer: &Answer, at: usize) -> Option<T> {
    let entry = looked_up(answer, at)?;
    let kept = entry.deleted.is_none().then(|| entry.body.clone())?;
    serde_json::from_value(kept).ok()
}
