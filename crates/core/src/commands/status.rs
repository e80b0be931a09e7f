//! `status`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, Table, UsageError, Waiting,
    console, health, props, python, report, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "status",
    summary: "Show the state of watchers",
    doc: Doc {
        purpose: "Reports the state of one watcher, or of all: stopped, starting, active or stopping. With verbose it \
                  also gives the reasons: current back-offs and their causes, the last exit, the last failed start. \
                  At a terminal circusctl shows a table of all watchers, with a more precise STATE: ready, starting, \
                  degraded, backing off, failed, held back, on demand, scheduled, running, succeeded, disabled, \
                  stopped or stopping.",
        reply: "With a name, the key status is the state instead of ok. Without a name: statuses, the states by name. \
                With verbose also details, of the watcher or of each by name. health is one of disabled, stopped, on \
                demand, starting, ready, degraded, backing off, failed, held back, running, succeeded, scheduled and \
                stopping. reason is a text that explains health, and null if nothing has failed. enabled is true if \
                the watcher starts with circusd; starts_by_itself, of a watcher that is held back, is true if it needs \
                no further command. failures lists what has failed since the start, each with wid (null for the \
                watcher itself), stage, reason and time. wanted, running, starting, stopping and not_replaced are \
                numbers of workers. operation is the operation in progress, queued lists those that follow. \
                backing_off lists the workers whose next start waits: wid, times in a row, wait and left in seconds, \
                and either exit_code or stage, errno, error and detail. waits_for lists the sockets whose next \
                connection starts the watcher, after rests seconds. spawned, reaped, failed and restarts (workers that \
                exited unexpectedly and were replaced) are totals since the watcher was added. ended_cpu_time is the \
                processor time, in seconds, of its workers that have exited. uptime is the time since the watcher was \
                started. processes lists its workers: pid, wid and uptime; where ready or health is set or the worker \
                reports its status, also ready, status (the text that the worker reports) and check_error (why the \
                last check failed). last_exit and last_failure are null if there was none; hint in last_failure is a \
                way to correct it; oom in last_exit is true if the kernel has killed a process of the worker's control \
                group because memory ran out, and is left out otherwise. A watcher that is no service also has kind, last_run (null before the first run, \
                otherwise as in the answer to run) and runs, the numbers of runs that have succeeded, failed and were \
                skipped. With kind = cron it also has schedule, timezone, next_run (seconds since the epoch) and \
                next_run_in (seconds).",
        message: r#"{"command": "status", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "active", "time": 1700000000.0}"#,
        example: "status web",
    },
    properties: &[
        PropertySpec::optional("name", Kind::Text, "The watcher's name; all watchers without it."),
        PropertySpec::optional("verbose", Kind::Boolean, "Also give the reasons for the state; default false."),
    ],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call(
        "[NAME...]",
        &[
            ConsoleOption::flag(
                "verbose",
                "Also show workers, back-offs, the last exit, the last failed start and \
                                           totals.",
            ),
            ConsoleOption::flag(
                "exit-code",
                "Exit with 3 if a watcher is degraded, backing off, failed or held back, or if a named watcher is \
                neither ready nor on demand.",
            ),
        ],
        message,
        show,
    )
    .naming(console::every)
    .with_table(Table { flag: Some("verbose"), header: HEADER, rows }),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Status {
        name: props::optional_text(properties, "name")?,
        verbose: props::flag(properties, "verbose", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = console::optional_name(invocation)?;
    console::put_flags(&mut properties, invocation, &["verbose"]);
    if invocation.flag("exit-code") {
        properties.insert("verbose".into(), true.into());
    }
    Ok(properties)
}

fn show(reply: &Value, invocation: &Invocation) -> String {
    if invocation.flag("verbose")
        && let Some(details) = reply.get("details").and_then(Value::as_object)
    {
        let time = reply.get("time").and_then(Value::as_f64).unwrap_or_default();
        return match invocation.words() {
            [name, ..] => report::watcher(name, details, time),
            [] => report::all(details, time),
        };
    }
    let Some(statuses) = reply.get("statuses").and_then(Value::as_object) else {
        return show::field(reply, "status");
    };
    let mut lines: Vec<_> = statuses.iter().collect();
    lines.sort_unstable_by_key(|(name, _)| name.as_str());
    lines.iter().map(|(name, state)| format!("{name}: {}", python::display(state))).collect::<Vec<_>>().join("\n")
}

const HEADER: &[&str] = &["NAME", "STATE", "WORKERS", "PIDS", "UPTIME", "RESTARTS", "REASON"];

/// At most so many pids in a row.
const PIDS: usize = 4;

fn rows(reply: &Value, invocation: &Invocation) -> Option<Vec<Vec<String>>> {
    // The answer is text for one name without a table, and with --verbose.
    let named = invocation.words().first();
    if invocation.flag("verbose") {
        return None;
    }
    let mut rows: Vec<_> = details(reply, named.map(String::as_str))?.into_iter().map(row).collect();
    rows.sort_unstable();
    Some(rows)
}

/// The details of an answer, by name.
fn details<'v>(reply: &'v Value, named: Option<&'v str>) -> Option<Vec<(&'v str, &'v Object)>> {
    let details = reply.get("details")?.as_object()?;
    Some(match named {
        Some(name) => vec![(name, details)],
        None => details.iter().filter_map(|(name, details)| Some((name.as_str(), details.as_object()?))).collect(),
    })
}

