//! `get`

use serde_json::Value;

use super::{
    CommandSpec, ConsoleSpec, Doc, Invocation, Kind, PropertySpec, Role, UsageError, Waiting, console, props, python,
    show,
};
use crate::proto::{Fault, Object, Request};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "get",
    summary: "Show some options of a watcher",
    doc: Doc {
        purpose: "Reads options of a watcher: any key that the command options shows.",
        reply: "The options and their values, in the order of the request.",
        message: r#"{"command": "get", "properties": {"name": "web", "keys": ["cmd", "numprocesses"]}}"#,
        answer: r#"{"status": "ok", "time": 1700000000.0, "options": {"cmd": "sleep 60", "numprocesses": 2}}"#,
        example: "get web cmd numprocesses",
    },
    properties: &[
        PropertySpec::required("name", Kind::Text, "The watcher's name."),
        PropertySpec::required("keys", Kind::Texts, "The names of the options. A string is a list of one name."),
    ],
    waiting: Waiting::No,
    role: Role::Read,
    decode,
    console: ConsoleSpec::call("NAME KEY...", &[], message, show::option_lines).naming(console::first),
};

fn decode(properties: &Object) -> Result<Request, Fault> {
    let name = props::text(properties, "name")?;
    let keys = match properties.get("keys") {
        // A key that is no string names no option; the answer quotes it.
        Some(Value::Array(keys)) => keys.iter().map(python::display).collect(),
        Some(Value::String(key)) => vec![key.clone()],
        _ => return Err(Fault::command("'keys' isn't a list")),
    };
    Ok(Request::Get { name, keys, env: None })
}

fn message(invocation: &Invocation) -> Result<Object, UsageError> {
    match invocation.words() {
        [] | [_] => Err(UsageError::arguments()),
        [name, keys @ ..] => {
            let mut properties = console::named(name);
            properties.insert("keys".into(), keys.into());
            Ok(properties)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::{decoded, expect_usage, refused, sent, shown};

    #[test]
    fn on_the_wire() {
        let get = |keys: &[&str]| Request::Get {
            name: "a".into(),
            keys: keys.iter().map(ToString::to_string).collect(),
            env: None,
        };
        assert_eq!(decoded(&SPEC, json!({"name": "a", "keys": ["cmd", "env"]})), get(&["cmd", "env"]));
        assert_eq!(decoded(&SPEC, json!({"name": "a", "keys": []})), get(&[]));
        assert_eq!(decoded(&SPEC, json!({"name": "a", "keys": "cmd"})), get(&["cmd"]));
        assert_eq!(decoded(&SPEC, json!({"name": "a", "keys": [5]})), get(&["5"]));
        assert_eq!(refused(&SPEC, json!({"name": "a", "keys": 5})), (5, "'keys' isn't a list".into()));
        assert_eq!(refused(&SPEC, json!({"name": "a"})), (3, "message invalid 'keys' is missing".into()));
        assert_eq!(refused(&SPEC, json!({})), (3, "message invalid 'name' is missing".into()));
    }

    #[test]
    fn on_the_command_line() {
        assert_eq!(sent(&SPEC, Invocation::new(["a1", "cmd", "env"])), json!({"name": "a1", "keys": ["cmd", "env"]}));
        expect_usage(&SPEC, &["a1"], "Invalid number of arguments");
        let reply = json!({"options": {"cmd": "sleep 1001", "numprocesses": 2, "env": {"Z": "1", "Y": "two words"}}});
        assert_eq!(shown(&SPEC, &["a1"], reply), "cmd: sleep 1001\nnumprocesses: 2\nenv: Y=two words,Z=1");
    }
}
