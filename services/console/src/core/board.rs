//! What is known of a circusd. Each change gets a number, so that a reader can ask for what has changed since.

use std::collections::{BTreeMap, VecDeque};

use circus_core::access::Scope;
use circus_core::proto::{HumanSize, Object};
use serde_json::{Value, json};

use super::history::History;

/// So many events are remembered.
pub const EVENTS: usize = 2000;

/// Whether circusd answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// It has not answered yet, nor been silent for long.
    #[default]
    Trying,
    /// It answers.
    Up,
    /// It does not, for this reason.
    Down(String),
}

impl Reach {
    fn json(&self) -> Value {
        match self {
            Self::Trying => json!({"state": "connecting", "reason": null}),
            Self::Up => json!({"state": "up", "reason": null}),
            Self::Down(reason) => json!({"state": "down", "reason": reason}),
        }
    }
}

/// What a process or a watcher uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Percent of one processor.
    pub cpu: f64,
    /// Bytes of resident memory.
    pub rss: u64,
}

/// A watcher.
#[derive(Clone, Debug, Default)]
struct Row {
    details: Object,
    /// When circusd told them, in seconds since the epoch: times in them have grown since.
    told: f64,
    figures: Option<Figures>,
    processes: BTreeMap<i64, Object>,
    history: History,
    /// When what the overview shows has changed last.
    changed: u64,
    /// When anything has.
    touched: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Board {
    name: String,
    endpoint: String,
    version: u64,
    reach: Reach,
    /// circusd itself: pid, cpu, rss, age.
    own: Object,
    machine_changed: u64,
    watchers: BTreeMap<String, Row>,
    names_changed: u64,
    sockets: Vec<Object>,
    events: VecDeque<(u64, Value)>,
    next_event: u64,
    /// The fleet that it is of: where its branch is, and its labels.
    fleet: Option<Value>,
}

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The number from which to ask next.
    pub version: u64,
    /// circusd itself and its sockets.
    pub machine: Option<Value>,
    /// The names of all watchers.
    pub names: Option<Vec<String>>,
    /// Rows of the overview.
    pub rows: Vec<Value>,
    /// Events, oldest first.
    pub events: Vec<Value>,
}

impl Board {
    /// A circusd of which nothing is known yet.
    pub fn new(name: &str, endpoint: &str) -> Self {
        Self { name: name.to_owned(), endpoint: endpoint.to_owned(), version: 1, next_event: 1, ..Self::default() }
    }

    /// It is a machine of the fleet with this URL, with these labels.
    pub fn of_fleet(&mut self, url: &str, labels: &[String]) {
        let fleet = Some(json!({"url": url, "labels": labels}));
        if self.fleet != fleet {
            self.fleet = fleet;
            self.machine_changed = self.step();
        }
    }

