//! The branch among the others: what it announces, what it claims, what it hears.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Branch, Claimed, HEARTBEAT, Origin, PRESENCE, Pending, Purpose, Stage};
use crate::core::board::{Answer, BrokerCall, Claim, Entry, Found, Key, Kind};
use crate::core::message::{Message, Payload, To};
use crate::core::model::{App, Change, Queue};
use crate::core::op::Reply;
use crate::core::{Now, secs};

/// How long a request of another branch is remembered.
const SEEN: std::time::Duration = secs(120);

impl Branch {
    /// What is done from time to time.
    pub(super) fn periodic(&mut self, now: Now) {
        self.store_again(now);
        if now.mono >= self.announce_at {
            self.announce(now);
        }
        if now.mono >= self.round_at {
            self.round_at = now.mono + self.settings.interval;
            self.round();
        }
    }

    pub(super) fn announce(&mut self, now: Now) {
        self.announce_at = now.mono + HEARTBEAT;
        let presence = self.presence();
        self.ask_broker(Purpose::Nothing, BrokerCall::Announce(presence, PRESENCE));
    }

    /// The names that the broker holds for this branch: one of them may have nothing behind it.
    pub(super) fn ask_what_is_owned(&mut self) {
        let id = self.settings.id.clone();
        self.ask_broker(Purpose::Owned, BrokerCall::OwnedBy(Kind::Instance, id));
    }

    /// Looks at what the broker knows of everything that this branch has, and at what circusd's processes use.
    fn round(&mut self) {
        self.ask_load();
        if std::mem::take(&mut self.owned_unknown) {
            self.ask_what_is_owned();
        }
        for key in std::mem::take(&mut self.unsure) {
            self.release_unless_kept(key);
        }
        let instances = self.model.instances.keys().map(|name| Key::new(Kind::Instance, name));
        let apps = self.model.apps.keys().map(|name| Key::new(Kind::App, name));
        let used = self.model.instances.values().flat_map(|instance| instance.queues.iter().map(|queue| &queue.name));
        let queues: BTreeSet<&String> = self.model.queues.keys().chain(used).collect();
        let queues = queues.into_iter().map(|name| Key::new(Kind::Queue, name));
        let keys: Vec<Key> = instances.chain(apps).chain(queues).collect();
        if !keys.is_empty() {
            self.ask_broker(Purpose::Round(keys.clone()), BrokerCall::Lookup(keys));
        }
    }

    /// Gives a name back that nothing is behind, now or soon.
    fn release_unless_kept(&mut self, key: Key) {
        let claimed = |pending: &Pending| match &pending.stage {
            Stage::Claiming(claimed) => match &**claimed {
                Claimed::Instance(instance, _) => Key::new(Kind::Instance, &instance.name) == key,
                Claimed::App(_) | Claimed::Queue(_) => false,
            },
            _ => false,
        };
        let kept = self.model.instances.keys().any(|name| Key::new(Kind::Instance, name) == key);
        if !kept && !self.pending.values().any(claimed) {
            self.release(key);
        }
    }

    /// Gives a name back.
    pub(super) fn release(&mut self, key: Key) {
        let id = self.settings.id.clone();
        self.ask_broker(Purpose::Release(key.clone()), BrokerCall::Release(key, id));
    }

    pub(super) fn broker_lost(&mut self, reason: &str) {
        self.broker_was_lost = true;
        if self.broker_since.take().is_some() {
            self.workers.change_all();
            self.warn(format!("{{Supervisor}} the broker cannot be reached, and workers are left alone: {reason}"));
        }
    }

