//! What a broker does for branches: it knows which are alive, which branch has what, and carries messages.
//!
//! [`Board`] does it in memory. Over Redis the same calls are scripts and lists.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::{Message, To};

/// How long messages wait for a branch that does not fetch them.
pub const MESSAGE_LIFE: Duration = Duration::from_secs(60);

/// A kind of thing that has a name among all branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An application.
    App,
    /// An instance.
    Instance,
    /// A queue.
    Queue,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Instance => "instance",
            Self::Queue => "queue",
        }
    }
}

/// A thing that has a name among all branches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// Its name. Names of instances differ by more than the case of their letters.
    pub name: String,
}

impl Key {
    /// The key of a thing.
    pub fn new(kind: Kind, name: &str) -> Self {
        let name = if kind == Kind::Instance { name.to_lowercase() } else { name.to_owned() };
        Self { kind, name }
    }
}

/// What the broker knows of a thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The branch that has it.
    pub owner: String,
    /// The thing itself, or what others must know of it.
    pub body: Value,
    /// It was deleted: seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<f64>,
}

/// An entry, and whether its branch is alive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// Whether its branch is alive.
    pub alive: bool,
}

/// A branch, as it announces itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// Its id.
    pub id: String,
    /// Where it listens.
    pub url: String,
    /// How many instances it has.
    pub instances: usize,
    /// Its labels, for placing instances.
    pub labels: Vec<String>,
    /// What all processes of its circusd use of the processor, in percent of one; nothing, if that is not known.
    #[serde(default)]
    pub cpu: Option<f64>,
}

/// What a claim does where the thing was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// It is new: that one of its name was deleted does not matter.
    New,
    /// It was there before: it stays deleted.
    Again,
}

/// What a branch asks of the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a call is made once, and lives for a moment")]
pub enum BrokerCall {
    /// This branch is alive, for so long.
    Announce(Presence, Duration),
    /// This branch ends.
    Withdraw(String),
    /// The branches that are alive.
    Branches,
    /// What is known of these.
    Lookup(Vec<Key>),
    /// All entries of a kind.
    All(Kind),
    /// The names of a kind that a branch has.
    OwnedBy(Kind, String),
    /// The entry becomes this one, unless another branch has the thing.
    Claim(Key, Entry, Claim),
    /// The body of the entry becomes this one, whichever branch has the thing.
    Put(Key, Entry),
    /// The entry goes, if this branch has the thing.
    Release(Key, String),
    /// A message.
    Send(To, Message),
    /// A lease, for so long: one branch has it at a time.
    Lease(String, String, Duration),
}

/// What the broker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// To `Branches`.
    Branches(Vec<Presence>),
    /// To `Lookup`, in the order of the keys.
    Found(Vec<Option<Found>>),
    /// To `All`, without what was deleted.
    All(Vec<(String, Found)>),
    /// To `OwnedBy`.
    Names(Vec<String>),
    /// To `Claim`: it is this branch's.
    Won,
    /// To `Claim`: it is not, for there is this entry.
    Held(Entry),
    /// To `Send`: so many branches get it.
    Sent(usize),
    /// To `Lease`: the number of the lease if this branch has it. Each holder has a higher number than the one before.
    Leased(Option<u64>),
}

/// A part of what a broker keeps: all that there is of one thing. Kept for long, it becomes the part of another [`Board`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// An entry, or that there is none.
    Entry(Key, Option<Entry>),
    /// A branch, which was alive for so long when it was last heard of; or that there is none.
    Presence(String, Option<(Presence, Duration)>),
    /// A lease: its holder, for how long it was taken, its number.
    Lease(String, Option<(String, Duration, u64)>),
}

/// What a broker keeps, in memory.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Branches, until when they are taken for alive, and for how long they said that they are.
    presence: BTreeMap<String, (Presence, Duration, Duration)>,
    entries: BTreeMap<Key, Entry>,
    inboxes: BTreeMap<String, VecDeque<(Message, Duration)>>,
    leases: BTreeMap<String, Lease>,
}

#[derive(Clone, Debug)]
struct Lease {
    holder: String,
    until: Duration,
    life: Duration,
    number: u64,
}

