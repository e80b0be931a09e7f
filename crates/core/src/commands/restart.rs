//! `restart`

use super::{CommandSpec, ConsoleSpec, Doc, Role, console, props, selection, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "restart",
    summary: "Restart the arbiter or a watcher",
    doc: Doc {
        purpose: "Stops watchers and starts them again. Without a name circusd itself starts anew: it reads its \
                  configuration and opens its sockets again, and watchers made by add are gone.",
        reply: "With one watcher and waiting: info, the pids that were stopped, started and kept.",
        message: r#"{"command": "restart", "properties": {"name": "web*", "match": "glob", "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "info": {"stopped": [4711], "started": [4712], "kept": []}}"#,
        example: "restart 'web*' --waiting",
    },
    properties: selection::PROPERTIES,
    waiting: true,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("[NAME...]", selection::OPTIONS, selection::message, show::ok).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Restart {
        selection: selection::decode(properties)?,
        waiting: props::flag(properties, "waiting", false),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::Invocation;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};
    use crate::proto::{MatchMethod, Selection};

    #[test]
    fn on_the_wire() {
        assert_eq!(decoded(&SPEC, json!({})), Request::Restart { selection: None, waiting: false });
        let selection = Some(Selection { name: "w.b".into(), method: MatchMethod::Regex });
        assert_eq!(
            decoded(&SPEC, json!({"name": "w.b", "match": "regex", "waiting": true})),
            Request::Restart { selection, waiting: true }
        );
        assert_eq!(refused(&SPEC, json!({"name": "w", "match": "zork"})), (3, "unknown match method zork".into()));
        assert_eq!(refused(&SPEC, json!({"name": 5})), (5, "'name' isn't a string".into()));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        let full = Invocation::new(["A*"]).with_value("match", "glob").with_flag("waiting");
        assert_eq!(sent(&SPEC, full), json!({"name": "A*", "match": "glob", "waiting": true}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        assert_eq!(
            shown(&SPEC, &[], json!({"status": "ok", "info": {"stopped": [4711], "started": [4712], "kept": []}})),
            "ok"
        );
    }
}