    pub(super) fn broker_answered(&mut self, now: Now, call: u64, answer: Result<Answer, String>) {
        match &answer {
            Err(reason) => self.broker_lost(reason),
            Ok(_) if self.broker_since.is_none() => {
                self.broker_since = Some(now.mono);
                self.workers.change_all();
                if std::mem::take(&mut self.broker_was_lost) {
                    self.broker_revived = Some(now.mono);
                }
                self.log("{Supervisor} there is a broker");
                self.round_at = now.mono;
                self.announce_at = now.mono;
            }
            Ok(_) => {}
        }
        match (self.calls.remove(&call), answer) {
            (Some(Purpose::Request(id)), answer) => self.looked(now, id, answer),
            (Some(Purpose::Round(keys)), Ok(Answer::Found(found))) => {
                for (key, found) in keys.into_iter().zip(found) {
                    self.compare(now, key, found);
                }
            }
            (Some(Purpose::Assertion(key)), Ok(Answer::Held(entry))) => {
                self.compare(now, key, Some(Found { entry, alive: true }));
            }
            (Some(Purpose::Owned), Ok(Answer::Names(names))) => {
                for name in names {
                    self.release_unless_kept(Key::new(Kind::Instance, &name));
                }
            }
            // Asked again with the next round.
            (Some(Purpose::Release(key)), Err(_)) => drop(self.unsure.insert(key)),
            (Some(Purpose::Owned), Err(_)) => self.owned_unknown = true,
            _ => {}
        }
    }

    /// What the broker knows of something that this branch has.
    fn compare(&mut self, now: Now, key: Key, found: Option<Found>) {
        let Some(Found { entry, .. }) = found else { return self.assert(key) };
        let own = entry.owner == self.settings.id;
        match key.kind {
            Kind::Instance if !own => self.yield_instance(now, &key, &entry.owner),
            Kind::Instance => {}
            Kind::App => self.compare_app(now, &key.name, &entry),
            Kind::Queue => self.compare_queue(now, &key.name, &entry),
        }
    }

    /// The broker has forgotten it: a branch that has it says so again.
    fn assert(&mut self, key: Key) {
        let body = match key.kind {
            Kind::Instance => {
                let instance =
                    self.model.instances.values().find(|instance| Key::new(Kind::Instance, &instance.name) == key);
                instance.map(|instance| instance_body(&instance.name, &instance.app))
            }
            Kind::App => self.model.apps.get(&key.name).map(|app| json!(app)),
            Kind::Queue => self.known_queue(&key.name).map(|queue| json!(queue)),
        };
        if let Some(body) = body {
            let entry = self.entry(body);
            self.ask_broker(Purpose::Assertion(key.clone()), BrokerCall::Claim(key, entry, Claim::Again));
        }
    }

    /// The declaration of a queue, where this branch has it or one of its workers consumes from it.
    pub(super) fn known_queue(&self, name: &str) -> Option<Queue> {
        let used = self.model.instances.values().flat_map(|instance| &instance.queues);
        self.model.queues.get(name).or_else(|| used.into_iter().find(|queue| queue.name == name)).cloned()
    }

    pub(super) fn entry(&self, body: Value) -> Entry {
        Entry { owner: self.settings.id.clone(), body, deleted: None }
    }

    /// Another branch has an instance of this name, so this one stops its own. That can be only where the broker has lost
    /// what it knew.
    fn yield_instance(&mut self, now: Now, key: &Key, owner: &str) {
        let found = self.model.instances.values().find(|instance| Key::new(Kind::Instance, &instance.name) == *key);
        let Some(instance) = found.filter(|instance| instance.is_enabled && !instance.deleting) else { return };
        let (mut instance, note) = (instance.clone(), format!("branch '{owner}' has an instance of this name"));
        self.warn(format!("{{Supervisor}} {}: disabled: {note}", instance.name));
        instance.is_enabled = false;
        instance.note = Some(note);
        self.put_instance(now, instance);
    }

    /// What the broker knows of an application that this branch has, or whose instances it has.
    pub(super) fn compare_app(&mut self, now: Now, name: &str, entry: &Entry) {
        let uid = self.model.apps.get(name).map(|app| &app.uid);
        if uid.is_some_and(|uid| App::buried(&entry.body).contains(uid)) {
            self.drop_app(now, name, true);
        }
        let used = self.model.instances.values().any(|one| one.app == name && !one.deleting);
        match serde_json::from_value::<App>(entry.body.clone()) {
            _ if entry.deleted.is_some() && used => {}
            _ if entry.deleted.is_some() => self.store(Change::DropApp(name.to_owned())),
            Ok(app) => self.refresh_app(now, app),
            Err(_) => {}
        }
    }

