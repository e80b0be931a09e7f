//! `listen`

use super::{CommandSpec, ConsoleSpec, Doc, Kind, PropertySpec, Role, Waiting};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "listen",
    summary: "Subscribe to a watcher event",
    doc: Doc {
        purpose: "Prints events as they happen, until it is interrupted. Events are published on the pubsub endpoint, \
                  not on the control endpoint; circusctl subscribes there, and --endpoint names it (default \
                  tcp://127.0.0.1:5556). A topic is watcher.NAME.EVENT, with NAME in lower case and underscores for \
                  spaces; a prefix matches all topics that begin with it. EVENT is one of spawn, start, stop, kill, \
                  reap, ready, unhealthy, run_begin, run_end, reload, reload_failed, updated, add and remove.",
        reply: "The control endpoint always refuses the message: a subscription needs a socket of its own.",
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
