//! `restart`

use super::{CommandSpec, ConsoleSpec, Doc, Role, Waiting, console, props, selection, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "restart",
    summary: "Restart watchers, or circusd itself",
    doc: Doc {
        purpose: "Stops watchers and starts them again. Without a name circusd itself is restarted: it stops all \
                  watchers, reads its configuration and opens its sockets again. Watchers that were added by the \
                  command add are then gone.",
        reply: "With one watcher and waiting: info, the pids that were stopped, started and kept. Without a name and \
                with waiting, the answer comes when the watchers that start by themselves are up. It is an error if \
                the file cannot be used and circusd goes on with the previous configuration.",
        message: r#"{"command": "restart", "properties": {"name": "web*", "match": "glob", "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "info": {"stopped": [4711], "started": [4712], "kept": []}}"#,
        example: "restart 'web*' --waiting",
    },
    properties: selection::PROPERTIES,
    waiting: Waiting::Up,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("[NAME...]", selection::OPTIONS, selection::message, show::run).naming(console::every),
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

    #[test]
    fn it_takes_a_selection() {
        let reply = json!({"status": "ok", "info": {"stopped": [4711], "started": [4712], "kept": []}});
        selection::check(&SPEC, |selection, waiting| Request::Restart { selection, waiting }, reply);
    }
}
