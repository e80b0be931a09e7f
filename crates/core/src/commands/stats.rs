//! `stats`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleOption, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, Table, UsageError, Waiting,
    console, props, python, show,
};
use crate::proto::{Fault, Object, ProcessSelector, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "stats",
    summary: "Show what processes use",
    doc: Doc {
        purpose: "Reports how much memory and processor time processes use: all processes, those of one watcher, or \
                  one process, each with its direct children. cpu is the share of one processor since the previous \
                  stats of the process, and 0 the first time.",
        reply: "Without a name: infos, an object with the info of each watcher. With a name: info, an object with the \
                figures of each process, by process id. With a process as well: info, the figures of that process. A \
                process that has exited meanwhile has a message in place of figures. Where ready or health is set or \
                the worker reports its status, also ready, status (the text that the worker reports) and check_error \
                (why the last check failed).",
        message: r#"{"command": "stats", "properties": {"name": "web", "process": 4711}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "process": 4711, "info": {"mem_info1": "1.47M", "mem_info2": "2.44M", "cpu": 0.0, "mem": 0.006, "ctime": "0:00.05", "pid": 4711, "username": "root", "nice": 0, "create_time": 1699999990.5, "age": 9.5, "cmdline": "sleep", "children": [], "started": 1699999990.5, "wid": 1}}"#,
        example: "stats web",
    },
    properties: &[
        PropertySpec::optional("name", Kind::Text, "The watcher's name; all watchers without it."),
        PropertySpec::optional("process", Kind::Pid, "The process; all processes of the watcher without it."),
        PropertySpec::optional(
            "extended",
            Kind::Boolean,
            "Include the figures of the watcher's extended_stats hook; default false.",
        ),
    ],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call(
        "[NAME...] [PID]",
        &[ConsoleOption::flag("extended", "Include the figures of the watcher's extended_stats hook.")],
        message,
        show,
    )
    .naming(console::before_number)
    .with_table(Table { flag: None, header: show::PROCESS_HEADER, rows: |reply, _| rows(reply) }),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let pid = props::pid(properties, "process")?;
    let given = || properties.get("process").cloned().unwrap_or_default();
    Ok(Request::Stats {
        name: props::optional_text(properties, "name")?,
        process: pid.map(|pid| ProcessSelector { given: given(), pid }),
        extended: props::flag(properties, "extended", false),
    })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    let mut properties = match invocation.words() {
        [] => Object::new(),
        [name] => console::named(name),
        [name, pid] => {
            let mut properties = console::named(name);
            properties.insert("process".into(), console::integer(pid, "pid")?);
            properties
        }
        _ => return Err(UsageError::arguments()),
    };
    console::put_flags(&mut properties, invocation, &["extended"]);
    Ok(properties)
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    let none = Value::Null;
    let info = reply.get("info").unwrap_or(&none);
    if let Some(name) = reply.get("name") {
        return watcher(&python::display(name), info).join("\n");
    }
    if let Some(infos) = reply.get("infos").and_then(Value::as_object) {
        return infos.iter().flat_map(|(name, info)| watcher(name, info)).collect::<Vec<_>>().join("\n");
    }
    let process = reply.get("process").map(python::display).unwrap_or_default();
    format!("{process}: {}\n", process_lines(info))
}

/// A row for each process and each of its children; `None` where there is nothing to say of one.
fn rows(reply: &Value) -> Option<Vec<Vec<String>>> {
    let of = |name: &str, processes: &Value| -> Vec<Vec<String>> {
        let processes = processes.as_object().into_iter().flat_map(|processes| processes.values());
        processes.flat_map(|info| show::process_rows(name, info)).collect()
    };
    if let Some(infos) = reply.get("infos").and_then(Value::as_object) {
        return Some(infos.iter().flat_map(|(name, info)| of(name, info)).collect());
    }
    let info = reply.get("info").filter(|info| info.is_object())?;
    Some(match reply.get("name") {
        Some(name) => of(&python::display(name), info),
        None => show::process_rows("", info),
    })
}

