//! `globaloptions`

use super::{
    CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, props, python, show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "globaloptions",
    summary: "Show options of circusd itself",
    doc: Doc {
        purpose: "Reads the options of circusd itself: endpoint, stats_endpoint, pubsub_endpoint, check_delay and \
                  multicast_endpoint. It reads no other option of [circus], such as those of keys.",
        reply: "The options and their values.",
        message: r#"{"command": "globaloptions", "properties": {"option": "check_delay"}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "options": {"check_delay": 5.0}}"#,
        example: "globaloptions check_delay",
    },
    properties: &[PropertySpec::optional("option", Kind::Text, "The option to read; all options without it.")],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("[OPTION]", &[], message, show::option_lines).with_bare_errors(),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    // A value that is no string names no option, and the refusal quotes it. As in Circus, an empty one asks for all.
    let option = props::given(properties, "option").map(python::display).filter(|option| !option.is_empty());
    Ok(Request::GlobalOptions { option })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    match invocation.words() {
        [] => Ok(Object::new()),
        [option] => Ok(Object::from_iter([("option".to_owned(), option.as_str().into())])),
        _ => Err(UsageError::arguments()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, sent, shown};

    #[test]
    fn on_the_wire() {
        let request = |option: Option<&str>| Request::GlobalOptions { option: option.map(Into::into) };
        assert_eq!(decoded(&SPEC, json!({})), request(None));
        assert_eq!(decoded(&SPEC, json!({"option": null})), request(None));
        assert_eq!(decoded(&SPEC, json!({"option": ""})), request(None));
        assert_eq!(decoded(&SPEC, json!({"keys": ["endpoint"]})), request(None));
        assert_eq!(decoded(&SPEC, json!({"option": "endpoint"})), request(Some("endpoint")));
        assert_eq!(decoded(&SPEC, json!({"option": 5})), request(Some("5")));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::default()), json!({}));
        assert_eq!(sent(&SPEC, Invocation::new(["endpoint"])), json!({"option": "endpoint"}));
        expect_usage(&SPEC, &["a", "b"], "Invalid number of arguments");
        let reply =
            json!({"options": {"endpoint": "tcp://127.0.0.1:25800", "check_delay": 1.0, "multicast_endpoint": ""}});
        assert_eq!(shown(&SPEC, &[], reply), "endpoint: tcp://127.0.0.1:25800\ncheck_delay: 1.0\nmulticast_endpoint: ");
    }
}
