//! `listen`

use super::{CommandSpec, ConsoleSpec, Doc, Kind, PropertySpec, Role, Waiting};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "listen",
    summary: "Print events as they happen",
    doc: Doc {
        purpose: "Prints events as they happen, until it is interrupted. circusd publishes events on the pubsub \
                  endpoint, not on the control endpoint; --endpoint of this command names the pubsub endpoint \
                  (default tcp://127.0.0.1:5556). A topic is watcher.NAME.EVENT, with NAME in lower case and \
                  underscores for spaces. A prefix matches all topics that begin with it. EVENT is one of add, spawn, \
                  ready, start, updated, scale, reload, reload_failed, kill, unhealthy, reap, stop, run_begin, run_end, \
                  hook_success, hook_failure and remove. The event circusd.upgrade has its own topic, which has to be named.",
        reply: "The control endpoint always refuses this message: to receive events, connect a SUB socket to the \
                pubsub endpoint.",
        message: r#"{"command": "listen", "properties": {"topic": "watcher.web."}}"#,
        answer: r#"{"status": "error", "reason": "invalid message. use a pub/sub socket", "tb": null, "time": 1700000000.0, "errno": 3}"#,
        example: "listen watcher.web.",
    },
    properties: &[PropertySpec::optional("topic", Kind::Texts, "The prefixes of topics; all topics without it.")],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::subscription("[TOPIC...]"),
};

fn decode(_properties: &Object) -> Result<Request, Fault> {
    Err(Fault::message("invalid message. use a pub/sub socket"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::refused;

    #[test]
    fn the_control_endpoint_refuses_it() {
        for properties in [json!({}), json!({"topic": "x"})] {
            assert_eq!(refused(&SPEC, properties), (3, "invalid message. use a pub/sub socket".into()));
        }
    }
}
