//! What a branch of Cyme is asked, and what its answers mean in the words of circusd: a machine of a fleet is shown and
//! steered as any other, as far as its branch offers it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use circus_core::proto::{Object, Signal};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::action::Action;

/// So long a machine that is announced no more is shown as away.
pub const AWAY: Duration = Duration::from_secs(600);
/// A branch gives at most so many lines at once.
const LINES: u64 = 10_000;
/// What a segment of a path may have as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The commands that change something, which a branch offers for a watcher, and their properties there.
const OFFERED: &[(&str, &[&str])] = &[
    ("start", &[]),
    ("stop", &[]),
    ("restart", &[]),
    ("reload", &["graceful", "sequential"]),
    ("incr", &["nb"]),
    ("decr", &["nb"]),
    ("signal", &["signum", "pid", "recursive"]),
];

/// Why an action is not offered.
pub const REASON: &str = "the branch of this machine does not offer it";

/// Whether branches offer an action.
pub fn offers(action: &Action) -> bool {
    action.of_watcher && OFFERED.iter().any(|(command, _)| *command == action.command)
}

/// A request to a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// GET or POST.
    pub method: &'static str,
    /// The path, with the query.
    pub path: String,
}

/// A part of a path or of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// The request that is a command of circusd on the machine of a branch.
///
/// # Errors
/// With the reason, where branches do not offer it.
pub fn call(machine: &str, command: &str, properties: &Object) -> Result<Call, String> {
    let place = format!("/machines/{}", encoded(machine));
    let get = |path: String| Ok(Call { method: "GET", path });
    match command {
        "status" => return get(format!("{place}/watchers/?verbose=1")),
        "stats" => return get(format!("{place}/stats/")),
        _ => {}
    }
    let none = || format!("{REASON}: {command}");
    let watcher = properties.get("name").and_then(Value::as_str).ok_or_else(none)?;
    let place = format!("{place}/watchers/{}/{command}/", encoded(watcher));
    match command {
        "why" => return get(place),
        "options" => return get(format!("{place}{}", query(properties, &["all"])?)),
        "tail" => {
            let mut properties = properties.clone();
            if let Some(lines) = properties.get("lines").and_then(Value::as_u64) {
                properties.insert("lines".into(), lines.clamp(1, LINES).into());
            }
            return get(format!("{place}{}", query(&properties, &["stream", "lines", "after", "wid"])?));
        }
        _ => {}
    }
    let (_, known) = OFFERED.iter().find(|(offered, _)| *offered == command).ok_or_else(none)?;
    for (key, value) in properties {
        let implied = match key.as_str() {
            "name" => true,
            "match" => value == "simple",
            // A branch answers when it is done.
            "waiting" => value == true,
            key => known.contains(&key),
        };
        if !implied {
            return Err(format!("{REASON}: {command} with {key} = {value}"));
        }
    }
    Ok(Call { method: "POST", path: format!("{place}{}", query(properties, known)?) })
}

/// The query with these properties, as far as they are given.
fn query(properties: &Object, names: &[&str]) -> Result<String, String> {
    let mut query = String::new();
    for name in names {
        let value = match properties.get(*name) {
            None | Some(Value::Null) => continue,
            Some(Value::Bool(yes)) => u8::from(*yes).to_string(),
            Some(Value::String(text)) if *name == "signum" => {
                let signal = Signal::parse(text).map_err(|_| format!("'{text}' is no signal"))?;
                signal.0.to_string()
            }
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let sign = if query.is_empty() { '?' } else { '&' };
        let _ = write!(query, "{sign}{name}={}", encoded(&value));
    }
    Ok(query)
}

/// What a branch has answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// circusd's answer, or a refusal in the words of one.
    Answer(Object),
    /// Nothing was done, for this reason: the machine or its circusd is not there, or the branch does not let us in.
    Lost(String),
}

