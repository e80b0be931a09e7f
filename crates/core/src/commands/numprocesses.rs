//! `numprocesses`

use serde_json::Value;

use super::{CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, Waiting, console, props, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "numprocesses",
    summary: "Count the processes of a watcher, or all",
    doc: Doc {
        purpose: "Counts the processes of one watcher, or of all.",
        reply: "numprocesses; with a name also watcher_name, as it was given.",
        message: r#"{"command": "numprocesses", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "numprocesses": 2, "watcher_name": "web"}"#,
        example: "numprocesses web",
    },
    properties: &[PropertySpec::optional("name", Kind::Text, "The watcher's name; all watchers without it.")],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("[NAME...]", &[], console::optional_name, show).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::NumProcesses { name: props::optional_text(properties, "name")? })
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    show::field(reply, "numprocesses")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::NumProcesses { name: None });
        assert_eq!(decoded(&SPEC, json!({"name": "a1"})), Request::NumProcesses { name: Some("a1".into()) });
        assert_eq!(refused(&SPEC, json!({"name": []})), (5, "'name' isn't a string".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["a1"])), json!({"name": "a1"}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        assert_eq!(shown(&SPEC, &[], json!({"numprocesses": 4})), "4");
    }
}
