//! What is known of the fleet, from metrics, answers and events.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::history::History;
use super::metrics::{Metrics, number};
use circus_core::commands::{Health, health, next_run};
use circus_core::config::WatcherOrigin;
use circus_core::proto::Object;

/// The name under which circusd and its own programs are published.
pub(super) const OWN: &str = "circus";

/// A process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// What it is: its name among circusd's own programs, else that of its program.
    pub(super) label: String,
    pub(super) user: String,
    /// What it says of itself, or that it is not ready.
    note: Option<String>,
    pub(super) metrics: Metrics,
    pub(super) cpu: History,
    pub(super) memory: History,
    /// Its number within its watcher, if circusd has reported it.
    pub(super) wid: Option<u32>,
    heard: Duration,
}

impl Process {
    /// What it is, and what it says of itself.
    pub(super) fn shown_label(&self) -> String {
        match &self.note {
            Some(note) => format!("{} ({note})", self.label),
            None => self.label.clone(),
        }
    }

    /// As `status` tells it.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// What is to be known of a worker's readiness.
fn note(row: &Value) -> Option<String> {
    let text = |key: &str| row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let unready = row.get("ready").and_then(Value::as_bool) == Some(false);
    match (unready, text("status").or_else(|| text("check_error"))) {
        (true, Some(text)) => Some(format!("not ready: {text}")),
        (true, None) => Some("not ready".to_owned()),
        (false, text) => text.map(str::to_owned),
    }
}

/// The runs of a watcher that runs once, or by a schedule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Job {
    /// As circusd tells it; null before the first run.
    pub(super) last_run: Value,
    /// In seconds since the epoch.
    pub(super) next_run: Option<f64>,
    /// When the next one is and what the last one came to, in words.
    note: String,
}

impl Job {
    fn of(details: &Object) -> Option<Self> {
        let last_run = details.get("last_run")?.clone();
        let last = last_run.get("result").and_then(Value::as_str).map(|result| format!("last: {result}"));
        let note = next_run(details).into_iter().chain(last).collect::<Vec<_>>().join(", ");
        Some(Self { last_run, next_run: details.get("next_run").and_then(Value::as_f64), note })
    }
}

/// A watcher and its processes, by pid.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Watcher {
    /// As its file spells it.
    pub(super) name: String,
    pub(super) state: Option<String>,
    /// Its health, if circusd has reported enough.
    health: Option<Health>,
    pub(super) restarts: Option<u64>,
    /// How many processes it is to have.
    pub(super) wanted: Option<u64>,
    /// What is known of its runs; none of a service.
    pub(super) job: Option<Job>,
    pub(super) processes: BTreeMap<i64, Process>,
    pub(super) cpu: History,
    pub(super) memory: History,
    /// circusd has reported it, so that it stays without processes.
    told: bool,
}

impl Watcher {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The state to show: the fault, or the state of the run, in a word of eight letters at most, or else circusd's
    /// word.
    pub(super) fn shown_state(&self) -> Option<String> {
        match self.health {
            Some(Health::BackingOff) => Some("backoff".into()),
            Some(Health::HeldBack) => Some("held".into()),
            Some(Health::Succeeded) => Some("done".into()),
            Some(Health::Scheduled) => Some("waits".into()),
            Some(health @ (Health::Degraded | Health::Failed | Health::Running)) => Some(health.name().into()),
            Some(_) | None => self.state.clone(),
        }
    }

    /// Its name, and how its runs fare.
    pub(super) fn shown_name(&self) -> String {
        match &self.job {
            Some(job) if !job.note.is_empty() => format!("{} ({})", self.name, job.note),
            Some(_) | None => self.name.clone(),
        }
    }

    /// Whether it is one that an operator should look at.
    pub(super) fn is_in_trouble(&self) -> bool {
        matches!(self.health, Some(Health::BackingOff | Health::HeldBack | Health::Degraded | Health::Failed))
    }

