//! `start`

use super::{CommandSpec, ConsoleSpec, Doc, Role, console, props, selection, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "start",
    summary: "Start the arbiter or a watcher",
    doc: Doc {
        purpose: "Starts watchers. A running watcher gets the processes that it lacks. If the name matches several \
                  watchers, or is left out, watchers with autostart = False are not started.",
        reply: "With one watcher and waiting: info, the pids that were started and kept.",
        message: r#"{"command": "start", "properties": {"name": "web*", "match": "glob", "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "info": {"started": [4711], "kept": []}}"#,
        example: "start 'web*' --waiting",
    },
    properties: selection::PROPERTIES,
    waiting: true,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("[NAME...]", selection::OPTIONS, selection::message, show::ok).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Start { selection: selection::decode(properties)?, waiting: props::flag(properties, "waiting", false) })
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
        assert_eq!(decoded(&SPEC, json!({})), Request::Start { selection: None, waiting: false });
        let selection = Some(Selection { name: "w.b".into(), method: MatchMethod::Regex });
        assert_eq!(
            decoded(&SPEC, json!({"name": "w.b", "match": "regex", "waiting": true})),
            Request::Start { selection, waiting: true }
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
        assert_eq!(shown(&SPEC, &[], json!({"status": "ok", "info": {"started": [4711], "kept": []}})), "ok");
    }
}
