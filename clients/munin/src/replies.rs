//! The answers of circusd, as graphs need them.

use serde_json::Value;

use circus_core::proto::{HumanSize, Object};
use circus_sys::TreeUsage;

/// What is known. A question without an answer is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replies {
    pub(super) watchers: Option<Vec<Watcher>>,
    pub(super) sockets: Option<Vec<Socket>>,
}

/// A watcher.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Watcher {
    pub(super) name: String,
    /// Processor time of its processes, in hundredths of a second.
    pub(super) cpu: Option<u64>,
    /// Memory of its processes, in bytes; pages that they share count for each of them.
    pub(super) memory: Option<u64>,
    /// The same with shared pages in proportion, where that was looked at.
    pub(super) proportional: Option<u64>,
    pub(super) processes: Option<u64>,
    pub(super) restarts: Option<u64>,
    /// Workers that run and are not ready; none where the watcher does not say how readiness shows.
    pub(super) unready: Option<u64>,
    /// Whether its last run has failed, if it has had one; none of a service.
    pub(super) last_run: Option<Option<bool>>,
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

/// Looks at a process and its descendants on this machine.
pub(super) type Look<'l> = &'l mut dyn FnMut(i32) -> Option<TreeUsage>;

/// The watchers of an answer to `status`, with what their processes use: as `look` sees them where they are processes of
/// this machine, else as an answer to `stats` has it, which knows the children of workers only.
pub(super) fn watchers(status: &Object, stats: Option<&Object>, look: Look<'_>) -> Option<Vec<Watcher>> {
    let statuses = status.get("statuses")?.as_object()?;
    let details = status.get("details").and_then(Value::as_object);
    let infos = stats.and_then(|stats| stats.get("infos")?.as_object());
    let watcher = |name: &String| {
        let details = details.and_then(|details| details.get(name));
        // The keys of one answer are as the file has them, of the other in lower case.
        let info = infos.and_then(|infos| infos.get(name).or_else(|| infos.get(&name.to_lowercase()))?.as_object());
        let usage = usage(details, info, look);
        let ended = details.and_then(|details| hundredths(details.get("ended_cpu_time")?.as_f64()?));
        Watcher {
            name: name.clone(),
            // The time of ended workers is included, so that the sum does not fall when one is replaced.
            cpu: usage.cpu.map(|cpu| cpu.saturating_add(ended.unwrap_or_default())).or(ended.filter(|_| usage.is_idle)),
            memory: usage.memory,
            proportional: usage.proportional,
            processes: usage.processes,
            restarts: details.and_then(|details| details.get("restarts")?.as_u64()),
            unready: details.and_then(unready),
            last_run: details.and_then(|details| details.get("last_run")).map(has_failed),
        }
    };
    Some(statuses.keys().map(watcher).collect())
}

fn has_failed(last_run: &Value) -> Option<bool> {
    Some(last_run.get("result")?.as_str()? == "failure")
}

fn unready(details: &Value) -> Option<u64> {
    let rows = details.get("processes")?.as_array()?.iter();
    let ready: Vec<bool> = rows.filter_map(|row| row.get("ready")?.as_bool()).collect();
    (!ready.is_empty()).then(|| ready.iter().filter(|ready| !**ready).count() as u64)
}

/// What the processes of a watcher use, with their descendants.
#[derive(Default)]
struct Usage {
    cpu: Option<u64>,
    memory: Option<u64>,
    proportional: Option<u64>,
    processes: Option<u64>,
    /// There is no process.
    is_idle: bool,
}

fn usage(details: Option<&Value>, info: Option<&Object>, look: Look<'_>) -> Usage {
    let Some(rows) = details.and_then(|details| details.get("processes")?.as_array()) else {
        return info.map(told).unwrap_or_default();
    };
    if rows.is_empty() {
        return Usage { processes: Some(0), is_idle: true, ..Usage::default() };
    }
    let trees: Vec<Option<TreeUsage>> = rows.iter().map(|row| on_this_machine(row, info?, look)).collect();
    let added = |mut sum: TreeUsage, tree: TreeUsage| {
        sum.add(&tree);
        sum
    };
    let Some(seen) = trees.iter().flatten().copied().reduce(added) else {
        return Usage { is_idle: false, ..info.map(told).unwrap_or_default() };
    };
    // The processor time of a worker that has ended since circusd answered is neither here nor there.
    let is_whole = trees.iter().all(Option::is_some);
    Usage {
        cpu: hundredths(seen.cpu.as_secs_f64()).filter(|_| is_whole),
        memory: Some(seen.resident),
        proportional: seen.proportional,
        processes: Some(seen.processes),
        is_idle: false,
    }
}

/// A worker and its descendants, if the process of this pid is the one that circusd speaks of.
fn on_this_machine(row: &Value, info: &Object, look: Look<'_>) -> Option<TreeUsage> {
    let pid = i32::try_from(row.get("pid")?.as_i64()?).ok()?;
    let created = info.get(&pid.to_string())?.get("create_time")?.as_f64()?;
    look(pid).filter(|tree| (tree.created - created).abs() < SAME_TIME)
}

/// Seconds by which two looks at the creation of one process may differ: the clock on the wall may be adjusted between.
const SAME_TIME: f64 = 2.0;

fn hundredths(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 100.0) as u64)
}