/// What an answer means, to a request about a watcher or about all.
pub fn said(watcher: Option<&str>, status: u16, body: &Value) -> Said {
    let told = body["nok"][0].as_str();
    let refused = |reason: &str| {
        Said::Answer(Object::from_iter([("status".to_owned(), json!("error")), ("reason".to_owned(), json!(reason))]))
    };
    match (status, watcher) {
        (200, _) => match body.as_object() {
            Some(answer) => Said::Answer(answer.clone()),
            None => Said::Lost(strange(status)),
        },
        (400 | 409, _) => refused(told.unwrap_or("circusd refuses")),
        (404, Some(name)) => refused(&format!("program {name} not found")),
        (404, None) => Said::Lost("no branch announces this machine".into()),
        (408, _) => Said::Lost("the branch of this machine does not answer in time".into()),
        (503, _) => Said::Lost(told.unwrap_or("the broker or circusd cannot be reached").to_owned()),
        _ => Said::Lost(denied(status, told)),
    }
}

/// Why a branch lets nobody in, or does not answer as one.
pub fn denied(status: u16, told: Option<&str>) -> String {
    match (status, told) {
        (401, _) => "the branch refuses the token: it is missing or wrong".into(),
        (403, told) => format!("the branch refuses: {}", told.unwrap_or("not allowed")),
        (_, Some(told)) => told.to_owned(),
        (_, None) => strange(status),
    }
}

fn strange(status: u16) -> String {
    format!("what answers is no branch of Cyme (status {status})")
}

/// A machine, as its branch announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The id of the branch.
    pub id: String,
    /// Its labels.
    pub labels: Vec<String>,
}

/// The machines of an answer to `/machines/`.
///
/// # Errors
/// With the reason, where it has none.
pub fn announced(status: u16, body: &Value) -> Result<Vec<Announced>, String> {
    let list = body.as_array().filter(|_| status == 200).ok_or_else(|| denied(status, body["nok"][0].as_str()))?;
    let one = |one: &Value| {
        let labels = one["labels"].as_array().into_iter().flatten();
        let labels = labels.filter_map(Value::as_str).map(str::to_owned).collect();
        Some(Announced { id: one["id"].as_str().filter(|id| !id.is_empty())?.to_owned(), labels })
    };
    Ok(list.iter().filter_map(one).collect())
}

/// What is to be done about a machine of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was not known, or was away, or has other labels.
    Here(Announced),
    /// It is announced no more.
    Away(String),
    /// It was away for long: it is shown no more.
    Forget(String),
}

/// The machines of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Roster(BTreeMap<String, Known>);

#[derive(Clone, Debug)]
struct Known {
    labels: Vec<String>,
    /// Since when it is announced no more.
    away: Option<Duration>,
}

impl Roster {
    /// Takes down which machines are announced at this time.
    pub fn announced(&mut self, list: Vec<Announced>, now: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        for (id, known) in &mut self.0 {
            if known.away.is_none() && !list.iter().any(|one| one.id == *id) {
                known.away = Some(now);
                steps.push(Step::Away(id.clone()));
            }
        }
        for one in list {
            let known = Known { labels: one.labels.clone(), away: None };
            let before = self.0.insert(one.id.clone(), known);
            if before.is_none_or(|before| before.away.is_some() || before.labels != one.labels) {
                steps.push(Step::Here(one));
            }
        }
        let long = |known: &Known| known.away.is_some_and(|since| now.saturating_sub(since) >= AWAY);
        let gone: Vec<String> = self.0.iter().filter(|(_, known)| long(known)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.0.remove(&id);
            steps.push(Step::Forget(id));
        }
        steps
    }
}

/// What a machine of a fleet is called: the id of its branch, and where that could mean another one, its fleet too.
pub fn named(id: &str, fleet: &str, alone: bool, circusds: &[String]) -> String {
    let free = alone && !circusds.iter().any(|name| name == id);
    if free { id.to_owned() } else { format!("{id}@{fleet}") }
}

/// Something that a machine's circusd has reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its number, counted by the branch since it was started.
    pub number: u64,
    /// When, in seconds since the epoch.
    pub time: f64,
    /// The watcher.
    pub watcher: String,
    /// What has happened.
    pub event: String,
    /// circusd's message.
    pub about: Object,
}

impl Report {
    /// Reads one; `None` where it is none.
    pub fn read(value: &Value) -> Option<Self> {
        Some(Self {
            number: value["number"].as_u64()?,
            time: value["time"].as_f64()?,
            watcher: value["watcher"].as_str()?.to_owned(),
            event: value["event"].as_str()?.to_owned(),
            about: value["about"].as_object().cloned().unwrap_or_default(),
        })
    }
}

