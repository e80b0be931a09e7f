//! The contents of the page, read from circusd's answers. Plain data.

use circus_core::proto::Object;
use serde_json::Value;

use super::tally::Tally;

/// Everything at one moment. What was not reported is missing, and left out of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) sockets: Vec<Socket>,
    /// circusd itself.
    pub(crate) daemon: Option<Usage>,
}

/// A watcher, as `status` with `verbose` knows it, and what was seen of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Watcher {
    pub(crate) name: String,
    pub(crate) state: String,
    /// Its health, in circusd's word.
    pub(crate) health: String,
    pub(crate) wanted: u64,
    pub(crate) running: u64,
    pub(crate) starting: u64,
    pub(crate) stopping: u64,
    /// Places that wait before they are tried again.
    pub(crate) backing_off: u64,
    /// The longest of these waits, in seconds.
    pub(crate) back_off: f64,
    pub(crate) spawned: u64,
    pub(crate) failed: u64,
    pub(crate) restarts: u64,
    pub(crate) uptime: Option<f64>,
    pub(crate) pids: Vec<i32>,
    /// Whether workers are ready, by their numbers, where the watcher says how that shows.
    pub(crate) ready: Vec<(u64, bool)>,
    pub(crate) usage: Option<Usage>,
    /// Of a watcher that is no service.
    pub(crate) runs: Option<Runs>,
    pub(crate) tally: Tally,
}

/// The runs of a watcher that is no service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Runs {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) last: Option<LastRun>,
    /// When it runs next as its schedule says, in seconds since the epoch.
    pub(crate) next: Option<f64>,
}

/// The last run that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LastRun {
    pub(crate) succeeded: bool,
    /// In seconds since the epoch.
    pub(crate) began: f64,
    /// In seconds.
    pub(crate) duration: f64,
}

impl Watcher {
    /// Whether nothing is missing that circusd would still start.
    pub(crate) fn is_complete(&self) -> bool {
        self.starting == 0 && self.backing_off == 0 && self.running >= self.wanted
    }
}

/// What processes use, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time, in seconds.
    pub(crate) cpu: f64,
    /// Memory in RAM, in bytes.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
    /// Open descriptors, if the kernel reports them.
    pub(crate) fds: Option<u64>,
}

/// A socket of circusd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) name: String,
    /// Its number in circusd.
    pub(crate) fd: i64,
    /// How many connections may wait.
    pub(crate) backlog: Option<u64>,
    /// The number of waiting connections, if the kernel reports it.
    pub(crate) queue: Option<u64>,
}

/// The watchers of an answer to `status` with `verbose`; `None` where it is no such answer.
pub(crate) fn watchers(answer: &Object) -> Option<Vec<Watcher>> {
    let details = answer.get("details")?.as_object()?;
    let mut watchers: Vec<Watcher> = details.iter().map(|(name, details)| watcher(name, details)).collect();
    watchers.sort_by(|a, b| a.name.cmp(&b.name));
    Some(watchers)
}

fn watcher(name: &str, details: &Value) -> Watcher {
    let count = |key: &str| details.get(key).and_then(Value::as_u64).unwrap_or_default();
    let rows = |key: &str| details.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let waits = rows("backing_off").iter().filter_map(|row| row.get("wait")?.as_f64());
    let text = |key: &str| details.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Watcher {
        name: name.to_owned(),
        state: text("state"),
        health: text("health"),
        wanted: count("wanted"),
        running: count("running"),
        starting: count("starting"),
        stopping: count("stopping"),
        backing_off: rows("backing_off").len() as u64,
        back_off: waits.fold(0.0, f64::max),
        spawned: count("spawned"),
        failed: count("failed"),
        restarts: count("restarts"),
        uptime: details.get("uptime").and_then(Value::as_f64),
        pids: rows("processes").iter().filter_map(pid).collect(),
        ready: rows("processes").iter().filter_map(ready).collect(),
        runs: details.get("runs").map(|counts| runs(counts, details)),
        ..Watcher::default()
    }
}

