//! `start`

use super::{CommandSpec, ConsoleSpec, Doc, Role, Waiting, console, props, selection, show};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "start",
    summary: "Start watchers",
    doc: Doc {
        purpose: "Starts watchers. A running watcher gets the processes that it lacks. If the name matches several \
                  watchers, or is left out, watchers with autostart = no are not started. A watcher with kind = \
                  oneshot runs once; with waiting, the answer comes when the run has ended. A watcher with kind = cron \
                  then runs at the times of its schedule.",
        reply: "With one watcher and waiting: info, the pids that were started and kept, and for a watcher with kind = \
                oneshot run, the result of the run (see run).",
        message: r#"{"command": "start", "properties": {"name": "web*", "match": "glob", "waiting": true}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "info": {"started": [4711], "kept": []}}"#,
        example: "start 'web*' --waiting",
    },
    properties: selection::PROPERTIES,
    waiting: Waiting::Up,
    role: Role::Operate,
    decode,
    console: ConsoleSpec::call("[NAME...]", selection::OPTIONS, selection::message, show::run).naming(console::every),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    Ok(Request::Start { selection: selection::decode(properties)?, waiting: props::flag(properties, "waiting", false) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_takes_a_selection() {
        let reply = json!({"status": "ok", "info": {"started": [4711], "kept": []}});
        selection::check(&SPEC, |selection, waiting| Request::Start { selection, waiting }, reply);
    }
}