/// The number of the last event that was seen, given the number of the last one that the branch has: a branch that was
/// started again counts anew.
pub fn seen(last: u64, next: u64) -> u64 {
    if next < last { 0 } else { last }
}

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// Reads server-sent events from pieces of a body, wherever they were cut.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// The beginning of a line.
    line: Vec<u8>,
    message: Message,
}

/// A line that is longer is no event of a branch: a line of output has at most 64 KiB before it is encoded.
const LONGEST: usize = 1 << 20;

impl Messages {
    /// The events that this piece completes.
    ///
    /// # Errors
    /// Where a line has no end.
    pub fn read(&mut self, piece: &[u8]) -> Result<Vec<Message>, String> {
        let mut found = Vec::new();
        for byte in piece {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > LONGEST {
                    return Err("an event of the branch is too long".into());
                }
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                let message = std::mem::take(&mut self.message);
                if message != Message::default() {
                    found.push(message);
                }
            } else if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut self.message.event);
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::action::{ACTIONS, named as action};

    fn asked(command: &str, properties: Value) -> Result<String, String> {
        call("a b", command, properties.as_object().unwrap()).map(|call| format!("{} {}", call.method, call.path))
    }

    #[test]
    fn commands_are_requests_to_the_branch() {
        for (command, properties, path) in [
            ("status", json!({"verbose": true}), "GET /machines/a%20b/watchers/?verbose=1"),
            ("stats", json!({}), "GET /machines/a%20b/stats/"),
            ("why", json!({"name": "x/y"}), "GET /machines/a%20b/watchers/x%2Fy/why/"),
            ("options", json!({"name": "w", "all": true}), "GET /machines/a%20b/watchers/w/options/?all=1"),
            (
                "tail",
                json!({"name": "w", "stream": "stderr", "lines": 100_000, "wid": 2}),
                "GET /machines/a%20b/watchers/w/tail/?stream=stderr&lines=10000&wid=2",
            ),
            ("stop", json!({"name": "w", "match": "simple", "waiting": true}), "POST /machines/a%20b/watchers/w/stop/"),
            (
                "reload",
                json!({"name": "w", "sequential": true, "waiting": true}),
                "POST /machines/a%20b/watchers/w/reload/?sequential=1",
            ),
            ("incr", json!({"name": "w", "nb": 3}), "POST /machines/a%20b/watchers/w/incr/?nb=3"),
            (
                "signal",
                json!({"name": "w", "signum": "sighup", "pid": 7}),
                "POST /machines/a%20b/watchers/w/signal/?signum=1&pid=7",
            ),
            ("signal", json!({"name": "w", "signum": 15}), "POST /machines/a%20b/watchers/w/signal/?signum=15"),
        ] {
            assert_eq!(asked(command, properties).as_deref(), Ok(path));
        }
    }

    #[test]
    fn what_branches_do_not_offer_is_said() {
        for (command, properties, named) in [
            ("set", json!({"name": "w", "options": {}}), "set"),
            ("quit", json!({}), "quit"),
            ("stop", json!({"waiting": true}), "stop"),
            ("reloadconfig", json!({"dry_run": true}), "reloadconfig"),
            ("stop", json!({"name": "w", "waiting": false}), "waiting = false"),
            ("stop", json!({"name": "w", "match": "glob"}), "match"),
            ("signal", json!({"name": "w", "signum": 1, "childpid": 3}), "childpid = 3"),
        ] {
            let reason = asked(command, properties).unwrap_err();
            assert!(reason.starts_with(REASON) && reason.contains(named), "{reason}");
        }
        let offered: Vec<_> = ACTIONS.iter().filter(|action| offers(action)).map(|action| action.name).collect();
        let wanted = ["start", "stop", "restart", "reload", "rolling-reload", "incr", "decr", "signal"];
        assert_eq!(offered, wanted);
        // What is offered is understood as the console makes it.
        for name in wanted {
            let given = if name == "signal" { json!({"signum": "HUP"}) } else { json!({}) };
            let ready = action(name, true).unwrap().ready(Some("w"), given.as_object().cloned().unwrap()).unwrap();
            assert!(call("m", ready.command, &ready.properties).is_ok(), "{name}");
        }
    }