    /// Its health, in a word.
    pub(super) fn shown_health(&self) -> Option<&'static str> {
        self.health.map(Health::name)
    }

    /// Of all its processes.
    pub(super) fn metrics(&self) -> Metrics {
        Metrics::sum(self.processes.values().map(|process| &process.metrics))
    }

    /// Remembers what its processes use now.
    fn remember(&mut self, now: Duration) {
        let metrics = self.metrics();
        self.cpu.add(metrics.cpu.unwrap_or_default(), now);
        self.memory.add(metrics.resident.unwrap_or_default() as f64, now);
    }

    fn take_process(&mut self, pid: i64, body: &Value, now: Duration) {
        let process = self.processes.entry(pid).or_default();
        process.metrics = Metrics::of(body);
        process.heard = now;
        process.cpu.add(process.metrics.cpu.unwrap_or_default(), now);
        process.memory.add(process.metrics.resident.unwrap_or_default() as f64, now);
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        process.label = text("name").or_else(|| text("title")).or_else(|| text("cmdline")).unwrap_or_default();
        process.user = text("username").unwrap_or_default();
    }

    fn take_details(&mut self, details: &Value, now: Duration) {
        self.restarts = details.get("restarts").and_then(Value::as_u64).or(self.restarts);
        self.wanted = details.get("wanted").and_then(Value::as_u64);
        self.job = details.as_object().and_then(Job::of);
        for row in details.get("processes").and_then(Value::as_array).into_iter().flatten() {
            let Some(pid) = row.get("pid").and_then(Value::as_i64) else { continue };
            let process = self.processes.entry(pid).or_default();
            process.heard = now;
            process.wid = row.get("wid").and_then(Value::as_u64).and_then(|wid| u32::try_from(wid).ok());
            process.note = note(row);
            // The figures have it more exactly, where there are any.
            process.metrics.age = process.metrics.age.or_else(|| number(row, "uptime"));
        }
    }
}

/// A socket that circusd holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Socket {
    pub(super) name: String,
    pub(super) address: String,
    /// In the last interval.
    pub(super) hits: Option<u64>,
    /// Since circus-top looks.
    pub(super) total: u64,
    pub(super) history: History,
    heard: Duration,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Fleet {
    /// By their names in lower case.
    pub(super) watchers: BTreeMap<String, Watcher>,
    /// circusd and its own programs.
    pub(super) own: Watcher,
    /// By descriptor.
    pub(super) sockets: BTreeMap<i64, Socket>,
    /// All metrics have come: those of circusd and its programs come last.
    whole: bool,
    /// After this long a process is gone that nothing is heard of.
    timeout: Duration,
}

