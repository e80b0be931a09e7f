//! The simulated fleet.

mod machine;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use circus_cyme::core::op::{InstanceOp, Place};
use circus_cyme::core::{Action, Answer, Board, Branch, BrokerCall, Event, Kind, Model, Now, Op, Random, Settings, To};
use machine::Machine;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Misfortune {
    /// Messages get lost, come twice, or late; answers of the broker get lost.
    pub(crate) messages: bool,
    /// Branches are killed and started again.
    pub(crate) deaths: bool,
    /// Half of the machines cannot reach the broker for a while.
    pub(crate) partition: bool,
    /// Nothing can reach the broker for a while.
    pub(crate) outage: bool,
    /// The broker is started anew, and knows nothing.
    pub(crate) amnesia: bool,
    /// Some machines cannot store changes for a while.
    pub(crate) disk: bool,
}

enum Happening {
    Event { machine: usize, life: u64, event: Event },
    Tick { machine: usize, life: u64 },
    Call { machine: usize, life: u64, call: u64, what: BrokerCall },
    Inbox(usize),
    Kill(usize),
    Revive(usize),
    Cut(Vec<usize>, bool),
    Forget,
    FillDisk(usize, bool),
    Ask { machine: usize, op: Op },
}

pub(crate) struct Fleet {
    now: Duration,
    random: Random,
    misfortune: Misfortune,
    board: Board,
    machines: Vec<Machine>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    numbers: u64,
    /// The instances that clients asked for, by the number of the request.
    asked: BTreeMap<u64, String>,
    acknowledged: BTreeSet<String>,
    deleted: BTreeSet<String>,
    names: Vec<String>,
    /// When requests were made that have no answer yet, by their numbers; the longest that one has waited for it.
    waiting: BTreeMap<u64, Duration>,
    slowest: Duration,
    /// How many messages to all have arrived.
    delivered: u64,
}

/// What a change costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// The messages through the broker and to workers, for one change.
    pub(crate) messages: f64,
    /// How long the slowest took until everything was as wanted.
    pub(crate) slowest: Duration,
}

const LATENCY: Duration = Duration::from_millis(2);