/// What an answer to `stats` says of a watcher.
fn told(info: &Object) -> Usage {
    let children = |process: &Value| process.get("children").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let processes = living(info).map(|process| 1 + children(process)).sum();
    Usage {
        cpu: total(info, cpu),
        memory: total(info, memory),
        proportional: None,
        processes: Some(processes),
        is_idle: info.is_empty(),
    }
}

/// The processes that have figures. Of one that has ended since there is a sentence instead.
fn living(info: &Object) -> impl Iterator<Item = &Value> {
    info.values().filter(|process| process.is_object())
}

/// A figure of all processes and their children; unknown where it is unknown of one of them. A watcher without a process
/// has no figure.
fn total(info: &Object, figure: fn(&Value) -> Option<u64>) -> Option<u64> {
    living(info).next()?;
    living(info).try_fold(0_u64, |sum, process| Some(sum.saturating_add(with_children(process, figure)?)))
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
    Some(HumanSize::parse(process.get("mem_info1")?.as_str()?)?.0)
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

    fn of(status: &Object, stats: Option<&Object>) -> Option<Vec<Watcher>> {
        watchers(status, stats, &mut |_| None)
    }

    #[test]
    fn watchers_are_what_two_answers_say() {
        let status = object(json!({"statuses": {"My App": "active", "idle": "stopped"}, "details": {
            "My App": {"restarts": 3, "processes": [{"pid": 1}, {"pid": 2}]}, "idle": {"restarts": 0, "processes": []}}}));
        let stats = object(json!({"infos": {"my app": {
            "1": {"ctime": "61:01.55", "mem_info1": "1.5M", "children": [{"ctime": "0:00.45", "mem_info1": "512K"}]},
            "2": {"ctime": "0:01.00", "mem_info1": "1G"}, "9": "No such process (stopped?)"}, "idle": {}}}));
        let app = Watcher {
            name: "My App".into(),
            cpu: Some(366_155 + 45 + 100),
            memory: Some((2 << 20) + (1 << 30)),
            proportional: None,
            processes: Some(3),
            restarts: Some(3),
            unready: None,
            last_run: None,
        };
        let idle = Watcher { name: "idle".into(), processes: Some(0), restarts: Some(0), ..Watcher::default() };
        assert_eq!(of(&status, Some(&stats)), Some(vec![app, idle]));
        // An answer of the original has no details.
        let bare = object(json!({"statuses": {"my app": "active"}}));
        let found = of(&bare, Some(&stats)).unwrap();
        assert_eq!((found[0].processes, found[0].restarts), (Some(3), None));
        assert_eq!(of(&bare, None).unwrap()[0].cpu, None);
        assert_eq!(of(&object(json!({"status": "error"})), Some(&stats)), None);
    }

    #[test]
    fn trees_of_this_machine_are_counted() {
        let status = object(json!({"statuses": {"pool": "active"},
            "details": {"pool": {"ended_cpu_time": 2.5, "processes": [{"pid": 1}, {"pid": 2}]}}}));
        let process = |created: f64| json!({"ctime": "0:01.00", "mem_info1": "1M", "create_time": created});
        let stats = object(json!({"infos": {"pool": {"1": process(50.0), "2": process(60.25)}}}));
        let tree = |pid: i32| {
            let created = if pid == 1 { 50.0 } else { 60.0 };
            let cpu = std::time::Duration::from_millis(1500);
            TreeUsage { created, processes: 9, cpu, resident: 100, proportional: Some(60), ..TreeUsage::default() }
        };
        let pool = |look: Look<'_>| watchers(&status, Some(&stats), look).unwrap().remove(0);
        let local = pool(&mut |pid| Some(tree(pid)));
        assert_eq!((local.cpu, local.processes), (Some(250 + 300), Some(18)));
        assert_eq!((local.memory, local.proportional), (Some(200), Some(120)));
        let one_has_ended = pool(&mut |pid| Some(tree(pid)).filter(|_| pid == 1));
        assert_eq!((one_has_ended.cpu, one_has_ended.processes), (None, Some(9)), "rather unknown than less");
        let elsewhere = pool(&mut |pid| Some(TreeUsage { created: 7.0, ..tree(pid) }));
        assert_eq!((elsewhere.cpu, elsewhere.processes), (Some(250 + 200), Some(2)), "the pids are of another machine");
    }

    #[test]
    fn processor_time_stays_when_workers_end() {
        let status = |ended: f64| {
            object(json!({"statuses": {"w": "stopped"}, "details": {"w": {"ended_cpu_time": ended, "processes": []}}}))
        };
        let stats = object(json!({"infos": {"w": {}}}));
        assert_eq!(of(&status(7.25), Some(&stats)).unwrap()[0].cpu, Some(725));
    }

    #[test]
    fn unknown_value_makes_the_sum_unknown() {
        let status = object(json!({"statuses": {"w": "active"}}));
        let stats = object(json!({"infos": {"w": {"1": {"ctime": "0:01.00"}, "2": {"ctime": "N/A"}}}}));
        assert_eq!(of(&status, Some(&stats)).unwrap()[0].cpu, None);
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
                    let _ = (of(&answer, Some(&answer)), sockets(&answer, |_, _| None));
                    let answer = object(json!({key: [value], "infos": {"w": {"1": value}}}));
                    let _ = (of(&answer, Some(&answer)), sockets(&answer, |_, _| None));
                }
            }
        }
    }
}