/// The watcher's name, and its processes.
fn watcher(name: &str, info: &Value) -> Vec<String> {
    let processes = info.as_object().into_iter().flatten();
    let lines = processes.map(|(pid, info)| format!("{pid}: {}", process_lines(info)));
    std::iter::once(format!("{name}:")).chain(lines).collect()
}

/// A process and, indented, its children; or why there is nothing to say of it.
fn process_lines(info: &Value) -> String {
    if !info.is_object() {
        return python::display(info);
    }
    let mut lines = show::process_line(info);
    for child in show::children(info) {
        lines.push_str("\n   ");
        lines.push_str(&show::process_line(child));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn on_the_wire() {
        let stats = |name: Option<&str>, process: Option<(Value, i64)>, extended| Request::Stats {
            name: name.map(Into::into),
            process: process.map(|(given, pid)| ProcessSelector { given, pid }),
            extended,
        };
        assert_eq!(decoded(&SPEC, json!({})), stats(None, None, false));
        assert_eq!(decoded(&SPEC, json!({"name": "solo", "extended": true})), stats(Some("solo"), None, true));
        let process = json!({"name": "solo", "process": 17});
        assert_eq!(decoded(&SPEC, process), stats(Some("solo"), Some((json!(17), 17)), false));
        let process = json!({"name": "solo", "process": "17", "extended": false});
        assert_eq!(decoded(&SPEC, process), stats(Some("solo"), Some((json!("17"), 17)), false));
        assert_eq!(refused(&SPEC, json!({"name": null})), (5, "'name' isn't a string".into()));
        let reason = "'process' isn't a process id".to_owned();
        assert_eq!(refused(&SPEC, json!({"name": "solo", "process": "x"})), (5, reason));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        let extended = Invocation::new(["solo"]).with_flag("extended");
        assert_eq!(sent(&SPEC, extended), json!({"name": "solo", "extended": true}));
        assert_eq!(sent(&SPEC, Invocation::new(["solo", "4642"])), json!({"name": "solo", "process": 4642}));
        expect_usage(&SPEC, &["solo", "x"], "pid: 'x' isn't an integer");
        expect_usage(&SPEC, &["solo", "1", "2"], "Invalid number of arguments");
    }

    fn info(pid: i64, cmdline: &str, children: &[Value]) -> Value {
        json!({"mem_info1": "1.34M", "mem_info2": "2.44M", "cpu": 0.0, "mem": 0.006, "ctime": "0:00.00", "pid": pid,
               "username": "root", "nice": 0, "create_time": 1.5, "age": 2.5, "cmdline": cmdline, "children": children,
               "started": 1.5, "wid": 1})
    }

    #[test]
    fn as_circusctl_prints_it() {
        let sleep = info(4640, "sleep", &[]);
        let shell = info(4638, "sh", &[info(4639, "sleep", &[])]);
        let one = json!({"status": "ok", "name": "a1", "info": {"4640": sleep, "4641": "No such process (stopped?)"}});
        assert_eq!(
            shown(&SPEC, &["a1"], one),
            "a1:\n4640: 4640  sleep root 0 1.34M 2.44M 0.0 0.006 0:00.00\n4641: No such process (stopped?)"
        );
        let all = json!({"status": "ok", "infos": {"My App": {"4638": shell}, "off": {}, "a1": {"4640": sleep}}});
        assert_eq!(
            shown(&SPEC, &[], all),
            "My App:\n4638: 4638  sh root 0 1.34M 2.44M 0.0 0.006 0:00.00\n   4639  sleep root 0 1.34M 2.44M 0.0 0.006 \
             0:00.00\noff:\na1:\n4640: 4640  sleep root 0 1.34M 2.44M 0.0 0.006 0:00.00"
        );
        let process = json!({"status": "ok", "process": 4640, "info": sleep});
        assert_eq!(shown(&SPEC, &["a1", "4640"], process), "4640: 4640  sleep root 0 1.34M 2.44M 0.0 0.006 0:00.00\n");
        assert_eq!(shown(&SPEC, &[], json!({"infos": {}})), "");
    }
}