impl Board {
    /// Does what is asked, and tells what is another than before, but for times.
    pub fn apply_and_tell(&mut self, now: Duration, call: BrokerCall) -> (Answer, Option<Record>) {
        let subject = match &call {
            BrokerCall::Announce(Presence { id, .. }, _) | BrokerCall::Withdraw(id) => {
                Record::Presence(id.clone(), None)
            }
            BrokerCall::Claim(key, ..) | BrokerCall::Put(key, _) | BrokerCall::Release(key, _) => {
                Record::Entry(key.clone(), None)
            }
            BrokerCall::Lease(name, ..) => Record::Lease(name.clone(), None),
            _ => return (self.apply(now, call), None),
        };
        let before = self.record(&subject);
        let answer = self.apply(now, call);
        let after = self.record(&subject);
        (answer, Some(after).filter(|after| *after != before))
    }

    /// What there is of the thing that a record is about.
    fn record(&self, of: &Record) -> Record {
        match of {
            Record::Entry(key, _) => Record::Entry(key.clone(), self.entries.get(key).cloned()),
            Record::Presence(id, _) => {
                let found = self.presence.get(id).map(|(presence, _, life)| (presence.clone(), *life));
                Record::Presence(id.clone(), found)
            }
            Record::Lease(name, _) => {
                let found = self.leases.get(name).map(|lease| (lease.holder.clone(), lease.life, lease.number));
                Record::Lease(name.clone(), found)
            }
        }
    }

    /// Everything, but for messages.
    pub fn records(&self) -> Vec<Record> {
        let entries = self.entries.keys().map(|key| Record::Entry(key.clone(), None));
        let presence = self.presence.keys().map(|id| Record::Presence(id.clone(), None));
        let leases = self.leases.keys().map(|name| Record::Lease(name.clone(), None));
        entries.chain(presence).chain(leases).map(|subject| self.record(&subject)).collect()
    }

    /// Takes over what another board had. Its times begin anew: what was alive then may not be, but no lease ends early.
    pub fn restore(&mut self, now: Duration, record: Record) {
        match record {
            Record::Entry(key, Some(entry)) => drop(self.entries.insert(key, entry)),
            Record::Entry(key, None) => drop(self.entries.remove(&key)),
            Record::Presence(id, Some((presence, life))) => {
                self.presence.insert(id, (presence, now + life, life));
            }
            Record::Presence(id, None) => drop(self.presence.remove(&id)),
            Record::Lease(name, Some((holder, life, number))) => {
                self.leases.insert(name, Lease { holder, until: now + life, life, number });
            }
            Record::Lease(name, None) => drop(self.leases.remove(&name)),
        }
    }

    /// Forgets what was deleted before this time, in seconds since the epoch, and branches that are gone.
    pub fn tidy(&mut self, now: Duration, before: f64) {
        self.entries.retain(|_, entry| entry.deleted.is_none_or(|time| time >= before));
        self.presence.retain(|_, (_, until, _)| *until > now);
    }

    /// Does what is asked, at this time.
    pub fn apply(&mut self, now: Duration, call: BrokerCall) -> Answer {
        match call {
            BrokerCall::Announce(presence, life) => {
                self.presence.insert(presence.id.clone(), (presence, now + life, life));
                Answer::Done
            }
            BrokerCall::Withdraw(id) => {
                self.presence.remove(&id);
                Answer::Done
            }
            BrokerCall::Branches => {
                let alive = self.presence.values().filter(|(_, until, _)| *until > now);
                Answer::Branches(alive.map(|(presence, ..)| presence.clone()).collect())
            }
            BrokerCall::Lookup(keys) => Answer::Found(keys.iter().map(|key| self.found(now, key)).collect()),
            BrokerCall::All(kind) => {
                let keys = self.entries.iter().filter(|(key, entry)| key.kind == kind && entry.deleted.is_none());
                Answer::All(keys.filter_map(|(key, _)| Some((key.name.clone(), self.found(now, key)?))).collect())
            }
            BrokerCall::OwnedBy(kind, owner) => {
                let own = self.entries.iter().filter(|(key, entry)| key.kind == kind && entry.owner == owner);
                Answer::Names(own.map(|(key, _)| key.name.clone()).collect())
            }
            BrokerCall::Claim(key, entry, claim) => self.claim(key, entry, claim),
            BrokerCall::Put(key, entry) => {
                self.entries.insert(key, entry);
                Answer::Done
            }
            BrokerCall::Release(key, owner) => {
                if self.entries.get(&key).is_some_and(|entry| entry.owner == owner) {
                    self.entries.remove(&key);
                }
                Answer::Done
            }
            BrokerCall::Send(to, message) => Answer::Sent(self.send(now, to, &message)),
            BrokerCall::Lease(name, holder, life) => Answer::Leased(self.lease(now, name, holder, life)),
        }
    }

