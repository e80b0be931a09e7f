//! `list`

use serde_json::Value;

use super::{CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, Waiting, console, props, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "list",
    summary: "List the watchers, or the processes of a watcher",
    doc: Doc {
        purpose: "Lists the watchers, or the processes of one watcher.",
        reply: "Without a name: watchers, the names of all watchers, in lower case and sorted. With a name: pids.",
        message: r#"{"command": "list", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "pids": [4711, 4712]}"#,
        example: "list web",
    },
    properties: &[PropertySpec::optional(
        "name",
        Kind::Text,
        "The watcher whose processes are listed. Without it, the watchers are listed.",
    )],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("[NAME...]", &[], console::optional_name, show).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::List { name: props::optional_text(properties, "name")? })
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    let list = reply.get("pids").or_else(|| reply.get("watchers")).and_then(Value::as_array);
    list.map(|list| show::commas(list)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn on_the_wire() {
        assert_eq!(decoded(&SPEC, json!({})), Request::List { name: None });
        assert_eq!(decoded(&SPEC, json!({"name": "SLEEPER"})), Request::List { name: Some("SLEEPER".into()) });
        assert_eq!(refused(&SPEC, json!({"name": 5})), (5, "'name' isn't a string".into()));
        assert_eq!(refused(&SPEC, json!({"name": null})), (5, "'name' isn't a string".into()));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::new(["a1"])), json!({"name": "a1"}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &[], json!({"watchers": ["a1", "my app", "solo"]})), "a1,my app,solo");
        assert_eq!(shown(&SPEC, &["a1"], json!({"pids": [4640, 4641]})), "4640,4641");
        assert_eq!(shown(&SPEC, &["a1"], json!({"pids": []})), "");
    }
}
