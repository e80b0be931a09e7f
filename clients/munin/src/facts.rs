//! What circusd's answers say, as graphs need it.

use serde_json::Value;

use circus_core::proto::Object;

/// What is known. A question without an answer is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) watchers: Option<Vec<Watcher>>,
    pub(super) sockets: Option<Vec<Socket>>,
}

/// A watcher.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Watcher {
    pub(super) name: String,
    /// Processor time of its processes, in hundredths of a second.
    pub(super) cpu: Option<u64>,
    /// Memory of its processes, in bytes.
    pub(super) memory: Option<u64>,
    pub(super) processes: Option<u64>,
    pub(super) restarts: Option<u64>,
}

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) backlog: Option<u64>,
    /// Connections that wait to be accepted.
    pub(super) waiting: Option<u64>,
}

/// The watchers of an answer to `status`, with what an answer to `stats` says of them.
pub(super) fn watchers(status: &Object, stats: Option<&Object>) -> Option<Vec<Watcher>> {
    let statuses = status.get("statuses")?.as_object()?;
    let details = status.get("details").and_then(Value::as_object);
    let infos = stats.and_then(|stats| stats.get("infos")?.as_object());
    let watcher = |name: &String| {
        let details = details.and_then(|details| details.get(name));
        // The keys of one answer are as the file has them, of the other in lower case.
        let info = infos.and_then(|infos| infos.get(name).or_else(|| infos.get(&name.to_lowercase()))?.as_object());
        let told = details.and_then(|details| Some(details.get("processes")?.as_array()?.len()));
        let processes = told.or_else(|| info.map(serde_json::Map::len));
        Watcher {
            name: name.clone(),
            cpu: info.and_then(|info| total(info, cpu)),
            memory: info.and_then(|info| total(info, memory)),
            processes: processes.and_then(|count| u64::try_from(count).ok()),
            restarts: details.and_then(|details| details.get("restarts")?.as_u64()),
        }
    };
    Some(statuses.keys().map(watcher).collect())
}

/// A figure of all processes and their children; unknown where it is of one of them. A process that has ended since is
/// none, and a watcher without a process has no figure.
fn total(info: &Object, figure: fn(&Value) -> Option<u64>) -> Option<u64> {
    let living: Vec<&Value> = info.values().filter(|process| process.is_object()).collect();
    if living.is_empty() {
        return None;
    }
    living.into_iter().try_fold(0_u64, |sum, process| Some(sum.saturating_add(with_children(process, figure)?)))
}

fn with_children(process: &Value, figure: fn(&Value) -> Option<u64>) -> Option<u64> {
    let children = process.get("children").and_then(Value::as_array).into_iter().flatten();
    let children = children.filter_map(figure).fold(0, u64::saturating_add);
    Some(figure(process)?.saturating_add(children))
}

/// Processor time is written as minutes, seconds and hundredths: 61:01.55.
fn cpu(process: &Value) -> Option<u64> {
    let (minutes, seconds) = process.get("ctime")?.as_str()?.rsplit_once(':')?;
    let (seconds, hundredths) = seconds.split_once('.')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let whole = number(minutes)?.checked_mul(60)?.checked_add(number(seconds)?)?;
    whole.checked_mul(100)?.checked_add(number(hundredths).filter(|hundredths| *hundredths < 100)?)
}

/// Memory is written with a unit: 1.40M.
fn memory(process: &Value) -> Option<u64> {
    let text = process.get("mem_info1")?.as_str()?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    let number: f64 = digits.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    Some((number * 1024_f64.powi(unit)) as u64)
}

/// The sockets of an answer to `listsockets`; how long a queue is, `waiting` says by host and port.
pub(super) fn sockets(answer: &Object, waiting: impl Fn(&str, u16) -> Option<u64>) -> Option<Vec<Socket>> {
    let rows = answer.get("sockets")?.as_array()?;
    let socket = |row: &Value| {
        let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        let backlog = row.get("backlog").and_then(Value::as_u64);
        let name = text("name")?;
        if let Some(path) = text("path") {
            return Some(Socket { name, address: path, backlog, waiting: None });
        }
        let (host, port) = (text("host")?, u16::try_from(row.get("port")?.as_u64()?).ok()?);
        Some(Socket { name, backlog, waiting: waiting(&host, port), address: format!("{host}:{port}") })
    };
    Some(rows.iter().filter_map(socket).collect())
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
    fn watchers_are_what_two_answers_say() {
        let status = object(json!({"statuses": {"My App": "active", "idle": "stopped"}, "details": {
            "My App": {"restarts": 3, "processes": [{}, {}]}, "idle": {"restarts": 0, "processes": []}}}));
        let stats = object(json!({"infos": {"my app": {
            "1": {"ctime": "61:01.55", "mem_info1": "1.5M", "children": [{"ctime": "0:00.45", "mem_info1": "512K"}]},
            "2": {"ctime": "0:01.00", "mem_info1": "1G"}, "3": "No such process (stopped?)"}, "idle": {}}}));
        let app = Watcher {
            name: "My App".into(),
            cpu: Some(366_155 + 45 + 100),
            memory: Some((2 << 20) + (1 << 30)),
            processes: Some(2),
            restarts: Some(3),
        };
        let idle = Watcher { name: "idle".into(), processes: Some(0), restarts: Some(0), ..Watcher::default() };
        assert_eq!(watchers(&status, Some(&stats)), Some(vec![app, idle]));
        // What the original answers has no details.
        let bare = object(json!({"statuses": {"my app": "active"}}));
        let found = watchers(&bare, Some(&stats)).unwrap();
        assert_eq!((found[0].processes, found[0].restarts), (Some(3), None));
        assert_eq!(watchers(&bare, None).unwrap()[0].cpu, None);
        assert_eq!(watchers(&object(json!({"status": "error"})), Some(&stats)), None);
    }

    #[test]
    fn what_is_unknown_of_one_is_unknown_of_all() {
        let status = object(json!({"statuses": {"w": "active"}}));
        let stats = object(json!({"infos": {"w": {"1": {"ctime": "0:01.00"}, "2": {"ctime": "N/A"}}}}));
        assert_eq!(watchers(&status, Some(&stats)).unwrap()[0].cpu, None);
    }

    #[test]
    fn sockets_and_their_queues() {
        let answer =
            object(json!({"sockets": [{"fd": 3, "name": "web", "backlog": 99, "host": "127.0.0.1", "port": 80},
            {"fd": 4, "name": "ux", "path": "/run/x"}, {"name": 5}]}));
        let found = sockets(&answer, |host, port| (host == "127.0.0.1" && port == 80).then_some(7)).unwrap();
        assert_eq!((found.len(), found[0].waiting, found[0].backlog, found[1].waiting), (2, Some(7), Some(99), None));
        assert_eq!((found[0].address.as_str(), found[1].address.as_str()), ("127.0.0.1:80", "/run/x"));
    }

    proptest! {
        #[test]
        fn no_answer_is_a_panic(text in ".{0,8}", number in any::<i64>()) {
            for value in [json!(text), json!(number), json!([number]), json!({"ctime": text, "mem_info1": text}), json!(null)] {
                for key in ["statuses", "details", "infos", "sockets"] {
                    let answer = object(json!({"statuses": {"w": 1}, key: {"w": {"1": value}}}));
                    let _ = (watchers(&answer, Some(&answer)), sockets(&answer, |_, _| None));
                    let answer = object(json!({key: [value], "infos": {"w": {"1": value}}}));
                    let _ = (watchers(&answer, Some(&answer)), sockets(&answer, |_, _| None));
                }
            }
        }
    }
}