    /// The next message for a branch.
    pub fn receive(&mut self, now: Duration, branch: &str) -> Option<Message> {
        let inbox = self.inboxes.get_mut(branch)?;
        loop {
            let (message, until) = inbox.pop_front()?;
            if until > now {
                return Some(message);
            }
        }
    }

    /// Forgets everything, as a broker without a disk does when it is started again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    fn alive(&self, now: Duration, id: &str) -> bool {
        self.presence.get(id).is_some_and(|(_, until, _)| *until > now)
    }

    fn found(&self, now: Duration, key: &Key) -> Option<Found> {
        let entry = self.entries.get(key)?;
        Some(Found { entry: entry.clone(), alive: self.alive(now, &entry.owner) })
    }

    fn claim(&mut self, key: Key, entry: Entry, claim: Claim) -> Answer {
        match self.entries.get(&key) {
            Some(held) if held.deleted.is_some() && claim == Claim::New => {}
            Some(held) if held.deleted.is_some() || held.owner != entry.owner => return Answer::Held(held.clone()),
            _ => {}
        }
        self.entries.insert(key, entry);
        Answer::Won
    }

    fn send(&mut self, now: Duration, to: To, message: &Message) -> usize {
        let receivers: Vec<String> = match to {
            To::Branch(id) => vec![id],
            To::Others => {
                let others = self.presence.iter().filter(|(id, (_, until, _))| **id != message.from && *until > now);
                others.map(|(id, _)| id.clone()).collect()
            }
        };
        for id in &receivers {
            self.inboxes.entry(id.clone()).or_default().push_back((message.clone(), now + MESSAGE_LIFE));
        }
        receivers.len()
    }

    fn lease(&mut self, now: Duration, name: String, holder: String, life: Duration) -> Option<u64> {
        let number = match self.leases.get(&name) {
            Some(held) if held.holder == holder && held.until > now => held.number,
            Some(held) if held.until > now => return None,
            Some(held) => held.number + 1,
            None => 1,
        };
        self.leases.insert(name, Lease { holder, until: now + life, life, number });
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message::Payload;
    use super::super::secs;
    use super::*;

    fn entry(owner: &str) -> Entry {
        Entry { owner: owner.into(), body: json!(null), deleted: None }
    }

    fn announce(board: &mut Board, now: u64, id: &str) {
        let presence = Presence { id: id.into(), ..Presence::default() };
        board.apply(secs(now), BrokerCall::Announce(presence, secs(25)));
    }

    #[test]
    fn presence_expires() {
        let mut board = Board::default();
        announce(&mut board, 0, "a");
        announce(&mut board, 10, "b");
        let ids = |board: &mut Board, now| match board.apply(secs(now), BrokerCall::Branches) {
            Answer::Branches(list) => list.into_iter().map(|one| one.id).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(ids(&mut board, 24), ["a", "b"]);
        assert_eq!(ids(&mut board, 26), ["b"]);
        board.apply(secs(26), BrokerCall::Withdraw("b".into()));
        assert!(ids(&mut board, 26).is_empty());
    }

    #[test]
    fn one_branch_wins_a_name_in_any_case() {
        let mut board = Board::default();
        let claim = |board: &mut Board, name, owner: &str, claim| {
            board.apply(secs(0), BrokerCall::Claim(Key::new(Kind::Instance, name), entry(owner), claim))
        };
        assert_eq!(claim(&mut board, "I", "a", Claim::New), Answer::Won);
        assert_eq!(claim(&mut board, "i", "b", Claim::New), Answer::Held(entry("a")));
        assert_eq!(claim(&mut board, "i", "a", Claim::Again), Answer::Won);
        board.apply(secs(0), BrokerCall::Release(Key::new(Kind::Instance, "i"), "b".into()));
        assert_eq!(claim(&mut board, "i", "b", Claim::New), Answer::Held(entry("a")));
        board.apply(secs(0), BrokerCall::Release(Key::new(Kind::Instance, "i"), "a".into()));
        assert_eq!(claim(&mut board, "i", "b", Claim::New), Answer::Won);
    }

    #[test]
    fn what_was_deleted_is_not_asserted_again() {
        let mut board = Board::default();
        let key = Key::new(Kind::Queue, "q");
        let gone = Entry { deleted: Some(1.0), ..entry("a") };
        board.apply(secs(0), BrokerCall::Put(key.clone(), gone.clone()));
        let again = BrokerCall::Claim(key.clone(), entry("a"), Claim::Again);
        assert_eq!(board.apply(secs(0), again), Answer::Held(gone));
        assert_eq!(board.apply(secs(0), BrokerCall::All(Kind::Queue)), Answer::All(vec![]));
        let anew = BrokerCall::Claim(key, entry("b"), Claim::New);
        assert_eq!(board.apply(secs(0), anew), Answer::Won);
    }

    #[test]
    fn messages_arrive_once_and_in_time() {
        let mut board = Board::default();
        for id in ["a", "b", "c"] {
            announce(&mut board, 0, id);
        }
        let message = Message { id: "1".into(), from: "a".into(), payload: Payload::Changed(Kind::Queue, "q".into()) };
        assert_eq!(board.apply(secs(0), BrokerCall::Send(To::Others, message.clone())), Answer::Sent(2));
        assert_eq!(board.receive(secs(1), "a"), None);
        assert_eq!(board.receive(secs(1), "b"), Some(message));
        assert_eq!(board.receive(secs(1), "b"), None);
        assert_eq!(board.receive(MESSAGE_LIFE, "c"), None);
    }

    #[test]
    fn a_lease_has_one_holder_and_a_number() {
        let mut board = Board::default();
        let lease = |board: &mut Board, now, holder: &str| match board
            .apply(secs(now), BrokerCall::Lease("beat".into(), holder.into(), secs(10)))
        {
            Answer::Leased(number) => number,
            other => panic!("{other:?}"),
        };
        assert_eq!(lease(&mut board, 0, "a"), Some(1));
        assert_eq!(lease(&mut board, 5, "b"), None);
        assert_eq!(lease(&mut board, 9, "a"), Some(1));
        assert_eq!(lease(&mut board, 19, "b"), Some(2));
        assert_eq!(lease(&mut board, 20, "a"), None);
    }

    /// What another board has told is enough to go on where it was.
    #[test]
    fn another_board_goes_on() {
        let mut board = Board::default();
        let mut told = Vec::new();
        let key = |name: &str| Key::new(Kind::Instance, name);
        let mut random = crate::core::Random::new(5);
        for step in 0..400_u64 {
            let owner = ["a", "b", "c"][random.below(3)];
            let name = ["x", "y", "z"][random.below(3)];
            let call = match random.below(6) {
                0 => BrokerCall::Announce(Presence { id: owner.into(), ..Presence::default() }, secs(25)),
                1 => BrokerCall::Claim(key(name), entry(owner), Claim::New),
                2 => BrokerCall::Release(key(name), owner.into()),
                3 => BrokerCall::Put(key(name), Entry { deleted: Some(1.0), ..entry(owner) }),
                4 => BrokerCall::Lease(name.into(), owner.into(), secs(3)),
                _ => BrokerCall::Withdraw(owner.into()),
            };
            told.extend(board.apply_and_tell(secs(step), call).1);
        }
        let mut other = Board::default();
        for record in told.iter().cloned() {
            other.restore(secs(0), record);
        }
        assert_eq!(other.records(), board.records());
        let mut third = Board::default();
        for record in board.records() {
            let text = serde_json::to_string(&record).unwrap();
            third.restore(secs(0), serde_json::from_str(&text).unwrap());
        }
        assert_eq!(third.records(), board.records());
        assert!(told.len() < 400, "what is the same is not told");
    }

    #[test]
    fn no_lease_ends_early_on_another_board() {
        let mut board = Board::default();
        board.apply(secs(0), BrokerCall::Lease("beat".into(), "a".into(), secs(10)));
        let mut other = Board::default();
        for record in board.records() {
            other.restore(secs(100), record);
        }
        let lease = |board: &mut Board, now, holder: &str| {
            board.apply(secs(now), BrokerCall::Lease("beat".into(), holder.into(), secs(10)))
        };
        assert_eq!(lease(&mut other, 109, "b"), Answer::Leased(None));
        assert_eq!(lease(&mut other, 110, "b"), Answer::Leased(Some(2)));
    }

    #[test]
    fn what_was_deleted_long_ago_is_forgotten() {
        let mut board = Board::default();
        for (name, deleted) in [("old", Some(1.0)), ("new", Some(9.0)), ("there", None)] {
            board.apply(secs(0), BrokerCall::Put(Key::new(Kind::Queue, name), Entry { deleted, ..entry("a") }));
        }
        announce(&mut board, 0, "a");
        board.tidy(secs(30), 5.0);
        let names: Vec<&str> = board.entries().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!((names, board.presence.len()), (vec!["new", "there"], 0));
    }
}
