//! `listsockets`

use serde_json::Value;

use super::{CommandSpec, ConsoleSpec, Doc, Invocation, Role, Table, Waiting, console, python};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "listsockets",
    summary: "List the managed sockets",
    doc: Doc {
        purpose: "Lists the sockets that circusd has opened for its watchers.",
        reply: "The sockets, by descriptor: fd, name and backlog, and either host and port or path.",
        message: r#"{"command": "listsockets", "properties": {}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "sockets": [{"fd": 3, "name": "web", "backlog": 2048, "host": "127.0.0.1", "port": 8080}]}"#,
        example: "listsockets",
    },
    properties: &[],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("", &[], console::nothing, show).with_table(Table {
        flag: None,
        header: &["FD", "NAME", "ADDRESS", "BACKLOG"],
        rows: |reply, _| Some(reply.get("sockets")?.as_array()?.iter().map(row).collect()),
    }),
};

fn decode(_properties: &Object) -> Result<Request, Fault> {
    Ok(Request::ListSockets)
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    let sockets = reply.get("sockets").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    sockets.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn text(socket: &Value, key: &str) -> String {
    socket.get(key).map(python::display).unwrap_or_default()
}

fn address(socket: &Value) -> String {
    match socket.get("path") {
        Some(path) => python::display(path),
        None => format!("{}:{}", text(socket, "host"), text(socket, "port")),
    }
}

fn line(socket: &Value) -> String {
    format!("{}:socket '{}' at {}", text(socket, "fd"), text(socket, "name"), address(socket))
}

fn row(socket: &Value) -> Vec<String> {
    vec![text(socket, "fd"), text(socket, "name"), address(socket), text(socket, "backlog")]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({"extra": 1})), Request::ListSockets);
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        expect_usage(&SPEC, &["a"], "Invalid number of arguments");
        let sockets = json!({"sockets": [
            {"fd": 6, "name": "ux", "backlog": 2048, "path": "cli.sock"},
            {"fd": 7, "name": "web", "backlog": 2048, "host": "127.0.0.1", "port": 25805}]});
        assert_eq!(shown(&SPEC, &[], sockets), "6:socket 'ux' at cli.sock\n7:socket 'web' at 127.0.0.1:25805");
        assert_eq!(shown(&SPEC, &[], json!({"sockets": []})), "");
    }
}