impl Fleet {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { watchers: BTreeMap::new(), own: Watcher::new(OWN), sockets: BTreeMap::new(), whole: false, timeout }
    }

    /// A message of circusd-stats. Whether it is one.
    pub(super) fn take_stat(&mut self, topic: &[u8], body: &[u8], now: Duration) -> bool {
        let Some(topic) = std::str::from_utf8(topic).ok().and_then(|topic| topic.strip_prefix("stat.")) else {
            return false;
        };
        let Ok(body @ Value::Object(_)) = serde_json::from_slice(body) else { return false };
        // Names may have dots: only the message knows whether the last part of its topic is one of the name.
        let part = body.get("subtopic").and_then(Value::as_i64);
        let name = part.and_then(|part| topic.strip_suffix(&format!(".{part}"))).unwrap_or(topic);
        match part {
            Some(fd) if name == "sockets" => self.take_hits(fd, &body, now),
            None if name == "sockets" => {}
            Some(pid) => self.named(name).take_process(pid, &body, now),
            None => {
                self.whole |= name == OWN;
                let watcher = self.named(name);
                watcher.restarts = body.get("restarts").and_then(Value::as_u64).or(watcher.restarts);
                if let Some(state) = body.get("state").and_then(Value::as_str) {
                    // The known health belongs to another state.
                    watcher.health = watcher.health.filter(|_| watcher.state.as_deref() == Some(state));
                    watcher.state = Some(state.to_owned());
                }
                watcher.remember(now);
            }
        }
        true
    }

    fn named(&mut self, name: &str) -> &mut Watcher {
        if name == OWN {
            return &mut self.own;
        }
        self.watchers.entry(name.to_owned()).or_insert_with(|| Watcher::new(name))
    }

    fn take_hits(&mut self, fd: i64, body: &Value, now: Duration) {
        let hits = body.get("reads").and_then(Value::as_u64).unwrap_or_default();
        let socket = self.sockets.entry(fd).or_default();
        socket.hits = Some(hits);
        socket.total = socket.total.saturating_add(hits);
        socket.history.add(hits as f64, now);
        socket.heard = now;
        if let Some(address) = body.get("address").and_then(Value::as_str) {
            socket.address = address.to_owned();
        }
    }

    /// The answer to `status`, with or without details.
    pub(super) fn take_status(&mut self, answer: &Object, now: Duration) {
        let part = |key: &str| answer.get(key).and_then(Value::as_object);
        let Some(told) = part("details").or_else(|| part("statuses")) else { return };
        for watcher in self.watchers.values_mut() {
            watcher.told = false;
        }
        for (name, details) in told {
            let key = name.to_lowercase();
            // It is shown with circusd.
            if WatcherOrigin::is_internal(details) {
                continue;
            }
            let watcher = self.watchers.entry(key).or_default();
            watcher.name.clone_from(name);
            watcher.told = true;
            let state = details.get("state").unwrap_or(details).as_str();
            watcher.state = state.map(str::to_owned);
            watcher.health = details.as_object().filter(|details| details.contains_key("running")).map(health);
            watcher.take_details(details, now);
        }
        self.watchers.retain(|_, watcher| watcher.told);
    }

    /// The answer to `listsockets`.
    pub(super) fn take_sockets(&mut self, answer: &Object, now: Duration) {
        let Some(rows) = answer.get("sockets").and_then(Value::as_array) else { return };
        for row in rows {
            let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
            let Some(fd) = row.get("fd").and_then(Value::as_i64) else { continue };
            let port = || Some(format!("{}:{}", text("host")?, row.get("port")?.as_u64()?));
            let socket = self.sockets.entry(fd).or_default();
            socket.heard = now;
            socket.name = text("name").unwrap_or_default();
            if let Some(address) = text("path").or_else(port) {
                socket.address = address;
            }
        }
        self.sockets.retain(|fd, _| rows.iter().any(|row| row.get("fd").and_then(Value::as_i64) == Some(*fd)));
    }

    /// A process has ended.
    pub(super) fn forget(&mut self, pid: i64) {
        for watcher in self.watchers.values_mut() {
            watcher.processes.remove(&pid);
        }
    }

    /// Drops what nothing has been heard of.
    pub(super) fn expire(&mut self, now: Duration) {
        let timeout = self.timeout;
        let fresh = |heard: Duration| now.saturating_sub(heard) <= timeout;
        for watcher in self.watchers.values_mut().chain([&mut self.own]) {
            watcher.processes.retain(|_, process| fresh(process.heard));
        }
        self.watchers.retain(|_, watcher| watcher.told || !watcher.processes.is_empty());
        self.sockets.retain(|_, socket| !socket.name.is_empty() || fresh(socket.heard));
    }

    /// How many processes the watchers have, with those that descend from them.
    pub(super) fn processes(&self) -> usize {
        let all = self.watchers.values().map(|watcher| {
            let descendants = watcher.metrics().descendants.unwrap_or_default();
            watcher.processes.len().saturating_add(usize::try_from(descendants).unwrap_or(usize::MAX))
        });
        all.fold(0, usize::saturating_add)
    }

    /// Whether no figures are missing.
    pub(super) fn is_complete(&self) -> bool {
        let all = self.watchers.values().flat_map(|watcher| watcher.processes.values());
        self.whole
            && self.sockets.values().all(|socket| socket.hits.is_some())
            && all.into_iter().all(|process| process.metrics.cpu.is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn fleet() -> Fleet {
        Fleet::new(Duration::from_secs(3))
    }

    fn tell(fleet: &mut Fleet, topic: &str, body: Value) -> bool {
        fleet.take_stat(topic.as_bytes(), body.to_string().as_bytes(), NOW)
    }

    fn status(fleet: &mut Fleet, answer: Value) {
        fleet.take_status(answer.as_object().unwrap(), NOW);
    }

    #[test]
    fn a_watcher_is_the_sum_of_its_processes() {
        let mut fleet = fleet();
        for (pid, cpu) in [(7, 10.0), (8, 2.5)] {
            let topic = format!("stat.dotted.name.{pid}");
            assert!(tell(&mut fleet, &topic, json!({"subtopic": pid, "cpu": cpu, "mem": 1, "cmdline": "sleep"})));
        }
        assert!(tell(&mut fleet, "stat.dotted.name", json!({"pid": [7, 8], "cpu": 6.25, "restarts": 4})));
        let watcher = &fleet.watchers["dotted.name"];
        assert_eq!((watcher.metrics().cpu, watcher.restarts), (Some(12.5), Some(4)));
        assert_eq!(watcher.processes[&7].label, "sleep");
        assert_eq!((fleet.processes(), fleet.watchers.len()), (2, 1));
        fleet.forget(7);
        fleet.expire(NOW + Duration::from_secs(3));
        assert_eq!(fleet.processes(), 1);
        fleet.expire(NOW + Duration::from_secs(4));
        assert!(fleet.watchers.is_empty(), "circusd never told of it");
    }

    #[test]
    fn status_says_who_there_is() {
        let mut fleet = fleet();
        tell(&mut fleet, "stat.gone", json!({"pid": []}));
        status(
            &mut fleet,
            json!({"statuses": {"My App": "active", "idle": "stopped", "circusd-stats": "active"},
            "details": {"My App": {"state": "active", "restarts": 2, "wanted": 3,
                "processes": [{"pid": 5, "wid": 1, "uptime": 7.5}, {"pid": "x"}]},
                "idle": {"state": "stopped"}, "circusd-stats": {"state": "active", "origin": "internal"}}}),
        );
        let names: Vec<&str> = fleet.watchers.keys().map(String::as_str).collect();
        assert_eq!(names, ["idle", "my app"]);
        let app = &fleet.watchers["my app"];
        assert_eq!((app.name.as_str(), app.restarts, app.wanted), ("My App", Some(2), Some(3)));
        assert_eq!(app.metrics().age, Some(7.5));
        fleet.expire(NOW + Duration::from_secs(60));
        assert_eq!(fleet.watchers.len(), 2, "a watcher needs no processes");
        // The original has no details.
        status(&mut fleet, json!({"statuses": {"idle": "active"}}));
        assert_eq!(fleet.watchers["idle"].state.as_deref(), Some("active"));
        assert_eq!(fleet.watchers.len(), 1);
    }

    #[test]
    fn runs_are_shown_after_the_name() {
        let mut fleet = fleet();
        let last = json!({"result": "failure", "exit_code": 3});
        status(
            &mut fleet,
            json!({"details": {
                "nightly": {"state": "stopped", "last_run": last, "next_run": 9.5, "next_run_in": 7200.0,
                    "schedule": "0 3 * * *", "timezone": "UTC"},
                "migrate": {"state": "stopped", "last_run": null}, "web": {"state": "active"}}}),
        );
        let shown = |name: &str| fleet.watchers[name].shown_name();
        assert_eq!(shown("nightly"), "nightly (next run in 2 h 0 min (0 3 * * *, UTC), last: failure)");
        assert_eq!([shown("migrate"), shown("web")], ["migrate", "web"]);
        let job = fleet.watchers["nightly"].job.as_ref().unwrap();
        assert_eq!((&job.last_run, job.next_run), (&last, Some(9.5)));
    }

    #[test]
    fn titles_name_processes_and_trees_are_counted() {
        let mut fleet = fleet();
        let pool =
            json!({"subtopic": 7, "name": null, "cmdline": "python3.11", "title": "celery", "tree": {"processes": 9}});
        tell(&mut fleet, "stat.pool.7", pool);
        assert_eq!(fleet.watchers["pool"].processes[&7].label, "celery");
        assert_eq!((fleet.watchers["pool"].metrics().descendants, fleet.processes()), (Some(8), 9));
        tell(&mut fleet, "stat.pool.8", json!({"subtopic": 8, "cmdline": "sleep"}));
        assert_eq!(fleet.watchers["pool"].processes[&8].label, "sleep", "the original has no title");
    }

    #[test]
    fn trouble_is_shown_in_place_of_active() {
        let mut fleet = fleet();
        let row = json!({"wid": 1, "times": 2, "exit_code": 1, "wait": 0.4, "left": 0.2});
        status(
            &mut fleet,
            json!({"details": {
                "flap": {"state": "active", "health": "backing off", "wanted": 1, "running": 0, "backing_off": [row]},
                "less": {"state": "active", "health": "degraded", "wanted": 3, "running": 1},
                "gone": {"state": "stopped", "health": "failed", "wanted": 1, "running": 0},
                "well": {"state": "active", "health": "ready", "wanted": 1, "running": 1},
            }}),
        );
        let shown = |fleet: &Fleet, name: &str| fleet.watchers[name].shown_state().unwrap();
        let states = ["flap", "less", "gone", "well"].map(|name| shown(&fleet, name));
        assert_eq!(states, ["backoff", "degraded", "failed", "active"]);
        tell(&mut fleet, "stat.flap", json!({"pid": [], "state": "stopping"}));
        assert_eq!(shown(&fleet, "flap"), "stopping");
    }

    #[test]
    fn sockets_and_circusd_itself() {
        let mut fleet = fleet();
        tell(&mut fleet, "stat.sockets.3", json!({"fd": 3, "subtopic": 3, "reads": 2, "address": "127.0.0.1:80"}));
        tell(&mut fleet, "stat.sockets.3", json!({"fd": 3, "subtopic": 3, "reads": 1, "address": "127.0.0.1:80"}));
        tell(&mut fleet, "stat.sockets", json!({"addresses": ["127.0.0.1:80"], "reads": 2}));
        let rows = json!({"sockets": [{"fd": 3, "name": "web", "host": "127.0.0.1", "port": 80},
            {"fd": 4, "name": "ux", "path": "/run/x"}, {}]});
        fleet.take_sockets(rows.as_object().unwrap(), NOW);
        let web = &fleet.sockets[&3];
        assert_eq!((web.name.as_str(), web.hits, web.total), ("web", Some(1), 3));
        assert_eq!(fleet.sockets[&4].address, "/run/x");
        assert!(!fleet.is_complete());
        tell(&mut fleet, "stat.circus.9", json!({"subtopic": 9, "name": "circusd", "cmdline": "circusd", "cpu": 1}));
        assert_eq!(fleet.own.processes[&9].label, "circusd");
        assert!(fleet.watchers.is_empty() && !fleet.is_complete());
        tell(&mut fleet, "stat.circus", json!({"pid": [9], "cpu": 1}));
        assert!(!fleet.is_complete(), "of a socket nothing was told");
        fleet.sockets.remove(&4);
        assert!(fleet.is_complete());
    }

    proptest! {
        #[test]
        fn no_message_is_a_panic(topic in "(stat[.])?[a-z.0-9]{0,9}", number in any::<i64>(), text in ".{0,9}") {
            let mut fleet = fleet();
            for value in [json!(number), json!(text), json!([number]), json!({"pid": number}), json!(null)] {
                for key in ["subtopic", "details", "statuses", "sockets", "tree", "mem_info1", "name"] {
                    let body = json!({key: value, "x": {key: value}});
                    tell(&mut fleet, &topic, body.clone());
                    status(&mut fleet, body.clone());
                    status(&mut fleet, json!({key: {"w": {"processes": [value]}}}));
                    fleet.take_sockets(body.as_object().unwrap(), NOW);
                }
            }
            fleet.take_stat(topic.as_bytes(), text.as_bytes(), NOW);
            fleet.expire(NOW);
        }
    }

    #[test]
    fn a_worker_says_how_ready_it_is() {
        let of = |row: Value| note(&row);
        assert_eq!(of(json!({"pid": 1})), None);
        assert_eq!(of(json!({"ready": true, "status": null, "check_error": null})), None);
        assert_eq!(of(json!({"ready": true, "status": "serving"})).as_deref(), Some("serving"));
        assert_eq!(of(json!({"ready": false})).as_deref(), Some("not ready"));
        let refused = json!({"ready": false, "status": null, "check_error": "refused"});
        assert_eq!(of(refused).as_deref(), Some("not ready: refused"));
    }
}
