//! `status`

use serde_json::Value;

use super::{CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, console, props, python, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "status",
    summary: "Get the status of a watcher or all watchers",
    doc: Doc {
        purpose: "Tells the state of one watcher, or of all: stopped, starting, active or stopping.",
        reply: "With a name the state stands in status itself, in place of ok. Without one: statuses, by name.",
        message: r#"{"command": "status", "properties": {"name": "web"}}"#,
        answer: r#"{"status": "active", "time": 1700000000.0}"#,
        example: "status web",
    },
    properties: &[PropertySpec::optional("name", Kind::Text, "The watcher's name; all watchers without it.")],
    waiting: false,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("[NAME]", &[], console::optional_name, show),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Status { name: props::optional_text(properties, "name")? })
}

fn show(reply: &Value, _invocation: &Invocation) -> String {
    let Some(statuses) = reply.get("statuses").and_then(Value::as_object) else {
        return show::field(reply, "status");
    };
    let mut lines: Vec<_> = statuses.iter().collect();
    lines.sort_unstable_by_key(|(name, _)| name.as_str());
    lines.iter().map(|(name, state)| format!("{name}: {}", python::py_str(state))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn asked_and_shown() {
        assert_eq!(decoded(&SPEC, json!({})), Request::Status { name: None });
        assert_eq!(decoded(&SPEC, json!({"name": "café"})), Request::Status { name: Some("café".into()) });
        assert_eq!(refused(&SPEC, json!({"name": {}})), (5, "'name' isn't a string".into()));
        assert_eq!(sent(&SPEC, Invocation::new(["two words"])), json!({"name": "two words"}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        let all = json!({"status": "ok", "statuses": {"a1": "active", "solo": "stopped", "My App": "active"}});
        assert_eq!(shown(&SPEC, &[], all), "My App: active\na1: active\nsolo: stopped");
        assert_eq!(shown(&SPEC, &["a1"], json!({"status": "stopping"})), "stopping");
    }
}