    #[test]
    fn answers_are_circusds() {
        let refusal =
            |reason: &str| Said::Answer(json!({"status": "error", "reason": reason}).as_object().cloned().unwrap());
        let ok = json!({"status": "ok", "numprocesses": 3});
        assert_eq!(said(Some("w"), 200, &ok), Said::Answer(ok.as_object().cloned().unwrap()));
        assert_eq!(said(Some("w"), 409, &json!({"nok": ["arbiter is busy", ""]})), refusal("arbiter is busy"));
        assert_eq!(said(Some("w"), 404, &Value::Null), refusal("program w not found"));
        for (status, body, reason) in [
            (401, json!({"nok": ["x", ""]}), "the token"),
            (403, json!({"nok": ["from this machine only", ""]}), "from this machine only"),
            (404, Value::Null, "no branch announces"),
            (408, Value::Null, "in time"),
            (503, json!({"nok": ["circusd does not answer", ""]}), "circusd does not answer"),
            (200, json!("hello"), "no branch of Cyme"),
            (500, Value::Null, "no branch of Cyme"),
        ] {
            match said(None, status, &body) {
                Said::Lost(said) => assert!(said.contains(reason), "{said}"),
                Said::Answer(answer) => panic!("{answer:?}"),
            }
        }
    }

    fn list(ids: &[&str]) -> Vec<Announced> {
        ids.iter().map(|id| Announced { id: (*id).into(), labels: Vec::new() }).collect()
    }

    #[test]
    fn machines_come_and_go() {
        let body = json!([{"id": "a", "url": "http://h", "labels": ["web", 3]}, {"id": ""}, 7]);
        let found = announced(200, &body).unwrap();
        assert_eq!(found, [Announced { id: "a".into(), labels: vec!["web".into()] }]);
        assert!(announced(401, &json!({"nok": ["no", ""]})).unwrap_err().contains("token"));
        assert!(announced(200, &json!({"a": 1})).unwrap_err().contains("no branch of Cyme"));
        let mut roster = Roster::default();
        let at = Duration::from_secs;
        assert_eq!(roster.announced(found.clone(), at(0)), [Step::Here(found[0].clone())]);
        assert_eq!(roster.announced(found, at(5)), []);
        // Other labels; another machine.
        assert_eq!(roster.announced(list(&["a", "b"]), at(6)).len(), 2);
        assert_eq!(roster.announced(list(&["b"]), at(10)), [Step::Away("a".into())]);
        assert_eq!(roster.announced(list(&["b"]), at(20)), []);
        assert_eq!(roster.announced(list(&["a", "b"]), at(30)), [Step::Here(list(&["a"]).remove(0))]);
        roster.announced(list(&["a"]), at(40));
        assert_eq!(roster.announced(list(&["a"]), at(40) + AWAY), [Step::Forget("b".into())]);
        assert_eq!(roster.announced(list(&["a"]), at(50) + AWAY), []);
    }

    #[test]
    fn names_are_of_one_machine_each() {
        assert_eq!(named("a", "h:1", true, &["box".into()]), "a");
        assert_eq!(named("box", "h:1", true, &["box".into()]), "box@h:1");
        assert_eq!(named("a", "h:1", false, &[]), "a@h:1");
    }

    #[test]
    fn reports_are_counted_by_the_branch() {
        let value = json!({"number": 3, "time": 1.5, "watcher": "web", "event": "reap", "about": {"process_pid": 7}});
        let report = Report::read(&value).unwrap();
        assert_eq!((report.number, report.event.as_str(), &report.about["process_pid"]), (3, "reap", &json!(7)));
        assert_eq!(Report::read(&json!({"number": 3})), None);
        assert_eq!((seen(5, 9), seen(5, 5), seen(5, 2)), (5, 5, 0));
    }

    #[test]
    fn events_are_read_wherever_they_were_cut() {
        let text = ": keep\n\nevent: line\nid: 5\ndata: {\"line\": \"ä\"}\n\ndata: a\r\ndata: b\r\n\r\n";
        let wanted = [
            Message { event: "line".into(), data: "{\"line\": \"ä\"}".into() },
            Message { event: String::new(), data: "a\nb".into() },
        ];
        for size in [1, 2, 7, text.len()] {
            let mut messages = Messages::default();
            let found: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| messages.read(piece).unwrap()).collect();
            assert_eq!(found, wanted);
        }
        assert!(Messages::default().read(&vec![b'x'; LONGEST + 1]).is_err());
    }
}