    /// The fields of an application, as they are now, where this branch has it.
    fn refresh_app(&mut self, now: Now, app: App) {
        if self.model.apps.get(&app.name).is_none_or(|known| *known == app) {
            return;
        }
        self.put_app(now, app);
    }

    fn compare_queue(&mut self, now: Now, name: &str, entry: &Entry) {
        if entry.deleted.is_some() {
            self.forget_queue(now, name);
        } else if entry.owner != self.settings.id && self.model.queues.contains_key(name) {
            // Another branch keeps it.
            self.store(Change::DropQueue(name.to_owned()));
        }
    }

    /// There is no such queue any more.
    pub(super) fn forget_queue(&mut self, now: Now, name: &str) {
        if self.model.queues.contains_key(name) {
            self.store(Change::DropQueue(name.to_owned()));
        }
        let users = self.model.instances.values().filter(|one| one.queues.iter().any(|queue| queue.name == name));
        for mut instance in users.cloned().collect::<Vec<_>>() {
            self.warn(format!("{{Supervisor}} {}: queue '{name}' was deleted", instance.name));
            instance.queues.retain(|queue| queue.name != name);
            self.put_instance(now, instance);
        }
    }

    /// Asks the broker about something, if this branch has it.
    fn look_again(&mut self, kind: Kind, name: &str) {
        let had = match kind {
            Kind::App => self.model.apps.contains_key(name),
            Kind::Queue => self.known_queue(name).is_some(),
            Kind::Instance => self.model.instances.contains_key(name),
        };
        if had {
            let keys = vec![Key::new(kind, name)];
            self.ask_broker(Purpose::Round(keys.clone()), BrokerCall::Lookup(keys));
        }
    }

    /// Another branch says something.
    pub(super) fn message(&mut self, now: Now, message: Message) {
        let Message { id, from, payload } = message;
        match payload {
            Payload::Reply(reply) => self.replied(now, &id, reply),
            Payload::Changed(kind, name) => self.look_again(kind, &name),
            Payload::Request { expires, .. } if now.unix > expires => {}
            Payload::Request { op, nowait, .. } => {
                while self.seen.front().is_some_and(|(_, time, _)| now.mono > *time + SEEN) {
                    self.seen.pop_front();
                }
                match self.seen.iter().find(|(seen, ..)| *seen == id).map(|(_, _, reply)| reply.clone()) {
                    Some(Some(reply)) => self.send(To::Branch(from), id, Payload::Reply(reply)),
                    Some(None) => {}
                    None => {
                        self.seen.push_back((id.clone(), now.mono, None));
                        // No fields: URLs of brokers have passwords.
                        self.log(format!("{{{}}} --> {id} of {from}", self.settings.id));
                        self.begin(now, Origin::Peer { branch: from, id }, op, nowait);
                    }
                }
            }
        }
    }

    /// Sends a message; nothing waits until it is sent.
    pub(super) fn send(&mut self, to: To, id: String, payload: Payload) {
        let message = Message { id, from: self.settings.id.clone(), payload };
        self.ask_broker(Purpose::Nothing, BrokerCall::Send(to, message));
    }

    /// Notifies the others; nothing waits for them.
    pub(super) fn tell_others(&mut self, payload: Payload) {
        let id = self.random.uuid();
        self.send(To::Others, id, payload);
    }

    /// Answers another branch, and remembers the answer.
    pub(super) fn answer_peer(&mut self, branch: String, id: String, reply: Reply) {
        if let Some(seen) = self.seen.iter_mut().find(|(seen, ..)| *seen == id) {
            seen.2 = Some(reply.clone());
        }
        self.log(format!("{{{}}} <-- {id} {}", self.settings.id, reply.status));
        self.send(To::Branch(branch), id, Payload::Reply(reply));
    }
}

/// What others must know of an instance.
pub(super) fn instance_body(name: &str, app: &str) -> Value {
    json!({"name": name, "app": app})
}