impl Fleet {
    pub(crate) fn new(seed: u64, machines: usize, misfortune: Misfortune) -> Self {
        let mut fleet = Self {
            now: Duration::from_secs(1000),
            random: Random::new(seed),
            misfortune,
            board: Board::default(),
            machines: (0..machines).map(Machine::new).collect(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            numbers: 0,
            asked: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            deleted: BTreeSet::new(),
            names: Vec::new(),
            waiting: BTreeMap::new(),
            slowest: Duration::ZERO,
            delivered: 0,
        };
        for machine in 0..machines {
            fleet.at(0, Happening::Revive(machine));
        }
        fleet
    }

    fn now(&self) -> Now {
        Now { mono: self.now, unix: self.now.as_secs_f64() + 1.7e9 }
    }

    fn at(&mut self, millis: u64, happening: Happening) {
        self.after(Duration::from_millis(millis), happening);
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.numbers += 1;
        self.queue.push(Reverse((self.now + delay, self.numbers)));
        self.happenings.insert(self.numbers, happening);
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.misfortune.messages && self.random.below(100) < percent
    }

    /// Clients ask for instances, at any branch, within so many seconds; what can go wrong does.
    pub(crate) fn ask_for_instances(&mut self, count: usize, seconds: u64) {
        for number in 0..count {
            let machine = self.random.below(self.machines.len());
            // Some names are asked for twice.
            let number = if self.misfortune.messages && number % 10 == 9 { number - 1 } else { number };
            let name = format!("i{number}");
            let op = Op::AddInstance {
                app: "cyme".into(),
                name: Some(name),
                fields: Default::default(),
                place: Place::RoundRobin,
                idempotent: false,
                found: None,
            };
            let millis = self.random.below(seconds as usize * 1000) as u64;
            self.at(millis, Happening::Ask { machine, op });
        }
        let millis = |random: &mut Random| random.below(seconds as usize * 1000) as u64;
        if self.misfortune.deaths {
            for _ in 0..self.machines.len() / 2 {
                let (machine, time) = (self.random.below(self.machines.len()), millis(&mut self.random));
                let away = self.random.below(40_000) as u64;
                self.at(time, Happening::Kill(machine));
                self.at(time + away, Happening::Revive(machine));
            }
        }
        let half: Vec<usize> = (0..self.machines.len()).filter(|machine| machine % 2 == 0).collect();
        let all: Vec<usize> = (0..self.machines.len()).collect();
        for (wanted, who) in [(self.misfortune.partition, half), (self.misfortune.outage, all)] {
            if wanted {
                let time = millis(&mut self.random);
                self.at(time, Happening::Cut(who.clone(), true));
                self.at(time + 45_000, Happening::Cut(who, false));
            }
        }
        if self.misfortune.disk {
            for machine in 0..self.machines.len() / 2 {
                let time = millis(&mut self.random);
                self.at(time, Happening::FillDisk(machine, true));
                self.at(time + 30_000, Happening::FillDisk(machine, false));
            }
        }
        if self.misfortune.amnesia {
            let time = millis(&mut self.random);
            self.at(time, Happening::Forget);
        }
    }

    /// Every instance that is known is deleted, at any branch; several times, as requests may get lost.
    pub(crate) fn delete_all(&mut self) {
        let names = self.names.clone();
        for (round, name) in (0..3).flat_map(|round| names.iter().map(move |name| (round, name.clone()))) {
            let machine = self.random.below(self.machines.len());
            let op = Op::Instance { name, what: InstanceOp::Delete };
            self.at(round * 70_000, Happening::Ask { machine, op });
        }
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn end_misfortune(&mut self) {
        self.misfortune = Misfortune::default();
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(Reverse((time, number))) = self.queue.peek().copied()
            && time <= end
        {
            self.queue.pop();
            self.now = self.now.max(time);
            let happening = self.happenings.remove(&number).unwrap();
            self.happen(happening);
        }
        self.now = end;
    }

    /// How many seconds pass until everything runs as it should.
    pub(crate) fn run_until_settled(&mut self, limit: u64) -> u64 {
        for second in 0..limit {
            if self.machines.iter().all(Machine::is_settled) {
                return second;
            }
            self.run(1);
        }
        panic!("not settled after {limit} s");
    }

    /// What changes cost that are asked for within half a minute, at any branch.
    pub(crate) fn cost_of(&mut self, changes: &[Op]) -> Cost {
        let idle = self.messages_of(&[]);
        self.slowest = Duration::ZERO;
        let messages = self.messages_of(changes);
        Cost { messages: (messages as f64 - idle as f64) / changes.len() as f64, slowest: self.slowest }
    }

    /// How many messages pass in a minute, in which every branch looks once at what it has.
    fn messages_of(&mut self, changes: &[Op]) -> u64 {
        let before = self.messages();
        for op in changes {
            let machine = self.random.below(self.machines.len());
            let millis = self.random.below(30_000) as u64;
            self.at(millis, Happening::Ask { machine, op: op.clone() });
        }
        self.run(60);
        self.messages() - before
    }

    /// Those that branches have sent, and of one that goes to all, each that arrives.
    fn messages(&self) -> u64 {
        let sent = self.machines.iter().filter_map(|machine| machine.branch.as_ref()).map(Branch::messages);
        sent.sum::<u64>() + self.delivered
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Event { machine, life, event } if self.machines[machine].life == life => {
                self.feed(machine, event)
            }
            Happening::Tick { machine, life } if self.machines[machine].life == life => {
                self.machines[machine].tick = None;
                self.feed(machine, Event::Tick);
            }
            Happening::Call { machine, life, call, what } => self.call(machine, life, call, what),
            Happening::Inbox(machine) => self.inbox(machine),
            Happening::Kill(machine) => self.machines[machine].kill(),
            Happening::Revive(machine) => self.revive(machine),
            Happening::Cut(machines, cut) => {
                for machine in machines {
                    self.machines[machine].cut = cut;
                    self.at(1, Happening::Inbox(machine));
                }
            }
            Happening::Forget => {
                self.board.clear();
                for machine in 0..self.machines.len() {
                    self.feed(machine, Event::BrokerLost("restarted".into()));
                }
            }
            Happening::FillDisk(machine, full) => self.machines[machine].disk_full = full,
            Happening::Ask { machine, op } => {
                self.numbers += 1;
                let id = self.numbers;
                if let Op::AddInstance { name: Some(name), .. } = &op {
                    self.asked.insert(id, name.clone());
                    self.names.push(name.clone());
                }
                if let Op::Instance { name, what: InstanceOp::Delete } = &op {
                    self.deleted.insert(name.clone());
                }
                self.waiting.insert(id, self.now);
                self.feed(machine, Event::Request { id, op, nowait: false });
            }
            Happening::Event { .. } | Happening::Tick { .. } => {}
        }
    }

    fn revive(&mut self, machine: usize) {
        let now = self.now();
        let seed = self.random.number();
        let this = &mut self.machines[machine];
        if this.branch.is_some() {
            return;
        }
        this.branch = Some(Branch::new(settings(machine, seed), this.kept.clone(), now));
        self.feed(machine, Event::Started);
    }

    fn feed(&mut self, machine: usize, event: Event) {
        let now = self.now();
        let this = &mut self.machines[machine];
        let Some(branch) = this.branch.as_mut() else { return };
        let actions = branch.handle(now, event);
        let deadline = branch.deadline(now).max(self.now + Duration::from_millis(1));
        let life = this.life;
        if this.tick.is_none_or(|tick| deadline < tick) {
            this.tick = Some(deadline);
            self.after(deadline - now.mono, Happening::Tick { machine, life });
        }
        for action in actions {
            self.act(machine, life, action);
        }
    }

    fn act(&mut self, machine: usize, life: u64, action: Action) {
        let this = &mut self.machines[machine];
        match action {
            Action::Store(change) => {
                let stored = if this.disk_full { Err("no space left".to_owned()) } else { Ok(()) };
                if stored.is_ok() {
                    this.kept.apply(&change);
                }
                self.at(0, Happening::Event { machine, life, event: Event::Stored(stored) });
                if !self.machines[machine].disk_full
                    && let circus_cyme::core::Change::PutInstance(instance) = &change
                {
                    self.owned_once(machine, &instance.name);
                }
            }
            Action::Broker { call, what } => {
                // Calls of a branch arrive in their order.
                let jitter = Duration::from_millis(self.random.below(5) as u64);
                let this = &mut self.machines[machine];
                let time = (self.now + LATENCY + jitter).max(this.last_call + Duration::from_nanos(1));
                this.last_call = time;
                self.after(time - self.now, Happening::Call { machine, life, call, what });
            }
            Action::Circus { call, command, properties, .. } => {
                for (millis, event) in self.machines[machine].circus(call, command, &properties) {
                    self.at(millis, Happening::Event { machine, life, event });
                }
            }
            Action::Control { call, method, node, arguments, timeout, .. } => {
                let name = node.split('@').next().unwrap().to_owned();
                let now = self.now;
                let (delay, outcome) = self.machines[machine].control(now, &name, method, &arguments, timeout);
                let event = Event::Outcome { call, outcome };
                self.after(delay, Happening::Event { machine, life, event });
            }
            Action::Respond { id, reply } => {
                if let Some(asked) = self.waiting.remove(&id) {
                    self.slowest = self.slowest.max(self.now - asked);
                }
                if let Some(name) = self.asked.get(&id)
                    && reply.status == 201
                {
                    self.acknowledged.insert(name.clone());
                }
            }
            Action::Publish { .. } | Action::Look { .. } | Action::Log { .. } => {}
        }
    }

    fn call(&mut self, machine: usize, life: u64, call: u64, what: BrokerCall) {
        let lost = self.chance(2);
        let answer = if self.machines[machine].cut {
            Err("cut off".to_owned())
        } else {
            let answer = self.apply(what);
            if lost { Err("the answer got lost".into()) } else { Ok(answer) }
        };
        self.at(2, Happening::Event { machine, life, event: Event::Broker { call, answer } });
    }

    fn apply(&mut self, what: BrokerCall) -> Answer {
        let BrokerCall::Send(to, message) = what else { return self.board.apply(self.now, what) };
        if self.chance(5) {
            return Answer::Sent(1);
        }
        if self.chance(5) {
            self.board.apply(self.now, BrokerCall::Send(to.clone(), message.clone()));
        }
        let answer = self.board.apply(self.now, BrokerCall::Send(to.clone(), message));
        if let (To::Others, Answer::Sent(receivers)) = (&to, &answer) {
            self.delivered += *receivers as u64;
        }
        let receivers: Vec<usize> = match to {
            To::Branch(id) => vec![id[1..].parse().unwrap()],
            To::Others => (0..self.machines.len()).collect(),
        };
        for machine in receivers {
            let delay = if self.chance(5) { self.random.below(50_000) as u64 } else { 3 };
            self.at(delay, Happening::Inbox(machine));
        }
        answer
    }

    fn inbox(&mut self, machine: usize) {
        if self.machines[machine].cut || self.machines[machine].branch.is_none() {
            return;
        }
        while let Some(message) = self.board.receive(self.now, &format!("b{machine}")) {
            self.feed(machine, Event::Message(message));
        }
    }

    /// No other branch keeps an instance of this name. Only a broker that forgets lets that happen, and then one of them
    /// gives way.
    fn owned_once(&self, machine: usize, name: &str) {
        if self.misfortune.amnesia {
            return;
        }
        let others = self.machines.iter().enumerate().filter(|(other, _)| *other != machine);
        let owners: Vec<usize> =
            others.filter(|(_, one)| one.kept.instances.contains_key(name)).map(|(other, _)| other).collect();
        assert!(owners.is_empty(), "{name} is on machine {machine} and on {owners:?}");
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many workers run.
    pub(crate) fn running(&self) -> usize {
        self.machines.iter().map(|machine| machine.running().count()).sum()
    }

    /// What must hold once nothing goes wrong any more.
    pub(crate) fn check(&self) {
        let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, machine) in self.machines.iter().enumerate() {
            assert_eq!(machine.branch.as_ref().unwrap().model(), &machine.kept, "machine {number}");
            for (name, instance) in &machine.kept.instances {
                if instance.is_enabled {
                    assert_eq!(owners.insert(name, number), None, "{name} is owned twice");
                }
            }
            let wanted: Vec<&str> =
                machine.kept.instances.values().filter(|one| one.is_enabled).map(|one| one.name.as_str()).collect();
            assert_eq!(machine.running().collect::<Vec<_>>(), wanted, "machine {number}");
        }
        for name in self.acknowledged.difference(&self.deleted) {
            assert!(owners.contains_key(name.as_str()), "{name} is lost");
        }
        let known: BTreeMap<&str, &str> = self
            .board
            .entries()
            .filter(|(key, _)| key.kind == Kind::Instance)
            .map(|(key, entry)| (key.name.as_str(), entry.owner.as_str()))
            .collect();
        let ids: BTreeMap<&str, String> = owners.iter().map(|(name, machine)| (*name, format!("b{machine}"))).collect();
        let kept: BTreeMap<&str, &str> = ids.iter().map(|(name, id)| (*name, id.as_str())).collect();
        assert_eq!(known, kept, "what the broker knows is what the branches keep");
    }
}

fn settings(machine: usize, seed: u64) -> Settings {
    Settings {
        id: format!("b{machine}"),
        url: format!("http://b{machine}:8000"),
        port: 8000,
        broker: "redis://broker/0".into(),
        result_backend: None,
        loglevel: "INFO".into(),
        logfile: None,
        numc: 2,
        interval: Duration::from_secs(60),
        drain: Duration::from_secs(10),
        labels: Vec::new(),
        root: "/root".into(),
        celery: "celery".into(),
        python_path: "/python".into(),
        seed,
    }
}

/// What a machine keeps on disk.
pub(crate) type Kept = Model;