fn ready(row: &Value) -> Option<(u64, bool)> {
    Some((row.get("wid")?.as_u64()?, row.get("ready")?.as_bool()?))
}

fn runs(counts: &Value, details: &Value) -> Runs {
    let count = |key: &str| counts.get(key).and_then(Value::as_u64).unwrap_or_default();
    let last = details.get("last_run").and_then(|run| {
        let number = |key: &str| run.get(key).and_then(Value::as_f64);
        let succeeded = run.get("result")?.as_str()? == "success";
        Some(LastRun { succeeded, began: number("began")?, duration: number("duration")? })
    });
    let next = details.get("next_run").and_then(Value::as_f64);
    Runs { succeeded: count("succeeded"), failed: count("failed"), skipped: count("skipped"), last, next }
}

fn pid(row: &Value) -> Option<i32> {
    i32::try_from(row.get("pid")?.as_i64()?).ok().filter(|pid| *pid > 0)
}

/// The sockets of an answer to `listsockets`.
pub(crate) fn sockets(answer: &Object) -> Vec<Socket> {
    let rows = answer.get("sockets").and_then(Value::as_array).into_iter().flatten();
    let socket = |row: &Value| {
        Some(Socket {
            name: row.get("name")?.as_str()?.to_owned(),
            fd: row.get("fd")?.as_i64()?,
            backlog: row.get("backlog").and_then(Value::as_u64),
            queue: None,
        })
    };
    rows.filter_map(socket).collect()
}

/// The pid of circusd, of an answer to `dstats`.
pub(crate) fn daemon(answer: &Object) -> Option<i32> {
    pid(answer.get("info")?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn answers_of_circusd() {
        let answer = object(json!({"status": "ok", "details": {
            "web": {"state": "active", "health": "degraded", "wanted": 3, "running": 1, "starting": 1, "stopping": 0, "restarts": 4,
                    "backing_off": [{"wid": 1, "wait": 0.5, "left": 0.1}, {"wid": 2, "wait": 2.0}], "spawned": 9,
                    "failed": 1, "uptime": 2.5, "processes": [{"pid": 10, "wid": 3, "uptime": 1}, {"pid": -1}, 7]},
            "idle": {"state": "stopped", "wanted": 0, "uptime": null}}}));
        let found = watchers(&answer).unwrap();
        let web = Watcher {
            name: "web".into(),
            state: "active".into(),
            health: "degraded".into(),
            wanted: 3,
            running: 1,
            starting: 1,
            backing_off: 2,
            back_off: 2.0,
            spawned: 9,
            failed: 1,
            restarts: 4,
            uptime: Some(2.5),
            pids: vec![10],
            ..Watcher::default()
        };
        assert_eq!(found[1], web);
        assert_eq!((found[0].name.as_str(), found[0].is_complete(), found[1].is_complete()), ("idle", true, false));
        let answer = object(
            json!({"details": {"migrate": {"state": "stopped", "runs": {"succeeded": 2, "failed": 1, "skipped": 4},
            "next_run": 9.5, "last_run": {"result": "success", "began": 5.5, "duration": 2.0}}}}),
        );
        let last = Some(LastRun { succeeded: true, began: 5.5, duration: 2.0 });
        assert_eq!(
            watchers(&answer).unwrap()[0].runs,
            Some(Runs { succeeded: 2, failed: 1, skipped: 4, last, next: Some(9.5) })
        );
        assert_eq!(watchers(&object(json!({"status": "ok"}))), None);
    }

    #[test]
    fn sockets_and_the_daemon() {
        let answer =
            object(json!({"sockets": [{"fd": 3, "name": "web", "backlog": 64, "host": "h", "port": 1}, {}, 7]}));
        let web = Socket { name: "web".into(), fd: 3, backlog: Some(64), queue: None };
        assert_eq!(sockets(&answer), [web]);
        assert_eq!(daemon(&object(json!({"info": {"pid": 7}}))), Some(7));
        assert_eq!(daemon(&object(json!({"info": "No such process (stopped?)"}))), None);
    }
}
