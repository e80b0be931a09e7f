//! `stop`

use super::{CommandSpec, ConsoleSpec, Doc, Role, Waiting, console, props, selection, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "stop",
    summary: "Stop watchers",
    doc: Doc {
        purpose: "Stops watchers: each process gets the watcher's stop_signal, and SIGKILL if it has not exited after \
                  graceful_timeout.",
        reply: "With one watcher and waiting: info, which is null.",
        message: r#"{"command": "stop", "properties": {"name": "web*", "match": "glob", "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "info": null}"#,
        example: "stop 'web*' --waiting",
    },
    properties: selection::PROPERTIES,
    waiting: Waiting::Done,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("[NAME...]", selection::OPTIONS, selection::message, show::ok).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Stop { selection: selection::decode(properties)?, waiting: props::flag(properties, "waiting", false) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_takes_a_selection() {
        let reply = json!({"status": "ok", "info": null});
        selection::check(&SPEC, |selection, waiting| Request::Stop { selection, waiting }, reply);
    }
}
