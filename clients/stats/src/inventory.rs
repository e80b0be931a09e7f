//! What circusd answers, as circusd-stats needs it.

use serde_json::Value;

use circus_core::config::WatcherOrigin;
use circus_core::proto::Object;

/// A watcher and its processes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watcher {
    /// As in topics: as `list` writes it, in lower case.
    pub(super) name: String,
    pub(super) state: String,
    pub(super) restarts: u64,
    /// Seconds.
    pub(super) uptime: Option<f64>,
    /// None of a service.
    pub(super) job: Option<Job>,
    pub(super) workers: Vec<Worker>,
}

/// What is known of the runs of a watcher that runs once, or by a schedule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Job {
    /// As `status` has it; null before the first run.
    pub(super) last_run: Value,
    /// Seconds since the epoch.
    pub(super) next_run: Option<f64>,
}

/// A process of a watcher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worker {
    pub(super) pid: i32,
    pub(super) wid: u64,
    /// Seconds.
    pub(super) uptime: f64,
}

/// A socket that circusd holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) fd: i32,
    pub(super) address: String,
}

/// A process of circusd's own: circusd, or a program that it runs for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) pid: i32,
    pub(super) name: String,
}

/// The watchers, and circusd's own programs among them, of an answer to `status` with `verbose`.
pub(super) fn watchers(answer: &Object) -> Option<(Vec<Watcher>, Vec<Own>)> {
    let details = answer.get("details")?.as_object()?;
    let (mut watchers, mut own) = (Vec::new(), Vec::new());
    for (name, details) in details {
        let watcher = watcher(name.to_lowercase(), details);
        if WatcherOrigin::is_internal(details) {
            own.extend(watcher.workers.iter().map(|worker| Own { pid: worker.pid, name: watcher.name.clone() }));
        } else {
            watchers.push(watcher);
        }
    }
    Some((watchers, own))
}

fn watcher(name: String, details: &Value) -> Watcher {
    let rows = details.get("processes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut workers: Vec<Worker> = rows.iter().filter_map(worker).collect();
    workers.sort_unstable_by_key(|worker| worker.pid);
    Watcher {
        name,
        state: details.get("state").and_then(Value::as_str).unwrap_or_default().to_owned(),
        restarts: details.get("restarts").and_then(Value::as_u64).unwrap_or_default(),
        uptime: details.get("uptime").and_then(Value::as_f64),
        job: details
            .get("last_run")
            .map(|last| Job { last_run: last.clone(), next_run: details.get("next_run").and_then(Value::as_f64) }),
        workers,
    }
}

fn worker(row: &Value) -> Option<Worker> {
    let pid = row.get("pid")?.as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)?;
    Some(Worker { pid, wid: row.get("wid")?.as_u64()?, uptime: row.get("uptime")?.as_f64()? })
}

/// The sockets of an answer to `listsockets`.
pub(super) fn sockets(answer: &Object) -> Option<Vec<Socket>> {
    let rows = answer.get("sockets")?.as_array()?;
    let address = |row: &Value| match row.get("path").and_then(Value::as_str) {
        Some(path) => Some(path.to_owned()),
        None => Some(format!("{}:{}", row.get("host")?.as_str()?, row.get("port")?.as_u64()?)),
    };
    let socket = |row: &Value| {
        let fd = i32::try_from(row.get("fd")?.as_i64()?).ok()?;
        Some(Socket { fd, address: address(row)? })
    };
    Some(rows.iter().filter_map(socket).collect())
}

/// circusd itself, of an answer to `dstats`.
pub(super) fn daemon(answer: &Object) -> Option<Own> {
    let pid = answer.get("info")?.get("pid")?.as_i64()?;
    Some(Own { pid: i32::try_from(pid).ok().filter(|pid| *pid > 0)?, name: "circusd".into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn watchers_are_named_as_list_names_them() {
        let answer = object(json!({"status": "ok", "details": {
            "My App": {"state": "active", "restarts": 3, "uptime": 5.5, "processes": [
                {"pid": 20, "wid": 2, "uptime": 1.5}, {"pid": 10, "wid": 1, "uptime": 5}, {"pid": -1, "wid": 3}]},
            "job": {"state": "stopped", "last_run": {"result": "failure", "exit_code": 3}, "next_run": 9.5},
            "idle": {"state": "stopped", "restarts": 0, "uptime": null, "processes": []},
            "circusd-stats": {"state": "active", "origin": "internal", "processes": [{"pid": 30, "wid": 1, "uptime": 9}]},
        }}));
        let (watchers, own) = watchers(&answer).unwrap();
        let workers = vec![Worker { pid: 10, wid: 1, uptime: 5.0 }, Worker { pid: 20, wid: 2, uptime: 1.5 }];
        let app = Watcher {
            name: "my app".into(),
            state: "active".into(),
            restarts: 3,
            uptime: Some(5.5),
            job: None,
            workers,
        };
        let named = |name: &str| watchers.iter().find(|watcher| watcher.name == name).unwrap();
        assert_eq!((named("my app"), named("idle").workers.len(), named("idle").uptime), (&app, 0, None));
        let job = Job { last_run: json!({"result": "failure", "exit_code": 3}), next_run: Some(9.5) };
        assert_eq!((&named("job").job, &named("idle").job), (&Some(job), &None));
        assert_eq!(own, [Own { pid: 30, name: "circusd-stats".into() }]);
    }

    #[test]
    fn sockets_and_the_daemon() {
        let answer = object(json!({"sockets": [
            {"fd": 3, "name": "a", "host": "127.0.0.1", "port": 80}, {"fd": 4, "name": "b", "path": "/run/b"}, {}]}));
        let socket = |fd, address: &str| Socket { fd, address: address.into() };
        assert_eq!(sockets(&answer), Some(vec![socket(3, "127.0.0.1:80"), socket(4, "/run/b")]));
        assert_eq!(daemon(&object(json!({"info": {"pid": 7}}))), Some(Own { pid: 7, name: "circusd".into() }));
        assert_eq!(daemon(&object(json!({"info": "No such process (stopped?)"}))), None);
        assert_eq!((watchers(&object(json!({}))), sockets(&object(json!({"sockets": 1})))), (None, None));
    }

    proptest! {
        #[test]
        fn no_answer_is_a_panic(text in "[a-z]{0,4}", number in any::<i64>()) {
            for value in [json!(text), json!(number), json!([number]), json!({"pid": number, "wid": text}), json!(null)] {
                for key in ["details", "sockets", "info"] {
                    for value in [value.clone(), json!([value]), json!({"w": {"processes": [value]}})] {
                        let answer = object(json!({key: value}));
                        let _ = (watchers(&answer), sockets(&answer), daemon(&answer));
                    }
                }
            }
        }
    }
}