fn row((name, details): (&str, &Object)) -> Vec<String> {
    let count = |key: &str| details.get(key).and_then(Value::as_u64).unwrap_or_default();
    let processes = details.get("processes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let pids: Vec<String> = processes.iter().filter_map(|process| Some(process.get("pid")?.to_string())).collect();
    let pids = match pids.get(..PIDS) {
        Some(first) if pids.len() > PIDS => format!("{},...", first.join(",")),
        Some(_) | None => pids.join(","),
    };
    let uptime = details.get("uptime").and_then(Value::as_f64).map(report::duration).unwrap_or_default();
    let health = health(details);
    let reason = report::reason(details).unwrap_or_default();
    let workers = format!("{}/{}", count("running"), count("wanted"));
    vec![name.into(), health.name().into(), workers, pids, uptime, count("restarts").to_string(), reason]
}

/// Whether `status --exit-code` is content with an answer: a watcher that was named has to be well, of the others none may
/// be in trouble.
pub fn is_content(reply: &Value, invocation: &Invocation) -> bool {
    let named = invocation.words().first();
    let content = |(_, details): (&str, &Object)| match named {
        Some(_) => health(details).is_well(),
        None => !health(details).is_trouble(),
    };
    details(reply, named.map(String::as_str)).is_none_or(|all| all.into_iter().all(content))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::Status { name: None, verbose: false });
        assert_eq!(
            decoded(&SPEC, json!({"name": "café", "verbose": true})),
            Request::Status { name: Some("café".into()), verbose: true }
        );
        assert_eq!(refused(&SPEC, json!({"name": {}})), (5, "'name' isn't a string".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["two words"])), json!({"name": "two words"}));
        assert_eq!(sent(&SPEC, Invocation::default().with_flag("verbose")), json!({"verbose": true}));
        assert_eq!(sent(&SPEC, Invocation::default().with_flag("exit-code")), json!({"verbose": true}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        let all = json!({"status": "ok", "statuses": {"a1": "active", "solo": "stopped", "My App": "active"}});
        assert_eq!(shown(&SPEC, &[], all), "My App: active\na1: active\nsolo: stopped");
        assert_eq!(shown(&SPEC, &["a1"], json!({"status": "stopping"})), "stopping");
    }

    #[test]
    fn table_says_how_each_watcher_fares() {
        let reply = json!({"status": "ok", "details": {
            "web": {"state": "active", "wanted": 2, "running": 2, "uptime": 61.0, "restarts": 3,
                    "processes": [{"pid": 7, "wid": 1}, {"pid": 8, "wid": 2}]},
            "flap": {"state": "active", "health": "backing off", "wanted": 1, "running": 0, "backing_off": [
                {"wid": 1, "times": 2, "exit_code": 7, "wait": 0.4, "left": 0.2}]},
        }});
        let rows = rows(&reply, &Invocation::default()).unwrap();
        assert_eq!(
            rows,
            [
                ["flap", "backing off", "0/1", "", "", "0", "worker 1 exited with status 7, next start in 200 ms"],
                ["web", "ready", "2/2", "7,8", "1 min 1 s", "3", ""],
            ]
        );
        assert!(!is_content(&reply, &Invocation::default()));
        let web = json!({"status": "active", "details": {"state": "active", "wanted": 2, "running": 2}});
        assert!(is_content(&web, &Invocation::new(["web"])));
        let off = json!({"status": "stopped", "details": {"state": "stopped"}});
        assert!(!is_content(&off, &Invocation::new(["web"])));
    }
}