    fn step(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// The number of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether circusd answers.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// circusd answers, or does not.
    pub fn reached(&mut self, reach: Reach) {
        if self.reach != reach {
            self.reach = reach;
            self.machine_changed = self.step();
        }
    }

    /// circusd's own figures, from `dstats`. True: it is another circusd than before.
    pub fn own(&mut self, info: &Object) -> bool {
        let memory = resident(info);
        let mut own: Object = ["pid", "cpu", "age", "create_time"]
            .iter()
            .filter_map(|key| Some(((*key).into(), info.get(*key)?.clone())))
            .collect();
        own.insert("rss".into(), json!(memory));
        if let Some(version) = self.own.get("version") {
            own.insert("version".into(), version.clone());
        }
        let began = |own: &Object| (own.get("pid").cloned(), own.get("create_time").cloned());
        let another = !self.own.is_empty() && began(&self.own) != began(&own);
        self.own = own;
        self.machine_changed = self.step();
        another
    }

    /// circusd was upgraded to this version.
    pub fn upgraded(&mut self, version: &str) {
        self.own.insert("version".into(), version.into());
        self.machine_changed = self.step();
    }

    /// The states of all watchers, from `status` with verbose, at this time in seconds since the epoch.
    pub fn statuses(&mut self, answer: &Object, time: f64) {
        let none = Object::new();
        let details = answer.get("details").and_then(Value::as_object).unwrap_or(&none);
        let statuses = answer.get("statuses").and_then(Value::as_object).unwrap_or(&none);
        let before = self.watchers.len();
        self.watchers.retain(|name, _| statuses.contains_key(name));
        let mut other = self.watchers.len() != before;
        for (name, state) in statuses {
            let mut now = details.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
            now.insert("state".into(), state.clone());
            if !self.watchers.contains_key(name) {
                other = true;
            }
            let version = self.version + 1;
            let row = self.watchers.entry(name.clone()).or_default();
            row.told = time;
            if same_but_time(&row.details, &now) {
                row.details = now;
                continue;
            }
            let pids: Vec<i64> = workers(&now).filter_map(|worker| worker.get("pid")?.as_i64()).collect();
            row.processes.retain(|pid, _| pids.contains(pid));
            if pids.is_empty() {
                row.figures = None;
            }
            row.details = now;
            (row.changed, row.touched) = (version, version);
            self.version = version;
        }
        if other {
            self.names_changed = self.step();
        }
    }

    /// circusd's sockets, from `listsockets`.
    pub fn sockets(&mut self, answer: &Object) {
        let list = answer.get("sockets").and_then(Value::as_array).into_iter().flatten();
        let mut sockets: Vec<Object> = list.filter_map(|socket| socket.as_object().cloned()).collect();
        for socket in &mut sockets {
            let before = self.sockets.iter().find(|before| before.get("fd") == socket.get("fd"));
            for key in ["queue", "reads"] {
                let value = before.and_then(|before| before.get(key)).cloned().unwrap_or(Value::Null);
                socket.insert(key.into(), value);
            }
        }
        if sockets != self.sockets {
            self.sockets = sockets;
            self.machine_changed = self.step();
        }
    }

    /// How many connections wait in the accept queue of each socket, where it is known.
    pub fn queues(&mut self, length: impl Fn(&str, u16) -> Option<u64>) {
        let mut changed = false;
        for socket in &mut self.sockets {
            let host = socket.get("host").and_then(Value::as_str);
            let port = socket.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
            let queue = json!(host.zip(port).and_then(|(host, port)| length(host, port)));
            changed |= socket.insert("queue".into(), queue.clone()).as_ref() != Some(&queue);
        }
        if changed {
            self.machine_changed = self.step();
        }
    }

    /// Takes down a message of circusd-stats, at this time in seconds since the epoch.
    pub fn published(&mut self, topic: &str, body: &Object, now: u64) {
        let Some(name) = topic.strip_prefix("stat.") else { return };
        if let Some(fd) = name.strip_prefix("sockets.") {
            let Ok(fd) = fd.parse::<i64>() else { return };
            let reads = body.get("reads").cloned().unwrap_or(Value::Null);
            let socket = self.sockets.iter_mut().find(|socket| socket.get("fd").and_then(Value::as_i64) == Some(fd));
            if socket.is_some_and(|socket| socket.insert("reads".into(), reads.clone()) != Some(reads)) {
                self.machine_changed = self.step();
            }
            return;
        }
        match body.get("pid") {
            Some(Value::Array(_)) => {
                let figures = figures(body);
                self.used(name, figures, now);
            }
            Some(pid) => {
                let Some(watcher) = name.rsplit_once('.').map(|(watcher, _)| watcher) else { return };
                if let Some(pid) = pid.as_i64() {
                    self.process(watcher, pid, body);
                }
            }
            None => {}
        }
    }

    /// Takes down the answer to `stats`, where there is no circusd-stats.
    pub fn stats(&mut self, answer: &Object, now: u64) {
        let Some(infos) = answer.get("infos").and_then(Value::as_object) else { return };
        for (name, processes) in infos {
            let mut sum = Figures::default();
            for (pid, info) in processes.as_object().into_iter().flatten() {
                let (Ok(pid), Some(info)) = (pid.parse(), info.as_object()) else { continue };
                let own = figures(info);
                (sum.cpu, sum.rss) = (sum.cpu + own.cpu, sum.rss + own.rss);
                self.process(name, pid, info);
            }
            self.used(name, sum, now);
        }
    }

    fn used(&mut self, name: &str, figures: Figures, now: u64) {
        let version = self.version + 1;
        let Some(row) = self.watchers.get_mut(name) else { return };
        row.history.add(now, figures.cpu, figures.rss);
        row.touched = version;
        let figures = Figures { cpu: (figures.cpu * 10.0).round() / 10.0, ..figures };
        if row.figures != Some(figures) {
            row.figures = Some(figures);
            row.changed = version;
        }
        self.version = version;
    }

    fn process(&mut self, name: &str, pid: i64, body: &Object) {
        let version = self.version + 1;
        let Some(row) = self.watchers.get_mut(name) else { return };
        if !workers(&row.details).any(|worker| worker.get("pid").and_then(Value::as_i64) == Some(pid)) {
            return;
        }
        let own = figures(body);
        let mut about = Object::from_iter([("cpu".to_owned(), json!(own.cpu)), ("rss".to_owned(), json!(own.rss))]);
        // Not its command line: that may have passwords.
        for key in ["title", "threads", "fds", "username"] {
            about.extend(body.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        if row.processes.get(&pid) != Some(&about) {
            row.processes.insert(pid, about);
            row.touched = version;
            self.version = version;
        }
    }

    /// Takes down an event, at this time in seconds since the epoch.
    pub fn event(&mut self, watcher: Option<&str>, event: &str, body: Object, now: f64) {
        let number = self.next_event;
        self.next_event += 1;
        let mut told = Object::from_iter([
            ("number".to_owned(), json!(number)),
            ("watcher".to_owned(), json!(watcher)),
            ("event".to_owned(), json!(event)),
            ("time".to_owned(), json!(now)),
        ]);
        told.extend(body);
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((number, Value::Object(told)));
        self.step();
    }

    // -- what readers get ----------------------------------------------------------------------------------------------

    /// circusd itself and its sockets.
    pub fn machine(&self, scope: &Scope) -> Value {
        let sockets: &[Object] = if scope.is_all() { &self.sockets } else { &[] };
        json!({"name": self.name, "endpoint": self.endpoint, "reach": self.reach.json(), "circusd": self.own,
               "watchers": self.names(scope).len(), "sockets": sockets, "fleet": self.fleet})
    }

    fn names(&self, scope: &Scope) -> Vec<&String> {
        self.watchers.keys().filter(|name| scope.contains(name)).collect()
    }

    /// circusd's sockets.
    pub fn listed_sockets(&self) -> Value {
        json!(self.sockets)
    }

    /// Rows of these watchers, as they are at this time in seconds since the epoch.
    pub fn rows(&self, scope: &Scope, now: f64) -> Vec<Value> {
        self.watchers
            .iter()
            .filter(|(name, _)| scope.contains(name))
            .map(|(name, row)| overview(name, row, now))
            .collect()
    }

    /// Whether there is a watcher of this name.
    pub fn has(&self, watcher: &str) -> bool {
        self.watchers.contains_key(watcher)
    }

    /// A watcher with its workers at this time, and the number of the last change of it.
    pub fn watcher(&self, name: &str, now: f64) -> Option<(u64, Value)> {
        let row = self.watchers.get(name)?;
        let processes: Vec<Value> = workers(&row.details)
            .map(|worker| {
                let mut worker = worker.clone();
                let pid = worker.get("pid").and_then(Value::as_i64).unwrap_or_default();
                worker.extend(row.processes.get(&pid).cloned().unwrap_or_default());
                if let Some(uptime) = worker.get_mut("uptime") {
                    *uptime = row.grown(uptime, now);
                }
                Value::Object(worker)
            })
            .collect();
        let mut shown = overview(name, row, now);
        if let Value::Object(shown) = &mut shown {
            for (key, value) in &row.details {
                if key != "processes" {
                    shown.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            shown.insert("processes".into(), processes.into());
        }
        Some((row.touched, shown))
    }

    /// What a watcher has used in the hour before this time in seconds since the epoch.
    pub fn history(&self, name: &str, now: u64) -> Option<Value> {
        Some(self.watchers.get(name)?.history.json(now))
    }

    /// Events of these watchers after this number, oldest first; how many of all are kept no longer; and the number of the
    /// last one.
    pub fn events_after(&self, scope: &Scope, after: u64) -> (Vec<Value>, u64, u64) {
        let first = self.events.front().map_or(self.next_event, |(number, _)| *number);
        let missed = first.saturating_sub(after.saturating_add(1));
        let shown =
            |event: &Value| scope.is_all() || event["watcher"].as_str().is_some_and(|name| scope.contains(name));
        let events = self.events.iter().filter(|(number, event)| *number > after && shown(event));
        let events = events.map(|(_, event)| event.clone());
        (events.collect(), missed, self.next_event - 1)
    }

    /// What has changed of these watchers since this number, as it is at this time, and events after that number.
    pub fn since(&self, scope: &Scope, version: u64, event: u64, now: f64) -> Changes {
        let rows = self.watchers.iter().filter(|(name, row)| row.changed > version && scope.contains(name));
        Changes {
            version: self.version,
            machine: (self.machine_changed > version || version == 0).then(|| self.machine(scope)),
            names: (self.names_changed > version || version == 0)
                .then(|| self.names(scope).into_iter().cloned().collect()),
            rows: rows.map(|(name, row)| overview(name, row, now)).collect(),
            events: self.events_after(scope, event).0,
        }
    }
}

impl Row {
    /// A time that has grown since it was told; null stays null.
    fn grown(&self, seconds: &Value, now: f64) -> Value {
        let more = (now - self.told).max(0.0);
        seconds.as_f64().map_or(Value::Null, |seconds| json!(((seconds + more) * 1000.0).round() / 1000.0))
    }
}

/// The row of the overview.
fn overview(name: &str, row: &Row, now: f64) -> Value {
    let of = |key: &str| row.details.get(key).cloned().unwrap_or(Value::Null);
    let unready = workers(&row.details).filter(|worker| worker.get("ready") == Some(&Value::Bool(false))).count();
    json!({"name": name, "state": of("state"), "health": of("health"), "reason": of("reason"), "wanted": of("wanted"),
           "running": of("running"), "unready": unready, "restarts": of("restarts"), "uptime": row.grown(&of("uptime"), now),
           "enabled": of("enabled"), "operation": of("operation"), "kind": of("kind"), "next_run": of("next_run"),
           "cpu": row.figures.map(|figures| figures.cpu), "rss": row.figures.map(|figures| figures.rss)})
}

fn workers(details: &Object) -> impl Iterator<Item = &Object> {
    details.get("processes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// Times that grow by themselves are no change.
fn same_but_time(one: &Object, other: &Object) -> bool {
    fn same(one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Object(one), Value::Object(other)) => same_but_time(one, other),
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
            }
            _ => one == other,
        }
    }
    const GROWING: [&str; 5] = ["uptime", "left", "next_run_in", "rests", "age"];
    one.len() == other.len()
        && one
            .iter()
            .all(|(key, value)| other.get(key).is_some_and(|now| GROWING.contains(&key.as_str()) || same(value, now)))
}

/// Resident memory in bytes, as a message with the figures of Circus has it.
fn resident(body: &Object) -> Option<u64> {
    Some(HumanSize::parse(body.get("mem_info1")?.as_str()?)?.0)
}

/// Of a whole tree where the message has that, as those of circusd-stats have.
fn figures(body: &Object) -> Figures {
    let tree = body.get("tree").and_then(Value::as_object).unwrap_or(body);
    let cpu = tree.get("cpu").and_then(Value::as_f64).filter(|cpu| cpu.is_finite() && *cpu >= 0.0).unwrap_or(0.0);
    let told = tree.get("rss").and_then(Value::as_u64);
    let rss = told.or_else(|| resident(body)).unwrap_or(0);
    Figures { cpu, rss }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().cloned().unwrap()
    }

    fn board() -> Board {
        let mut board = Board::new("here", "ipc:///c");
        board.statuses(&status(json!([{"pid": 7, "wid": 1, "uptime": 1.0, "ready": false}])), 5.0);
        board
    }

    fn status(processes: Value) -> Object {
        object(json!({"statuses": {"web": "active", "a.b": "stopped"},
            "details": {"web": {"health": "ready", "wanted": 1, "running": 1, "uptime": 2.0, "processes": processes},
                        "a.b": {"health": "stopped", "processes": []}}}))
    }

    #[test]
    fn a_scope_shows_its_watchers_only() {
        let mut board = board();
        board.sockets(&object(json!({"sockets": [{"fd": 5, "name": "web"}]})));
        for name in [Some("web"), Some("a.b"), None] {
            board.event(name, "spawn", Object::new(), 1.0);
        }
        let scope = Scope::of(["w*"]);
        let rows = board.rows(&scope, 5.0);
        assert_eq!((rows.len(), &rows[0]["name"]), (1, &json!("web")));
        let events = board.events_after(&scope, 0).0;
        assert_eq!((events.len(), &events[0]["watcher"]), (1, &json!("web")));
        let machine = board.machine(&scope);
        assert_eq!((&machine["watchers"], &machine["sockets"]), (&json!(1), &json!([])));
        let changes = board.since(&scope, 0, 0, 5.0);
        assert_eq!((changes.names, changes.machine), (Some(vec!["web".into()]), Some(machine)));
        assert_eq!((changes.rows, changes.events), (rows, events));
        let all = board.since(&Scope::ALL, 0, 0, 5.0);
        assert_eq!(
            (all.rows.len(), all.events.len(), &all.machine.unwrap()["sockets"][0]["name"]),
            (2, 3, &json!("web"))
        );
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let mut board = board();
        let all = board.since(&Scope::ALL, 0, 0, 5.0);
        assert!(all.machine.is_some() && all.names == Some(vec!["a.b".into(), "web".into()]) && all.rows.len() == 2);
        assert_eq!(all.rows[1]["unready"], 1);
        // Only times have grown.
        board.statuses(&status(json!([{"pid": 7, "wid": 1, "uptime": 99.0, "ready": false}])), 5.0);
        let none = board.since(&Scope::ALL, all.version, 0, 5.0);
        assert!(none.machine.is_none() && none.names.is_none() && none.rows.is_empty(), "{none:?}");
        board.statuses(&status(json!([{"pid": 7, "wid": 1, "uptime": 99.0, "ready": true}])), 5.0);
        let one = board.since(&Scope::ALL, all.version, 0, 5.0);
        assert_eq!((one.rows.len(), &one.rows[0]["unready"], &one.names), (1, &json!(0), &None));
        let less = json!({"statuses": {"a.b": "stopped"}, "details": {"a.b": {"health": "stopped", "processes": []}}});
        board.statuses(&object(less), 5.0);
        assert_eq!(board.since(&Scope::ALL, one.version, 0, 5.0).names, Some(vec!["a.b".into()]));
    }

    #[test]
    fn times_grow_by_themselves() {
        let board = board();
        let (_, shown) = board.watcher("web", 7.5).unwrap();
        assert_eq!((&shown["uptime"], &shown["processes"][0]["uptime"]), (&json!(4.5), &json!(3.5)));
        assert_eq!(board.rows(&Scope::ALL, 1.0)[1]["uptime"], 2.0, "a clock that was set back");
        assert_eq!(board.rows(&Scope::ALL, 7.5)[0]["uptime"], Value::Null);
    }

    #[test]
    fn figures_of_circusd_stats() {
        let mut board = board();
        let before = board.version();
        let tree = json!({"pid": 7, "cpu": 1.0, "cmdline": "x --password p", "title": "x",
                          "tree": {"cpu": 2.5, "rss": 1024}});
        board.published("stat.web.7", &object(tree.clone()), 100);
        board.published("stat.web.8", &object(json!({"pid": 8, "cpu": 1.0})), 100);
        board.published("stat.web", &object(json!({"pid": [7], "cpu": 1.0, "tree": {"cpu": 2.52, "rss": 1024}})), 100);
        let (_, shown) = board.watcher("web", 5.0).unwrap();
        assert_eq!(
            shown["processes"],
            json!([{"pid": 7, "wid": 1, "uptime": 1.0, "ready": false, "cpu": 2.5,
                                                "rss": 1024, "title": "x"}])
        );
        let changed = board.since(&Scope::ALL, before, 0, 5.0);
        assert_eq!((changed.rows.len(), &changed.rows[0]["cpu"]), (1, &json!(2.5)));
        assert_eq!(board.history("web", 100).unwrap()["points"], json!([[100, 2.5, 1024]]));
        // The same again is no change of the overview.
        board.published("stat.web", &object(json!({"pid": [7], "tree": {"cpu": 2.52, "rss": 1024}})), 101);
        assert!(board.since(&Scope::ALL, changed.version, 0, 5.0).rows.is_empty());
        for topic in ["stat.none", "stat.none.1", "x", "stat.sockets.3", "stat.sockets.x"] {
            board.published(topic, &object(json!({"pid": 1, "reads": 1})), 1);
        }
    }

    #[test]
    fn figures_without_circusd_stats() {
        let mut board = board();
        let infos =
            json!({"infos": {"web": {"7": {"cpu": 3.0, "mem_info1": "1.5K"}, "9": "gone", "x": {}}, "none": {}}});
        board.stats(&object(infos), 50);
        let row = &board.rows(&Scope::ALL, 5.0)[1];
        assert_eq!((&row["cpu"], &row["rss"]), (&json!(3.0), &json!(1536)));
    }

    #[test]
    fn events_are_a_ring() {
        let mut board = Board::new("here", "x");
        for number in 0..EVENTS + 5 {
            board.event(Some("web"), "reap", object(json!({"process_pid": number})), 1.5);
        }
        let (events, missed, last) = board.events_after(&Scope::ALL, 0);
        assert_eq!((events.len(), missed, last), (EVENTS, 5, EVENTS as u64 + 5));
        assert_eq!(events[0]["number"], 6);
        assert_eq!(board.events_after(&Scope::ALL, last), (Vec::new(), 0, last));
        assert_eq!(board.since(&Scope::ALL, 0, last - 1, 5.0).events.len(), 1);
    }

    #[test]
    fn another_circusd_is_noticed() {
        let mut board = Board::new("here", "x");
        let info = |pid: u32, age: f64| object(json!({"pid": pid, "create_time": 1.5, "age": age, "mem_info1": "2M"}));
        assert!(!board.own(&info(1, 1.0)));
        assert!(!board.own(&info(1, 2.0)));
        assert!(board.own(&info(2, 0.0)));
        board.upgraded("2.0");
        assert!(!board.own(&info(2, 1.0)));
        assert_eq!(
            (&board.machine(&Scope::ALL)["circusd"]["version"], &board.machine(&Scope::ALL)["circusd"]["rss"]),
            (&json!("2.0"), &json!(2 << 20))
        );
    }

    #[test]
    fn accept_queues_belong_to_sockets() {
        let mut board = Board::new("here", "x");
        let list = object(
            json!({"sockets": [{"fd": 3, "name": "web", "host": "127.0.0.1", "port": 80}, {"fd": 4, "path": "/s"}]}),
        );
        board.sockets(&list);
        board.queues(|host, port| (host == "127.0.0.1" && port == 80).then_some(9));
        assert_eq!(board.listed_sockets()[0]["queue"], 9);
        assert_eq!(board.listed_sockets()[1]["queue"], Value::Null);
        let version = board.version();
        board.sockets(&list);
        board.queues(|_, port| (port == 80).then_some(9));
        assert_eq!(board.version(), version);
    }
}
