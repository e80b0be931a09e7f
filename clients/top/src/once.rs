//! The present figures, printed once: as a table, or as JSON.

use circus_core::escape::escaped;
use serde_json::{Value, json};

use super::fleet::{Process, Watcher};
use super::metrics::{Metrics, age, percent, size};
use super::rows::{Row, rows};
use super::state::{Daemon, State};
use super::view::{counted, descendants};

/// Whether everything is known that will be.
pub(super) fn is_complete(state: &State) -> bool {
    state.daemon == Daemon::Answers && state.fleet.is_complete()
}

/// Whether anything is.
pub(super) fn knows_anything(state: &State) -> bool {
    state.daemon == Daemon::Answers || !state.fleet.own.processes.is_empty() || state.fleet.processes() > 0
}

/// A table.
pub(super) fn table(state: &State) -> String {
    let line = |cells: [String; 7]| {
        let [name, status, count, cpu, memory, age, restarts] = cells.map(|cell| escaped(&cell).into_owned());
        let line = format!("{name:<32} {status:<9} {count:>7} {cpu:>6} {memory:>6} {age:>7} {restarts:>8}");
        format!("{}\n", line.trim_end())
    };
    let mut text = line(["NAME / PID", "STATE", "PROCS", "CPU%", "MEM", "AGE", "RESTARTS"].map(str::to_owned));
    for row in rows(&state.fleet, &state.settings) {
        text += &line(match row {
            Row::Watcher { watcher, .. } => {
                let status = watcher.shown_state().unwrap_or_default();
                let restarts = watcher.restarts.map(|restarts| restarts.to_string()).unwrap_or_default();
                cells(watcher.shown_name(), status, counted(watcher), &watcher.metrics(), restarts)
            }
            Row::Process { pid, process, .. } => {
                let name = format!("  {pid} {}", process.shown_label());
                cells(name, String::new(), descendants(&process.metrics), &process.metrics, String::new())
            }
        });
    }
    if !state.fleet.sockets.is_empty() {
        text += "\nSOCKET           ADDRESS                             HITS\n";
    }
    for socket in state.fleet.sockets.values() {
        let hits = socket.hits.map_or_else(|| "-".to_owned(), |hits| hits.to_string());
        text += &format!("{:<16} {:<32} {hits:>7}\n", escaped(&socket.name), escaped(&socket.address));
    }
    text
}

fn cells(name: String, status: String, count: String, metrics: &Metrics, restarts: String) -> [String; 7] {
    let cpu = percent(metrics.cpu);
    [name, status, count, cpu, size(metrics.resident), age(metrics.age), restarts]
}

/// One object.
pub(super) fn json(state: &State) -> Value {
    let watchers: Vec<Value> = state.fleet.watchers.values().map(watcher).collect();
    let sockets = state
        .fleet
        .sockets
        .iter()
        .map(|(fd, socket)| json!({"fd": fd, "name": socket.name, "address": socket.address, "hits": socket.hits}));
    json!({
        "endpoint": state.endpoints.control,
        "watchers": watchers,
        "circus": processes(&state.fleet.own),
        "sockets": sockets.collect::<Vec<_>>(),
    })
}

fn watcher(watcher: &Watcher) -> Value {
    let mut object = metrics(&watcher.metrics());
    object["name"] = json!(watcher.name);
    object["state"] = json!(watcher.state);
    object["health"] = json!(watcher.shown_health());
    object["restarts"] = json!(watcher.restarts);
    object["wanted"] = json!(watcher.wanted);
    object["processes"] = processes(watcher);
    if let Some(job) = &watcher.job {
        object["last_run"] = job.last_run.clone();
        object["next_run"] = json!(job.next_run);
    }
    object
}

fn processes(watcher: &Watcher) -> Value {
    watcher.processes.iter().map(|(pid, process)| one(*pid, process)).collect()
}

fn one(pid: i64, process: &Process) -> Value {
    let mut object = metrics(&process.metrics);
    object["pid"] = json!(pid);
    object["program"] = json!(process.label);
    object["user"] = json!(process.user);
    if let Some(note) = process.note() {
        object["note"] = json!(note);
    }
    object
}

fn metrics(metrics: &Metrics) -> Value {
    json!({
        "cpu": metrics.cpu, "mem": metrics.memory, "rss": metrics.resident,
        "descendants": metrics.descendants, "threads": metrics.threads, "fds": metrics.fds, "age": metrics.age,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::state;

    #[test]
    fn a_table_of_all() {
        let table = table(&state());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "NAME / PID                       STATE       PROCS   CPU%    MEM     AGE RESTARTS");
        assert_eq!(lines[1], "api                              active        2/2    5.5   500M   1d01h        3");
        assert_eq!(lines[2], "  11 gunicorn                                         1.0   300M   1d01h");
        assert_eq!(lines[4], "idle                             stopped       0/1      -      -       -        0");
        assert!(table.ends_with("admin            /run/admin.sock                        -\n"), "{table}");
        assert!(!is_complete(&state()) && knows_anything(&state()), "of one socket nothing was told");
    }

    #[test]
    fn names_forge_no_line_and_drive_no_terminal() {
        let mut state = state();
        state.fleet.watchers.get_mut("api").unwrap().name = "a\n\u{1b}[2J".into();
        let table = table(&state);
        assert!(table.lines().nth(1).unwrap().starts_with("a\\n\\u001b[2J "), "{table}");
    }

    #[test]
    fn json_of_all() {
        let json = json(&state());
        assert_eq!(json["watchers"][0]["name"], "api");
        assert_eq!(json["watchers"][0]["processes"][1]["pid"], 12);
        assert_eq!(json["watchers"][1]["cpu"], Value::Null);
        assert_eq!(json["circus"][0]["program"], "circusd");
        assert_eq!(json["sockets"][0]["name"], "web");
    }
}
